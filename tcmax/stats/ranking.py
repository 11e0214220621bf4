"""Which variants are best, and how far apart, when every score is uncertain.

`rank_variants` works within a dataset and decides what a table may set in bold. `critical_difference` is the
rank analysis across datasets, whose power is small: with 14 variants on 5 datasets mean ranks must differ by
8.9 of 13.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tcmax.stats.crossed import Population, crossed_paired, crossed_unpaired, one_sided_p
from tcmax.stats.multiplicity import adjust

__all__ = [
    "CriticalDifference",
    "Ranking",
    "Ties",
    "critical_difference",
    "letter_display",
    "nemenyi_difference",
    "rank_variants",
    "tie_groups",
]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Ranking:
    """Variants by estimate, best first; all tuples run in that order.

    top         variants that no rival beats: the set of possible best, with confidence 1 − alpha/2
    letters     compact letter display: variants that share a letter are not distinguished
    rank_low,   confidence set of each rank, simultaneous over variants with confidence 1 − alpha
    rank_high
    p_values    (V, V) one-sided p of "row beats column", unadjusted
    """

    variants: tuple[str, ...]
    estimates: tuple[float, ...]
    top: tuple[str, ...]
    letters: tuple[str, ...]
    rank_low: tuple[int, ...]
    rank_high: tuple[int, ...]
    p_values: tuple[tuple[float, ...], ...]
    population: Population
    alpha: float
    family: str


@dataclass(frozen=True)
class Ties:
    """What pairwise tests leave open; all but `top` in the order of the variants, and named as in `Ranking`."""

    top: tuple[str, ...]
    letters: tuple[str, ...]
    rank_low: tuple[int, ...]
    rank_high: tuple[int, ...]


@dataclass(frozen=True)
class CriticalDifference:
    """Friedman's test and Nemenyi's critical difference; variants by mean rank, best first.

    groups   maximal runs of variants whose mean ranks differ by less than the critical difference
    """

    variants: tuple[str, ...]
    mean_ranks: tuple[float, ...]
    critical_difference: float
    friedman_p: float
    groups: tuple[tuple[str, ...], ...]
    n_datasets: int
    alpha: float


def rank_variants(
    scores: Mapping[str, ArrayLike],
    groups: ArrayLike | None = None,
    second_groups: ArrayLike | None = None,
    population: Population = "both",
    alpha: float = 0.05,
    paired: bool = True,
    larger_is_better: bool = True,
) -> Ranking:
    """Tie groups, set of possible best and rank confidence sets of variants on one dataset.

    scores   variant -> (seeds, items) float on the same items; with `paired`, on the same seeds

    A variant leaves `top` when some rival beats it, one-sided at alpha/2 after Holm over its rivals. Every
    variant is compared with all its rivals, so there is no price for having picked the best from the same
    data: the true best is left out with probability at most alpha/2 (multiple comparisons with the best, Hsu
    1981). Letters and rank sets come from all pairs, two-sided, Holm over the pairs. At least two variants
    (ValueError).
    """
    if len(scores) < 2:
        raise ValueError("a ranking needs two variants")
    arrays = {name: np.asarray(values, dtype=np.float64) for name, values in scores.items()}
    sign = 1.0 if larger_is_better else -1.0
    order = sorted(arrays, key=lambda name: -sign * float(arrays[name].mean()))
    compare = crossed_paired if paired else crossed_unpaired
    size = len(order)
    beats = np.full((size, size), 0.5)
    for i, j in itertools.combinations(range(size), 2):
        c = compare(arrays[order[i]], arrays[order[j]], groups, second_groups)
        greater, less = (one_sided_p(c, 0.0, population, side) for side in ("greater", "less"))
        beats[i, j], beats[j, i] = (greater, less) if larger_is_better else (less, greater)
    family = f"all {size * (size - 1) // 2} pairs of {size} variants"
    pairs = list(itertools.combinations(range(size), 2))
    both_sides = {f"{i},{j}": min(1.0, 2 * min(beats[i, j], beats[j, i])) for i, j in pairs}
    differ = np.zeros((size, size), dtype=bool)
    for (i, j), p in zip(pairs, adjust(both_sides, family).adjusted, strict=True):
        differ[i, j] = differ[j, i] = p <= alpha
    ties = tie_groups(order, beats, differ, alpha)
    return Ranking(
        variants=tuple(order),
        estimates=tuple(float(arrays[name].mean()) for name in order),
        top=ties.top,
        letters=ties.letters,
        rank_low=ties.rank_low,
        rank_high=ties.rank_high,
        p_values=tuple(tuple(row) for row in beats.tolist()),
        population=population,
        alpha=alpha,
        family=family,
    )


def tie_groups(variants: Sequence[str], beats: ArrayLike, differ: ArrayLike, alpha: float = 0.05) -> Ties:
    """What pairwise tests say of an order of variants.

    variants   V names; letters are given in this order
    beats      (V, V) one-sided p of "row beats column"; NaN where a pair was not tested, which leaves both in `top`
    differ     (V, V) bool, symmetric: which pairs are told apart, after correction over all pairs

    A variant leaves `top` when some rival beats it, one-sided at alpha/2 after Holm over its rivals.
    """
    p, apart = np.asarray(beats, dtype=np.float64), np.asarray(differ, dtype=bool)
    top = []
    for j, name in enumerate(variants):
        rivals = {v: p[i, j] for i, v in enumerate(variants) if i != j and not np.isnan(p[i, j])}
        if not rivals or not adjust(rivals, f"rivals of {name}").rejected(alpha / 2):
            top.append(name)
    better = apart & (p < p.T)  # better[i, j]: i beats j
    return Ties(
        top=tuple(top),
        letters=letter_display(apart),
        rank_low=tuple((1 + better.sum(axis=0)).tolist()),
        rank_high=tuple((len(variants) - better.sum(axis=1)).tolist()),
    )


def nemenyi_difference(n_variants: int, n_datasets: int, alpha: float = 0.05) -> float:
    """By how much mean ranks of k variants over N datasets must differ: CD = q·√(k(k + 1)/(6N)), with q the
    quantile of the studentised range over √2 (Demšar 2006). ValueError under two variants or one dataset.
    """
    from scipy.stats import studentized_range

    if n_variants < 2 or n_datasets < 1:
        raise ValueError(f"need two variants on one dataset, got {n_variants} on {n_datasets}")
    q = float(studentized_range.ppf(1 - alpha, n_variants, np.inf)) / math.sqrt(2)
    return q * math.sqrt(n_variants * (n_variants + 1) / (6 * n_datasets))


def letter_display(differ: ArrayLike) -> tuple[str, ...]:
    """One string of letters per variant: two variants share a letter if and only if they do not differ.

    differ (V, V) bool, symmetric. Insert-and-absorb (Piepho 2004): start with one column that holds all
    variants; for each pair that differs, split every column that holds both; drop columns contained in
    others. Letters are given in the order of the first variant of each column.
    """
    matrix = np.asarray(differ, dtype=bool)
    if matrix.ndim != 2 or not np.array_equal(matrix, matrix.T):
        raise ValueError("differ needs to be a symmetric (V, V) matrix")
    columns = [frozenset(range(len(matrix)))]
    for i, j in zip(*np.nonzero(np.triu(matrix, 1)), strict=True):
        split = []
        for column in columns:
            split += [column - {i}, column - {j}] if i in column and j in column else [column]
        columns = [c for c in dict.fromkeys(split) if not any(c < other for other in split)]
    columns.sort(key=lambda column: sorted(column))
    names = [_letters(k) for k in range(len(columns))]
    return tuple(
        "".join(name for name, column in zip(names, columns, strict=True) if variant in column)
        for variant in range(len(matrix))
    )


def critical_difference(
    scores: Mapping[str, Sequence[float]], alpha: float = 0.05, larger_is_better: bool = True
) -> CriticalDifference:
    """Friedman's test over datasets with Nemenyi's critical difference of mean ranks (Demšar 2006).

    scores   variant -> (datasets,) mean scores, datasets in the same order; at least three variants and two
             datasets (ValueError). Ties share their mean rank.

    Datasets are the sample here: seeds and items are not used.
    """
    from scipy.stats import friedmanchisquare, rankdata

    table = np.column_stack([np.asarray(v, dtype=np.float64) for v in scores.values()])
    n, k = table.shape
    if n < 2 or k < 3 or not np.isfinite(table).all():
        raise ValueError(f"need three variants on two datasets with finite scores, got {k} on {n}")
    mean_ranks = rankdata(-table if larger_is_better else table, axis=1).mean(axis=0)
    constant = bool(np.all(mean_ranks == mean_ranks[0]))
    p = 1.0 if constant else float(friedmanchisquare(*table.T).pvalue)
    width = nemenyi_difference(k, n, alpha)
    order = np.argsort(mean_ranks, kind="stable")
    names, ranks = [list(scores)[i] for i in order], mean_ranks[order]
    runs: list[tuple[int, int]] = []
    for start in range(k):
        stop = int(np.searchsorted(ranks, ranks[start] + width, side="left"))
        if not runs or stop > runs[-1][1]:
            runs.append((start, stop))
    return CriticalDifference(
        variants=tuple(names),
        mean_ranks=tuple(ranks.tolist()),
        critical_difference=width,
        friedman_p=p,
        groups=tuple(tuple(names[start:stop]) for start, stop in runs),
        n_datasets=n,
        alpha=alpha,
    )


def _letters(k: int) -> str:
    """a ... z, then a2, b2, ..."""
    return "abcdefghijklmnopqrstuvwxyz"[k % 26] + ("" if k < 26 else str(k // 26 + 1))
