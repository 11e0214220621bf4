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
b₂ − b₁₂ (Cameron, Gelbach and Miller 2011). Simulated coverages: `docs/statistics.md`.
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

__all__ = [
    "Crossed",
    "Interval",
    "Needed",
    "Population",
    "Verdict",
    "average",
    "crossed",
    "crossed_jackknife",
    "crossed_paired",
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

MIN_DISCORDANT = 10  # below this many the Wald variance of a difference of proportions is too small
FEW_GROUPS = 10  # below this many a cluster-robust variance is flagged
ROUNDING = 8 * float(np.finfo(np.float64).eps)  # relative to the largest score: less than that is no variation
MIN_UNITS = 3  # a verdict about seeds or groups needs at least this many of them


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
    group_df      G − 1
    n_discordant  items on which two methods differ in at least one seed; None for a single score
    notes         what was done that a reader should know
    parts         the components of an average over datasets, else empty
    spending      the look of a sequential design at which this stands: `interval` and `one_sided_p` are then those of
                  the whole design, all looks together
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
            return _satterthwaite([p.variance for p in self.parts], [p.both_df for p in self.parts])
        floor = min(self.seed_df, self.group_df)
        if floor <= 0:
            return math.nan
        weight = self.joint_seed_variance**2 / self.seed_df + self.b**2 / self.group_df
        return max(self.variance**2 / weight, floor) if weight > 0 else floor


@dataclass(frozen=True)
class Interval:
    """Estimate ± half_width at confidence 1 − level; `df` belongs to the t quantile that set the width."""

    estimate: float
    low: float
    high: float
    half_width: float
    level: float
    df: float
    population: Population

    @property
    def decides(self) -> bool:
        """False for an interval of zero width: no observed variation is no evidence of none."""
        return self.half_width > 0


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


def crossed(scores: ArrayLike, groups: ArrayLike | None = None, second_groups: ArrayLike | None = None) -> Crossed:
    """Mean of item scores over seeds and items, with the variance parts of the module docstring.

    scores         (seeds, items) float: the item scores of one method, or a paired difference A − B; finite
    groups         (items,) labels: items of one group are not independent (speaker, writer, video)
    second_groups  (items,) labels of a second, crossed grouping (sentence); needs `groups`

    One seed leaves a and e undefined, one group b and e; `interval` then refuses the populations that need
    them. With fewer than 10 groups the result is flagged in `notes`. Raises ValueError for a wrong shape or
    a value that is not finite.
    """
    return _crossed(_matrix(scores, "scores"), groups, second_groups)


def _crossed(
    d: Floats, groups: ArrayLike | None, second_groups: ArrayLike | None, n_discordant: int | None = None
) -> Crossed:
    n_seeds, n_items = d.shape
    codings = _codings(groups, second_groups, n_items)
    notes: list[str] = []
    by_seed, by_item, mean = d.mean(axis=1), d.mean(axis=0), d.mean()
    rounding = ROUNDING * np.max(np.abs(d))
    residuals = d - by_seed[:, np.newaxis]  # in place from here on: one array of this size, not four
    residuals -= by_item
    residuals += mean
    a = _seed_part(by_seed - mean, rounding)
    b = _combine([_item_part(by_item, codes) for codes in codings], "b", notes)
    e = _combine([_joint_part(residuals, codes, rounding) for codes in codings], "e", notes)
    n_groups = _n_groups(codings, n_items)
    return _noted(
        Crossed(
            estimate=float(mean),
            a=a,
            b=b,
            e=e,
            n_seeds=n_seeds,
            n_items=n_items,
            n_groups=n_groups,
            seed_df=float(n_seeds - 1),
            group_df=float(n_groups - 1),
            n_discordant=n_discordant,
            notes=tuple(notes),
        )
    )


def crossed_paired(
    a: ArrayLike, b: ArrayLike, groups: ArrayLike | None = None, second_groups: ArrayLike | None = None
) -> Crossed:
    """The difference A − B of two methods on the same items with the same seeds, listed in the same order.

    a, b   (seeds, items) float, equal shapes; `groups` as in `crossed`

    For binary scores with fewer than 10 discordant items (items on which the methods differ in some seed),
    one item with difference +1 and one with −1, each a group of its own, are appended (Bonett and Price
    2012, who add one to each discordant cell); this shrinks the estimate by I/(I + 2) and is said in `notes`.
    """
    first, second = _matrix(a, "a"), _matrix(b, "b")
    if first.shape != second.shape:
        raise ValueError(
            f"paired scores need the same seeds and items, got {first.shape} and {second.shape}; "
            "crossed_unpaired takes independent seeds"
        )
    d = first - second
    n_discordant = int(np.count_nonzero(np.any(d != 0, axis=0)))
    if n_discordant >= MIN_DISCORDANT or not (_is_binary(first) and _is_binary(second)):
        return _crossed(d, groups, second_groups, n_discordant)
    n_seeds, n_items = d.shape
    smoothed = np.hstack([d, np.ones((n_seeds, 1)), -np.ones((n_seeds, 1))])
    result = crossed(smoothed, _with_two_more(groups, n_items), _with_two_more(second_groups, n_items))
    note = f"bonett-price: {n_discordant} discordant items"
    return replace(result, n_items=n_items, n_discordant=n_discordant, notes=(note, *result.notes))


def crossed_unpaired(
    a: ArrayLike, b: ArrayLike, groups: ArrayLike | None = None, second_groups: ArrayLike | None = None
) -> Crossed:
    """The difference A − B when the seeds of the two methods are independent and the items are common.

    a   (seeds of A, items) float
    b   (seeds of B, items) float; the numbers of seeds may differ

    The seed parts add, a = a_A + a_B and e = e_A + e_B, with Welch's degrees of freedom; b is that of the
    difference of the seed means per item. n_seeds is the smaller number of seeds.
    """
    first, second = crossed(a, groups, second_groups), crossed(b, groups, second_groups)
    if first.n_items != second.n_items:
        raise ValueError(f"scores need the same items, got {first.n_items} and {second.n_items}")
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    per_item = x.mean(axis=0) - y.mean(axis=0)
    notes: list[str] = []
    codings = _codings(groups, second_groups, first.n_items)
    item_part = _combine([_item_part(per_item, codes) for codes in codings], "b", notes)
    n_seeds = min(first.n_seeds, second.n_seeds)
    seed_part = first.a + second.a
    seed_df = _satterthwaite([first.a, second.a], [first.seed_df, second.seed_df])
    return _noted(
        Crossed(
            estimate=first.estimate - second.estimate,
            a=seed_part,
            b=item_part,
            e=first.e + second.e,
            n_seeds=n_seeds,
            n_items=first.n_items,
            n_groups=first.n_groups,
            seed_df=seed_df,
            group_df=first.group_df,
            n_discordant=int(np.count_nonzero(np.ptp(np.vstack([x, y]), axis=0))),
            notes=(f"independent seeds: {first.n_seeds} and {second.n_seeds}", *notes),
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
    level is the least.
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
        seed_df=_satterthwaite([p.seed_variance for p in parts], [p.seed_df for p in parts]),
        group_df=_satterthwaite([p.b for p in parts], [p.group_df for p in parts]),
        notes=tuple(f"component {j + 1}: {note}" for j, p in enumerate(parts) for note in p.notes),
        parts=tuple(parts),
        spending=earliest([p.spending for p in parts]),
    )


def interval(c: Crossed, population: Population, level: float = 0.05) -> Interval:
    """Two-sided 1 − level interval for the population (module docstring).

    Raises ValueError where the design cannot speak for the population: one seed for *seeds* and *both*, one
    group for *items* and *both*.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must lie strictly between 0 and 1, got {level}")
    here = level if c.spending is None else c.spending.level_here(level)
    widths = [(_quantile(df, here) * math.sqrt(variance), df) for variance, df in tails(c, population)]
    half_width, df = max(widths)
    return Interval(
        estimate=c.estimate,
        low=c.estimate - half_width,
        high=c.estimate + half_width,
        half_width=half_width,
        level=level,
        df=df,
        population=population,
    )


def one_sided_p(
    c: Crossed, margin: float, population: Population, alternative: Literal["greater", "less"] = "greater"
) -> float:
    """p of "d > margin" (greater) or "d < margin" (less): the largest of the t tails behind `interval`.

    It is below level/2 exactly when the interval lies beyond the margin. Where nothing varied at all it is 1.
    """
    if alternative not in ("greater", "less"):
        raise ValueError(f"alternative is greater or less, got {alternative!r}")
    gap = c.estimate - margin if alternative == "greater" else margin - c.estimate
    varying = [(variance, df) for variance, df in tails(c, population) if variance > 0]
    p = max((float(stdtr(df, -gap / math.sqrt(variance))) for variance, df in varying), default=1.0)
    return p if c.spending is None else c.spending.p(p)


def refusal(c: Crossed, population: Population) -> str | None:
    """Why a claim about the population is not testable with this design, or None (3 seeds, 3 groups)."""
    smallest_seeds, smallest_groups = _fewest(c)
    if population != "items" and smallest_seeds < MIN_UNITS:
        return f"{smallest_seeds} seeds cannot speak for new seeds; at least {MIN_UNITS} are needed"
    if population != "seeds" and smallest_groups < MIN_UNITS:
        return f"{smallest_groups} groups of items cannot speak for new ones; at least {MIN_UNITS} are needed"
    return None


def verdict_of(c: Crossed, margin: float, population: Population, level: float = 0.05) -> Verdict:
    """The verdict on "d > margin": supported if the interval lies above the margin, contradicted if it
    reaches at most the margin, else undetermined. An interval of zero width is undetermined.

    Raises ValueError with the reason where `refusal` gives one (the claim is then not testable).
    """
    reason = refusal(c, population)
    if reason is not None:
        raise ValueError(reason)
    found = interval(c, population, level)
    if not found.decides:
        return "undetermined"
    if found.low > margin:
        return "supported"
    return "contradicted" if found.high <= margin else "undetermined"


def equivalence_of(c: Crossed, margin: float, population: Population, level: float = 0.05) -> Verdict:
    """The verdict on "equal within ± margin" by two one-sided tests at level/2 (Schuirmann 1987): supported
    if the interval lies inside ± margin, contradicted if wholly outside, else undetermined.

    The margin must be positive and fixed beforehand. Non-inferiority is `verdict_of` at margin −m.
    """
    if not margin > 0:
        raise ValueError(f"equality needs a margin above 0, got {margin}")
    reason = refusal(c, population)
    if reason is not None:
        raise ValueError(reason)
    found = interval(c, population, level)
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
    group_df = max(c.n_groups / by_items - 1, 1.0)
    return replace(
        c,
        a=max(c.a - c.e, 0.0) * by_seeds + min(c.a, c.e) * both,
        b=max(c.b - c.e, 0.0) * by_items + min(c.b, c.e) * both,
        e=c.e * both,
        n_seeds=new_seeds,
        n_items=new_items,
        n_groups=round(group_df + 1),
        seed_df=c.seed_df * (new_seeds - 1) / (c.n_seeds - 1),
        group_df=group_df,
    )


def what_decides(
    c: Crossed,
    margin: float,
    level: float = 0.05,
    population: Population = "both",
    gain: float | None = None,
) -> Needed:
    """The least number of seeds S′ ≥ 3 at which the half-width is below |d − margin|.

    For the population *items* the trained models are given: more seeds change nothing, and n_seeds is S or
    None.

    d is the observed difference, or `gain`, the smallest difference of interest. No number of seeds suffices
    if and only if |d − margin| ≤ t_{G−1}·√max(b − e, 0), since h(S′) falls to that limit and never below it.
    This is where the interval would just exclude the margin were the estimate to stay: about even odds for a
    true difference of that size; `power.seeds_needed` asks for more. In a sequential design the level is that of the
    last look.
    """
    if c.spending is not None:
        level = c.spending.last.level_here(level)
        c = _fixed(c)
    gap = abs((c.estimate if gain is None else gain) - margin)
    now = interval(c, population, level)
    if population == "items":
        decided = now.decides and now.half_width < gap
        return Needed(c.n_seeds if decided else None, gap, now.half_width, population)
    floor = 0.0
    if population == "both":
        floor = _quantile(redesigned(c, 2**60).both_df, level) * math.sqrt(c.item_excess)
    never = Needed(None, gap, floor, population)

    def suffices(n_seeds: int) -> bool:
        return interval(redesigned(c, n_seeds), population, level).half_width < gap

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


def _quantile(df: float, level: float) -> float:
    return float(stdtrit(df, 1 - level / 2))


def _fewest(c: Crossed) -> tuple[int, int]:
    """Fewest seeds and groups, over the components of an average."""
    if not c.parts:
        return c.n_seeds, c.n_groups
    return min(p.n_seeds for p in c.parts), min(p.n_groups for p in c.parts)


def tails(c: Crossed, population: Population) -> list[tuple[float, float]]:
    """(variance, degrees of freedom) of each t statistic that the population answers to; the widest one decides.

    Raises ValueError where the design cannot speak for the population.
    """
    if population not in ("seeds", "items", "both"):
        raise ValueError(f"population is seeds, items or both, got {population!r}")
    n_seeds, n_groups = _fewest(c)
    if population != "items" and n_seeds < 2:
        raise ValueError("one seed says nothing about new seeds; use population='items'")
    if population != "seeds" and n_groups < 2:
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


def _codes(labels: ArrayLike, n_items: int) -> NDArray[np.intp]:
    array = np.asarray(labels)
    if array.shape != (n_items,):
        raise ValueError(f"groups need one label per item ({n_items}), got shape {array.shape}")
    return np.unique(array, return_inverse=True)[1]


def _codings(groups: ArrayLike | None, second_groups: ArrayLike | None, n_items: int) -> list[NDArray[np.intp] | None]:
    """The groupings whose parts are combined as first + second − both; None means each item by itself."""
    if groups is None:
        if second_groups is not None:
            raise ValueError("second_groups needs groups")
        return [None]
    first = _codes(groups, n_items)
    if second_groups is None:
        return [first]
    second = _codes(second_groups, n_items)
    return [first, second, _codes(first * (second.max() + 1) + second, n_items)]


def _n_groups(codings: list[NDArray[np.intp] | None], n_items: int) -> int:
    return min(n_items if codes is None else int(codes.max()) + 1 for codes in codings)


def _with_two_more(labels: ArrayLike | None, n_items: int) -> NDArray[np.intp] | None:
    if labels is None:
        return None
    codes = _codes(labels, n_items)
    return np.append(codes, [codes.max() + 1, codes.max() + 2])


def _group_sums(values: Floats, codes: NDArray[np.intp] | None) -> Floats:
    """Sums over the items of each group, along the last axis of (rows, items)."""
    if codes is None:
        return values
    return np.stack([np.bincount(codes, weights=row) for row in values])


def _negligible(deviations: Floats, rounding: float) -> bool:
    """Whether deviations from a mean are rounding error only.

    The sum of squares, which is faster than the largest one, mostly settles it: n deviations of at most `rounding`
    cannot have more than n·rounding².
    """
    flat = deviations.ravel()
    if flat @ flat > flat.size * rounding**2:
        return False
    return bool(np.max(np.abs(flat)) <= rounding)


def _seed_part(deviations: Floats, rounding: float) -> float:
    n_seeds = len(deviations)
    if n_seeds < 2:
        return np.nan
    if _negligible(deviations, rounding):
        return 0.0
    return float(deviations @ deviations) / (n_seeds * (n_seeds - 1))


def _item_part(per_item: Floats, codes: NDArray[np.intp] | None) -> float:
    deviations = per_item - per_item.mean()
    sums = _group_sums(deviations[np.newaxis], codes)[0]
    n_groups = len(sums)
    if n_groups < 2:
        return np.nan
    if _negligible(deviations, ROUNDING * np.max(np.abs(per_item))):
        return 0.0
    return n_groups / (n_groups - 1) * float(sums @ sums) / len(per_item) ** 2


def _joint_part(residuals: Floats, codes: NDArray[np.intp] | None, rounding: float) -> float:
    n_seeds, n_items = residuals.shape
    sums = _group_sums(residuals, codes).ravel()
    n_groups = len(sums) // n_seeds
    if n_seeds < 2 or n_groups < 2:
        return np.nan
    if _negligible(residuals, rounding):
        return 0.0
    factor = n_seeds / (n_seeds - 1) * n_groups / (n_groups - 1)
    return factor * float(sums @ sums) / (n_seeds * n_items) ** 2


def _combine(parts: list[float], name: str, notes: list[str]) -> float:
    """One part from one part per grouping: first + second − both, or the larger one if not positive."""
    if len(parts) == 1:
        return parts[0]
    first, second, both = parts
    combined = first + second - both
    if combined > 0 or np.isnan(combined) or max(first, second) == 0:
        return max(combined, 0.0)
    notes.append(f"{name} of two groupings is not positive: the larger one used")
    return max(first, second)


def _satterthwaite(variances: Sequence[float], dfs: Sequence[float]) -> float:
    weight = sum(v**2 / df for v, df in zip(variances, dfs, strict=True) if df > 0)
    return sum(variances) ** 2 / weight if weight > 0 else float(min(dfs))


def _noted(c: Crossed) -> Crossed:
    notes = list(c.notes)
    if c.a == 0:
        notes.append("a = 0: e used" if c.e > 0 else "a = 0 and e = 0: the seeds do not differ")
    if c.n_groups < FEW_GROUPS:
        notes.append(f"fewer than {FEW_GROUPS} groups")
    return replace(c, notes=tuple(notes)) if len(notes) > len(c.notes) else c
