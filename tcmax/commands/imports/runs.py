"""Somebody else's files as runs, after every check without which a number could be wrong.

Each problem is a TcmaxError with one sentence that names the file, the column or the run. Nothing is repaired in
silence: a choice that a reader should know becomes a note.
"""

import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tcmax.commands.imports.mapping import PLACEHOLDERS, Mapping, Named, Variant, named
from tcmax.errors import TcmaxError
from tcmax.metrics import METRICS
from tcmax.records.files import explained

Array = NDArray[Any]
Key = tuple[str, int, str, int]  # dataset, fold, variant, seed

_SPLITS = {"test": "test", "eval": "test", "val": "val", "valid": "val", "validation": "val", "dev": "val"}
_SAY = "say with `precision` which one they are to be stored in."
_NO_NUMBER = (
    "is missing, NaN or infinite (a run that diverged has no rows here; name its variant and seed under `diverged`)"
)
_TOLERANCE = 1e-3  # how far printed probabilities may be from a sum of 1


@dataclass(frozen=True)
class Run:
    """One run, rows in the order of `items` (validation first, each part sorted).

    where     the file it was read from
    split     (N,) "val" or "test"; items (N,) ids; labels (N,) class numbers; groups name -> (N,)
    logits    read-out -> (N, classes) as they will be stored; correct (N,) 0 or 1, predicted (N,), where there are none
    values    metric -> (N,) numbers of whole runs, one row each; sizes: (N,) test items behind them
    """

    where: str
    split: Array
    items: Array
    labels: Array
    groups: dict[str, Array]
    logits: dict[str, Array]
    correct: Array | None = None
    predicted: Array | None = None
    values: dict[str, Array] = field(default_factory=dict)
    sizes: Array = field(default_factory=lambda: np.zeros(0, np.int64))


@dataclass(frozen=True)
class Foreign:
    """Everything that was read: runs by key, names in their order, classes, and notes for the reader.

    diverged: keys of runs that ended without a prediction.
    """

    runs: dict[Key, Run]
    diverged: frozenset[Key]
    datasets: tuple[Named, ...]
    variants: tuple[Named, ...]
    classes: tuple[str, ...]
    files: tuple[Path, ...]
    notes: tuple[str, ...]

    def keys_on(self, dataset: str) -> list[Key]:
        """Runs on a dataset, by variant (in order), fold and seed; without those that diverged."""
        return self._ordered(key for key in self.runs if key[0] == dataset)

    def diverged_on(self, dataset: str) -> list[Key]:
        """Runs on a dataset that diverged, in the same order."""
        return self._ordered(key for key in self.diverged if key[0] == dataset)

    def _ordered(self, keys: Iterable[Key]) -> list[Key]:
        place = {variant.label: k for k, variant in enumerate(self.variants)}
        return sorted(keys, key=lambda key: (place[key[2]], key[1], key[3]))


@dataclass(frozen=True)
class _File:
    """One file: its arrays by name, each with one entry (or row) per row of the file, and what its name says."""

    path: Path
    arrays: dict[str, Array]
    from_name: dict[str, str]
    rows: int

    def column(self, name: str, key: str) -> Array:
        """(rows,) or (rows, classes) of a column that the mapping names under `key`."""
        if name not in self.arrays:
            raise TcmaxError(f"{self.path} has no column {name!r} ({key}); it has {', '.join(self.arrays)}.")
        return self.arrays[name]


def read_runs(mapping: Mapping, folder: Path) -> Foreign:
    """Read and check every file of a mapping; `folder` is where its paths start."""
    files = [_read(path, mapping, from_name) for path, from_name in _paths(mapping, folder)]
    classes = _classes(mapping, files)
    datasets: dict[str, Named] = {}
    variants: dict[str, Named] = {}
    pieces: dict[Key, list[Run]] = {}
    dropped = 0
    for file in files:
        split = _splits(file, mapping)
        kept = np.flatnonzero(split != "train")
        dropped += file.rows - len(kept)
        whole = _contents(file, mapping, classes, split)
        for (dataset, fold, variant, seed), rows in _cells(file, mapping, kept):
            key = (_name(datasets, dataset, None), fold, _name(variants, variant, mapping.variants.get(variant)), seed)
            pieces.setdefault(key, []).append(_take(whole, rows))
    unknown = [name for name in mapping.variants if name not in variants]
    if unknown:
        raise TcmaxError(f"variants: no file has a variant {unknown[0]!r}; they have {', '.join(variants)}.")
    ordered = [*mapping.variants, *(name for name in variants if name not in mapping.variants)]
    runs = {key: _joined(key, parts, mapping) for key, parts in pieces.items()}
    found = Foreign(
        runs,
        _diverged(runs, variants, mapping),
        tuple(datasets.values()),
        tuple(variants[name] for name in ordered),
        classes,
        tuple(file.path for file in files),
        (f"{dropped} training rows left out",) if dropped else (),
    )
    found = replace(found, notes=(*found.notes, *_check(found, mapping)))
    return found if mapping.content != "predictions" else _in_one_precision(found, mapping)


def _diverged(runs: dict[Key, Run], variants: dict[str, Named], mapping: Mapping) -> frozenset[Key]:
    """The runs that `diverged` names, in each dataset and fold that their variant has; rows of one are an error."""
    found = set()
    for name, seeds in mapping.diverged.items():
        if name not in variants:
            raise TcmaxError(f"diverged: no file has a variant {name!r}; they have {', '.join(variants)}.")
        label = variants[name].label
        for dataset, fold in {(key[0], key[1]) for key in runs if key[2] == label}:
            for seed in seeds:
                key = (dataset, fold, label, seed)
                if key in runs:
                    raise TcmaxError(f"diverged: the run ({describe(key)}) has rows in {runs[key].where}.")
                found.add(key)
    return frozenset(found)


def describe(key: Key) -> str:
    """A run in words."""
    dataset, fold, variant, seed = key
    return f"{dataset}, fold {fold}, {variant}, seed {seed}"


# --- files -----------------------------------------------------------------------------------------------------------


def _paths(mapping: Mapping, folder: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """Each file that a pattern of the mapping matches, with what its name says; patterns without a match are errors."""
    seen: set[Path] = set()
    for pattern in mapping.files:
        parts = re.split(r"\{(\w+)\}", pattern)
        glob = "*".join(parts[::2])
        expression = "".join(
            re.escape(part).replace(r"\*", "[^/]*") if k % 2 == 0 else f"(?P<{part}>[^/]+?)"
            for k, part in enumerate(parts)
        )
        found = []
        for path in sorted(folder.glob(glob)) if not Path(pattern).is_absolute() else [Path(pattern)]:
            match = re.fullmatch(
                expression, str(path.relative_to(folder)) if not Path(pattern).is_absolute() else pattern
            )
            if match and path.is_file():
                found.append((path, match.groupdict()))
        if not found:
            raise TcmaxError(f"files: nothing matches {pattern!r} in {folder}.")
        for path, from_name in found:
            if path in seen:
                raise TcmaxError(f"files: {path} is matched twice.")
            seen.add(path)
            yield path, from_name


def _read(path: Path, mapping: Mapping, from_name: dict[str, str]) -> _File:
    """A file's arrays, by its ending: .csv, .parquet or .npz."""
    readers = {".csv": _read_csv, ".parquet": _read_parquet, ".npz": _read_npz}
    if path.suffix not in readers:
        raise TcmaxError(f"{path}: results are read from {', '.join(readers)} files.")
    with explained("read", path):
        arrays = readers[path.suffix](path, mapping)
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        few, many = min(lengths, key=lengths.__getitem__), max(lengths, key=lengths.__getitem__)
        raise TcmaxError(f"{path}: {few!r} has {lengths[few]} rows, {many!r} has {lengths[many]}.")
    rows = next(iter(lengths.values()), 0)
    if not rows:
        raise TcmaxError(f"{path} holds no rows.")
    return _File(path, arrays, from_name, rows)


def _read_csv(path: Path, mapping: Mapping) -> dict[str, Array]:
    columns = mapping.columns
    texts = [columns.dataset, columns.variant, columns.split, columns.item, columns.label, columns.prediction]
    as_text = {name: pa.string() for name in (*texts, *mapping.groups.values()) if name is not None}
    try:
        table = pyarrow.csv.read_csv(path, convert_options=pyarrow.csv.ConvertOptions(column_types=as_text))
    except pa.ArrowInvalid as error:
        raise TcmaxError(f"{path} is no table of comma-separated values ({str(error).splitlines()[0]}).") from error
    return _from_table(path, table)


def _read_parquet(path: Path, mapping: Mapping) -> dict[str, Array]:
    try:
        table = pq.ParquetFile(path, memory_map=False).read()
    except (pa.ArrowException, OSError) as error:
        raise TcmaxError(f"{path} is damaged or not a Parquet file ({str(error).splitlines()[0]}).") from error
    return _from_table(path, table)


def _from_table(path: Path, table: pa.Table) -> dict[str, Array]:
    twice = next((name for name in table.column_names if table.column_names.count(name) > 1), None)
    if twice is not None:
        raise TcmaxError(f"{path} has the column {twice!r} twice.")
    arrays: dict[str, Array] = {}
    for name in table.column_names:
        column = table[name].combine_chunks()
        if (
            pa.types.is_list(column.type)
            or pa.types.is_fixed_size_list(column.type)
            or pa.types.is_large_list(column.type)
        ):
            rows = column.to_pylist()
            widths = {len(row) if row is not None else 0 for row in rows}
            if len(widths) > 1:
                raise TcmaxError(f"{path}: the lists in {name!r} have {min(widths)} to {max(widths)} entries.")
            flat = column.flatten().to_numpy(zero_copy_only=False)
            arrays[name] = flat.reshape(len(rows), -1)
        else:
            arrays[name] = column.to_numpy(zero_copy_only=False)
    return arrays


def _read_npz(path: Path, mapping: Mapping) -> dict[str, Array]:
    try:
        with np.load(path, allow_pickle=False) as content:
            return {name: content[name] for name in content.files}
    except (ValueError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise TcmaxError(f"{path} is damaged, or holds Python objects, which are not read ({error}).") from error


# --- columns ---------------------------------------------------------------------------------------------------------


def _text(file: _File, name: str, key: str) -> Array:
    values = file.column(name, key)
    if values.ndim != 1:
        raise TcmaxError(f"{file.path}: {name!r} ({key}) has {values.ndim} dimensions, not one value per row.")
    missing = np.array([value is None or value != value or str(value) == "" for value in values.tolist()])
    if missing.any():
        raise TcmaxError(f"{file.path}, row {int(missing.argmax()) + 1}: {name!r} ({key}) is missing.")
    return np.array([str(value) for value in values.tolist()], dtype=np.str_)


def _whole_numbers(file: _File, name: str, key: str) -> Array:
    texts = _text(file, name, key)
    try:
        return np.array([_whole(text) for text in texts], dtype=np.int64)
    except ValueError:
        bad = next(text for text in texts.tolist() if not _is_whole(text))
        raise TcmaxError(f"{file.path}: {name!r} ({key}) holds {bad!r}, which is no whole number from 0.") from None


def _whole(text: str) -> int:
    value = float(text)
    if value < 0 or value != int(value):
        raise ValueError(text)
    return int(value)


def _is_whole(text: str) -> bool:
    try:
        _whole(text)
    except (ValueError, OverflowError):
        return False
    return True


def _real(file: _File, name: str, key: str) -> Array:
    values = file.column(name, key)
    try:
        numbers = values.astype(np.float64)
    except (TypeError, ValueError):
        raise TcmaxError(f"{file.path}: {name!r} ({key}) holds text where numbers are needed.") from None
    if not np.isfinite(numbers).all():
        row = int(np.argwhere(~np.isfinite(numbers))[0][0])
        raise TcmaxError(f"{file.path}, row {row + 1}: {name!r} ({key}) {_NO_NUMBER}.")
    return numbers


def _splits(file: _File, mapping: Mapping) -> Array:
    """(rows,) "val", "test", or "train" for rows that are left out."""
    if mapping.columns.split is not None:
        texts = _text(file, mapping.columns.split, "columns.split")
    elif "split" in file.from_name:
        texts = np.full(file.rows, file.from_name["split"])
    else:
        return np.full(file.rows, "test")
    known = {**_SPLITS, "train": "train", "training": "train"}
    for text in np.unique(texts).tolist():
        if text.lower() not in known:
            raise TcmaxError(f"{file.path}: there is no split {text!r}; splits: {', '.join(known)}.")
    return np.array([known[text.lower()] for text in texts.tolist()])


def _cells(file: _File, mapping: Mapping, kept: Array) -> Iterator[tuple[tuple[str, int, str, int], Array]]:
    """(dataset, fold, variant, seed) as the file calls them, and the rows of each."""
    found: dict[str, Array] = {}
    for name in PLACEHOLDERS[:4]:
        column = getattr(mapping.columns, name)
        if column is not None and name in file.from_name:
            raise TcmaxError(f"columns.{name}: {file.path} says its {name} in its name too.")
        number = name in ("fold", "seed")
        if column is not None:
            read = _whole_numbers if number else _text
            found[name] = read(file, column, f"columns.{name}")[kept]
        else:
            constant = file.from_name.get(name) or (mapping.dataset if name == "dataset" else "0")
            if number and not _is_whole(str(constant)):
                raise TcmaxError(
                    f"{file.path}: its name gives the {name} {constant!r}, which is no whole number from 0."
                )
            found[name] = np.full(len(kept), _whole(str(constant)) if number else str(constant))
    table = pd.DataFrame(found)
    for rows in table.groupby(list(found), sort=False).indices.values():
        dataset, fold, variant, seed = table.iloc[rows[0]]
        yield (str(dataset), int(fold), str(variant), int(seed)), kept[rows]


def _name(names: dict[str, Named], name: str, given: Variant | None) -> str:
    """The label of a foreign name; two names may not share one."""
    if name not in names:
        new = named(name, given)
        other = next((known for known, entry in names.items() if entry.label == new.label), None)
        if other is not None:
            raise TcmaxError(
                f"{name!r} and {other!r} would both be called {new.label!r}; give labels under `variants`."
            )
        names[name] = new
    return names[name].label


def _class_columns(file: _File, prefix: str, classes: tuple[str, ...] | None) -> tuple[list[str], list[str]]:
    """Columns with one class each, in class order, and what follows the common beginning of their names."""
    suffixes = {name.removeprefix(prefix): name for name in file.arrays if name.startswith(prefix) and name != prefix}
    if classes is not None and set(suffixes) == set(classes):
        return [suffixes[name] for name in classes], list(classes)
    if suffixes and all(_is_whole(suffix) for suffix in suffixes):
        numbered = sorted(suffixes, key=_whole)
        if [_whole(suffix) for suffix in numbered] == list(range(len(numbered))):
            return [suffixes[suffix] for suffix in numbered], numbered
        raise TcmaxError(
            f"{file.path}: the columns {prefix}... number the classes {', '.join(numbered)}, not 0, 1, 2, ..."
        )
    if classes is not None and suffixes:
        odd = sorted(set(suffixes) ^ set(classes))
        raise TcmaxError(f"{file.path}: the columns {prefix}... and `classes` differ in {', '.join(odd)}.")
    return list(suffixes.values()), list(suffixes)


def _classes(mapping: Mapping, files: list[_File]) -> tuple[str, ...]:
    """Class names: those of the mapping, else of the logit columns, else the numbers that the labels use."""
    if mapping.content == "scores":
        return ()
    if mapping.classes is not None:
        if len(set(mapping.classes)) != len(mapping.classes) or len(mapping.classes) < 2:
            raise TcmaxError("classes: at least two different names are needed.")
        return mapping.classes
    widths: dict[int, _File] = {}
    for file in files:
        for read_out, name in mapping.logits.items():
            if name in file.arrays and file.arrays[name].ndim == 2:
                widths.setdefault(file.arrays[name].shape[1], file)
                continue
            columns, suffixes = _class_columns(file, name, None)
            if not columns:
                raise TcmaxError(
                    f"{file.path} has no array, and no columns that begin with, {name!r} (logits.{read_out}); it has "
                    f"{', '.join(file.arrays)}."
                )
            if not all(_is_whole(suffix) for suffix in suffixes):
                return tuple(suffixes)
            widths.setdefault(len(columns), file)
    if len(widths) > 1:
        (few, first), (many, second) = sorted(widths.items())[:2]
        raise TcmaxError(f"{first.path} has logits of {few} classes, {second.path} of {many}.")
    if widths:
        return tuple(str(number) for number in range(next(iter(widths))))
    highest = 0
    for file in files:
        texts = _text(file, str(mapping.columns.label), "columns.label")
        if not all(_is_whole(text) for text in np.unique(texts).tolist()):
            raise TcmaxError(f"{file.path}: the labels are text; list the class names under `classes`.")
        highest = max(highest, int(max(_whole(text) for text in np.unique(texts).tolist())))
    return tuple(str(number) for number in range(max(highest, 1) + 1))


def _class_numbers(file: _File, name: str, key: str, classes: tuple[str, ...]) -> Array:
    """(rows,) class numbers of a column of class names or numbers."""
    texts = _text(file, name, key)
    by_name = {text: number for number, text in enumerate(classes)}
    numbers = {}
    for text in np.unique(texts).tolist():
        if text in by_name:
            numbers[text] = by_name[text]
        elif _is_whole(text) and _whole(text) < len(classes):
            numbers[text] = _whole(text)
        else:
            raise TcmaxError(
                f"{file.path}: {name!r} ({key}) holds {text!r}, which is none of the {len(classes)} classes "
                f"({', '.join(classes[:6])}{', ...' if len(classes) > 6 else ''})."
            )
    return np.array([numbers[text] for text in texts.tolist()], dtype=np.int64)


def _contents(file: _File, mapping: Mapping, classes: tuple[str, ...], split: Array) -> Run:
    """All rows of a file as one run-like table."""
    if mapping.content == "scores":
        return _scores(file, mapping, split)
    labels = _class_numbers(file, str(mapping.columns.label), "columns.label", classes)
    correct = predicted = None
    if mapping.columns.prediction is not None:
        predicted = _class_numbers(file, mapping.columns.prediction, "columns.prediction", classes)
        correct = (predicted == labels).astype(np.float64)
    if mapping.columns.correct is not None:
        stated = file.column(mapping.columns.correct, "columns.correct")
        stated = _real(file, mapping.columns.correct, "columns.correct") if stated.dtype != np.bool_ else stated * 1.0
        if not np.isin(stated, (0.0, 1.0)).all():
            raise TcmaxError(f"{file.path}: {mapping.columns.correct!r} (columns.correct) holds more than 0 and 1.")
        if correct is not None and (stated != correct).any():
            row = int((stated != correct).argmax())
            raise TcmaxError(
                f"{file.path}, row {row + 1}: columns.correct says {stated[row]:.0f}, "
                f"prediction and label say {correct[row]:.0f}."
            )
        correct = stated
    return Run(
        where=str(file.path),
        split=split,
        items=_text(file, str(mapping.columns.item), "columns.item"),
        labels=labels,
        groups={name: _text(file, column, f"groups.{name}") for name, column in mapping.groups.items()},
        logits={name: _logits(file, mapping, name, classes) for name in mapping.logits},
        correct=correct,
        predicted=predicted,
    )


def _logits(file: _File, mapping: Mapping, read_out: str, classes: tuple[str, ...]) -> Array:
    """(rows, classes) logits of a read-out in the precision of the file."""
    name = mapping.logits[read_out]
    key = f"logits.{read_out}"
    if name in file.arrays and file.arrays[name].ndim == 2:
        values = file.arrays[name]
    else:
        columns, _ = _class_columns(file, name, mapping.classes)
        if not columns:
            raise TcmaxError(
                f"{file.path} has no array, and no columns that begin with, {name!r} ({key}); it has "
                f"{', '.join(file.arrays)}."
            )
        values = np.stack([file.arrays[column] for column in columns], axis=1)
    if values.shape[1] != len(classes):
        raise TcmaxError(f"{file.path}: {name!r} ({key}) has {values.shape[1]} classes where there are {len(classes)}.")
    try:
        values = values if values.dtype in (np.float16, np.float32) else values.astype(np.float64)
    except (TypeError, ValueError):
        raise TcmaxError(f"{file.path}: {name!r} ({key}) holds text where numbers are needed.") from None
    if not np.isfinite(values).all():
        row = int(np.argwhere(~np.isfinite(values))[0][0])
        raise TcmaxError(f"{file.path}, row {row + 1}: {name!r} ({key}) {_NO_NUMBER}.")
    low, high = float(values.min()), float(values.max())
    sums = np.abs(values.sum(axis=1, dtype=np.float64) - 1).max()
    shares = low >= 0 and high <= 1 and float(sums) < _TOLERANCE
    if mapping.scale == "probabilities":
        if not shares:
            raise TcmaxError(f"{file.path}: {name!r} ({key}) holds no probabilities: they lie in [0, 1] and sum to 1.")
        result: Array = np.log(np.maximum(values, np.finfo(values.dtype).tiny))
        return result
    if shares:
        raise TcmaxError(f"{file.path}: {name!r} ({key}) looks like probabilities; say `scale: probabilities`.")
    return values


def _scores(file: _File, mapping: Mapping, split: Array) -> Run:
    """All rows of a file of scores: numbers of whole runs, one row each."""
    if mapping.columns.n_items is not None:
        sizes = _whole_numbers(file, mapping.columns.n_items, "columns.n_items")
    else:
        sizes = np.full(file.rows, mapping.n_items or 0)
    if (sizes < 1).any():
        raise TcmaxError(f"{file.path}: the number of test items (columns.n_items) must be at least 1.")
    values = {}
    for metric, column in mapping.values.items():
        found = _real(file, column, f"values.{metric}")
        if METRICS[metric].unit == "proportion":
            found = found / 100 if mapping.unit == "percent" else found
            if found.min() < 0 or found.max() > 1:
                hint = "; if it is in percent, say `unit: percent`" if mapping.unit == "proportion" else ""
                raise TcmaxError(f"{file.path}: {column!r} (values.{metric}) is no proportion{hint}.")
        values[metric] = found
    empty = np.full(file.rows, "")
    return Run(str(file.path), split, empty, np.zeros(file.rows, np.int64), {}, {}, values=values, sizes=sizes)


# --- runs ------------------------------------------------------------------------------------------------------------


def _take(whole: Run, rows: Array) -> Run:
    def of(values: Array | None) -> Array | None:
        return None if values is None else values[rows]

    return Run(
        where=whole.where,
        split=whole.split[rows],
        items=whole.items[rows],
        labels=whole.labels[rows],
        groups={name: values[rows] for name, values in whole.groups.items()},
        logits={name: values[rows] for name, values in whole.logits.items()},
        correct=of(whole.correct),
        predicted=of(whole.predicted),
        values={name: values[rows] for name, values in whole.values.items()},
        sizes=whole.sizes[rows] if len(whole.sizes) else whole.sizes,
    )


def _joined(key: Key, parts: list[Run], mapping: Mapping) -> Run:
    """The pieces of one run as one, rows sorted; an item given twice is an error."""
    where = ", ".join(dict.fromkeys(part.where for part in parts))
    if mapping.content == "scores":
        if len(parts) > 1 or len(parts[0].items) > 1:
            raise TcmaxError(f"{where}: the run ({describe(key)}) is given twice.")
        return parts[0]
    precisions = {values.dtype.name for part in parts for values in part.logits.values()}
    if len(precisions) > 1 and mapping.precision is None:
        raise TcmaxError(
            f"{where}: the logits of the run ({describe(key)}) are {' and '.join(sorted(precisions))}; {_SAY}"
        )

    def joined(columns: list[Array | None]) -> Array | None:
        return None if columns[0] is None else np.concatenate([column for column in columns if column is not None])

    split, items = joined([part.split for part in parts]), joined([part.items for part in parts])
    assert split is not None
    assert items is not None
    order = np.lexsort((items, split == "test"))
    ids, counts = np.unique(items, return_counts=True)
    if (counts > 1).any():
        twice = str(ids[counts.argmax()])
        both = len(set(split[items == twice].tolist())) > 1
        raise TcmaxError(
            f"{where}: the item {twice!r} "
            + ("is both in val and in test" if both else "has two rows")
            + f" in the run ({describe(key)})."
        )
    if not (split == "test").any():
        raise TcmaxError(f"{where}: the run ({describe(key)}) has no test rows.")

    def ordered(columns: list[Array | None]) -> Any:
        whole = joined(columns)
        return None if whole is None else whole[order]

    return Run(
        where=where,
        split=split[order],
        items=items[order],
        labels=ordered([part.labels for part in parts]),
        groups={name: ordered([part.groups[name] for part in parts]) for name in parts[0].groups},
        logits={name: ordered([part.logits[name] for part in parts]) for name in parts[0].logits},
        correct=ordered([part.correct for part in parts]),
        predicted=ordered([part.predicted for part in parts]),
    )


def _check(found: Foreign, mapping: Mapping) -> list[str]:
    """What runs of one dataset must share; returns what a reader should know besides."""
    notes = []
    for dataset in found.datasets:
        keys = found.keys_on(dataset.label)
        diverged = found.diverged_on(dataset.label)
        _check_grid(keys, diverged, mapping)
        if mapping.content != "scores":
            for fold in sorted({key[1] for key in keys}):
                of_fold = [key for key in keys if key[1] == fold]
                for key in of_fold[1:]:
                    _check_items(of_fold[0], found.runs[of_fold[0]], key, found.runs[key])
            _check_folds(found, keys)
        seeds = {variant: {k[3] for k in keys if k[2] == variant} for variant in {k[2] for k in keys}}
        ran = {variant: of | {k[3] for k in diverged if k[2] == variant} for variant, of in seeds.items()}
        least = min(len(of_variant) for of_variant in seeds.values())
        if least < 3:
            notes.append(
                f"{dataset.title}: {least} seed{'s' * (least > 1)} of some variant: "
                "claims about new seeds are not testable"
            )
        if len({frozenset(of_variant) for of_variant in ran.values()}) > 1:
            notes.append(f"{dataset.title}: variants ran different seeds, so their seeds are taken as independent")
        if mapping.content == "predictions" and not any((found.runs[key].split == "val").any() for key in keys):
            notes.append(
                f"{dataset.title}: no validation rows, so nothing is calibrated and no variant can be "
                "chosen on validation"
            )
        if mapping.content == "scores":
            sizes = {int(size): key for key in keys for size in found.runs[key].sizes}
            if len(sizes) > 1:
                (few, first), (many, second) = sorted(sizes.items())[:2]
                raise TcmaxError(
                    f"the runs ({describe(first)}) and ({describe(second)}) have {few} and {many} test items; "
                    "comparisons need the same ones."
                )
            notes.append(f"{dataset.title}: scores of whole runs speak for new seeds only, never for new test items")
    return notes


def _check_grid(keys: list[Key], diverged: list[Key], mapping: Mapping) -> None:
    """Every fold of every run, and unless the mapping allows other seeds, every seed of every variant."""
    folds, seeds = sorted({key[1] for key in keys}), sorted({key[3] for key in (*keys, *diverged)})
    for variant in dict.fromkeys(key[2] for key in keys):
        own = {key[3] for key in keys if key[2] == variant}
        for seed in sorted(own):
            missing = [fold for fold in folds if (keys[0][0], fold, variant, seed) not in keys]
            if missing:
                raise TcmaxError(
                    f"{keys[0][0]}: seed {seed} of {variant} lacks fold {missing[0]}, which other runs have."
                )
        absent = sorted(set(seeds) - own - {key[3] for key in diverged if key[2] == variant})
        if absent and mapping.missing_seeds == "refused":
            others = [str(seed) for seed in absent]
            raise TcmaxError(
                f"{keys[0][0]}: {variant} lacks seed {', '.join(others)}, which other variants have; if it diverged, "
                "name it under `diverged`; if that is how it was run, say `missing_seeds: allowed`, and seeds will not "
                "be paired."
            )


def _check_items(first_key: Key, first: Run, key: Key, run: Run) -> None:
    between = f"({describe(first_key)}) and ({describe(key)})"
    for split in ("test", "val"):
        ours, theirs = first.items[first.split == split], run.items[run.split == split]
        if len(ours) != len(theirs) or (ours != theirs).any():
            odd = sorted(set(ours.tolist()) ^ set(theirs.tolist()))
            raise TcmaxError(
                f"the runs {between} differ in their {split} items: {len(ours)} and {len(theirs)}, and {odd[0]!r} is "
                "in one of them only; comparisons need the same items."
            )
    if (first.labels != run.labels).any():
        item = first.items[(first.labels != run.labels).argmax()]
        raise TcmaxError(f"the runs {between} disagree on the label of the item {str(item)!r}.")
    for name, values in first.groups.items():
        if (values != run.groups[name]).any():
            item = first.items[(values != run.groups[name]).argmax()]
            raise TcmaxError(f"the runs {between} disagree on the {name} of the item {str(item)!r}.")


def _check_folds(found: Foreign, keys: list[Key]) -> None:
    """Folds are pooled, so that each item is tested once."""
    of_run = [key for key in keys if (key[2], key[3]) == (keys[0][2], keys[0][3])]
    tested = np.concatenate([found.runs[key].items[found.runs[key].split == "test"] for key in of_run])
    ids, counts = np.unique(tested, return_counts=True)
    if (counts > 1).any():
        twice = str(ids[counts.argmax()])
        raise TcmaxError(f"{keys[0][0]}: the item {twice!r} is in the test part of more than one fold.")


def _in_one_precision(found: Foreign, mapping: Mapping) -> Foreign:
    """Logits as PREDICTIONS stores them: float16 where all files hold that, else float32.

    Mixtures are refused unless the mapping says which.
    """
    of_run = {key: next(iter(run.logits.values())).dtype.name for key, run in found.runs.items()}
    if len(set(of_run.values())) > 1 and mapping.precision is None:
        examples = {precision: key for key, precision in of_run.items()}
        listed = " and ".join(f"({describe(key)}) {precision}" for precision, key in sorted(examples.items()))
        raise TcmaxError(f"the logits of runs differ in precision: {listed}; {_SAY}")
    stored = np.dtype(mapping.precision or ("float16" if set(of_run.values()) == {"float16"} else "float32"))
    runs = {}
    for key, run in found.runs.items():
        with np.errstate(over="ignore"):
            logits = {name: values.astype(stored) for name, values in run.logits.items()}
        for name, values in logits.items():
            if not np.isfinite(values).all():
                raise TcmaxError(f"{run.where}: logits.{name} of the run ({describe(key)}) exceed {stored.name}.")
        runs[key] = replace(run, logits=logits)
    return replace(found, runs=runs)
