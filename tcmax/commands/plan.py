"""What an experiment will cost before anything starts: runs, jobs, hours and disk."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tcmax.commands.analyse import check_claims
from tcmax.errors import TcmaxError
from tcmax.experiment import tuning
from tcmax.experiment.grid import Cell, Experiment
from tcmax.experiment.looks import in_words
from tcmax.experiment.paths import run_folder
from tcmax.records.files import read_json
from tcmax.training.jobs import planned_runs

_RULES = 3  # selection rules, one predictions file each


@dataclass(frozen=True)
class CellPlan:
    """Cost of one (dataset, variant) over its folds and seeds; seconds and mebibytes are None where unknown.

    trials, trial_jobs, finished_trials: of all searches, counted as runs. seconds_per_trial: as of a run where no trial
    is finished, which is too much: trials never meet the test items, and more of them train side by side.
    """

    dataset: str
    variant: str
    folds: int
    runs: int
    jobs: int
    finished: int
    seconds_per_run: float | None
    measured: bool
    mebibytes: float | None
    trials: int = 0
    trial_jobs: int = 0
    finished_trials: int = 0
    seconds_per_trial: float | None = None


def plan(experiment: Experiment, results: Path) -> list[CellPlan]:
    """The plan of every (dataset, variant). Durations come from finished runs where there are some, else from training
    one epoch here; data that is not here leaves them unknown."""
    plans = []
    for dataset in experiment.settings.datasets:
        folds = experiment.n_folds(dataset)
        data = _loaded(experiment, dataset)
        fingerprint = None if data is None else data.fingerprint()
        for variant in experiment.variants_on(dataset):
            cells = [Cell(dataset, fold, variant) for fold in range(folds)]
            known = _finished_seconds(experiment, cells, results, data, fingerprint)
            seconds = statistics.median(known) if known else _timed(experiment, dataset, variant, data)
            chosen, tried = experiment.settings.tuning, _finished_trials(experiment, cells, results, data)
            searches = folds * chosen.searches if chosen else 0
            plans.append(
                CellPlan(
                    dataset,
                    variant,
                    folds,
                    runs=folds * len(experiment.settings.seeds),
                    jobs=folds * len(experiment.blocks),
                    finished=len(known),
                    seconds_per_run=seconds,
                    measured=bool(known),
                    mebibytes=_mebibytes(experiment, folds, data),
                    trials=searches * chosen.trials * chosen.seeds_per_trial if chosen else 0,
                    trial_jobs=searches * len(tuning.trial_blocks(chosen)) if chosen else 0,
                    finished_trials=len(tried),
                    seconds_per_trial=statistics.median(tried) if tried else seconds,
                )
            )
    return plans


def _loaded(experiment: Experiment, dataset: str) -> Any:
    from tcmax.training.datasets import load_dataset

    try:
        return load_dataset(experiment, dataset)
    except TcmaxError:
        return None


def _finished_seconds(
    experiment: Experiment, cells: list[Cell], results: Path, data: Any, fingerprint: str | None
) -> list[float]:
    """Seconds of every run that is finished as the experiment now stands; where the data is not here, of every run."""
    seeds, seconds = experiment.settings.seeds, []
    for cell in cells:
        keys: dict[Path, str | None]
        if fingerprint is None:
            keys = {run_folder(results, experiment.name, cell, seed): None for seed in seeds}
        elif experiment.settings.tuning is not None and not tuning.is_sealed(experiment, results):
            continue
        else:
            planned = planned_runs(experiment, cell, seeds, data, fingerprint, results)
            keys = {run.folder: run.key for run in planned}
        seconds += _seconds(keys)
    return seconds


def _finished_trials(experiment: Experiment, cells: list[Cell], results: Path, data: Any) -> list[float]:
    """Seconds of every run of a trial that is finished as the experiment now stands."""
    chosen = experiment.settings.tuning
    if chosen is None or data is None:
        return []
    from tcmax.training.trials import planned_trials

    seconds = []
    for cell in cells:
        if not tuning.cell_folder(results, experiment.name, cell).is_dir():
            continue
        seen = data.without_test(cell.fold)
        fingerprint, all_trials = seen.fingerprint(), range(chosen.trials)
        for search in range(chosen.searches):
            planned = planned_trials(experiment, cell, search, all_trials, seen, fingerprint, results)
            seconds += _seconds({run.folder: run.key for _, run in planned})
    return seconds


def _seconds(keys: Mapping[Path, str | None]) -> list[float]:
    """Seconds of the runs in these folders that are finished under their key, or under any for None."""
    seconds = []
    for folder, key in keys.items():
        if not (folder / "run.json").is_file() or not (folder / "sidecar.json").is_file():
            continue
        if key is None or read_json(folder / "run.json")["run_key"] == key:
            seconds.append(float(read_json(folder / "sidecar.json")["seconds"]))
    return seconds


def _timed(experiment: Experiment, dataset: str, variant: str, data: Any) -> float | None:
    """Seconds of a whole run, from its second epoch (the first one pays for warming up). Where an epoch is long, it is
    timed on the first batches only, and evaluation counts as often as it will happen."""
    if data is None:
        return None
    import dataclasses
    import time

    from tcmax.training.loop import Runs, pick_device, train_side_by_side
    from tcmax.training.spec import resolve_run

    spec = resolve_run(experiment, data, dataset, 0, variant)
    fold, batch = spec.parts(data), spec.training["batch_size"]
    steps = -(-len(fold.train) // batch)
    kept = min(steps, 8)
    short = dataclasses.replace(fold, train=fold.train[: kept * batch])
    data = dataclasses.replace(data, folds=(short,), official_validation=True)  # cut already
    seeds = experiment.blocks[0] if train_side_by_side(spec, data) else experiment.blocks[0][:1]
    run = Runs(spec, seeds, data, pick_device(experiment.settings.device))
    run.epochs = 2
    marks = [time.perf_counter()]
    run.train(lambda _: marks.append(time.perf_counter()))
    started = time.perf_counter()
    run.predict()
    evaluation = time.perf_counter() - started
    training = max(marks[-1] - marks[-2] - evaluation, 0.0)
    epochs: int = spec.training["epochs"]
    result: float | None = epochs * (training * steps / kept + evaluation) / len(seeds)
    return result


def _mebibytes(experiment: Experiment, folds: int, data: Any) -> float | None:
    if data is None:
        return None
    items = sum(len(fold.val) + len(fold.test) for fold in data.folds)
    width = 2 if experiment.settings.half_precision_logits or data.n_classes > 50 else 4
    per_seed = items * data.n_classes * (len(data.modalities) + 1) * width * _RULES
    result: float | None = per_seed * len(experiment.settings.seeds) / 2**20
    return result


def plan_text(experiment: Experiment, results: Path) -> str:
    """The plan as a table and a summary. Raises TcmaxError for a mistake in the claims file, too."""
    check_claims(experiment)
    plans = plan(experiment, results)
    width = max(len(entry.variant) for entry in plans)
    lines = []
    waiting = [dataset for dataset in experiment.settings.datasets if experiment.lacking(dataset)]
    for dataset in experiment.settings.datasets:
        chosen = [entry for entry in plans if entry.dataset == dataset]
        lines.append(f"{dataset}: {chosen[0].folds} fold{'s' * (chosen[0].folds > 1)}, {len(chosen)} variants")
        if dataset in waiting:
            lines.append(f"  needs preparation: {experiment.lacking(dataset)}.")
        for entry in chosen:
            time = f"time unknown ({'needs preparation' if dataset in waiting else 'the data is not here'})"
            if entry.seconds_per_run is not None:
                source = "median of finished runs" if entry.measured else "timed on a few steps"
                time = f"{entry.seconds_per_run:.1f} s a run ({source})"
            lines.append(
                f"  {entry.variant:<{width}}  {entry.runs:4d} runs in {entry.jobs} jobs, "
                f"{entry.finished} finished, {time}"
            )
    runs, done = sum(entry.runs for entry in plans), sum(entry.finished for entry in plans)
    lines.append("")
    lines.append(
        f"{experiment.name}: {runs} runs in {sum(entry.jobs for entry in plans)} training jobs "
        f"({len(experiment.settings.seeds)} seeds, {experiment.settings.seeds_per_job} to a job); {done} are finished."
    )
    trials, tried = sum(entry.trials for entry in plans), sum(entry.finished_trials for entry in plans)
    if experiment.settings.tuning:
        searched = experiment.settings.tuning
        searches = f" in each of {searched.searches} searches" if searched.searches > 1 else ""
        lines.append(
            f"Tuning before that: {searched.trials} trials{searches} ({searched.sampler}) for every variant and "
            f"dataset, {trials} runs in {sum(entry.trial_jobs for entry in plans)} jobs; {tried} are finished."
        )
    if experiment.settings.sequential:
        looks = in_words(experiment.settings.sequential.looks)
        lines.append(f"These are the most: there are looks at {looks} seeds, after which only open pairs get more.")
    if waiting:
        lines.append(
            f"Not available in this installation: {', '.join(waiting)}. Their jobs would end at once, saying so."
        )
    if all(entry.seconds_per_run is not None for entry in plans):
        left = sum((entry.runs - entry.finished) * (entry.seconds_per_run or 0.0) for entry in plans)
        if experiment.settings.tuning:
            searching = sum((one.trials - one.finished_trials) * (one.seconds_per_trial or 0.0) for one in plans)
            lines.append(f"Tuning left: {_duration(searching)} on one core, {_duration(searching / 2)} on two.")
        lines.append(f"Training left: {_duration(left)} on one core, {_duration(left / 2)} on two.")
    if all(entry.mebibytes is not None for entry in plans):
        lines.append(f"Predictions: about {sum(entry.mebibytes or 0.0 for entry in plans):.0f} MiB before compression.")
    return "\n".join(lines)


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
