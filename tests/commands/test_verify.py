"""`tcmax verify`: identical, equal to rounding, the same verdicts, or other ones; and the committed references."""

import copy
import hashlib
import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny
import yaml
from projects import ROOT

from tcmax.commands import verify
from tcmax.errors import TcmaxError
from tcmax.experiment.grid import load
from tcmax.records import arithmetic
from tcmax.training import jobs

PATH = Path("config/reference/made-up.json")
REFERENCE: dict[str, Any] = {
    "version": 1,
    "experiment": "made-up",
    "arithmetic": "portable-1",
    "versions": {"torch": "2.0"},
    "predictions": {"d": "aa"},
    "files": {"tables/table1.csv": "bb"},
    "values": {"d|accuracy|own|m|both": [0.9, 0.88, 0.92], "d|js|all|m|both": [0.5, None, None]},
    "verdicts": {
        "better": {
            "verdict": "undetermined",
            "verdict_seeds": "supported",
            "estimate": 0.02,
            "low": -0.0005,
            "high": 0.0405,
            "margin": 0.0,
        }
    },
}


def compared(**changes: Any) -> verify.Verification:
    """The verdict on results that equal REFERENCE but for these dotted parts."""
    found = copy.deepcopy(REFERENCE)
    for path, value in changes.items():
        *parents, last = path.split("__")
        part = found
        for name in parents:
            part = part[name]
        part[last] = value
    return verify.compare(REFERENCE, found, PATH)


def test_equal_results_are_identical_bytes() -> None:
    found = compared()
    assert found.outcome == "identical bytes"
    assert found.text.startswith("made-up: identical bytes.")
    assert (found.status(), found.status(identical=True)) == (0, 0)


@pytest.mark.parametrize(
    "changes",
    [
        {"predictions": {"d": "other"}},
        {"files": {"tables/table1.csv": "other"}},
        {"values": {**REFERENCE["values"], "d|accuracy|own|m|both": [0.9 + 1e-8, 0.88, 0.92]}},
    ],
)
def test_numbers_that_differ_by_rounding_are_equal_to_rounding(changes: dict[str, Any]) -> None:
    found = compared(**changes)
    assert found.outcome == "equal to rounding"
    assert (found.status(), found.status(identical=True)) == (0, 1)


def test_other_numbers_are_told_against_their_interval() -> None:
    values = {**REFERENCE["values"], "d|accuracy|own|m|both": [0.905, 0.885, 0.925]}
    found = compared(values=values, predictions={"d": "other"}, versions={"torch": "2.1"}, arithmetic="native 1")
    assert found.outcome == "same verdicts, other numbers"
    assert "1 of 3 numbers differ" in found.line
    assert "was 0.9 and is 0.905, 0.25 of its interval's half-width" in found.line
    assert "version of torch was 2.0, is 2.1" in found.details
    assert any("native 1" in line for line in found.details)
    assert "tables and figures: identical" in found.details
    assert found.status() == 1


def test_a_number_that_came_or_went_is_another_number() -> None:
    values = {name: value for name, value in REFERENCE["values"].items() if "js" not in name}
    assert compared(values=values).outcome == "same verdicts, other numbers"
    assert compared(values={**REFERENCE["values"], "new": [1.0, 0.0, 2.0]}).outcome == "same verdicts, other numbers"
    bounded = {**REFERENCE["values"], "d|js|all|m|both": [0.5, 0.4, 0.6]}
    assert "d|js|all|m|both is there in one of them only" in compared(values=bounded).line


def test_other_verdicts_are_named_and_a_hair_is_called_one() -> None:
    changed = {**REFERENCE["verdicts"]["better"], "verdict": "supported", "low": 0.0003, "high": 0.0397}
    found = compared(verdicts={"better": changed})
    assert found.outcome == "other verdicts"
    assert found.details[0].startswith("better: supported, was undetermined; by a hair: a bound is 0.015 half-widths")
    assert found.status() == 3
    far = {**changed, "low": 0.02, "high": 0.03, "estimate": 0.025}
    before = {**REFERENCE, "verdicts": {"better": {**REFERENCE["verdicts"]["better"], "low": -0.02, "high": 0.02}}}
    found = verify.compare(before, {**REFERENCE, "verdicts": {"better": far}}, PATH)
    assert "hair" not in found.text
    assert "a bound is 1 half-widths from what decides" in found.details[0]


def test_a_claim_that_came_or_went_is_another_verdict() -> None:
    assert compared(verdicts={}).details[0] == "better is gone"
    more = {**REFERENCE["verdicts"], "new": REFERENCE["verdicts"]["better"]}
    assert compared(verdicts=more).details[0] == "new is new"
    seeds = {"better": {**REFERENCE["verdicts"]["better"], "verdict_seeds": "contradicted"}}
    assert "contradicted, was supported (new seeds on these items)" in compared(verdicts=seeds).details[0]


def test_digests_are_of_numbers_and_miss_no_logit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed_tiny: None
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("config").mkdir()
    Path("config/tiny.yaml").write_text(yaml.safe_dump(tiny.raw()))
    experiment = load("tiny")
    for cell in experiment.cells():
        for block in range(len(experiment.blocks)):
            jobs.train_block(experiment, cell, block, Path("results"))

    def digests() -> dict[str, str]:
        modes, found = verify._predictions(experiment, Path("results"))
        assert modes == {arithmetic.mode()}
        return found

    before = digests()
    folder = Path("results/tiny/tiny/fold_0/joint/seed_1")
    path = folder / "predictions_last.parquet"
    table = pq.read_table(path)
    key = pa.array(["another"] * len(table)).cast(table.schema.field("run_key").type)
    place = table.column_names.index("run_key")
    pq.write_table(table.set_column(place, table.schema.field(place), key), path)
    assert digests() == before
    place = next(place for place, name in enumerate(table.column_names) if name.startswith("logits_"))
    field = table.schema.field(place)
    logits = np.stack(table[field.name].to_numpy(zero_copy_only=False))
    logits[-1, -1] = np.nextafter(logits[-1, -1], np.inf, dtype=logits.dtype)
    values = pa.array(logits.ravel(), type=field.type.value_type)
    moved = pa.FixedSizeListArray.from_arrays(values, field.type.list_size)
    pq.write_table(table.set_column(place, field, moved.cast(field.type)), path)
    assert digests() != before


def test_without_a_reference_or_results_it_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed_tiny: None
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("config/reference").mkdir(parents=True)
    Path("config/tiny.yaml").write_text(yaml.safe_dump(tiny.raw()))
    experiment = load("tiny")
    with pytest.raises(TcmaxError, match=r"config/reference/tiny.json does not exist: tiny has no reference"):
        verify.verify(experiment, Path("results"), Path("reports"))
    Path("config/reference/tiny.json").write_text("{}")
    with pytest.raises(TcmaxError, match="is no reference of version 1"):
        verify.verify(experiment, Path("results"), Path("reports"))
    with pytest.raises(TcmaxError, match=r"cannot read results/tiny/tiny/fold_0/joint/block_0\.json"):
        verify.write_reference(experiment, Path("results"), Path("reports"))


def test_results_of_another_arithmetic_become_no_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "summary", lambda *_: {**REFERENCE, "arithmetic": "native 1"})
    with pytest.raises(TcmaxError, match="was computed in native 1 arithmetic"):
        verify.write_reference(load(ROOT / "config" / "smoke.yaml"), Path("results"), Path("reports"))


def test_the_sample_report_and_readme_are_those_of_the_reference() -> None:
    files = json.loads((ROOT / "config" / "reference" / "quick.json").read_text())["files"]
    sample = ROOT / "docs" / "sample-report"
    found = {
        path.relative_to(sample).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in ("tables", "figures")
        for path in (sample / folder).iterdir()
    }
    stale = [name for name, digest in found.items() if files.get(name) != digest]
    assert not stale, "docs/sample-report is not what the reference was made of: run `make reference`"
    assert {name for name in files if name.startswith("tables/")} == {name for name in found if "tables/" in name}
    spec = importlib.util.spec_from_file_location("docs_sample", ROOT / "docs" / "sample.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert module.with_table(readme, sample / "tables") == readme, "README's table is stale: run `make reference`"


def test_the_table_of_the_readme_prints_what_the_report_prints() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    printed = (ROOT / "docs" / "sample-report" / "tables" / "table1.tex").read_text(encoding="utf-8")
    rows = readme.partition("| --- | --- | --- | --- | --- |\n")[2].partition("\n\n")[0].splitlines()
    assert len(rows) == 6
    for row in rows:
        title, *cells, _ = [cell.strip() for cell in row.strip("|").split("|")]
        line = next(line for line in printed.splitlines() if line.startswith(title))
        for cell in cells:
            value, _, interval = cell.partition(" ")
            assert value in line
            assert interval in line


@pytest.mark.parametrize("name", ["quick", "smoke"])
def test_a_committed_reference_is_portable_and_has_the_claims_of_its_experiment(name: str) -> None:
    reference = json.loads((ROOT / "config" / "reference" / f"{name}.json").read_text())
    experiment = load(ROOT / "config" / f"{name}.yaml")
    assert reference["arithmetic"] == arithmetic.PORTABLE
    assert set(reference["predictions"]) == set(experiment.settings.datasets)
    claims = yaml.safe_load((ROOT / "config" / "claims" / str(experiment.settings.claims)).read_text())["claims"]
    assert set(reference["verdicts"]) <= {claim["id"] for claim in claims}
    assert reference["verdicts"]
