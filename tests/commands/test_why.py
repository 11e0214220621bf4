"""`tcmax why`: what produced a file, and whether and why it would be built again."""

import shutil
from pathlib import Path

import pytest
import tiny
import yaml

from tcmax.commands.tune import seal
from tcmax.commands.why import why_text
from tcmax.errors import TcmaxError
from tcmax.experiment.grid import Cell, load
from tcmax.records import provenance
from tcmax.records.files import read_json, write_json
from tcmax.training import datasets, jobs
from tcmax.training.trials import train_trials

RESULTS = Path("results")
UP_TO_DATE = "up to date: code, settings and inputs are as recorded"


def configure(**changes):
    Path("config/tiny.yaml").write_text(yaml.safe_dump(tiny.raw(**changes)))


@pytest.fixture
def block(tmp_path, monkeypatch, installed_tiny):
    """A trained block in a project of its own; the path of its manifest."""
    monkeypatch.chdir(tmp_path)
    Path("config").mkdir()
    configure()
    return jobs.train_block(load("tiny"), Cell("tiny", 0, "joint"), 0, RESULTS)


def reasons(path):
    lines = why_text(path, RESULTS).splitlines()
    return [line.removeprefix("    - ") for line in lines if line.startswith("    - ")]


def test_a_run_says_what_produced_it_and_that_it_is_up_to_date(block):
    folder = block.parent / "seed_1"
    for path in (folder, folder / "predictions_last.parquet", folder / "run.json"):
        text = why_text(path, RESULTS)
        assert "tiny / tiny / fold 0 / joint / seed 1" in text
        assert read_json(folder / "run.json")["run_key"] in text
        assert f"torch {provenance.versions()['torch']}" in text
        assert text.endswith(UP_TO_DATE)
    assert why_text(block, RESULTS).endswith(UP_TO_DATE)


CHANGES = [
    ({"training": tiny.training(epochs=5)}, ["setting training epochs was 4, is 5"]),
    ({"precision": "float64"}, ["setting precision was float32, is float64"]),
    ({"half_precision_logits": True}, ["setting half_precision_logits was False, is True"]),
    (
        {"variants": {"joint": {"method": "joint", "head": "sum"}}},
        [
            "setting head name was concat, is sum",
            "code of tcmax.models.fusion.concat is gone",
            "code of tcmax.models.fusion.sum is new",
        ],
    ),
    ({"variants": {"unimodal": {"method": "unimodal"}}}, ["config/tiny.yaml no longer has tiny with joint"]),
    ({"seeds": "none"}, ["its experiment cannot be read: config/tiny.yaml: seeds"]),
]


@pytest.mark.parametrize(("changes", "expected"), CHANGES, ids=[expected[0] for _, expected in CHANGES])
def test_every_change_of_the_experiment_is_a_reason(block, changes, expected):
    configure(**changes)
    found = reasons(block.parent / "seed_0" / "run.json")
    assert len(found) == len(expected)
    for reason, start in zip(found, expected, strict=True):
        assert reason.startswith(start)


def test_what_changes_no_number_is_no_reason(block):
    configure(title="Another", seeds_per_job=1, checkpoint_seconds=5)
    assert reasons(block.parent / "seed_0") == []


def test_altered_and_missing_files_are_reasons(block):
    folder = block.parent / "seed_0"
    path = folder / "predictions_last.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    (folder / "history.parquet").unlink()
    assert reasons(folder) == [
        "history.parquet is missing",
        "predictions_last.parquet was altered after it was written",
    ]


def test_other_data_is_a_reason(block):
    record = read_json(block.parent / "seed_0" / "run.json")
    write_json(block.parent / "seed_0" / "run.json", {**record, "data": "0" * 64})
    assert reasons(block.parent / "seed_0") == ["the data has another fingerprint"]


def test_edited_code_is_a_reason(block):
    path = block.parent / "seed_0" / "run.json"
    record = read_json(path)
    record["code"]["tcmax.methods.joint"] = "0123456789abcdef"
    write_json(path, record)
    (reason,) = reasons(path)
    assert reason.startswith("code of tcmax.methods.joint was 0123456789abcdef, is ")


def test_a_block_gathers_the_reasons_of_its_runs(block):
    shutil.rmtree(block.parent / "seed_1")
    (block.parent / "seed_0" / "history.parquet").unlink()
    assert reasons(block) == ["seed 0: history.parquet is missing", "seed 1 is missing or was trained again"]


def test_a_block_whose_seeds_changed_says_so(block):
    configure(seeds=[0, 7])
    assert reasons(block) == ["the block's seeds are now 0, 7"]
    configure(seeds=[0, 1, 2])  # two to a job: the first block is as it was
    assert reasons(block) == []


def test_an_analysis_output_says_which_input_or_code_changed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["tcmax", "score"])
    one, two, output = Path("one.txt"), Path("two.txt"), Path("scores.parquet")
    for path in (one, two, output):
        path.write_text(path.name)
    provenance.write_stage(output, "score", "tcmax.stats.crossed", [one, two], {})
    assert why_text(output, RESULTS).endswith(UP_TO_DATE)
    one.write_text("changed")
    two.unlink()
    sidecar = provenance.sidecar_of(output)
    content = read_json(sidecar)
    content["code"]["tcmax.stats.crossed"] = "0"
    write_json(sidecar, content)
    found = reasons(output)
    assert found[:2] == ["its input one.txt has changed", "its input two.txt is missing"]
    assert found[2].startswith("code of tcmax.stats.crossed was 0, is ")
    assert len(found) == 3


def test_a_table_shares_the_provenance_of_its_reports_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page, table = Path("reports/tiny/report.html"), Path("reports/tiny/tables/table1.csv")
    table.parent.mkdir(parents=True)
    for path in (page, table):
        path.write_text("x")
    provenance.write_stage(page, "report", "tcmax.stats.crossed", [], {})
    assert "stage       report" in why_text(table, RESULTS)


def test_prepared_data_says_where_it_comes_from(block):
    path = datasets.prepare(load("tiny"), "tiny", RESULTS)
    text = why_text(path, RESULTS)
    assert tiny.dataset().fingerprint() in text
    assert "source: synthetic" in text


def test_a_file_of_others_or_none_is_one_sentence(tmp_path):
    with pytest.raises(TcmaxError, match=r"absent does not exist\."):
        why_text(tmp_path / "absent", RESULTS)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(TcmaxError, match=r"notes\.txt is not a result that tcmax wrote"):
        why_text(tmp_path / "notes.txt", RESULTS)


def test_a_tuned_run_and_its_trials_say_what_they_are_and_what_changed(tmp_path, monkeypatch, installed_tiny):
    monkeypatch.chdir(tmp_path)
    Path("config").mkdir()
    configure(tuning={"trials": 2}, variants={"joint": {"method": "joint"}})
    experiment, cell = load("tiny"), Cell("tiny", 0, "joint")
    manifest = train_trials(experiment, cell, 0, 0, RESULTS)
    seal(experiment, RESULTS)
    block = jobs.train_block(experiment, cell, 0, RESULTS)
    trial = manifest.parent / "trial_1" / "seed_0"
    for path in (manifest, trial / "run.json", block, block.parent / "seed_1", RESULTS / "tiny" / "choices.json"):
        assert why_text(path, RESULTS).endswith(UP_TO_DATE)
    configure(
        tuning={"trials": 1, "training": {"learning_rate": {"choices": [0.25]}}},
        variants={"joint": {"method": "joint"}},
    )
    assert reasons(trial / "run.json") == ["the experiment has 1 trials, and this is trial 1"]
    assert reasons(trial.parents[1] / "trial_0" / "seed_0")[0].startswith("setting training learning_rate was")
    assert "was sealed under another `tuning`" in reasons(block.parent / "seed_1")[0]
    assert reasons(manifest)[0] == "the block's trials are now 0"
