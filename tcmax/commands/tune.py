"""`tcmax tune`: choose each variant's settings from its trials' validation items, and seal the choice.

The choice is one file that is written at once. Final runs are trained with it, and trials meet test items only once it
is there. A trial of which a run diverged is a trial: it counts, and is chosen only where all others did so too.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from tcmax.errors import TcmaxError
from tcmax.experiment import tuning
from tcmax.experiment.grid import Cell, Experiment
from tcmax.metrics import METRICS
from tcmax.metrics.validation import score_of
from tcmax.records import kinds, parquet, provenance
from tcmax.records.files import read_json, sha256, write_json


def seal(experiment: Experiment, results: Path) -> Path:
    """Choose a trial for every (variant, dataset, fold, search) and write the choice; returns its path.

    Raises TcmaxError when a trial is missing or its predictions were altered.
    """
    chosen = tuning.tuning_of(experiment)
    cells = [_cell(experiment, cell, results) for cell in experiment.cells()]
    path = tuning.choices_path(experiment, results)
    write_json(
        path,
        {
            "version": tuning.CHOICES_VERSION,
            "experiment": experiment.name,
            "tuning": tuning.as_recorded(chosen),
            "selection": experiment.settings.selection,
            "cells": cells,
        },
    )
    manifests = [
        manifest for cell in experiment.cells() for manifest in tuning.trial_manifests(experiment, results, cell)
    ]
    settings = {"tuning": tuning.as_recorded(chosen)}
    provenance.write_stage(path, "tune", "tcmax.commands.tune", manifests, settings)
    return path


def seal_budget(experiment: Experiment, results: Path, budget: int) -> None:
    """Write what the first so many trials of every search would have chosen, from the sealed choice of all."""
    content = tuning.read_choices(experiment, results)
    smaller = tuning.at_budget(experiment, budget)
    cells = [
        {**cell, "searches": [_choice(smaller, one["search"], one["trials"][:budget]) for one in cell["searches"]]}
        for cell in content["cells"]
    ]
    recorded = {"tuning": tuning.as_recorded(tuning.tuning_of(smaller)), "cells": cells}
    write_json(
        tuning.choices_path(smaller, tuning.budget_results(experiment, results, budget)), {**content, **recorded}
    )


def _cell(experiment: Experiment, cell: Cell, results: Path) -> dict[str, Any]:
    searches: dict[int, list[dict[str, Any]]] = {}
    for manifest in tuning.trial_manifests(experiment, results, cell):
        if not manifest.is_file():
            raise TcmaxError(
                f"{manifest} does not exist: train its trials with `{_command(experiment, cell, manifest)}`."
            )
        described = read_json(manifest)
        searches.setdefault(described["search"], []).extend(_trials(experiment, manifest, described["runs"]))
    n_trials = tuning.tuning_of(experiment).trials
    for search, trials in searches.items():
        if [trial["trial"] for trial in trials] != list(range(n_trials)):
            raise TcmaxError(
                f"{tuning.search_folder(results, experiment.name, cell, search)} holds {len(trials)} trials, not "
                f"{n_trials}: train the rest with `tcmax trials {experiment.name} --dataset {cell.dataset} --fold "
                f"{cell.fold} --variant {cell.variant} --search {search}`."
            )
    return {
        "dataset": cell.dataset,
        "fold": cell.fold,
        "variant": cell.variant,
        "searches": [_choice(experiment, search, trials) for search, trials in searches.items()],
    }


def _command(experiment: Experiment, cell: Cell, manifest: Path) -> str:
    search, block = manifest.parent.name.removeprefix("search_"), manifest.stem.removeprefix("block_")
    return (
        f"tcmax trials {experiment.name} --dataset {cell.dataset} --fold {cell.fold} --variant {cell.variant} "
        f"--search {search} --block {block}"
    )


def _trials(experiment: Experiment, manifest: Path, runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The trials of a manifest, each with the scores of its runs; None for one that diverged."""
    chosen, rule = tuning.tuning_of(experiment), experiment.settings.selection
    trials: dict[int, dict[str, Any]] = {}
    for run in runs:
        trial = trials.setdefault(
            run["trial"],
            {"trial": run["trial"], "values": run["values"], "scores": [], "run_keys": [], "steps": 0},
        )
        score = None
        if run["status"] == "finished":
            path = _checked(manifest, run, f"predictions_{rule}")
            table = parquet.read(path, kinds.PREDICTIONS)
            score = score_of(table, parquet.header_of(table), chosen.metric, chosen.readout, str(path))
        trial["scores"].append(score)
        trial["run_keys"].append(run["run_key"])
        trial["steps"] += _steps(_checked(manifest, run, "history"))
    return list(trials.values())


def _checked(manifest: Path, run: dict[str, Any], name: str) -> Path:
    described = run["files"][name]
    path = manifest.parent / described["path"]
    if not path.is_file() or sha256(path) != described["sha256"]:
        raise TcmaxError(f"{path} is not the file that {manifest} lists; train the trial again.")
    result: Path = path
    return result


def _steps(history: Path) -> int:
    table = parquet.read(history, kinds.HISTORY, columns=["quantity", "value"])
    pairs = zip(table["quantity"].to_pylist(), table["value"].to_pylist(), strict=True)
    result: int = round(sum(value for quantity, value in pairs if quantity == "count.optimizer_steps"))
    return result


def _choice(experiment: Experiment, search: int, trials: list[dict[str, Any]]) -> dict[str, Any]:
    """What a search chooses: the best mean score; of equal ones the first, and none with a diverged run if it can."""
    sign = 1 if METRICS[tuning.tuning_of(experiment).metric].better == "higher" else -1

    def rank(trial: dict[str, Any]) -> tuple[int, float]:
        scores = [score for score in trial["scores"] if score is not None]
        return (len(scores) - len(trial["scores"]), sign * fmean(scores) if scores else -math.inf)

    best = max(trials, key=rank)
    scores = [score for score in best["scores"] if score is not None]
    return {
        "search": search,
        "trial": best["trial"],
        "values": best["values"],
        "score": fmean(scores) if scores else None,
        "at_edge": at_edge(best["values"], [trial["values"] for trial in trials]),
        "diverged": [trial["trial"] for trial in trials if None in trial["scores"]],
        "steps": sum(trial["steps"] for trial in trials),
        "trials": trials,
    }


def at_edge(values: dict[str, Any], tried: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Which chosen numbers no trial lies beyond, "lowest" or "highest": the search cannot say whether it goes on there.

    Only of parameters with at least three values tried.
    """
    found = {}
    for name, value in values.items():
        others = {trial[name] for trial in tried}
        numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in others)
        if numbers and len(others) >= 3 and value in (min(others), max(others)):
            found[name] = "lowest" if value == min(others) else "highest"
    return found


def seal_text(experiment: Experiment, results: Path) -> str:
    """The sealed choices as lines."""
    lines = [str(tuning.choices_path(experiment, results))]
    for entry in tuning.read_choices(experiment, results)["cells"]:
        for one in entry["searches"]:
            values = ", ".join(f"{name.removeprefix(tuning.OWN)} {value}" for name, value in one["values"].items())
            edges = [f"{name.removeprefix(tuning.OWN)} is the {end} tried" for name, end in one["at_edge"].items()]
            score = "every trial diverged" if one["score"] is None else f"{one['score']:.4g}"
            where = f"{entry['dataset']} fold {entry['fold']} {entry['variant']} search {one['search']}"
            lines.append(
                f"  {where}: trial {one['trial']} ({score}), {values}{'; ' if edges else ''}{', '.join(edges)}"
            )
    return "\n".join(lines)
