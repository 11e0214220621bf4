"""Sequential designs: what an experiment may ask for, which seeds a cell gets, and what it does to every comparison."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
from pydantic import ValidationError
from scored import made_up, one_claim, write_items

from tcmax.audit.claims import audit_claims
from tcmax.commands import analyse
from tcmax.commands.looks import take_look
from tcmax.errors import TcmaxError
from tcmax.evidence.compare import compare
from tcmax.evidence.scoreboard import Scoreboard
from tcmax.experiment import looks
from tcmax.experiment.grid import Cell
from tcmax.metrics import METRICS
from tcmax.records import kinds, parquet
from tcmax.records.files import write_json
from tcmax.records.provenance import digest
from tcmax.stats.crossed import crossed_paired, interval
from tcmax.stats.sequential import spending_boundaries
from tcmax.training import jobs

LOOKS = [3, 5, 8]


def stepwise(**changes):
    """a, b and c against the reference variant base, with looks at 3, 5 and 8 of 8 seeds."""
    experiment = made_up(("base", "a", "b", "c"), seeds=range(8), reference="base")
    raw = experiment.settings.model_dump() | {"sequential": {"looks": LOOKS, **changes}}
    return replace(experiment, settings=type(experiment.settings).model_validate(raw))


def asked(folder, look, **more):
    write_json(folder / "made-up" / "looks" / f"{look}.json", {"look": look, "more": more})


@pytest.mark.parametrize(
    ("sequential_settings", "message"),
    [
        ({"looks": [3, 5]}, "the last look is at the whole seed list, 8 seeds, not at 5"),
        ({"looks": [8]}, "two or more increasing numbers of seeds, the first one 3 or more"),
        ({"looks": [2, 8]}, "two or more increasing"),
        ({"looks": [5, 5, 8]}, "two or more increasing"),
        ({"looks": LOOKS, "pairs": [["joint", "ours"]]}, "there is no variant 'ours'"),
        ({"looks": LOOKS, "pairs": [["joint", "joint"]]}, "'joint' is paired with itself"),
        ({"looks": LOOKS, "metric": "loss"}, "Input should be 'accuracy'"),
        ({"looks": LOOKS, "steps": 2}, "Extra inputs are not permitted"),
    ],
)
def test_looks_that_cannot_be_taken_are_refused(sequential_settings, message):
    with pytest.raises(ValidationError) as error:
        tiny.experiment(seeds="0-7", sequential=sequential_settings)
    assert message in str(error.value)


def test_every_metric_that_looks_may_use_is_in_the_catalogue():
    annotation = type(stepwise().settings.sequential).model_fields["metric"].annotation
    assert set(annotation.__args__) <= set(METRICS)


def test_blocks_are_cut_at_looks_and_an_experiment_without_looks_keeps_its_keys():
    plain = tiny.experiment(seeds="0-7", seeds_per_job=2, pin_code="x")
    looked = tiny.experiment(seeds="0-7", seeds_per_job=2, pin_code="x", sequential={"looks": LOOKS})
    assert plain.blocks == ((0, 1), (2, 3), (4, 5), (6, 7))
    assert looked.blocks == ((0, 1), (2,), (3, 4), (5, 6), (7,))
    cell = Cell("tiny", 0, "joint")
    assert jobs.block_key(plain, cell, 0) == jobs.block_key(looked, cell, 0)  # the same seeds are the same job
    assert "sequential" not in analyse._labels(plain)
    assert analyse._labels(looked)["sequential"]["looks"] == tuple(LOOKS)


def test_only_variants_of_open_pairs_are_asked_for_more_seeds(tmp_path):
    experiment = stepwise()

    def counts(before=None):
        found = looks.seeds_asked(experiment, tmp_path, "toy", before)
        assert all(seeds == list(range(len(seeds))) for seeds in found.values())
        return {variant: len(seeds) for variant, seeds in found.items()}

    assert counts() == dict.fromkeys(("base", "a", "b", "c"), 3)
    asked(tmp_path, 3, toy=[["a", "base"], ["b", "base"]])
    assert counts() == {"base": 5, "a": 5, "b": 5, "c": 3}
    asked(tmp_path, 5, toy=[["b", "base"]])
    assert counts() == {"base": 8, "a": 5, "b": 8, "c": 3}
    assert counts(before=5) == {"base": 5, "a": 5, "b": 5, "c": 3}
    assert counts(before=3) == dict.fromkeys(("base", "a", "b", "c"), 3)
    asked(tmp_path, 3)  # the first look was taken again and is content: what a later one said no longer counts
    assert counts() == dict.fromkeys(("base", "a", "b", "c"), 3)
    manifests = looks.manifests_of(experiment, "toy", tmp_path)
    assert [path.name for path in manifests if path.parent.name == "a"] == ["block_0.json"]


def written(folder, counts):
    """Item scores of base, a, b and c with so many seeds each; a is ahead of base by a little."""
    rng = np.random.default_rng(5)
    levels = {"base": 0.0, "a": 0.3, "b": 0.25, "c": 0.0}
    effects = {name: alpha + 0.15 * rng.normal(size=(8, 1)) for name, alpha in levels.items()}
    scores = {name: effects[name] + 0.1 * rng.normal(size=(8, 40)) for name in levels}
    content = {name: {"nll.own": scores[name][:n]} for name, n in counts.items()}
    write_items(folder / "made-up" / "toy", content, seeds={name: range(n) for name, n in counts.items()})
    return scores


def test_pairs_share_the_seeds_that_both_ran_and_are_corrected_for_all_looks(tmp_path):
    experiment = stepwise(metric="nll")
    scores = written(tmp_path, {"base": 8, "a": 5, "b": 8, "c": 3})
    compare(experiment, tmp_path)
    rows = parquet.read(tmp_path / "made-up" / "evidence.parquet", kinds.EVIDENCE).to_pylist()
    boundaries = spending_boundaries(LOOKS)
    for variant, n in (("a", 5), ("b", 8), ("c", 3)):
        for population in ("seeds", "items", "both"):
            row = next(r for r in rows if r["id"] == f"toy|nll|own|{variant}-vs-base|{population}")
            expected = interval(crossed_paired(scores[variant][:n], scores["base"][:n]), population, boundaries.at(n))
            assert (row["n_seeds"], row["pairing"]) == (n, "paired")
            assert (row["low"], row["high"]) == pytest.approx((expected.low, expected.high))
            assert (row["p"] <= row["alpha"]) == (row["low"] > 0 or row["high"] < 0)
            assert "sequential design, looks at 3, 5 or 8 seeds" in row["notes"]
    lines, _ = audit_claims(experiment, tmp_path, one_claim(tmp_path, subject="a", rivals="base"))
    (verdict,) = parquet.read(tmp_path / "made-up" / "verdicts.parquet", kinds.VERDICTS).to_pylist()
    row = next(r for r in rows if r["id"] == "toy|nll|own|a-vs-base|both")
    assert (verdict["low"], verdict["high"], verdict["n_seeds"]) == pytest.approx((row["low"], row["high"], 5))
    assert verdict["looks"] == [3, 5, 8]
    assert lines


def test_a_number_of_seeds_that_is_no_look_has_no_level_left(tmp_path):
    written(tmp_path, {"base": 8, "a": 6, "b": 8, "c": 3})
    with pytest.raises(TcmaxError, match=r"has 6 seeds of a, which is no look: looks are at 3, 5 or 8 seeds"):
        Scoreboard(stepwise(), "toy", tmp_path)


def test_a_recorded_look_binds_an_experiment_that_no_longer_names_it(tmp_path):
    written(tmp_path, dict.fromkeys(("base", "a", "b", "c"), 8))
    plain = made_up(("base", "a", "b", "c"), seeds=range(8), reference="base")
    assert Scoreboard(plain, "toy", tmp_path).spending(8) is None
    plan = looks.LookPlan((3, 5, 8), "nll")
    looks.record(plain, tmp_path, plan, 3, {"pairs": []}, {})
    spending = Scoreboard(plain, "toy", tmp_path).spending(8)
    assert spending is not None
    assert spending.alpha_here(0.05) == pytest.approx(spending_boundaries(LOOKS).at(8))
    with pytest.raises(TcmaxError, match="cannot change now"):
        Scoreboard(stepwise(looks=[4, 8]), "toy", tmp_path)
    with pytest.raises(TcmaxError, match="cannot change now"):
        Scoreboard(stepwise(metric="nll", pairs=[["a", "base"]]), "toy", tmp_path)


def test_a_look_that_finds_something_else_keeps_what_was_found_before(tmp_path):
    experiment, plan = stepwise(), looks.LookPlan((3, 5, 8), "accuracy")
    for look, found in ((3, {"x": 1}), (5, {"x": 2}), (3, {"x": 1}), (3, {"x": 9})):
        looks.record(experiment, tmp_path, plan, look, found, {"alpha": 0.05})
    kept = json.loads(looks.record_path(experiment, tmp_path).read_text())
    assert kept["taken"] == {"3": {"x": 9}}
    assert kept["superseded"] == [{"3": {"x": 1}, "5": {"x": 2}}]


def test_looks_come_in_order_and_only_where_they_were_planned(tmp_path):
    for experiment, n, message in (
        (made_up(), 3, "has no `sequential`"),
        (stepwise(), 4, "4 seeds are no look; looks are at 3, 5 or 8 seeds"),
        (stepwise(), 5, r"looks/3\.json does not exist: that look comes first"),
    ):
        with pytest.raises(TcmaxError, match=message):
            take_look(experiment, tmp_path, n)


def test_the_key_of_a_look_is_its_plan_alone():
    assert looks.plan_key(stepwise()) != looks.plan_key(stepwise(metric="nll"))
    assert looks.plan_key(made_up()) == digest(None)
    assert looks.looks_of(made_up()) == ()
    assert looks.looks_of(stepwise(), before=8) == (3, 5)
    assert looks.asked_path(stepwise(), Path("r"), 3) == Path("r/made-up/looks/3.json")
