"""Paired and two-sample tests that stand beside the default interval, each with the design it is valid for.

None of these decides a verdict: they are the checks and the tools of other designs (one run each, repeated
random splits, several datasets). Sign flips hold for any differences that are symmetric about zero under the
null, with no normality: for the question that they answer they are exact, but two-sided p cannot fall below
2^(1−n).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr, stdtr, stdtrit

from tcmax.stats.variance import rounding_of, varies

__all__ = [
    "McNemar",
    "SignFlip",
    "TTest",
    "corrected_resampled_t",
    "mcnemar",
    "sign_flip",
    "sign_flip_items",
    "sign_flip_seeds",
    "welch",
    "wilcoxon_datasets",
]

Alternative = Literal["two-sided", "greater", "less"]
Floats = NDArray[np.float64]

ENUMERATED = 20  # up to 2^20 sign patterns are written out
LARGEST_GRID = 2**24  # points of the Fourier grid, 256 MB as complex numbers
BLOCK = 2**22  # signs drawn at once
SMALLEST_P = 1e-12  # accuracy of the Fourier tail; anything smaller is reported as this


@dataclass(frozen=True)
class SignFlip:
    """p of a sign-flip test. floor: the smallest p that n units can give, 2^(1−n) two-sided and 2^−n
    one-sided. method: "exact" (enumeration or convolution) or "monte carlo", then with `resamples` drawn
    patterns."""

    estimate: float
    p_value: float
    floor: float
    n_units: int
    alternative: Alternative
    method: Literal["exact", "monte carlo"]
    resamples: int


@dataclass(frozen=True)
class McNemar:
    """Per run, each (seeds,): items only A got right, items only B got right, exact two-sided p."""

    wins: NDArray[np.intp]
    losses: NDArray[np.intp]
    p_value: Floats


@dataclass(frozen=True)
class TTest:
    """Estimate ± half_width at confidence 1 − alpha, with df and the two-sided p of zero difference."""

    estimate: float
    low: float
    high: float
    half_width: float
    standard_error: float
    df: float
    p_value: float
    alpha: float


def sign_flip(
    values: ArrayLike,
    alternative: Alternative = "two-sided",
    rng: np.random.Generator | None = None,
    resamples: int = 10_000,
) -> SignFlip:
    """Is the mean of the values zero, if each was as likely to have the other sign?

    values   (units,) float, finite. Integers (net items won, sums over seeds of binary differences) are the
             exact case at any size: the distribution of Σ ±v_i is the Fourier transform of Π cos(v_i·θ),
             absolute error below 1e-12 and no p reported below that. Else up to 20 units are enumerated, and
             more than 20 need `rng`.
    resamples   sign patterns drawn when Monte Carlo; then p = (1 + hits) / (1 + resamples), which is never
                zero (Phipson and Smyth 2010)

    Ties with the observed sum count as at least as extreme. All-zero values give p = 1.
    """
    v = _vector(values)
    if alternative not in ("two-sided", "greater", "less"):
        raise ValueError(f"alternative is two-sided, greater or less, got {alternative!r}")
    signed = -v if alternative == "less" else v
    two_sided = alternative == "two-sided"
    observed = abs(float(signed.sum())) if two_sided else float(signed.sum())
    magnitudes = np.abs(v[v != 0])
    threshold = observed - 1e-12 * float(magnitudes.sum())
    integral = bool(np.all(magnitudes == np.rint(magnitudes))) and magnitudes.sum() <= (LARGEST_GRID - 1) / 2
    method: Literal["exact", "monte carlo"] = "exact"
    if magnitudes.size <= ENUMERATED:
        sums = _all_sums(magnitudes)
        p = float(np.mean((np.abs(sums) if two_sided else sums) >= threshold))
    elif integral:
        p = _tail_of_integer_sums(magnitudes.astype(np.int64), round(observed), two_sided)
    else:
        if rng is None:
            raise ValueError(f"{magnitudes.size} values that are not integers need a generator")
        p = _monte_carlo(magnitudes, threshold, two_sided, rng, resamples)
        method = "monte carlo"
    return SignFlip(
        estimate=float(v.mean()),
        p_value=p,
        floor=2.0 ** (1 - v.size if two_sided else -v.size),
        n_units=int(v.size),
        alternative=alternative,
        method=method,
        resamples=resamples if method == "monte carlo" else 0,
    )


def sign_flip_seeds(
    difference: ArrayLike, alternative: Alternative = "two-sided", rng: np.random.Generator | None = None
) -> SignFlip:
    """Sign flip over seeds of the paired differences (seeds, items): new seeds on this test set, without
    normality.

    The estimate is the mean difference. Where the floor exceeds the alpha, no result can reach the alpha.
    """
    d = _scores(difference)
    return replace(sign_flip(d.sum(axis=1), alternative, rng), estimate=float(d.mean()))


def sign_flip_items(
    difference: ArrayLike,
    groups: ArrayLike | None = None,
    alternative: Alternative = "two-sided",
    rng: np.random.Generator | None = None,
    resamples: int = 10_000,
) -> SignFlip:
    """Sign flip over items, or groups of items, of the seed averages: new items for these trained models.

    difference (seeds, items) float; groups (items,) labels, whose items keep a common sign.
    """
    d = _scores(difference)
    sums = d.sum(axis=0)
    if groups is not None:
        labels = np.asarray(groups)
        if labels.shape != sums.shape:
            raise ValueError(f"groups need one label per item ({sums.size}), got shape {labels.shape}")
        sums = np.bincount(np.unique(labels, return_inverse=True)[1], weights=sums)
    return replace(sign_flip(sums, alternative, rng, resamples), estimate=float(d.mean()))


def mcnemar(a: ArrayLike, b: ArrayLike) -> McNemar:
    """Do two trained models differ on new items? Exact test of each run by itself, never pooled over seeds.

    a, b   (seeds, items) of 0 and 1, run against run on the same items. Pooling would count every item once
           per seed as if items were independent copies. Two-sided p = 2·P(Bin(n, ½) ≤ min(wins, losses)),
           at most 1, and 1 where no item is discordant.
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 2:
        raise ValueError(f"McNemar needs two (seeds, items) arrays, got {first.shape} and {second.shape}")
    if not all(((scores == 0) | (scores == 1)).all() for scores in (first, second)):
        raise ValueError("McNemar needs scores of 0 and 1")
    wins = np.count_nonzero(first > second, axis=1)
    losses = np.count_nonzero(first < second, axis=1)
    p = np.minimum(1.0, 2 * bdtr(np.minimum(wins, losses).astype(np.float64), wins + losses, 0.5))
    return McNemar(wins, losses, p)


def welch(mean_a: float, sd_a: float, n_a: int, mean_b: float, sd_b: float, n_b: int, alpha: float = 0.05) -> TTest:
    """A − B for independent seeds, from means, sample standard deviations (divisor n − 1) and numbers of
    runs.
    """
    if min(n_a, n_b) < 2 or min(sd_a, sd_b) < 0:
        raise ValueError(f"Welch needs two runs each and sd >= 0, got n {n_a}, {n_b}, sd {sd_a}, {sd_b}")
    part_a, part_b = sd_a**2 / n_a, sd_b**2 / n_b
    weight = part_a**2 / (n_a - 1) + part_b**2 / (n_b - 1)
    df = (part_a + part_b) ** 2 / weight if weight > 0 else float(min(n_a, n_b) - 1)
    return _t_test(mean_a - mean_b, math.sqrt(part_a + part_b), df, alpha)


def corrected_resampled_t(
    differences: ArrayLike, test_over_train: float, alpha: float = 0.05, scale: float | None = None
) -> TTest:
    """Mean difference over repeated random train/test splits, whose training sets overlap.

    differences       (splits,) float
    test_over_train   n_test / n_train of one split; it is what the variance misses when splits are taken as
                      independent: (1/K + n_test/n_train)·s² instead of s²/K (Nadeau and Bengio 2003, eq. 9)
    scale             largest absolute score behind the differences (theirs when not given): what varies by rounding of
                      it does not vary

    For repeated random splits only: not for seeds on one fixed split, nor for cross-validation folds.
    """
    d = _vector(differences)
    if d.size < 2 or test_over_train < 0:
        raise ValueError(f"need two splits and a ratio >= 0, got {d.size} and {test_over_train}")
    variance = float(np.var(d, ddof=1)) * (1 / d.size + test_over_train) if varies(d, scale) else 0.0
    return _t_test(float(d.mean()), math.sqrt(variance), float(d.size - 1), alpha)


def wilcoxon_datasets(
    differences: ArrayLike | Sequence[Fraction], alternative: Alternative = "two-sided", scale: float | None = None
) -> SignFlip:
    """Wilcoxon's signed-rank test over datasets, exact at any number of them, ties and zeros included.

    differences   (datasets,) one mean difference each: float, or `fractions.Fraction`, whose ties are exact. For claims
                  about datasets in general only; within a dataset, items and seeds are not exchangeable units of a
                  rank test.
    scale         largest absolute score behind the differences (theirs when not given). Floats that are closer than 8
                  machine epsilons of it tie, and those so close to 0 are zeros: 0.8 − 0.7 and 0.6 − 0.5 are one number

    Tied magnitudes get mid-ranks; zeros take part in the ranking and then drop out (Pratt 1959). `estimate`
    is the mean difference. Five datasets cannot give a two-sided p below 0.0625.
    """
    exact = [x for x in differences if isinstance(x, Fraction)] if isinstance(differences, Sequence) else []
    d = _vector(np.asarray(differences, dtype=np.float64))
    if len(exact) == d.size:
        distinct = {m: k for k, m in enumerate(sorted({*map(abs, exact), Fraction(0)}))}
        place = np.array([distinct[abs(x)] for x in exact])
    else:
        place = _places(np.abs(d), rounding_of(d, scale))
    below = np.sum(place[:, np.newaxis] > place, axis=1)
    equal = np.sum(place[:, np.newaxis] == place, axis=1)
    twice_rank = 2 * below + equal + 1
    result = sign_flip(np.where(place == 0, 0.0, np.sign(d)) * twice_rank, alternative)
    return replace(result, estimate=float(d.mean()))


def _places(magnitudes: Floats, rounding: float) -> NDArray[np.intp]:
    """Order of magnitudes, 0 for zeros; a chain of values that are next to each other within rounding is one place."""
    order = np.argsort(magnitudes)
    steps = np.diff(magnitudes[order], prepend=0.0) > rounding
    place = np.empty(magnitudes.size, dtype=np.intp)
    place[order] = np.cumsum(steps)
    return place


def _vector(values: ArrayLike) -> Floats:
    v = np.asarray(values, dtype=np.float64)
    if v.ndim != 1 or v.size == 0 or not np.isfinite(v).all():
        raise ValueError(f"need one axis of finite values, got shape {v.shape}")
    return v


def _scores(values: ArrayLike) -> Floats:
    d = np.asarray(values, dtype=np.float64)
    if d.ndim != 2 or d.size == 0 or not np.isfinite(d).all():
        raise ValueError(f"differences need shape (seeds, items) and finite values, got shape {d.shape}")
    return d


def _all_sums(magnitudes: Floats) -> Floats:
    """All 2^n sums of ± the magnitudes."""
    sums = np.zeros(1)
    for m in magnitudes:
        sums = np.concatenate([sums - m, sums + m])
    return sums


def _tail_of_integer_sums(magnitudes: NDArray[np.int64], observed: int, two_sided: bool) -> float:
    total = int(magnitudes.sum())
    size = 2 * total + 1
    theta = 2 * np.pi * np.arange(total + 1) / size
    transform = np.ones(total + 1)
    for m, count in zip(*np.unique(magnitudes, return_counts=True), strict=True):
        transform *= np.cos(m * theta) ** count
    law = np.fft.irfft(transform, n=size)  # P(sum = k) at index k modulo size, symmetric in k

    def at_least(k: int) -> float:
        return float(law[k : total + 1].sum()) if k > 0 else 1 - float(law[1 - k : total + 1].sum())

    p = 2 * at_least(observed) if two_sided else at_least(observed)
    smallest = 2.0 ** (1 - magnitudes.size if two_sided else -magnitudes.size)
    return min(1.0, max(p, smallest, SMALLEST_P))


def _monte_carlo(
    magnitudes: Floats, threshold: float, two_sided: bool, rng: np.random.Generator, resamples: int
) -> float:
    hits, done, rows = 0, 0, max(1, BLOCK // magnitudes.size)
    while done < resamples:
        block = min(rows, resamples - done)
        signs = rng.integers(0, 2, (block, magnitudes.size), dtype=np.int8)
        sums = 2 * (signs @ magnitudes) - magnitudes.sum()
        hits += int(np.count_nonzero((np.abs(sums) if two_sided else sums) >= threshold))
        done += block
    return (1 + hits) / (1 + resamples)


def _t_test(estimate: float, standard_error: float, df: float, alpha: float) -> TTest:
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie strictly between 0 and 1, got {alpha}")
    half_width = float(stdtrit(df, 1 - alpha / 2)) * standard_error
    p = 2 * float(stdtr(df, -abs(estimate) / standard_error)) if standard_error > 0 else 1.0
    return TTest(
        estimate=estimate,
        low=estimate - half_width,
        high=estimate + half_width,
        half_width=half_width,
        standard_error=standard_error,
        df=df,
        p_value=p,
        alpha=alpha,
    )
