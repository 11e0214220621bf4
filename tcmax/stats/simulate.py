"""Item scores with known truth, for calibrating every procedure here.

The model is a crossed probit: method m, seed s and item i of group g are right when

    μ_m + σ_group·z_mg + σ_item·z_mi + σ_seed·z_ms + ε_msi > 0,      ε ~ N(0, 1),

where ε is the item x seed effect. Each z is standard normal and shared between two methods with the
correlation given for its level, as when both see the same test items and the same initialisation. A
collapsing seed scores at chance. Accuracy in each population then has a closed form, so coverage is counted
against the truth and not against an estimate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

__all__ = ["Draw", "Probit", "draw"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Probit:
    """A design and its effects. Standard deviations are on the probit scale, where ε has 1.

    accuracies          accuracy of each method among seeds that do not collapse, over new seeds and items
    n_groups            groups of equal size (to within one item), or None for independent items
    item_correlation    between the methods, for item and group effects alike
    seed_correlation    between the methods, for the effect of the seed
    collapse            probability that a run collapses to accuracy `chance`, one for all methods or one each
    """

    n_seeds: int
    n_items: int
    accuracies: tuple[float, ...] = (0.75, 0.75)
    sd_seed: float = 0.1
    sd_item: float = 1.0
    sd_group: float = 0.0
    n_groups: int | None = None
    item_correlation: float = 0.9
    seed_correlation: float = 0.0
    collapse: float | tuple[float, ...] = 0.0
    chance: float = 0.1


@dataclass(frozen=True)
class Draw:
    """scores (methods, seeds, items) bool; groups (items,) int or None; and the true accuracy of each method
    for new seeds on these items, new items for these trained models, and both, each (methods,)."""

    scores: NDArray[np.bool_]
    groups: NDArray[np.intp] | None
    truth_seeds: Floats
    truth_items: Floats
    truth_both: Floats


def draw(design: Probit, rng: np.random.Generator) -> Draw:
    """One experiment under the design; equal generators give equal draws."""
    methods, seeds, items = len(design.accuracies), design.n_seeds, design.n_items
    total = 1.0 + design.sd_seed**2 + design.sd_item**2 + design.sd_group**2
    mu = ndtri(np.asarray(design.accuracies)) * np.sqrt(total)
    item_effect = design.sd_item * _shared(rng, methods, items, design.item_correlation)
    groups = None
    if design.n_groups is not None:
        groups = np.arange(items) * design.n_groups // items
        item_effect += design.sd_group * _shared(rng, methods, design.n_groups, design.item_correlation)[:, groups]
    seed_effect = design.sd_seed * _shared(rng, methods, seeds, design.seed_correlation)
    collapse = np.broadcast_to(np.asarray(design.collapse, dtype=np.float64), (methods,))
    collapsed = rng.random((methods, seeds)) < collapse[:, np.newaxis]

    by_item = mu[:, np.newaxis] + item_effect
    by_seed = mu[:, np.newaxis] + seed_effect
    noise = rng.standard_normal((methods, seeds, items), dtype=np.float32)
    scores = noise > -(by_item[:, np.newaxis, :] + seed_effect[:, :, np.newaxis])
    if collapsed.any():
        scores[collapsed] = rng.random((int(collapsed.sum()), items)) < design.chance

    def mixed(accuracy: Floats) -> Floats:
        return (1 - collapse) * accuracy + collapse * design.chance

    given_seeds = np.where(collapsed, design.chance, ndtr(by_seed / np.sqrt(total - design.sd_seed**2)))
    return Draw(
        scores=scores,
        groups=groups,
        truth_seeds=mixed(ndtr(by_item / np.sqrt(1 + design.sd_seed**2)).mean(axis=1)),
        truth_items=given_seeds.mean(axis=1),
        truth_both=mixed(np.asarray(design.accuracies, dtype=np.float64)),
    )


def _shared(rng: np.random.Generator, methods: int, size: int, correlation: float) -> Floats:
    """(methods, size) standard normal with the given correlation between any two methods."""
    if not 0 <= correlation <= 1:
        raise ValueError(f"a correlation between methods lies in 0..1, got {correlation}")
    common = rng.standard_normal(size)
    own = rng.standard_normal((methods, size))
    result: Floats = np.sqrt(correlation) * common + np.sqrt(1 - correlation) * own
    return result
