"""Oracles: scipy's skewness, Grubbs' closed form, the root of Hall's cubic by bisection, rates on simulated samples."""

import math

import numpy as np
import pytest
import scipy.optimize
import scipy.stats

from tcmax.stats.shape import seed_shape, skewness_corrected, tail_shape


def grubbs(n, alpha):
    """Critical value of the largest standardised deviation, exact where one value at most can exceed it."""
    t = scipy.stats.t.isf(alpha / (2 * n), n - 2) ** 2
    return (n - 1) / math.sqrt(n) * math.sqrt(t / (n - 2 + t))


@pytest.mark.parametrize("n", [5, 8, 12, 20])
def test_an_outlier_is_told_by_grubbs_limit_and_skewness_is_scipys(n):
    values = np.random.default_rng(n).normal(3, 0.2, n)
    found = seed_shape(values)
    assert found.outlier_limit == pytest.approx(grubbs(n, 0.01), rel=0.01)
    assert found.outlier == pytest.approx(np.abs(scipy.stats.zscore(values, ddof=1)).max())
    assert found.skewness == pytest.approx(scipy.stats.skew(values))
    assert seed_shape(-values).skewness == pytest.approx(-found.skewness)


def share(generate, n, look=seed_shape, repetitions=400):
    return np.mean([bool(look(generate(n)).flags) for _ in range(repetitions)])


def test_it_is_silent_on_normal_seeds_and_fires_on_dropping_ones():
    rng = np.random.default_rng(2)
    assert share(rng.standard_normal, 5) < 0.04
    assert share(rng.standard_normal, 12) < 0.04
    dropping = share(lambda n: 0.01 * rng.standard_normal(n) - 0.5 * (rng.random(n) < 0.1), 20)
    assert dropping == pytest.approx(0.84, abs=0.08)
    assert share(rng.standard_exponential, 20) == pytest.approx(0.43, abs=0.1)
    one = seed_shape([0.9, 0.91, 0.9, 0.92, 0.91, 0.2, 0.9, 0.91])
    assert any("one of 8 seeds lies 2.5 standard deviations below" in flag for flag in one.flags)


def test_few_or_constant_values_have_no_shape():
    for values in ([0.1, 0.9, 0.2], np.full(9, 0.3), 0.1 + 1e-17 * np.arange(9)):
        found = seed_shape(values)
        assert found.flags == ()
        assert math.isnan(found.skewness)
    for bad in ([], [[1.0]], [math.inf, 0.0]):
        with pytest.raises(ValueError, match="finite"):
            seed_shape(bad)
        with pytest.raises(ValueError, match="finite"):
            tail_shape(bad)


def test_tails_are_seen_where_one_side_of_t_is_too_short():
    rng = np.random.default_rng(3)
    assert share(rng.standard_normal, 100, tail_shape) < 0.04
    assert share(lambda n: rng.lognormal(0, 1.5, n), 200, tail_shape, 100) > 0.95
    assert share(rng.standard_exponential, 800, tail_shape, 100) < 0.15  # many enough
    found = tail_shape([*np.linspace(0, 1, 100), 30.0])
    assert any(flag.startswith("one of 101 items holds 98 %") for flag in found.flags)
    groups = np.repeat(np.arange(25), 4)
    heavy = rng.standard_normal(100)
    heavy[:4] += 40
    assert any("groups" in flag for flag in tail_shape(heavy, groups).flags)


@pytest.mark.parametrize(
    "values", [np.exp(np.linspace(-2, 2, 40)), -np.exp(np.linspace(-1, 1, 15)), np.arange(12.0) ** 2]
)
def test_the_correction_inverts_halls_cubic(values):
    n, g = len(values), scipy.stats.skew(values)
    found = skewness_corrected(values, 0.1)

    def transformed(mu):
        w = (values.mean() - mu) / values.std(ddof=1)
        return math.sqrt(n) * (w + g * w**2 / 3 + g**2 * w**3 / 27 + g / (6 * n))

    t = scipy.stats.t.ppf(0.95, n - 1)
    spread = 50 * values.std()
    for bound, edge in ((found.low, t), (found.high, -t)):
        root = scipy.optimize.brentq(
            lambda mu, edge=edge: transformed(mu) - edge, found.estimate - spread, found.estimate + spread
        )
        assert bound == pytest.approx(root, rel=1e-8)
    assert (found.high - found.estimate > found.estimate - found.low) == (g > 0)


def test_symmetric_values_have_the_interval_of_t_and_constant_ones_none():
    values = np.linspace(-1, 1, 21)
    low, high = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.95)
    found = skewness_corrected(values)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-8)
    assert skewness_corrected(np.full(12, 0.4)).low == pytest.approx(0.4)
    with pytest.raises(ValueError, match="10 finite"):
        skewness_corrected([1.0, 2.0])
    with pytest.raises(ValueError, match="alpha"):
        skewness_corrected(values, 1.0)


def test_the_correction_covers_more_where_losses_are_skewed():
    rng, n, truth = np.random.default_rng(4), 600, math.exp(0.5)
    own = plain = 0
    for _ in range(n):
        values = rng.lognormal(0, 1, 50)
        found = skewness_corrected(values)
        low, high = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.95)
        own += found.low <= truth <= found.high
        plain += low <= truth <= high
    assert own / n == pytest.approx(0.925, abs=0.04)
    assert own > plain
