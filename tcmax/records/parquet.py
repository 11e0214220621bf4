"""Records as Parquet files: validated when written and when read."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tcmax.errors import TcmaxError
from tcmax.records.files import atomic_path
from tcmax.records.kinds import SCHEMA_VERSION, Kind, column_type


def build(kind: Kind, columns: dict[str, Any], metadata: dict[str, Any] | None = None) -> pa.Table:
    """A validated table from columns (arrays, lists or scalars; a scalar fills its column).

    Logits are (N, C) float32 or float16 arrays. `metadata` is stored as JSON beside the schema version.
    Raises TcmaxError when the columns break the contract.
    """
    length = max((len(value) for value in columns.values() if not np.isscalar(value) and value is not None), default=0)
    arrays: dict[str, pa.Array] = {}
    order = [*kind.columns, *(name for name in columns if name not in kind.columns)]
    for name in order:
        if name not in columns:
            raise TcmaxError(f"{kind.name}: the column {name!r} is missing.")
        try:
            declared = column_type(kind, name)
        except KeyError:
            raise TcmaxError(f"{kind.name}: there is no column {name!r}.") from None
        value = columns[name]
        if declared is None:
            arrays[name] = _logit_array(kind, name, np.asarray(value))
            continue
        try:
            plain = declared.value_type if pa.types.is_dictionary(declared) else declared
            if np.isscalar(value) or value is None:
                value = pa.repeat(pa.scalar(value, type=plain, from_pandas=True), length)
            elif pa.types.is_integer(plain):  # given the type, pyarrow would cut 0.5 in a list to 0; a cast refuses it
                inferred = pa.array(value, from_pandas=True)
                value = inferred.cast(plain) if pa.types.is_floating(inferred.type) else value
            array = pa.array(value, type=plain, from_pandas=True)
            arrays[name] = array.dictionary_encode().cast(declared) if plain is not declared else array
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
            raise TcmaxError(f"{kind.name}: the column {name!r} cannot be stored ({error}).") from error
    header = {"kind": kind.name, "schema_version": SCHEMA_VERSION, **(metadata or {})}
    try:
        table = pa.table(arrays)
    except pa.ArrowInvalid as error:
        raise TcmaxError(f"{kind.name}: columns differ in length ({error}).") from error
    table = table.replace_schema_metadata({"tcmax": json.dumps(header, sort_keys=True, ensure_ascii=False)})
    problem = _problem(kind, table)
    if problem:
        raise TcmaxError(f"{kind.name}: {problem}.")
    return table


def _logit_array(kind: Kind, name: str, values: np.ndarray) -> pa.Array:
    if values.ndim != 2 or values.dtype not in (np.float16, np.float32):
        raise TcmaxError(f"{kind.name}: {name!r} must be (items, classes) float16 or float32, not {values.dtype}.")
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(values).ravel()), values.shape[1])


def _problem(kind: Kind, table: pa.Table) -> str | None:
    """What breaks the contract of `kind` in `table`, or None."""
    for name in kind.columns:
        if name not in table.column_names:
            return f"the column {name!r} is missing"
    widths = set()
    for name in table.column_names:
        try:
            declared = column_type(kind, name)
        except KeyError:
            return f"there is no column {name!r} in this kind of record"
        column = table.column(name)
        if declared is None:
            if not pa.types.is_fixed_size_list(column.type):
                return f"{name!r} is not a fixed-size list of floats"
            widths.add(column.type.list_size)
            if column.null_count or not _all_finite(column):
                return f"{name!r} holds missing, NaN or infinite values"
            continue
        if column.type != declared:
            return f"the column {name!r} has type {column.type}, not {declared}"
        if column.null_count and name not in kind.nullable:
            return f"the column {name!r} has missing values"
        if pa.types.is_floating(column.type) and pc.any(pc.is_nan(column)).as_py():
            return f"the column {name!r} holds NaN"
    if len(widths) > 1:
        return f"read-outs disagree on the number of classes: {sorted(widths)}"
    if widths and table.num_rows:
        low, high = (value.as_py() for value in pc.min_max(table.column("label")).values())
        if low < 0 or high >= min(widths):
            return f"labels lie in {low}..{high}, the logits have {min(widths)} classes"
    if table.num_rows:
        keys = table.select(list(kind.unique)).group_by(list(kind.unique)).aggregate([([], "count_all")])
        if keys.num_rows != table.num_rows:
            return f"{table.num_rows - keys.num_rows} rows repeat another one in {', '.join(kind.unique)}"
    return None


def _all_finite(column: pa.ChunkedArray) -> bool:
    return all(bool(np.isfinite(chunk.flatten().to_numpy(zero_copy_only=False)).all()) for chunk in column.chunks)


def write(path: Path, kind: Kind, columns: dict[str, Any], metadata: dict[str, Any] | None = None) -> None:
    """Validate and write a record atomically (Parquet, zstd)."""
    table = build(kind, columns, metadata)
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", use_dictionary=_dictionary_columns(table))


def _dictionary_columns(table: pa.Table) -> list[str]:
    """Columns worth a Parquet dictionary: everything but logits and reals."""
    return [
        field.name
        for field in table.schema
        if not pa.types.is_floating(field.type) and not pa.types.is_fixed_size_list(field.type)
    ]


def read(
    path: Path, kind: Kind, columns: Sequence[str] | None = None, row_groups: Sequence[int] | None = None
) -> pa.Table:
    """Read and validate a record. A partial read (`columns`, `row_groups`) checks the header only.

    Raises TcmaxError naming the file when it is missing, damaged, of another kind or of another schema version.
    """
    path = Path(path)
    if not path.is_file():
        raise TcmaxError(f"{path} does not exist; it holds {kind.name} and an earlier stage writes it.")
    try:
        file = pq.ParquetFile(path, memory_map=False)
        head = _header_in(file.metadata.metadata)
        if head.get("kind") != kind.name:
            raise TcmaxError(f"{path} holds {head.get('kind', 'no tcmax record')}, not {kind.name}.")
        version = head.get("schema_version")
        if version != SCHEMA_VERSION:
            raise TcmaxError(
                f"{path} has schema version {version}, this tcmax reads version {SCHEMA_VERSION}; "
                "build it again or use the tcmax that wrote it."
            )
        wanted = list(columns) if columns else None
        table = file.read(wanted) if row_groups is None else file.read_row_groups(list(row_groups), wanted)
        table = table.unify_dictionaries()  # row groups have a dictionary each
    except (pa.ArrowException, OSError) as error:
        raise TcmaxError(f"{path} is damaged or not a Parquet file ({_first_line(error)}).") from error
    if columns is None and row_groups is None:
        problem = _problem(kind, table)
        if problem:
            old = "; if an earlier tcmax wrote it, build it again" if problem.endswith("is missing") else ""
            raise TcmaxError(f"{path}: {problem}{old}.")
    return table


def header(path: Path) -> dict[str, Any]:
    """The metadata a record was written with; {} when the file is Parquet but not ours."""
    try:
        return _header_in(pq.read_metadata(path).metadata)
    except (pa.ArrowException, OSError) as error:
        raise TcmaxError(f"{path} is damaged or not a Parquet file ({_first_line(error)}).") from error


def header_of(table: pa.Table) -> dict[str, Any]:
    """The same of a record that has been read."""
    return _header_in(table.schema.metadata)


def _header_in(metadata: Mapping[bytes, bytes] | None) -> dict[str, Any]:
    try:
        value = json.loads((metadata or {}).get(b"tcmax", b"{}"))
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def logits(table: pa.Table, readout: str) -> np.ndarray:
    """(N, C) float32 logits of a read-out in a PREDICTIONS table."""
    column = table.column(f"logits_{readout}").combine_chunks()
    values = column.flatten().to_numpy(zero_copy_only=False)
    result: np.ndarray = values.reshape(len(column), column.type.list_size).astype(np.float32)
    return result


def readouts(table_or_names: pa.Table | Sequence[str]) -> list[str]:
    """Read-outs of a PREDICTIONS table in the order they were written."""
    names = table_or_names.column_names if isinstance(table_or_names, pa.Table) else table_or_names
    return [name.removeprefix("logits_") for name in names if name.startswith("logits_")]
