"""A tensor store: one array of fixed-size rows per modality, on disk, made from many files by several processes.

    settings.json         written first: what the rows depend on besides their sources
    manifest.json         written last: the same, what failed, and the checksum of every record
    skipped.csv           the items that could not be made, and why
    shards/00012.json     record of the items 12 S .. 12 S + S - 1: their facts, sources, failures; checksums of:
    shards/00012.<array>.npy    (rows, ...) of one array

A shard is the unit of work. Its arrays are written first and its record last, each whole or not at all, so that after a
kill at any moment every record stands for a finished shard, and the next run continues with the others. Bytes depend on
the sources and the settings alone, neither on the number of processes, nor on interruptions, nor on the place.

An item that cannot be made leaves a row of zeros, a line in skipped.csv and its reason in the manifest: rows keep their
numbers whatever fails. The process of an item that kills it, or takes too long, is replaced and the item listed.
"""

import contextlib
import csv
import hashlib
import io
import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tcmax.console import ProgressLine
from tcmax.errors import TcmaxError
from tcmax.records.files import atomic_path, explained, read_json, sha256, write_json, write_text
from tcmax.records.locks import locked

VERSION = 1
MANIFEST, SKIPPED, SHARDS = "manifest.json", "skipped.csv", "shards"


@dataclass(frozen=True)
class Array:
    """Shape of one item's row in an array, and its type as NumPy spells it ("float32")."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Layout:
    """What a store holds.

    settings: plain data on which the rows depend besides the sources; a store is only ever continued under equal ones.
    items: unique ids, in row order. shard_items: rows of a shard.
    """

    arrays: Mapping[str, Array]
    items: tuple[str, ...]
    settings: Mapping[str, Any]
    shard_items: int = 64

    def __post_init__(self) -> None:
        if len(set(self.items)) != len(self.items):
            raise ValueError("item ids are not unique")
        if not self.items or not self.arrays or self.shard_items < 1:
            raise ValueError("a store needs items, arrays and at least one row in a shard")

    @property
    def n_shards(self) -> int:
        return -(-len(self.items) // self.shard_items)

    def rows(self, shard: int) -> range:
        """Row numbers of a shard."""
        start = shard * self.shard_items
        return range(start, min(start + self.shard_items, len(self.items)))

    def described(self) -> dict[str, Any]:
        """As plain data, for the manifest and every record."""
        return {
            "schema_version": VERSION,
            "settings": json.loads(json.dumps(dict(self.settings))),
            "arrays": {name: {"shape": list(one.shape), "dtype": one.dtype} for name, one in self.arrays.items()},
            "shard_items": self.shard_items,
            "n_items": len(self.items),
            "items_sha256": hashlib.sha256("\n".join(self.items).encode()).hexdigest(),
        }


class Maker(Protocol):
    """Makes the rows of a store; sent to other processes, so it must be picklable."""

    def sources(self, row: int) -> Mapping[str, Path]:
        """The files that a row is made from, by a name that does not depend on where they lie.

        Raises TcmaxError when one is missing.
        """
        ...

    def __call__(self, row: int) -> tuple[Mapping[str, np.ndarray], Mapping[str, Any]]:
        """The arrays of a row, and facts about it as plain data. Raises TcmaxError when it cannot be made."""
        ...


@dataclass(frozen=True)
class Effort:
    """How a store is built; nothing here changes its bytes.

    processes: how many make rows. failed_share: of all items; when more fail, the build stops.
    item_seconds: an item that takes longer is given up.
    """

    processes: int = 1
    failed_share: float = 0.01
    item_seconds: float = 600.0


def build(folder: Path, layout: Layout, make: Maker, effort: Effort | None = None, title: str = "prepare") -> "Store":
    """Make the store at `folder`, or what is missing of it, and open it.

    A finished shard is kept when its files are as recorded, the sources of its items have their recorded sizes, and
    those of its failed items have their recorded content; so failures are tried again once their files changed.

    Raises TcmaxError when the store was begun with other settings, another process is building it, more items fail
    than `effort` allows (skipped.csv says which), or the disk refuses. Finished shards are kept in each of these cases.
    """
    effort = effort or Effort()
    folder = Path(folder)
    with _alone(folder):
        _check_settings(folder, layout)
        _clear(folder)
        records = {shard: _kept(folder, layout, make, shard) for shard in range(layout.n_shards)}
        missing = [shard for shard, record in records.items() if record is None]
        _check_sources(folder, layout, make, effort, missing)
        if not missing and _manifest_is_current(folder, layout, records):
            return Store(folder)
        with explained("write", folder):
            (folder / MANIFEST).unlink(missing_ok=True)  # until all records are there again, this is no store
        _make_shards(folder, layout, make, effort, title, records, missing)
        _finish(folder, layout, records)
    return Store(folder)


def failures(records: Mapping[int, Mapping[str, Any] | None]) -> dict[str, str]:
    """Item -> reason, in row order."""
    return {
        item["item"]: item["failed"]
        for _, record in sorted(records.items())
        if record is not None
        for item in record["items"]
        if "failed" in item
    }


@dataclass(frozen=True)
class Store:
    """A finished store, opened for reading. Raises TcmaxError when it is not finished or of another version."""

    folder: Path
    manifest: Mapping[str, Any] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        path = Path(self.folder) / MANIFEST
        if not path.is_file():
            raise TcmaxError(
                f"{self.folder} holds no finished store (no {MANIFEST}); run `tcmax prepare DATASET --source MEDIA`, "
                "which also continues one that was interrupted."
            )
        manifest = read_json(path)
        if manifest.get("schema_version") != VERSION:
            raise TcmaxError(f"{path} has the format {manifest.get('schema_version')}, not {VERSION}.")
        object.__setattr__(self, "manifest", manifest)

    @cached_property
    def items(self) -> tuple[str, ...]:
        """Ids in row order."""
        return tuple(item["item"] for record in self._records for item in record["items"])

    @property
    def failed(self) -> dict[str, str]:
        """Item -> why its row is zeros, in row order."""
        return {one["item"]: one["reason"] for one in self.manifest["failed"]}

    @cached_property
    def ready(self) -> np.ndarray:
        """(n_items,) bool: rows that hold data."""
        failed = self.failed
        return np.array([item not in failed for item in self.items])

    @cached_property
    def facts(self) -> tuple[Mapping[str, Any], ...]:
        """Facts of each item, as its maker gave them; empty for a failed one."""
        return tuple(item.get("facts", {}) for record in self._records for item in record["items"])

    @cached_property
    def sources(self) -> tuple[Mapping[str, Mapping[str, Any]], ...]:
        """For each item: name of a source -> its "bytes" and "sha256"."""
        return tuple(item["sources"] for record in self._records for item in record["items"])

    def shape(self, array: str) -> tuple[int, ...]:
        """(n_items, ...) of an array."""
        return (self.manifest["n_items"], *self.manifest["arrays"][array]["shape"])

    def dtype(self, array: str) -> np.dtype:
        """Of an array."""
        result: np.dtype = np.dtype(self.manifest["arrays"][array]["dtype"])
        return result

    def content(self, array: str) -> str:
        """SHA-256 over the recorded checksums of an array's files: equal for equal rows in shards of equal size."""
        written = (record["files"][array]["sha256"] for record in self._records)
        return hashlib.sha256("".join(written).encode()).hexdigest()

    def rows(self, array: str, rows: np.ndarray) -> np.ndarray:
        """Rows of an array, in the order asked for, read through memory maps.

        rows: (k,) int64 in [0, n_items). Raises TcmaxError when a shard is missing or has another shape.
        """
        rows = np.asarray(rows, dtype=np.int64)
        found = np.empty((len(rows), *self.shape(array)[1:]), dtype=self.dtype(array))
        size = self.manifest["shard_items"]
        for shard in np.unique(rows // size).tolist():
            places = np.flatnonzero(rows // size == shard)
            found[places] = self._mapped(array, shard)[rows[places] - shard * size]
        return found

    def verify(self, array: str | None = None) -> None:
        """Compare all files, or those of an array, with their checksums; a TcmaxError names the first that differs."""
        for shard, checksum in enumerate(self.manifest["records"]):
            path = record_path(self.folder, shard)
            if sha256(path) != checksum:
                raise TcmaxError(f"{path} is not the record that was written; run `tcmax prepare` again.")
            for name, written in self._records[shard]["files"].items():
                path = array_path(self.folder, shard, name)
                if array in (None, name) and sha256(path) != written["sha256"]:
                    raise TcmaxError(f"{path} is not the file that was written; run `tcmax prepare` again.")

    @cached_property
    def _records(self) -> tuple[Mapping[str, Any], ...]:
        return tuple(read_json(record_path(self.folder, shard)) for shard in range(len(self.manifest["records"])))

    def _mapped(self, array: str, shard: int) -> np.ndarray:
        path = array_path(self.folder, shard, array)
        return _map(path, os.stat(path).st_mtime_ns if path.exists() else 0)


@lru_cache(maxsize=256)  # each map holds a file open
def _map(path: Path, changed_ns: int) -> np.ndarray:
    try:
        with explained("read", path):
            mapped: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise TcmaxError(f"{path} is damaged ({error}); run `tcmax prepare` again.") from error
    return mapped


def record_path(folder: Path, shard: int) -> Path:
    """Where the record of a shard stands."""
    return Path(folder) / SHARDS / f"{shard:05d}.json"


def array_path(folder: Path, shard: int, array: str) -> Path:
    """Where an array of a shard stands."""
    return Path(folder) / SHARDS / f"{shard:05d}.{array}.npy"


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the store for writing; the lock dies with the process."""
    with explained("write", folder):
        (folder / SHARDS).mkdir(parents=True, exist_ok=True)
    with locked(folder / ".lock", f"another process is preparing {folder}; wait for it to end."):
        yield


def _check_sources(folder: Path, layout: Layout, make: Maker, effort: Effort, shards: list[int]) -> None:
    """Stop before the work when sources that are not there suffice to stop it; a finished store is left as it is."""
    absent = {}
    for shard in shards:
        for row in layout.rows(shard):
            try:
                make.sources(row)
            except TcmaxError as error:
                absent[layout.items[row]] = str(error)
    _check_failures(folder, absent, effort, len(layout.items))


def _clear(folder: Path) -> None:
    """Remove what processes that were killed left half-written."""
    for leftover in (folder / SHARDS).glob(".*.tmp"):
        leftover.unlink(missing_ok=True)


def _check_settings(folder: Path, layout: Layout) -> None:
    """Refuse to continue a store that was begun with other settings."""
    expected = layout.described()
    path = folder / "settings.json"
    if path.is_file():
        found = read_json(path)
        if found != expected:
            before, after = ({**said, **said.get("settings", {}), "settings": None} for said in (found, expected))
            changed = sorted(key for key in {*before, *after} if before.get(key) != after.get(key))
            raise TcmaxError(
                f"{folder} was begun with other settings ({', '.join(changed)}); "
                "remove it, or prepare into another folder."
            )
        return
    write_json(path, expected)


def _kept(folder: Path, layout: Layout, make: Maker, shard: int) -> Mapping[str, Any] | None:
    """The record of a finished shard that still stands, else None."""
    try:
        record: Mapping[str, Any] = read_json(record_path(folder, shard))
        items = record["items"]
        if [item["item"] for item in items] != [layout.items[row] for row in layout.rows(shard)]:
            return None
        for name in layout.arrays:
            if sha256(array_path(folder, shard, name)) != record["files"][name]["sha256"]:
                return None
        unchanged = all(_unchanged(make, row, item) for row, item in zip(layout.rows(shard), items, strict=True))
    except (TcmaxError, KeyError, TypeError):
        return None
    return record if unchanged else None


def _unchanged(make: Maker, row: int, item: Mapping[str, Any]) -> bool:
    try:
        sources = make.sources(row)
        if "failed" in item:
            result: bool = _content(sources) == item["sources"]
            return result
        return {name: path.stat().st_size for name, path in sources.items()} == {
            name: written["bytes"] for name, written in item["sources"].items()
        }
    except (TcmaxError, OSError):
        return "failed" in item and not item["sources"]


def _content(sources: Mapping[str, Path]) -> dict[str, dict[str, Any]]:
    return {name: {"bytes": path.stat().st_size, "sha256": sha256(path)} for name, path in sources.items()}


def _manifest(folder: Path, layout: Layout, records: Mapping[int, Mapping[str, Any] | None]) -> dict[str, Any]:
    return {
        **layout.described(),
        "records": [sha256(record_path(folder, shard)) for shard in range(layout.n_shards)],
        "failed": [{"item": item, "reason": reason} for item, reason in failures(records).items()],
    }


def _manifest_is_current(folder: Path, layout: Layout, records: Mapping[int, Mapping[str, Any] | None]) -> bool:
    path = folder / MANIFEST
    if not path.is_file() or not (folder / SKIPPED).is_file():
        return False
    try:
        return bool(read_json(path) == _manifest(folder, layout, records))
    except TcmaxError:
        return False


def _finish(folder: Path, layout: Layout, records: Mapping[int, Mapping[str, Any] | None]) -> None:
    _write_skipped(folder, failures(records))
    write_json(folder / MANIFEST, _manifest(folder, layout, records))


def _write_skipped(folder: Path, failed: Mapping[str, str]) -> None:
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(("item", "reason"))
    rows.writerows(failed.items())
    write_text(folder / SKIPPED, table.getvalue())


# The processes that make shards.


@dataclass
class _Worker:
    """A process, the shard it is at, the row within it, and since when (monotonic clock)."""

    process: multiprocessing.process.BaseProcess
    pipe: Connection
    shard: int | None = None
    row: int | None = None
    since: float = 0.0


def _make_shards(
    folder: Path,
    layout: Layout,
    make: Maker,
    effort: Effort,
    title: str,
    records: dict[int, Mapping[str, Any] | None],
    missing: list[int],
) -> None:
    """Fill `records` with the missing shards."""
    # A fresh interpreter for each: forking a process that has loaded numerical libraries is not safe.
    context = multiprocessing.get_context("spawn")
    todo = list(reversed(missing))
    given_up: dict[int, dict[int, str]] = {shard: {} for shard in missing}  # shard -> row -> reason
    workers: list[_Worker] = []
    started, made = time.monotonic(), 0

    def start() -> _Worker:
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, folder, layout, make), daemon=True)
        process.start()
        theirs.close()
        return _Worker(process, ours)

    def assign(worker: _Worker) -> None:
        worker.shard, worker.row = (todo.pop() if todo else None), None
        if worker.shard is not None:
            worker.since = time.monotonic()
            # A dead one is found by its closed pipe.
            with contextlib.suppress(OSError):
                worker.pipe.send((worker.shard, given_up[worker.shard]))

    def replace(worker: _Worker, reason: str) -> None:
        worker.process.kill()
        worker.process.join()
        worker.pipe.close()
        workers.remove(worker)
        if worker.shard is None:
            return
        if worker.row is None:
            raise TcmaxError(f"a process that prepares {folder} ended before its first item ({reason}).")
        given_up[worker.shard][worker.row] = reason
        todo.append(worker.shard)
        workers.append(start())
        assign(workers[-1])

    try:
        with ProgressLine(title, len(missing)) as progress:
            for _ in range(min(effort.processes, len(missing))):
                workers.append(start())
                assign(workers[-1])
            while any(worker.shard is not None for worker in workers):
                busy = [worker for worker in workers if worker.shard is not None]
                for worker in _heard(busy, timeout=1.0):
                    try:
                        kind, value = worker.pipe.recv()
                    except (EOFError, ConnectionError):
                        worker.process.join()
                        replace(worker, _death(worker.process.exitcode))
                        continue
                    worker.since = time.monotonic()
                    if kind == "row":
                        worker.row = value
                    elif kind == "refused":
                        raise TcmaxError(value)
                    else:
                        assert worker.shard is not None
                        records[worker.shard] = value
                        made += len(value["items"])
                        rate = made / (time.monotonic() - started)
                        progress.advance(f"shard {worker.shard}, {made:,} items made, {rate:.1f} a second")
                        _check_failures(folder, failures(records), effort, len(layout.items))
                        assign(worker)
                for worker in busy:
                    late = time.monotonic() - worker.since > effort.item_seconds
                    if late and worker in workers and worker.shard is not None and worker.row is not None:
                        replace(worker, f"took longer than {effort.item_seconds:g} seconds")
    finally:
        for worker in workers:
            worker.process.kill()
            worker.process.join()
            worker.pipe.close()
        _clear(folder)


def _heard(workers: list[_Worker], timeout: float) -> list[_Worker]:
    by_pipe = {worker.pipe: worker for worker in workers}
    return [by_pipe[pipe] for pipe in wait(list(by_pipe), timeout) if isinstance(pipe, Connection)]


def _death(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        with contextlib.suppress(ValueError):
            return f"its process was killed by {signal.Signals(-exit_code).name}"
    return f"its process ended with status {exit_code}"


def _check_failures(folder: Path, failed: Mapping[str, str], effort: Effort, n_items: int) -> None:
    if len(failed) <= effort.failed_share * n_items:
        return
    where = ""
    if not (folder / MANIFEST).exists():  # whose list this is otherwise
        _write_skipped(folder, failed)
        where = f", all are in {folder / SKIPPED}"
    item, reason = next(iter(failed.items()))
    raise TcmaxError(
        f"{len(failed)} of {n_items} items failed, more than the {effort.failed_share:.1%} allowed; the first is "
        f"{item} ({reason.rstrip('.')}){where}."
    )


def _work(pipe: Connection, folder: Path, layout: Layout, make: Maker) -> None:
    """A process: makes the shards it is told to, until the pipe closes."""
    os.environ["OMP_NUM_THREADS"] = "1"  # read when a numerical library is first imported, which is by `make`
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the parent's to handle
    parent = os.getppid()
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            shard, given_up = pipe.recv()

            def tell(row: int) -> None:
                if os.getppid() != parent:  # killed hard: nobody waits for this shard
                    os._exit(1)
                pipe.send(("row", row))

            try:
                record = make_shard(folder, layout, make, shard, given_up, tell)
            except TcmaxError as error:
                pipe.send(("refused", str(error)))
            else:
                pipe.send(("shard", record))


def make_shard(
    folder: Path,
    layout: Layout,
    make: Maker,
    shard: int,
    given_up: Mapping[int, str],
    tell: Callable[[int], None],
) -> dict[str, Any]:
    """Make and write one shard, and return its record.

    given_up: row -> why it is not tried. tell: called with each row before it is made.
    Rows are gathered in memory: writing through a memory map would end the process on a full disk.
    """
    rows = layout.rows(shard)
    content = {name: np.zeros((len(rows), *one.shape), dtype=one.dtype) for name, one in layout.arrays.items()}
    items = []
    for place, row in enumerate(rows):
        item: dict[str, Any] = {"item": layout.items[row], "sources": {}}
        items.append(item)
        if row in given_up:
            # Without its sources, so that the next build tries it again: it may have been the machine's fault.
            item["failed"] = given_up[row]
            continue
        tell(row)
        try:
            with _readable():
                item["sources"] = _content(make.sources(row))
            arrays, facts = make(row)
            _check_row(layout, arrays)
        except TcmaxError as error:
            item["failed"] = str(error)
            continue
        except Exception as error:  # a hostile file may upset a library in ways nobody listed; the rest goes on
            item["failed"] = f"unexpected {type(error).__name__}: {error}"
            continue
        item["facts"] = dict(facts)
        for name, values in arrays.items():
            content[name][place] = values
    written = {}
    for name, values in content.items():
        path = array_path(folder, shard, name)
        with atomic_path(path) as temporary, temporary.open("wb") as stream:
            # np.save would lose the reason for which the system refuses to write.
            np.lib.format.write_array_header_1_0(stream, np.lib.format.header_data_from_array_1_0(values))
            stream.write(values.data)
        written[name] = {"bytes": path.stat().st_size, "sha256": sha256(path)}
    record = {"items": items, "files": written}
    write_json(record_path(folder, shard), record)
    return record


@contextlib.contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TcmaxError(f"{error.filename} cannot be read ({(error.strerror or str(error)).lower()}).") from error


def _check_row(layout: Layout, arrays: Mapping[str, np.ndarray]) -> None:
    if set(arrays) != set(layout.arrays):
        raise ValueError(f"made {sorted(arrays)}, the store holds {sorted(layout.arrays)}")
    for name, values in arrays.items():
        expected = layout.arrays[name]
        if values.shape != expected.shape or values.dtype != np.dtype(expected.dtype):
            raise ValueError(f"{name} is {values.dtype}{values.shape}, not {expected.dtype}{expected.shape}")
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise TcmaxError(f"its {name} holds NaN or infinite values.")
