"""`tcmax prepare DATASET --source DIR`: from a folder of raw media to a tensor store, with a report of what leaks."""

import contextlib
import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tcmax.data.base import PARTS, Card, data_root
from tcmax.data.features import load_features
from tcmax.data.media.clip_leakage import leakage, leakage_text
from tcmax.data.media.clip_model import ClipModel, architecture
from tcmax.data.media.clips import LEAKAGE, SPLITS, ClipSet, Listed, clip_set, find_media, read_lists, store_folder
from tcmax.data.media.store import MANIFEST, SKIPPED, Array, Effort, Layout, Store, build
from tcmax.data.media.tweets import CLASSES, LABEL_FILE, TweetMaker, Tweets, read_tweets
from tcmax.data.mvsa import CARD as TWEET_CARD
from tcmax.data.mvsa import FEATURES, ID, store_of
from tcmax.errors import TcmaxError
from tcmax.records import provenance
from tcmax.records.files import read_json, sha256, write_bytes, write_json, write_text

if TYPE_CHECKING:
    from tcmax.data.media.clip_maker import ClipMaker

ITEMS = "items.csv"
# What decodes and computes: other versions may give other bytes, so a store is not continued under them.
_LIBRARIES = ("av", "numpy", "opencv-python-headless", "pillow", "torch", "torchaudio")


@dataclass(frozen=True)
class Choices:
    """What a user may choose about a store's content.

    size: side of frames and flow fields in pixels. seed: of the sound crops. quirks: overrides, as text. shard_items:
    rows of a shard; of 64, one takes 28 MB for spectrograms and as much for three frames.
    """

    size: int = 224
    seed: int = 0
    fidelity: str = "reference"
    quirks: Mapping[str, str] | None = None
    shard_items: int = 64


def prepare_media(
    name: str,
    source: Path,
    store: Path | None = None,
    root: Path | None = None,
    choices: Choices | None = None,
    effort: Effort | None = None,
) -> str:
    """Prepare a set's store from the media below `source`, or what is missing of it, and say what came of it.

    Beside the store stand items.csv (each row's clip, label, groups and part in every split) and leakage.json,
    which is written anew only when the store or its lists changed.

    store: default `store_folder`. root: the data root, where the set's lists are; default $TCMAX_DATA.

    Raises TcmaxError when the set is unknown, its lists are missing or wrong, no clip of it lies below `source`, a
    choice is unknown, or `tcmax.data.media.store.build` does.
    """
    chosen, choices = clip_set(name), choices or Choices()
    if not 16 <= choices.size <= 1_024:
        raise TcmaxError(f"frames of {choices.size} pixels are not prepared; choose 16 to 1024.")
    root = root or data_root()
    if root is None:
        raise TcmaxError(f"{chosen.id} needs its published lists: set TCMAX_DATA to the folder that holds splits/.")
    folder = store or store_folder(name, root)
    listed = read_lists(chosen, root)
    make = _maker(chosen, listed, source, choices)
    layout = Layout(
        arrays={array: Array(shape, dtype) for array, (shape, dtype) in make.arrays().items()},
        items=listed.items,
        settings=_settings(chosen, choices, make.quirks),
        shard_items=choices.shard_items,
    )
    built = build(folder, layout, make, effort, f"prepare {chosen.id}")
    _write_items(folder / ITEMS, listed, built)
    report = {**leakage(listed, built.ready, built.sources), "store": sha256(folder / MANIFEST)}
    if not _holds(folder / LEAKAGE, report):  # its date says when the store changed
        write_json(folder / LEAKAGE, report)
    return "\n".join([*_about(chosen.card), leakage_text(report), *_outcome(built)])


def prepare_tweets(
    source: Path,
    weights: Path,
    model: str = "rn50",
    labels: str = "agree",
    store: Path | None = None,
    root: Path | None = None,
    effort: Effort | None = None,
) -> str:
    """Prepare MVSA-Single from the images, texts and label file below `source`, and say what came of it.

    weights, model: of `tcmax.data.media.clip_model`. labels: a rule of `tcmax.data.media.tweets`. store: its folder,
    default `tcmax.data.mvsa.store_of`; beside it stands the feature file, of the tweets that could be prepared.

    Raises TcmaxError as `clip_model`, `tweets.read_tweets` and `store.build` of `tcmax.data.media` do.
    """
    source, root = Path(source), root or data_root()
    if store is None and root is None:
        raise TcmaxError("where to? Give a folder with --store, or set the environment variable TCMAX_DATA.")
    folder = store or store_of(model, root or Path())
    sizes = architecture(model)
    there = find_media(source)
    label_files = there.get(LABEL_FILE, ())
    if len(label_files) != 1:
        raise TcmaxError(f"{source} holds {len(label_files)} files called {LABEL_FILE}, not one.")
    tweets = read_tweets(label_files[0], labels, root)
    ClipModel(sizes, weights)  # refused here, not tweet by tweet
    make = TweetMaker(
        source=source,
        ids=tweets.ids,
        images=tuple(there.get(f"{tweet}.jpg", ()) for tweet in tweets.ids),
        texts=tuple(there.get(f"{tweet}.txt", ()) for tweet in tweets.ids),
        sizes=json.dumps(sizes, sort_keys=True),
        weights=Path(weights),
    )
    layout = Layout(
        arrays={modality: Array((sizes["embed_dim"],), "float32") for modality in ("image", "text")},
        items=tweets.ids,
        settings={
            "dataset": ID,
            "model": model,
            "labels": labels,
            "weights": sha256(Path(weights)),
            "code": provenance.data_code("tcmax.data.media.tweets"),
            "libraries": _versions("numpy", "open_clip_torch", "pillow", "torch", "torchvision"),
        },
    )
    built = build(folder, layout, make, effort, f"prepare {ID}")
    _write_features(folder / FEATURES, tweets, built)
    loaded = load_features(folder / FEATURES, ID)
    (fold,) = loaded.folds
    parts = ", ".join(f"{len(fold.part(part)):,} {part}" for part in PARTS)
    counts = ", ".join(f"{np.sum(loaded.labels == label):,} {name}" for label, name in enumerate(CLASSES))
    return "\n".join(
        [
            *_about(TWEET_CARD),
            f"labels: {labels}, {len(tweets.ids):,} of {tweets.n_labelled:,} tweets",
            f"features of {counts}; {parts}; in {folder / FEATURES}",
            *loaded.facts,
            *_outcome(built),
        ]
    )


def _write_features(path: Path, tweets: Tweets, built: Store) -> None:
    """The tweets that could be prepared, as a feature file (`tcmax.data.features`)."""
    rows = np.flatnonzero(built.ready)
    content = io.BytesIO()
    np.savez(
        content,
        inputs_image=built.rows("image", rows),
        inputs_text=built.rows("text", rows),
        labels=tweets.labels[rows],
        class_names=np.array(CLASSES),
        items=np.array(tweets.ids)[rows],
        split=np.array(tweets.parts)[rows],
        group_text=np.array([built.facts[row]["same_text"] for row in rows]),
        licence=np.array(TWEET_CARD.licence),
        source=np.array(TWEET_CARD.source),
        official_validation=np.array(tweets.official_validation),
    )
    if not path.is_file() or path.read_bytes() != content.getvalue():  # its date says when it changed
        write_bytes(path, content.getvalue())


def _about(card: Card) -> list[str]:
    return [
        card.title,
        f"licence: {card.licence}",
        f"cite: {card.citation}",
        *(f"note: {note}" for note in card.notes),
    ]


def store_key(name: str) -> str:
    """What a store that the DAG makes depends on besides lists and media: the default choices, and the code."""
    from tcmax.data.media.clip_maker import resolve_quirks

    settings = _settings(clip_set(name), Choices(), resolve_quirks())
    del settings["libraries"]  # a store is kept when one of them is updated
    return provenance.digest(settings)


def _holds(path: Path, value: Any) -> bool:
    try:
        return bool(read_json(path) == value)
    except TcmaxError:
        return False


def _maker(chosen: ClipSet, listed: Listed, source: Path, choices: Choices) -> "ClipMaker":
    from tcmax.data.media.clip_maker import ClipMaker, resolve_quirks  # with PyAV, which tweets do without

    source = Path(source)
    there = find_media(source)

    def files(extensions: tuple[str, ...]) -> tuple[tuple[Path, ...], ...]:
        if not extensions:
            return ()
        found = []
        for clip in listed.clips:
            candidates = (there.get(clip + extension, ()) for extension in extensions)
            found.append(next((paths for paths in candidates if paths), ()))
        if not any(found):
            names = " or ".join(listed.clips[0] + extension for extension in extensions)
            raise TcmaxError(f"no clip of {chosen.id} lies below {source}; files are called as {names}.")
        return tuple(found)

    return ClipMaker(
        dataset=chosen.id,
        source=source,
        clips=listed.clips,
        sound=files(chosen.sound),
        picture=files(chosen.picture),
        audio=chosen.audio,
        frames=chosen.frames,
        flow=chosen.flow,
        size=choices.size,
        seed=choices.seed,
        quirks=resolve_quirks(choices.fidelity, choices.quirks),
    )


def _settings(chosen: ClipSet, choices: Choices, quirks: Mapping[str, Any]) -> dict[str, Any]:
    """On what the rows depend besides lists and media."""
    return {
        "dataset": chosen.id,
        "audio": chosen.audio,
        "size": choices.size,
        "seed": choices.seed,
        "quirks": dict(quirks),
        "code": provenance.data_code("tcmax.data.media.clip_maker"),
        "libraries": _versions(*_LIBRARIES),
    }


def _versions(*libraries: str) -> dict[str, str]:
    """Of those that are installed."""
    found = {}
    for library in libraries:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[library] = metadata.version(library)
    return found


def _write_items(path: Path, listed: Listed, built: Store) -> None:
    """A line for each row of the store: what it is, and its part in each split ("" for none, as when it was skipped).

    "split" is the released one; the folds of others have a column each, called <id in SPLITS>_<fold>.
    """
    folds = {"split": listed.released_fold(built.ready)}
    for name, split in SPLITS.items():
        if split.clip_set == listed.clip_set.id:
            folds |= {f"{name}_{number}": fold for number, fold in enumerate(listed.folds(name, built.ready))}
    part_of = {
        column: {row: part for part in PARTS for row in fold.part(part).tolist()} for column, fold in folds.items()
    }
    groups = {f"group_{name}": listed.groups[name] for name in listed.clip_set.groups}
    table = io.StringIO()
    lines = csv.writer(table, lineterminator="\n")
    lines.writerow(("row", "item", "clip", "list", *folds, "label", "class", *groups))
    for row, (item, clip, part, label) in enumerate(
        zip(listed.items, listed.clips, listed.parts, listed.labels.tolist(), strict=True)
    ):
        parts = (of_rows.get(row, "") for of_rows in part_of.values())
        names = (ids[row] for ids in groups.values())
        lines.writerow((row, item, clip, part, *parts, label, listed.class_names[label], *names))
    write_text(path, table.getvalue())


def _outcome(built: Store) -> list[str]:
    replaced = sum("sound_replaced" in facts for facts in built.facts)
    holed = sum(bool(facts.get("damaged_packets") or facts.get("sound_damaged_packets")) for facts in built.facts)
    lines = [f"prepared {int(built.ready.sum()):,} of {len(built.items):,} rows in {built.folder}"]
    if built.failed:
        item, reason = next(iter(built.failed.items()))
        lines.append(f"skipped {len(built.failed):,}, listed in {built.folder / SKIPPED}; the first: {item}: {reason}")
    if replaced:
        lines.append(f"{replaced:,} rows have a constant for the sound that could not be read, as released")
    if holed:
        lines.append(f"{holed:,} rows come from files of which some packets could not be decoded")
    return lines
