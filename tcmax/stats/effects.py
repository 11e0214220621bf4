"""How large a difference is, beside whether there is one.

The difference in points comes first. The others answer narrower questions about the seeds that were run: they
describe, and only `improvement` claims an interval, from six seeds on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln, ndtri

from tcmax.stats.variance import rounding_of, varies

__all__ = ["Improvement", "NetWins", "cliffs_delta", "hedges_g_paired", "improvement", "net_items_won"]

Floats = NDArray[np.float64]

MIN_SEEDS = 6  # below this the interval of a probability of improvement spans nearly everything


@dataclass(frozen=True)
class NetWins:
    """Items per run, averaged over seeds: only A right, only B right, and net = wins − losses, of n_items."""

    wins: float
    losses: float
    net: float
    n_items: int


@dataclass(frozen=True)
class Improvement:
    """P(A > B) + ½ P(A = B) for a fresh run of each; low and high are None below six seeds of either."""

    estimate: float
    low: float | None
    high: float | None
    alpha: float
    n_a: int
    n_b: int


def net_items_won(a: ArrayLike, b: ArrayLike) -> NetWins:
    """A gain in items: a, b (seeds, items) of 0 and 1, run against run. net / n_items is the accuracy
    difference.
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 2 or first.size == 0:
        raise ValueError(f"need two (seeds, items) arrays, got {first.shape} and {second.shape}")
    if not (np.isin(first, (0, 1)).all() and np.isin(second, (0, 1)).all()):
        raise ValueError("items are won with scores of 0 and 1")
    n_seeds = first.shape[0]
    wins = int(np.count_nonzero(first > second)) / n_seeds
    losses = int(np.count_nonzero(first < second)) / n_seeds
    return NetWins(wins, losses, wins - losses, first.shape[1])


def hedges_g_paired(differences: ArrayLike, scale: float | None = None) -> float:
    """Mean over standard deviation of the seeds' paired differences, without small-sample bias (Hedges 1981).

    differences (seeds,) float, S ≥ 3 (ValueError). scale: the largest absolute score behind them, by which rounding is
    told from spread; that of the differences when not given. d_z·J with J = Γ(ν/2) / (√(ν/2)·Γ((ν−1)/2)), ν = S − 1:
    0.56 at three seeds. The denominator is the spread of the *differences over seeds*, so the size depends on the
    design and is not comparable with a g of unpaired runs. All differences equal but for rounding: ±inf, or 0 if they
    are all zero.
    """
    d = np.asarray(differences, dtype=np.float64)
    if d.ndim != 1 or d.size < 3 or not np.isfinite(d).all():
        raise ValueError(f"Hedges g needs three finite differences, got shape {d.shape}")
    df = d.size - 1
    correction = math.exp(gammaln(df / 2) - gammaln((df - 1) / 2)) / math.sqrt(df / 2)
    mean = float(d.mean())
    if not varies(d, scale):
        return math.copysign(math.inf, mean) if abs(mean) > rounding_of(d, scale) else 0.0
    return correction * mean / float(d.std(ddof=1))


def cliffs_delta(a: ArrayLike, b: ArrayLike) -> float:
    """P(A > B) − P(A < B) over all pairs of a run of A and a run of B (Cliff 1993), in −1..1.

    a (runs of A,), b (runs of B,) float. Ties count for neither.
    """
    first, second = _runs(a, "A"), _runs(b, "B")
    return float(np.sign(first[:, np.newaxis] - second).mean())


def improvement(a: ArrayLike, b: ArrayLike, alpha: float = 0.05) -> Improvement:
    """How often would a fresh run of A beat a fresh run of B? Seeds taken as independent, ties count half.

    a (runs of A,), b (runs of B,) float: scores on one fixed test set.

    The interval is the score-type one of Newcombe (2006, method 5): all θ whose own standard error, by the
    formula of Hanley and McNeil (1982) with (n_a + n_b)/2 runs in its two inner terms, puts the estimate
    within z. It keeps a positive width when every run of A beats every run of B.
    """
    from scipy.optimize import brentq

    first, second = _runs(a, "A"), _runs(b, "B")
    estimate = (cliffs_delta(first, second) + 1) / 2
    n_a, n_b = first.size, second.size
    if min(n_a, n_b) < MIN_SEEDS:
        return Improvement(estimate, None, None, alpha, n_a, n_b)
    z = float(ndtri(1 - alpha / 2))
    inner = (n_a + n_b) / 2 - 1

    def distance(theta: float) -> float:
        """(estimate − θ)² − z²·variance(θ): negative inside the interval."""
        bracket = 1 + inner * ((1 - theta) / (2 - theta) + theta / (1 + theta))
        return (estimate - theta) ** 2 - z**2 * theta * (1 - theta) * bracket / (n_a * n_b)

    # an estimate of 0 or 1 is itself a root of `distance`; the bound is the other one
    low = 0.0 if estimate == 0 else float(brentq(distance, 0.0, min(estimate, 1 - 1e-9), xtol=1e-12))
    high = 1.0 if estimate == 1 else float(brentq(distance, max(estimate, 1e-9), 1.0, xtol=1e-12))
    return Improvement(estimate, low, high, alpha, n_a, n_b)


def _runs(values: ArrayLike, name: str) -> Floats:
    runs = np.asarray(values, dtype=np.float64)
    if runs.ndim != 1 or runs.size == 0 or not np.isfinite(runs).all():
        raise ValueError(f"runs of {name} need one axis of finite values, got shape {runs.shape}")
    return runs
