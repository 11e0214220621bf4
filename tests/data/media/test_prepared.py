"""Datasets on prepared stores, from media to trained runs: sound with frames, and frames with flow."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import tiny
from media_files import tone, write_media
from typer.testing import CliRunner

from tcmax.cli import app
from tcmax.commands.prepare_media import Choices, prepare_media
from tcmax.data import DATASETS
from tcmax.data.fetching.fetch import info, verify
from tcmax.data.media import store
from tcmax.data.media.clips import ALIASES, CLIP_SETS, SPLITS
from tcmax.data.media.prepared import load, stored_modalities
from tcmax.data.media.store import Effort, array_path
from tcmax.errors import TcmaxError
from tcmax.experiment.grid import Cell
from tcmax.records.files import read_json
from tcmax.training import datasets, jobs
from tcmax.training.loop import Runs

SMALL = Choices(size=16, shard_items=4, quirks={"frames.order": "uniform"})
EMOTIONS = CLIP_SETS["crema-d"].classes
SPOKEN = [f"10{actor:02d}_IEO_{EMOTIONS[actor % 6]}_XX" for actor in range(1, 15)]
ACTIONS = [f"v_{action}_g{group:02d}_c01" for group in (8, 9, 25, 1) for action in ("Jump", "Run")]
EVENTS = {"train": ("Bell", "Bus", "Bus"), "val": ("Bus",), "test": ("Bell",)}  # of videos 0, 1, 2; 3; and 2 again
CNN, MLP = {"name": "cnn", "channels": [2, 2]}, {"name": "mlp", "hidden": [4]}


def pattern(name, n_frames=8):
    """Frames of a texture that moves to the right, of a size that is not square."""
    texture = np.random.default_rng(list(name.encode())).integers(0, 256, (12, 18, 3)).astype(np.uint8)
    wide = texture.repeat(4, 0).repeat(4, 1)
    return [np.roll(wide, 2 * k, axis=1) for k in range(n_frames)]


def lists(folder, label, clips, n_train, header=""):
    folder.mkdir(parents=True)
    for part, members in (("train", clips[:n_train]), ("test", clips[n_train:])):
        (folder / f"{part}.csv").write_text(header + "".join(f"{clip},{label(clip)}\n" for clip in members))


def made_here(folder, layout, make, effort, title, records, missing):
    """Shards without processes of their own, each of which would take seconds to start."""
    for shard in missing:
        records[shard] = store.make_shard(folder, layout, make, shard, {}, lambda row: None)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A data root with stores of three sets; the one clip of UCF101 without a file is the last on its train list."""
    root = tmp_path_factory.mktemp("root")
    media = root / "media"
    media.mkdir()
    lists(root / "splits/CREMAD", lambda clip: clip.split("_")[2], SPOKEN, 10)
    lists(root / "splits/UCF101", lambda clip: clip.split("_")[1], ACTIONS, 6, "idx,label\n")
    for clip in SPOKEN:
        write_media(media / f"{clip}.flv", pattern(clip), 4)
        soundfile.write(media / f"{clip}.wav", tone(2.0, 300, 16_000), 16_000)
    for clip in ACTIONS[:5] + ACTIONS[6:]:
        write_media(media / f"{clip}.avi", pattern(clip), 4)
    (root / "splits/AVE").mkdir()
    for part, first in (("train", 0), ("val", 3), ("test", 2)):
        lines = [f"abcdefghij{number},{label}\n" for number, label in enumerate(EVENTS[part], first)]
        (root / f"splits/AVE/{part}.csv").write_text("".join(["youtube_id,label\n", *lines]))
    for number in range(4):
        write_media(media / f"abcdefghij{number}.mp4", pattern("event", 4), 4, sound=tone(1.0, 300))
    with pytest.MonkeyPatch.context() as patch:
        for name in ("ucf101", "ave"):
            patch.setitem(CLIP_SETS, name, dataclasses.replace(CLIP_SETS[name], classes=2))
        patch.setattr(store, "_make_shards", made_here)
        for name in ("crema-d", "ucf101", "ave"):
            prepare_media(name, media, None, root, SMALL, Effort(failed_share=0.2))
        yield root


@pytest.fixture(autouse=True)
def data_root(root, monkeypatch):
    monkeypatch.setenv("TCMAX_DATA", str(root))


def test_a_dataset_has_the_shapes_labels_groups_and_split_of_its_set(root):
    spoken, actions = load("crema-d"), load("ucf101")
    shapes = [{name: dataset.shape(name) for name in dataset.modalities} for dataset in (spoken, actions)]
    frames = (3, 3, 16, 16)
    assert shapes == [{"audio": (1, 129, 862), "visual": frames}, {"visual": frames, "flow": (20, 16, 16)}]
    assert spoken.items.tolist() == SPOKEN
    assert [spoken.class_names[label] for label in spoken.labels] == [clip.split("_")[2] for clip in SPOKEN]
    assert set(spoken.groups) == {"actor", "sentence"}
    assert [part.tolist() for part in (spoken.folds[0].train, spoken.folds[0].val, spoken.folds[0].test)] == [
        list(range(8)),
        [8, 9],
        [10, 11, 12, 13],
    ]
    assert actions.folds[0].val.tolist() == [4]  # row 5 could not be prepared
    np.testing.assert_allclose(actions.stored["visual"].view.aspect, [1.5] * 5 + [1] + [1.5] * 2)
    assert "train list: 6 rows; the paper states 9,537, 5 prepared" in actions.facts[0]
    safer = load("crema-d-actors")
    assert len(safer.folds) == 5
    assert safer.fingerprint() != spoken.fingerprint()


def test_a_dataset_says_what_holds_for_its_own_split(root):
    (leaks,) = CLIP_SETS["crema-d"].card.notes
    spoken, safer = load("crema-d"), load("crema-d-actors")
    assert leaks in spoken.facts
    # All clips have one sound.
    assert "1 groups of clips have byte-identical files, 1 with different labels, 1 across parts" in spoken.facts
    assert leaks not in (*safer.facts, *safer.card.notes)
    assert not any("also occur in train" in fact for fact in safer.facts)
    assert safer.card.title == "CREMA-D: six acted emotions, voice and face; no actor in two parts"
    (what,) = safer.card.notes
    assert safer.facts.count(what) == info("crema-d-actors").count(what) == 1
    assert CLIP_SETS["ucf101"].card.notes[0] in load("ucf101-groups").facts


def test_the_validation_list_of_ave_is_official(root):
    official = {name: load(name).official_validation for name in ("crema-d", "crema-d-actors", "ave", "ave-once")}
    assert official == {"crema-d": False, "crema-d-actors": False, "ave": True, "ave-once": True}
    for name, n_train in (("ave", 3), ("ave-once", 2)):
        (fold,) = load(name).folds
        assert (len(fold.train), len(fold.val), len(fold.test)) == (n_train, 1, 1)


def test_a_fingerprint_covers_all_that_changes_what_a_model_gets():
    def modalities(content="rows", crop="each_epoch", width=4, start=7, transposed=False):
        chosen = dataclasses.replace(CLIP_SETS["crema-d"], flow=5)
        settings = {"size": 16, "quirks": {"sound.crop": crop, "flow.transposed": transposed}}
        opened = SimpleNamespace(
            manifest={"settings": settings},
            facts=({"width": width, "height": 2, "sound_start": start}, {}),  # nothing is known of a skipped clip
            shape=lambda name: (2, 3),
            dtype=lambda name: np.dtype("uint8"),
            content=lambda name: f"{content} of {name}",
            rows=list,  # not called
            verify=list,
        )
        return stored_modalities(chosen, opened)

    base = modalities()
    assert list(base) == ["audio", "visual", "flow"]
    assert base["audio"].view.starts.tolist() == [7, 0]
    assert base["visual"].view.aspect.tolist() == [2, 1]
    assert not base["flow"].view.transposed
    changes = {
        "content": ("other", {"audio", "visual", "flow"}),
        "crop": ("once", {"audio"}),
        "width": (6, {"visual"}),
        "start": (8, {"audio"}),
        "transposed": (True, {"flow"}),
    }
    for change, (value, differ) in changes.items():
        changed = modalities(**{change: value})
        assert {name for name in base if changed[name].digest != base[name].digest} == differ
    assert changed["flow"].view.transposed


def experiment(name, **changes):
    encoders = {"visual": MLP, "audio" if name == "crema-d" else "flow": CNN}
    settings = {
        "seeds": [0],
        "seeds_per_job": 1,
        "training": {"epochs": 2, "batch_size": 4, "learning_rate": 0.01},
        "datasets": {name: {"encoders": encoders}},
        "variants": {"joint": {"method": "joint"}, "released": {"method": "joint", "fidelity": "release"}},
    }
    return tiny.experiment(**{**settings, **changes})


def outcome(folder):
    """The sidecar of a run, and the bytes of all other files."""
    kept = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}
    return read_json(folder / "seed_0" / "sidecar.json"), {name: kept[name] for name in kept if name != "sidecar.json"}


class Killed(Exception):
    pass


@pytest.mark.parametrize(("name", "variant"), [("crema-d", "joint"), ("ucf101", "joint"), ("ucf101", "released")])
def test_a_prepared_set_trains_to_the_same_bytes_held_anywhere_and_when_killed(name, variant, tmp_path, monkeypatch):
    cell = Cell(name, 0, variant)

    def train(place):
        settings = experiment(name, residence=place, checkpoint_seconds=0)
        datasets.prepare(settings, name, tmp_path / place)
        jobs.train_block(settings, cell, 0, tmp_path / place)
        sidecar, files = outcome(tmp_path / place / "tiny" / name / "fold_0" / variant)
        return (sidecar["residence"], sidecar["resumed_from_epoch"], jobs.block_key(settings, cell, 0)), files

    whole, expected = train("mapped")
    epoch = Runs._epoch

    def dies_in_the_second(run, number):
        if number == 1:
            raise Killed
        epoch(run, number)

    with monkeypatch.context() as patch:
        patch.setattr(Runs, "_epoch", dies_in_the_second)
        with pytest.raises(Killed):
            train("auto")
    resumed, files = train("auto")
    assert files == expected
    assert len(files) == 6
    assert (whole, resumed) == (("mapped", 0, whole[2]), ("ram", 1, whole[2]))


def test_a_set_that_is_not_prepared_is_one_sentence(root, monkeypatch):
    command = "run `tcmax prepare {} --source MEDIA`."
    where = root / "stores" / "kinetics-sounds"
    where.mkdir()  # begun, and not finished
    with pytest.raises(TcmaxError) as refused:
        load("kinetics-sounds")
    assert str(refused.value) == (
        f"kinetics-sounds is not prepared: there is no finished store in {where}; {command.format('kinetics-sounds')}"
    )
    shown = CliRunner().invoke(app, ["data", "info", "vggsound"])
    assert f"not here; {command.format('vggsound').rstrip('.')}" in shown.stdout
    monkeypatch.delenv("TCMAX_DATA")
    with pytest.raises(TcmaxError, match="set TCMAX_DATA to a folder that holds splits/, and run `tcmax prepare cre"):
        load("crema-d")
    assert load("crema-d", root).items.tolist() == SPOKEN


def test_a_store_of_other_lists_or_with_a_damaged_file_is_refused(root, tmp_path):
    path = root / "splits/CREMAD/test.csv"
    content = path.read_text()
    path.write_text("\n".join(reversed(content.split())))
    with pytest.raises(TcmaxError, match=r"was prepared from other lists than those below .*; run `tcmax prep"):
        load("crema-d")
    path.write_text(content)
    shard = array_path(root / "stores/crema-d", 1, "visual")
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(TcmaxError, match="is not the file that was written"):
        datasets.prepare(experiment("crema-d"), "crema-d", tmp_path)
    with pytest.raises(TcmaxError, match="is not the file that was written"):
        verify("crema-d-actors")
    shard.write_bytes(whole)
    assert verify("crema-d-actors") == f"ok  {root}/stores/crema-d"
    datasets.prepare(experiment("crema-d"), "crema-d", tmp_path)


def test_every_set_of_clips_and_every_split_can_be_named():
    for name in (*CLIP_SETS, *SPLITS):
        assert DATASETS.load(name).args == (name,)
    assert {DATASETS.canonical(alias) for alias in ALIASES} == set(CLIP_SETS)
