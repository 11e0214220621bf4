"""From p-values to a verdict: one comparison, families of them, and what would decide an open one.

A claim is a tree. Its leaves are comparisons, each with two one-sided p-values: `support` for the statement and
`against` for its contrary. Above them

    every child must hold (each dataset, largest of)   support = max of the children's      against = least after Holm
    one child must hold (some dataset, some pair)       support = least after Holm           against = max

so a conjunction is supported only if all parts are, unadjusted (intersection-union test, Berger 1982), and contradicted
only if one part is after Holm's correction over all of them: without it a true "largest of" with 13 rivals would be
contradicted in 16 % of all studies. A disjunction mirrors this. With α = alpha/2,

    supported     support < α         (the two-sided 1 − alpha interval lies above the margin)
    contradicted  against ≤ α         (it reaches at most the margin)
    not testable  neither, and a part that matters cannot be computed with this design
    undetermined  else
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
from scipy.special import stdtr, stdtrit

from tcmax.stats.crossed import Crossed, Interval, Population, interval, one_sided_p, refusal, what_decides
from tcmax.stats.multiplicity import adjust
from tcmax.stats.sequential import Spending
from tcmax.stats.variance import rounding_of

Word = Literal["supported", "contradicted", "undetermined", "not testable"]
Side = Literal["greater", "less"]

MIN_DATASETS = 3  # datasets in general: a t interval over fewer says nothing


class Estimand(Protocol):
    """An estimated quantity d that can answer "is d > margin?" for a population."""

    @property
    def estimate(self) -> float: ...

    @property
    def spending(self) -> Spending | None:
        """The look of a sequential design at which it stands."""

    def refusal(self, population: Population) -> str | None:
        """Why this design cannot speak for the population, or None."""

    def interval(self, population: Population, alpha: float) -> Interval:
        """Two-sided 1 − alpha interval."""

    def p(self, margin: float, population: Population, side: Side) -> float:
        """One-sided p of d > margin or d < margin."""


@dataclass(frozen=True)
class Difference:
    """A difference over seeds and items, or the average of several datasets' differences."""

    crossed: Crossed

    @property
    def estimate(self) -> float:
        return self.crossed.estimate

    @property
    def spending(self) -> Spending | None:
        return self.crossed.spending

    def refusal(self, population: Population) -> str | None:
        return refusal(self.crossed, population)

    def interval(self, population: Population, alpha: float) -> Interval:
        return interval(self.crossed, population, alpha)

    def p(self, margin: float, population: Population, side: Side) -> float:
        return one_sided_p(self.crossed, margin, population, side)


@dataclass(frozen=True)
class AcrossDatasets:
    """The mean of J dataset differences as a sample of datasets: Student's t with J − 1 degrees of freedom.

    values: (J,) one estimate per dataset, seed and item noise included, so that every population has this answer.
    scale: largest absolute score behind them, theirs when not given.
    """

    values: tuple[float, ...]
    spending: Spending | None = None
    scale: float | None = None

    @property
    def estimate(self) -> float:
        return float(np.mean(self.values))

    @property
    def standard_error(self) -> float:
        """0 where the datasets agree but for rounding error, which is then no evidence."""
        error = float(np.std(self.values, ddof=1)) / math.sqrt(len(self.values))
        return error if error > rounding_of(np.array(self.values), self.scale) else 0.0

    def refusal(self, population: Population) -> str | None:
        if len(self.values) < MIN_DATASETS:
            return (
                f"{len(self.values)} datasets cannot speak for datasets in general; at least {MIN_DATASETS} are needed"
            )
        return None

    def interval(self, population: Population, alpha: float) -> Interval:
        df = float(len(self.values) - 1)
        here = alpha if self.spending is None else self.spending.alpha_here(alpha)
        half = float(stdtrit(df, 1 - here / 2)) * self.standard_error
        return Interval(self.estimate, self.estimate - half, self.estimate + half, half, alpha, df, population)

    def p(self, margin: float, population: Population, side: Side) -> float:
        gap = self.estimate - margin if side == "greater" else margin - self.estimate
        error = self.standard_error
        p = float(stdtr(len(self.values) - 1, -gap / error)) if error > 0 else 1.0
        return p if self.spending is None else self.spending.p(p)


@dataclass(frozen=True)
class Leaf:
    """One comparison of a claim, seen from one population. A refused one has both p at 1."""

    name: str
    support: float
    against: float
    refusal: str | None = None


@dataclass(frozen=True)
class AllOf:
    """Every child must hold."""

    children: tuple["Node", ...]


@dataclass(frozen=True)
class AnyOf:
    """One child must hold."""

    children: tuple["Node", ...]


Node = Leaf | AllOf | AnyOf


@dataclass(frozen=True)
class Decision:
    """A verdict with the leaf to look at: the weakest part of what is supported, the part that contradicts, the part
    that blocks, or the part that cannot be tested. support, against: p of the whole claim."""

    verdict: Word
    support: float
    against: float
    leaf: Leaf


@dataclass(frozen=True)
class _Summary:
    support: float
    against: float
    weakest: Leaf
    culprit: Leaf
    refused: Leaf | None


def leaf(name: str, estimand: Estimand, margin: float, population: Population, equal: bool = False) -> Leaf:
    """The leaf of "d > margin", or of "|d| < margin" when `equal` (two one-sided tests)."""
    reason = estimand.refusal(population)
    if reason is not None:
        return Leaf(name, 1.0, 1.0, reason)
    if not equal:
        return Leaf(name, estimand.p(margin, population, "greater"), estimand.p(margin, population, "less"))
    inside = max(estimand.p(-margin, population, "greater"), estimand.p(margin, population, "less"))
    outside = min(estimand.p(margin, population, "greater"), estimand.p(-margin, population, "less"))
    return Leaf(name, inside, outside)


def decide(node: Node, alpha: float = 0.05) -> Decision:
    """The verdict on a claim at the two-sided `alpha`: every one-sided decision is made at alpha/2."""
    found = _summarise(node)
    if found.support < alpha / 2:
        return Decision("supported", found.support, found.against, found.weakest)
    if found.against <= alpha / 2:
        return Decision("contradicted", found.support, found.against, found.culprit)
    if found.refused is not None:
        return Decision("not testable", found.support, found.against, found.refused)
    return Decision("undetermined", found.support, found.against, found.weakest)


def _summarise(node: Node) -> _Summary:
    if isinstance(node, Leaf):
        return _Summary(node.support, node.against, node, node, node if node.refusal else None)
    children = [_summarise(child) for child in node.children]
    if not children:
        raise ValueError("a claim needs at least one comparison")
    refused = next((child.refused for child in children if child.refused), None)
    supports, againsts = [child.support for child in children], [child.against for child in children]
    if isinstance(node, AllOf):
        againsts = holm(againsts)
        weakest, culprit = int(np.argmax(supports)), int(np.argmin(againsts))
    else:
        supports = holm(supports)
        weakest, culprit = int(np.argmin(supports)), int(np.argmax(againsts))
    return _Summary(supports[weakest], againsts[culprit], children[weakest].weakest, children[culprit].culprit, refused)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm-adjusted p in the order given."""
    if len(p_values) == 1:
        return [p_values[0]]
    named = {str(position): p for position, p in enumerate(p_values)}
    return list(adjust(named, "parts of one claim").adjusted)


def combine_treatments(removed: Word, at_chance: Word) -> Word:
    """The verdict when runs diverged: that of both readings, or *undetermined* where they differ."""
    return removed if removed == at_chance else "undetermined"


@dataclass(frozen=True)
class FamilySizes:
    """Over how many comparisons Holm's correction runs for a statement to be supported, and to be contradicted."""

    support: int = 1
    against: int = 1


@dataclass(frozen=True)
class Need:
    """What would decide a comparison that is open.

    of        what there must be more of: seeds, items, datasets, or variants (for an association: no closed form)
    n         how many there must be; None where no number is enough, or none is known
    outcome   of a comparison: supported or contradicted. at: the difference that is supposed; None: the observed one
    floor     half-width that any number of seeds leaves; gap: distance to the margin
    """

    of: Literal["seeds", "items", "datasets", "variants"]
    n: int | None = None
    outcome: Word | None = None
    at: float | None = None
    floor: float | None = None
    gap: float | None = None


def needed(
    estimand: Estimand,
    margin: float,
    population: Population,
    alpha: float,
    gain: float | None = None,
    equal: bool = False,
    families: FamilySizes = FamilySizes(),
) -> tuple[Need, ...]:
    """What would decide a comparison that is open: at the observed difference, and at `gain`, the smallest one of
    interest. Within a family the first step of Holm's correction is planned for: alpha / number of comparisons.
    """
    if isinstance(estimand, AcrossDatasets):
        return (Need("datasets", _datasets_needed(estimand, margin, alpha)),)
    if not isinstance(estimand, Difference):
        return (Need("variants"),)
    c = _without_items(estimand.crossed) if population == "seeds" else estimand.crossed
    edge = math.copysign(margin, estimand.estimate) if equal else margin
    found = []
    for at in (None,) if gain is None else (None, gain):
        value = estimand.estimate if at is None else at
        holds = abs(value) < margin if equal else value > margin
        corrected = alpha / (families.support if holds else families.against)
        plan = what_decides(c, edge, corrected, population, value)
        of: Literal["seeds", "items"] = "items" if plan.population == "items" else "seeds"
        outcome: Word = "supported" if holds else "contradicted"
        found.append(Need(of, plan.n_seeds, outcome, at, plan.floor, plan.gap))
    return tuple(found)


def _without_items(c: Crossed) -> Crossed:
    """The same for planning seeds where there is one group of items: all of a shrinks with seeds, whatever e is."""
    if c.parts:
        return replace(c, parts=tuple(_without_items(part) for part in c.parts))
    return replace(c, b=0.0, e=0.0, n_groups=2, group_df=1.0) if c.n_groups < 2 else c


def _datasets_needed(estimand: AcrossDatasets, margin: float, alpha: float) -> int | None:
    """Least J′ ≥ 3 with t_{J′−1}·s/√J′ below the observed distance to the margin."""
    gap = abs(estimand.estimate - margin)
    spread = estimand.standard_error * math.sqrt(len(estimand.values))
    if spread == 0:
        return None
    for n in range(MIN_DATASETS, 10_001):
        if float(stdtrit(n - 1, 1 - alpha / 2)) * spread / math.sqrt(n) < gap:
            return n
    return None
