"""Published sets of audio-visual clips: their lists, their groups, their splits.

One literal description per set. Lists are read below the data root, as published, splits/<SET>/<part>.csv; the media
lie anywhere below a folder of the user's and are found by file name. Where there is no validation list, the last fifth
of the train list, in list order, validates, as in the papers (`tcmax.data.base.file_order_cut`). Splits that keep
apart what the papers' do not are datasets of their own (SPLITS).
"""

import csv
import io
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from tcmax.data.base import PARTS, Card, Fold, data_root, file_order_cut
from tcmax.errors import TcmaxError
from tcmax.records.files import explained


@dataclass(frozen=True)
class ClipSet:
    """A published set.

    lists: part -> file below the data root. header: its first line, or () when the first line is a clip.
    classes: names in the order of the labels, or how many the train list names (then in alphabetical order).
    name: a pattern for clip names; its named groups are what makes clips dependent, and are counted in the report.
    groups: those of them that a dataset hands on to intervals.
    listed_again: a clip may be listed more than once, with different labels (AVE).
    sound, picture: file extensions; the first that exists is used. () where a set has no such modality.
    audio: which feature ("spectrogram" or "filterbank"), or "". frames, flow: how many of each a clip gives.
    stated: part -> rows that the paper states.
    """

    id: str
    card: Card
    lists: Mapping[str, str]
    header: tuple[str, ...]
    classes: tuple[str, ...] | int
    name: str
    groups: tuple[str, ...]
    sound: tuple[str, ...]
    picture: tuple[str, ...]
    audio: str
    frames: int
    flow: int = 0
    listed_again: bool = False
    stated: Mapping[str, int] = field(default_factory=dict)


_MIRRORED = "lists as released with TCMax (github.com/hubaak/TCMax), media from the authors of the set"
_HEADER = ("youtube_id", "label")
_VIDEO = (".mp4", ".webm", ".mkv", ".avi", ".flv", ".mpg")

LEAKAGE = "leakage.json"  # beside a store: what its splits leak, and which store it is

CLIP_SETS: dict[str, ClipSet] = {
    "crema-d": ClipSet(
        id="crema-d",
        card=Card(
            title="CREMA-D: six acted emotions, voice and face",
            licence="Open Database License 1.0, contents under the Database Contents License 1.0",
            source=f"github.com/CheyneyComputerScience/CREMA-D; {_MIRRORED}",
            citation="H. Cao et al., CREMA-D, IEEE Transactions on Affective Computing 5(4), 2014",
            notes=("Every actor speaks in train, validation and test: accuracy is for known speakers.",),
        ),
        lists={"train": "splits/CREMAD/train.csv", "test": "splits/CREMAD/test.csv"},
        header=(),
        classes=("NEU", "HAP", "SAD", "FEA", "DIS", "ANG"),
        name=r"(?P<actor_sentence>(?P<actor>10(0[1-9]|[1-8]\d|9[01]))_(?P<sentence>[A-Z]{3}))_[A-Z]{3}_(LO|MD|HI|XX|X)",
        groups=("actor", "sentence"),
        sound=(".wav",),  # eleven groups of its mp3 files hold the sound of other clips
        picture=(".flv", ".mp4", ".avi"),
        audio="spectrogram",
        frames=3,
        stated={"train": 6_698, "test": 744},
    ),
    "ave": ClipSet(
        id="ave",
        card=Card(
            title="AVE: 28 audio-visual events",
            licence="media as on YouTube; lists MIT (TCMax)",
            source=f"sites.google.com/view/audiovisualresearch; {_MIRRORED}",
            citation="Y. Tian et al., Audio-Visual Event Localization in Unconstrained Videos, ECCV 2018",
            notes=("Some videos are listed more than once, always with another label, also across parts.",),
        ),
        lists={part: f"splits/AVE/{part}.csv" for part in PARTS},
        header=_HEADER,
        classes=28,
        name=r"(?P<video>.{11})",
        groups=("video",),
        sound=(".wav", *_VIDEO),
        picture=_VIDEO,
        audio="spectrogram",
        frames=3,
        listed_again=True,
        stated={"train": 3_339, "val": 402, "test": 402},
    ),
    "kinetics-sounds": ClipSet(
        id="kinetics-sounds",
        card=Card(
            title="Kinetics-Sounds: 31 actions that are seen and heard",
            licence="media as on YouTube; annotations CC BY 4.0 (Kinetics); lists MIT (TCMax)",
            source=f"Kinetics-400; {_MIRRORED}",
            citation="R. Arandjelović and A. Zisserman, Look, Listen and Learn, ICCV 2017",
            notes=("The lists hold 17,269 clips, the paper says 19,000.",),
        ),
        lists={"train": "splits/KineticsSound/train.csv", "test": "splits/KineticsSound/test.csv"},
        header=_HEADER,
        classes=31,
        name=r"(?P<video>.{11})_\d{6}_\d{6}",
        groups=("video",),
        sound=(".wav", *_VIDEO),
        picture=_VIDEO,
        audio="filterbank",
        frames=3,
    ),
    "vggsound": ClipSet(
        id="vggsound",
        card=Card(
            title="VGGSound: 309 classes of sounds with their sources in view",
            licence="CC BY 4.0 (annotations); media as on YouTube",
            source=f"www.robots.ox.ac.uk/~vgg/data/vggsound; {_MIRRORED}",
            citation="H. Chen et al., VGGSound: A Large-Scale Audio-Visual Dataset, ICASSP 2020",
            notes=(
                "The train list of the paper was not released: make splits/VGGSound/train.csv from the authors' list.",
                "Re-annotation finds its own label among the right ones for 79 % of the test clips.",
            ),
        ),
        lists={"train": "splits/VGGSound/train.csv", "test": "splits/VGGSound/test.csv"},
        header=_HEADER,
        classes=309,
        name=r"(?P<video>.{11})_\d+_\d+",
        groups=("video",),
        sound=(".wav", *_VIDEO),
        picture=_VIDEO,
        audio="spectrogram",
        frames=4,
        stated={"train": 152_638, "test": 13_294},
    ),
    "ucf101": ClipSet(
        id="ucf101",
        card=Card(
            title="UCF101 (split 1): 101 actions, frames and optical flow",
            licence="not stated; lists MIT (TCMax)",
            source=f"www.crcv.ucf.edu/data/UCF101.php; {_MIRRORED}",
            citation="K. Soomro et al., UCF101, CRCV-TR-12-01, 2012",
            notes=("Clips come in groups from one source video; intervals must resample groups.",),
        ),
        lists={"train": "splits/UCF101/train.csv", "test": "splits/UCF101/test.csv"},
        header=("idx", "label"),
        classes=101,
        name=r"v_(?P<group>\w+_g\d\d)_c\d\d",
        groups=("group",),
        sound=(),
        picture=(".avi", ".mp4"),
        audio="",
        frames=3,
        flow=10,
        stated={"train": 9_537, "test": 3_783},
    ),
}
ALIASES = {
    "CREMAD": "crema-d",
    "CREMA-D": "crema-d",
    "AVE": "ave",
    "KS": "kinetics-sounds",
    "KineticsSound": "kinetics-sounds",
    "Kinetics-Sounds": "kinetics-sounds",
    "VGGSound": "vggsound",
    "UCF101": "ucf101",
    "UCF-101": "ucf101",
}


@dataclass(frozen=True)
class Listed:
    """The rows of a set's lists: train first, then val where it is listed, then test, each in list order.

    items: (n) unique ids, the clip's name, or name@part/label where a clip is listed more than once.
    clips: (n) names. parts: (n) of PARTS. labels: (n,) int64. groups: name -> (n) ids.
    """

    clip_set: ClipSet
    class_names: tuple[str, ...]
    items: tuple[str, ...]
    clips: tuple[str, ...]
    parts: tuple[str, ...]
    labels: np.ndarray
    groups: Mapping[str, tuple[str, ...]]

    def listed_fold(self) -> Fold:
        """Rows of each list; `val` is empty where there is no such list."""
        parts = np.array(self.parts)
        return Fold(**{part: np.flatnonzero(parts == part) for part in PARTS})

    def released_fold(self, ready: np.ndarray | None = None, drop_first: bool = False) -> Fold:
        """The papers' split: the validation list, or else the last fifth of the train list.

        ready: (n,) bool, rows whose media could be prepared; the others belong to no part. drop_first: leave them out
        before the cut, as the released code does, so that the split depends on which files are on the disk.
        """
        keep = np.ones(len(self.items), dtype=bool) if ready is None else ready
        fold = self.listed_fold()
        if drop_first:
            fold = _only(fold, keep)
        if "val" not in self.clip_set.lists:
            fold = file_order_cut(fold)
        return _only(fold, keep)

    def folds(self, name: str, ready: np.ndarray | None = None) -> tuple[Fold, ...]:
        """The folds of a dataset id: of SPLITS, or the papers' split. `ready` as above."""
        if name not in SPLITS:
            return (self.released_fold(ready),)
        keep = np.ones(len(self.items), dtype=bool) if ready is None else ready
        return tuple(_only(fold, keep) for fold in SPLITS[name].folds(self))


@dataclass(frozen=True)
class Split:
    """A division of a set whose parts share nothing that makes clips dependent: a dataset under an id of its own.

    clip_set: id of the set, and of its store. apart: a group, or "clip", of which no id is in two parts.
    folds: from the set's lists, whatever could be prepared. what: in words. notes: of the set's card, that hold here.
    """

    clip_set: str
    apart: str
    folds: "Callable[[Listed], tuple[Fold, ...]]"
    what: str
    notes: tuple[str, ...] = ()

    @property
    def official_validation(self) -> bool:
        """As of a `Dataset`."""
        return "val" in CLIP_SETS[self.clip_set].lists


# Which of five folds tests an actor, 1001 to 1091: balanced by sex, the folds of `crema-d-ratings`.
ACTOR_FOLDS = "2142414103221033023210400432312141032212444113040044301204031130323321304400343142024120123"
_LAST_GROUPS = ("g22", "g23", "g24", "g25")  # of 25 in each class


def _by_actor(listed: Listed) -> tuple[Fold, ...]:
    """Fold k tests the actors of part k, validates on those of part k + 1 (cyclically), trains on the other three."""
    part = np.array([int(ACTOR_FOLDS[int(actor) - 1001]) for actor in listed.groups["actor"]])
    folds = []
    for test in range(5):
        val = (test + 1) % 5
        rest = ~np.isin(part, (test, val))
        folds.append(Fold(np.flatnonzero(rest), np.flatnonzero(part == val), np.flatnonzero(part == test)))
    return tuple(folds)


def _by_group(listed: Listed) -> tuple[Fold, ...]:
    """Of the train list, the last four groups of each class validate."""
    fold = listed.listed_fold()
    validates = np.array([group.endswith(_LAST_GROUPS) for group in listed.groups["group"]])[fold.train]
    return (Fold(fold.train[~validates], fold.train[validates], fold.test),)


def _each_once(listed: Listed) -> tuple[Fold, ...]:
    """A clip stays in the last of the lists that name it, test after val after train, unless that names it twice."""
    fold = listed.listed_fold()
    times = {part: Counter(listed.clips[row] for row in fold.part(part)) for part in PARTS}

    def kept(part: str) -> np.ndarray:
        later = PARTS[PARTS.index(part) + 1 :]
        once = [
            times[part][listed.clips[row]] == 1 and not any(listed.clips[row] in times[other] for other in later)
            for row in fold.part(part)
        ]
        result: np.ndarray = fold.part(part)[np.array(once, dtype=bool)]
        return result

    return (Fold(**{part: kept(part) for part in PARTS}),)


SPLITS: dict[str, Split] = {
    "crema-d-actors": Split(
        clip_set="crema-d",
        apart="actor",
        folds=_by_actor,
        what="five folds by actor, over all clips of both lists; fold k validates on the actors that fold k + 1 tests",
    ),
    "ave-once": Split(
        clip_set="ave",
        apart="clip",
        folds=_each_once,
        what="the lists without videos that a later one of train, val, test names too, or that one names twice",
    ),
    "ucf101-groups": Split(
        clip_set="ucf101",
        apart="group",
        folds=_by_group,
        what="of the train list, groups 22 to 25 of each class validate, which no official split tests; test as listed",
        notes=CLIP_SETS["ucf101"].card.notes,
    ),
}


def _only(fold: Fold, keep: np.ndarray) -> Fold:
    return Fold(**{part: fold.part(part)[keep[fold.part(part)]] for part in PARTS})


def clip_set(name: str) -> ClipSet:
    """The set of that id or alias, or that a split divides. Raises TcmaxError when there is none."""
    known = SPLITS[name].clip_set if name in SPLITS else ALIASES.get(name, name)
    if known not in CLIP_SETS:
        raise TcmaxError(
            f"no raw media of {name!r} can be prepared; known sets are {', '.join(CLIP_SETS)}, mvsa-single."
        )
    return CLIP_SETS[known]


def card_of(name: str) -> Card:
    """The card of a dataset id: of a set, or of a split, which says what it keeps apart. Raises as `clip_set` does."""
    card = clip_set(name).card
    if name not in SPLITS:
        return card
    split = SPLITS[name]
    return replace(card, title=f"{card.title}; no {split.apart} in two parts", notes=(split.what, *split.notes))


def store_folder(name: str, root: Path | None = None) -> Path:
    """Where the store of a set stands unless the user says otherwise: <data root>/stores/<set>."""
    root = root or data_root()
    if root is None:
        raise TcmaxError("where to? Give a folder with --store, or set the environment variable TCMAX_DATA.")
    return root / "stores" / clip_set(name).id


def media_folder(name: str) -> Path | None:
    """Where the DAG finds the raw media of a set, $TCMAX_SOURCES/<set>; None when there is no such folder."""
    sources = os.environ.get("TCMAX_SOURCES")
    folder = Path(sources) / clip_set(name).id if sources else None
    return folder if folder is not None and folder.is_dir() else None


def read_lists(chosen: ClipSet, root: Path) -> Listed:
    """Read and check the lists of a set below the data root.

    A byte-order mark, quotes, blank lines and either kind of line end are read as what they are.

    Raises TcmaxError, naming file and line, when a list is missing, is not UTF-8, has another header or other columns,
    holds a name that the set's clips do not have, a label outside the classes, a clip twice with one label (or at all,
    where the set's clips are listed once), or when the number of classes is wrong.
    """
    parts, clips, labels, places = [], [], [], []
    for part in PARTS:
        if part not in chosen.lists:
            continue
        path = Path(root) / chosen.lists[part]
        for line, (clip, label) in _rows(chosen, path):
            parts.append(part)
            clips.append(clip)
            labels.append(label)
            places.append(f"{path}, line {line}")
    class_names = _class_names(chosen, root, labels, parts)
    numbers = {name: number for number, name in enumerate(class_names)}
    for label, place in zip(labels, places, strict=True):
        if label not in numbers:
            raise TcmaxError(f"{place}: {label!r} is not one of the {len(class_names)} classes of {chosen.id}.")
    pattern = re.compile(chosen.name)
    matches = [pattern.fullmatch(clip) for clip in clips]
    found = {name: [] for name in pattern.groupindex}  # type: dict[str, list[str]]
    for clip, match, place in zip(clips, matches, places, strict=True):
        if match is None:
            raise TcmaxError(f"{place}: {clip!r} is not the name of a clip of {chosen.id}.")
        for name, ids in found.items():
            ids.append(match[name])
    return Listed(
        clip_set=chosen,
        class_names=class_names,
        items=_items(chosen, clips, parts, labels, places),
        clips=tuple(clips),
        parts=tuple(parts),
        labels=np.array([numbers[label] for label in labels], dtype=np.int64),
        groups={name: tuple(ids) for name, ids in found.items()},
    )


def _rows(chosen: ClipSet, path: Path) -> Iterable[tuple[int, tuple[str, str]]]:
    """(line number, (clip, label)) of a list."""
    if not path.is_file():
        raise TcmaxError(f"there is no list {path}; lists as published belong below the data root (docs/raw-media.md).")
    with explained("read", path):
        content = path.read_bytes()
    try:
        reader = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        rows = [(reader.line_num, tuple(cell.strip() for cell in row)) for row in reader if any(row)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise TcmaxError(f"{path} is not a list of clips in UTF-8 ({error}).") from error
    if chosen.header:
        if not rows or rows[0][1] != chosen.header:
            raise TcmaxError(f"{path} does not begin with the line {','.join(chosen.header)!r}.")
        rows = rows[1:]
    if not rows:
        raise TcmaxError(f"{path} lists no clip.")
    for line, row in rows:
        if len(row) != 2:
            raise TcmaxError(f"{path}, line {line}: {len(row)} columns, not a clip and its label.")
    return [(line, (row[0], row[1])) for line, row in rows]


def _class_names(chosen: ClipSet, root: Path, labels: list[str], parts: list[str]) -> tuple[str, ...]:
    if not isinstance(chosen.classes, int):
        return chosen.classes
    names = tuple(sorted({label for label, part in zip(labels, parts, strict=True) if part == "train"}))
    if len(names) != chosen.classes:
        path = Path(root) / chosen.lists["train"]
        raise TcmaxError(f"{path} names {len(names)} classes, {chosen.id} has {chosen.classes}.")
    return names


def _items(
    chosen: ClipSet, clips: list[str], parts: list[str], labels: list[str], places: list[str]
) -> tuple[str, ...]:
    times = Counter(clips)
    items: dict[str, str] = {}
    for clip, part, label, place in zip(clips, parts, labels, places, strict=True):
        item = f"{clip}@{part}/{label}" if times[clip] > 1 and chosen.listed_again else clip
        if item in items:
            raise TcmaxError(f"{place}: {clip} is listed twice, first in {items[item]}.")
        items[item] = place
    return tuple(items)


def find_media(source: Path) -> dict[str, tuple[Path, ...]]:
    """File name (its extension in lower case) -> where files of that name lie below a folder, in order of their paths.

    Hidden files and folders are passed over (some systems leave "._clip.mp4" beside "clip.mp4"); links to folders are
    followed, each folder once. Raises TcmaxError when there is no such folder.
    """
    source = Path(source)
    if not source.is_dir():
        raise TcmaxError(f"{source} is not a folder.")
    found: dict[str, list[Path]] = defaultdict(list)
    seen: set[str] = set()
    for folder, folders, files in os.walk(source, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for file in files:
            stem, extension = os.path.splitext(file)
            if not file.startswith("."):
                found[stem + extension.lower()].append(Path(folder, file))
    return {name: tuple(sorted(paths)) for name, paths in found.items()}
