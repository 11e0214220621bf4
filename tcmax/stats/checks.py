"""Two checks of a verdict: does it hang on one seed or group, and does a method beat itself?"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tcmax.stats.crossed import (
    MIN_UNITS,
    Population,
    Verdict,
    crossed_paired,
    crossed_unpaired,
    interval,
    refusal,
    verdict_of,
)

__all__ = ["Influence", "SelfComparison", "influence", "self_comparison"]

ENUMERATED = 16  # up to so many seeds the halvings are listed (6,435 of 16), beyond they are drawn


@dataclass(frozen=True)
class SelfComparison:
    """How many of the ways to halve a method's seeds were tried, and in how many the halves were told apart at the
    two-sided alpha; no halvings where the design cannot speak for new seeds and items."""

    halvings: int
    told_apart: int
    alpha: float


@dataclass(frozen=True)
class Influence:
    """The verdict, and the seed rows and group labels without which it would be another one."""

    verdict: Verdict
    seeds: tuple[int, ...]
    groups: tuple[str, ...]


def influence(
    a: ArrayLike,
    b: ArrayLike,
    margin: float = 0.0,
    population: Population = "both",
    alpha: float = 0.05,
    groups: ArrayLike | None = None,
) -> Influence:
    """Does the verdict on A − B > margin flip when one seed, or one group of items, leaves?

    a, b   (seeds, items) float, paired; groups (items,) labels. Without groups no item is left out: one of
           hundreds cannot matter. Seeds are left out where 3 remain, groups likewise (0 rows else).

    A verdict that any single seed can flip is fragile even where its interval is right.
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    labels = None if groups is None else np.asarray(groups)

    def verdict(seeds: np.ndarray | slice, items: np.ndarray | slice) -> Verdict:
        kept = None if labels is None else labels[items]
        return verdict_of(
            crossed_paired(first[seeds][:, items], second[seeds][:, items], kept), margin, population, alpha
        )

    everything = slice(None)
    whole = verdict(everything, everything)
    rows = np.arange(len(first))
    flipping = [int(s) for s in rows if verdict(rows != s, everything) != whole] if len(rows) > MIN_UNITS else []
    names = [] if labels is None else np.unique(labels).tolist()
    if len(names) <= MIN_UNITS:
        names = []
    leaving = [str(name) for name in names if verdict(everything, labels != name) != whole]
    return Influence(whole, tuple(flipping), tuple(leaving))


def self_comparison(
    scores: ArrayLike,
    rng: np.random.Generator,
    groups: ArrayLike | None = None,
    second_groups: ArrayLike | None = None,
    *,
    alpha: float = 0.05,
    most: int = 20,
) -> SelfComparison:
    """A method against itself: one half of its seeds against the other, as independent seeds on the same items.

    scores (seeds, items) float, 6 seeds or more (ValueError). All ways to halve the seeds are tried where there are at
    most `most`, else so many that are drawn by `rng`. For new seeds and new items, where the true difference is zero,
    at most a share `alpha` of the halvings may be told apart, over many methods and datasets: those of one method share
    its runs, and those of methods with equal seeds often share their luck.
    """
    array = np.asarray(scores, dtype=np.float64)
    if array.ndim != 2 or len(array) < 2 * MIN_UNITS:
        raise ValueError(f"a self comparison needs {2 * MIN_UNITS} seeds, got shape {array.shape}")
    halves = _halvings(len(array), rng, most)
    told_apart = 0
    for first in halves:
        c = crossed_unpaired(array[first], array[~first], groups, second_groups)
        if refusal(c, "both") is not None:
            return SelfComparison(0, 0, alpha)
        found = interval(c, "both", alpha)
        told_apart += found.decides and (found.low > 0 or found.high < 0)
    return SelfComparison(len(halves), told_apart, alpha)


def _halvings(n: int, rng: np.random.Generator, most: int) -> list[NDArray[np.bool_]]:
    """Ways to split n rows into halves, as masks of the first one; of an odd number the second has one more."""
    if n > ENUMERATED:  # so many that no two of a few draws are alike
        chosen = [tuple(rng.permutation(n)[: n // 2].tolist()) for _ in range(most)]
    else:  # of an even number, row 0 is always in the first half
        chosen = [rows for rows in combinations(range(n), n // 2) if n % 2 or 0 in rows]
        if len(chosen) > most:
            chosen = [chosen[k] for k in rng.choice(len(chosen), most, replace=False)]
    return [np.isin(np.arange(n), rows) for rows in chosen]
