"""Datasets on the stores that `tcmax prepare DATASET --source MEDIA` makes: sets of clips, and safer splits of them.

Rows stay in the store's files (`tcmax.data.views.Stored`); all of a set's listed clips are rows, and those that could
not be prepared belong to no part.
"""

import hashlib
from functools import partial
from pathlib import Path

import numpy as np

from tcmax.data.base import Dataset, data_root
from tcmax.data.media.clip_leakage import dataset_facts, leakage
from tcmax.data.media.clips import SPLITS, ClipSet, card_of, clip_set, read_lists, store_folder
from tcmax.data.media.sound_crop import STFT_SHAPE
from tcmax.data.media.store import MANIFEST, Store
from tcmax.data.views import Feature, Flow, Frames, Sound, Stored
from tcmax.errors import TcmaxError


def load(name: str, root: Path | None = None) -> Dataset:
    """The dataset of that id, of `CLIP_SETS` or `SPLITS`, from the lists and the store below the data root.

    inputs: none. stored: "audio" (float32), "visual" (frames), "flow", as far as the set has them.

    Raises TcmaxError when the root is unknown, the lists are missing or wrong, or there is no finished store of them.
    """
    chosen = clip_set(name)
    root = root or data_root()
    command = f"`tcmax prepare {chosen.id} --source MEDIA`"
    if root is None:
        raise TcmaxError(f"{name} needs a data root: set TCMAX_DATA to a folder that holds splits/, and run {command}.")
    folder = store_folder(name, root)
    if not (folder / MANIFEST).is_file():
        raise TcmaxError(f"{name} is not prepared: there is no finished store in {folder}; run {command}.")
    listed, store = read_lists(chosen, root), Store(folder)
    if store.items != listed.items:
        raise TcmaxError(f"{folder} was prepared from other lists than those below {root}; run {command} again.")
    folds, card = listed.folds(name, store.ready), card_of(name)
    facts = dataset_facts(leakage(listed, store.ready, store.sources), name)
    return Dataset(
        id=name,
        inputs={},
        labels=listed.labels,
        class_names=listed.class_names,
        items=np.array(listed.items),
        folds=folds,
        card=card,
        groups={group: np.array(listed.groups[group]) for group in chosen.groups},
        facts=tuple(dict.fromkeys((*facts, *card.notes))),
        official_validation=SPLITS[name].official_validation if name in SPLITS else "val" in chosen.lists,
        stored=stored_modalities(chosen, store),
    )


crema_d = partial(load, "crema-d")
crema_d_actors = partial(load, "crema-d-actors")
ave = partial(load, "ave")
ave_once = partial(load, "ave-once")
kinetics_sounds = partial(load, "kinetics-sounds")
vggsound = partial(load, "vggsound")
ucf101 = partial(load, "ucf101")
ucf101_groups = partial(load, "ucf101-groups")


def stored_modalities(chosen: ClipSet, store: Store) -> dict[str, Stored]:
    """The arrays of a store, with what becomes of their rows, in the order of the modalities."""
    settings = store.manifest["settings"]
    found: dict[str, Stored] = {}

    def add(name: str, view: Frames | Flow | Sound | Feature, depends_on: np.ndarray | bool = False) -> None:
        seen = hashlib.sha256(np.asarray(depends_on).tobytes()).hexdigest()
        shape, dtype = store.shape(name), store.dtype(name)
        found[name] = Stored(
            n_items=shape[0],
            row_shape=shape[1:],
            dtype=dtype,
            rows=partial(store.rows, name),
            view=view,
            digest=f"{store.content(name)} {seen}",
            verify=partial(store.verify, name),
        )

    if chosen.audio and settings["quirks"]["sound.crop"] == "each_epoch":
        starts = np.array([facts.get("sound_start", 0) for facts in store.facts], dtype=np.int64)
        add("audio", Sound(starts, STFT_SHAPE), starts)
    elif chosen.audio:
        add("audio", Feature(store.shape("audio")[1:]))
    if chosen.frames:
        # A clip that could not be prepared has no size, and is never shown.
        aspect = np.array([facts.get("width", 1) / facts.get("height", 1) for facts in store.facts])
        add("visual", Frames(chosen.frames, settings["size"], aspect), aspect)
    if chosen.flow:
        transposed = settings["quirks"]["flow.transposed"]
        add("flow", Flow(chosen.flow, settings["size"], transposed), transposed)
    return found
