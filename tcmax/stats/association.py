"""Rank correlation of two scores over variants: of two columns in print, or with its uncertainty from seeds and items.

"Methods whose predictions agree more are more accurate" is a statement about a handful of variants. `kendall` takes
them as the sample, which is all that a printed table allows. `resampled_tau` takes them as fixed: how far would
Kendall's τ of these variants move with new seeds and new test items?
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tcmax.stats.crossed import Interval, Population
from tcmax.stats.sequential import Spending

__all__ = ["KendallTau", "Resampled", "kendall", "kendall_tau", "resampled_tau"]

Floats = NDArray[np.float64]

RESAMPLES = 4_000
BLOCK = 2**22  # weights held at once
MIN_RESAMPLED = 10  # percentile intervals over fewer units are too narrow


@dataclass(frozen=True)
class KendallTau:
    """τ_b over n variants and its two-sided permutation p, with variants as the sample."""

    tau: float
    n: int
    p_value: float
    method: Literal["exact permutation", "monte carlo permutation"]


@dataclass(frozen=True)
class Resampled:
    """A statistic with its resamples by population, such as a rank correlation; percentile intervals.

    draws: population -> (R,) values. units: population -> fewest units (seeds, groups) that were resampled. spending:
    as in `crossed`.
    """

    estimate: float
    draws: dict[Population, NDArray[np.float64]] = field(repr=False)
    units: dict[Population, int]
    spending: Spending | None = None

    def refusal(self, population: Population) -> str | None:
        if self.units[population] < MIN_RESAMPLED:
            return (
                f"{self.units[population]} units to resample; percentile intervals need at least {MIN_RESAMPLED} seeds "
                "and groups"
            )
        return None

    def interval(self, population: Population, alpha: float) -> Interval:
        """Percentiles of the resamples; for *both* never inside those of seeds or items alone."""
        here = alpha if self.spending is None else self.spending.alpha_here(alpha)
        bounds = [np.quantile(draws, [here / 2, 1 - here / 2]) for draws in self._answering(population)]
        low, high = min(float(b[0]) for b in bounds), max(float(b[1]) for b in bounds)
        return Interval(self.estimate, low, high, (high - low) / 2, alpha, math.nan, population)

    def p(self, margin: float, population: Population, side: Literal["greater", "less"]) -> float:
        found = []
        for draws in self._answering(population):
            contrary = draws <= margin if side == "greater" else draws > margin
            found.append((1 + int(np.count_nonzero(contrary))) / (1 + draws.size))
        p = max(found)
        return p if self.spending is None else self.spending.p(p)

    def _answering(self, population: Population) -> list[Floats]:
        if population != "both":
            return [self.draws[population]]
        return [self.draws[name] for name in ("both", "seeds", "items") if name in self.draws]


def kendall_tau(x: Floats, y: Floats) -> Floats:
    """Kendall's τ-b over the last axis (variants) of two (..., V) arrays; 0 where one of them has no order at all.

    τ-b = Σ sign(x_i − x_j)·sign(y_i − y_j) / √(n_x·n_y), n counting pairs that are not tied (Kendall 1945).
    Oracle: scipy.stats.kendalltau.
    """
    first, second = np.triu_indices(x.shape[-1], k=1)
    dx = np.sign(x[..., first] - x[..., second])
    dy = np.sign(y[..., first] - y[..., second])
    scale = np.sqrt(np.abs(dx).sum(-1) * np.abs(dy).sum(-1))
    total = (dx * dy).sum(-1)
    tau: Floats = np.divide(total, scale, out=np.zeros_like(total), where=scale > 0)
    return tau


def kendall(x: ArrayLike, y: ArrayLike, rng: np.random.Generator | None = None, resamples: int = 10_000) -> KendallTau:
    """Is there an association between two columns of a printed table? τ_b and a permutation p over n
    variants.

    x, y (n,) float, n ≥ 2, neither constant (ValueError). Exact without ties; with ties, Monte Carlo from
    `rng`. With n variants the p treats *variants* as the sample: 14 points, whatever the test sizes were.
    """
    first, second = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 1 or not (np.isfinite(first) & np.isfinite(second)).all():
        raise ValueError(f"need two finite columns of one length, got {first.shape} and {second.shape}")
    if first.size < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        raise ValueError("an association needs two different values in each column")
    tau = float(kendall_tau(first, second))
    if len(np.unique(first)) == len(np.unique(second)) == first.size:
        from scipy.stats import kendalltau

        p = float(kendalltau(first, second, method="exact").pvalue)
        return KendallTau(tau, first.size, p, "exact permutation")
    if rng is None:
        raise ValueError("tied values need a generator for their permutations")
    permuted = rng.permuted(np.tile(second, (resamples, 1)), axis=1)
    hits = int(np.count_nonzero(np.abs(kendall_tau(first, permuted)) >= abs(tau) - 1e-12))
    p = (1 + hits) / (1 + resamples)
    return KendallTau(tau, first.size, p, "monte carlo permutation")


def resampled_tau(
    x: Floats,
    y: Floats,
    groups: Mapping[str, NDArray[Any]],
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> Resampled:
    """Kendall's τ between two scores over variants, and its resamples for each population.

    x, y     (variants, seeds, items) item scores, or pseudo-values, of the two metrics; the same seeds and items
    groups   up to two groupings of the items, each (items,); without any, items are resampled one by one

    Seeds are drawn with replacement and shared by all variants, items (groups) likewise; two groupings are drawn
    independently and their weights multiplied (pigeonhole bootstrap, Owen 2007). This holds what seeds and items do
    together more than once and so errs on the wide side. Raises ValueError for other shapes or values that are not
    finite.
    """
    if x.shape != y.shape or x.ndim != 3 or not (np.isfinite(x) & np.isfinite(y)).all():
        raise ValueError(f"need two finite (variants, seeds, items) arrays, got {x.shape} and {y.shape}")
    stacked = np.stack([x, y])  # (2, V, S, I)
    codes = [np.unique(labels, return_inverse=True)[1] for labels in groups.values()] or [np.arange(x.shape[-1])]
    cells, cell_of = np.unique(np.stack(codes), axis=1, return_inverse=True)
    n_cells, n_seeds = cells.shape[1], x.shape[1]
    flat = stacked.reshape(-1, x.shape[-1])
    sums = np.stack([np.bincount(cell_of.ravel(), weights=row, minlength=n_cells) for row in flat])
    sizes = np.bincount(cell_of.ravel(), minlength=n_cells).astype(np.float64)
    n_groups = min(int(code.max()) + 1 for code in codes)

    def taus(means: Floats, seed_weights: Floats) -> Floats:
        """(R or 1, 2·V·S) means over items and (R or 1, S) weights of seeds to (R,) values."""
        shaped = means.reshape(len(means), 2, x.shape[0], n_seeds)
        scores = np.einsum("rkvs,rs->rkv", shaped, seed_weights / n_seeds)
        return kendall_tau(scores[:, 0], scores[:, 1])

    these_items = sums.sum(axis=1)[np.newaxis] / x.shape[-1]
    these_seeds = np.ones((1, n_seeds))
    draws: dict[Population, list[Floats]] = {"seeds": [], "items": [], "both": []}
    size = max(1, BLOCK // max(n_cells, flat.shape[0]))
    for start in range(0, resamples, size):
        block = min(size, resamples - start)
        seeds = _drawn(rng, n_seeds, block)
        weights = np.ones((block, n_cells))
        for code, cell in zip(codes, cells, strict=True):
            weights *= _drawn(rng, int(code.max()) + 1, block)[:, cell]
        left = weights @ sizes
        kept = left > 0  # two groupings can leave no item
        means = (weights[kept] @ sums.T) / left[kept, np.newaxis]
        draws["seeds"].append(taus(these_items, seeds))
        draws["items"].append(taus(means, these_seeds))
        draws["both"].append(taus(means, seeds[kept]))
    overall = stacked.mean(axis=(2, 3))
    return Resampled(
        estimate=float(kendall_tau(overall[0], overall[1])),
        draws={population: np.concatenate(parts) for population, parts in draws.items()},
        units={"seeds": n_seeds, "items": n_groups, "both": min(n_seeds, n_groups)},
    )


def _drawn(rng: np.random.Generator, n: int, rows: int) -> Floats:
    """(rows, n): how often each of n units is drawn in n draws with replacement."""
    units = rng.integers(0, n, (rows, n)) + n * np.arange(rows)[:, np.newaxis]
    return np.bincount(units.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float64)
