"""Oracles: scipy.stats, statsmodels, and bootstrap distributions enumerated or resampled the plain way."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from statsmodels.stats.proportion import proportion_confint

from tcmax.stats.intervals import bootstrap, t_interval, two_level_bootstrap, wilson


def mean(totals):
    return totals[..., 0] / totals[..., 1]


def as_contributions(values):
    return np.column_stack([values, np.ones(len(values))])


def test_t_interval_is_scipys():
    values = np.random.default_rng(0).normal(size=5)
    low, high = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.9)
    found = t_interval(values, 0.1)
    assert (found.low, found.high, found.n_units) == pytest.approx((low, high, 5))
    with pytest.raises(ValueError, match="two finite values"):
        t_interval([1.0])


@pytest.mark.parametrize(("x", "n"), [(0, 20), (20, 20), (7, 20), (1, 1), (600, 744)])
@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_wilson_is_statsmodels(x, n, alpha):
    found = wilson(x, n, alpha)
    assert (found.low, found.high) == pytest.approx(proportion_confint(x, n, alpha, "wilson"), abs=1e-12)
    assert 0 <= found.low < found.high <= 1
    mirrored = wilson(n - x, n, alpha)
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((found.low, found.high))


@pytest.mark.parametrize("bad", [(-1, 5), (6, 5), (0, 0)])
def test_a_proportion_out_of_range_is_refused(bad):
    with pytest.raises(ValueError, match="proportion"):
        wilson(*bad)


@pytest.mark.parametrize("method", ["bca", "percentile"])
def test_bootstrap_of_a_skewed_mean_nears_scipys(method):
    values = np.random.default_rng(1).exponential(size=60)
    found = bootstrap(mean, as_contributions(values), np.random.default_rng(2), method, 40_000)
    theirs = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=40_000, method=method, rng=np.random.default_rng(3), vectorized=True
    ).confidence_interval
    width = theirs.high - theirs.low
    assert found.low == pytest.approx(theirs.low, abs=0.02 * width)
    assert found.high == pytest.approx(theirs.high, abs=0.02 * width)
    assert found.estimate == pytest.approx(values.mean())


def test_bca_moves_towards_the_long_tail():
    values = np.random.default_rng(1).exponential(size=40) ** 2
    args = (mean, as_contributions(values), np.random.default_rng(2))
    assert bootstrap(*args, "bca").high > bootstrap(*args, "percentile").high * 1.03


def test_equal_units_drawn_together_give_the_binomial_law():
    hits = np.repeat([1.0, 0.0], [150, 50])
    found = bootstrap(mean, as_contributions(hits), np.random.default_rng(5), "percentile", 200_000)
    expected = scipy.stats.binom(200, 0.75).ppf([0.025, 0.975]) / 200
    assert (found.low, found.high) == pytest.approx(tuple(expected), abs=0.0051)


def test_equal_generators_give_equal_bytes_and_order_of_units_does_not_matter_to_the_estimate():
    parts = as_contributions(np.random.default_rng(1).random(50))
    first = bootstrap(mean, parts, np.random.default_rng(9), resamples=500)
    assert first == bootstrap(mean, parts, np.random.default_rng(9), resamples=500)
    assert first.estimate == pytest.approx(
        bootstrap(mean, parts[::-1], np.random.default_rng(9), resamples=500).estimate
    )


def test_blocks_do_not_change_the_draws(monkeypatch):
    import tcmax.stats.intervals as module

    parts = as_contributions(np.random.default_rng(1).random(50))
    whole = bootstrap(mean, parts, np.random.default_rng(9), resamples=501)
    monkeypatch.setattr(module, "BLOCK", 1000)
    assert bootstrap(mean, parts, np.random.default_rng(9), resamples=501).low == pytest.approx(whole.low, rel=1e-12)


def test_all_items_right_give_zero_width_and_few_units_are_refused():
    found = bootstrap(mean, as_contributions(np.ones(30)), np.random.default_rng(0), resamples=100)
    assert found.low == found.high == 1.0
    with pytest.raises(ValueError, match="9 units are too few"):
        bootstrap(mean, as_contributions(np.ones(9)), np.random.default_rng(0))
    with pytest.raises(ValueError, match="9 groups are too few"):
        two_level_bootstrap(np.ones((3, 9)), np.random.default_rng(0))
    with pytest.raises(ValueError, match="seeds >= 2"):
        two_level_bootstrap(np.ones((1, 30)), np.random.default_rng(0))


def test_a_metric_undefined_on_a_resample_is_refused():
    parts = np.zeros((12, 2))
    parts[0] = 1.0
    with (
        np.errstate(invalid="ignore"),
        pytest.raises(ValueError, match="undefined on some resamples"),
    ):
        bootstrap(mean, parts, np.random.default_rng(0), resamples=200)


def test_two_level_quantiles_near_those_of_plain_resampling():
    rng = np.random.default_rng(11)
    groups = np.array([0] * 4 + [1] * 1 + [2] * 3 + list(range(3, 15)))
    d = rng.normal(size=(3, 1)) + rng.normal(size=(3, len(groups))) + rng.normal(size=15)[groups]
    members = [np.flatnonzero(groups == g) for g in range(15)]
    plain = []
    for _ in range(4000):
        seeds = rng.integers(0, 3, 3)
        items = np.concatenate([members[g] for g in rng.integers(0, 15, 15)])
        plain.append(d[np.ix_(seeds, items)].mean())
    found = two_level_bootstrap(d, np.random.default_rng(1), groups, 20_000)
    expected = np.quantile(plain, [0.025, 0.975])
    assert (found.low, found.high) == pytest.approx(tuple(expected), abs=0.05 * np.ptp(expected))
    assert found.n_units == 15


def test_two_level_seed_draws_enumerate_when_items_are_equal():
    # items identical: the replicate is the mean of S drawn seed values, whose law has S^S equally likely points
    values = np.array([0.0, 1.0, 5.0])
    d = np.repeat(values[:, None], 12, axis=1)
    law = [sum(draws) / 3 for draws in itertools.product(values, repeat=3)]
    found = two_level_bootstrap(d, np.random.default_rng(2), resamples=50_000, alpha=0.2)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(law, [0.1, 0.9], method="inverted_cdf")))


def test_swapping_methods_mirrors_the_two_level_interval():
    d = np.random.default_rng(4).normal(0.2, 1, (4, 40))
    found, swapped = (two_level_bootstrap(x, np.random.default_rng(3)) for x in (d, -d))
    assert (found.low, found.high) == pytest.approx((-swapped.high, -swapped.low))
    assert math.isclose(found.estimate, -swapped.estimate)
