"""Published sets of audio-visual clips: their lists, their groups, and what their splits leak.

One literal description per set. Lists are read below the data root, as published, splits/<SET>/<part>.csv; the media
lie anywhere below a folder of the user's and are found by file name. Where there is no validation list, the last fifth
of the train list, in list order, validates, as in the papers (`tcmax.data.base.file_order_cut`).
"""

import csv
import io
import math
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tcmax.data.base import PARTS, Card, Fold, file_order_cut
from tcmax.errors import TcmaxError
from tcmax.files import explained


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
        name=r"(?P<actor_sentence>(?P<actor>\d{4})_(?P<sentence>[A-Z]{3}))_[A-Z]{3}_(LO|MD|HI|XX|X)",
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


def _only(fold: Fold, keep: np.ndarray) -> Fold:
    return Fold(**{part: fold.part(part)[keep[fold.part(part)]] for part in PARTS})


def clip_set(name: str) -> ClipSet:
    """The set of that id or alias. Raises TcmaxError when there is none."""
    known = ALIASES.get(name, name)
    if known not in CLIP_SETS:
        raise TcmaxError(f"no raw media of {name!r} can be prepared; known sets are {', '.join(CLIP_SETS)}.")
    return CLIP_SETS[known]


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
        raise TcmaxError(f"there is no list {path}; lists as published belong below the data root (TCMAX_DATA).")
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


# What the splits leak.


def leakage(
    listed: Listed, ready: np.ndarray | None = None, sources: Sequence[Mapping[str, Mapping[str, Any]]] | None = None
) -> dict[str, Any]:
    """Counts of what the parts of the released split share, as plain data; `leakage_text` says it in sentences.

    ready: (n,) bool, rows that could be prepared. sources: per row, name of a media file -> its "sha256", from the
    store; without it nothing is said about identical files.

    All but the files is counted on the lists as published, whatever could be prepared.
    """
    fold = listed.released_fold()
    rows = {part: fold.part(part).tolist() for part in PARTS}
    on_list = listed.listed_fold()
    listed_rows = {part: on_list.part(part).tolist() for part in PARTS if part in listed.clip_set.lists}
    report: dict[str, Any] = {
        "dataset": listed.clip_set.id,
        "listed": {part: len(members) for part, members in listed_rows.items()},
        "stated": dict(listed.clip_set.stated),
        "split": _sizes(fold),
        "balance": {part: _balance(listed.labels[members]) for part, members in listed_rows.items()},
        "groups": {
            name: {
                part: {
                    "in_part": len({ids[row] for row in rows[part]}),
                    "also_in_train": len({ids[row] for row in rows[part]} & {ids[row] for row in rows["train"]}),
                    "on_the_train_list": len(
                        {ids[row] for row in rows[part]} & {ids[row] for row in listed_rows["train"]}
                    ),
                }
                for part in ("val", "test")
            }
            for name, ids in listed.groups.items()
        },
        "clips_listed_again": _listed_again(listed, listed_rows),
    }
    if ready is not None:
        report["prepared"] = {part: int(ready[members].sum()) for part, members in listed_rows.items()}
        report["prepared_split"] = _sizes(listed.released_fold(ready))
        report["prepared_split_cut_after_dropping"] = _sizes(listed.released_fold(ready, drop_first=True))
    if sources is not None:
        report["identical_files"] = _identical_files(listed, rows, sources)
    return report


def _sizes(fold: Fold) -> dict[str, int]:
    return {part: len(fold.part(part)) for part in PARTS}


def _balance(labels: np.ndarray) -> float:
    """Rows of the largest class over rows of the smallest one that occurs."""
    counts = np.bincount(labels)
    return round(float(counts.max() / counts[counts > 0].min()), 2)


def _listed_again(listed: Listed, rows: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    labels_of: dict[str, dict[str, set[int]]] = {part: defaultdict(set) for part in rows}
    times: dict[str, Counter[str]] = {part: Counter() for part in rows}
    for part, members in rows.items():
        for row in members:
            labels_of[part][listed.clips[row]].add(int(listed.labels[row]))
            times[part][listed.clips[row]] += 1
    train = labels_of["train"]
    return {
        "within": {part: sum(count > 1 for count in counted.values()) for part, counted in times.items()},
        "shared_with_train": {part: len(set(labels_of[part]) & set(train)) for part in rows if part != "train"},
        "shared_with_another_label": {
            part: sum(clip in train and bool(labels - train[clip]) for clip, labels in labels_of[part].items())
            for part in rows
            if part != "train"
        },
    }


def _identical_files(
    listed: Listed, rows: Mapping[str, Sequence[int]], sources: Sequence[Mapping[str, Mapping[str, Any]]]
) -> dict[str, Any]:
    """Different clips with byte-identical media files."""
    part_of = {row: part for part, members in rows.items() for row in members}
    holders: dict[str, dict[str, int]] = defaultdict(dict)  # checksum -> clip -> one of its rows
    for row, files in enumerate(sources):
        for written in files.values():
            holders[written["sha256"]].setdefault(listed.clips[row], row)
    groups = [sorted(clips.items()) for clips in holders.values() if len(clips) > 1]
    return {
        "groups": len(groups),
        "with_different_labels": sum(len({int(listed.labels[row]) for _, row in clips}) > 1 for clips in groups),
        "across_parts": sum(len({part_of[row] for _, row in clips}) > 1 for clips in groups),
        "clips": sorted([clip for clip, _ in clips] for clips in groups),
    }


def leakage_text(report: Mapping[str, Any]) -> str:
    """The report of `leakage`, a sentence a line."""
    lines = [f"{report['dataset']}: what the parts of the released split share"]
    for part, n_rows in report["listed"].items():
        stated = report["stated"].get(part)
        against = "" if stated is None else (", as stated" if stated == n_rows else f"; the paper states {stated:,}")
        made = f", {report['prepared'][part]:,} prepared" if "prepared" in report else ""
        balance = f"largest class {report['balance'][part]:.2f} times the smallest"
        lines.append(f"{part} list: {n_rows:,} rows{against}{made}; {balance}")
    splits = {
        "split": "split",
        "prepared_split": "split of what could be prepared",
        "prepared_split_cut_after_dropping": "the same, cut after the rest was dropped, as released",
    }
    lines += [
        f"{title}: {', '.join(f'{n_rows:,} {part}' for part, n_rows in report[key].items())}"
        for key, title in splits.items()
        if key == "split" or report.get(key, report["split"]) != report["split"]
    ]
    for name, counted in report["groups"].items():
        for part, counts in counted.items():
            line = f"{counts['also_in_train']:,} of {counts['in_part']:,} {name} ids of {part} also occur in train"
            if part == "test" and counts["on_the_train_list"] != counts["also_in_train"]:
                line += f" ({counts['on_the_train_list']:,} on the train list)"
            lines.append(line)
    again = report["clips_listed_again"]
    lines += [f"{count} clips are listed more than once in {part}" for part, count in again["within"].items() if count]
    for part, count in again["shared_with_train"].items():
        other = again["shared_with_another_label"][part]
        lines.append(f"{count} clips of {part} are also listed in train, {other} of them with another label")
    if "identical_files" in report:
        twins = report["identical_files"]
        lines.append(
            f"{twins['groups']} groups of clips have byte-identical files, {twins['with_different_labels']} with "
            f"different labels, {twins['across_parts']} across parts"
        )
    error = 100 * math.sqrt(0.25 / report["listed"]["test"])
    lines.append(f"were test clips independent, the standard error of an accuracy would be up to {error:.1f} points")
    return "\n".join(lines)
