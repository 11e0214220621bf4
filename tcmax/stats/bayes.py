"""Is one method practically better than another on datasets like these? A Bayesian signed-rank test.

Many datasets can say what a p-value cannot: that two methods are *practically equal*, by a margin stated beforehand.
Like Wilcoxon's test it takes one difference per dataset; seeds and items are not used, and datasets are the sample.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["MIN_DATASETS", "SignedRankPosterior", "bayesian_signed_rank"]

MIN_DATASETS = 10  # with fewer, the prior and the resolution of ranks speak as loudly as the data
PRIOR_STRENGTH = 0.5  # weight of one imagined dataset without any difference
DRAWS = 50_000


@dataclass(frozen=True)
class SignedRankPosterior:
    """Posterior probabilities that A is better by more than the margin, that both are practically equal, and that A is
    worse by more than the margin; they add up to 1, with a Monte Carlo error of at most 0.5/√draws each.
    """

    better: float
    equal: float
    worse: float
    margin: float
    n_datasets: int
    draws: int


def bayesian_signed_rank(
    differences: ArrayLike, margin: float, rng: np.random.Generator, draws: int = DRAWS
) -> SignedRankPosterior:
    """Posterior of the median of A − B over datasets, with a region of practical equivalence ± margin.

    differences   (datasets,) float, A − B, larger is better; at least 10 (ValueError)
    margin        half-width of the region, in the unit of the differences, ≥ 0 (ValueError); to be stated beforehand

    A Dirichlet process: weights w of the datasets and of one imagined dataset with difference 0 are drawn from
    Dirichlet(1, ..., 1, 0.5). θ(better) = Σ_ij w_i·w_j·[z_i + z_j > 2·margin], θ(worse) alike, the rest is θ(equal):
    where the mean of two random datasets falls. A probability is the share of draws in which its θ is the largest;
    equal ones share. The prior errs on the side of practical equality. Source: Benavoli, Mangili, Corani, Zaffalon and
    Ruggeri (2014); Benavoli, Corani, Demšar and Zaffalon (2017). Oracle: the beta distribution where all differences
    are alike; loops.
    """
    z = np.asarray(differences, dtype=np.float64)
    if z.ndim != 1 or not np.isfinite(z).all():
        raise ValueError(f"need one finite difference per dataset, got shape {z.shape}")
    if z.size < MIN_DATASETS:
        raise ValueError(f"a Bayesian signed-rank test starts at {MIN_DATASETS} datasets, got {z.size}")
    if not (margin >= 0 and math.isfinite(margin)):
        raise ValueError(f"the margin of practical equality must be 0 or above, got {margin}")
    values = np.append(z, 0.0)
    sums = values[:, np.newaxis] + values
    weights = rng.dirichlet([*np.ones(z.size), PRIOR_STRENGTH], size=draws)
    above, below = (
        np.einsum("di,di->d", weights @ region, weights) for region in (sums > 2 * margin, sums < -2 * margin)
    )
    theta = np.stack([above, 1.0 - above - below, below])
    largest = theta >= theta.max(axis=0) - 1e-12
    better, equal, worse = (largest / largest.sum(axis=0)).mean(axis=1)
    return SignedRankPosterior(float(better), float(equal), float(worse), float(margin), z.size, draws)
