"""Oracles: loops over pairs, scipy's Mann-Whitney statistic, and the published variance formula solved on a grid."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from tcmax.stats.effects import cliffs_delta, hedges_g_paired, improvement, net_items_won

runs = st.lists(st.integers(0, 6), min_size=1, max_size=9)


def test_net_items_are_counted_per_run():
    a = [[1, 1, 0, 0], [1, 0, 0, 1]]
    b = [[0, 1, 0, 1], [0, 0, 0, 0]]
    found = net_items_won(a, b)
    assert (found.wins, found.losses, found.net, found.n_items) == (1.5, 0.5, 1.0, 4)
    assert net_items_won(b, a).net == -1.0
    assert found.net / 4 == np.mean(a) - np.mean(b)
    with pytest.raises(ValueError, match="0 and 1"):
        net_items_won([[0.5]], [[1]])
    with pytest.raises(ValueError, match="seeds, items"):
        net_items_won([1], [1])


@pytest.mark.parametrize("n", [3, 5, 20])
def test_hedges_correction_removes_the_bias_of_d(n):
    # E[d_z] = δ/J for normal differences, from the noncentral t law: E[T] of nct divided by √n
    delta = 0.8
    expected_d = scipy.stats.nct(n - 1, delta * math.sqrt(n)).mean() / math.sqrt(n)
    d = np.random.default_rng(0).normal(size=n)
    ratio = hedges_g_paired(d) / (d.mean() / d.std(ddof=1))
    assert ratio * expected_d == pytest.approx(delta)


def test_hedges_g_of_constant_differences_is_infinite_or_zero():
    assert hedges_g_paired([0.5] * 4) == math.inf
    assert hedges_g_paired([-0.5] * 4) == -math.inf
    assert hedges_g_paired([0.0] * 4) == 0.0
    with pytest.raises(ValueError, match="three"):
        hedges_g_paired([1.0, 2.0])


@given(runs, runs)
def test_delta_and_improvement_count_pairs(a, b):
    wins = sum(x > y for x in a for y in b)
    losses = sum(x < y for x in a for y in b)
    n = len(a) * len(b)
    assert cliffs_delta(a, b) == pytest.approx((wins - losses) / n)
    assert cliffs_delta(b, a) == -cliffs_delta(a, b)
    u = scipy.stats.mannwhitneyu(a, b).statistic
    found = improvement(a, b)
    assert found.estimate == pytest.approx(u / n)
    assert (found.low is None) == (min(len(a), len(b)) < 6)


@pytest.mark.parametrize("shift", [0, 2, 20])
def test_the_interval_is_where_the_published_standard_error_reaches_the_estimate(shift):
    rng = np.random.default_rng(1)
    a, b = rng.normal(shift, 1, 7), rng.normal(0, 1, 9)
    found = improvement(a, b)
    theta = np.linspace(0, 1, 200_001)
    q1, q2 = theta / (2 - theta), 2 * theta**2 / (1 + theta)
    inner = (7 + 9) / 2 - 1
    se = np.sqrt(np.maximum(theta * (1 - theta) + inner * (q1 - theta**2) + inner * (q2 - theta**2), 0) / 63)
    inside = theta[np.abs(theta - found.estimate) <= 1.959964 * se]
    assert found.low == pytest.approx(inside.min(), abs=1e-4)
    assert found.high == pytest.approx(inside.max(), abs=1e-4)
    mirrored = improvement(b, a)
    assert (mirrored.low, mirrored.high) == pytest.approx((1 - found.high, 1 - found.low))


def test_complete_separation_is_not_certainty():
    found = improvement(np.arange(10, 16), np.arange(6))
    assert found.estimate == 1.0
    assert found.high == 1.0
    assert 0.4 < found.low < 0.9


def test_coverage_of_the_interval_at_six_seeds_is_near_nominal():
    rng = np.random.default_rng(7)
    truth = scipy.stats.norm.cdf(1 / math.sqrt(2))
    hits = 0
    for _ in range(1500):
        found = improvement(rng.normal(1, 1, 6), rng.normal(0, 1, 6))
        hits += found.low <= truth <= found.high
    assert 0.93 <= hits / 1500 <= 0.99


def test_runs_that_are_missing_are_refused():
    with pytest.raises(ValueError, match="runs of B"):
        improvement([1.0], [])
    with pytest.raises(ValueError, match="runs of A"):
        cliffs_delta([np.nan], [1.0])


def test_constant_differences_of_rounded_scores_have_no_spread():
    b = np.array([0.6, 0.05, 0.75, 0.16, 0.51, 0.89, 0.42, 0.3, 0.33])[:5]
    differences = np.round(b + 0.01, 2) - b
    assert np.ptp(differences) > 0
    assert hedges_g_paired(differences, scale=0.7) == math.inf
    assert hedges_g_paired(differences - 0.01, scale=0.7) == 0
