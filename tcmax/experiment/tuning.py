"""The search for a variant's settings: where trials look, what they find, and the choice that is sealed.

    results/<experiment>/<dataset>/fold_<k>/<variant>/tuning/search_<r>/block_<b>.json   trials that are trained
    results/<experiment>/choices.json                                                    what they choose, sealed

Random streams are named by (dataset, fold, search, parameter), so that all variants try the same learning rates, and
the first n trials stay when there are more.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from tcmax.errors import TcmaxError
from tcmax.experiment.grid import Cell, Experiment
from tcmax.experiment.settings import RangeSettings, TuningSettings
from tcmax.records.files import read_json
from tcmax.seeding import generator

ROOT = "tuning"  # the first name of every random stream of a search
OWN = "parameters."  # before the name of a method's own parameter
CHOICES_VERSION = 1
TEST_MANIFEST = "test.json"  # in the folder of a cell's searches: what its trials score on test items

Space = dict[str, RangeSettings]
Values = dict[str, Any]


@dataclass(frozen=True)
class Tuned:
    """Values in place of an experiment's: of its training settings, and of a method's own parameters."""

    training: Mapping[str, Any] = field(default_factory=dict)
    method: Mapping[str, Any] = field(default_factory=dict)


NOTHING_TUNED = Tuned()


@dataclass(frozen=True)
class Chosen:
    """What one search chose for a cell. trial: its number; values: by name, a method's own with `OWN` before it."""

    search: int
    trial: int
    values: Values


def tuned_of(values: Mapping[str, Any]) -> Tuned:
    """A trial's values, apart by what takes them."""
    own = {name.removeprefix(OWN): value for name, value in values.items() if name.startswith(OWN)}
    return Tuned({name: value for name, value in values.items() if not name.startswith(OWN)}, own)


def tuning_of(experiment: Experiment) -> TuningSettings:
    """The tuning of an experiment. Raises TcmaxError where it has none."""
    if experiment.settings.tuning is None:
        raise TcmaxError(f"{experiment.path} has no `tuning`: its settings are as given.")
    return experiment.settings.tuning


def points(space: Space, n_trials: int, where: str, *root: str | int) -> list[Values]:
    """All points of a grid, in an order drawn once, so that a smaller budget is no corner of it.

    Raises TcmaxError unless there are as many points as trials: every variant has equally many.
    """
    try:
        axes = [of_name.points() for of_name in space.values()]
    except ValueError:
        lacking = next(name for name, range_ in space.items() if range_.choices is None and range_.steps is None)
        raise TcmaxError(f"{where}: the range of {lacking!r} needs `steps`, its points in a grid.") from None
    n_points = math.prod(len(axis) for axis in axes)
    if n_points != n_trials:
        wrong = "more than" if n_points > n_trials else "fewer than"
        raise TcmaxError(
            f"{where}: its grid has {n_points} points, {wrong} the budget of {n_trials} trials, "
            "which every variant uses in full."
        )
    grid = [dict(zip(space, values, strict=True)) for values in product(*axes)]
    return [grid[k] for k in generator(ROOT, *root, "grid").permutation(n_points)]


def random_positions(names: Sequence[str], n_trials: int, *root: str | int) -> list[list[float]]:
    """(n_trials, names) on [0, 1): a stream for each name, so that neither more trials nor more names move others."""
    streams = [generator(ROOT, *root, name).random(n_trials).tolist() for name in names]
    return [list(row) for row in zip(*streams, strict=True)] if streams else [[] for _ in range(n_trials)]


def at_positions(space: Space, positions: Sequence[Sequence[float]]) -> list[Values]:
    """The values of trials at positions (n_trials, names) in [0, 1]."""
    return [
        {name: of_name.value(place) for (name, of_name), place in zip(space.items(), row, strict=True)}
        for row in positions
    ]


def trial_blocks(tuning: TuningSettings) -> list[range]:
    """The trials of a search as its jobs train them; more trials never move a block that is full."""
    size = tuning.trials_per_job
    return [range(start, min(start + size, tuning.trials)) for start in range(0, tuning.trials, size)]


def cell_folder(results: Path, experiment: str, cell: Cell) -> Path:
    """Where the searches of a cell are."""
    return results / experiment / cell.dataset / f"fold_{cell.fold}" / cell.variant / "tuning"


def search_folder(results: Path, experiment: str, cell: Cell, search: int) -> Path:
    """Where the trials of one search are."""
    return cell_folder(results, experiment, cell) / f"search_{search}"


def trial_manifests(experiment: Experiment, results: Path, cell: Cell) -> list[Path]:
    """Block manifests of every search of a cell."""
    tuning = tuning_of(experiment)
    return [
        search_folder(results, experiment.name, cell, search) / f"block_{block}.json"
        for search in range(tuning.searches)
        for block in range(len(trial_blocks(tuning)))
    ]


def choices_path(experiment: Experiment, results: Path) -> Path:
    """Where the choice is sealed."""
    return results / experiment.name / "choices.json"


def read_choices(experiment: Experiment, results: Path) -> dict[str, Any]:
    """The sealed choices of an experiment.

    Raises TcmaxError where they are not sealed yet, or were sealed under another tuning.
    """
    tuning_of(experiment)
    path = choices_path(experiment, results)
    if not path.is_file():
        raise TcmaxError(f"{path} does not exist: train the trials, then seal it with `tcmax tune {experiment.name}`.")
    content: dict[str, Any] = read_json(path)
    if not is_sealed(experiment, results):
        raise TcmaxError(f"{path} was sealed under another `tuning`; seal it again: `tcmax tune {experiment.name}`.")
    return content


def is_sealed(experiment: Experiment, results: Path) -> bool:
    """Whether the choice of an experiment's present tuning is sealed."""
    path = choices_path(experiment, results)
    return path.is_file() and bool(read_json(path)["tuning"] == as_recorded(tuning_of(experiment)))


def as_recorded(tuning: TuningSettings) -> dict[str, Any]:
    """A tuning as its choices keep it; how trials are cut into jobs changes no number."""
    return tuning.model_dump(mode="json", exclude={"trials_per_job", "budgets"})


def chosen(experiment: Experiment, results: Path, cell: Cell) -> list[Chosen]:
    """What each search chose for a cell, from the sealed file."""
    for entry in read_choices(experiment, results)["cells"]:
        if (entry["dataset"], entry["fold"], entry["variant"]) == (cell.dataset, cell.fold, cell.variant):
            return [Chosen(one["search"], one["trial"], one["values"]) for one in entry["searches"]]
    raise TcmaxError(
        f"{choices_path(experiment, results)} chooses nothing for {cell.variant} on {cell.dataset}; seal it again: "
        f"`tcmax tune {experiment.name}`."
    )


def at_budget(experiment: Experiment, budget: int) -> Experiment:
    """The experiment with only the first so many trials; 0: with its settings as given."""
    tuning = tuning_of(experiment).model_copy(update={"trials": budget, "budgets": ()}) if budget else None
    return Experiment(experiment.path, experiment.settings.model_copy(update={"tuning": tuning}))


def budget_results(experiment: Experiment, results: Path, budget: int) -> Path:
    """The folder of results of an experiment at a smaller budget, which holds what a folder of results holds."""
    return results / experiment.name / "budgets" / str(budget)


def in_words(experiment: Experiment) -> str:
    """For which settings an experiment's verdicts hold; "" of results made elsewhere, which do not say."""
    tuning = experiment.settings.tuning
    if experiment.settings.imported is not None:
        return ""
    if tuning is None:
        elsewhere = any(variant.tuning_trials for variant in experiment.settings.variants.values())
        return "settings as given" if elsewhere else "one learning rate for all, untuned"
    trials = f"{tuning.trials} trial{'s' if tuning.trials > 1 else ''} each ({tuning.sampler})"
    if tuning.searches == 1:
        return f"{trials}, chosen on validation items, search held fixed"
    return f"{tuning.searches} searches of {trials}, chosen on validation items"


def search_of(experiment: Experiment, seed: int) -> int:
    """The search whose choice a seed is trained with: seeds are dealt out in turn, for all variants alike."""
    return experiment.settings.seeds.index(seed) % tuning_of(experiment).searches
