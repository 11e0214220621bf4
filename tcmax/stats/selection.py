"""What choosing on the test set adds to a score: the epoch, the better of two heads, the best seed.

Each function compares the score after a choice that saw the test labels with the score of the honest choice
for the same runs. What lies between them is a bias to be printed, not a gain to be tested.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from tcmax.stats.crossed import Crossed, crossed

__all__ = [
    "BestSeed",
    "Optimism",
    "RankingChange",
    "best_seed",
    "epoch_optimism",
    "head_optimism",
    "ranking_change",
]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Optimism:
    """Mean score chosen on the test set, mean score of the honest choice, and their difference with its
    parts.

    changed   share of seeds in which the two choices differ
    """

    on_test: float
    honest: float
    difference: Crossed
    changed: float


@dataclass(frozen=True)
class BestSeed:
    """Score of the best seed, mean over seeds, and what the best of S normal seeds adds by luck alone."""

    best: float
    mean: float
    expected_excess: float
    n_seeds: int


@dataclass(frozen=True)
class RankingChange:
    """Ranks, 1 is best and ties share the better rank, of the variants that move; and whether the winner
    does.
    """

    moved: tuple[tuple[str, int, int], ...]
    pairs_reversed: int
    winner_changes: bool


def epoch_optimism(
    on_test: ArrayLike,
    honest: ArrayLike,
    groups: ArrayLike | None = None,
    second_groups: ArrayLike | None = None,
) -> Optimism:
    """What taking each run's best test epoch adds to taking the epoch that was best on validation.

    on_test, honest   (seeds, items) float: item scores of the same runs under the two rules
                      (`best_test_oracle`, `best_val` or `last`)

    `changed` counts seeds whose item scores differ at all. A negative difference in any seed raises
    ValueError: the first argument is then not the best epoch on these items.
    """
    first, second = np.asarray(on_test, dtype=np.float64), np.asarray(honest, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 2:
        raise ValueError(f"need two (seeds, items) arrays, got {first.shape} and {second.shape}")
    lower = np.flatnonzero(first.mean(axis=1) < second.mean(axis=1) - 1e-12)
    if lower.size:
        raise ValueError(f"the choice on test scores below the honest one in seed rows {lower.tolist()}")
    return Optimism(
        on_test=float(first.mean()),
        honest=float(second.mean()),
        difference=crossed(first - second, groups, second_groups),
        changed=float(np.mean(np.any(first != second, axis=1))),
    )


def head_optimism(
    test_scores: ArrayLike,
    validation_scores: ArrayLike,
    groups: ArrayLike | None = None,
    second_groups: ArrayLike | None = None,
) -> Optimism:
    """What reporting the better of several heads on test adds to choosing the head inside each seed on
    validation.

    test_scores         (heads, seeds, items) float, larger is better
    validation_scores   (heads, seeds) float; ties go to the first head

    The choice on test is the one that papers make: one head per method, the one with the larger mean over
    seeds. Its difference can be negative when choosing inside each seed was the better rule.
    """
    scores, validation = np.asarray(test_scores, dtype=np.float64), np.asarray(validation_scores, dtype=np.float64)
    if scores.ndim != 3 or scores.shape[:2] != validation.shape:
        raise ValueError(f"need (heads, seeds, items) and (heads, seeds), got {scores.shape}, {validation.shape}")
    chosen = validation.argmax(axis=0)
    best = int(scores.mean(axis=(1, 2)).argmax())
    honest = scores[chosen, np.arange(scores.shape[1])]
    return Optimism(
        on_test=float(scores[best].mean()),
        honest=float(honest.mean()),
        difference=crossed(scores[best] - honest, groups, second_groups),
        changed=float(np.mean(chosen != best)),
    )


def best_seed(scores: ArrayLike) -> BestSeed:
    """How far the best seed lies above the mean, and how far the best of as many equal, normal seeds would.

    scores (seeds,) float, larger is better, two or more (ValueError). The expectation is sd·E[max of S
    standard normals]: 0.85 sd at 3 seeds, 1.54 sd at 10.
    """
    from scipy.integrate import quad

    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1 or values.size < 2 or not np.isfinite(values).all():
        raise ValueError(f"the best of seeds needs two finite scores, got shape {values.shape}")
    n = values.size
    # E[max] = ∫_0^∞ 1 − Φ(x)^n − Φ(−x)^n dx
    largest = quad(lambda x: 1 - ndtr(x) ** n - ndtr(-x) ** n, 0, 40)[0]
    return BestSeed(float(values.max()), float(values.mean()), float(largest * values.std(ddof=1)), n)


def ranking_change(
    honest: Mapping[str, float], on_test: Mapping[str, float], larger_is_better: bool = True
) -> RankingChange:
    """Does a way of choosing on the test set reorder the variants? Both mappings: variant -> score.

    `pairs_reversed` counts pairs whose order is strictly opposite. Different variants raise ValueError.
    """
    if set(honest) != set(on_test) or not honest:
        raise ValueError(f"different variants: {sorted(set(honest) ^ set(on_test))}")
    names = list(honest)
    sign = 1.0 if larger_is_better else -1.0
    before = sign * np.array([honest[n] for n in names])
    after = sign * np.array([on_test[n] for n in names])
    first, second = ((1 + np.sum(x[:, np.newaxis] < x, axis=1)) for x in (before, after))
    i, j = np.triu_indices(len(names), 1)
    reversed_pairs = np.sign(before[i] - before[j]) * np.sign(after[i] - after[j]) < 0
    winners = [{names[k] for k in np.flatnonzero(ranks == 1)} for ranks in (first, second)]
    return RankingChange(
        moved=tuple((names[k], int(first[k]), int(second[k])) for k in np.flatnonzero(first != second)),
        pairs_reversed=int(np.count_nonzero(reversed_pairs)),
        winner_changes=winners[0] != winners[1],
    )
