"""Two checks of a verdict: does it hang on one seed or group, and does a method beat itself?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tcmax.stats.crossed import (
    MIN_UNITS,
    Crossed,
    Population,
    Verdict,
    crossed_paired,
    crossed_unpaired,
    verdict_of,
)

__all__ = ["Influence", "influence", "self_comparison"]


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
    level: float = 0.05,
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
            crossed_paired(first[seeds][:, items], second[seeds][:, items], kept), margin, population, level
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
    scores: ArrayLike, groups: ArrayLike | None = None, second_groups: ArrayLike | None = None
) -> Crossed:
    """A method against itself: even rows of its seeds against odd rows, as independent seeds on the same
    items.

    scores (seeds, items) float, 6 seeds or more (ValueError). The true difference is zero, so over many
    methods and datasets *supported* must come out at most level/2 of the time, and *contradicted* likewise.
    """
    array = np.asarray(scores, dtype=np.float64)
    if array.ndim != 2 or len(array) < 2 * MIN_UNITS:
        raise ValueError(f"a self comparison needs {2 * MIN_UNITS} seeds, got shape {array.shape}")
    return crossed_unpaired(array[::2], array[1::2], groups, second_groups)
