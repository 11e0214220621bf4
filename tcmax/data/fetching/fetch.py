"""Datasets as a user meets them on the command line: list, describe, download, verify.

A download takes the public originals, rebuilds from them the files that the dataset's loader reads, and accepts each
file only when its decoded content is the published one; how an original was compressed does not matter. Files that
are already right are never touched, so a broken download is continued by the same command.
"""

import contextlib
import csv
import hashlib
import io
import sys
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

from tcmax.console import ProgressLine
from tcmax.data import DATASETS, av_digits, crema_d_ratings, grid_letters, leaves100, mfeat, mosi, mvsa, newsgroups_m5
from tcmax.data.base import Card, Dataset, data_root
from tcmax.data.containers import gunzip, idx_array, tar_files
from tcmax.data.feature_sets import SOURCES_PAGE, PublishedArrays, array_digest
from tcmax.data.features import is_feature_path, load_features
from tcmax.data.fetching.download import download
from tcmax.data.fetching.matlab import matlab_arrays
from tcmax.data.media import clip_model
from tcmax.data.media.clips import ACTOR_FOLDS, CLIP_SETS, SPLITS, card_of, clip_set, store_folder
from tcmax.data.media.store import MANIFEST, Store
from tcmax.errors import TcmaxError
from tcmax.records.files import atomic_path, explained, write_bytes, write_text
from tcmax.records.locks import locked

# Where the originals lie, by the key under which `fetch` takes other addresses (a mirror of yours). Each list is tried
# in order. MNIST's own site no longer serves the files; these are the copies that PyTorch and TensorFlow use.
BASE_URLS: dict[str, tuple[str, ...]] = {
    "crema-d": (
        "https://raw.githubusercontent.com/CheyneyComputerScience/CREMA-D/1658cd342dff90010aa843eaeebd53610a08b1dc"
        "/processedResults",
    ),
    "fsdd": ("https://github.com/Jakobovski/free-spoken-digit-dataset/archive",),
    "mnist": (
        "https://ossci-datasets.s3.amazonaws.com/mnist",
        "https://storage.googleapis.com/cvdf-datasets/mnist",
        "https://raw.githubusercontent.com/kelas/mnist/283b387221ab46655e600cfcc25d843bb14292b9",
    ),
    "mosi": (
        "https://raw.githubusercontent.com/declare-lab/multimodal-deep-learning"
        "/111b401d867c14a1dcd930fd2b2ab58a5eca3f70/bc-LSTM/data",
    ),
    "multi-view": (
        "https://raw.githubusercontent.com/zhou572/Multi-view-Datasets/da48f8bf4270c73d57c814a470fcd5fb16d757db",
    ),
    "qmnist": ("https://raw.githubusercontent.com/facebookresearch/qmnist/94061367ec2e099ea18c553c75727ecf849ddb9b",),
}
FSDD_ARCHIVE = "26eb9aaf76e81b692f806f9140c2d2777410d7a1.tar.gz"
QMNIST_LABELS = {"train": "qmnist-train-labels-idx2-int.gz", "test": "qmnist-test-labels-idx2-int.gz"}
_LIMIT_BYTES = 128 * 2**20  # of any one download or archive; the largest has some 20 MB

T = TypeVar("T")
State = Literal["ok", "missing", "damaged"]


@dataclass(frozen=True)
class Check:
    """One file of a dataset below the data root: whether its decoded content is the published one, and if not, why."""

    file: str
    state: State
    detail: str = ""


def listing() -> str:
    """A line per dataset: id, state of its files, title, licence."""
    root = data_root()
    rows = [(name, _presence(name, root), card.title, card.licence) for name, card in _cards().items()]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        "  ".join([*(text.ljust(width) for text, width in zip(row, widths, strict=False)), row[3]]) for row in rows
    )


def info(name: str) -> str:
    """Licence, source and citation of a dataset and, where its files are here, what they contain.

    name: of a dataset, or the path of a user's feature file (`tcmax.data.features`).
    """
    if name not in DATASETS and is_feature_path(Path(name)):
        return _description(load_features(Path(name), Path(name).stem))
    name = DATASETS.canonical(name)
    present = _presence(name, data_root())
    if present.startswith("not here"):
        return "\n".join([*_card_lines(name, _cards()[name]), f"files: {present}"])
    return _description(DATASETS.load(name)())


def _description(dataset: Dataset) -> str:
    shapes = ", ".join(f"{modality} {dataset.shape(modality)}" for modality in dataset.modalities)
    sizes = [tuple(len(fold.part(part)) for part in ("train", "val", "test")) for fold in dataset.folds]
    groups = ", ".join(f"{group} ({len(np.unique(ids))})" for group, ids in dataset.groups.items()) or "none known"
    return "\n".join(
        [
            *_card_lines(dataset.id, dataset.card),
            f"modalities: {shapes}",
            f"rows: {len(dataset.labels):,}; classes: {dataset.n_classes}; groups: {groups}",
            *(
                f"fold {fold}: {train:,} train, {val:,} val, {test:,} test"
                for fold, (train, val, test) in enumerate(sizes)
            ),
            *(["the val items are those that the source names"] if dataset.official_validation else []),
            *(f"fact: {fact}" for fact in dataset.facts if fact not in dataset.card.notes),
            f"fingerprint: {dataset.fingerprint()}",
        ]
    )


def check(name: str, root: Path) -> tuple[Check, ...]:
    """Decode every file of a dataset below `root` and compare it with the published content."""
    checks = []
    for file, read in _recipe(name).readers.items():
        try:
            read(root)
        except TcmaxError as error:
            checks.append(Check(file, "damaged" if (root / file).exists() else "missing", str(error)))
        else:
            checks.append(Check(file, "ok"))
    return tuple(checks)


def verify(name: str, root: Path | None = None) -> str:
    """A line per file, all of them right; otherwise a TcmaxError that names every file which is not, and why.

    Of a dataset that was prepared from media, a line for its store, every file of which has its checksum.
    """
    root = _root(root)
    prepared = _prepared(DATASETS.canonical(name), root)
    if prepared is not None and prepared[0].is_file():
        file = prepared[0]
        Store(file.parent).verify()
        if file.name == mvsa.FEATURES:  # made from the store, and checked by the checksums of an .npz
            load_features(file, name)
        return f"ok  {file.parent}"
    checks = check(name, root)
    wrong = [found for found in checks if found.state != "ok"]
    if wrong:
        reasons = " ".join(f"{found.file} is {found.state} ({found.detail.rstrip('.')})." for found in wrong)
        hint = f" Run `tcmax data fetch {name}`." if _recipe(name).build else ""
        raise TcmaxError(f"{len(wrong)} of {len(checks)} files of {name} are not right: {reasons}{hint}")
    return "\n".join(f"ok  {root / found.file}" for found in checks)


def fetch(
    name: str,
    root: Path | None = None,
    base_urls: Mapping[str, Sequence[str]] | None = None,
    *,
    pause_seconds: float = 1.0,
) -> str:
    """Download and rebuild what is missing or damaged below `root` (default $TCMAX_DATA), and verify all of it.

    base_urls: other addresses for keys of BASE_URLS.
    pause_seconds: before the second attempt at a broken transfer; doubles with each further one.

    The licence is printed (standard error) before anything is fetched. Returns the text of `verify`. Raises TcmaxError
    when the dataset needs no download or cannot be rebuilt by one, nothing can be reached, a server's content is not
    the published one, the disk refuses, or another fetch is at work in the same folder.
    """
    recipe = _recipe(name)
    root = _root(root)
    unknown = set(base_urls or {}) - set(BASE_URLS)
    if unknown:
        raise TcmaxError(f"no such source of originals: {', '.join(sorted(unknown))}; known: {', '.join(BASE_URLS)}.")
    for line in _card_lines(DATASETS.canonical(name), recipe.card):
        print(line, file=sys.stderr, flush=True)
    if all(found.state == "ok" for found in check(name, root)):  # so that a complete root may be read-only
        return verify(name, root)
    if not recipe.build:
        raise TcmaxError(f"{name} cannot be downloaded by this command: {SOURCES_PAGE} says how to get its files.")
    with _alone(root) as downloads:
        needed = [found.file for found in check(name, root) if found.state != "ok"]
        with ProgressLine(f"fetch {name}", len(needed)) as progress:
            originals = _Originals(downloads, {**BASE_URLS, **(base_urls or {})}, progress, pause_seconds)
            for file in needed:
                recipe.build[file](root, originals)
                progress.advance(file)
    return verify(name, root)


@dataclass(frozen=True)
class _Originals:
    """Hands out originals, as decoded by a caller's function, from a folder of partial downloads."""

    folder: Path
    base_urls: Mapping[str, Sequence[str]]
    progress: ProgressLine
    pause_seconds: float

    @contextlib.contextmanager
    def get(self, key: str, file: str, accept: Callable[[Path], T]) -> Iterator[tuple[Path, T]]:
        """The downloaded file and what `accept` made of it; the file is gone after the block."""
        path = self.folder / f"{key}-{file.replace('/', '-')}.part"
        content = download(
            [f"{base.rstrip('/')}/{file}" for base in self.base_urls[key]],
            path,
            accept,
            limit_bytes=_LIMIT_BYTES,
            within=self.progress.within,
            pause_seconds=self.pause_seconds,
        )
        try:
            yield path, content
        finally:
            path.unlink(missing_ok=True)


def _build_recordings(root: Path, originals: _Originals) -> None:
    def accept(archive: Path) -> dict[str, bytes]:
        wavs = tar_files(archive, av_digits.recording_name, _LIMIT_BYTES)
        av_digits.checked_samples(wavs, archive)
        return wavs

    with (
        originals.get("fsdd", FSDD_ARCHIVE, accept) as (_, wavs),
        atomic_path(root / "fsdd/recordings.tar") as path,
        tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for name in av_digits.RECORDINGS:  # fixed order, no dates, no owners: equal bytes everywhere
            member = tarfile.TarInfo(f"recordings/{name}")
            member.size = len(wavs[name])
            archive.addfile(member, io.BytesIO(wavs[name]))


def _build_idx(root: Path, originals: _Originals, file: str) -> None:
    with originals.get("mnist", Path(file).name, partial(av_digits.checked_idx, file)) as (path, _):
        write_bytes(root / file, path.read_bytes())


def _build_writers(root: Path, originals: _Originals) -> None:
    """QMNIST's extended labels have eight columns, of which 0 is the digit, 1 the NIST series and 2 the writer.

    Its first 60,000 and 10,000 rows are MNIST's training and test images, in order.
    """

    def accept(path: Path) -> np.ndarray:
        rows = idx_array(gunzip(path, _LIMIT_BYTES), path)
        if rows.shape != (60_000, 8):
            raise TcmaxError(f"{path} has the shape {rows.shape}, not (60000, 8).")
        return rows

    arrays: dict[str, np.ndarray] = {}
    for part, n_images in (("train", 60_000), ("test", 10_000)):
        with originals.get("qmnist", QMNIST_LABELS[part], accept) as (_, rows):
            for column, (meaning, dtype) in enumerate((("digit", np.int8), ("hsf", np.int8), ("writer", np.int16))):
                arrays[f"{part}_{meaning}"] = rows[:n_images, column].astype(dtype)
    av_digits.require_published("mnist/writers.npz", av_digits.writer_bytes(arrays), "the pair of QMNIST label files")
    content = io.BytesIO()
    np.savez_compressed(content, **{name: arrays[name] for name in av_digits.WRITER_ARRAYS})  # type: ignore[arg-type]
    write_bytes(root / "mnist/writers.npz", content.getvalue())


def _build_pairs(root: Path, originals: _Originals) -> None:
    """The pairing, which comes with this package, as a table with the writers of the images."""
    pairing = files("tcmax.data").joinpath("av_digits_pairing.csv").read_text(encoding="utf-8")
    rows = [line.split(",") for line in pairing.splitlines() if line[0].isdigit()]
    writers = av_digits.writers(root)
    lines = ["pair_id,recording,digit,speaker,index,train_image,train_writer,test_image,test_writer"]
    for number, (recording, (train, test)) in enumerate(zip(av_digits.RECORDINGS, rows, strict=True)):
        digit, speaker, take = Path(recording).stem.split("_")
        train_writer, test_writer = writers["train_writer"][int(train)], writers["test_writer"][int(test)]
        lines.append(f"{number},{recording},{digit},{speaker},{take},{train},{train_writer},{test},{test_writer}")
    _write_table(root, "av_digits/pairs.csv", lines)


def _build_folds(root: Path, originals: _Originals) -> None:
    """Each speaker tests once, the next one in the alphabet (cyclically) validates, the other four train."""
    lines = ["fold,test_speaker,val_speaker,train_speakers"]
    speakers = av_digits.SPEAKERS
    for fold, test in enumerate(speakers):
        val = speakers[(fold + 1) % len(speakers)]
        lines.append(f"{fold},{test},{val},{' '.join(name for name in speakers if name not in (test, val))}")
    _write_table(root, "av_digits/folds.csv", lines)


def _write_table(root: Path, file: str, lines: list[str]) -> None:
    text = "\n".join(lines) + "\n"
    av_digits.require_published(file, text.encode(), "the table built here")
    write_text(root / file, text)


def _build_views(
    root: Path, originals: _Originals, published: PublishedArrays, file: str, twins: tuple[tuple[int, int], ...] = ()
) -> None:
    """The arrays of a MATLAB file that collects views of a set, whatever they are called there.

    twins: pairs of rows that are equal in all views, for the array "dup_group".
    """

    def accept(path: Path) -> dict[str, np.ndarray]:
        with explained("read", path):
            found = matlab_arrays(path.read_bytes(), path, _LIMIT_BYTES)
        return _published_arrays(found, published.content, twins, path)

    with originals.get("multi-view", file, accept) as (_, arrays):
        content = io.BytesIO()
        np.savez_compressed(content, **arrays)  # type: ignore[arg-type]
        write_bytes(root / published.file, content.getvalue())


def _published_arrays(
    found: Sequence[np.ndarray], content: Mapping[str, str], twins: tuple[tuple[int, int], ...], origin: Path
) -> dict[str, np.ndarray]:
    """Those of `found` that are the published ones when rows are items, sorted by class, in a type that loses nothing.

    content: name -> `array_digest`. Raises TcmaxError when one of them is not there.
    """
    names = {digest: name for name, digest in content.items()}
    arrays: dict[str, np.ndarray] = {}
    for vector in (array.ravel() for array in found if array.size and array.size == max(array.shape)):
        order = np.argsort(vector, kind="stable")
        label = (vector[order] - vector.min()).astype(np.uint8)  # classes are numbered from 0 or 1
        if array_digest(label) == content["label"]:
            arrays["label"] = label
            break
    else:
        raise TcmaxError(f"{origin} does not hold the published labels.")
    for rows in (turned[order] for array in found for turned in (array, array.T) if len(turned) == len(order)):
        for dtype in (np.uint8, np.uint16, np.float64):
            with np.errstate(invalid="ignore"):
                same = rows.astype(dtype)
            name = names.get(array_digest(same))
            if name is not None:
                arrays[name] = same
    if "dup_group" in content:
        arrays["dup_group"] = np.full(len(order), -1, dtype=np.int16)
        for number, pair in enumerate(twins):
            arrays["dup_group"][list(pair)] = number
    absent = set(content) - set(arrays)
    if absent:
        raise TcmaxError(f"{origin} does not hold the published {', '.join(sorted(absent))}.")
    return arrays


def _build_ratings(root: Path, originals: _Originals) -> None:
    """The votes on voice and face of each clip: rows 100,000 q + number of the published table, q = 1 and 2."""

    def accept(path: Path) -> str:
        with explained("read", path):
            text = path.read_text(encoding="utf-8-sig", errors="replace")
        votes: dict[str, dict[str, list[str]]] = {}
        for row in csv.DictReader(io.StringIO(text)):
            modality = {"1": "voice", "2": "face"}.get((row.get("") or "")[:1])
            if modality is not None:
                counts = [row.get(letter) or "" for letter in crema_d_ratings.EMOTIONS]
                votes.setdefault(row.get("fileName") or "", {})[modality] = counts
        lines = "".join(f"{_ratings_line(clip, of)}\n" for clip, of in sorted(votes.items()))
        if hashlib.sha256(lines.encode()).hexdigest() != crema_d_ratings.CONTENT:
            raise TcmaxError(f"{path} does not hold the published votes.")
        return ",".join(crema_d_ratings.COLUMNS) + "\n" + lines

    with originals.get("crema-d", "tabulatedVotes.csv", accept) as (_, table):
        write_text(root / crema_d_ratings.FILE, table)


def _ratings_line(clip: str, votes: Mapping[str, list[str]]) -> str:
    actor, _, emotion, *_ = [*clip.split("_"), "", ""]
    known = actor.isascii() and actor.isdigit() and 0 <= int(actor) - 1001 < len(ACTOR_FOLDS)
    fold = ACTOR_FOLDS[int(actor) - 1001] if known else ""
    return ",".join((clip, actor, emotion, fold, *votes.get("voice", ()), *votes.get("face", ())))


_MOSI_VIEWS = ("text", "audio", "video")


def _build_mosi(root: Path, originals: _Originals) -> None:
    """Nine tables without header: the corpus, which of its rows train and test, and features with the label behind."""

    def table(path: Path) -> list[list[str]]:
        with explained("read", path):
            text = path.read_text(encoding="utf-8-sig", errors="replace")
        rows = [row for row in csv.reader(io.StringIO(text)) if row]
        if not rows or min(map(len, rows)) != max(map(len, rows)):
            raise TcmaxError(f"{path} is not a table.")
        return rows

    def numbers(path: Path) -> np.ndarray:
        try:
            return np.array(table(path), dtype=np.float64)
        except ValueError as error:
            raise TcmaxError(f"{path} is not a table of numbers ({error}).") from error

    def get(file: str, accept: Callable[[Path], T]) -> T:
        with originals.get("mosi", file, accept) as (_, content):
            return content

    corpus = get("transcripts.csv", table)
    places = {part: get(f"text_{part}.csv", numbers)[:, 0].astype(np.int64) for part in ("train", "test")}
    features = {
        (modality, part): get(f"{modality}/{modality}_{part}0.csv", numbers)[:, :-1]
        for modality in _MOSI_VIEWS
        for part in places
    }
    try:
        names = [row[0].rpartition("_") for row in corpus]
        arrays = {
            "label": np.array([int(row[3]) for row in corpus], dtype=np.uint8),
            "split": np.zeros(len(corpus), dtype=np.uint8),
            "video_id": np.array([name[0] for name in names]),
            "utterance": np.array([int(name[2]) for name in names], dtype=np.int16),
        }
        arrays["split"][places["test"]] = 1
        for modality in _MOSI_VIEWS:
            width = features[modality, "train"].shape[1]
            arrays[modality] = np.zeros((len(corpus), width), dtype=np.float32)
            for part, rows in places.items():
                arrays[modality][rows] = features[modality, part]
    except (IndexError, ValueError, OverflowError) as error:
        raise TcmaxError(f"the tables of {mosi.FILE.dataset} do not fit each other ({error}).") from error
    wrong = [name for name, digest in mosi.FILE.content.items() if array_digest(arrays[name]) != digest]
    if wrong:
        raise TcmaxError(f"the tables of {mosi.FILE.dataset} do not hold the published {', '.join(wrong)}.")
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)  # type: ignore[arg-type]
    write_bytes(root / mosi.FILE.file, content.getvalue())


@dataclass(frozen=True)
class _Recipe:
    """How a dataset's files are checked and made, each in this order (a file may need those before it).

    build is empty where the files cannot be made from the public originals by a program alone.
    """

    card: Card
    readers: Mapping[str, Callable[[Path], object]]
    build: Mapping[str, Callable[[Path, _Originals], None]]


def _by_hand(card: Card, file: str, read: Callable[[Path], object]) -> _Recipe:
    return _Recipe(card, readers={file: read}, build={})


def _of_views(card: Card, published: PublishedArrays, file: str, twins: tuple[tuple[int, int], ...] = ()) -> _Recipe:
    return _Recipe(
        card,
        readers={published.file: published.read},
        build={published.file: partial(_build_views, published=published, file=file, twins=twins)},
    )


# Rows of mfeat that are equal in all six views.
_MFEAT_TWINS = ((1265, 1272), (1237, 1271), (1892, 1999), (1148, 1172), (1448, 1521), (605, 774))

_RECIPES = {
    "av-digits": _Recipe(
        card=av_digits.CARD,
        readers=av_digits.READERS,
        build={
            "fsdd/recordings.tar": _build_recordings,
            **{file: partial(_build_idx, file=file) for file in av_digits.CONTENT if file.endswith("-ubyte.gz")},
            "mnist/writers.npz": _build_writers,
            "av_digits/pairs.csv": _build_pairs,
            "av_digits/folds.csv": _build_folds,
        },
    ),
    **{
        f"mfeat-{n_views}": _of_views(mfeat.CARD, mfeat.FILE, "handwritten.mat", _MFEAT_TWINS)
        for n_views in range(2, 7)
    },
    "leaves100": _of_views(leaves100.CARD, leaves100.FILE, "100Leaves.mat"),
    "newsgroups-m5": _of_views(newsgroups_m5.CARD, newsgroups_m5.FILE, "NGs.mat"),
    "mosi-features": _Recipe(
        card=mosi.CARD, readers={mosi.FILE.file: mosi.FILE.read}, build={mosi.FILE.file: _build_mosi}
    ),
    **{
        f"grid-letters{noise}": _by_hand(grid_letters.CARD, grid_letters.FILE.file, grid_letters.FILE.read)
        for noise in ("", "-5db", "-0db", "-minus5db")
    },
    "crema-d-ratings": _Recipe(
        card=crema_d_ratings.CARD,
        readers={crema_d_ratings.FILE: crema_d_ratings.ratings},
        build={crema_d_ratings.FILE: _build_ratings},
    ),
}


_RECIPES["av-digits-first-fold"] = _RECIPES["av-digits"]


def _prepared(name: str, root: Path) -> tuple[Path, str] | None:
    """For a dataset made from media that a user has: the file that says it is there, and the command that makes it."""
    if name in CLIP_SETS or name in SPLITS:
        return store_folder(name, root) / MANIFEST, f"tcmax prepare {clip_set(name).id} --source MEDIA"
    for model in clip_model.MODELS:
        if name == f"{mvsa.ID}-{model}":
            return mvsa.store_of(model, root) / mvsa.FEATURES, mvsa.command(model)
    return None


def _recipe(name: str) -> _Recipe:
    known = DATASETS.canonical(name)
    prepared = _prepared(known, Path())
    if prepared is not None:
        raise TcmaxError(f"{known} is made from media that you have: run `{prepared[1]}` (docs/raw-media.md).")
    if known not in _RECIPES:
        raise TcmaxError(f"{known} has no files below the data root: its loader brings its own data.")
    return _RECIPES[known]


def _root(root: Path | None) -> Path:
    root = root or data_root()
    if root is None:
        raise TcmaxError("no data root: give a folder with --root, or set the environment variable TCMAX_DATA.")
    return root


def _cards() -> dict[str, Card]:
    """The card of each dataset, from the module that loads it; none is loaded."""
    cards = {}
    for name in DATASETS.names():
        if name in CLIP_SETS or name in SPLITS:
            cards[name] = card_of(name)
            continue
        module = import_module(DATASETS.target(name).partition(":")[0])
        cards[name] = getattr(module, "CARD", Card(name, "not stated", "an installed package", "not stated"))
    return cards


def _card_lines(name: str, card: Card) -> list[str]:
    return [
        f"{name}: {card.title}",
        f"licence: {card.licence}",
        f"source: {card.source}",
        f"citation: {card.citation}",
        *(f"note: {note}" for note in card.notes),
    ]


def _presence(name: str, root: Path | None) -> str:
    """Whether the files are there; not whether they are right, which `check` says."""
    prepared = _prepared(name, root or Path())
    if prepared is not None:
        file, command = prepared
        return f"in {file.parent}" if root is not None and file.is_file() else f"not here; run `{command}`"
    if name not in _RECIPES:
        return "needs no download"
    if root is not None and all((root / file).is_file() for file in _RECIPES[name].readers):
        return f"in {root}"
    return f"not here; run `tcmax data fetch {name}`" if _RECIPES[name].build else f"not here; see {SOURCES_PAGE}"


@contextlib.contextmanager
def _alone(root: Path) -> Iterator[Path]:
    """The folder of partial downloads below `root`, held by one process at a time and removed when empty."""
    folder = root / ".downloads"
    lock = folder / "lock"
    with locked(lock, f"another fetch is at work in {root}; wait for it to end."):
        try:
            yield folder
        finally:
            with contextlib.suppress(OSError):
                lock.unlink()
                folder.rmdir()
