"""A user's own features as a dataset, by config alone: one .npz file, or Parquet (a file or a folder of parts).

Both formats use the same names, as arrays of an .npz or columns of a Parquet table, with one row per item:

    inputs_<modality>   (N, ...) numbers; at least one. Parquet: a number, or a list of one length, per item
    labels              (N,) integers from 0
    split               (N,) "train", "val", "test", or "" for an item that is not used
    fold_0, fold_1, …   the same, once per fold, instead of `split`; test parts must be disjoint
    items               (N,) unique ids; default: row numbers
    group_<name>        (N,) ids; items of one group (speaker, patient, video) are not independent
    class_names         (C,) names; default: the labels as text. Parquet: in the schema metadata, a JSON list
    licence, source     text. Parquet: in the schema metadata
    official_validation true where the val items are those that the source of the data names, so that no protocol cuts
                        its own from train and val; default: false. Parquet: in the schema metadata, "true" or "false"

Inputs become float32 and are not rescaled. Nothing is unpickled.
"""

import json
import re
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tcmax.data.base import PARTS, Card, Dataset, Fold, overlap_facts
from tcmax.errors import TcmaxError
from tcmax.records.files import explained

UNUSED = ""
_NPZ, _PARQUET = ".npz", (".parquet", ".pq")
_TOLD = ("class_names", "licence", "source", "official_validation")  # of the whole, so not a column of Parquet
_SINGLE = ("labels", "split", "items", *_TOLD)
_KEY = re.compile(r"(inputs_(?P<modality>.+)|group_(?P<group>.+)|fold_(?P<fold>0|[1-9]\d*))\Z")


@dataclass(frozen=True)
class _Table:
    """Named arrays of a file: their names, and a function that reads one."""

    path: Path
    keys: tuple[str, ...]
    read: Callable[[str], np.ndarray]

    def matching(self, kind: str) -> dict[str, str]:
        """modality, group or fold name -> key, in file order."""
        found = {}
        for key in self.keys:
            match = _KEY.match(key)
            if match and match[kind] is not None:
                found[match[kind]] = key
        return found


def load_features(path: Path, name: str) -> Dataset:
    """The dataset called `name` in the file or folder at `path` (layout: see the module).

    Labels are int64, inputs float32, ids str. Facts say which group members train shares with val and test, and which
    classes a fold's train part lacks.

    Raises TcmaxError, naming the file and the key, when the file is missing, damaged, pickled or of another format; a
    key is missing, unknown, or of the wrong length, shape or type; inputs hold NaN or infinite values, or exceed
    float32; labels lie outside the classes; a fold lacks a train, val or test part, or two folds test one item.
    """
    path = Path(path)
    table = _open(path)
    _check_keys(table)
    labels = _labels(table)
    n_items = len(labels)
    classes = _class_names(table, labels)
    inputs = {modality: _inputs(table, key, n_items) for modality, key in table.matching("modality").items()}
    items = _ids(table, "items", n_items) if "items" in table.keys else _row_ids(n_items)
    groups = {group: _ids(table, key, n_items) for group, key in table.matching("group").items()}
    official = _official_validation(table)
    folds = tuple(_fold(table, key, n_items, official) for key in _fold_keys(table))
    card = Card(
        title=name,
        licence=_text(table, "licence"),
        source=_text(table, "source", default=path.name),
        citation="not stated",
    )
    try:
        plain = Dataset(name, inputs, labels, classes, items, folds, card, groups, official_validation=official)
    except TcmaxError as error:
        raise TcmaxError(f"{path}: {error}") from error
    return Dataset(**{**plain.__dict__, "facts": (*overlap_facts(plain), *_untrained_classes(plain))})


def is_feature_path(path: Path) -> bool:
    """Whether a path is that of a feature file, by its name, or of a folder, which may hold one in parts."""
    return path.suffix in (_NPZ, *_PARQUET) or path.is_dir()


def count_folds(path: Path) -> int:
    """How many folds a feature file has; of an .npz or Parquet file only the list of its keys is read."""
    return len(_fold_keys(_open(Path(path))))


def _open(path: Path) -> _Table:
    if not path.exists():
        raise TcmaxError(f"{path}: there is no such feature file or folder.")
    if path.is_dir() or path.suffix in _PARQUET:
        return _open_parquet(path)
    if path.suffix == _NPZ:
        return _open_npz(path)
    raise TcmaxError(f"{path}: features come as .npz, .parquet, or a folder of .parquet files.")


def _open_npz(path: Path) -> _Table:
    # np.load takes any file for a pickle that is neither a zip nor an array, and says so confusingly.
    with explained("read", path), path.open("rb") as stream:
        if not zipfile.is_zipfile(stream):
            raise TcmaxError(f"{path} is not a complete .npz file.")
    with explained("read", path), zipfile.ZipFile(path) as archive:
        keys = tuple(entry.removesuffix(".npy") for entry in archive.namelist())

    def read(key: str) -> np.ndarray:
        try:
            with explained("read", path), np.load(path, allow_pickle=False) as stored:
                array: np.ndarray = stored[key]
                if not isinstance(array, np.ndarray):
                    raise ValueError("it is not in NumPy's format")
        except (ValueError, EOFError, zlib.error, zipfile.BadZipFile) as error:
            if "allow_pickle" in str(error):
                raise TcmaxError(f"{path}: {key!r} holds Python objects; save plain numbers or text.") from error
            raise TcmaxError(f"{path}: {key!r} cannot be read ({error}).") from error
        return array

    return _Table(path, keys, read)


def _open_parquet(path: Path) -> _Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    parts = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    if not parts:
        raise TcmaxError(f"{path}: the folder holds no .parquet file.")
    schemas = []
    for part in parts:
        try:
            with explained("read", part):
                schemas.append(pq.read_schema(part))
        except pa.ArrowException as error:
            raise TcmaxError(f"{part} is not a complete Parquet file ({error}).") from error
        if not schemas[-1].equals(schemas[0]):
            raise TcmaxError(f"{part} has other columns, or columns of another type, than {parts[0].name}.")
    metadata = {key.decode(): value.decode() for key, value in (schemas[0].metadata or {}).items()}
    told = {key: metadata[key] for key in _TOLD if key in metadata}

    def read(key: str) -> np.ndarray:
        if key in told:
            return _told(path, key, told[key])
        try:
            with explained("read", path):
                table = pa.concat_tables([pq.read_table(part, columns=[key]) for part in parts])
        except pa.ArrowException as error:
            raise TcmaxError(f"{path}: {key!r} cannot be read ({error}).") from error
        return _column(path, key, table.column(key))

    names = [name for name in schemas[0].names if not name.startswith("__index_level_")]  # which pandas adds
    return _Table(path, (*names, *told), read)


def _column(path: Path, key: str, column: Any) -> np.ndarray:
    """A Parquet column (pyarrow ChunkedArray) as an array: numbers (n,), lists of one length (n, d), text (n,)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if column.null_count:
        raise TcmaxError(f"{path}: {key!r} has {column.null_count} empty values.")
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        lengths = pc.list_value_length(column).to_numpy()
        if len(np.unique(lengths)) > 1:
            odd = int(np.flatnonzero(lengths != lengths[0])[0])
            raise TcmaxError(
                f"{path}: {key!r} has {lengths[odd]} numbers in row {odd} but {lengths[0]} in row 0; "
                "all rows need one length."
            )
        flat = pc.list_flatten(column)
        if flat.null_count:
            raise TcmaxError(f"{path}: {key!r} has {flat.null_count} empty values.")
        result: np.ndarray = flat.to_numpy().reshape(len(column), -1)
        return result
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind):
        return np.array(column.to_pylist(), dtype=str)
    values: np.ndarray = column.to_numpy()
    return values


def _told(path: Path, key: str, text: str) -> np.ndarray:
    """An entry of the schema metadata, which is text, as the array that an .npz holds."""
    if key == "class_names":
        return np.array(_json_list(path, key, text))
    if key == "official_validation":
        return np.array({"true": True, "false": False}.get(text, text))
    return np.array(text)


def _json_list(path: Path, key: str, text: str) -> list[str]:
    try:
        names = json.loads(text)
    except ValueError:
        names = None
    if not isinstance(names, list) or not all(isinstance(one, str) for one in names):
        raise TcmaxError(f"{path}: {key!r} in the schema metadata must be a JSON list of strings.")
    return names


def _check_keys(table: _Table) -> None:
    """A key that nobody reads is a spelling mistake more often than not."""
    for key in table.keys:
        if key not in _SINGLE and not _KEY.match(key):
            raise TcmaxError(
                f"{table.path}: unknown key {key!r}; known are inputs_<modality>, group_<name>, fold_<number>, "
                f"{', '.join(_SINGLE)}."
            )
    if not table.matching("modality"):
        raise TcmaxError(f"{table.path}: no key inputs_<modality>, such as inputs_audio.")


def _per_item(table: _Table, key: str, n_items: int) -> np.ndarray:
    array = table.read(key)
    if array.ndim == 0 or len(array) != n_items:
        found = "is a single value" if array.ndim == 0 else f"has {len(array)} rows"
        raise TcmaxError(f"{table.path}: {key!r} {found}, 'labels' has {n_items}.")
    return array


def _inputs(table: _Table, key: str, n_items: int) -> np.ndarray:
    array = _per_item(table, key, n_items)
    if array.dtype.kind not in "fiub":
        raise TcmaxError(f"{table.path}: {key!r} holds {array.dtype}, not real numbers.")
    if array.ndim == 1:
        array = array[:, None]
    if array.size == 0:
        raise TcmaxError(f"{table.path}: {key!r} is empty (shape {array.shape}).")
    with np.errstate(over="ignore"):
        single = array.astype(np.float32)
    bad = ~np.isfinite(single).reshape(n_items, -1).all(axis=1)
    if bad.any():
        raise TcmaxError(
            f"{table.path}: {key!r} holds NaN, infinite, or too large values in {bad.sum()} rows, "
            f"the first being row {int(np.flatnonzero(bad)[0])}."
        )
    return single


def _labels(table: _Table) -> np.ndarray:
    if "labels" not in table.keys:
        raise TcmaxError(f"{table.path}: the key 'labels' is missing.")
    array = table.read("labels")
    if array.dtype.kind not in "iu" or array.ndim != 1 or len(array) == 0:
        raise TcmaxError(
            f"{table.path}: 'labels' must be a list of integers from 0, not {array.dtype} of shape {array.shape}."
        )
    if array.min() < 0:
        raise TcmaxError(f"{table.path}: 'labels' holds the negative label {array.min()}.")
    return array.astype(np.int64)


def _class_names(table: _Table, labels: np.ndarray) -> tuple[str, ...]:
    highest = int(labels.max())
    if "class_names" not in table.keys:
        present = np.unique(labels)
        if len(present) != highest + 1:
            absent = int(np.flatnonzero(present != np.arange(len(present)))[0])
            raise TcmaxError(
                f"{table.path}: no item has the label {absent} although labels go up to {highest}; "
                "number the classes without gaps, or give 'class_names'."
            )
        if highest == 0:
            raise TcmaxError(f"{table.path}: all 'labels' are 0; a classifier needs two classes.")
        return tuple(str(label) for label in range(highest + 1))
    names = table.read("class_names")
    if names.dtype.kind != "U" or names.ndim != 1:
        raise TcmaxError(f"{table.path}: 'class_names' must be a list of text.")
    if highest >= len(names):
        row = int(np.argmax(labels))
        raise TcmaxError(
            f"{table.path}: 'labels' holds {highest} in row {row}, but there are {len(names)} class names."
        )
    if len(np.unique(names)) != len(names):
        raise TcmaxError(f"{table.path}: 'class_names' holds a name twice.")
    return tuple(names.tolist())


def _ids(table: _Table, key: str, n_items: int) -> np.ndarray:
    array = _per_item(table, key, n_items)
    if array.dtype.kind not in "Uiu" or array.ndim != 1:
        raise TcmaxError(f"{table.path}: {key!r} must hold one text or integer per item, not {array.dtype}.")
    return array.astype(str)


def _row_ids(n_items: int) -> np.ndarray:
    width = len(str(n_items - 1))
    return np.array([f"item-{row:0{width}d}" for row in range(n_items)])


def _fold_keys(table: _Table) -> tuple[str, ...]:
    folds = {int(number): key for number, key in table.matching("fold").items()}
    if "split" in table.keys:
        if folds:
            raise TcmaxError(f"{table.path}: has both 'split' and {next(iter(folds.values()))!r}; keep one of them.")
        return ("split",)
    if not folds:
        raise TcmaxError(f"{table.path}: no key says which items train, validate and test; add 'split' or 'fold_0', ….")
    if sorted(folds) != list(range(len(folds))):
        raise TcmaxError(f"{table.path}: folds must be numbered from 0 without gaps, not {sorted(folds)}.")
    return tuple(folds[number] for number in sorted(folds))


def _official_validation(table: _Table) -> bool:
    if "official_validation" not in table.keys:
        return False
    array = table.read("official_validation")
    if array.ndim != 0 or array.dtype.kind != "b":
        found = repr(array.item()) if array.ndim == 0 else f"{array.dtype} of shape {array.shape}"
        raise TcmaxError(f"{table.path}: 'official_validation' must be a single true or false, not {found}.")
    return bool(array)


def _fold(table: _Table, key: str, n_items: int, official: bool) -> Fold:
    array = _per_item(table, key, n_items)
    if array.dtype.kind != "U" or array.ndim != 1:
        raise TcmaxError(f"{table.path}: {key!r} must hold text ('train', 'val', 'test' or ''), not {array.dtype}.")
    strange = ~np.isin(array, (*PARTS, UNUSED))
    if strange.any():
        row = int(np.flatnonzero(strange)[0])
        raise TcmaxError(
            f"{table.path}: {key!r} holds {array[row].item()!r} in row {row}; "
            "a part is 'train', 'val', 'test', or '' for an unused item."
        )
    rows = {part: np.flatnonzero(array == part) for part in PARTS}
    for part, members in rows.items():
        if len(members) == 0:
            reason = ""
            if part == "val" and official:
                reason = ", although 'official_validation' says that the source of the data names some"
            elif part == "val":
                reason = "; epochs are chosen on val, so that test stays untouched: set some train items aside"
            raise TcmaxError(f"{table.path}: {key!r} has no {part} item{reason}.")
    return Fold(**rows)


def _text(table: _Table, key: str, default: str = "not stated") -> str:
    if key not in table.keys:
        return default
    array = table.read(key)
    if array.ndim != 0 or array.dtype.kind != "U":
        raise TcmaxError(f"{table.path}: {key!r} must be a single text.")
    return str(array)


def _untrained_classes(dataset: Dataset) -> list[str]:
    facts = []
    for number, fold in enumerate(dataset.folds):
        absent = np.setdiff1d(np.arange(dataset.n_classes), dataset.labels[fold.train])
        if len(absent):
            names = ", ".join(dataset.class_names[label] for label in absent)
            facts.append(f"fold {number}: no train item of class {names}")
    return facts
