"""Tests from printed means and spreads: Welch, what pairing could do, and what a "±" may mean.

All functions take a mean, a spread and a number of runs per method, in one unit. They speak about *new runs on the
same test set*; test items are fixed, and nothing here knows about their noise (see `noise.py`).
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from scipy import stats

from tcmax.audit.rounding import Interval
from tcmax.stats import paired

Spread = Literal["sd", "se", "ci95"]
"""What a printed ± is: standard deviation over runs, standard error of the mean, or 95 % half-width."""


@dataclass(frozen=True)
class SummaryTest:
    """A two-sided t test on a difference of means: difference, standard error, t, df, p and 95 % interval."""

    difference: float
    standard_error: float
    t: float
    df: float
    p: float
    low: float
    high: float


def _t_test(difference: float, standard_error: float, df: float) -> SummaryTest:
    half = float(stats.t.ppf(0.975, df)) * standard_error
    t = difference / standard_error
    p = 2 * float(stats.t.sf(abs(t), df))
    return SummaryTest(difference, standard_error, t, df, p, difference - half, difference + half)


def _check_runs(n_runs: int) -> None:
    if n_runs < 2:
        raise ValueError(f"a spread over runs needs at least 2 runs, got {n_runs}")


def seed_sd(pm: float, n_runs: int, reading: Spread) -> float:
    """The standard deviation over runs that a printed ± stands for, under one reading.

    sd: pm;  se: pm * sqrt(n);  ci95: pm * sqrt(n) / t(0.975, n - 1). Raises ValueError for n_runs < 2, pm < 0 or an
    unknown reading.
    """
    _check_runs(n_runs)
    if pm < 0:
        raise ValueError(f"a spread cannot be negative, got {pm}")
    if reading == "sd":
        return pm
    if reading == "se":
        return pm * math.sqrt(n_runs)
    if reading == "ci95":
        return pm * math.sqrt(n_runs) / float(stats.t.ppf(0.975, n_runs - 1))
    raise ValueError(f"unknown reading {reading!r}; known: {', '.join(get_args(Spread))}")


def welch(mean_a: float, sd_a: float, n_a: int, mean_b: float, sd_b: float, n_b: int) -> SummaryTest:
    """Is A better than B, if the runs of the two are independent? Welch's unequal-variance t test.

    t = (mean_a - mean_b) / sqrt(sd_a^2/n_a + sd_b^2/n_b) with Satterthwaite degrees of freedom. Assumes normal run
    effects; at 3 runs the nominal 5 % is kept within about a point for equal spreads. Runs that share seeds are
    correlated: see `paired_bounds`.

    Raises ValueError for fewer than 2 runs, a negative spread, or two spreads of zero.
    Oracle: scipy.stats.ttest_ind_from_stats(equal_var=False).
    """
    _check_runs(min(n_a, n_b))
    if min(sd_a, sd_b) < 0 or max(sd_a, sd_b) == 0:
        raise ValueError("the spreads must not be negative and not both zero")
    found = paired.welch(mean_a, sd_a, n_a, mean_b, sd_b, n_b)
    t = found.estimate / found.standard_error
    return SummaryTest(found.estimate, found.standard_error, t, found.df, found.p_value, found.low, found.high)


@dataclass(frozen=True)
class TestRange:
    """Smallest and largest |t| and p that the rounding of the printed numbers allows."""

    __test__ = False  # the name is no pytest class

    t_low: float
    t_high: float
    p_low: float
    p_high: float


def welch_range(mean_a: Interval, sd_a: Interval, n_a: int, mean_b: Interval, sd_b: Interval, n_b: int) -> TestRange:
    """How far rounding of means and spreads can move Welch's |t| and p.

    |t| is monotone in each argument, so its range is exact. For p each end of |t| is joined with the least favourable
    degrees of freedom among the corners and, where the two variances of the mean can be in the ratio that
    maximises them, with n_a + n_b - 2: a safe, slightly wide range. A gap that may be zero gives p_high = 1.

    Raises ValueError as `welch` does, and for a spread whose interval reaches zero.
    """
    if min(sd_a.low, sd_b.low) <= 0:
        raise ValueError("a spread that may be zero gives no bounded test")
    gap = mean_a - mean_b
    smallest = max(float(gap.low), float(-gap.high), 0.0)
    largest = max(abs(float(gap.low)), abs(float(gap.high)))
    corners = [
        welch(0.0, float(a), n_a, 0.0, float(b), n_b) for a in (sd_a.low, sd_a.high) for b in (sd_b.low, sd_b.high)
    ]
    dfs = [corner.df for corner in corners]
    # Satterthwaite's df peaks at n_a + n_b - 2, where v_a/(n_a-1) = v_b/(n_b-1).
    balance = n_a * (n_a - 1) / (n_b * (n_b - 1))
    if (sd_a.low / sd_b.high) ** 2 <= balance <= (sd_a.high / sd_b.low) ** 2:
        dfs.append(n_a + n_b - 2.0)
    t_low = smallest / max(corner.standard_error for corner in corners)
    t_high = largest / min(corner.standard_error for corner in corners)
    return TestRange(
        t_low=t_low,
        t_high=t_high,
        p_low=2 * float(stats.t.sf(t_high, max(dfs))),
        p_high=2 * float(stats.t.sf(t_low, min(dfs))),
    )


@dataclass(frozen=True)
class PairedBounds:
    """What the unknown correlation of two methods' runs could do to a paired t test.

    worst: the test at correlation -1. best_p: the p at the correlation +1 (0 for equal spreads and a non-zero gap).
    flip: p < alpha if and only if the correlation exceeds this value; below -1 the verdict is the same for every
    correlation (always significant), above 1 likewise (never).
    """

    worst: SummaryTest
    best_p: float
    flip: float
    alpha: float


def paired_bounds(difference: float, sd_a: float, sd_b: float, n_runs: int, alpha: float = 0.05) -> PairedBounds:
    """If the runs share seeds, how far can their correlation rho move the verdict?

    var(D) = (sd_a^2 + sd_b^2 - 2 rho sd_a sd_b) / n with n - 1 degrees of freedom. Worst at rho = -1, where the
    standard error is (sd_a + sd_b)/sqrt(n). The verdict flips at
    rho* = (sd_a^2 + sd_b^2 - n d^2 / t^2) / (2 sd_a sd_b), t the two-sided quantile.

    Raises ValueError for n_runs < 2, spreads that are not positive, or an alpha outside (0, 1).
    Oracle: scipy.stats.ttest_rel on vectors built to have the given correlation.
    """
    _check_runs(n_runs)
    if min(sd_a, sd_b) <= 0:
        raise ValueError("both spreads must be positive")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie strictly between 0 and 1, got {alpha}")
    quantile = float(stats.t.ppf(1 - alpha / 2, n_runs - 1))
    flip = (sd_a**2 + sd_b**2 - n_runs * difference**2 / quantile**2) / (2 * sd_a * sd_b)
    worst = _t_test(difference, (sd_a + sd_b) / math.sqrt(n_runs), n_runs - 1)
    best_se = abs(sd_a - sd_b) / math.sqrt(n_runs)
    certain = 0.0 if difference else 1.0
    best_p = _t_test(difference, best_se, n_runs - 1).p if best_se > 0 else certain
    return PairedBounds(worst, best_p, flip, alpha)


@dataclass(frozen=True)
class OverlapCritique:
    """What "the two 95 % intervals do not overlap" says, and what it does not.

    gap: distance between the intervals (negative: they overlap), with what rounding allows. overlap: yes, no, or
    cannot be told. joint_coverage: 0.975^2, the chance that both one-sided bounds hold at once if the runs are
    independent; it is a confidence, not a p-value. equivalent_level: the two-sided alpha of the Welch test that
    "no overlap" amounts to. test: the Welch test itself.
    """

    gap: float
    gap_range: Interval
    overlap: Literal["no", "yes", "within rounding"]
    joint_coverage: float
    equivalent_level: float
    test: SummaryTest


def overlap_critique(
    mean_a: Interval, halfwidth_a: Interval, n_a: int, mean_b: Interval, halfwidth_b: Interval, n_b: int
) -> OverlapCritique:
    """Re-read a claim that rests on non-overlapping 95 % intervals of two means (A the larger).

    Non-overlap means difference > halfwidth_a + halfwidth_b, which is |t| above (h_a + h_b)/se: a test far stricter
    than 5 %, so overlap would not have shown equality, and the product of two confidences is no p-value.
    Each interval argument is what rounding leaves of the printed number; `test` uses the midpoints, which are the
    printed values under rounding to nearest.

    Raises ValueError for fewer than 2 runs and for half-widths that are both zero.
    """
    gap = (mean_a - halfwidth_a) - (mean_b + halfwidth_b)
    zero = Interval.exactly(0)
    overlap: Literal["no", "yes", "within rounding"] = "within rounding"
    if zero.lies_below(gap):
        overlap = "no"
    elif gap.lies_below(zero):
        overlap = "yes"
    h_a, h_b = float(halfwidth_a.middle), float(halfwidth_b.middle)
    test = welch(
        float(mean_a.middle),
        seed_sd(h_a, n_a, "ci95"),
        n_a,
        float(mean_b.middle),
        seed_sd(h_b, n_b, "ci95"),
        n_b,
    )
    threshold = (h_a + h_b) / test.standard_error
    return OverlapCritique(
        gap=float(gap.middle),
        gap_range=gap,
        overlap=overlap,
        joint_coverage=0.975**2,
        equivalent_level=2 * float(stats.t.sf(threshold, test.df)),
        test=test,
    )
