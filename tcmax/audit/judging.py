"""From a claim and the boards of its datasets to decisions, for each population and treatment of diverged runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tcmax.audit.components import Component, components_on, over_datasets
from tcmax.audit.schema import Claim
from tcmax.audit.verdicts import AllOf, AnyOf, Decision, Leaf, Node, Word, combine_treatments, decide, leaf
from tcmax.evidence.scoreboard import Scoreboard
from tcmax.evidence.scores import Arm, Compared, Pairing, Score, Treatment
from tcmax.experiment.grid import Experiment
from tcmax.stats.crossed import Population


class RememberingBoard(Scoreboard):
    """A board that computes everything once: several claims, and leaving things out elsewhere, ask for the same."""

    def __init__(self, experiment: Experiment, dataset: str, results: Path, selection: str | None = None) -> None:
        super().__init__(experiment, dataset, results, selection)
        self._components: dict[tuple[str, Treatment], tuple[Component, ...]] = {}
        self._known: dict[tuple[Any, ...], Score] = {}
        self._compared: dict[tuple[int, int, Pairing], Compared | str] = {}

    def components(self, claim: Claim, treatment: Treatment) -> tuple[Component, ...]:
        """The components of a claim here."""
        key = claim.id, treatment
        if key not in self._components:
            self._components[key] = components_on(claim, self.experiment, self, treatment)
        return self._components[key]

    def score(self, arm: Arm, metric: str, readout: str, treatment: Treatment = "removed") -> Score:
        key = (arm, metric, readout, treatment)
        if key not in self._known:
            self._known[key] = super().score(arm, metric, readout, treatment)
        return self._known[key]

    def difference(self, a: Score, b: Score, pairing: Pairing = "paired") -> Compared | str:
        key = id(a), id(b), pairing  # scores are kept in `_known`, so that an id stays theirs
        if key not in self._compared:
            self._compared[key] = super().difference(a, b, pairing)
        return self._compared[key]


@dataclass(frozen=True)
class Judged:
    """One treatment of a claim: its components, and its decision for each population."""

    treatment: Treatment
    components: tuple[Component, ...]
    decisions: dict[Population, Decision]
    n_diverged: int


def populations_of(claim: Claim) -> tuple[Population, ...]:
    """The claim's own population and the two that are always shown."""
    return tuple(dict.fromkeys((claim.population, "seeds", "both")))


def readings_of(
    claim: Claim, experiment: Experiment, on: Mapping[str, Scoreboard], populations: Sequence[Population]
) -> list[Judged]:
    """The claim with diverged runs removed, and where there are any also counted at chance. on: dataset -> board."""
    first = _judged(claim, experiment, on, "removed", populations)
    return [first] if first.n_diverged == 0 else [first, _judged(claim, experiment, on, "at chance", populations)]


def word_of(treatments: Sequence[Judged], population: Population) -> Word:
    """The verdict for a population over the treatments of diverged runs."""
    words = [judged.decisions[population].verdict for judged in treatments]
    return words[0] if len(words) == 1 else combine_treatments(*words)


def tree_of(claim: Claim, by_dataset: Mapping[str, Sequence[Component]], population: Population) -> Node:
    """The components of a claim under its quantifier."""

    def of(component: Component) -> Leaf:
        if component.estimand is None:
            return Leaf(component.key, 1.0, 1.0, component.reason)
        return leaf(component.key, component.estimand, claim.margin, population, equal=claim.relation == "equal")

    if claim.quantifier == "some pair":
        return AnyOf(tuple(of(component) for components in by_dataset.values() for component in components))
    if claim.quantifier == "some dataset":
        return AnyOf(tuple(AllOf(tuple(map(of, components))) for components in by_dataset.values()))
    return AllOf(tuple(of(component) for components in by_dataset.values() for component in components))


def _judged(
    claim: Claim,
    experiment: Experiment,
    on: Mapping[str, Scoreboard],
    treatment: Treatment,
    populations: Sequence[Population],
) -> Judged:
    by_dataset = {
        dataset: board.components(claim, treatment)
        if isinstance(board, RememberingBoard)
        else components_on(claim, experiment, board, treatment)
        for dataset, board in on.items()
    }
    n_diverged = max(component.n_diverged for components in by_dataset.values() for component in components)
    if claim.quantifier in ("average over the named datasets", "datasets in general"):
        across = zip(*by_dataset.values(), strict=True)
        by_dataset = {"": tuple(over_datasets(claim, components, tuple(on.values())) for components in across)}
    decisions = {population: decide(tree_of(claim, by_dataset, population), claim.alpha) for population in populations}
    return Judged(
        treatment,
        tuple(component for components in by_dataset.values() for component in components),
        decisions,
        n_diverged,
    )
