"""Variance parts of a mean over seeds and items, with items in groups of any size.

The formulas are those of `crossed`. A group of n_g of I items enters with the weight 1/(1 − n_g/I), which takes out
that its own items pull the mean towards it: the bias-reduced cluster variance (Bell and McCaffrey 2002) of a mean.
Groups count as I²/Σ_g n_g² equal ones. With equal groups the weight is G/(G − 1) and they count as G.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "ROUNDING",
    "Grouping",
    "combined",
    "groupings",
    "item_part",
    "joint_part",
    "rounding_of",
    "satterthwaite",
    "seed_part",
    "varies",
]

Floats = NDArray[np.float64]

ROUNDING = 8 * float(np.finfo(np.float64).eps)  # relative to the largest score: less than that is no variation


@dataclass(frozen=True)
class Grouping:
    """How items are grouped.

    codes      (items,) group of each item, pseudo-items included; None: each item by itself
    n_groups   G, without pseudo-items
    effective  I²/Σ_g n_g², without pseudo-items: G where groups are equal
    weights    (groups,) 1/(1 − n_g/I), pseudo-items last; None where all are G/(G − 1)
    """

    codes: NDArray[np.intp] | None
    n_groups: int
    effective: float
    weights: Floats | None = None

    def sums(self, values: Floats) -> Floats:
        """Sums over the items of each group, along the last axis of (rows, items)."""
        if self.codes is None:
            return values
        return np.stack([np.bincount(self.codes, weights=row) for row in values])


def groupings(
    groups: ArrayLike | None, second_groups: ArrayLike | None, n_items: int, n_pseudo: int = 0
) -> list[Grouping]:
    """The groupings whose parts are combined as first + second − both; items are their own groups without any.

    n_pseudo   items at the end that smoothing added, each a group of its own, which count neither as groups nor in I.
               They get the weight of an average group.
    """
    if groups is None:
        if second_groups is not None:
            raise ValueError("second_groups needs groups")
        return [Grouping(None, n_items, float(n_items))]
    first = _codes(groups, n_items)
    if second_groups is None:
        return [_grouping(first, n_pseudo)]
    second = _codes(second_groups, n_items)
    both = _codes(first * (second.max() + 1) + second, n_items)
    return [_grouping(codes, n_pseudo) for codes in (first, second, both)]


def _codes(labels: ArrayLike, n_items: int) -> NDArray[np.intp]:
    array = np.asarray(labels)
    if array.shape != (n_items,):
        raise ValueError(f"groups need one label per item ({n_items}), got shape {array.shape}")
    return np.unique(array, return_inverse=True)[1]


def _grouping(codes: NDArray[np.intp], n_pseudo: int) -> Grouping:
    sizes = np.bincount(codes)
    n_groups, n_items = len(sizes), len(codes)
    extended = np.append(codes, n_groups + np.arange(n_pseudo))
    if n_groups < 2 or (sizes == sizes[0]).all():
        return Grouping(extended, n_groups, float(n_groups))
    effective = n_items**2 / float(np.sum(sizes.astype(np.float64) ** 2))
    weights = np.append(1 / (1 - sizes / n_items), np.full(n_pseudo, effective / (effective - 1)))
    return Grouping(extended, n_groups, effective, weights)


def seed_part(deviations: Floats, rounding: float) -> float:
    """a from the deviations of the seed means; NaN for one seed, 0 where they are rounding error."""
    n_seeds = len(deviations)
    if n_seeds < 2:
        return np.nan
    return _beyond(float(deviations @ deviations) / (n_seeds * (n_seeds - 1)), rounding)


def item_part(per_item: Floats, grouping: Grouping, rounding: float) -> float:
    """b from the item means; NaN for one group, 0 where they differ by rounding error."""
    n_groups = grouping.n_groups
    if n_groups < 2:
        return np.nan
    sums = grouping.sums((per_item - per_item.mean())[np.newaxis])[0]
    if grouping.weights is None:
        part = n_groups / (n_groups - 1) * float(sums @ sums) / len(per_item) ** 2
    else:
        part = float((sums * sums) @ grouping.weights) / len(per_item) ** 2
    return _beyond(part, rounding)


def joint_part(residuals: Floats, grouping: Grouping, rounding: float) -> float:
    """e from (seeds, items) residuals; NaN for one seed or one group, 0 where they are rounding error."""
    n_seeds, n_items = residuals.shape
    n_groups = grouping.n_groups
    if n_seeds < 2 or n_groups < 2:
        return np.nan
    sums = grouping.sums(residuals)
    if grouping.weights is None:
        flat = sums.ravel()
        factor = n_seeds / (n_seeds - 1) * n_groups / (n_groups - 1)
        part = factor * float(flat @ flat) / (n_seeds * n_items) ** 2
    else:
        weighted = float(((sums * sums) @ grouping.weights).sum())
        part = n_seeds / (n_seeds - 1) * weighted / (n_seeds * n_items) ** 2
    return _beyond(part, rounding)


def combined(parts: list[float], name: str, notes: list[str]) -> float:
    """One part from one part per grouping: first + second − both, or the larger one if not positive."""
    if len(parts) == 1:
        return parts[0]
    first, second, both = parts
    found = first + second - both
    if found > 0 or np.isnan(found) or max(first, second) == 0:
        return max(found, 0.0)
    notes.append(f"{name} of two groupings is not positive: the larger one used")
    return max(first, second)


def satterthwaite(variances: Sequence[float], dfs: Sequence[float]) -> float:
    """Degrees of freedom of a sum of independent variances (Satterthwaite 1946)."""
    weight = sum(v**2 / df for v, df in zip(variances, dfs, strict=True) if df > 0)
    return sum(variances) ** 2 / weight if weight > 0 else float(min(dfs))


def rounding_of(values: Floats, scale: float | None = None) -> float:
    """How far values may be apart by rounding alone: 8 machine epsilons of the largest absolute score behind them, or
    of the largest value where `scale` does not say."""
    return ROUNDING * (float(np.max(np.abs(values))) if scale is None else scale)


def varies(values: Floats, scale: float | None = None) -> bool:
    """Whether values differ by more than rounding, as the constant difference of two rounded scores does."""
    return bool(np.ptp(values) > rounding_of(values, scale))


def _beyond(part: float, rounding: float) -> float:
    """A variance part, or 0 where the error that it stands for is one of rounding."""
    return part if not part <= rounding**2 else 0.0
