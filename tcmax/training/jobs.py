"""What a DAG job does: prepare a dataset's facts, or train one block of seeds of one cell of the grid.

A block is trained in one process, its seeds side by side where the cell's parts can do that, else one after another.
Each finished run is written at once and is valid on its own; the block's manifest, the job's declared output, comes
last. So a killed job loses only the runs it was in, which continue from their checkpoints, and adding seeds retrains
none.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tcmax.console import ProgressLine
from tcmax.data.base import Dataset
from tcmax.errors import TcmaxError
from tcmax.experiment import tuning
from tcmax.experiment.grid import Cell, Experiment
from tcmax.methods import METHODS
from tcmax.models.encoders import ENCODERS
from tcmax.models.fusion import HEADS
from tcmax.records import arithmetic, kinds, parquet, provenance
from tcmax.records.files import atomic_path, explained, read_json, sha256, write_json

if TYPE_CHECKING:
    from tcmax.training.loading import Residence
    from tcmax.training.loop import RunResult, Runs, Weights
    from tcmax.training.spec import RunSpec
from tcmax.experiment.paths import claims_hash, run_folder
from tcmax.records.locks import run_lock
from tcmax.records.manifests import MANIFEST_VERSION
from tcmax.registry import NameTable
from tcmax.training.datasets import load_dataset, module_of, module_of_data

CHECKPOINT = "checkpoint.pt"
WEIGHTS = "weights.npz"


def code_of(experiment: Experiment, dataset: str, variant: str) -> dict[str, str]:
    """Module -> hash of the training-side code that a variant uses on a dataset; needs no torch."""
    if experiment.settings.pin_code is not None:
        return {"pinned": experiment.settings.pin_code}
    options, settings = experiment.settings.datasets[dataset], experiment.settings.variants[variant]
    modules = []
    if experiment.lacking(dataset) is None:  # else there is no code yet: the key changes when there is
        modules += [module_of_data(options, dataset)]
        modules += [module_of(ENCODERS.target(encoder.name)) for encoder in options.all_encoders]
    modules.append(module_of(METHODS.target(settings.method)))
    if settings.head is not None:
        modules.append(module_of(HEADS.target(settings.head.name)))
    else:  # which head is the method's default is known only after importing it; all built-in ones then count
        modules += [module_of(entry.target) for entry in HEADS.entries.values()]
    return provenance.training_code(modules)


def _canonical(table: NameTable, part: dict[str, Any]) -> dict[str, Any]:
    """A part under its id; under the name that is written where nothing installed provides it yet."""
    return {**part, "name": table.canonical(part["name"]) if part["name"] in table else part["name"]}


def block_key(experiment: Experiment, cell: Cell, block: int, results: Path = Path("results")) -> str:
    """What a block depends on besides the data: Snakemake reruns its job when this changes.

    Where the experiment tunes, what was chosen for the cell is a part of it, so that the choice has to be sealed.
    """
    key = {"seeds": experiment.blocks[block], **_settings_of(experiment, cell)}
    if experiment.settings.tuning is not None:
        key["chosen"] = [one.values for one in tuning.chosen(experiment, results, cell)]
    return provenance.digest(key)


def trials_key(experiment: Experiment, cell: Cell, search: int, block: int) -> str:
    """The same of a block of trials of a search."""
    chosen = tuning.tuning_of(experiment)
    trials = tuning.trial_blocks(chosen)[block]
    searched = chosen.model_dump(
        mode="json", exclude={"trials", "searches", "trials_per_job", "budgets", "metric", "readout", "methods"}
    )
    own = METHODS.canonical(experiment.settings.variants[cell.variant].method)
    ranges = {METHODS.canonical(name): of_name for name, of_name in chosen.methods.items()}.get(own)
    return provenance.digest(
        {
            **_settings_of(experiment, cell),
            "search": search,
            "trials": list(trials),
            "tuning": searched,
            "own": ranges and {name: of_name.model_dump(mode="json") for name, of_name in ranges.items()},
            "selection": experiment.settings.selection,
        }
    )


def _settings_of(experiment: Experiment, cell: Cell) -> dict[str, Any]:
    settings = experiment.settings
    variant = settings.variants[cell.variant].model_dump(exclude={"title", "family", "tuning_trials"})
    dataset = settings.datasets[cell.dataset].model_dump(exclude={"title", "variants", "folds", "needs"})
    return {
        "variant": {
            **variant,
            "method": METHODS.canonical(variant["method"]),
            "head": variant["head"] and _canonical(HEADS, variant["head"]),
        },
        "dataset": {
            **dataset,
            "id": experiment.dataset_id(cell.dataset),
            "encoder": dataset["encoder"] and _canonical(ENCODERS, dataset["encoder"]),
            "encoders": {name: _canonical(ENCODERS, part) for name, part in dataset["encoders"].items()},
        },
        "training": experiment.training_on(cell.dataset).model_dump(),
        "precision": settings.precision,
        "half_precision_logits": settings.half_precision_logits,
        "arithmetic": arithmetic.asked(),
        "code": code_of(experiment, cell.dataset, cell.variant),
    }


@dataclass(frozen=True)
class Context:
    """One cell of the grid with all that its runs depend on.

    own_settings: whether runs beside each other may differ in what `RunSpec.beside` leaves out.
    base: the folder of its seeds where it is not the cell's own. keep_weights: the selection rule whose weights a
    finished run keeps.
    """

    experiment: Experiment
    cell: Cell
    spec: "RunSpec"
    dataset: Dataset
    fingerprint: str
    code: dict[str, str]
    results: Path
    own_settings: bool = False
    base: Path | None = None
    keep_weights: str | None = None

    def run_key(self, seed: int) -> str:
        return provenance.digest(
            {
                **self.spec.resolved(),
                "seed": seed,
                "half_precision_logits": self.experiment.settings.half_precision_logits,
                "arithmetic": arithmetic.mode(),
                "data": self.fingerprint,
                "code": self.code,
            }
        )

    def folder(self, seed: int) -> Path:
        if self.base is not None:
            return self.base / f"seed_{seed}"
        return run_folder(self.results, self.experiment.name, self.cell, seed)


@dataclass(frozen=True, eq=False)
class Planned:
    """A run that has to be there when its job ends."""

    context: Context
    seed: int

    @property
    def folder(self) -> Path:
        return self.context.folder(self.seed)

    @cached_property
    def key(self) -> str:
        return self.context.run_key(self.seed)


def context_of(
    experiment: Experiment,
    cell: Cell,
    dataset: Dataset,
    fingerprint: str,
    results: Path,
    chosen: "tuning.Chosen | None" = None,
) -> Context:
    """The context of a cell, with the settings that a search chose for it, if any did.

    fingerprint: the dataset's, which takes a while to compute.
    """
    from tcmax.training.spec import resolve_run

    tuned = tuning.NOTHING_TUNED if chosen is None else tuning.tuned_of(chosen.values)
    spec = resolve_run(experiment, dataset, cell.dataset, cell.fold, cell.variant, tuned)
    own_settings = experiment.settings.tuning is not None and experiment.settings.tuning.searches > 1
    code = code_of(experiment, cell.dataset, cell.variant)
    return Context(experiment, cell, spec, dataset, fingerprint, code, results, own_settings)


def planned_runs(
    experiment: Experiment, cell: Cell, seeds: Sequence[int], dataset: Dataset, fingerprint: str, results: Path
) -> list[Planned]:
    """The runs of these seeds of a cell; where the experiment tunes, with what their search chose.

    Raises TcmaxError where the choice is not sealed.
    """
    if experiment.settings.tuning is None:
        contexts = [context_of(experiment, cell, dataset, fingerprint, results)]
        return [Planned(contexts[0], seed) for seed in seeds]
    chosen = tuning.chosen(experiment, results, cell)
    contexts = [context_of(experiment, cell, dataset, fingerprint, results, one) for one in chosen]
    return [Planned(contexts[tuning.search_of(experiment, seed)], seed) for seed in seeds]


def train_block(experiment: Experiment, cell: Cell, block: int, results: Path) -> Path:
    """Train what is missing of a block and write its manifest; returns the manifest's path.

    Runs that are finished under the same key are kept. Bad input is a TcmaxError and leaves finished runs untouched.
    """
    if not 0 <= block < len(experiment.blocks):
        raise TcmaxError(f"{experiment.name} has blocks 0..{len(experiment.blocks) - 1}, not {block}.")
    if cell.variant not in experiment.settings.variants:
        known = ", ".join(experiment.settings.variants)
        raise TcmaxError(f"{experiment.path}: there is no variant {cell.variant!r}; known: {known}.")
    if cell.dataset not in experiment.settings.datasets:
        known = ", ".join(experiment.settings.datasets)
        raise TcmaxError(f"{experiment.path}: there is no dataset {cell.dataset!r}; known: {known}.")
    arithmetic.fix()  # of what is not loaded yet
    from tcmax.training.loop import pick_device

    arithmetic.check()
    dataset = load_dataset(experiment, cell.dataset)
    device = pick_device(experiment.settings.device)
    fingerprint = dataset.fingerprint()
    check_prepared(results / experiment.name / cell.dataset / "data.json", fingerprint)
    planned = planned_runs(experiment, cell, experiment.blocks[block], dataset, fingerprint, results)
    entries = complete(planned, device, f"{cell.dataset} fold {cell.fold} {cell.variant}")
    manifest = planned[0].folder.parent / f"block_{block}.json"
    write_json(
        manifest,
        {
            "schema_version": MANIFEST_VERSION,
            "experiment": experiment.name,
            "dataset": cell.dataset,
            "fold": cell.fold,
            "variant": cell.variant,
            "block": block,
            "runs": entries,
        },
    )
    return manifest


def complete(planned: Sequence[Planned], device: Any, title: str) -> list[dict[str, Any]]:
    """Manifest entries of runs on one dataset, in order; what is missing of them is trained, together where it can be.

    Paths in an entry start at the folder that the run's own stands in.
    """
    from tcmax.training.loading import hold
    from tcmax.training.loop import train_side_by_side

    experiment, dataset = planned[0].context.experiment, planned[0].context.dataset

    @cache  # taken when the first run needs it
    def residence() -> "Residence":
        return hold(dataset, device, experiment.settings.residence)

    groups: dict[Any, list[Planned]] = {}
    for run in planned:
        spec = run.context.spec
        if not train_side_by_side(spec, dataset):
            together: Any = run
        else:
            together = spec.beside() if run.context.own_settings else id(spec)
        groups.setdefault(together, []).append(run)
    entries: dict[Planned, dict[str, Any]] = {}
    with ProgressLine(title, len(planned)) as progress:
        for group in groups.values():
            entries |= _complete(group, device, residence, progress)
    return [entries[run] for run in planned]


def _complete(
    planned: Sequence[Planned], device: Any, residence: Callable[[], "Residence"], progress: ProgressLine
) -> dict[Planned, dict[str, Any]]:
    """Manifest entries of runs that may train together; what is missing of them is trained under their locks."""
    entries: dict[Planned, dict[str, Any]] = {}
    with contextlib.ExitStack() as locks:
        for run in planned:
            locks.enter_context(run_lock(run.folder))
            entry = _finished(run)
            if entry is not None:
                entries[run] = entry
                progress.advance(f"seed {run.seed} kept")
        for waiting in _at_one_epoch([run for run in planned if run not in entries]):
            for run, entry in zip(waiting, _train(waiting, device, residence(), progress), strict=True):
                entries[run] = entry
                progress.advance(f"seed {run.seed} {entry['status']}")
    return entries


def check_prepared(path: Path, fingerprint: str) -> None:
    if path.is_file() and read_json(path).get("fingerprint") != fingerprint:
        raise TcmaxError(f"{path} describes other data than is loaded now; run `tcmax prepare` again.")


def _finished(run: Planned) -> dict[str, Any] | None:
    """The manifest entry of a run that is complete under the current key, else None."""
    folder = run.folder
    try:
        record = read_json(folder / "run.json")
    except TcmaxError:
        return None
    if not isinstance(record, dict) or record.get("run_key") != run.key:
        return None
    entry = _entry(record)
    for described in entry["files"].values():
        path = folder.parent / described["path"]
        if not path.is_file() or sha256(path) != described["sha256"]:
            return None
    return entry


def _entry(record: dict[str, Any]) -> dict[str, Any]:
    """A run as its block's manifest lists it; paths are relative to the manifest's folder."""
    seed = record["seed"]
    files = {
        name: {"path": f"seed_{seed}/{described['path']}", "sha256": described["sha256"]}
        for name, described in record["files"].items()
    }
    return {
        "seed": seed,
        "run_key": record["run_key"],
        "arithmetic": record["arithmetic"],
        "status": record["status"],
        "epoch": record["diverged_epoch"],
        "files": files,
    }


def _at_one_epoch(planned: list[Planned]) -> list[list[Planned]]:
    """Runs that can go on together: those whose checkpoints, if any, are of one epoch."""
    from tcmax.training import checkpoint

    groups: dict[int, list[Planned]] = {}
    for run in planned:
        for leftover in run.folder.glob(".*.tmp"):  # of a writer that was killed; the lock says that it is gone
            leftover.unlink(missing_ok=True)
        groups.setdefault(checkpoint.epoch_of(run.folder / CHECKPOINT, run.key), []).append(run)
    return list(groups.values())


def _train(
    planned: list[Planned], device: Any, residence: "Residence", progress: ProgressLine
) -> Iterator[dict[str, Any]]:
    """Train these runs together and write them, one after another; yields their manifest entries."""
    from tcmax.training import checkpoint
    from tcmax.training.loop import Runs

    context, seeds = planned[0].context, [run.seed for run in planned]
    saved, keys = [run.folder / CHECKPOINT for run in planned], [run.key for run in planned]
    started, began = provenance.now(), time.perf_counter()
    spec = [run.context.spec for run in planned] if context.own_settings else context.spec
    runs = Runs(spec, seeds, context.dataset, device, residence, context.keep_weights)
    for place, (path, key) in enumerate(zip(saved, keys, strict=True)):
        checkpoint.restore(path, runs, key, place)
    resumed_from = runs.epoch
    keep = checkpoint.every(context.experiment.settings.checkpoint_seconds, saved, keys)

    def after_epoch(runs: "Runs") -> None:
        keep(runs)
        progress.within(len(seeds) * runs.epoch / runs.epochs)

    results = runs.train(after_epoch)
    sidecar = {
        "started": started,
        "seconds": round((time.perf_counter() - began) / len(seeds), 3),
        "seeds_together": len(seeds),
        "resumed_from_epoch": resumed_from,
        "peak_memory_mib": _peak_memory_mib(device),
        "device": str(device),
        "residence": residence.place,
        "versions": provenance.versions(),
        "hardware": provenance.hardware(),
        "arithmetic": arithmetic.record(_gpu(device)),
        "claims_sha256": claims_hash(context.experiment),
    }
    for run, path, result in zip(planned, saved, results, strict=True):
        record = _write_run(run.context, run.seed, run.key, result, sidecar)
        path.unlink(missing_ok=True)
        yield _entry(record)


def _write_run(context: Context, seed: int, key: str, result: "RunResult", sidecar: dict[str, Any]) -> dict[str, Any]:
    """Write predictions, history and sidecar, and last the record that makes them a finished run."""
    from tcmax.training.loop import describe

    folder, cell = context.folder(seed), context.cell
    common = {"dataset": cell.dataset, "fold": cell.fold, "variant": cell.variant, "seed": seed}
    files: dict[str, Path] = {}
    for rule, selected in sorted(result.selected.items()):
        path = folder / f"predictions_{rule}.parquet"
        columns = prediction_columns(context, selected.logits)
        parquet.write(
            path,
            kinds.PREDICTIONS,
            {**common, "run_key": key, **columns},
            {
                "selection": rule,
                "readout": result.method.readout,
                "epochs": selected.epochs,
                "classes": list(context.dataset.class_names),
            },
        )
        files[f"predictions_{rule}"] = path
    history = folder / "history.parquet"
    epochs, quantities, values = (list(column) for column in zip(*result.history, strict=True))
    parquet.write(
        history, kinds.HISTORY, {**common, "epoch": epochs, "quantity": quantities, "value": values}, {"run_key": key}
    )
    files["history"] = history
    if result.weights:
        files["weights"] = folder / WEIGHTS
        _write_weights(files["weights"], result.weights)
    write_json(folder / "sidecar.json", sidecar)
    record = {
        "schema_version": MANIFEST_VERSION,
        "run_key": key,
        "experiment": context.experiment.name,
        "variant": cell.variant,
        "seed": seed,
        "settings": context.spec.resolved(),
        "half_precision_logits": context.experiment.settings.half_precision_logits,
        "arithmetic": sidecar["arithmetic"]["mode"],
        "data": context.fingerprint,
        "code": context.code,
        "facts": describe(context.spec, context.dataset),
        "status": "finished" if result.diverged_epoch is None else "diverged",
        "diverged_epoch": result.diverged_epoch,
        "nonfinite_losses": result.nonfinite_losses,
        "files": {name: {"path": path.name, "sha256": sha256(path)} for name, path in sorted(files.items())},
    }
    write_json(folder / "run.json", record)
    for stale in set(folder.glob("predictions_*.parquet")) - set(files.values()):  # of a run under another key
        stale.unlink()
    return record


def _write_weights(path: Path, weights: "Mapping[str, Weights]") -> None:
    """Arrays by unit and name, in NumPy's own format: reading them runs no code."""
    import numpy as np

    arrays: dict[str, Any] = {f"{unit}/{name}": v.numpy() for unit, of in weights.items() for name, v in of.items()}
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)


def read_weights(path: Path) -> "dict[str, Weights]":
    """Unit -> name -> tensor, as `train_trials` left them. Raises TcmaxError where the file is missing or damaged."""
    import zipfile

    import numpy as np
    import torch

    weights: dict[str, Weights] = {}
    try:
        with explained("read", path), np.load(path, allow_pickle=False) as arrays:
            for key in arrays.files:
                unit, _, name = key.partition("/")
                weights.setdefault(unit, {})[name] = torch.from_numpy(arrays[key])
    except (ValueError, zipfile.BadZipFile) as error:
        raise TcmaxError(f"{path} holds no weights ({error}); delete its folder and train it again.") from error
    return weights


def prediction_columns(context: Context, logits: dict[str, Any]) -> dict[str, Any]:
    import numpy as np

    dataset, fold = context.dataset, context.spec.parts(context.dataset)
    rows = np.concatenate([fold.val, fold.test])
    half = context.experiment.settings.half_precision_logits or dataset.n_classes > 50
    columns: dict[str, Any] = {
        "split": ["val"] * len(fold.val) + ["test"] * len(fold.test),
        "item": dataset.items[rows].tolist(),
        "label": dataset.labels[rows],
    }
    for name, ids in dataset.groups.items():
        columns[f"group_{name}"] = ids[rows].tolist()
    for name, values in logits.items():
        columns[f"logits_{name}"] = _storable(values, np.float16 if half else np.float32)
    return columns


def _storable(values: Any, dtype: Any) -> Any:
    """Logits in the stored precision; larger ones than half precision holds (65504) are clipped to it."""
    import numpy as np

    limit = np.finfo(dtype).max
    return np.clip(values, -limit, limit).astype(dtype)


def _gpu(device: Any) -> str | None:
    """The name of the GPU that computes, if one does."""
    if device.type != "cuda":
        return None
    import torch

    return str(torch.cuda.get_device_name(device))


def _peak_memory_mib(device: Any) -> float:
    """Peak memory so far, in MiB: allocated on a GPU, else resident in this process."""
    if device.type == "cuda":
        import torch

        return round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    import resource

    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
