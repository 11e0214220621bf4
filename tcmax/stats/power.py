"""Planning: how many seeds, how many test items, what can never be decided on this test set.

Everything starts from the variance parts of a comparison that was run, and from a *stated* smallest gain of
interest: power at the observed gain only restates its p-value (Hoenig and Heisey 2001).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import gammaincinv, gammaln, nctdtr, ndtr, ndtri, stdtrit

from tcmax.stats.crossed import MIN_UNITS, Crossed, Population, redesigned, tails

__all__ = [
    "Exaggeration",
    "PowerPlan",
    "detectable_gain",
    "exaggeration",
    "items_needed",
    "power_of",
    "seeds_needed",
]

UNLIMITED = 2**40
LARGE_DF = 1e6  # from here on t and normal agree to 1e-6
POINTS = 2**11  # of the quasi-random sequence by which the power for *both* is integrated

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PowerPlan:
    """The least design that supports "d > margin" with the power asked for, if d is truly `gain`.

    n_seeds, n_items   the design; the number that was sought is None where no number suffices
    power              reached by it, or the limit of what can be reached
    limit              smallest gain that reaches the power with unlimited seeds (or items): smaller ones can
                       never be decided this way
    """

    gain: float
    margin: float
    alpha: float
    population: Population
    n_seeds: int | None
    n_items: int | None
    power: float
    limit: float


@dataclass(frozen=True)
class Exaggeration:
    """What a significant published gap is worth (Gelman and Carlin 2014).

    power        chance of a significant result
    wrong_sign   chance that a significant result has the wrong sign (type S)
    factor       expected size of a significant result over the true one (type M)
    """

    power: float
    wrong_sign: float
    factor: float


def power_of(
    c: Crossed, gain: float, margin: float = 0.0, alpha: float = 0.05, population: Population = "both"
) -> float:
    """Probability that "d > margin" comes out supported when the true difference is `gain`, with the parts
    of c.

    For *seeds* and *items* a noncentral t. For *both*, whose interval is the widest of three, the mean over a, b and e
    of the chance given them, all of normal effects: they are then independent of each other and of the estimate, each
    a multiple of χ² (2,048 points of a Sobol sequence, error below 0.003). The smallest of three noncentral t, which
    are only an upper bound, would promise up to 13 points too much at 3 seeds. Parts estimated from few seeds are
    themselves uncertain: with S = 5 the seed part is known to a factor of 0.4 to 8.
    """
    return _chance(c, alpha, population)(gain - margin)


def _chance(c: Crossed, alpha: float, population: Population) -> Callable[[float], float]:
    """Power as a function of the distance between the true difference and the margin."""
    found = tails(c, population)
    if population != "both":
        ((variance, df),) = found
        if not variance > 0:
            return lambda gap: 0.0
        df = min(df, LARGE_DF)  # the noncentral t is slow beyond
        quantile, error = float(stdtrit(df, 1 - alpha / 2)), math.sqrt(variance)
        return lambda gap: 1 - float(nctdtr(df, gap / error, quantile))
    if not c.variance > 0:
        return lambda gap: 0.0
    half_widths, true_error = _half_widths(c, alpha), math.sqrt(c.variance)
    return lambda gap: float(ndtr((gap - half_widths) / true_error).mean())


def _half_widths(c: Crossed, alpha: float) -> Floats:
    """(POINTS,) half-widths of *both* when each part of c is the mean of what will be estimated."""
    parts = c.parts or (c,)
    points = _points(3 * len(parts))
    drawn = []
    for k, part in enumerate(parts):
        seed_df, group_df = part.seed_df, part.group_df
        a, b, e = (
            mean * _mean_square(points[:, 3 * k + j], df)
            for j, (mean, df) in enumerate(
                ((part.seed_variance, seed_df), (part.b, group_df), (part.e, seed_df * group_df))
            )
        )
        joint = np.maximum(a, e)
        variance = joint + np.maximum(b - e, 0.0)
        weight = joint**2 / seed_df + b**2 / group_df
        df = np.maximum(_over(variance**2, weight), min(seed_df, group_df))
        drawn.append(((variance, df), (a, np.full(POINTS, seed_df)), (b, np.full(POINTS, group_df))))
    widths = []
    for source in zip(*drawn, strict=True):
        total = sum(variance for variance, _ in source)
        df = source[0][1] if len(source) == 1 else _over(total**2, sum(v**2 / df for v, df in source))
        same = df[:1] if np.ptp(df) == 0 else df
        widths.append(stdtrit(np.clip(same, 1e-3, LARGE_DF), 1 - alpha / 2) * np.sqrt(total) / len(parts))
    result: Floats = np.max(widths, axis=0)
    return result


def _mean_square(uniform: Floats, df: float) -> Floats:
    """χ²_df / df from uniform numbers."""
    large = df >= LARGE_DF
    result: Floats = (
        np.maximum(1 + ndtri(uniform) * math.sqrt(2 / df), 0.0) if large else gammaincinv(df / 2, uniform) * 2 / df
    )
    return result


def _over(top: Floats, bottom: Floats) -> Floats:
    return np.divide(top, bottom, out=np.zeros_like(top), where=bottom > 0)


@lru_cache(maxsize=8)
def _points(dimensions: int) -> Floats:
    """(POINTS, dimensions) of a Sobol sequence, half a step away from 0 and 1. The same at every call, so that equal
    designs have equal power."""
    from scipy.stats.qmc import Sobol

    result: Floats = Sobol(dimensions, scramble=False).random(POINTS) + 0.5 / POINTS
    return result


def detectable_gain(
    c: Crossed, margin: float = 0.0, power: float = 0.8, alpha: float = 0.05, population: Population = "both"
) -> float:
    """The smallest true difference that this design supports with the given power."""
    _check(power)

    chance = _chance(c, alpha, population)

    def missing(gap: float) -> float:
        return chance(gap) - power

    scale = math.sqrt(max(c.variance, c.b, c.seed_variance))
    if scale == 0:
        raise ValueError("scores without any variation cannot plan a study")
    high = scale
    while missing(high) < 0:
        high *= 2
    return margin + float(brentq(missing, 0.0, high, xtol=1e-9 * scale))


def seeds_needed(
    c: Crossed,
    gain: float,
    margin: float = 0.0,
    power: float = 0.8,
    alpha: float = 0.05,
    population: Population = "both",
) -> PowerPlan:
    """The least number of seeds S′ ≥ 3 on this test set with the given power at the smallest gain of
    interest.

    gain    true difference of interest, above the margin (ValueError)

    Items cap what seeds can do: n_seeds is None where the gain is below `limit`, and only more test items
    help.
    """
    _check_gain(gain, margin, power)
    if population == "items":
        raise ValueError("for given trained models more seeds change nothing; see items_needed")
    limit = detectable_gain(redesigned(c, n_seeds=UNLIMITED), margin, power, alpha, population)

    def reached(n: int) -> float:
        return power_of(redesigned(c, n_seeds=n), gain, margin, alpha, population)

    found = _least(reached, MIN_UNITS, power)
    best = reached(UNLIMITED if found is None else found)
    return PowerPlan(gain, margin, alpha, population, found, c.n_items, best, limit)


def items_needed(
    c: Crossed,
    gain: float,
    margin: float = 0.0,
    power: float = 0.8,
    alpha: float = 0.05,
    population: Population = "both",
) -> PowerPlan:
    """The least number of test items (of each dataset, in an average) with the given power, the seeds kept.

    New items come in groups of the present size. n_items is None where the gain is below `limit`: the seeds
    alone are too noisy, and only more of them help.
    """
    _check_gain(gain, margin, power)
    if population == "seeds":
        raise ValueError("for a given test set the items do not change; see seeds_needed")
    limit = detectable_gain(redesigned(c, n_items=UNLIMITED), margin, power, alpha, population)

    def reached(n: int) -> float:
        return power_of(redesigned(c, n_items=n), gain, margin, alpha, population)

    found = _least(reached, MIN_UNITS, power)
    best = reached(UNLIMITED if found is None else found)
    return PowerPlan(gain, margin, alpha, population, c.n_seeds, found, best, limit)


def exaggeration(true_gain: float, standard_error: float, df: float = math.inf, alpha: float = 0.05) -> Exaggeration:
    """Power, type S and type M of a two-sided t test, were the true difference `true_gain`.

    standard_error   true standard error of the estimate, which the test itself estimates with `df` degrees of freedom
                     (none needed at infinity); df >= 1

    The estimate X is normal and significant where |X| exceeds t_{1−alpha/2} *estimated* standard errors U, with df·U²
    ~ χ²_df, independent of X: E[|X|; significant] is the mean over U of a normal integral. Gelman and Carlin (2014)
    draw X itself from a t distribution, which is the same at infinity and overstates type M at few degrees of freedom
    (6.9 for 3.6 with three runs against three and a gain of 0.57 standard errors): means have no such tails.
    """
    if true_gain == 0 or standard_error <= 0 or df < 1:
        raise ValueError(f"need a gain other than 0, se > 0 and df >= 1, got {true_gain}, {standard_error}, {df}")
    size = abs(true_gain) / standard_error
    critical = float(stdtrit(min(df, LARGE_DF), 1 - alpha / 2))

    def significant(u: float, side: float) -> float:
        """Given U = u, on the right side (1) or the wrong one (-1)."""
        return float(ndtr(side * size - critical * u))

    def length(u: float) -> float:
        """E[|X|; significant] given U = u, in standard errors."""
        bells = sum(math.exp(-((side * size - critical * u) ** 2) / 2) for side in (1, -1))
        return size * (significant(u, 1) - significant(u, -1)) + bells / math.sqrt(2 * math.pi)

    right = _mean_over_spread(lambda u: significant(u, 1), df)
    wrong = _mean_over_spread(lambda u: significant(u, -1), df)
    power = right + wrong
    return Exaggeration(power, wrong / power, _mean_over_spread(length, df) / (size * power))


def _mean_over_spread(value: Callable[[float], float], df: float) -> float:
    """E[value(U)] where df·U² ~ χ²_df."""
    if df >= LARGE_DF:
        return value(1.0)
    half = df / 2
    log_scale = math.log(2) + half * math.log(half) - float(gammaln(half))

    def weighted(u: float) -> float:
        return value(u) * math.exp(log_scale + (df - 1) * math.log(u) - half * u * u)

    low, high = (math.sqrt(float(gammaincinv(half, p)) / half) for p in (1e-14, 1 - 1e-14))
    return float(quad(weighted, low, high, epsabs=1e-13, limit=200)[0])


def _least(reached: Callable[[int], float], start: int, power: float) -> int | None:
    """The least n ≥ start with reached(n) ≥ power, by doubling and bisection, or None."""
    high = start
    while reached(high) < power:
        if high >= UNLIMITED:
            return None
        high *= 2
    low = max(high // 2, start - 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) >= power else (middle, high)
    return high


def _check(power: float) -> None:
    if not 0 < power < 1:
        raise ValueError(f"power must lie strictly between 0 and 1, got {power}")


def _check_gain(gain: float, margin: float, power: float) -> None:
    _check(power)
    if not gain > margin:
        raise ValueError(f"the smallest gain of interest must exceed the margin, got {gain} and {margin}")
