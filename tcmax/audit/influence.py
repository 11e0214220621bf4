"""Does a verdict hang on one seed, one group of items, or one dataset?

Each is left out in turn and the whole claim is judged again, with its quantifier, its families, its choices on
validation and both treatments of diverged runs. A verdict that a single seed can turn is fragile even where its
interval is right.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tcmax.audit.judging import readings_of, word_of
from tcmax.audit.schema import Claim
from tcmax.audit.verdicts import MIN_DATASETS, Word
from tcmax.evidence.scoreboard import Scoreboard
from tcmax.evidence.scores import Arm, Score, Treatment
from tcmax.experiment.grid import Experiment
from tcmax.stats.crossed import MIN_UNITS


@dataclass(frozen=True)
class Left:
    """What was left out: a seed everywhere, a group of items of one dataset, or a dataset.

    dataset: where a group stands, if the claim is about several datasets.
    """

    kind: Literal["seed", "group", "dataset"]
    name: str
    dataset: str | None = None


@dataclass(frozen=True)
class ClaimInfluence:
    """How many of each kind were left out in turn, and the verdicts that differed from the whole one."""

    tried: dict[str, int]
    flips: tuple[tuple[Left, Word], ...]

    @property
    def columns(self) -> dict[str, Any]:
        """The columns of VERDICTS that hold it."""
        tried = {f"left_out_{kind}s": n for kind, n in self.tried.items()}
        return {**tried, "flips": [{**asdict(left), "verdict": word} for left, word in self.flips]}


class BoardWithout(Scoreboard):
    """A board with one seed, or some items, left out; everything else, caches included, is the whole board's."""

    def __init__(self, board: Scoreboard, seed: int | None = None, kept: NDArray[np.bool_] | None = None) -> None:
        self.__dict__.update(board.__dict__)
        self._board, self._seed, self._kept = board, seed, kept
        if kept is not None:
            self.groups = {name: labels[kept] for name, labels in board.groups.items()}

    @property
    def n_items(self) -> int:
        return self._board.n_items if self._kept is None else int(self._kept.sum())

    def score(self, arm: Arm, metric: str, readout: str, treatment: Treatment = "removed") -> Score:
        whole = self._board.score(arm, metric, readout, treatment)
        rows = [k for k, seed in enumerate(whole.seeds) if seed != self._seed]
        values = whole.values[rows]
        if self._kept is not None and values.shape[1] == len(self._kept):
            values = values[:, self._kept]
        return Score(
            seeds=tuple(whole.seeds[k] for k in rows),
            runs=tuple(whole.runs[k] for k in rows),
            values=values,
            ran=whole.ran - {self._seed},
            diverged=tuple(seed for seed in whole.diverged if seed != self._seed),
            notes=whole.notes,
        )


def influence_of(
    claim: Claim, experiment: Experiment, on: Mapping[str, Scoreboard], whole: Word
) -> ClaimInfluence | None:
    """The influence on a claim with the verdict `whole`; None where it is not testable with these data.

    A metric that is no mean over items keeps the pseudo-values of all items when a group leaves. Associations, whose
    intervals are resampled, are asked about datasets only.
    """
    if whole == "not testable":
        return None
    tried = {"seed": 0, "group": 0, "dataset": 0}
    flips = []
    for left, boards in _one_left_out(claim, on):
        tried[left.kind] += 1
        word = word_of(readings_of(claim, experiment, boards, (claim.population,)), claim.population)
        if word != whole:
            flips.append((left, word))
    return ClaimInfluence(tried, tuple(flips))


def _one_left_out(claim: Claim, on: Mapping[str, Scoreboard]) -> Iterator[tuple[Left, dict[str, Scoreboard]]]:
    """Each reduced set of boards that can still be judged: three seeds, groups or datasets in general must remain."""
    if claim.relation != "association":
        seeds = sorted({seed for board in on.values() for variant in board.variants for seed in board.ran(variant)})
        if len(seeds) > MIN_UNITS:
            for seed in seeds:
                yield Left("seed", str(seed)), {name: BoardWithout(board, seed=seed) for name, board in on.items()}
        for dataset, board in on.items():
            for grouping, labels in board.groups.items():
                names = np.unique(labels)
                for name in names if len(names) > MIN_UNITS else ():
                    where = dataset if len(on) > 1 else None
                    without = BoardWithout(board, kept=labels != name)
                    yield Left("group", f"{grouping} {name}", where), {**on, dataset: without}
    fewest = MIN_DATASETS if claim.quantifier == "datasets in general" else 1
    if len(on) > fewest:
        for dataset in on:
            yield Left("dataset", dataset), {name: board for name, board in on.items() if name != dataset}
