"""Corrections for asking several questions at once. The family is always named.

Holm by default: it controls the chance of one false finding under any dependence. Benjamini-Hochberg
controls the expected share of false findings and is for exploratory matrices, labelled as such. Step-down
max-T uses the dependence between comparisons and needs ten exchangeable units.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Family", "adjust", "max_t"]

Method = Literal["holm", "benjamini-hochberg", "step-down max-T"]
Floats = NDArray[np.float64]

MIN_UNITS = 10  # sign flips of fewer units than this are too coarse to correct with
BLOCK = 2**21  # signs held at once
TIE = 1e-9  # statistics this close are equal but for rounding


@dataclass(frozen=True)
class Family:
    """Adjusted p-values of a named family, in the order given.

    name       what the family is ("14 variants against the best on CREMA-D")
    members    the comparisons; p and adjusted, one each
    controls   "family-wise error" or "false discovery rate"
    """

    name: str
    members: tuple[str, ...]
    p: tuple[float, ...]
    adjusted: tuple[float, ...]
    method: Method
    controls: Literal["family-wise error", "false discovery rate"]
    resamples: int = 0

    def rejected(self, alpha: float) -> tuple[str, ...]:
        """Members whose adjusted p is at most the alpha."""
        return tuple(m for m, p in zip(self.members, self.adjusted, strict=True) if p <= alpha)

    def __str__(self) -> str:
        return f"{self.method} over {len(self.members)} comparisons ({self.name}), controls the {self.controls}"


def adjust(p_values: Mapping[str, float], name: str, method: Literal["holm", "benjamini-hochberg"] = "holm") -> Family:
    """Adjusted p of a family of tests, one-sided or two-sided as they come.

    p_values   comparison -> p in 0..1; NaN and an empty family raise ValueError: a comparison without a p is
               left out by name, not by chance
    method     "holm" (Holm 1979; any dependence) or "benjamini-hochberg" (1995; positive dependence)
    """
    p = np.array(list(p_values.values()), dtype=np.float64)
    if not name:
        raise ValueError("a family needs a name")
    if p.size == 0 or not np.all((p >= 0) & (p <= 1)):
        raise ValueError(f"family {name!r} needs p-values between 0 and 1")
    if method not in ("holm", "benjamini-hochberg"):
        raise ValueError(f"method is holm or benjamini-hochberg, got {method!r}")
    adjusted = _holm(p) if method == "holm" else _benjamini_hochberg(p)
    return Family(
        name=name,
        members=tuple(p_values),
        p=tuple(p.tolist()),
        adjusted=tuple(adjusted.tolist()),
        method=method,
        controls="family-wise error" if method == "holm" else "false discovery rate",
    )


def _holm(p: Floats) -> Floats:
    """(n − k + 1)·p of the k-th smallest, at most 1 and never below that of a smaller p. Written out because
    statsmodels collects garbage on every call, 35 ms a family."""
    order = np.argsort(p, kind="stable")
    stepped = np.minimum(1.0, np.arange(p.size, 0, -1) * p[order])
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(stepped)
    return adjusted


def _benjamini_hochberg(p: Floats) -> Floats:
    """n/k·p of the k-th smallest, at most 1 and never above that of a larger p. Written out because importing
    scipy.stats takes a second."""
    order = np.argsort(p, kind="stable")
    stepped = p.size / np.arange(1, p.size + 1) * p[order]
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.minimum.accumulate(stepped[::-1])[::-1])
    return adjusted


def max_t(
    differences: Mapping[str, ArrayLike],
    name: str,
    rng: np.random.Generator,
    alternative: Literal["two-sided", "greater"] = "two-sided",
    resamples: int = 10_000,
) -> Family:
    """Step-down max-T over comparisons that share their units (Westfall and Young 1993, algorithm 4.1).

    differences   comparison -> (units,) float, the paired difference of each unit in the same order: seeds
                  (at least 10), items, or group sums. All comparisons of a unit flip sign together, which
                  keeps their dependence.

    The statistic is Σ d / √Σ d², of which t is an increasing function, the same one for every comparison, so
    that ordering by one is ordering by the other. Monte Carlo p = (1 + hits)/(1 + resamples), never zero.
    `p` holds the unadjusted ones of the same resamples. A comparison without any difference has p = 1. Fewer
    than 10 units raise ValueError.
    """
    if not name or not differences:
        raise ValueError("a family needs a name and at least one comparison")
    d = np.column_stack([np.asarray(v, dtype=np.float64) for v in differences.values()])
    if not np.isfinite(d).all():
        raise ValueError(f"family {name!r} holds differences that are not finite")
    if len(d) < MIN_UNITS:
        raise ValueError(f"max-T over {len(d)} units is too coarse; at least {MIN_UNITS} are needed, or use Holm")
    d = d[np.any(d != 0, axis=1)]
    norms = np.sqrt(np.sum(d**2, axis=0))
    unit = d / np.where(norms > 0, norms, 1.0)

    def side(statistics: Floats) -> Floats:
        return np.abs(statistics) if alternative == "two-sided" else statistics

    total = unit.sum(axis=0)
    observed = side(total)
    order = np.argsort(-observed, kind="stable")
    unadjusted, adjusted = np.ones(observed.size), np.ones(observed.size)
    rows = max(1, BLOCK // max(1, len(d)))
    for start in range(0, resamples, rows):
        block = min(rows, resamples - start)
        octets = rng.integers(0, 256, (block, -(-len(d) // 8)), dtype=np.uint8)
        kept = np.unpackbits(octets, axis=1, count=len(d)).astype(np.float64)  # 1 keeps a sign, 0 flips it
        flipped = side(2 * (kept @ unit) - total)[:, order]
        largest_of_rest = np.maximum.accumulate(flipped[:, ::-1], axis=1)[:, ::-1]
        unadjusted += np.count_nonzero(flipped >= observed[order] - TIE, axis=0)
        adjusted += np.count_nonzero(largest_of_rest >= observed[order] - TIE, axis=0)
    unadjusted /= 1 + resamples
    adjusted = np.maximum.accumulate(adjusted / (1 + resamples))
    back = np.argsort(order)
    return Family(
        name=name,
        members=tuple(differences),
        p=tuple(unadjusted[back].tolist()),
        adjusted=tuple(adjusted[back].tolist()),
        method="step-down max-T",
        controls="family-wise error",
        resamples=resamples,
    )
