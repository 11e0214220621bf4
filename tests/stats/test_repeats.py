"""Oracles: runs compared number by number, and the coverage of copied seeds by simulation."""

import numpy as np
import pytest
from scipy.stats import t

from tcmax.stats.crossed import crossed_paired, interval, refusal
from tcmax.stats.repeats import fingerprints, label_twins, repeated_pairs, repeated_runs


def test_equal_outputs_have_equal_fingerprints_and_the_last_bit_counts():
    logits = np.random.default_rng(0).normal(size=(4, 7, 3))
    logits[2] = logits[0]
    logits[3] = logits[1]
    logits[3, 6, 2] = np.nextafter(logits[3, 6, 2], 1)
    found = fingerprints(logits)
    assert [[found[i] == found[j] for j in range(4)] for i in range(4)] == [
        [bool((logits[i] == logits[j]).all()) for j in range(4)] for i in range(4)
    ]
    assert fingerprints(np.zeros((1, 2))) == fingerprints(-np.zeros((1, 2)))
    with pytest.raises(ValueError, match="shape"):
        fingerprints(np.zeros(3))


def test_pairs_are_removed_only_where_both_runs_are_those_of_an_earlier_pair():
    found = repeated_pairs(["a", "b", "a", "a", "b"], ["x", "y", "x", "z", "y"])
    assert found.kept == (0, 1, 3)
    assert found.removed == ((2, 0), (4, 1))
    assert found.deterministic == (False, False)
    assert repeated_pairs("aaa", "xyz").deterministic == (True, False)
    copied = repeated_pairs("aaa", "xxx")
    assert (copied.kept, copied.deterministic) == ((0,), (False, False))
    with pytest.raises(ValueError, match="same seeds"):
        repeated_pairs("ab", "x")


def test_runs_of_one_method_are_removed_by_themselves_and_label_twins_are_named():
    assert repeated_runs("abab").kept == (0, 1)
    assert repeated_runs("aaa").deterministic == (False,)
    labels = [[0, 1, 1], [0, 1, 1], [0, 0, 1], [0, 1, 1]]
    assert label_twins(labels, ["p", "q", "r", "p"]) == ((1, 0),)
    with pytest.raises(ValueError, match="shape"):
        label_twins([0, 1], "ab")


def test_one_run_under_five_seeds_is_one_run():
    runs = np.tile(np.random.default_rng(3).random((1, 80)), (5, 1))
    other = np.tile(np.random.default_rng(4).random((1, 80)), (5, 1))
    kept = list(repeated_pairs(fingerprints(runs), fingerprints(other)).kept)
    assert "1 seeds cannot speak" in refusal(crossed_paired(runs[kept], other[kept]), "both")


def test_copies_narrow_the_interval_and_without_them_it_covers_what_it_says():
    rng = np.random.default_rng(7)
    seeds = rng.standard_normal((1500, 5, 1))
    copied = np.tile(seeds, (1, 2, 1))
    plain = removed = 0
    for row in copied:
        plain += abs(row.mean()) <= interval(crossed_paired(row, 0 * row), "seeds").half_width
        kept = list(repeated_runs(fingerprints(row)).kept)
        removed += abs(row.mean()) <= interval(crossed_paired(row[kept], 0 * row[kept]), "seeds").half_width
    expected = 1 - 2 * t.sf(t.ppf(0.975, 9) * 2 / 3, 4)  # the standard error is 2/3 of the right one
    assert plain / 1500 == pytest.approx(expected, abs=0.03)
    assert plain / 1500 < 0.9
    assert removed / 1500 == pytest.approx(0.95, abs=0.02)
