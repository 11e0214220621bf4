"""Tests from printed means and spreads, against scipy on constructed samples and published intervals (item D1)."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tcmax.audit.rounding import Interval, parse_printed
from tcmax.audit.summaries import overlap_critique, paired_bounds, seed_sd, welch, welch_range

sds = st.floats(0.01, 5)
runs = st.integers(2, 20)


def around(value: float, half: float) -> Interval:
    return Interval(Fraction(value - half), Fraction(value + half))


def correlated(mean_a: float, sd_a: float, mean_b: float, sd_b: float, n: int, rho: float) -> tuple:
    """Two vectors with exactly these sample means, standard deviations and correlation."""
    rng = np.random.default_rng(2)
    q, _ = np.linalg.qr(np.column_stack([np.ones(n), rng.normal(size=(n, 2))]))
    x, y = q[:, 1] * math.sqrt(n - 1), q[:, 2] * math.sqrt(n - 1)
    return mean_a + sd_a * x, mean_b + sd_b * (rho * x + math.sqrt(max(0.0, 1 - rho**2)) * y)


@given(mean_a=st.floats(-5, 5), sd_a=sds, n_a=runs, mean_b=st.floats(-5, 5), sd_b=sds, n_b=runs)
def test_welch_is_scipys(mean_a, sd_a, n_a, mean_b, sd_b, n_b):
    ours = welch(mean_a, sd_a, n_a, mean_b, sd_b, n_b)
    theirs = stats.ttest_ind_from_stats(mean_a, sd_a, n_a, mean_b, sd_b, n_b, equal_var=False)
    assert ours.t == pytest.approx(theirs.statistic)
    assert ours.p == pytest.approx(theirs.pvalue)


def test_welch_df_and_interval_are_those_of_samples_with_these_moments():
    x, y = correlated(1.0, 0.7, 0.2, 1.9, 6, 0.3)
    result = stats.ttest_ind(x, y, equal_var=False)
    low, high = result.confidence_interval(0.95)
    ours = welch(1.0, 0.7, 6, 0.2, 1.9, 6)
    assert (ours.df, ours.low, ours.high) == pytest.approx((result.df, low, high))


@given(sd_a=sds, n_a=runs, sd_b=sds, n_b=runs, gap=st.floats(0.01, 5))
def test_swapping_the_methods_negates_the_difference(sd_a, n_a, sd_b, n_b, gap):
    forward, backward = welch(gap, sd_a, n_a, 0, sd_b, n_b), welch(0, sd_b, n_b, gap, sd_a, n_a)
    assert forward.p == pytest.approx(backward.p)
    assert (forward.low, forward.high) == pytest.approx((-backward.high, -backward.low))


@pytest.mark.parametrize("n", [2, 3, 10])
def test_the_three_readings_of_a_spread(n: int):
    x = np.random.default_rng(0).normal(size=n)
    sd = x.std(ddof=1)
    low, high = stats.t.interval(0.95, n - 1, loc=x.mean(), scale=stats.sem(x))
    assert seed_sd(sd, n, "sd") == pytest.approx(sd)
    assert seed_sd(stats.sem(x), n, "se") == pytest.approx(sd)
    assert seed_sd((high - low) / 2, n, "ci95") == pytest.approx(sd)


@given(
    gap=st.floats(-3, 3),
    sd_a=st.floats(0.1, 3),
    sd_b=st.floats(0.1, 3),
    n_a=st.integers(2, 12),
    n_b=st.integers(2, 12),
    where=st.lists(st.floats(-1, 1), min_size=4, max_size=4),
)
def test_no_value_behind_the_print_leaves_the_range(gap, sd_a, sd_b, n_a, n_b, where):
    half = 0.05
    span = welch_range(around(gap, half), around(sd_a, half), n_a, around(0, half), around(sd_b, half), n_b)
    inner = welch(gap + half * where[0], sd_a + half * where[1], n_a, half * where[2], sd_b + half * where[3], n_b)
    slack = 1e-9
    assert span.t_low - slack <= abs(inner.t) <= span.t_high + slack
    assert span.p_low - slack <= inner.p <= span.p_high + slack


@pytest.mark.parametrize("n_b", [2, 4])
def test_the_range_of_p_holds_where_degrees_of_freedom_peak_inside(n_b: int):
    """With two runs a smaller spread can mean a larger p, because it costs degrees of freedom."""
    arguments = (Interval.exactly(10), around(1.25, 0.75), 2, Interval.exactly(0), Interval.exactly(1), n_b)
    inside = [
        stats.ttest_ind_from_stats(10, sd, 2, 0, 1, n_b, equal_var=False).pvalue for sd in np.linspace(0.5, 2, 200)
    ]
    span = welch_range(*arguments)
    assert span.p_low <= min(inside)
    assert max(inside) <= span.p_high
    ends = (inside[0], inside[-1])
    assert n_b != 2 or min(inside) < min(ends)


def test_without_rounding_the_range_is_the_test_itself():
    span = welch_range(
        *map(Interval.exactly, (Fraction(1), Fraction(1, 2))), 5, Interval.exactly(0), Interval.exactly(1), 7
    )
    test = welch(1, 0.5, 5, 0, 1, 7)
    assert (span.t_low, span.t_high, span.p_low, span.p_high) == pytest.approx((test.t, test.t, test.p, test.p))


def test_a_gap_that_may_be_zero_may_have_p_one():
    span = welch_range(around(0.0, 0.1), around(1, 0.1), 3, Interval.exactly(0), around(1, 0.1), 3)
    assert span.p_high == 1
    assert span.t_low == 0


@pytest.mark.parametrize("rho", [-1.0, -0.4, 0.0, 0.8])
def test_the_verdict_flips_exactly_at_the_stated_correlation(rho: float):
    bounds = paired_bounds(1.0, 0.9, 1.2, 6)
    x, y = correlated(1.0, 0.9, 0.0, 1.2, 6, rho)
    p = stats.ttest_rel(x, y).pvalue
    assert (p < 0.05) == (rho > bounds.flip)
    at_flip = stats.ttest_rel(*correlated(1.0, 0.9, 0.0, 1.2, 6, bounds.flip)).pvalue
    assert at_flip == pytest.approx(0.05, rel=1e-6)


def test_worst_and_best_are_the_correlations_minus_one_and_one():
    bounds = paired_bounds(1.0, 0.9, 1.2, 6)
    for rho, p in ((-1.0, bounds.worst.p), (1.0, bounds.best_p)):
        assert stats.ttest_rel(*correlated(1.0, 0.9, 0.0, 1.2, 6, rho)).pvalue == pytest.approx(p)


def test_equal_spreads_and_correlation_one_leave_no_doubt():
    assert paired_bounds(0.1, 1.0, 1.0, 3).best_p == 0
    assert paired_bounds(0.0, 1.0, 1.0, 3).best_p == 1


@given(gap=st.floats(0.01, 10), sd_a=sds, sd_b=sds, n=st.integers(2, 12))
def test_no_correlation_is_worse_than_minus_one(gap, sd_a, sd_b, n):
    bounds = paired_bounds(gap, sd_a, sd_b, n)
    independent = 2 * stats.t.sf(gap / math.sqrt((sd_a**2 + sd_b**2) / n), n - 1)
    assert bounds.best_p - 1e-12 <= independent <= bounds.worst.p + 1e-12
    assert (bounds.flip < -1) == (bounds.worst.p < 0.05)


def mvsa(mean: str, halfwidth: str) -> tuple[Interval, Interval]:
    return parse_printed(mean).interval(), parse_printed(halfwidth).interval()


def test_d1_rn50_intervals_are_two_hundredths_apart_and_rounding_may_close_the_gap():
    critique = overlap_critique(*mvsa("81.75", "0.23"), 10, *mvsa("81.23", "0.27"), 10)
    assert critique.gap == pytest.approx(0.02)
    assert (float(critique.gap_range.low), float(critique.gap_range.high)) == pytest.approx((0.0, 0.04))
    assert critique.gap_range.low == 0
    assert critique.test.t == pytest.approx(3.32, abs=0.005)
    assert critique.test.df == pytest.approx(17.6, abs=0.05)
    assert critique.test.p == pytest.approx(0.004, abs=0.0005)


def test_d1_vit_intervals_are_far_apart():
    critique = overlap_critique(*mvsa("84.05", "0.15"), 10, *mvsa("82.83", "0.15"), 10)
    assert critique.overlap == "no"
    assert critique.test.t == pytest.approx(13.0, abs=0.05)
    assert critique.test.df == pytest.approx(18.0)
    assert critique.test.p < 1e-9


def test_the_product_of_two_confidences_is_a_coverage_not_a_p_value():
    critique = overlap_critique(*mvsa("84.05", "0.15"), 10, *mvsa("82.83", "0.15"), 10)
    assert critique.joint_coverage == pytest.approx(0.9506, abs=5e-5)
    assert critique.equivalent_level == pytest.approx(0.005, abs=2e-4)


def test_no_overlap_is_a_test_at_the_stated_level():
    """Simulated: intervals of two equal means, ten runs each, miss each other that often."""
    rng = np.random.default_rng(8)
    x, y = rng.normal(size=(2, 200_000, 10))
    half = stats.t.ppf(0.975, 9) / math.sqrt(10)
    gap = abs(x.mean(axis=1) - y.mean(axis=1))
    apart = (gap > half * (x.std(axis=1, ddof=1) + y.std(axis=1, ddof=1))).mean()
    stated = overlap_critique(*mvsa("84.05", "0.15"), 10, *mvsa("82.83", "0.15"), 10).equivalent_level
    assert apart == pytest.approx(stated, abs=0.0008)


@pytest.mark.parametrize(
    ("b", "overlap"), [("50.00", "no"), ("50.60", "within rounding"), ("50.70", "yes"), ("52.00", "yes")]
)
def test_overlap_is_called_only_where_rounding_lets_it(b: str, overlap: str):
    result = overlap_critique(*mvsa("51.00", "0.20"), 5, *mvsa(b, "0.20"), 5)
    assert result.overlap == overlap


@pytest.mark.parametrize(
    "call",
    [
        lambda: welch(1, 1, 1, 0, 1, 3),
        lambda: welch(1, 0, 3, 0, 0, 3),
        lambda: welch(1, -1, 3, 0, 1, 3),
        lambda: seed_sd(1.0, 1, "sd"),
        lambda: seed_sd(-1.0, 3, "sd"),
        lambda: seed_sd(1.0, 3, "iqr"),  # type: ignore[arg-type]
        lambda: paired_bounds(1, 0, 1, 3),
        lambda: paired_bounds(1, 1, 1, 1),
        lambda: paired_bounds(1, 1, 1, 3, alpha=1.0),
        lambda: welch_range(around(1, 0.1), around(0, 0.1), 3, around(0, 0.1), around(1, 0.1), 3),
    ],
)
def test_senseless_arguments_are_refused(call):
    with pytest.raises(ValueError, match=r"at least 2 runs|spread|unknown reading|alpha must"):
        call()
