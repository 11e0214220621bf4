"""Almost stochastic order of score distributions over seeds: a description, never the ground of a verdict.

A dominates B stochastically when every quantile of A is at least that of B. How far this fails is the
violation ratio

    ε(A, B) = ∫ (B⁻¹ − A⁻¹)₊² dt / ∫ (B⁻¹ − A⁻¹)² dt,     A⁻¹, B⁻¹ the quantile functions, t in 0..1,

0 when A dominates and 1 when B does (del Barrio, Cuesta-Albertos and Matrán 2018; Dror, Shlomov and Reichart
2019). It sees the seeds that were run and nothing of the test items, and a ratio near 0 says nothing about
the size of the gain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

__all__ = ["AlmostStochasticOrder", "almost_stochastic_order"]

Floats = NDArray[np.float64]

MIN_RUNS = 3


@dataclass(frozen=True)
class AlmostStochasticOrder:
    """Row against column, in the order of `variants`: the ratio ε and its upper bound with confidence 1 −
    alpha.

    An upper bound below 0.5 says that row is almost stochastically larger than column, more nearly so the
    smaller it is. Equal samples have ε = 0.5 by convention, and so has the diagonal.
    """

    variants: tuple[str, ...]
    ratio: tuple[tuple[float, ...], ...]
    upper: tuple[tuple[float, ...], ...]
    alpha: float
    resamples: int


def almost_stochastic_order(
    scores: Mapping[str, ArrayLike], rng: np.random.Generator, resamples: int = 10_000, alpha: float = 0.05
) -> AlmostStochasticOrder:
    """ε of every ordered pair of variants with a bootstrap upper bound ε + z_{1−alpha}·sd(ε*), at most 1.

    scores   variant -> (runs,) float, larger is better; numbers of runs may differ, at least 3 each
             (ValueError)

    Quantile functions of samples are steps, so the integrals are sums over the merged steps: nothing is
    discretised. Each variant is resampled once and its resamples serve all its pairs. With few runs the bound
    is rough: a bootstrap of 3 runs has 10 distinct resamples.
    """
    samples = {name: np.sort(np.asarray(values, dtype=np.float64)) for name, values in scores.items()}
    for name, values in samples.items():
        if values.ndim != 1 or values.size < MIN_RUNS or not np.isfinite(values).all():
            raise ValueError(f"variant {name!r} needs {MIN_RUNS} finite scores, got shape {values.shape}")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie strictly between 0 and 1, got {alpha}")
    drawn = [v[np.sort(rng.integers(0, v.size, (resamples, v.size)), axis=1)] for v in samples.values()]
    observed = list(samples.values())
    size, z = len(observed), float(ndtri(1 - alpha))
    ratio, upper = np.full((size, size), 0.5), np.full((size, size), 0.5)
    for i in range(size):
        for j in range(i + 1, size):
            value = float(_violation(observed[i], observed[j]))
            spread = float(_violation(drawn[i], drawn[j]).std())
            ratio[i, j], ratio[j, i] = value, 1 - value
            upper[i, j], upper[j, i] = min(1.0, value + z * spread), min(1.0, 1 - value + z * spread)
    return AlmostStochasticOrder(
        variants=tuple(samples),
        ratio=tuple(tuple(row) for row in ratio.tolist()),
        upper=tuple(tuple(row) for row in upper.tolist()),
        alpha=alpha,
        resamples=resamples,
    )


def _violation(a: Floats, b: Floats) -> Floats:
    """ε(A, B) of sorted samples (..., n) and (..., m), 0.5 where all quantiles agree."""
    n, m = a.shape[-1], b.shape[-1]
    if n == m:
        gap, width = b - a, np.ones(n)
    else:
        # the steps end where t reaches i/n or j/m; in units of 1/(n·m) these are integers
        ends = np.unique(np.concatenate([m * np.arange(1, n + 1), n * np.arange(1, m + 1)]))
        gap, width = b[..., (ends - 1) // n] - a[..., (ends - 1) // m], np.diff(ends, prepend=0)
    violated = np.square(np.maximum(gap, 0.0)) @ width
    total = np.square(gap) @ width
    return np.where(total > 0, violated / np.where(total > 0, total, 1.0), 0.5)
