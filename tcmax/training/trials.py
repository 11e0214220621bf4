"""Trials: the jobs that look for a variant's settings on validation items.

A trial is a run like any other, with values of its own, random streams that no other run shares, and no test items: its
job takes them out of the dataset before anything else sees it. It keeps its weights, so that once the choice is sealed
(`tcmax.commands.tune`) another job can score every trial on test items, for curves that choose nothing.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tcmax.data.base import Dataset
from tcmax.errors import TcmaxError
from tcmax.experiment import tuning
from tcmax.experiment.grid import Cell, Experiment
from tcmax.experiment.settings import RangeSettings
from tcmax.experiment.tuning import ROOT, Space, Values
from tcmax.experiment.yaml import finding
from tcmax.methods import METHODS
from tcmax.metrics.validation import score_of
from tcmax.records import arithmetic, kinds, parquet
from tcmax.records.files import read_json, sha256, write_json
from tcmax.records.manifests import MANIFEST_VERSION
from tcmax.seeding import derive
from tcmax.training import jobs
from tcmax.training.datasets import load_dataset
from tcmax.training.jobs import Context, Planned


def space_of(experiment: Experiment, variant: str) -> Space:
    """Where the trials of a variant look: what all variants tune, then its method's own parameters.

    Raises TcmaxError naming file and key for a parameter that the method does not have or a value it refuses.
    """
    from tcmax.training.spec import fill

    settings, chosen = experiment.settings.variants[variant], tuning.tuning_of(experiment)
    name = METHODS.canonical(settings.method)
    method = METHODS.load(name)
    given = {METHODS.canonical(key): (key, ranges) for key, ranges in chosen.methods.items()}
    key, own = given.get(name, (name, None))
    where = f"{experiment.path}: tuning.methods.{key}"
    if own is None:
        own, where = _declared(name, method.search), f"the method {name} declares a search that does not fit it"
    known = {field.name for field in dataclasses.fields(method.Parameters)}
    for parameter, searched in own.items():
        if parameter not in known:
            listed = ", ".join(sorted(known)) or "none"
            raise TcmaxError(f"{where}: unknown parameter {parameter!r}; known: {listed}.")
        for end in searched.ends:
            fill(method.Parameters, {**settings.parameters, parameter: end}, where)
    tuned = {f"{tuning.OWN}{p}": searched for p, searched in own.items() if p not in settings.parameters}
    return {**chosen.training, **tuned}


def _declared(method: str, search: Mapping[str, Mapping[str, Any]]) -> Space:
    try:
        return {name: RangeSettings.model_validate(dict(given)) for name, given in search.items()}
    except ValidationError as error:
        raise TcmaxError(f"the method {method} declares no valid search: {': '.join(finding(error))}.") from error


def check_tuning(experiment: Experiment) -> None:
    """Check every variant's search before any job starts. Raises TcmaxError naming file and key."""
    chosen = experiment.settings.tuning
    if chosen is None:
        return
    methods = {METHODS.canonical(variant.method) for variant in experiment.settings.variants.values()}
    for key in chosen.methods:
        try:
            used = METHODS.canonical(key) in methods
        except TcmaxError as error:
            raise TcmaxError(f"{experiment.path}: tuning.methods: {error}") from None
        if not used:
            raise TcmaxError(f"{experiment.path}: tuning.methods.{key}: no variant uses this method.")
    for cell in experiment.cells():
        if chosen.sampler == "grid":
            trial_values(experiment, cell, 0)
        else:
            space_of(experiment, cell.variant)


def trial_values(experiment: Experiment, cell: Cell, search: int) -> list[Values]:
    """The values of a search's trials, in order; the first n are the same whatever the budget.

    random: uniform on each range, in its scale. sobol: a scrambled sequence over all of them (torch.quasirandom).
    grid: all points.
    """
    chosen, space = tuning.tuning_of(experiment), space_of(experiment, cell.variant)
    root = (experiment.dataset_id(cell.dataset), cell.fold, search)
    match chosen.sampler:
        case "grid":
            where = f"{experiment.path}: variants.{cell.variant}"
            return tuning.points(space, chosen.trials, where, *root)
        case "random":
            positions = tuning.random_positions(list(space), chosen.trials, *root)
        case "sobol":
            positions = sobol_positions(len(space), chosen.trials, *root)
    return tuning.at_positions(space, positions)


def sobol_positions(n_values: int, n_trials: int, *root: str | int) -> list[list[float]]:
    """(n_trials, n_values) of a scrambled Sobol sequence in [0, 1), by torch's engine."""
    if not n_values:
        return [[] for _ in range(n_trials)]
    import torch

    engine = torch.quasirandom.SobolEngine(n_values, scramble=True, seed=derive(ROOT, *root, "sobol"))
    drawn: list[list[float]] = engine.draw(n_trials, dtype=torch.float64).clamp(0, 1 - 2**-53).tolist()
    return drawn


def train_trials(experiment: Experiment, cell: Cell, search: int, block: int, results: Path) -> Path:
    """Train what is missing of a block of trials and write its manifest; returns the manifest's path.

    Trials that are finished under the same key are kept, however many there were before.
    """
    chosen = tuning.tuning_of(experiment)
    blocks = tuning.trial_blocks(chosen)
    if not 0 <= search < chosen.searches:
        raise TcmaxError(f"{experiment.name} has searches 0..{chosen.searches - 1}, not {search}.")
    if not 0 <= block < len(blocks):
        raise TcmaxError(f"a search of {experiment.name} has blocks 0..{len(blocks) - 1}, not {block}.")
    if cell.variant not in experiment.settings.variants or cell.dataset not in experiment.settings.datasets:
        raise TcmaxError(f"{experiment.path}: there is no variant {cell.variant!r} on a dataset {cell.dataset!r}.")
    arithmetic.fix()  # of what is not loaded yet
    from tcmax.training.loop import pick_device

    arithmetic.check()
    dataset = load_dataset(experiment, cell.dataset)
    if not cell.fold < len(dataset.folds):
        raise TcmaxError(f"{cell.dataset} has folds 0..{len(dataset.folds) - 1}, not {cell.fold}.")
    dataset = dataset.without_test(cell.fold)  # nothing below can see a test item
    values = trial_values(experiment, cell, search)
    planned = planned_trials(experiment, cell, search, blocks[block], dataset, dataset.fingerprint(), results)
    title = f"{cell.dataset} fold {cell.fold} {cell.variant} search {search}"
    entries = jobs.complete([run for _, run in planned], pick_device(experiment.settings.device), title)
    manifest = tuning.search_folder(results, experiment.name, cell, search) / f"block_{block}.json"
    write_json(
        manifest,
        {
            "schema_version": MANIFEST_VERSION,
            "experiment": experiment.name,
            "dataset": cell.dataset,
            "fold": cell.fold,
            "variant": cell.variant,
            "search": search,
            "block": block,
            "runs": [
                {"trial": trial, "values": values[trial], **_below(entry, f"trial_{trial}")}
                for (trial, _), entry in zip(planned, entries, strict=True)
            ],
        },
    )
    return manifest


def planned_trials(
    experiment: Experiment,
    cell: Cell,
    search: int,
    trials: Iterable[int],
    dataset: Dataset,
    fingerprint: str,
    results: Path,
) -> list[tuple[int, Planned]]:
    """(number, run) of every run of these trials. dataset: without test items; fingerprint: its own."""
    values = trial_values(experiment, cell, search)
    planned: list[tuple[int, Planned]] = []
    for trial in trials:
        context = _context(experiment, cell, search, trial, values[trial], dataset, fingerprint, results)
        planned += [(trial, Planned(context, k)) for k in range(tuning.tuning_of(experiment).seeds_per_trial)]
    return planned


def _context(
    experiment: Experiment,
    cell: Cell,
    search: int,
    trial: int,
    values: Values,
    dataset: Dataset,
    fingerprint: str,
    results: Path,
) -> Context:
    from tcmax.training.spec import resolve_run

    stage = (ROOT, search, trial)
    spec = resolve_run(experiment, dataset, cell.dataset, cell.fold, cell.variant, tuning.tuned_of(values), stage)
    # Switch protocol.aliased_selection: what best_val then predicts is the last epoch.
    rule = "last" if spec.switches["protocol.aliased_selection"] else experiment.settings.selection
    return Context(
        experiment,
        cell,
        spec,
        dataset,
        fingerprint,
        jobs.code_of(experiment, cell.dataset, cell.variant),
        results,
        own_settings=True,
        base=tuning.search_folder(results, experiment.name, cell, search) / f"trial_{trial}",
        keep_weights=rule,
    )


def _below(entry: dict[str, Any], folder: str) -> dict[str, Any]:
    """A manifest's entry with paths that start one folder higher."""
    files = {name: {**described, "path": f"{folder}/{described['path']}"} for name, described in entry["files"].items()}
    return {**entry, "files": files}


def score_trials(experiment: Experiment, cell: Cell, results: Path) -> Path:
    """Predict the test items with the kept weights of all trials of a cell; returns the manifest that lists them, each
    with its score in the metric that they were chosen by.

    Only once the choice is sealed. Raises TcmaxError before, and where trials are not those that it was made from.
    """
    arithmetic.fix()
    from tcmax.training.loop import Runs, pick_device

    arithmetic.check()
    content, chosen = tuning.read_choices(experiment, results), tuning.tuning_of(experiment)
    sealed = {
        run_key
        for entry in content["cells"]
        if (entry["dataset"], entry["fold"], entry["variant"]) == (cell.dataset, cell.fold, cell.variant)
        for one in entry["searches"]
        for trial in one["trials"]
        for run_key in trial["run_keys"]
    }
    dataset, device = load_dataset(experiment, cell.dataset), pick_device(experiment.settings.device)
    trained_on = dataset.without_test(cell.fold)
    listed = []
    for manifest in tuning.trial_manifests(experiment, results, cell):
        described = read_json(manifest)
        for run in described["runs"]:
            if run["run_key"] not in sealed:
                raise TcmaxError(
                    f"{manifest} lists trials that the choice was not made from; seal it again: "
                    f"`tcmax tune {experiment.name}`."
                )
            if run["status"] != "finished":
                continue
            search, trial = described["search"], run["trial"]
            context = _context(experiment, cell, search, trial, run["values"], trained_on, "", results)
            weights = manifest.parent / run["files"]["weights"]["path"]
            whole = Runs([context.spec], [run["seed"]], dataset, device)
            logits = whole.predicted_with(jobs.read_weights(weights))
            path = weights.with_name("predictions_test.parquet")
            _write_test(path, dataclasses.replace(context, dataset=dataset), run, logits, whole.method.readout)
            table = parquet.read(path, kinds.PREDICTIONS)
            score = score_of(table, parquet.header_of(table), chosen.metric, chosen.readout, str(path))
            listed.append(
                {
                    "search": search,
                    "trial": trial,
                    "seed": run["seed"],
                    "run_key": run["run_key"],
                    "score": score,
                    "path": str(path.relative_to(manifest.parents[1])),
                    "sha256": sha256(path),
                }
            )
    written = tuning.cell_folder(results, experiment.name, cell) / tuning.TEST_MANIFEST
    write_json(written, {"schema_version": MANIFEST_VERSION, "experiment": experiment.name, "runs": listed})
    return written


def _write_test(path: Path, context: Context, run: dict[str, Any], logits: dict[str, Any], readout: str) -> None:
    cell = context.cell
    columns = jobs.prediction_columns(context, logits)
    tested = [k for k, split in enumerate(columns["split"]) if split == "test"]
    kept = {
        name: value[tested] if hasattr(value, "dtype") else [value[k] for k in tested]
        for name, value in columns.items()
    }
    parquet.write(
        path,
        kinds.PREDICTIONS,
        {
            "dataset": cell.dataset,
            "fold": cell.fold,
            "variant": cell.variant,
            "seed": run["seed"],
            "run_key": run["run_key"],
            **kept,
        },
        {"selection": context.keep_weights, "readout": readout, "classes": list(context.dataset.class_names)},
    )
