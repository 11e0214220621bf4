"""How often a verdict survives choices that could as well have been made otherwise (Steegen et al. 2016).

A verdict rests on choices: which epoch is reported, which population is meant, how strict the alpha is, which of
several definitions of a metric is used. Each of these has more than one answer that a careful author could defend, and
all combinations are judged. The share of them that agrees is no probability and no new test: the combinations are
anything but independent, and none of them is better for being frequent. It says what the verdict depends on.

`CHOICES` is the whole list. Left out on purpose: choosing the epoch on the test items, bootstrap or items-only
intervals read as if they held seeds, ignoring groups, dropping the correction for several comparisons, another margin.
Those would be mistakes or another claim. Diverged runs are read in both ways within every universe, as in the verdict
itself.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tcmax.audit.judging import RememberingBoard, readings_of, word_of
from tcmax.audit.schema import Claim, datasets_of, load_claims
from tcmax.audit.verdicts import MIN_DATASETS, Word
from tcmax.errors import TcmaxError
from tcmax.evidence.scoreboard import Scoreboard
from tcmax.experiment.grid import Experiment
from tcmax.metrics import METRICS
from tcmax.records import kinds, parquet

# Definitions of one idea in one unit: probabilities as trained or after one temperature per run; classes weighed by
# their size or equally; the weak modality by the reference variant's accuracies or by the variant's own.
DEFINITIONS = (
    ("accuracy", "balanced_accuracy"),
    ("nll", "nll_calibrated"),
    ("ece", "ece_calibrated"),
    ("entropy", "entropy_calibrated"),
    ("js", "js_calibrated"),
    ("entropy_ratio", "entropy_ratio_own", "entropy_ratio_calibrated"),
)
# Name of a choice -> why each of its options can be defended. The options of a claim are `options_of`.
CHOICES = {
    "epoch": "the last one, as most papers train; or the best one on validation, as most papers would have to",
    "population": "new seeds and test items, as claims about methods need; or new seeds on the test set all share",
    "alpha": "5 % is custom; 1 % is asked for where many claims are made at once",
    "metric": "definitions of the same idea (DEFINITIONS)",
    "read-out": "each variant's own rule of prediction; or the raw joint logits of all",
    "seeds": "paired by initial weights and batch order; or independent, as for anyone who repeats one method alone",
    "datasets": "all that the claim names; or any one of them left out",
}
Choices = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Universe:
    """One combination of choices, (name, option) in the order of CHOICES, and the verdict it leads to."""

    choices: Choices
    verdict: Word


@dataclass(frozen=True)
class Multiverse:
    """A claim under all combinations. whole: the verdict under the claim's own choices."""

    claim: str
    whole: Word
    universes: tuple[Universe, ...]

    @property
    def agreeing(self) -> int:
        return sum(universe.verdict == self.whole for universe in self.universes)

    @property
    def counts(self) -> dict[Word, int]:
        """Verdict -> number of combinations, most frequent first."""
        found: dict[Word, int] = {}
        for universe in self.universes:
            found[universe.verdict] = found.get(universe.verdict, 0) + 1
        return dict(sorted(found.items(), key=lambda item: -item[1]))

    @property
    def by_option(self) -> dict[tuple[str, str], tuple[int, int]]:
        """(choice, option) -> agreeing and all combinations with it, for choices that have options."""
        found: dict[tuple[str, str], tuple[int, int]] = {}
        for universe in self.universes:
            for choice in universe.choices:
                agreed, n = found.get(choice, (0, 0))
                found[choice] = agreed + (universe.verdict == self.whole), n + 1
        several = {name for name, _ in found if sum(name == other for other, _ in found) > 1}
        return {choice: counts for choice, counts in found.items() if choice[0] in several}

    @property
    def least(self) -> tuple[tuple[str, str], tuple[int, int]]:
        """The option with the smallest share of agreeing combinations, with that share."""
        return min(self.by_option.items(), key=lambda item: item[1][0] / item[1][1])

    @property
    def in_words(self) -> str:
        """ "supported in 40 of 64 combinations, else undetermined; least often with alpha 0.01 (12 of 32)"."""
        n = len(self.universes)
        if self.agreeing == n:
            return f"{self.whole} in all {n} combinations"
        others = [f"{word} in {count}" for word, count in self.counts.items() if word != self.whole]
        (name, option), (agreed, of) = self.least
        least = f"least often with {name} {option} ({agreed} of {of})"
        return f"{self.whole} in {self.agreeing} of {n} combinations, {', '.join(others)}; {least}"


def audit_multiverse(experiment: Experiment, results: Path, claims_path: Path) -> list[str]:
    """Judge every testable claim of a file under all choices and write multiverse.parquet; returns a line for each.

    Raises TcmaxError for a bad claims file and for missing or incomplete item scores.
    """
    claims = load_claims(claims_path, experiment)
    boards: dict[tuple[str, str], Scoreboard] = {}

    def board_of(dataset: str, selection: str) -> Scoreboard:
        if (dataset, selection) not in boards:
            boards[dataset, selection] = RememberingBoard(experiment, dataset, results, selection)
        return boards[dataset, selection]

    found = []
    for claim in claims.claims:
        if claim.testable:
            try:
                found.append(multiverse_of(claim, experiment, board_of))
            except TcmaxError as error:
                raise TcmaxError(f"{claims_path}: claims.{claim.id}: {error}") from error
    rows = [
        (of.claim, number, name, option, universe.verdict)
        for of in found
        for number, universe in enumerate(of.universes)
        for name, option in universe.choices
    ]
    columns = {name: [row[k] for row in rows] for k, name in enumerate(kinds.MULTIVERSE.columns)}
    head = {"experiment": experiment.name, "claims_sha256": claims.sha256}
    parquet.write(results / experiment.name / "multiverse.parquet", kinds.MULTIVERSE, columns, head)
    return [f"{of.claim}: {of.in_words}" for of in found]


def options_of(claim: Claim, experiment: Experiment) -> dict[str, tuple[str, ...]]:
    """Name of each choice -> the options of a claim, its own first.

    What a claim is about has one option: items of trained models where that is its population, a read-out that it
    names, the seeds that two read-outs of one run share.
    """
    own = claim.selection or experiment.settings.selection
    datasets = datasets_of(claim, experiment)
    fewest = MIN_DATASETS if claim.quantifier == "datasets in general" else 1
    metrics = next((group for group in DEFINITIONS if claim.metric in group), (str(claim.metric),))
    whole = claim.metric is not None and METRICS[claim.metric].whole_item
    open_readout = claim.readout is None and claim.rival_readout is None and not whole
    own_readout = "all" if whole else claim.readout or "own"
    fixed_seeds = claim.relation == "association" or claim.rival_readout is not None
    found: dict[str, tuple[str, ...]] = {
        "epoch": _first(own, ("last", "best_val")),
        "population": _first(claim.population, () if claim.population == "items" else ("both", "seeds")),
        "alpha": _first(f"{claim.alpha:g}", ("0.05", "0.01")),
        "metric": _first(str(claim.metric), metrics),
        "read-out": (own_readout, "joint") if open_readout else (own_readout,),
        "seeds": _first(claim.seed_pairing, () if fixed_seeds else ("paired", "independent")),
        "datasets": ("all", *(f"without {name}" for name in datasets if len(datasets) > fewest)),
    }
    return found


def multiverse_of(claim: Claim, experiment: Experiment, board_of: Callable[[str, str], Scoreboard]) -> Multiverse:
    """Judge a claim under every combination of its options.

    board_of: (dataset, selection rule) -> board; a RememberingBoard computes each comparison once. A combination that
    these records do not hold (an epoch rule or a metric that was not scored, a read-out that a metric has not) is left
    out.
    """
    options = options_of(claim, experiment)
    rules = set.intersection(
        *(set(board_of(name, options["epoch"][0]).items.selections) for name in datasets_of(claim, experiment))
    )
    universes: list[Universe] = []
    for chosen in itertools.product(*options.values()):
        choices = dict(zip(options, chosen, strict=True))
        if choices["epoch"] not in rules:
            continue
        kept = [name for name in datasets_of(claim, experiment) if choices["datasets"] != f"without {name}"]
        boards = {name: board_of(name, choices["epoch"]) for name in kept}
        changed = _changed(claim, choices)
        if universes and not all(_held(board, changed) for board in boards.values()):
            continue
        word = word_of(readings_of(changed, experiment, boards, (changed.population,)), changed.population)
        universes.append(Universe(tuple(choices.items()), word))
    return Multiverse(claim.id, universes[0].verdict, tuple(universes))


def _changed(claim: Claim, choices: Mapping[str, str]) -> Claim:
    """The claim under other choices. Its id names what its comparisons depend on, which boards remember by it."""
    fixed = {name: choices[name] for name in ("metric", "read-out", "seeds")}
    return claim.model_copy(
        update={
            "id": f"{claim.id}|{'|'.join(fixed.values())}",
            "population": choices["population"],
            "alpha": float(choices["alpha"]),
            "metric": choices["metric"],
            "readout": "joint" if choices["read-out"] == "joint" else claim.readout,
            "seed_pairing": choices["seeds"],
        }
    )


def _held(board: Scoreboard, claim: Claim) -> bool:
    return (str(claim.metric), board.readout(str(claim.metric), claim.readout)) in board.available


def _first(own: str, options: Sequence[str]) -> tuple[str, ...]:
    return (own, *(option for option in options if option != own))
