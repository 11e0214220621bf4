"""From a claim and the boards of its datasets to decisions, for each population and reading of diverged runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tcmax.audit.parts import Part, over_datasets, parts_on
from tcmax.audit.schema import Claim
from tcmax.audit.verdicts import AllOf, AnyOf, Decision, Leaf, Node, Word, combine_readings, decide, leaf
from tcmax.evidence.board import Board
from tcmax.evidence.scores import Compared, Contender, Pairing, Reading, Score
from tcmax.experiment.grid import Experiment
from tcmax.stats.crossed import Population


class RememberingBoard(Board):
    """A board that computes everything once: several claims, and leaving things out elsewhere, ask for the same."""

    def __init__(self, experiment: Experiment, dataset: str, results: Path, selection: str | None = None) -> None:
        super().__init__(experiment, dataset, results, selection)
        self._parts: dict[tuple[str, Reading], tuple[Part, ...]] = {}
        self._known: dict[tuple[Any, ...], Score] = {}
        self._compared: dict[tuple[int, int, Pairing], Compared | str] = {}

    def parts(self, claim: Claim, reading: Reading) -> tuple[Part, ...]:
        """The components of a claim here."""
        key = claim.id, reading
        if key not in self._parts:
            self._parts[key] = parts_on(claim, self.experiment, self, reading)
        return self._parts[key]

    def score(self, contender: Contender, metric: str, readout: str, reading: Reading = "removed") -> Score:
        key = (contender, metric, readout, reading)
        if key not in self._known:
            self._known[key] = super().score(contender, metric, readout, reading)
        return self._known[key]

    def difference(self, a: Score, b: Score, pairing: Pairing = "paired") -> Compared | str:
        key = id(a), id(b), pairing  # scores are kept in `_known`, so that an id stays theirs
        if key not in self._compared:
            self._compared[key] = super().difference(a, b, pairing)
        return self._compared[key]


@dataclass(frozen=True)
class Judged:
    """One reading of a claim: its parts, and its decision for each population."""

    reading: Reading
    parts: tuple[Part, ...]
    decisions: dict[Population, Decision]
    n_diverged: int


def populations_of(claim: Claim) -> tuple[Population, ...]:
    """The claim's own population and the two that are always shown."""
    return tuple(dict.fromkeys((claim.population, "seeds", "both")))


def readings_of(
    claim: Claim, experiment: Experiment, on: Mapping[str, Board], populations: Sequence[Population]
) -> list[Judged]:
    """The claim with diverged runs removed, and where there are any also counted at chance. on: dataset -> board."""
    first = _judged(claim, experiment, on, "removed", populations)
    return [first] if first.n_diverged == 0 else [first, _judged(claim, experiment, on, "at chance", populations)]


def word_of(readings: Sequence[Judged], population: Population) -> Word:
    """The verdict for a population over the readings of diverged runs."""
    words = [judged.decisions[population].verdict for judged in readings]
    return words[0] if len(words) == 1 else combine_readings(*words)


def tree_of(claim: Claim, by_dataset: Mapping[str, Sequence[Part]], population: Population) -> Node:
    """The parts of a claim under its quantifier."""

    def of(part: Part) -> Leaf:
        if part.estimand is None:
            return Leaf(part.name, 1.0, 1.0, part.reason)
        return leaf(part.name, part.estimand, claim.margin, population, equal=claim.relation == "equal")

    if claim.quantifier == "some pair":
        return AnyOf(tuple(of(part) for parts in by_dataset.values() for part in parts))
    if claim.quantifier == "some dataset":
        return AnyOf(tuple(AllOf(tuple(map(of, parts))) for parts in by_dataset.values()))
    return AllOf(tuple(of(part) for parts in by_dataset.values() for part in parts))


def _judged(
    claim: Claim,
    experiment: Experiment,
    on: Mapping[str, Board],
    reading: Reading,
    populations: Sequence[Population],
) -> Judged:
    by_dataset = {
        dataset: board.parts(claim, reading)
        if isinstance(board, RememberingBoard)
        else parts_on(claim, experiment, board, reading)
        for dataset, board in on.items()
    }
    n_diverged = max(part.n_diverged for parts in by_dataset.values() for part in parts)
    if claim.quantifier in ("average over the named datasets", "datasets in general"):
        across = zip(*by_dataset.values(), strict=True)
        by_dataset = {"": tuple(over_datasets(claim, parts, tuple(on.values())) for parts in across)}
    decisions = {population: decide(tree_of(claim, by_dataset, population), claim.alpha) for population in populations}
    return Judged(reading, tuple(part for parts in by_dataset.values() for part in parts), decisions, n_diverged)
