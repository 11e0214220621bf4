"""What a dataset is, for everything that trains on it or reads its predictions.

Arrays are NumPy, so that loading and checking data needs no torch. A dataset is a pure function of its files:
its fingerprint covers decoded content, not the bytes of an archive.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from tcmax.data.views import Stored
from tcmax.errors import TcmaxError

PARTS = ("train", "val", "test")
RESERVED = {
    "head": "the name of the part of a model that fuses",
    "joint": "the name of the fused read-out",
    "own": "the name of a method's own read-out",
    "all": "the name of what is measured on all read-outs together",
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class Card:
    """What a user must know before using a dataset: shown by `tcmax data info`."""

    title: str
    licence: str
    source: str
    citation: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fold:
    """Row indices of one fold's parts, each (n_part,) int64, pairwise disjoint."""

    train: np.ndarray
    val: np.ndarray
    test: np.ndarray

    def part(self, name: str) -> np.ndarray:
        """Rows of "train", "val" or "test"."""
        if name not in PARTS:
            raise ValueError(f"a part is one of {PARTS}, not {name!r}")
        rows: np.ndarray = getattr(self, name)
        return rows


def file_order_cut(fold: Fold) -> Fold:
    """The released split of a train list: its first floor(0.8 n) items in file order train, the rest validate.

    Train and val together are the list, and rows of the dataset are in file order; test stays. Whatever makes items
    dependent (speakers, videos) ends up on both sides of the cut.
    """
    listed = np.sort(np.concatenate([fold.train, fold.val]))
    train, val = np.split(listed, [len(listed) * 4 // 5])
    return Fold(train, val, fold.test)


@dataclass(frozen=True)
class Dataset:
    """A multimodal classification dataset with its splits.

    id: canonical name.
    inputs: modality name -> (N, ...) float32 or uint8; any number of modalities; RESERVED names are taken.
    labels: (N,) int64 in [0, C).
    class_names: C names.
    items: (N,) unique stable ids (str). An item whose input differs between roles has one row, and one id, per role.
    groups: name -> (N,) str; rows that share a group are not independent (speaker, writer, actor, video).
    folds: at least one; a split depends on (dataset, fold) alone, never on a seed. Test parts of different folds
        are disjoint, so the union over folds holds each test item once.
    card: licence, source, citation.
    facts: leakage and split facts worth printing, short sentences.
    official_validation: the source itself names the validation items (as AVE does), so that no protocol cuts its own.
    stored: modality name -> its rows in files, for what is too large for `inputs`; checked when they were written.
    tested: whether folds have test items; not in what `without_test` makes.

    Raises TcmaxError when the arrays contradict each other.
    """

    id: str
    inputs: Mapping[str, np.ndarray]
    labels: np.ndarray
    class_names: tuple[str, ...]
    items: np.ndarray
    folds: tuple[Fold, ...]
    card: Card
    groups: Mapping[str, np.ndarray] = field(default_factory=dict)
    facts: tuple[str, ...] = ()
    official_validation: bool = False
    stored: Mapping[str, Stored] = field(default_factory=dict)
    tested: bool = True

    def __post_init__(self) -> None:
        problem = self._problem()
        if problem:
            raise TcmaxError(f"dataset {self.id}: {problem}.")

    def _problem(self) -> str | None:
        n = len(self.labels)
        if not self.modalities:
            return "no modality"
        for name in self.modalities:
            if name in RESERVED:
                return f"a modality may not be called {name!r}, {RESERVED[name]}"
            if name.startswith("joint_"):
                return f"a modality may not be called {name!r}: read-outs derived from all modalities begin so"
            if not _NAME.fullmatch(name):
                return f"modality {name!r}: names become columns, so only letters, digits, '_' and '-'"
            n_rows = self.stored[name].n_items if name in self.stored else len(self.inputs[name])
            if n_rows != n:
                return f"modality {name!r} has {n_rows} rows, the labels have {n}"
        for name, array in self.inputs.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                return f"modality {name!r} holds NaN or infinite values"
        for name, ids in self.groups.items():
            if len(ids) != n:
                return f"group {name!r} has {len(ids)} rows, the labels have {n}"
        if len(self.items) != n:
            return f"{len(self.items)} item ids for {n} labels"
        if len(set(self.items.tolist())) != n:
            return "item ids are not unique"
        if self.labels.dtype != np.int64:
            return f"labels are {self.labels.dtype}, not int64"
        if n == 0 or self.labels.min() < 0 or self.labels.max() >= len(self.class_names):
            return f"labels must lie in 0..{len(self.class_names) - 1}"
        if not self.folds:
            return "no fold"
        tested: set[int] = set()
        for number, fold in enumerate(self.folds):
            rows = [fold.part(part) for part in PARTS]
            together = np.concatenate(rows)
            if together.size and (together.min() < 0 or together.max() >= n):
                return f"fold {number} points outside the data"
            if len(np.unique(together)) != len(together):
                return f"fold {number} puts an item in two parts, or twice in one"
            for part, members in zip(PARTS, rows, strict=True):
                if len(members) == 0 and (part != "test" or self.tested):
                    return f"fold {number} has an empty {part} part"
            if tested & set(fold.test.tolist()):
                return f"fold {number} tests an item that an earlier fold tests too"
            tested |= set(fold.test.tolist())
        return None

    def without_test(self, fold: int) -> "Dataset":
        """The train and validation items of a fold, as a dataset without test items; every fold up to its number is it.

        Arrays hold no row of anything else; rows in files stay where they are, and no part points to those of test
        items. Rows keep their order.
        """
        train, val = self.folds[fold].train, self.folds[fold].val
        nothing = np.empty(0, np.int64)
        if self.stored:
            return replace(self, folds=(Fold(train, val, nothing),) * (fold + 1), tested=False)
        kept = np.sort(np.concatenate([train, val]))
        return replace(
            self,
            inputs={name: array[kept] for name, array in self.inputs.items()},
            labels=self.labels[kept],
            items=self.items[kept],
            groups={name: ids[kept] for name, ids in self.groups.items()},
            folds=(Fold(np.searchsorted(kept, train), np.searchsorted(kept, val), nothing),) * (fold + 1),
            tested=False,
        )

    @property
    def n_classes(self) -> int:
        return len(self.class_names)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Modality names in the order of `inputs`, then of `stored`."""
        return (*self.inputs, *self.stored)

    def shape(self, modality: str) -> tuple[int, ...]:
        """Shape of one item of a modality as a model gets it, without the batch axis."""
        if modality in self.stored:
            return self.stored[modality].view.shape
        return tuple(self.inputs[modality].shape[1:])

    def fingerprint(self) -> str:
        """SHA-256 over decoded content: inputs, labels, ids, groups, class names and splits."""
        digest = hashlib.sha256()

        def add(label: str, array: np.ndarray) -> None:
            array = np.ascontiguousarray(array)
            if array.dtype.kind in "UO":
                payload = "\n".join(map(str, array.tolist())).encode()
            else:
                payload = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
            digest.update(f"{label}|{array.dtype.kind}{array.shape}|{len(payload)}|".encode())
            digest.update(payload)

        for name, array in self.inputs.items():
            add(f"input {name}", array)
        for name, stored in self.stored.items():
            add(f"stored {name}", np.array([stored.digest]))
        add("labels", self.labels.astype(np.int64))
        add("classes", np.array(self.class_names, dtype=object))
        add("items", self.items)
        for name in sorted(self.groups):
            add(f"group {name}", self.groups[name])
        for number, fold in enumerate(self.folds):
            for part in PARTS:
                add(f"fold {number} {part}", fold.part(part).astype(np.int64))
        if self.official_validation:
            add("official validation", np.ones(1, np.int64))
        return digest.hexdigest()


def overlap_facts(dataset: Dataset) -> tuple[str, ...]:
    """Sentences on what val and test share with train: group members, and items identical in every modality.

    With several folds a sentence gives the range over folds.
    """
    digests = _row_digests(dataset)
    sentences = []
    for group, ids in sorted(dataset.groups.items()):
        for part in ("val", "test"):
            members = [(set(ids[fold.train].tolist()), set(ids[fold.part(part)].tolist())) for fold in dataset.folds]
            shared = _span([len(seen & here) for seen, here in members])
            all_of_them = _span([len(here) for _, here in members])
            sentences.append(f"{shared} of {all_of_them} {group} ids in {part} also occur in train")
    for part in ("val", "test"):
        twins = []
        for fold in dataset.folds:
            seen = set(digests[fold.train].tolist())
            twins.append(sum(digest in seen for digest in digests[fold.part(part)].tolist()))
        sentences.append(f"{_span(twins)} items of {part} are byte-identical to a train item")
    if len(dataset.folds) == 1:
        return tuple(sentences)
    return tuple(f"over {len(dataset.folds)} folds: {sentence}" for sentence in sentences)


def _span(counts: list[int]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"


def _row_digests(dataset: Dataset) -> np.ndarray:
    columns = [np.ascontiguousarray(array).reshape(len(array), -1) for array in dataset.inputs.values()]
    return np.array(
        [
            hashlib.blake2b(b"".join(column[row].tobytes() for column in columns), digest_size=16).hexdigest()
            for row in range(len(dataset.labels))
        ]
    )


def data_root() -> Path | None:
    """The folder that holds downloaded datasets: $TCMAX_DATA, or None when it is not set."""
    import os

    value = os.environ.get("TCMAX_DATA")
    return Path(value).expanduser() if value else None
