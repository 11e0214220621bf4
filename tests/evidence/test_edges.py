"""Rows of evidence at their edges: copied runs, accuracies of 1, biased metrics. Oracles: SciPy, and the same
experiment without the copies."""

import numpy as np
import pytest
import scipy.stats
from scored import made_up, write_items

from tcmax.evidence.compare import compare
from tcmax.evidence.scoreboard import Scoreboard
from tcmax.records import kinds, parquet

N = 80


def rows_of(results):
    table = parquet.read(results / "made-up" / "evidence.parquet", kinds.EVIDENCE)
    return {row["id"]: row for row in table.to_pylist()}


def runs(rng, level, n_seeds, **more):
    p = np.clip(level + 0.2 * rng.normal(size=N), 0, 1)
    correct = (rng.random((n_seeds, N)) < p).astype(float)
    return {"correct.own": correct, "nll.own": rng.random((n_seeds, N)), **more}


def twice(scores):
    return {v: {name: np.tile(rows, (2, 1)) for name, rows in of.items()} for v, of in scores.items()}


def evidence(folder, scores, seeds):
    write_items(folder / "made-up" / "toy", scores, seeds=seeds)
    compare(made_up("ab", seeds=seeds, reference="b"), folder)
    return rows_of(folder)


def test_runs_imported_twice_count_once_and_are_named(tmp_path):
    rng = np.random.default_rng(1)
    scores = {"a": runs(rng, 0.8, 5), "b": runs(rng, 0.6, 5)}
    once = evidence(tmp_path / "once", scores, range(5))
    copied = evidence(tmp_path / "copied", twice(scores), range(10))
    for key in ("toy|accuracy|own|a-vs-b|both", "toy|nll|own|a|both", "toy|accuracy|own|b|seeds"):
        for name in ("estimate", "low", "high", "n_seeds", "variance_seeds"):
            assert copied[key][name] == once[key][name], (key, name)
        assert "left out: seeds 5 (as 0), 6 (as 1), 7 (as 2), 8 (as 3), 9 (as 4)" in copied[key]["notes"]
        assert "left out" not in once[key]["notes"]


def test_one_run_under_five_seeds_is_not_testable_for_new_ones(tmp_path):
    rng = np.random.default_rng(2)
    one = {v: {k: np.tile(x, (5, 1)) for k, x in runs(rng, p, 1).items()} for v, p in (("a", 0.9), ("b", 0.4))}
    rows = evidence(tmp_path, one, range(5))
    for population in ("seeds", "both"):
        row = rows[f"toy|accuracy|own|a-vs-b|{population}"]
        assert row["low"] is None
        assert "1 seeds cannot speak for new seeds" in row["notes"]
    assert rows["toy|accuracy|own|a-vs-b|items"]["low"] > 0


def test_runs_known_by_right_and_wrong_alone_are_not_removed(tmp_path):
    rng = np.random.default_rng(3)
    scores = {v: {"correct.own": runs(rng, p, 4)["correct.own"]} for v, p in (("a", 0.8), ("b", 0.6))}
    rows = evidence(tmp_path, twice(scores), range(8))
    assert rows["toy|accuracy|own|a-vs-b|both"]["n_seeds"] == 8


def test_a_deterministic_method_adds_no_seeds_against_other_seeds(tmp_path):
    rng = np.random.default_rng(4)
    fixed = {k: np.tile(x, (3, 1)) for k, x in runs(rng, 0.8, 1).items()}
    other = runs(rng, 0.6, 5)
    seeds = {"a": (0, 1, 2), "b": (3, 4, 5, 6, 7)}
    write_items(tmp_path / "made-up" / "toy", {"a": fixed, "b": other}, seeds=seeds)
    board = Scoreboard(made_up("ab", seeds=range(8), reference="b"), "toy", tmp_path)
    a, b = (board.score((v,), "accuracy", "own") for v in "ab")
    c = board.difference(a, b).crossed
    means = fixed["correct.own"][0].mean() - other["correct.own"].mean(axis=1)
    assert (c.n_seeds, c.seed_df) == (5, 4)
    assert c.a == pytest.approx(means.var(ddof=1) / 5)


def test_all_right_is_printed_within_the_range_and_with_a_width(tmp_path):
    rng = np.random.default_rng(5)
    scores = {"a": runs(rng, 0.8, 3), "b": runs(rng, 0.7, 3)}
    scores["a"]["correct.own"] = np.ones((3, N))
    row = evidence(tmp_path, scores, range(3))["toy|accuracy|own|a|both"]
    t = scipy.stats.t.ppf(0.975, N - 1)
    assert (row["estimate"], row["low"], row["high"]) == pytest.approx((1, N / (N + t**2), 1))


def test_a_calibration_error_has_no_interval(tmp_path):
    rng = np.random.default_rng(6)
    scores = {v: runs(rng, 0.7, 3) | {"confidence.own": rng.uniform(0.5, 1, (3, N))} for v in "ab"}
    row = evidence(tmp_path, scores, range(3))["toy|ece|own|a|both"]
    assert row["estimate"] > 0
    assert row["low"] is None
    assert "chance alone makes a calibration error positive" in row["notes"]


def test_a_seed_that_stands_apart_is_named(tmp_path):
    rng = np.random.default_rng(7)
    scores = {"a": runs(rng, 0.8, 9), "b": runs(rng, 0.7, 9)}
    scores["a"]["correct.own"][4] = 0  # one run collapsed
    rows = evidence(tmp_path, scores, range(9))
    assert "one of 9 seeds lies" in rows["toy|accuracy|own|a-vs-b|both"]["notes"]
    assert "seeds lies" not in rows["toy|nll|own|a-vs-b|both"]["notes"]


def test_one_test_item_is_a_score_of_each_run(tmp_path):
    scores = {
        v: {
            "correct.own": np.array([[1.0], [0.0], [1.0], [right]]),
            "confidence.own": np.full((4, 1), 0.7),
            "nll.own": np.array([[0.1], [0.2], [0.3], [0.4 + right]]),
        }
        for v, right in (("a", 1.0), ("b", 0.0))
    }
    write_items(tmp_path / "made-up" / "toy", scores, seeds=range(4), labels=[0])
    compare(made_up("ab", seeds=range(4), reference="b"), tmp_path)
    rows = rows_of(tmp_path)
    row = rows["toy|nll|own|a-vs-b|both"]
    assert row["low"] is None
    assert "scores of whole runs have no items" in row["notes"]
    assert rows["toy|nll|own|a-vs-b|seeds"]["low"] is not None
    assert "toy|ece|own|a|both" not in rows
