"""The default interval: one score, or one difference of two methods, over seeds x items.

A score varies because training is random (seeds) and because the test set is a sample (items, or groups of
items such as speakers). With D[s, i] the item scores of S seeds on I items in G groups, and D̄_s, D̄_i, D̄
their means,

    a    = Σ_s (D̄_s − D̄)² / (S(S−1))                               seeds
    B_g  = Σ_{i∈g} (D̄_i − D̄),  b = G/(G−1) · Σ_g B_g² / I²           items or groups
    R_sg = Σ_{i∈g} (D_si − D̄_s − D̄_i + D̄)
    e    = S/(S−1) · G/(G−1) · Σ_sg R_sg² / (S·I)²                   what seeds and items do together
    a₀   = max(a, e),  V = a₀ + max(b − e, 0)
    ν    = max{ V² / (a₀²/(S−1) + b²/(G−1)), min(S−1, G−1) }         (Satterthwaite 1946, from below)

Both a and b estimate their own source *plus* e, which is why e is taken out once. The interval D̄ ± h has

    seeds   new seeds on this test set               h = t_{S−1}·√a
    items   new items for these trained models       h = t_{G−1}·√b
    both    new seeds and new items                  h = max{ t_ν·√V, t_{S−1}·√a, t_{G−1}·√b }

so *both* is never narrower than the others. The training set, the split and the tuning are held fixed by all
three. Groups enter as in a cluster-robust variance (Liang and Zeger 1986) and two crossed groupings as b₁ +
b₂ − b₁₂ (Cameron, Gelbach and Miller 2011). With groups of unequal size the factor G/(G−1) becomes a weight
1/(1 − n_g/I) of each group and G in the degrees of freedom the number of equal groups that they are worth
(`variance`). A part whose square root is below 8 machine epsilons of the largest score counts as zero, and what
does not vary at all decides nothing. Simulated coverages: `docs/statistics.md`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtr, stdtrit

from tcmax.stats.sequential import Spending, earliest
from tcmax.stats.variance import (
    ROUNDING,
    combined,
    groupings,
    item_part,
    joint_part,
    satterthwaite,
    seed_part,
)

__all__ = [
    "Crossed",
    "Interval",
    "Needed",
    "Population",
    "Verdict",
    "average",
    "clipped",
    "crossed",
    "crossed_jackknife",
    "crossed_paired",
    "crossed_proportion",
    "crossed_ratio",
    "crossed_unpaired",
    "equivalence_of",
    "interval",
    "one_sided_p",
    "pseudo_values",
    "redesigned",
    "refusal",
    "tails",
    "verdict_of",
    "what_decides",
]

Population = Literal["seeds", "items", "both"]
Verdict = Literal["supported", "contradicted", "undetermined"]
Floats = NDArray[np.float64]

MIN_TELLING = 10  # below this many items that tell the Wald variance of a difference of proportions is too small
FEW_GROUPS = 10  # below this many a cluster-robust variance is flagged
MIN_UNITS = 3  # a verdict about seeds or groups needs at least this many of them
MIN_EFFECTIVE = 2  # groups of unequal size must weigh as at least so many equal ones
MIN_AGREEING = 6  # from so many runs on, an exact sign flip reaches 5 % where all of them agree


@dataclass(frozen=True)
class Crossed:
    """An estimate over seeds x items with its variance parts.

    estimate      mean score or mean difference, in the unit of the scores
    a, b, e       variance parts of the estimate (module docstring); NaN where the design cannot give them:
                  a and e for one seed, b and e for one group
    n_seeds       S; the smaller one when the seeds of two methods are independent
    n_items       I, without the two items that smoothing may add
    n_groups      G: n_items when items are their own groups; the smaller of two groupings
    seed_df       S − 1, or Welch's degrees of freedom
    group_df      G − 1; I²/Σ_g n_g² − 1 for groups of unequal size
    n_discordant  items on which two methods differ in at least one seed; None for a single score
    notes         what was done that a reader should know
    parts         the components of an average over datasets, else empty
    spending      the look of a sequential design at which this stands: `interval` and `one_sided_p` are then those of
                  the whole design, all looks together
    scale         largest absolute score of the methods: variation below 8 machine epsilons of it is rounding
    whole_runs    the scores are those of whole runs: they have no items and speak for seeds only
    proportion    the estimate is a proportion by itself: its interval has Wilson's form and stays within 0 and 1
    agreeing      S where all S ≥ 6 pairs of binary scores of whole runs differ the same way, else 0: an exact sign flip
                  then decides whether the difference is above 0
    smoothed      two pseudo-items were added, which stand for variation that was not observed
    """

    estimate: float
    a: float
    b: float
    e: float
    n_seeds: int
    n_items: int
    n_groups: int
    seed_df: float
    group_df: float
    n_discordant: int | None = None
    notes: tuple[str, ...] = ()
    parts: tuple[Crossed, ...] = ()
    spending: Spending | None = None
    scale: float = 0.0
    whole_runs: bool = False
    proportion: bool = False
    agreeing: int = 0
    smoothed: bool = False

    @property
    def effective_groups(self) -> float:
        """How many groups of equal size the groups are worth, at most `n_groups`."""
        return self.group_df + 1

    @property
    def seed_variance(self) -> float:
        """a, or e where all seed means coincide (a = 0), as binary scores on few items can by chance."""
        if self.parts:
            return sum(part.seed_variance for part in self.parts) / len(self.parts) ** 2
        return self.e if self.a == 0 and not np.isnan(self.e) else self.a

    @property
    def joint_seed_variance(self) -> float:
        """a₀ = max(a, e)."""
        if self.parts:
            return sum(part.joint_seed_variance for part in self.parts) / len(self.parts) ** 2
        return max(self.a, self.e)

    @property
    def item_excess(self) -> float:
        """max(b − e, 0): the item variance that no number of seeds averages away."""
        if self.parts:
            return sum(part.item_excess for part in self.parts) / len(self.parts) ** 2
        return max(self.b - self.e, 0.0)

    @cached_property
    def variance(self) -> float:
        """V = a₀ + max(b − e, 0), for new seeds and new items."""
        return self.joint_seed_variance + self.item_excess

    @cached_property
    def both_df(self) -> float:
        """ν, NaN where V is; for an average over datasets Satterthwaite's value from the components' V and ν."""
        if self.parts:
            return satterthwaite([p.variance for p in self.parts], [p.both_df for p in self.parts])
        floor = min(self.seed_df, self.group_df)
        if floor <= 0:
            return math.nan
        weight = self.joint_seed_variance**2 / self.seed_df + self.b**2 / self.group_df
        return max(self.variance**2 / weight, floor) if weight > 0 else floor


@dataclass(frozen=True)
class Interval:
    """Estimate ± half_width at confidence 1 − alpha; `df` belongs to the t quantile that set the width.

    Around a proportion by itself low and high are not symmetric, and half_width is half their distance. varies: False
    for *both* where the seeds show no variation at all, and no smoothing stands for it.
    """

    estimate: float
    low: float
    high: float
    half_width: float
    alpha: float
    df: float
    population: Population
    varies: bool = True

    @property
    def decides(self) -> bool:
        """False without variation: to observe none is no evidence of none."""
        return self.half_width > 0 and self.varies


@dataclass(frozen=True)
class Needed:
    """What would decide a comparison whose half-width has to fall below `gap`.

    n_seeds   least number of seeds S′ ≥ 3 with h < gap, or None: no number of seeds can
    gap       |difference − margin|, observed or of interest
    floor     half-width left with unlimited seeds: t_{G−1}·√max(b − e, 0), and 0 for new seeds on this test
              set
    """

    n_seeds: int | None
    gap: float
    floor: float
    population: Population


def crossed(
    scores: ArrayLike,
    groups: ArrayLike | None = None,
    second_groups: ArrayLike | None = None,
    *,
    scale: float | None = None,
) -> Crossed:
    """Mean of item scores over seeds and items, with the variance parts of the module docstring.

    scores         (seeds, items) float: the item scores of one method, or a paired difference A − B; finite. One
                   column is a score per run: no items, and nothing but *seeds* (`Crossed.whole_runs`)
    groups         (items,) labels: items of one group are not independent (speaker, writer, video)
    second_groups  (items,) labels of a second, crossed grouping (sentence); needs `groups`
    scale          largest absolute score behind a difference; that of `scores` when not given

    One seed leaves a and e undefined, one group b and e; `interval` then refuses the populations that need
    them. Groups worth fewer than 10 equal ones are flagged in `notes`. Raises ValueError for a wrong shape or
    a value that is not finite.
    """
    d = _matrix(scores, "scores")
    return _crossed(d, groups, second_groups, _largest(d) if scale is None else scale)


def crossed_proportion(
    scores: ArrayLike, groups: ArrayLike | None = None, second_groups: ArrayLike | None = None
) -> Crossed:
    """A proportion by itself, such as the accuracy of one method, over seeds and items.

    scores   (seeds, items) float within [0, 1] (ValueError), 0 or 1 as a rule; groups as in `crossed`

    `interval` then has Wilson's (1927) form with the effective number of items n = p̂(1 − p̂)/V and t for z, for each
    of seeds, items and both; with groups n is at most I. Where all items are right, or all wrong, V is 0 and n is I
    (with groups their effective number, for whole runs S). Such intervals have a width at 0 and 1 and never leave
    [0, 1]. Fewer than 10 groups that hold an error (or, under one half, a right answer) are flagged: the interval is
    then too short by up to 4 points of coverage (`docs/statistics.md`).
    """
    d = _matrix(scores, "scores")
    if d.min() < 0 or d.max() > 1:
        raise ValueError(f"a proportion needs scores within 0 and 1, got {d.min():g} to {d.max():g}")
    found = replace(_crossed(d, groups, second_groups, _largest(d)), proportion=True)
    if groups is None or found.whole_runs:
        return found
    rarer = d < 1 if found.estimate >= 0.5 else d > 0
    telling = rarer.any(axis=0)
    kinds = (groups,) if second_groups is None else (groups, second_groups)
    fewest = min(np.unique(np.asarray(labels)[telling]).size for labels in kinds)
    if fewest >= FEW_GROUPS:
        return found
    what = "an error" if found.estimate >= 0.5 else "a right answer"
    return replace(found, notes=(*found.notes, f"fewer than {FEW_GROUPS} groups hold {what}: {fewest}"))


def _crossed(
    d: Floats,
    groups: ArrayLike | None,
    second_groups: ArrayLike | None,
    scale: float,
    n_discordant: int | None = None,
    n_pseudo: int = 0,
) -> Crossed:
    """n_pseudo: so many of the last columns were added by smoothing; they count neither as items nor as groups."""
    n_seeds, n_items = d.shape[0], d.shape[1] - n_pseudo
    grouped = groupings(groups, second_groups, n_items, n_pseudo)
    notes: list[str] = []
    by_seed, by_item, mean = d.mean(axis=1), d.mean(axis=0), d.mean()
    rounding = ROUNDING * scale
    residuals = d - by_seed[:, np.newaxis]  # in place from here on: one array of this size, not four
    residuals -= by_item
    residuals += mean
    a = seed_part(by_seed - mean, rounding)
    b = combined([item_part(by_item, grouping, rounding) for grouping in grouped], "b", notes)
    e = combined([joint_part(residuals, grouping, rounding) for grouping in grouped], "e", notes)
    return _noted(
        Crossed(
            estimate=float(mean),
            a=a,
            b=b,
            e=e,
            n_seeds=n_seeds,
            n_items=n_items,
            n_groups=min(grouping.n_groups for grouping in grouped),
            seed_df=float(n_seeds - 1),
            group_df=min(grouping.effective for grouping in grouped) - 1,
            n_discordant=n_discordant,
            notes=tuple(notes),
            scale=scale,
            whole_runs=d.shape[1] == 1,
        )
    )


def crossed_paired(
    a: ArrayLike, b: ArrayLike, groups: ArrayLike | None = None, second_groups: ArrayLike | None = None
) -> Crossed:
    """The difference A − B of two methods on the same items with the same seeds, listed in the same order.

    a, b   (seeds, items) float, equal shapes; `groups` as in `crossed`. One column is a score per run.

    Binary scores of items are smoothed where few items tell: with k(v) the number of items whose difference is v,
    averaged over seeds, and I − max k(v) < 10, one item with difference +1 and one with −1, each a group of its own in
    the sums, are appended (Bonett and Price 2012, who add one to each discordant cell). This shrinks the estimate by
    I/(I + 2) and is said in `notes`; G and the degrees of freedom stay those of the real items. Scores of whole runs
    are never smoothed.
    """
    first, second = _matrix(a, "a"), _matrix(b, "b")
    if first.shape != second.shape:
        raise ValueError(
            f"paired scores need the same seeds and items, got {first.shape} and {second.shape}; "
            "crossed_unpaired takes independent seeds"
        )
    d = first - second
    scale = max(_largest(first), _largest(second))
    n_discordant = int(np.count_nonzero(np.any(d != 0, axis=0)))
    binary = _is_binary(first) and _is_binary(second)
    if binary and d.shape[1] == 1 and len(d) >= MIN_AGREEING and abs(d.sum()) == len(d):
        found = _crossed(d, groups, second_groups, scale, n_discordant)
        p = 2.0 ** (1 - len(d))
        note = f"all {len(d)} pairs of runs differ the same way: an exact sign flip, p {p:.3g}, decides at margin 0"
        return replace(found, agreeing=len(d), notes=(*found.notes, note))
    telling = _telling([int(np.count_nonzero(d == v)) for v in (-1, 0, 1)], len(d)) if binary else math.inf
    if telling >= MIN_TELLING or d.shape[1] == 1:
        return _crossed(d, groups, second_groups, scale, n_discordant)
    smoothed = np.hstack([d, np.ones((len(d), 1)), -np.ones((len(d), 1))])
    result = _crossed(smoothed, groups, second_groups, scale, n_discordant, n_pseudo=2)
    return replace(result, notes=(_smoothed(telling), *result.notes), smoothed=True)


def crossed_unpaired(
    a: ArrayLike,
    b: ArrayLike,
    groups: ArrayLike | None = None,
    second_groups: ArrayLike | None = None,
    *,
    deterministic: tuple[bool, bool] = (False, False),
) -> Crossed:
    """The difference A − B when the seeds of the two methods are independent and the items are common.

    a               (seeds of A, items) float
    b               (seeds of B, items) float; the numbers of seeds may differ
    deterministic   whether all runs of A, of B, are one and the same by nature (`repeats`). Such a method counts as
                    one run without seed variance that adds no degrees of freedom and does not limit the seeds.

    The seed parts add, a = a_A + a_B and e = e_A + e_B, with Welch's degrees of freedom; b is that of the
    difference of the seed means per item. n_seeds is the smaller number of seeds. Few items that tell are smoothed as
    in `crossed_paired`, k(v) averaged over all pairs of seeds.
    """
    x, y = _matrix(a, "a"), _matrix(b, "b")
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"scores need the same items, got {x.shape[1]} and {y.shape[1]}")
    x, y = (rows[:1] if fixed else rows for rows, fixed in zip((x, y), deterministic, strict=True))
    n_discordant = int(np.count_nonzero(np.ptp(np.vstack([x, y]), axis=0)))
    scale, n_pseudo, notes = max(_largest(x), _largest(y)), 0, []
    telling = _telling_of_pairs(x, y) if _is_binary(x) and _is_binary(y) else math.inf
    if telling < MIN_TELLING and x.shape[1] > 1:
        x, y = (np.hstack([rows, np.tile(more, (len(rows), 1))]) for rows, more in ((x, [1.0, 0.0]), (y, [0.0, 1.0])))
        n_pseudo = 2
        notes.append(_smoothed(telling))
    first, second = (_crossed(rows, groups, second_groups, scale, n_pseudo=n_pseudo) for rows in (x, y))
    grouped = groupings(groups, second_groups, first.n_items, n_pseudo)
    per_item = x.mean(axis=0) - y.mean(axis=0)
    item_variance = combined([item_part(per_item, grouping, ROUNDING * scale) for grouping in grouped], "b", notes)
    random = [side for side, fixed in zip((first, second), deterministic, strict=True) if not fixed] or [first]
    return _noted(
        Crossed(
            estimate=first.estimate - second.estimate,
            a=sum(side.a for side in random),
            b=item_variance,
            e=sum(side.e for side in random),
            n_seeds=min(side.n_seeds for side in random),
            n_items=first.n_items,
            n_groups=first.n_groups,
            seed_df=satterthwaite([side.a for side in random], [side.seed_df for side in random]),
            group_df=first.group_df,
            n_discordant=n_discordant,
            notes=(f"independent seeds: {first.n_seeds} and {second.n_seeds}", *notes),
            scale=scale,
            whole_runs=first.whole_runs,
            smoothed=n_pseudo > 0,
        )
    )


def pseudo_values(statistic: Callable[[Floats], Floats], contributions: Iterable[ArrayLike]) -> Floats:
    """Jackknife pseudo-values (seeds, items) of a metric that is a function of sums over items.

    statistic      maps totals (..., K) to the metric (...); must be defined with any one item left out
    contributions  per seed an (items, K) array, or one (seeds, items, K) array: what each item adds to the
                   totals. Ratio of means: (x, y); balanced accuracy: per class hits and items; macro F1: per
                   class true positives, predictions and items; ECE: per bin confidence, hits and items

    The value of item i is θ − (I − 1)·(θ₍₋ᵢ₎ − mean θ₍₋ⱼ₎), where θ is the metric on all items: pseudo-values
    (Tukey 1958) shifted so that their mean is the metric itself and not its bias-corrected form. For an item
    mean they are the item scores. Feed them, or the difference of those of two methods, to `crossed` with
    any grouping.
    """
    rows = []
    for seed, values in enumerate(contributions):
        parts = np.asarray(values, dtype=np.float64)
        if parts.ndim != 2 or parts.shape[0] < 2:
            raise ValueError(f"contributions of seed {seed} need shape (items >= 2, K), got {parts.shape}")
        total = parts.sum(axis=0)
        left_out = np.asarray(statistic(total - parts), dtype=np.float64)
        if left_out.shape != parts.shape[:1]:
            raise ValueError(f"statistic maps (items, K) to (items,), got {left_out.shape}")
        whole = float(statistic(total))
        rows.append(whole - (parts.shape[0] - 1) * (left_out - left_out.mean()))
    return _matrix(rows, "pseudo-values")


def crossed_jackknife(
    statistic: Callable[[Floats], Floats],
    contributions: Iterable[ArrayLike],
    groups: ArrayLike | None = None,
    second_groups: ArrayLike | None = None,
) -> Crossed:
    """`crossed` for a metric that is not an item mean, by the `pseudo_values` of each seed."""
    return crossed(pseudo_values(statistic, contributions), groups, second_groups)


def crossed_ratio(
    numerator: ArrayLike,
    denominator: ArrayLike,
    groups: ArrayLike | None = None,
    second_groups: ArrayLike | None = None,
) -> Crossed:
    """The ratio of two item means, such as the entropy ratio ρ, averaged over seeds; jackknife in closed
    form.

    numerator, denominator   (seeds, items) float; the sum of each seed's denominator, with any one item
                             left out, must not be zero (ValueError)
    """
    x, y = _matrix(numerator, "numerator"), _matrix(denominator, "denominator")
    if x.shape != y.shape or x.shape[1] < 2:
        raise ValueError(f"a ratio needs equal shapes and two items, got {x.shape} and {y.shape}")
    total_x, total_y = x.sum(axis=1, keepdims=True), y.sum(axis=1, keepdims=True)
    rest = total_y - y
    if np.any(rest == 0) or np.any(total_y == 0):
        raise ValueError("the denominator of a ratio sums to zero")
    left_out = (total_x - x) / rest
    pseudo = total_x / total_y - (x.shape[1] - 1) * (left_out - left_out.mean(axis=1, keepdims=True))
    return crossed(pseudo, groups, second_groups)


def average(parts: Sequence[Crossed]) -> Crossed:
    """The mean of J independent estimates, such as one comparison on each of J named datasets.

    V = Σ V_j / J² and Satterthwaite's ν over the components, and the same for a, b and e. Datasets are
    fixed, not sampled: a claim about datasets in general needs the spread of the J estimates instead.
    n_seeds and n_groups are the smallest, n_items the sum. Of looks of a sequential design the earliest counts, whose
    alpha is the least.
    """
    if not parts:
        raise ValueError("an average needs at least one component")
    if len(parts) == 1:
        return parts[0]
    scale = len(parts) ** 2
    return Crossed(
        estimate=float(np.mean([p.estimate for p in parts])),
        a=sum(p.a for p in parts) / scale,
        b=sum(p.b for p in parts) / scale,
        e=sum(p.e for p in parts) / scale,
        n_seeds=min(p.n_seeds for p in parts),
        n_items=sum(p.n_items for p in parts),
        n_groups=min(p.n_groups for p in parts),
        seed_df=satterthwaite([p.seed_variance for p in parts], [p.seed_df for p in parts]),
        group_df=satterthwaite([p.b for p in parts], [p.group_df for p in parts]),
        notes=tuple(f"component {j + 1}: {note}" for j, p in enumerate(parts) for note in p.notes),
        parts=tuple(parts),
        spending=earliest([p.spending for p in parts]),
        scale=max(p.scale for p in parts),
        whole_runs=any(p.whole_runs for p in parts),
        smoothed=any(p.smoothed for p in parts),
    )


def interval(c: Crossed, population: Population, alpha: float = 0.05) -> Interval:
    """Two-sided 1 − alpha interval for the population (module docstring); for a proportion by itself that of
    `crossed_proportion`, whose bounds are the least and the greatest of the populations that it answers to.

    Raises ValueError where the design cannot speak for the population: one seed for *seeds* and *both*, one
    group, or scores of whole runs, for *items* and *both*.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie strictly between 0 and 1, got {alpha}")
    here = alpha if c.spending is None else c.spending.alpha_here(alpha)
    found = tails(c, population)
    if c.proportion:
        bounds = [_wilson(c.estimate, n, _quantile(df, here)) for n, df in _sizes(c, population)]
        low, high = min(bound[0] for bound in bounds), max(bound[1] for bound in bounds)
        df = found[int(np.argmin([bound[0] - bound[1] for bound in bounds]))][1]
        varies = all(math.isfinite(n) for n, _ in _sizes(c, population)[:2])
        return Interval(c.estimate, low, high, (high - low) / 2, alpha, df, population, varies)
    half_width, df = max((_quantile(df, here) * math.sqrt(variance), df) for variance, df in found)
    return Interval(
        estimate=c.estimate,
        low=c.estimate - half_width,
        high=c.estimate + half_width,
        half_width=half_width,
        alpha=alpha,
        df=df,
        population=population,
        varies=c.smoothed or _vary(found),
    )


def clipped(found: Interval, lowest: float, highest: float) -> Interval:
    """The interval as it is printed, within the range of its metric. Decisions use the one that is not clipped."""
    return replace(found, low=max(found.low, lowest), high=min(found.high, highest))


def one_sided_p(
    c: Crossed, margin: float, population: Population, alternative: Literal["greater", "less"] = "greater"
) -> float:
    """p of "d > margin" (greater) or "d < margin" (less): the largest of the t tails behind `interval`.

    It is below alpha/2 exactly when the interval lies beyond the margin. It is 1 where nothing varied, and for *both*
    where the seeds did not, unless smoothing stands for it. Where S ≥ 6 pairs of binary scores of
    whole runs all differ the same way and the margin is 0, it is that of the exact sign flip, 2^−S.
    """
    if alternative not in ("greater", "less"):
        raise ValueError(f"alternative is greater or less, got {alternative!r}")
    gap = c.estimate - margin if alternative == "greater" else margin - c.estimate
    found = tails(c, population)
    if c.agreeing and margin == 0:
        p = 2.0**-c.agreeing if gap > 0 else 1.0
    elif c.proportion:
        sizes = _sizes(c, population)
        known = [_score_p(gap, margin, n, df) for n, df in sizes if math.isfinite(n)]
        p = max(known) if all(math.isfinite(n) for n, _ in sizes[:2]) else 1.0
    elif c.smoothed or _vary(found):
        p = max((float(stdtr(df, -gap / math.sqrt(v))) for v, df in found if v > 0), default=1.0)
    else:
        p = 1.0
    return p if c.spending is None else c.spending.p(p)


def refusal(c: Crossed, population: Population) -> str | None:
    """Why a claim about the population is not testable with this design, or None: 3 seeds, and 3 groups of items that
    are worth 2 equal ones."""
    fewest = c.parts or (c,)
    smallest_seeds, smallest_groups = min(p.n_seeds for p in fewest), min(p.n_groups for p in fewest)
    if population != "items" and smallest_seeds < MIN_UNITS:
        return f"{smallest_seeds} seeds cannot speak for new seeds; at least {MIN_UNITS} are needed"
    if population == "seeds":
        return None
    if c.whole_runs:
        return "scores of whole runs have no items and cannot speak for new ones"
    if smallest_groups < MIN_UNITS:
        return f"{smallest_groups} groups of items cannot speak for new ones; at least {MIN_UNITS} are needed"
    effective = min(p.effective_groups for p in fewest)
    if effective < MIN_EFFECTIVE:
        return (
            f"{smallest_groups} groups of items are so unequal that they are worth {effective:.2f} equal ones; "
            f"at least {MIN_EFFECTIVE} are needed"
        )
    return None


def verdict_of(c: Crossed, margin: float, population: Population, alpha: float = 0.05) -> Verdict:
    """The verdict on "d > margin": supported if the interval lies above the margin, contradicted if it
    reaches at most the margin, else undetermined. Where nothing varied it is undetermined, but for pairs of
    binary scores of whole runs that all differ the same way (`one_sided_p`).

    Raises ValueError with the reason where `refusal` gives one (the claim is then not testable).
    """
    reason = refusal(c, population)
    if reason is not None:
        raise ValueError(reason)
    if c.agreeing and margin == 0:
        if one_sided_p(c, 0.0, population) < alpha / 2:
            return "supported"
        return "contradicted" if one_sided_p(c, 0.0, population, "less") <= alpha / 2 else "undetermined"
    found = interval(c, population, alpha)
    if not found.decides:
        return "undetermined"
    if found.low > margin:
        return "supported"
    return "contradicted" if found.high <= margin else "undetermined"


def equivalence_of(c: Crossed, margin: float, population: Population, alpha: float = 0.05) -> Verdict:
    """The verdict on "equal within ± margin" by two one-sided tests at alpha/2 (Schuirmann 1987): supported
    if the interval lies inside ± margin, contradicted if wholly outside, else undetermined.

    The margin must be positive and fixed beforehand. Non-inferiority is `verdict_of` at margin −m.
    """
    if not margin > 0:
        raise ValueError(f"equality needs a margin above 0, got {margin}")
    reason = refusal(c, population)
    if reason is not None:
        raise ValueError(reason)
    found = interval(c, population, alpha)
    if not found.decides:
        return "undetermined"
    if -margin < found.low and found.high < margin:
        return "supported"
    return "contradicted" if found.low >= margin or found.high <= -margin else "undetermined"


def redesigned(c: Crossed, n_seeds: int | None = None, n_items: int | None = None) -> Crossed:
    """The parts to expect of the same comparison with other numbers of seeds and items (of each dataset, in
    an average).

    What seeds alone add, max(a − e, 0), shrinks with seeds; what items alone add, max(b − e, 0), with items;
    the rest with both. Groups grow with the items, their size unchanged. Welch's degrees of freedom scale
    with S − 1.
    """
    if c.parts:
        return average([redesigned(part, n_seeds, n_items) for part in c.parts])
    if c.n_seeds < 2 or c.n_groups < 2:
        raise ValueError("one seed or one group has no variance parts to plan with")
    new_seeds = c.n_seeds if n_seeds is None else n_seeds
    new_items = c.n_items if n_items is None else n_items
    if new_seeds < 2 or new_items < 2:
        raise ValueError(f"a design needs two seeds and two items, got {new_seeds} and {new_items}")
    by_seeds, by_items = c.n_seeds / new_seeds, c.n_items / new_items
    both = by_seeds * by_items
    group_df = max(c.effective_groups / by_items - 1, 1.0)
    return replace(
        c,
        a=max(c.a - c.e, 0.0) * by_seeds + min(c.a, c.e) * both,
        b=max(c.b - c.e, 0.0) * by_items + min(c.b, c.e) * both,
        e=c.e * both,
        n_seeds=new_seeds,
        n_items=new_items,
        n_groups=max(round(c.n_groups / by_items), 2),
        seed_df=c.seed_df * (new_seeds - 1) / (c.n_seeds - 1),
        group_df=group_df,
    )


def what_decides(
    c: Crossed,
    margin: float,
    alpha: float = 0.05,
    population: Population = "both",
    gain: float | None = None,
) -> Needed:
    """The least number of seeds S′ ≥ 3 at which the half-width is below |d − margin|.

    For the population *items* the trained models are given: more seeds change nothing, and n_seeds is S or
    None.

    d is the observed difference, or `gain`, the smallest difference of interest. No number of seeds suffices
    if and only if |d − margin| ≤ t_{G−1}·√max(b − e, 0), since h(S′) falls to that limit and never below it.
    This is where the interval would just exclude the margin were the estimate to stay: about even odds for a
    true difference of that size; `power.seeds_needed` asks for more. In a sequential design the alpha is that of the
    last look.
    """
    if c.spending is not None:
        alpha = c.spending.last.alpha_here(alpha)
        c = _fixed(c)
    gap = abs((c.estimate if gain is None else gain) - margin)
    now = interval(c, population, alpha)
    if population == "items":
        decided = now.decides and now.half_width < gap
        return Needed(c.n_seeds if decided else None, gap, now.half_width, population)
    floor = 0.0
    if population == "both":
        floor = _quantile(redesigned(c, 2**60).both_df, alpha) * math.sqrt(c.item_excess)
    never = Needed(None, gap, floor, population)

    def suffices(n_seeds: int) -> bool:
        return interval(redesigned(c, n_seeds), population, alpha).half_width < gap

    if gap <= floor or not now.decides:
        return never
    high = MIN_UNITS
    while not suffices(high):
        if high > 2**50:  # the gap exceeds its floor by rounding error only
            return never
        high *= 2
    low = max(high // 2, MIN_UNITS - 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if suffices(middle) else (middle, high)
    return Needed(high, gap, floor, population)


def _fixed(c: Crossed) -> Crossed:
    """The same as if its number of seeds had been fixed."""
    return replace(c, spending=None, parts=tuple(_fixed(part) for part in c.parts))


def _quantile(df: float, alpha: float) -> float:
    return float(stdtrit(df, 1 - alpha / 2))


def tails(c: Crossed, population: Population) -> list[tuple[float, float]]:
    """(variance, degrees of freedom) of each t statistic that the population answers to; the widest one decides.

    Raises ValueError where the design cannot speak for the population.
    """
    if population not in ("seeds", "items", "both"):
        raise ValueError(f"population is seeds, items or both, got {population!r}")
    fewest = c.parts or (c,)
    if population != "items" and min(p.n_seeds for p in fewest) < 2:
        raise ValueError("one seed says nothing about new seeds; use population='items'")
    if population != "seeds" and c.whole_runs:
        raise ValueError("scores of whole runs have no items; use population='seeds'")
    if population != "seeds" and min(p.n_groups for p in fewest) < 2:
        raise ValueError("one group of items says nothing about new items; use population='seeds'")
    seeds, items = (c.seed_variance, c.seed_df), (c.b, c.group_df)
    if population == "seeds":
        return [seeds]
    if population == "items":
        return [items]
    return [(c.variance, c.both_df), seeds, items]


def _matrix(values: ArrayLike, name: str) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(f"{name} needs shape (seeds, items), got {array.shape}")
    with np.errstate(invalid="ignore", over="ignore"):
        total = array.sum()
    if not np.isfinite(total) and not np.isfinite(array).all():  # a finite sum has finite terms
        raise ValueError(f"{name} holds {np.count_nonzero(~np.isfinite(array))} values that are not finite")
    return array


def _is_binary(values: Floats) -> bool:
    return bool(np.all((values == 0) | (values == 1)))


def _vary(found: Sequence[tuple[float, float]]) -> bool:
    """Whether `tails` vary, and among those of *both* also the seeds: runs that are all alike are no sample of runs.
    Items that all gain alike are a strange but possible sample of items."""
    return all(variance > 0 for variance, _ in found[:2])


def _largest(values: Floats) -> float:
    return float(np.max(np.abs(values)))


def _telling(counts: Sequence[int], n_runs: int) -> float:
    """I − max_v k(v), from the numbers of scores with each difference v over all runs (or pairs of runs)."""
    return (sum(counts) - max(counts)) / n_runs


def _telling_of_pairs(x: Floats, y: Floats) -> float:
    """The same over all pairs of a run of A and a run of B."""
    right_a, right_b = x.sum(axis=0), y.sum(axis=0)
    n_pairs = len(x) * len(y)
    wins = int(right_a @ (len(y) - right_b))
    losses = int((len(x) - right_a) @ right_b)
    return _telling([wins, losses, n_pairs * x.shape[1] - wins - losses], n_pairs)


def _smoothed(telling: float) -> str:
    return f"bonett-price: {telling:.3g} items tell"


def _sizes(c: Crossed, population: Population) -> list[tuple[float, float]]:
    """(effective number of items, degrees of freedom) of a proportion for each source that the population answers to;
    infinite where a source did not vary."""
    p, grouped = c.estimate, c.n_groups < c.n_items and not c.whole_runs
    if not 0 < p < 1:
        if c.whole_runs:
            return [(float(c.n_seeds), float(c.n_seeds - 1))]
        if grouped:
            return [(c.effective_groups, c.group_df)]
        return [(float(c.n_items), float(c.n_items - 1))]
    most = float(c.n_items) if grouped else math.inf
    return [(min(p * (1 - p) / v, most) if v > 0 else math.inf, df) for v, df in tails(c, population)]


def _wilson(p: float, n: float, t: float) -> tuple[float, float]:
    """All θ with (p − θ)² ≤ t²·θ(1 − θ)/n."""
    share = t**2 / n
    centre = (p + share / 2) / (1 + share)
    half_width = math.sqrt(share * (p * (1 - p) + share / 4)) / (1 + share)
    return max(0.0, centre - half_width), min(1.0, centre + half_width)


def _score_p(gap: float, margin: float, n: float, df: float) -> float:
    """One-sided p of a proportion that lies `gap` beyond the margin, by the variance at the margin."""
    if not 0 < margin < 1:
        return 0.0 if gap > 0 else 1.0
    return float(stdtr(df, -gap / math.sqrt(margin * (1 - margin) / n)))


def _noted(c: Crossed) -> Crossed:
    notes = list(c.notes)
    if c.a == 0:
        notes.append("a = 0: e used" if c.e > 0 else "a = 0 and e = 0: the seeds do not differ")
    if c.effective_groups < FEW_GROUPS and not c.whole_runs:
        equal = c.n_groups == c.effective_groups
        notes.append(f"fewer than {FEW_GROUPS} groups" if equal else _few_effective(c))
    return replace(c, notes=tuple(notes)) if len(notes) > len(c.notes) else c


def _few_effective(c: Crossed) -> str:
    return f"fewer than {FEW_GROUPS} groups: {c.n_groups} unequal ones are worth {c.effective_groups:.1f}"
