"""Adding seeds until a comparison is decided, without the error that peeking brings.

Looking after each of 3 to 10 seeds with a 95 % t interval and stopping at the first success errs 17 % of the time. Two
rules that may look:

    e-process   for new seeds on this test set: an interval that holds at all numbers of seeds at once. Nothing has to
                be planned, not even the largest number of seeds.
    spending    looks fixed beforehand, the last one at the most seeds allowed. Every look gets its own alpha for t, so
                that all looks together err as often as one test at the full alpha would. Sharper than an e-process, and
                its levels also serve intervals for new seeds and new items.

Only the seed level is sequential. Test items are there from the beginning and cap what any number of seeds can decide:
`crossed.what_decides` says where more seeds are futile. Stopping for that reason never adds to the error.

Both assume seed differences that are normal, as t does at few seeds.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtr, stdtrit

from tcmax.stats.variance import varies

__all__ = ["AnytimeInterval", "Boundaries", "Spending", "anytime_interval", "earliest", "log_e", "spending_boundaries"]

Floats = NDArray[np.float64]

SPREAD = 1.0  # standard deviation of the mixture over effects, in standard deviations of a seed's difference
SHAPE = 2.0  # of the spending: little is spent on early looks, whose t is worth least
MIN_SEEDS = 3
SIMULATED_LEVELS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)  # of whole designs; others lie between them


@dataclass(frozen=True)
class AnytimeInterval:
    """Mean of n values with bounds that hold at every n at once; infinite where n values cannot decide anything yet."""

    estimate: float
    low: float
    high: float
    alpha: float
    n: int


@dataclass(frozen=True)
class Boundaries:
    """At looks[k] seeds, decide where the one-sided p is at most p_values[k]; NaN-free, in increasing order of looks.

    alpha   two-sided: all looks together err with probability alpha/2 on either side
    """

    looks: tuple[int, ...]
    p_values: tuple[float, ...]
    alpha: float
    shape: float

    def at(self, n_seeds: int) -> float:
        """The two-sided alpha of an interval printed at a look. Raises ValueError where there is none."""
        if n_seeds not in self.looks:
            raise ValueError(f"{n_seeds} seeds are no look; looks: {', '.join(map(str, self.looks))}")
        return 2 * self.p_values[self.looks.index(n_seeds)]


@dataclass(frozen=True)
class Spending:
    """Where a comparison stands in a sequential design: at the look of n_seeds, one of the `looks` fixed beforehand.

    Turns the alpha of a whole design into that of t at this look, and the p of t at this look into one that is valid
    for the whole design: p(x) ≤ alpha/2 exactly where x ≤ alpha_here(alpha)/2. Intervals at `alpha_here` hold at all
    looks together, so that the rule by which one stopped does not matter, nor which pair made one go on.
    """

    n_seeds: int
    looks: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.n_seeds not in self.looks:
            raise ValueError(f"{self.n_seeds} seeds are no look; looks: {', '.join(map(str, self.looks))}")

    @property
    def last(self) -> Spending:
        """The same design at its last look."""
        return Spending(self.looks[-1], self.looks)

    def alpha_here(self, alpha: float) -> float:
        """The two-sided alpha of t at this look when all looks together may err `alpha` of the time.

        Between simulated levels the boundary is interpolated, log against log. Under the smallest one the looks share
        the alpha by Bonferroni, which errs on the safe side.
        """
        totals, here = self._simulated
        if alpha < totals[0]:
            return alpha * self._share
        return float(np.exp(np.interp(math.log(alpha), np.log(totals), np.log(here))))

    def p(self, p_here: float) -> float:
        """The one-sided p of the whole design for a one-sided p at this look; 1 where it is beyond any use."""
        totals, here = self._simulated
        two_sided = 2 * p_here
        if two_sided > here[-1]:
            return 1.0
        if two_sided < here[0]:
            return min(two_sided / self._share, totals[0]) / 2
        return float(np.exp(np.interp(math.log(two_sided), np.log(here), np.log(totals)))) / 2

    @property
    def _share(self) -> float:
        """What is first allowed at this look, as a share of the whole."""
        position = self.looks.index(self.n_seeds)
        before = self.looks[position - 1] if position else 0
        return float((self.n_seeds**SHAPE - before**SHAPE) / self.looks[-1] ** SHAPE)

    @property
    def _simulated(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Levels of whole designs, and those at this look; both increase."""
        boundaries = [_boundaries(self.looks, alpha) for alpha in SIMULATED_LEVELS]
        return SIMULATED_LEVELS, tuple(found.at(self.n_seeds) for found in boundaries)


def earliest(found: Iterable[Spending | None]) -> Spending | None:
    """Of several comparisons that make one, the look that is spent least on; None in a design without looks."""
    return min((spending for spending in found if spending is not None), key=lambda s: s.n_seeds, default=None)


def log_e(
    values: ArrayLike,
    margin: float = 0.0,
    side: Literal["greater", "less"] = "greater",
    spread: float = SPREAD,
    scale: float | None = None,
) -> float:
    """Natural logarithm of the evidence of n seeds for "mean > margin" (or "<"), against its contrary.

    values (n,) float: what each seed yields, such as its paired difference. With x_i = values_i − margin, r = n·g/(1 +
    n·g) and g = spread²,

        E = (1 + n·g)^(−1/2) · (1 − r·n·x̄²/Σx²)^(−n/2) · 2·T_n( √(g/(1 + n·g)) · Σx · √(n/(Σx² − r·n·x̄²)) ),

    T_n Student's distribution function: the likelihood of what does not depend on the unit of x, averaged over a half
    normal distribution of the effect mean/sd, over its likelihood at no effect. With no effect E has mean 1 at every n,
    also conditional on the past, so that it exceeds 1/ε *ever* with probability at most ε (Ville 1939), whatever the
    sd. Where the mean is below the margin E is smaller still, value by value, since it increases with the mean, all
    else equal. So stopping when log E ≥ log(2/alpha) errs at most alpha/2 of the time, however often one looks.

    1 for one value (one unit of evidence is none), and for values without any variation, which normal ones never lack:
    none beyond rounding of `scale`, the largest absolute score behind the values (their own when not given).
    Raises ValueError for no or not finite values and spread ≤ 0. Source: Lai (1976); Pérez-Ortiz, Lardy, de Heide and
    Grünwald (2024); Wang and Ramdas (2025), one-sided. Oracle: the noncentral t density integrated over the effects.
    """
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or x.size == 0 or not np.isfinite(x).all() or not math.isfinite(margin):
        raise ValueError(f"an e-process needs finite values along one axis, got shape {x.shape}")
    if not spread > 0:
        raise ValueError(f"spread must be above 0, got {spread}")
    if not varies(x, scale):
        return 0.0
    return _log_e(float(x.mean()), float(np.sum((x - x.mean()) ** 2)), x.size, margin, side, spread)


def anytime_interval(
    values: ArrayLike, alpha: float = 0.05, spread: float = SPREAD, scale: float | None = None
) -> AnytimeInterval:
    """The mean with bounds that all looks share: the margins that `log_e` has not yet ruled out on either side.

    values (n,) float; scale as in `log_e`. However many seeds are looked at, and whenever one stops, a bound is on the
    wrong side of the truth with probability at most alpha/2 each. Simulated with a look after each of 3 to 20 seeds:
    1.0 % on a side where 2.5 are allowed, against 11.5 for t intervals. The price is width: at 12 seeds 1.7 times that
    of t. Under 5 seeds (spread 1), and where nothing varies, there are no finite bounds. Raises ValueError as `log_e`
    does. Oracle: `log_e` on a grid of
    margins.
    """
    from scipy.optimize import brentq

    x = np.asarray(values, dtype=np.float64)
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie strictly between 0 and 1, got {alpha}")
    log_e(x, spread=spread)  # checks
    n, mean, squares = x.size, float(x.mean()), float(np.sum((x - x.mean()) ** 2))
    enough, most = math.log(2 / alpha), (n - 1) / 2 * math.log1p(n * spread**2) + math.log(2)
    if not varies(x, scale) or most <= enough:
        return AnytimeInterval(mean, -math.inf, math.inf, alpha, n)

    def missing(distance: float) -> float:
        """How much evidence is missing against a margin this far below the mean; on the other side by symmetry."""
        return _log_e(distance, squares, n, 0.0, "greater", spread) - enough

    far = math.sqrt(squares)
    while missing(far) < 0:
        far *= 2
    half = float(brentq(missing, 0.0, far, xtol=1e-12 * far))
    return AnytimeInterval(mean, mean - half, mean + half, alpha, n)


def spending_boundaries(
    looks: Sequence[int],
    alpha: float = 0.05,
    shape: float = SHAPE,
    rng: np.random.Generator | None = None,
    repetitions: int = 400_000,
) -> Boundaries:
    """One-sided p of the t test at which each look decides, when alpha·(n/n_max)^shape / 2 may be spent up to n seeds.

    looks   increasing numbers of seeds, the first 3 or more (ValueError); all must be fixed beforehand, the last one
            being the most seeds that will be run. A look that is skipped later costs power and no error.
    shape   1 spends evenly; 2 leaves more for the late looks (Kim and DeMets 1987)

    Found by simulation of t statistics at the looks, which depend on nothing but the looks: no normal approximation,
    which at 3 seeds would be far off. Boundaries are rounded down to what was simulated, and their Monte Carlo error is
    about 1 % of what may be spent. The first one is exact. rng: fixed when not given, so that equal looks give equal
    boundaries. Oracle: Armitage's numerical integration for many seeds per look, and t tests of simulated raw values.
    """
    at = [int(n) for n in looks]
    if not at or at[0] < MIN_SEEDS or any(b <= a for a, b in itertools.pairwise(at)):
        raise ValueError(f"looks need increasing numbers of seeds from {MIN_SEEDS} on, got {list(looks)}")
    if not 0 < alpha < 1 or not shape > 0:
        raise ValueError(f"alpha must lie strictly between 0 and 1 and shape above 0, got {alpha} and {shape}")
    generator = np.random.default_rng(0) if rng is None else rng
    total, squares, running, spent = np.zeros(repetitions), np.zeros(repetitions), np.ones(repetitions, dtype=bool), 0
    found, before = [], 0
    for n in at:
        new = n - before
        mean = generator.normal(0.0, 1 / math.sqrt(new), repetitions)  # of the seeds that are new at this look
        if before:
            squares += (mean - total / before) ** 2 * before * new / n
        if new > 1:
            squares += generator.chisquare(new - 1, repetitions)
        total += new * mean
        t = total / math.sqrt(n) / np.sqrt(squares / (n - 1))
        allowed = alpha / 2 * (n / at[-1]) ** shape
        if before:
            # Either side is one sample of the same: their average is less noisy than one.
            still = np.abs(t[running])
            more = int(2 * allowed * repetitions) - spent
            edge = float(np.partition(still, still.size - more - 1)[still.size - more - 1]) if more > 0 else math.inf
        else:
            edge = -float(stdtrit(n - 1, allowed))
        stopped = running & (np.abs(t) > edge)
        spent += int(np.count_nonzero(stopped))
        running &= ~stopped
        found.append(float(stdtr(n - 1, -edge)))
        before = n
    return Boundaries(tuple(at), tuple(found), alpha, shape)


@cache
def _boundaries(looks: tuple[int, ...], alpha: float) -> Boundaries:
    return spending_boundaries(looks, alpha)


def _log_e(mean: float, squares: float, n: int, margin: float, side: str, spread: float) -> float:
    """log E from the mean and the sum of squares around it."""
    g, x = spread**2, mean - margin if side == "greater" else margin - mean
    shrunk = squares + n * x**2 / (1 + n * g)  # Σx² − r·n·x̄²
    total = squares + n * x**2
    argument = math.sqrt(g / (1 + n * g)) * n * x * math.sqrt(n / shrunk)
    tail = max(float(stdtr(n, argument)), math.ulp(0.0))
    return -math.log1p(n * g) / 2 - n / 2 * (math.log(shrunk) - math.log(total)) + math.log(2 * tail)
