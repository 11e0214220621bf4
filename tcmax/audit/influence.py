"""Does a verdict hang on one seed, one group of items, or one dataset? `tcmax audit claims --influence`.

Each is left out in turn and the whole claim is judged again, with its quantifier, its families and its choices on
validation. A verdict that a single seed can turn is fragile even where its interval is right.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tcmax.audit.claims import judged_on
from tcmax.audit.schema import Claim, Claims, datasets_of, load_claims
from tcmax.audit.verdicts import MIN_DATASETS, Word
from tcmax.evidence import Board, Compared, Contender, Pairing, Reading, Score
from tcmax.experiment import Experiment
from tcmax.stats.crossed import MIN_UNITS


@dataclass(frozen=True)
class Left:
    """What was left out: a seed everywhere, a group of items of one dataset, or a dataset."""

    kind: Literal["seed", "group", "dataset"]
    name: str

    def __str__(self) -> str:
        return self.name if self.kind == "group" else f"{self.kind} {self.name}"


@dataclass(frozen=True)
class ClaimInfluence:
    """The verdict on a claim, how many of each kind were left out in turn, and the verdicts that differed."""

    claim: str
    verdict: Word
    tried: dict[str, int]
    flips: tuple[tuple[Left, Word], ...]

    @property
    def line(self) -> str:
        """One line for a reader."""
        tried = ", ".join(f"{n} {kind}s" for kind, n in self.tried.items() if n)
        if not tried:
            return f"{self.claim}: {self.verdict}; too few seeds, groups and datasets to leave one out."
        if not self.flips:
            return f"{self.claim}: {self.verdict} whichever one is left out ({tried})."
        shown = "; ".join(f"{word} without {left}" for left, word in self.flips[:6])
        more = f"; {len(self.flips) - 6} more" if len(self.flips) > 6 else ""
        return f"{self.claim}: {self.verdict}, but {shown}{more} ({tried} left out in turn)."


class BoardWithout(Board):
    """A board with one seed, or some items, left out; everything else, caches included, is the whole board's."""

    def __init__(self, board: Board, seed: int | None = None, kept: NDArray[np.bool_] | None = None) -> None:
        self.__dict__.update(board.__dict__)
        self._board, self._seed, self._kept = board, seed, kept
        if kept is not None:
            self.groups = {name: labels[kept] for name, labels in board.groups.items()}

    @property
    def n_items(self) -> int:
        return self._board.n_items if self._kept is None else int(self._kept.sum())

    def score(self, contender: Contender, metric: str, readout: str, reading: Reading = "removed") -> Score:
        whole = self._board.score(contender, metric, readout, reading)
        rows = [k for k, seed in enumerate(whole.seeds) if seed != self._seed]
        values = whole.values[rows]
        if self._kept is not None and values.shape[1] == len(self._kept):
            values = values[:, self._kept]
        return Score(
            seeds=tuple(whole.seeds[k] for k in rows),
            values=values,
            ran=whole.ran - {self._seed},
            diverged=tuple(seed for seed in whole.diverged if seed != self._seed),
            notes=whole.notes,
        )


class _Remembering(Board):
    """A board that computes each score and difference once: leaving things out asks for the same ones many times."""

    def __init__(self, board: Board) -> None:
        self.__dict__.update(board.__dict__)
        self._known: dict[tuple[Any, ...], Score] = {}
        self._compared: dict[tuple[int, int, Pairing], Compared | str] = {}

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


def influence_of_claims(experiment: Experiment, results: Path, claims_path: Path) -> list[ClaimInfluence]:
    """The influence of single seeds, groups and datasets on every testable verdict of a claims file.

    Diverged runs are removed. A metric that is no mean over items keeps the pseudo-values of all items when a group
    leaves. Associations, whose intervals are resampled, are asked about datasets only.
    """
    claims: Claims = load_claims(claims_path, experiment)
    boards: dict[tuple[str, str], Board] = {}
    found = []
    for claim in claims.claims:
        if not claim.testable:
            continue
        selection = claim.selection or experiment.settings.selection
        on: dict[str, Board] = {}
        for dataset in datasets_of(claim, experiment):
            key = dataset, selection
            if key not in boards:
                boards[key] = _Remembering(Board(experiment, dataset, results, selection))
            on[dataset] = boards[key]
        influence = claim_influence(claim, experiment, on)
        if influence is not None:
            found.append(influence)
    return found


def claim_influence(claim: Claim, experiment: Experiment, on: Mapping[str, Board]) -> ClaimInfluence | None:
    """The influence on one claim; None where the claim is not testable with these data."""

    def verdict(boards: Mapping[str, Board]) -> Word:
        return judged_on(claim, experiment, boards, "removed").decisions[claim.population].verdict

    whole = verdict(on)
    if whole == "not testable":
        return None
    tried = {"seed": 0, "group": 0, "dataset": 0}
    flips = []
    for left, boards in _one_left_out(claim, on):
        tried[left.kind] += 1
        word = verdict(boards)
        if word != whole:
            flips.append((left, word))
    return ClaimInfluence(claim.id, whole, tried, tuple(flips))


def _one_left_out(claim: Claim, on: Mapping[str, Board]) -> Iterator[tuple[Left, dict[str, Board]]]:
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
                    where = f" on {dataset}" if len(on) > 1 else ""
                    without = BoardWithout(board, kept=labels != name)
                    yield Left("group", f"{grouping} {name}{where}"), {**on, dataset: without}
    fewest = MIN_DATASETS if claim.quantifier == "datasets in general" else 1
    if len(on) > fewest:
        for dataset in on:
            yield Left("dataset", dataset), {name: board for name, board in on.items() if name != dataset}
