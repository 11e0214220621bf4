"""The score stage: PREDICTIONS of every run on one dataset to ITEM SCORES, SCORES and HISTORY.

Every predictions file is checked against its block's manifest (hash, run key, grid cell) before it counts, so no
number exists without the predictions it came from. Runs are read one at a time and items written one (variant,
selection) at a time: memory is that of one variant, whatever their number.

Folds: a seed's test set is the union of the folds' test parts, each item once. Temperatures are fitted per fold, on its
validation items; the pooled one is the geometric mean. SCORES has the pooled rows (no fold), and with several folds
those of each fold as well. A seed of which one fold diverged has diverged: its items are left out, its finished
folds keep their rows in SCORES.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tcmax.errors import TcmaxError
from tcmax.metrics import METRICS
from tcmax.metrics.accuracy import balanced_accuracy, macro_f1, predict
from tcmax.metrics.calibration import brier, confidence, fit_temperature, nll, reliability
from tcmax.metrics.divergence import js_divergence, js_pairwise, to_bits
from tcmax.metrics.entropy import entropy, entropy_ratio, logit_scale, weak_and_strong
from tcmax.metrics.readout import JOINT_READOUTS, energy_weighted, energy_weights, entropy_gated
from tcmax.metrics.softmax import Forecast, Logits, checked, forecast_of
from tcmax.records import arithmetic, kinds, parquet
from tcmax.records.files import atomic_path, read_json, sha256
from tcmax.records.manifests import MANIFEST_VERSION

Floats = NDArray[np.float64]
T = TypeVar("T")

SELECTIONS = ("last", "best_val", "best_test_oracle")
_PREDICTIONS = "predictions_"
_RESERVED = frozenset({"own", "all", *JOINT_READOUTS})


@dataclass(frozen=True)
class _Run:
    """One run as its block's manifest lists it."""

    manifest: Path
    command: str  # what builds it again
    dataset: str
    fold: int
    variant: str
    seed: int
    run_key: str
    diverged: bool
    arithmetic: str | None  # None for runs made elsewhere
    files: dict[str, tuple[Path, str]]  # name -> path, sha256

    def __str__(self) -> str:
        return f"{self.dataset}, fold {self.fold}, {self.variant}, seed {self.seed}"

    def file(self, name: str) -> Path:
        """A file of this run, after its bytes were found to be those that training wrote."""
        if name not in self.files:
            raise TcmaxError(f"{self.manifest} lists no {name} for seed {self.seed}; build it with `{self.command}`.")
        path, expected = self.files[name]
        if not path.is_file():
            raise TcmaxError(f"{path} ({self}) does not exist; build it again with `{self.command}`.")
        if sha256(path) != expected:
            raise TcmaxError(
                f"{path} ({self}) is not the file that its manifest lists: its bytes have changed; build it again with "
                f"`{self.command}`."
            )
        return path


@dataclass(frozen=True)
class _Items:
    """The items of one fold, as its predictions files list them.

    val, test   rows of the validation and of the test items, each sorted by item
    labels      (rows,)
    tested      (I,) the test items, sorted; groups: name -> (I,)
    """

    val: NDArray[np.intp]
    test: NDArray[np.intp]
    labels: NDArray[np.intp]
    tested: NDArray[np.str_]
    groups: dict[str, NDArray[np.str_]]


@dataclass(frozen=True)
class _Predictions:
    """Checked predictions of one run under one selection rule. logits: read-out -> (rows, classes) float32."""

    own: str
    classes: tuple[str, ...]
    modalities: tuple[str, ...]
    items: _Items
    logits: dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class _Scored:
    """Scores of the test items of one run: of one fold, or of all folds pooled.

    items      (I,) sorted
    columns    "metric.readout" -> (I,); all metrics, more than ITEM SCORES keeps
    values     "metric.readout" -> number, for what is no mean over items
    """

    items: NDArray[np.str_]
    labels: NDArray[np.intp]
    folds: NDArray[np.int64]
    groups: dict[str, NDArray[np.str_]]
    columns: dict[str, Floats]
    values: dict[str, float]


def score(
    manifests: Sequence[Path],
    reference_variant: str | None,
    items_out: Path,
    scores_out: Path,
    history_out: Path,
) -> None:
    """Score every run of one dataset that the block manifests list; writes ITEM SCORES, SCORES and HISTORY.

    reference_variant: whose unimodal accuracies say which modality is weak and which strong; None: no `entropy_ratio`.
    Variants stand in the order of the manifests, seeds and items sorted; equal inputs give equal bytes.

    Raises TcmaxError naming file and run when a predictions file is missing, altered, of another run or contradicts
    the others (test items, labels, classes, read-outs); when the grid has holes; when no run finished.
    """
    grid = _Grid.of(manifests)
    if reference_variant is not None and reference_variant not in grid.variants:
        raise TcmaxError(
            f"{reference_variant!r} is to tell weak from strong modalities, but {grid.dataset} has only "
            f"{', '.join(grid.variants)}."
        )
    history = _history(grid)
    scores = _Scores(grid, reference_variant)
    _write_items(items_out, _item_tables(grid, scores))
    scores.write(scores_out)
    parquet.write(history_out, kinds.HISTORY, history)


# ---- what is to be scored


@dataclass(frozen=True)
class _Grid:
    """The runs on one dataset, without holes.

    variants     in the order of the manifests
    seeds        variant -> its seeds, ascending
    diverged     variant -> those of them that diverged in at least one fold
    own          variant -> the read-out that is its own joint prediction; none where every run diverged
    """

    dataset: str
    variants: tuple[str, ...]
    seeds: dict[str, list[int]]
    folds: list[int]
    selections: list[str]
    diverged: dict[str, list[int]]
    own: dict[str, str]
    runs: dict[tuple[str, int, int], _Run]

    @classmethod
    def of(cls, manifests: Sequence[Path]) -> "_Grid":
        listed = [run for path in manifests for run in _listed(Path(path))]
        datasets = sorted({run.dataset for run in listed})
        if len(datasets) > 1:
            raise TcmaxError(f"one dataset is scored at a time; the block manifests are of {' and '.join(datasets)}.")
        runs: dict[tuple[str, int, int], _Run] = {}
        for run in listed:
            cell = (run.variant, run.seed, run.fold)
            if cell in runs:
                raise TcmaxError(f"{runs[cell].manifest} and {run.manifest} both list the run {run}.")
            runs[cell] = run
        if not runs:
            raise TcmaxError("there is no run to score: the block manifests list none.")
        arithmetic.refuse_mixed(((str(run), run.arithmetic) for run in runs.values()), datasets[0])
        variants = tuple(dict.fromkeys(variant for variant, _, _ in runs))
        seeds = {variant: sorted({seed for label, seed, _ in runs if label == variant}) for variant in variants}
        folds = sorted({fold for _, _, fold in runs})
        diverged: dict[str, list[int]] = {}
        for variant in variants:
            for seed in seeds[variant]:
                missing = [fold for fold in folds if (variant, seed, fold) not in runs]
                if missing:
                    raise TcmaxError(
                        f"seed {seed} of {variant} lacks fold {missing[0]} of {datasets[0]}, which other runs have; "
                        "train it first."
                    )
            diverged[variant] = [
                seed for seed in seeds[variant] if any(runs[variant, seed, fold].diverged for fold in folds)
            ]
        if all(diverged[variant] == seeds[variant] for variant in variants):
            raise TcmaxError(f"every run on {datasets[0]} diverged, in one fold at least: there is nothing to score.")
        finished = [run for run in runs.values() if not run.diverged]
        found = {name for run in finished for name in run.files if name.startswith(_PREDICTIONS)}
        selections = sorted((name.removeprefix(_PREDICTIONS) for name in found), key=_rank)
        if not selections:
            raise TcmaxError(f"{finished[0].manifest} lists no predictions; build them with `{finished[0].command}`.")
        own: dict[str, str] = {}
        for run in finished:
            if run.variant not in own:
                header = parquet.header(run.file(_PREDICTIONS + selections[0]))
                own[run.variant] = str(header.get("readout", "joint"))
        return cls(datasets[0], variants, seeds, folds, selections, diverged, own, runs)


def _listed(manifest: Path) -> list[_Run]:
    """The runs of one block manifest."""
    if not manifest.is_file():
        raise TcmaxError(f"{manifest} does not exist: this block has not been trained; `tcmax train` writes it.")
    content = read_json(manifest)
    try:
        if content["schema_version"] != MANIFEST_VERSION:
            raise TcmaxError(f"{manifest} has schema version {content['schema_version']}; train its block again.")
        command = (
            f"tcmax train {content['experiment']} --dataset {content['dataset']} --variant {content['variant']} "
            f"--fold {content['fold']} --block {content['block']}"
        )
        return [
            _Run(
                manifest=manifest,
                command=command,
                dataset=content["dataset"],
                fold=content["fold"],
                variant=content["variant"],
                seed=entry["seed"],
                run_key=entry["run_key"],
                diverged=entry["status"] == "diverged",
                arithmetic=entry.get("arithmetic"),
                files={name: (manifest.parent / at["path"], at["sha256"]) for name, at in entry["files"].items()},
            )
            for entry in content["runs"]
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise TcmaxError(f"{manifest} is no block manifest ({type(error).__name__}: {error}).") from error


def _history(grid: _Grid) -> dict[str, list[Any]]:
    """The columns of all runs' histories, diverged runs included."""
    tables = []
    for variant in grid.variants:
        for seed in grid.seeds[variant]:
            for fold in grid.folds:
                run = grid.runs[variant, seed, fold]
                path = run.file("history")
                if parquet.header(path).get("run_key") != run.run_key:
                    raise TcmaxError(f"{path} ({run}) belongs to another run key than its manifest says.")
                tables.append(parquet.read(path, kinds.HISTORY).replace_schema_metadata(None))
    table = pa.concat_tables(tables)
    return {name: table[name].to_numpy() for name in kinds.HISTORY.columns}


class _Reader:
    """Reads predictions files. What they say of a fold's items is the same in nearly all of them, and decoded once."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[pa.Table, _Items]] = {}

    def read(self, run: _Run, selection: str) -> _Predictions:
        """The checked predictions of a run. Raises TcmaxError naming file and run."""
        path = run.file(_PREDICTIONS + selection)
        table = parquet.read(path, kinds.PREDICTIONS)
        header = parquet.header_of(table)
        expected = {
            "dataset": run.dataset,
            "fold": run.fold,
            "variant": run.variant,
            "seed": run.seed,
            "run_key": run.run_key,
        }
        for name, value in expected.items():
            found = table[name].unique().to_pylist()
            if found != [value]:
                raise TcmaxError(f"{path} ({run}): its {name} is {found}, its manifest says {value!r}.")
        if header.get("selection") != selection:
            raise TcmaxError(f"{path} ({run}) holds the selection rule {header.get('selection')!r}, not {selection!r}.")
        items = self._items(run, path, table)
        readouts = parquet.readouts(table)
        own, classes = header.get("readout", "joint"), header.get("classes", [])
        stored = own == "own" and own in readouts  # a read-out of its own that no rule here could derive
        modalities = tuple(name for name in readouts if name != "joint" and not (stored and name == "own"))
        reserved = sorted(_RESERVED.intersection(modalities))
        if "joint" not in readouts or reserved:
            problem = f"a modality may not be called {reserved[0]!r}" if reserved else "it has no joint logits"
            raise TcmaxError(f"{path} ({run}): {problem}.")
        if not stored and own not in (JOINT_READOUTS if modalities else ("joint",)):
            raise TcmaxError(f"{path} ({run}): its own read-out is {own!r}, which cannot be computed from its logits.")
        logits = {name: parquet.logits(table, name) for name in readouts}
        if len(classes) != logits["joint"].shape[1]:
            raise TcmaxError(
                f"{path} ({run}): its header names {len(classes)} classes, its logits have {logits['joint'].shape[1]}."
            )
        return _Predictions(own, tuple(classes), modalities, items, logits)

    def _items(self, run: _Run, path: Path, table: pa.Table) -> _Items:
        groupings = [name for name in table.column_names if name.startswith("group_")]
        columns = table.select(["split", "item", "label", *groupings])
        known = self._known.get(run.fold)
        if known is not None and columns.equals(known[0]):
            return known[1]
        splits = np.array(table["split"].to_pylist())
        if not np.isin(splits, ("val", "test")).all() or not (splits == "test").any():
            raise TcmaxError(f"{path} ({run}): its splits are {sorted(set(splits.tolist()))}, not val and test.")
        items = np.array(table["item"].to_pylist(), dtype=np.str_)
        if len(np.unique(items)) != len(items):
            raise TcmaxError(
                f"{path} ({run}): an item is both in val and in test, so temperatures would be fitted on it."
            )
        order = np.argsort(items)
        test = order[splits[order] == "test"]
        found = _Items(
            val=order[splits[order] == "val"],
            test=test,
            labels=table["label"].to_numpy().astype(np.intp),
            tested=items[test],
            groups={
                name.removeprefix("group_"): np.array(table[name].to_pylist(), dtype=np.str_)[test]
                for name in groupings
            },
        )
        self._known[run.fold] = columns, found
        return found


class _Common:
    """What all runs of a dataset share, taken from the first one and checked against the others."""

    def __init__(self) -> None:
        self._first: dict[str, tuple[_Run, Any]] = {}

    def __getitem__(self, name: str) -> Any:
        return self._first[name][1]

    def check(self, run: _Run, predictions: _Predictions) -> None:
        """Compare what a predictions file says of the dataset."""
        self._same(run, "classes", predictions.classes)
        self._same(run, "modalities", predictions.modalities)
        self._same(run, "groupings", tuple(predictions.items.groups))
        self._same(run, "presence of validation items", bool(len(predictions.items.val)))

    def check_items(self, run: _Run, scored: _Scored) -> None:
        """Compare the test items of one seed, all folds pooled."""
        shared = {
            "test items": scored.items,
            "labels": scored.labels,
            "folds of the items": scored.folds,
            **{f"groups ({name})": values for name, values in scored.groups.items()},
        }
        for name, values in shared.items():
            self._same(run, name, values)

    def _same(self, run: _Run, name: str, value: Any) -> None:
        first, expected = self._first.setdefault(name, (run, value))
        if expected is not value and not np.array_equal(expected, value):
            raise TcmaxError(f"runs on {run.dataset} differ in their {name}: ({first}) against ({run}).")


# ---- one run


def _scored(predictions: _Predictions, fold: int) -> _Scored:
    """Scores of one fold's test items, sorted by item."""
    items, test = predictions.items, predictions.items.test
    temperatures = {}
    if len(items.val):
        temperatures = {
            readout: fit_temperature(logits, items.labels[items.val])
            for names, forecasts in _readouts(predictions, items.val)
            for readout, logits in zip(names, checked(forecasts), strict=True)
        }
    # Items in blocks whose logits stay in the processor's cache: twice as fast, and no large copies.
    size = max(1, 2**16 // (len(predictions.classes) * len(predictions.logits)))
    blocks = [
        _item_columns(predictions, rows, {readout: fitted.value for readout, fitted in temperatures.items()})
        for rows in (test[start : start + size] for start in range(0, len(test), size))
    ]
    columns = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    columns |= _as_own(columns, predictions.own)
    values: dict[str, float] = {}
    for readout, fitted in temperatures.items():
        values[f"log_temperature.{readout}"] = math.log(fitted.value)
        values[f"temperature_at_bound.{readout}"] = float(fitted.at_bound)
    return _Scored(
        items=items.tested,
        labels=items.labels[test],
        folds=np.full(len(test), fold, np.int64),
        groups=items.groups,
        columns={name: columns[name] for name in sorted(columns, key=lambda name: name.endswith(".all"))},
        values=values | _as_own(values, predictions.own),
    )


def _readouts(predictions: _Predictions, rows: NDArray[np.intp]) -> Iterator[tuple[tuple[str, ...], Logits]]:
    """Names and logits (read-outs, rows, classes) of some items: of the modalities, if there are any; then of the
    head's output, the two derived from the modalities, and a stored own."""
    joint: dict[str, NDArray[Any]] = {"joint": predictions.logits["joint"][rows]}
    if predictions.modalities:
        single = forecast_of(np.stack([predictions.logits[name][rows] for name in predictions.modalities]))
        yield predictions.modalities, single
        joint |= {"joint_entropy_gated": entropy_gated(single), "joint_energy_weighted": energy_weighted(single)}
    if "own" in predictions.logits:
        joint["own"] = predictions.logits["own"][rows]
    yield tuple(joint), np.stack([logits.astype(np.float64) for logits in joint.values()])


def _item_columns(
    predictions: _Predictions, rows: NDArray[np.intp], temperatures: Mapping[str, float]
) -> dict[str, Floats]:
    """Every score of some items, "metric.readout" -> (rows,)."""
    labels, modalities = predictions.items.labels[rows], predictions.modalities
    columns: dict[str, Floats] = {}
    between: dict[str, Floats] = {}
    for names, logits in _readouts(predictions, rows):
        forecast, calibrated = forecast_of(logits), None
        predicted = predict(forecast)
        found = {
            "correct": (predicted == labels).astype(np.float64),
            "predicted": predicted.astype(np.float64),
            "nll": nll(forecast, labels),
            "brier": brier(forecast, labels),
            "confidence": confidence(forecast),
            "entropy": entropy(forecast),
            "logit_scale": logit_scale(forecast),
        }
        if temperatures:
            divisors = np.array([temperatures[name] for name in names])
            calibrated = forecast_of(forecast.logits / divisors[:, np.newaxis, np.newaxis])
            found |= {
                "nll_calibrated": nll(calibrated, labels),
                "entropy_calibrated": entropy(calibrated),
                "confidence_calibrated": confidence(calibrated),
            }
        for k, name in enumerate(names):
            columns |= {f"{metric}.{name}": values[k] for metric, values in found.items()}
        if names == modalities:
            between = _between_modalities(forecast, calibrated)
    return columns | between


def _between_modalities(forecast: Forecast, calibrated: Forecast | None) -> dict[str, Floats]:
    """Scores that need the logits of all modalities, "metric.readout" -> (rows,)."""
    negative = (energy_weights(forecast) < 0).any(axis=0)
    columns = {"negative_weights.joint_energy_weighted": np.where(negative, 1.0, 0.0)}
    n_modalities = len(forecast.logits)
    if n_modalities > 1:
        columns["js.all"] = js_divergence(forecast)
        if calibrated is not None:
            columns["js_calibrated.all"] = js_divergence(calibrated)
    if n_modalities > 2:
        columns["js_pairwise.all"] = js_pairwise(forecast)
    return columns


def _as_own(named: dict[str, T], own: str) -> dict[str, T]:
    """What belongs to a variant's own joint read-out, under the name "own".

    Only what every read-out has: variants differ in their own one, and all of them need the same rows.
    """
    split = {name: name.partition(".")[::2] for name in named}
    return {
        f"{metric}.own": named[name]
        for name, (metric, readout) in split.items()
        if readout == own and metric != "negative_weights"
    }


def _pooled(parts: dict[int, _Scored], run: _Run) -> _Scored:
    """All folds of one seed as one test set."""
    scored = list(parts.values())
    if len(scored) == 1:
        return scored[0]
    items = np.concatenate([part.items for part in scored])
    order = np.argsort(items)
    items = items[order]
    twice = items[1:][items[1:] == items[:-1]]
    if len(twice):
        raise TcmaxError(
            f"the item {str(twice[0])!r} of {run.dataset} is in the test part of more than one fold "
            f"({run.variant}, seed {run.seed}); pooled folds hold each item once."
        )

    def joined(columns: Iterable[NDArray[Any]]) -> NDArray[Any]:
        return np.concatenate(list(columns))[order]

    return _Scored(
        items=items,
        labels=joined(part.labels for part in scored),
        folds=joined(part.folds for part in scored),
        groups={name: joined(part.groups[name] for part in scored) for name in scored[0].groups},
        columns={name: joined(part.columns[name] for part in scored) for name in scored[0].columns},
        values={name: float(np.mean([part.values[name] for part in scored])) for name in scored[0].values},
    )


# ---- what is written


def _item_tables(grid: _Grid, scores: "_Scores") -> Iterator[pa.Table]:
    """ITEM SCORES, one table per (variant, selection); what each run adds to `scores` goes there on the way."""
    common, reader = _Common(), _Reader()
    for variant in grid.variants:
        for selection in grid.selections:
            finished: list[tuple[int, _Scored]] = []
            for seed in grid.seeds[variant]:
                parts = {}
                for fold in grid.folds:
                    run = grid.runs[variant, seed, fold]
                    if not run.diverged:
                        predictions = reader.read(run, selection)
                        common.check(run, predictions)
                        if predictions.own != grid.own[variant]:
                            raise TcmaxError(
                                f"{run}: its own read-out is {predictions.own}, that of other runs of {variant} is "
                                f"{grid.own[variant]}."
                            )
                        parts[fold] = _scored(predictions, fold)
                pooled = _pooled(parts, run) if len(parts) == len(grid.folds) else None
                scores.add(variant, seed, selection, parts, pooled)
                if pooled is not None:
                    common.check_items(run, pooled)
                    finished.append((seed, pooled))
            if finished:
                yield _item_table(grid, variant, selection, finished, common)


def _item_table(
    grid: _Grid, variant: str, selection: str, runs: list[tuple[int, _Scored]], common: _Common
) -> pa.Table:
    """ITEM SCORES of the finished runs of a variant under one selection rule."""

    def joined(columns: Iterable[NDArray[Any]]) -> NDArray[Any]:
        return np.concatenate(list(columns))

    columns: dict[str, Any] = {
        "dataset": grid.dataset,
        "fold": joined(part.folds for _, part in runs),
        "variant": variant,
        "seed": joined(np.full(len(part.items), seed) for seed, part in runs),
        "selection": selection,
        "item": joined(part.items for _, part in runs).tolist(),
        "label": joined(part.labels for _, part in runs),
    }
    first = runs[0][1]
    for name in first.groups:
        columns[f"group_{name}"] = joined(part.groups[name] for _, part in runs).tolist()
    for name in _stored(first.columns):
        columns[f"score_{name}"] = joined(part.columns[name] for _, part in runs)
    header = {
        "variants": list(grid.variants),
        "selections": grid.selections,
        "modalities": list(common["modalities"]),
        "classes": list(common["classes"]),
        "diverged": grid.diverged,
        "own": grid.own,
    }
    return parquet.build(kinds.ITEM_SCORES, columns, header)


def _write_items(path: Path, tables: Iterator[pa.Table]) -> None:
    """Write validated tables as row groups of one record, so that they are never in memory together."""
    with atomic_path(path) as temporary:
        first = next(tables)
        texts = [field.name for field in first.schema if not pa.types.is_floating(field.type)]
        with pq.ParquetWriter(temporary, first.schema, compression="zstd", use_dictionary=texts) as writer:
            for table in chain([first], tables):
                writer.write_table(table, row_group_size=table.num_rows)


def _stored(names: Iterable[str]) -> list[str]:
    """The columns that ITEM SCORES keeps, by read-out."""
    kept = {metric.item_column for metric in METRICS.values()}
    return [name for name in names if name.partition(".")[0] in kept]


class _Scores:
    """SCORES: the rows of each run, and at the end those that need all variants."""

    def __init__(self, grid: _Grid, reference_variant: str | None) -> None:
        self.grid, self.reference = grid, reference_variant
        # (fold or None for all pooled, variant, seed, selection) -> {"metric.readout": value}, items scored
        self._runs: dict[tuple[int | None, str, int, str], tuple[dict[str, float], int]] = {}

    def add(self, variant: str, seed: int, selection: str, parts: dict[int, _Scored], pooled: _Scored | None) -> None:
        """One seed: its finished folds, and all folds pooled where every one finished."""
        wholes: dict[int | None, _Scored | None] = {None: pooled}
        if len(self.grid.folds) > 1:
            wholes |= {fold: parts.get(fold) for fold in self.grid.folds}
        for fold, scored in wholes.items():
            values = {} if scored is None else _run_values(scored)
            values["diverged.joint"] = float(scored is None)
            self._runs[fold, variant, seed, selection] = (values, 0 if scored is None else len(scored.items))

    def write(self, path: Path) -> None:
        weak_strong = self._add_ratios()
        place = {name: k for k, name in enumerate(METRICS)}
        rows: list[tuple[Any, ...]] = []
        for variant in self.grid.variants:
            for seed in self.grid.seeds[variant]:
                for fold in [None, *self.grid.folds] if len(self.grid.folds) > 1 else [None]:
                    for selection in self.grid.selections:
                        values, n_items = self._runs[fold, variant, seed, selection]
                        cell = (self.grid.dataset, fold, variant, seed, selection)
                        readouts = list(dict.fromkeys(name.partition(".")[2] for name in values))
                        found = [(*name.partition(".")[::2], value) for name, value in values.items()]
                        found.sort(key=lambda row: (readouts.index(row[1]), place[row[0]]))
                        rows += [(*cell, readout, metric, value, n_items) for metric, readout, value in found]
        columns = {
            name: list(column) for name, column in zip(kinds.SCORES.columns, zip(*rows, strict=True), strict=True)
        }
        header = {"reference_variant": self.reference, "weak_and_strong": weak_strong}
        parquet.write(path, kinds.SCORES, columns, header)

    def _add_ratios(self) -> dict[str, dict[str, tuple[str, str]]]:
        """Add ρ to every run; returns selection -> variant -> (weak, strong) modality by that variant's accuracies."""
        accuracies: dict[tuple[str, str], list[dict[str, float]]] = {}
        for (fold, variant, _, selection), (values, n_items) in self._runs.items():
            if fold is None and n_items:
                accuracies.setdefault((selection, variant), []).append(
                    {
                        name.removeprefix("accuracy."): value
                        for name, value in values.items()
                        if name.startswith("accuracy.") and name.removeprefix("accuracy.") not in _RESERVED
                    }
                )
        assigned: dict[str, dict[str, tuple[str, str]]] = {selection: {} for selection in self.grid.selections}
        for (selection, variant), found in accuracies.items():
            if len(found[0]) > 1:
                means = {name: float(np.mean([run[name] for run in found])) for name in found[0]}
                assigned[selection][variant] = weak_and_strong(means)
        for (_, variant, _, selection), (values, _) in self._runs.items():
            for metric, of, by in (
                ("entropy_ratio", "entropy", self.reference),
                ("entropy_ratio_own", "entropy", variant),
                ("entropy_ratio_calibrated", "entropy_calibrated", self.reference),
            ):
                weak, strong = assigned[selection].get(by or "", ("", ""))
                if f"{of}.{weak}" in values:
                    ratio = entropy_ratio(values[f"{of}.{weak}"], values[f"{of}.{strong}"])
                    values[f"{metric}.all"] = math.nan if ratio is None else ratio  # stored as missing
        return assigned


def _run_values(scored: _Scored) -> dict[str, float]:
    """Every number of SCORES that one run yields by itself, as "metric.readout"."""
    columns = scored.columns
    readouts = list(dict.fromkeys(name.partition(".")[2] for name in columns if name.startswith("correct.")))
    calibrated = [readout for readout in readouts if f"confidence_calibrated.{readout}" in columns]

    def of(metric: str, readouts: Sequence[str]) -> Floats:
        """(read-outs, items)"""
        return np.stack([columns[f"{metric}.{readout}"] for readout in readouts])

    means = {metric.item_column or name: name for name, metric in METRICS.items()}
    averaged = [name for name in columns if name.partition(".")[0] in means]
    values: dict[str, float] = {}
    for name, mean in zip(averaged, np.stack([columns[name] for name in averaged]).mean(axis=1), strict=True):
        metric, _, readout = name.partition(".")
        values[f"{means[metric]}.{readout}"] = float(mean)
    predicted = of("predicted", readouts).astype(np.intp)
    curves = reliability(of("confidence", readouts), of("correct", readouts))
    found = {
        "balanced_accuracy": balanced_accuracy(predicted, scored.labels),
        "macro_f1": macro_f1(predicted, scored.labels),
        "ece": curves.ece,
        "ece_if_calibrated": curves.ece_if_calibrated,
    }
    for metric, by_readout in found.items():
        values |= {f"{metric}.{name}": float(value) for name, value in zip(readouts, by_readout, strict=True)}
    if calibrated:
        mended = reliability(of("confidence_calibrated", calibrated), of("correct", calibrated))
        for readout, value in zip(calibrated, mended.ece, strict=True):
            values[f"ece_calibrated.{readout}"] = float(value)
            values[f"temperature.{readout}"] = math.exp(scored.values[f"log_temperature.{readout}"])
            values[f"temperature_at_bound.{readout}"] = scored.values[f"temperature_at_bound.{readout}"]
    if "js.all" in columns:
        values["js_bits.all"] = float(to_bits(columns["js.all"].mean()))
    return values


def _rank(selection: str) -> tuple[int, str]:
    """Selection rules in their usual order, unknown ones last."""
    return (SELECTIONS.index(selection) if selection in SELECTIONS else len(SELECTIONS), selection)
