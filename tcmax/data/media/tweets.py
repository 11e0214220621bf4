"""The tweets of MVSA-Single as distributed: one image, one text, and how their labels become classes and parts.

Each of 4,869 tweets has a label for its text and one for its image. `LABELS` are two ways to make one of them:

    agree    equal labels only: 2,592 tweets, divided as QMF released them (splits/MVSA_Single below the data root)
    merged   equal labels, and polar ones beside a neutral one; a positive beside a negative one drops out: 4,511
             tweets, divided by this package, 80 / 10 / 10 % of each class in the order of a hash of the tweet's number
"""

import csv
import hashlib
import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tcmax.data.base import PARTS
from tcmax.data.feature_sets import hash_order
from tcmax.data.media.clip_model import loaded
from tcmax.data.mvsa import ID
from tcmax.errors import TcmaxError
from tcmax.records.files import explained

CLASSES = ("negative", "neutral", "positive")
LABEL_FILE = "labelResultAll.txt"
_LISTS = {part: f"splits/MVSA_Single/{file}.csv" for part, file in zip(PARTS, ("train", "dev", "test"), strict=True)}
_LINK = re.compile(r"https?://\S+")


def _agree(text: str, image: str) -> str | None:
    return text if text == image else None


def _merged(text: str, image: str) -> str | None:
    labels = {text, image} - {"neutral"}
    if len(labels) == 2:
        return None
    return labels.pop() if labels else "neutral"


LABELS: dict[str, Callable[[str, str], str | None]] = {"agree": _agree, "merged": _merged}


@dataclass(frozen=True)
class Tweets:
    """Tweets that have a label by one of the rules, in the order of their numbers.

    ids: (n) numbers as text. labels: (n,) int64 in CLASSES. parts: (n) of PARTS. n_labelled: tweets in the label file.
    official_validation: as of a `tcmax.data.base.Dataset`.
    """

    ids: tuple[str, ...]
    labels: np.ndarray
    parts: tuple[str, ...]
    n_labelled: int
    official_validation: bool


def read_tweets(label_file: Path, rule: str, root: Path | None) -> Tweets:
    """Read the labels as distributed ("ID<tab>text,image", a tweet a line) and divide the tweets.

    root: the data root, which holds the lists of the rule "agree".

    Raises TcmaxError, naming file and line, for an unknown rule, a damaged file, a label outside CLASSES, a tweet
    listed twice, and for lists that name other tweets or labels than the rule gives.
    """
    if rule not in LABELS:
        raise TcmaxError(f"there is no rule {rule!r} for the labels of {ID}; known are {', '.join(LABELS)}.")
    pairs = _label_pairs(label_file)
    found = {tweet: LABELS[rule](*pair) for tweet, pair in pairs.items()}
    kept = {tweet: label for tweet, label in found.items() if label is not None}
    ids = tuple(sorted(kept, key=int))
    labels = np.array([CLASSES.index(kept[tweet]) for tweet in ids], dtype=np.int64)
    released = rule == "agree"  # its lists name the validation items
    parts = _released_parts(kept, label_file, root) if released else _hashed_parts(ids, labels)
    return Tweets(ids, labels, tuple(parts[tweet] for tweet in ids), len(pairs), official_validation=released)


def _label_pairs(path: Path) -> dict[str, tuple[str, str]]:
    """Tweet -> the label of its text and that of its image."""
    with explained("read", path):
        lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    pairs: dict[str, tuple[str, str]] = {}
    for number, line in enumerate(lines, 1):
        if number == 1 or not line.strip():  # the first line names the columns
            continue
        cells = tuple(cell.strip() for cell in re.split(r"[\t,]", line))
        if len(cells) != 3 or not cells[0].isascii() or not cells[0].isdigit():
            raise TcmaxError(f"{path}, line {number}: not the number of a tweet and two labels.")
        tweet, *labels = cells
        for label in labels:
            if label not in CLASSES:
                raise TcmaxError(f"{path}, line {number}: {label!r} is not one of {', '.join(CLASSES)}.")
        if tweet in pairs:
            raise TcmaxError(f"{path}, line {number}: tweet {tweet} is listed twice.")
        pairs[tweet] = (labels[0], labels[1])
    if not pairs:
        raise TcmaxError(f"{path} lists no tweet.")
    return pairs


def _released_parts(kept: Mapping[str, str], label_file: Path, root: Path | None) -> dict[str, str]:
    if root is None:
        raise TcmaxError(f"{ID} needs its released lists: set TCMAX_DATA to the folder that holds splits/.")
    parts: dict[str, str] = {}
    for part, file in _LISTS.items():
        path = root / file
        if not path.is_file():
            raise TcmaxError(
                f"there is no list {path}; lists as released belong below the data root (docs/raw-media.md)."
            )
        with explained("read", path):
            rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig", errors="replace"))))
        for row in rows:
            tweet = row.get("id") or ""
            if kept.get(tweet) != row.get("label"):
                raise TcmaxError(f"{path}: tweet {tweet!r} is {row.get('label')!r}, but not in {label_file}.")
            if tweet in parts:
                raise TcmaxError(f"{path}: tweet {tweet} is listed twice.")
            parts[tweet] = part
    if len(parts) != len(kept):
        raise TcmaxError(f"{label_file}: {len(kept) - len(parts)} tweets with equal labels are on no list of {ID}.")
    return parts


def _hashed_parts(ids: tuple[str, ...], labels: np.ndarray) -> dict[str, str]:
    parts = {}
    for label in range(len(CLASSES)):
        rows = np.flatnonzero(labels == label)
        rows = rows[hash_order(ID, np.array(ids)[rows])]
        cuts = (len(rows) * 8 // 10, len(rows) * 9 // 10)
        for part, members in zip(PARTS, np.split(rows, cuts), strict=True):
            parts.update({ids[row]: part for row in members.tolist()})
    return parts


def text_of(path: Path) -> str:
    """A tweet's text: UTF-8, or else Latin-1, in which any byte is a letter. Raises TcmaxError when there is none."""
    with explained("read", path):
        content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    if not text.strip():
        raise TcmaxError(f"{path} holds no text.")
    return text.strip()


def same_text(text: str) -> str:
    """An id that texts share which differ in links and spaces only."""
    return hashlib.sha256(" ".join(_LINK.sub(" ", text).split()).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class TweetMaker:
    """Makes the rows of a store of tweets (a `tcmax.data.media.store.Maker`).

    images, texts: per row the files of that name below `source`. sizes: of the model, as JSON.
    """

    source: Path
    ids: tuple[str, ...]
    images: tuple[tuple[Path, ...], ...]
    texts: tuple[tuple[Path, ...], ...]
    sizes: str
    weights: Path

    def sources(self, row: int) -> dict[str, Path]:
        """The image and the text of a tweet, by path below the source folder."""
        image, text = self._files(row)
        return {path.relative_to(self.source).as_posix(): path for path in (image, text)}

    def __call__(self, row: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        image, text = self._files(row)
        model = loaded(self.sizes, self.weights)
        try:
            content = text_of(text)
            arrays = {"image": model.image(image), "text": model.text(content)}
        except TcmaxError as error:  # without the place of the files, so that stores are equal wherever they lie
            raise TcmaxError(str(error).replace(f"{self.source}/", "")) from error
        return arrays, {"same_text": same_text(content)}

    def _files(self, row: int) -> tuple[Path, Path]:
        chosen = []
        for kind, paths in (("image", self.images[row]), ("text", self.texts[row])):
            if len(paths) != 1:
                state = "no" if not paths else "more than one"
                raise TcmaxError(f"tweet {self.ids[row]} has {state} {kind} file.")
            chosen.append(paths[0])
        return chosen[0], chosen[1]
