"""What the sets of ready-made features share: checked arrays, a split by hashing, and scaling by the train part."""

import hashlib
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from tcmax.data.base import Dataset, Fold, data_root, overlap_facts
from tcmax.errors import TcmaxError
from tcmax.records.files import explained

SOURCES_PAGE = "docs/benchmark-datasets.md"
STEPS = 4_096  # of a standard deviation; see `standardised`
LARGEST = 10.0  # standard deviations; see `standardised`
_LIMIT_BYTES = 256 * 2**20  # of uncompressed arrays in one file; the largest has 26 MB


def array_digest(array: np.ndarray) -> str:
    """SHA-256 of an array's type, shape and values: the same however a file stores or compresses it."""
    if array.dtype.kind == "U":
        head, payload = f"U{array.shape}", "\n".join(array.ravel().tolist()).encode()
    else:
        little = array.dtype.newbyteorder("<")
        head, payload = f"{little.str}{array.shape}", np.ascontiguousarray(array, dtype=little).tobytes()
    return hashlib.sha256(f"{head}|".encode() + payload).hexdigest()


@dataclass(frozen=True)
class PublishedArrays:
    """An .npz file below the data root whose content is known.

    dataset: id, for messages. file: path below the root. content: array -> `array_digest`; other arrays are not read.
    """

    dataset: str
    file: str
    content: Mapping[str, str]

    def read(self, root: Path | None = None) -> dict[str, np.ndarray]:
        """The arrays, each checked; nothing is unpickled.

        Raises TcmaxError when the root (default $TCMAX_DATA) is unknown, or the file is missing, damaged, oversized or
        of other content.
        """
        root = root or data_root()
        if root is None:
            raise TcmaxError(
                f"{self.dataset} needs a data root: set the environment variable TCMAX_DATA to the folder that holds "
                f"{self.file} ({SOURCES_PAGE})."
            )
        path = root / self.file
        if not path.is_file():
            raise TcmaxError(f"{path} is missing; {SOURCES_PAGE} says where {self.dataset} comes from.")
        # np.load takes any file for a pickle that is neither a zip nor an array, and says so confusingly.
        if not zipfile.is_zipfile(path):
            raise TcmaxError(f"{path} is not a complete .npz file.")
        try:
            with explained("read", path), zipfile.ZipFile(path) as archive:
                size = sum(entry.file_size for entry in archive.infolist())
            if size > _LIMIT_BYTES:
                raise TcmaxError(f"{path} unpacks to {size:,} bytes, more than the {_LIMIT_BYTES:,} expected at most.")
            with explained("read", path), np.load(path, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in self.content}
        except KeyError as error:
            raise TcmaxError(f"{path} lacks an array of {self.dataset}: {error.args[0]}.") from error
        except (ValueError, EOFError, zlib.error, zipfile.BadZipFile) as error:
            raise TcmaxError(f"{path} cannot be read ({error}).") from error
        for name, array in arrays.items():
            if array_digest(array) != self.content[name]:
                raise TcmaxError(
                    f"{path}: {name!r} does not hold the published content "
                    f"(SHA-256 {array_digest(array)[:12]}…, expected {self.content[name][:12]}…)."
                )
        return arrays


def hash_order(name: str, ids: ArrayLike) -> np.ndarray:
    """Positions of `ids` in the order of SHA-256("<name>/<id>"): a shuffle that any language can repeat."""
    digests = [hashlib.sha256(f"{name}/{one}".encode()).hexdigest() for one in np.asarray(ids).tolist()]
    return np.argsort(digests, kind="stable")


def stratified_split(name: str, labels: np.ndarray, units: np.ndarray, train: int, val: int) -> Fold:
    """`train` and `val` rows of each class, the rest of it tests; rows of one unit stay together.

    Within a class, rows are in `hash_order` of their unit; those before `train` train, the next `val` validate. A unit
    goes where its first row falls, so that a part may have a row more than asked for where units have several rows.

    labels: (N,). units: (N,) ids, each within one class.
    """
    place = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        rows = rows[hash_order(name, units[rows])]
        first_of_unit = {unit: position for position, unit in reversed(list(enumerate(units[rows].tolist())))}
        place[rows] = [first_of_unit[unit] for unit in units[rows].tolist()]
    return Fold(
        train=np.flatnonzero(place < train),
        val=np.flatnonzero((train <= place) & (place < train + val)),
        test=np.flatnonzero(place >= train + val),
    )


def rotated_folds(part: np.ndarray) -> tuple[Fold, ...]:
    """A fold for each part number in `part` (N,), 0 to P - 1: fold k tests part k, validates on k + 1 (cyclically)."""
    n_parts = int(part.max()) + 1
    folds = []
    for test in range(n_parts):
        validating = (test + 1) % n_parts
        folds.append(
            Fold(
                train=np.flatnonzero((part != test) & (part != validating)),
                val=np.flatnonzero(part == validating),
                test=np.flatnonzero(part == test),
            )
        )
    return tuple(folds)


def standardised(array: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Columns with the mean and standard deviation of the train rows taken out: (N, d) float32.

    A column that is constant on train becomes 0 everywhere, and values beyond LARGEST standard deviations are set to
    it: what train hardly shows must not drown the rest. Values are computed in float64 and rounded to 1/STEPS, so that
    machines that sum in another order produce the same bytes.
    """
    values = array.astype(np.float64)
    mean, spread = values[train].mean(axis=0), values[train].std(axis=0)
    varying = np.ptp(values[train], axis=0) > 0
    scores = np.divide(values - mean, spread, out=np.zeros_like(values), where=varying)
    result: np.ndarray = (np.rint(scores.clip(-LARGEST, LARGEST) * STEPS) / STEPS).astype(np.float32)
    return result


def with_facts(dataset: Dataset, *facts: str) -> Dataset:
    """The dataset with what its parts share, then `facts` and the notes of its card, among its facts."""
    return replace(dataset, facts=(*overlap_facts(dataset), *facts, *dataset.card.notes))
