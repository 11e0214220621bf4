"""Intervals for one source of variation at a time, and the two-level bootstrap as a check of the default
interval.

t for means of few independent values, Wilson for the accuracy of one run, percentile and BCa bootstrap for
metrics that are not item means. Each says what it holds: an interval over items says nothing about new
seeds, and none of them replaces `crossed.interval` in a verdict.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri, stdtrit

__all__ = ["Bounds", "bootstrap", "resampled_counts", "t_interval", "two_level_bootstrap", "wilson"]

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Floats]

MIN_UNITS = 10  # a bootstrap of fewer units is refused: its intervals are far too short
BLOCK = 2**18  # counts held at once: more would not stay in the cache


@dataclass(frozen=True)
class Bounds:
    """Estimate with a 1 − alpha interval; n_units is what was counted or resampled, items, groups or
    seeds.
    """

    estimate: float
    low: float
    high: float
    alpha: float
    n_units: int
    method: Literal["t", "wilson", "percentile", "bca", "two-level"]
    resamples: int = 0


def t_interval(values: ArrayLike, alpha: float = 0.05) -> Bounds:
    """Mean of independent values such as the scores of seeds: mean ± t_{n−1}·sd/√n.

    values (n,) float, n ≥ 2 (ValueError). Right for normal values at every n; with three values the
    half-width is 2.5 standard deviations.
    """
    v = np.asarray(values, dtype=np.float64)
    _check_level(alpha)
    if v.ndim != 1 or v.size < 2 or not np.isfinite(v).all():
        raise ValueError(f"a t interval needs two finite values, got shape {v.shape}")
    mean = float(v.mean())
    half_width = float(stdtrit(v.size - 1, 1 - alpha / 2)) * float(v.std(ddof=1)) / math.sqrt(v.size)
    return Bounds(mean, mean - half_width, mean + half_width, alpha, int(v.size), "t")


def wilson(successes: int, n: int, alpha: float = 0.05) -> Bounds:
    """Accuracy of one trained model on new, independent items: Wilson's (1927) score interval for a
    proportion.

    Holds item sampling only: not new seeds, not dependence within groups. All right or all wrong still gives
    an interval of positive width.
    """
    _check_level(alpha)
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"a proportion needs 0 <= successes <= n and n >= 1, got {successes} of {n}")
    z2 = float(ndtri(1 - alpha / 2)) ** 2
    p = successes / n
    centre = (successes + z2 / 2) / (n + z2)
    half_width = math.sqrt(z2 * (n * p * (1 - p) + z2 / 4)) / (n + z2)
    return Bounds(p, max(0.0, centre - half_width), min(1.0, centre + half_width), alpha, n, "wilson")


def bootstrap(
    statistic: Statistic,
    contributions: ArrayLike,
    rng: np.random.Generator,
    method: Literal["bca", "percentile"] = "bca",
    resamples: int = 10_000,
    alpha: float = 0.05,
) -> Bounds:
    """Interval of a metric that is a function of sums over units (see `crossed.pseudo_values`), resampling
    units.

    statistic       maps totals (..., K) to the metric (...)
    contributions   (units, K) float: what each unit adds to the totals; a unit is an item, a group (its
                    sum), or a seed. Fewer than 10 units are refused (ValueError).
    method          "percentile", or "bca": corrected for bias and for the change of the variance with the
                    value (Efron 1987), with the acceleration from the jackknife over units

    Where every resample gives the same value, as when all items are right, the interval has zero width and
    decides nothing. Resamples for which the metric is undefined raise ValueError.
    """
    parts = np.asarray(contributions, dtype=np.float64)
    _check_level(alpha)
    if method not in ("bca", "percentile"):
        raise ValueError(f"method is bca or percentile, got {method!r}")
    if parts.ndim != 2 or not np.isfinite(parts).all():
        raise ValueError(f"contributions need shape (units, K) and finite values, got shape {parts.shape}")
    if parts.shape[0] < MIN_UNITS:
        raise ValueError(f"{parts.shape[0]} units are too few to resample; at least {MIN_UNITS} are needed")
    total = parts.sum(axis=0)
    estimate = float(statistic(total))
    replicates = np.concatenate([statistic(totals) for totals in _resampled_totals(parts, rng, resamples)])
    if not np.isfinite(replicates).all():
        raise ValueError("the metric is undefined on some resamples; give each class or bin more items")
    probabilities = np.array([alpha / 2, 1 - alpha / 2])
    if method == "bca" and np.ptp(replicates) > 0:
        probabilities = _bca_probabilities(probabilities, estimate, replicates, statistic(total - parts))
    low, high = np.quantile(replicates, probabilities)
    return Bounds(estimate, float(low), float(high), alpha, parts.shape[0], method, resamples)


def two_level_bootstrap(
    scores: ArrayLike,
    rng: np.random.Generator,
    groups: ArrayLike | None = None,
    resamples: int = 10_000,
    alpha: float = 0.05,
) -> Bounds:
    """Percentile interval of the mean when seeds and items (or groups) are resampled independently of each
    other.

    scores (seeds, items) float, a method's scores or a paired difference; groups (items,) labels.

    The pigeonhole bootstrap (Owen 2007). Its variance is that of seeds plus items plus, three times, what
    they do together, while S resampled seeds show only (S − 1)/S of their variance: the two errors have
    opposite signs, so at few seeds it is right only where they happen to cancel. A check, never a verdict.
    Needs 2 seeds and 10 groups (ValueError). n_units is the number of groups.
    """
    d = np.asarray(scores, dtype=np.float64)
    _check_level(alpha)
    if d.ndim != 2 or d.shape[0] < 2 or not np.isfinite(d).all():
        raise ValueError(f"scores need shape (seeds >= 2, items) and finite values, got shape {d.shape}")
    codes = np.arange(d.shape[1]) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    if codes.shape != d.shape[1:]:
        raise ValueError(f"groups need one label per item ({d.shape[1]}), got shape {codes.shape}")
    sizes = np.bincount(codes).astype(np.float64)
    n_seeds, n_groups = d.shape[0], sizes.size
    if n_groups < MIN_UNITS:
        raise ValueError(f"{n_groups} groups are too few to resample; at least {MIN_UNITS} are needed")
    sums = np.stack([np.bincount(codes, weights=row) for row in d] + [sizes * n_seeds])
    replicates = []
    for by_seed in _resampled_totals(sums.T, rng, resamples):  # (block, seeds + 1), the last column counts scores
        seeds = rng.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), size=len(by_seed))
        replicates.append((seeds * by_seed[:, :-1]).sum(axis=1) / by_seed[:, -1])
    low, high = np.quantile(np.concatenate(replicates), [alpha / 2, 1 - alpha / 2])
    return Bounds(float(d.mean()), float(low), float(high), alpha, n_groups, "two-level", resamples)


def _check_level(alpha: float) -> None:
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie strictly between 0 and 1, got {alpha}")


def resampled_counts(n_units: int, rng: np.random.Generator, resamples: int) -> Iterator[Floats]:
    """How often each unit is drawn, in blocks (block, units)."""
    rows = max(1, BLOCK // n_units)
    for start in range(0, resamples, rows):
        block = min(rows, resamples - start)
        drawn = rng.integers(0, n_units, (block, n_units))
        drawn += n_units * np.arange(block)[:, np.newaxis]
        yield np.bincount(drawn.ravel(), minlength=block * n_units).reshape(block, n_units).astype(np.float64)


def _resampled_totals(parts: Floats, rng: np.random.Generator, resamples: int) -> Iterator[Floats]:
    """Totals (block, K) of resampled units. Units with equal contributions are drawn together, by one
    multinomial.
    """
    distinct, counts = _distinct_rows(parts)
    n_units = len(parts)
    if 32 * len(distinct) > n_units:
        yield from (block @ parts for block in resampled_counts(n_units, rng, resamples))
        return
    rows = max(1, BLOCK // len(distinct))
    for start in range(0, resamples, rows):
        block = min(rows, resamples - start)
        yield rng.multinomial(n_units, counts / n_units, size=block) @ distinct


def _distinct_rows(values: Floats) -> tuple[Floats, NDArray[np.intp]]:
    """The different rows and how often each occurs. Rows are sorted by a weighted sum, which is faster than by all
    their columns; should it be the same for two different rows, all columns are asked."""
    keys = values @ np.random.default_rng(0).random(values.shape[1])
    _, first, inverse, counts = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
    if np.array_equal(values[first][inverse], values):
        return values[first], counts
    distinct, counts = np.unique(values, axis=0, return_counts=True)
    return distinct, counts


def _bca_probabilities(probabilities: Floats, estimate: float, replicates: Floats, left_out: Floats) -> Floats:
    """Levels at which to read the bootstrap distribution: Φ(z₀ + (z₀ + z)/(1 − a(z₀ + z)))."""
    below = np.mean(replicates < estimate) + np.mean(replicates == estimate) / 2
    bias = ndtri(np.clip(below, 0.5 / replicates.size, 1 - 0.5 / replicates.size))
    centred = left_out.mean() - left_out
    spread = float(np.sum(centred**2)) ** 1.5
    acceleration = float(np.sum(centred**3)) / (6 * spread) if spread > 0 else 0.0
    shifted = bias + ndtri(probabilities)
    result: Floats = ndtr(bias + shifted / (1 - acceleration * shifted))
    return result
