"""From raw media to a store: what stands in a row, under each switch, and the command from end to end."""

import csv
import dataclasses
import json

import numpy as np
import pytest
import soundfile
from media_files import grey_clock, tone, write_media
from projects import ROOT
from stores import tree
from typer.testing import CliRunner

from tcmax.cli import app
from tcmax.commands import prepare_media
from tcmax.commands.prepare_media import Choices, store_key
from tcmax.data import DATASETS
from tcmax.data.media import clip_maker, decoding
from tcmax.data.media.clip_maker import QUIRKS, ClipMaker, resolve_quirks
from tcmax.data.media.clips import CLIP_SETS, LEAKAGE, media_folder
from tcmax.data.media.sound_crop import crop_start
from tcmax.data.media.store import Effort, Store
from tcmax.errors import TcmaxError
from tcmax.experiment import grid
from tcmax.records import provenance
from tcmax.records.files import sha256
from tcmax.registry import Entry
from tcmax.training import datasets

EMOTIONS = ("NEU", "HAP", "SAD", "FEA", "DIS", "ANG")
TRAIN = [f"10{number + 1:02d}_IEO_{EMOTIONS[number % 6]}_XX" for number in range(10)]
TEST = ["1001_DFA_SAD_XX", "1091_DFA_ANG_XX"]
SMALL = Choices(size=32, shard_items=4)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A data root with short lists of CREMA-D."""
    root = tmp_path_factory.mktemp("root")
    folder = root / "splits" / "CREMAD"
    folder.mkdir(parents=True)
    for part, clips in (("train", TRAIN), ("test", TEST)):
        lines = [f"{clip},{clip.split('_')[2]}" for clip in clips]
        (folder / f"{part}.csv").write_text("\ufeff" + "\r\n".join(lines) + "\r\n", encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Media of that list, laid out as in the published set; two clips have the same sound."""
    source = tmp_path_factory.mktemp("media")
    (source / "VideoFlash").mkdir()
    (source / "AudioWAV").mkdir()
    for number, clip in enumerate([*TRAIN, *TEST]):
        seconds = 1.6 + 0.1 * number
        write_media(source / "VideoFlash" / f"{clip}.flv", grey_clock(seconds), sound=tone(seconds, 300))
        sound = tone(1.5, 200, 16_000) if clip in (TRAIN[0], TEST[1]) else tone(seconds, 220, 16_000)
        soundfile.write(source / "AudioWAV" / f"{clip}.wav", sound, 16_000)
    return source


@pytest.fixture(scope="module")
def prepared(root, source, tmp_path_factory):
    """The text of the command, and the store."""
    folder = tmp_path_factory.mktemp("store") / "crema-d"
    return prepare_media.prepare_media("CREMAD", source, folder, root, SMALL), Store(folder)


def test_a_store_holds_the_features_of_every_clip(prepared, source):
    _, store = prepared
    assert store.items == (*TRAIN, *TEST)
    assert store.shape("audio") == (12, 1, 129, 862)
    assert store.shape("visual") == (12, 3, 32, 32, 3)
    assert store.ready.all()
    clip, row = TRAIN[4], 4
    sound = decoding.decode_audio(source / "AudioWAV" / f"{clip}.wav", 22_050)
    start = crop_start("crema-d", clip, 0)
    expected = decoding.log_spectrogram(decoding.tiled_crop(sound.samples, start))
    np.testing.assert_array_equal(store.rows("audio", np.array([row]))[0], expected)
    # 2.0 s give two frames: the last is repeated. Axes are frame, row, column, colour.
    frames = store.rows("visual", np.array([row]))[0]
    np.testing.assert_allclose(frames.mean(axis=(1, 2, 3)), [20, 80, 80], atol=2)
    assert store.facts[row] == {
        "sound_start": start,
        "sound_damaged_packets": 0,
        "damaged_packets": 0,
        "frame_seconds": [0.0, 1.0, 1.0],
        "height": 48,
        "width": 64,
    }
    assert set(store.sources[row]) == {f"AudioWAV/{clip}.wav", f"VideoFlash/{clip}.flv"}


def test_frames_keep_their_rows_columns_and_colours(tmp_path):
    frame = np.zeros((48, 64, 3), np.uint8)
    frame[:16, :, 0] = 200  # the top is red, the right edge is blue
    frame[:, 48:, 2] = 200
    rows, _ = maker(write_media(tmp_path / "clip.mkv", [frame] * 2, 1), frames=2)(0)
    assert rows["visual"].shape == (2, 16, 16, 3)
    red, green, blue = rows["visual"][0].transpose(2, 0, 1).astype(int)
    assert red[:4].min() > 190 > 10 > red[7:].max()
    assert blue[:, 13:].min() > 190 > 10 > blue[:, :11].max()
    assert green.max() < 10


def test_each_row_has_a_line_with_its_label_groups_and_part(prepared):
    with (prepared[1].folder / "items.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["item"] for row in rows] == [*TRAIN, *TEST]
    assert [row["split"] for row in rows] == ["train"] * 8 + ["val"] * 2 + ["test"] * 2
    assert [row["list"] for row in rows] == ["train"] * 10 + ["test"] * 2
    assert rows[10] == {
        "row": "10",
        "item": "1001_DFA_SAD_XX",
        "clip": "1001_DFA_SAD_XX",
        "list": "test",
        "split": "test",
        **{f"crema-d-actors_{fold}": part for fold, part in enumerate(["train", "val", "test", "train", "train"])},
        "label": "2",
        "class": "SAD",
        "group_actor": "1001",
        "group_sentence": "DFA",
    }


def test_the_command_says_what_leaks_and_what_was_made(prepared):
    text, store = prepared
    assert "train list: 10 rows; the paper states 6,698, 10 prepared" in text
    assert "1 of 2 actor ids of test also occur in train" in text
    assert "1 groups of clips have byte-identical files, 1 with different labels, 1 across parts" in text
    assert "licence: Open Database License 1.0" in text
    assert text.endswith(f"prepared 12 of 12 rows in {store.folder}")
    kept = json.loads((store.folder / LEAKAGE).read_text())
    assert kept["identical_files"]["clips"] == [[TRAIN[0], TEST[1]]]


def test_more_processes_and_another_place_give_the_same_bytes(prepared, root, source, tmp_path):
    (tmp_path / "moved").symlink_to(source)
    folder = tmp_path / "store"
    prepare_media.prepare_media("crema-d", tmp_path / "moved", folder, root, SMALL, Effort(processes=2))
    assert tree(folder) == tree(prepared[1].folder)


def test_the_crop_depends_on_set_clip_and_seed_alone_and_covers_five_seconds():
    starts = [crop_start("crema-d", f"clip-{number}", 0) for number in range(2_000)]
    assert starts[7] == crop_start("crema-d", "clip-7", 0)
    assert len({crop_start(name, clip, seed) for name in "ab" for clip in "cd" for seed in (0, 1)}) == 8
    assert 0 <= min(starts) < 500 < 109_750 < max(starts) <= 110_250
    assert abs(np.mean(starts) - 55_125) < 3 * 110_250 / np.sqrt(12 * 2_000)


def test_damaged_clips_are_listed_and_the_rest_is_prepared(root, source, tmp_path):
    bad = tmp_path / "media"
    for folder in ("VideoFlash", "AudioWAV"):
        (bad / folder).mkdir(parents=True)
        for path in (source / folder).iterdir():
            (bad / folder / path.name).write_bytes(path.read_bytes())
    (bad / "AudioWAV" / f"{TRAIN[0]}.wav").unlink()
    (bad / "VideoFlash" / f"{TRAIN[1]}.flv").write_bytes(b"")
    whole = (bad / "VideoFlash" / f"{TRAIN[2]}.flv").read_bytes()
    (bad / "VideoFlash" / f"{TRAIN[2]}.flv").write_bytes(whole[: len(whole) // 4])
    (bad / "copy").mkdir()
    (bad / "copy" / f"{TRAIN[3]}.wav").write_bytes(b"another")
    (bad / "VideoFlash" / f"{TRAIN[5]}.flv").write_bytes(b"<html>" * 500)
    (bad / "VideoFlash" / f"._{TRAIN[6]}.flv").write_bytes(b"not media")
    text = prepare_media.prepare_media("crema-d", bad, tmp_path / "store", root, SMALL, Effort(failed_share=0.5))
    store = Store(tmp_path / "store")
    store.verify()
    reasons = list(store.failed.items())
    assert [item for item, _ in reasons] == [TRAIN[k] for k in (0, 1, 2, 3, 5)]
    assert reasons[0][1] == f"{TRAIN[0]} has no sound file."
    assert reasons[1][1] == f"VideoFlash/{TRAIN[1]}.flv is empty (0 bytes)."
    assert "is truncated" in reasons[2][1] or "is damaged" in reasons[2][1]
    assert reasons[3][1] == f"{TRAIN[3]} has more than one file called {TRAIN[3]}.wav (in AudioWAV and copy)."
    assert "is not sound or video in a known format" in reasons[4][1]
    assert "train list: 10 rows; the paper states 6,698, 5 prepared" in text
    assert "split of what could be prepared: 3 train, 2 val, 2 test" in text
    with (tmp_path / "store" / "items.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    for column in ("split", "crema-d-actors_0", "crema-d-actors_4"):
        assert [row["item"] for row in rows if not row[column]] == list(store.failed)
    assert f"skipped 5, listed in {tmp_path}/store/skipped.csv; the first: {TRAIN[0]}" in text
    good = store.rows("audio", np.array([4, 11]))
    assert np.isfinite(good).all()
    assert (good != 0).any(axis=(1, 2, 3)).all()


def test_bad_requests_are_one_sentence(root, source, tmp_path):
    with pytest.raises(TcmaxError, match=r"no clip of crema-d lies below .*; files are called as 1001_IEO_NEU_XX\.wav"):
        prepare_media.prepare_media("crema-d", root, tmp_path / "s", root, SMALL)
    for size in (15, 1_025):
        with pytest.raises(TcmaxError, match=f"frames of {size} pixels are not prepared; choose 16 to 1024"):
            prepare_media.prepare_media("crema-d", source, tmp_path / "s", root, Choices(size=size))
    with pytest.raises(TcmaxError, match="there is no fidelity 'exact'"):
        prepare_media.prepare_media("crema-d", source, tmp_path / "s", root, Choices(fidelity="exact"))
    with pytest.raises(TcmaxError, match=r"there is no list .*splits/AVE/train\.csv"):
        prepare_media.prepare_media("ave", source, tmp_path / "s", root, SMALL)
    assert not (tmp_path / "s").exists()


def test_the_command_takes_the_same_choices_and_refuses_nonsense(root, source, prepared, monkeypatch):
    monkeypatch.setenv("TCMAX_DATA", str(root))
    command = ["prepare", "CREMAD", "--source", str(source), "--store", str(prepared[1].folder), "--size", "32"]
    refused = CliRunner().invoke(app, [*command, "--switch", "frames.order"])
    assert str(refused.exception) == "--switch frames.order: give NAME=VALUE."
    # Were shards of the same size, this would be the store that is there: only their size differs.
    refused = CliRunner().invoke(app, [*command, "--switch", "frames.order=first", "--processes", "1"])
    assert "begun with other settings (shard_items)" in str(refused.exception)


def test_the_page_on_raw_media_names_every_set_and_switch():
    page = (ROOT / "docs" / "raw-media.md").read_text(encoding="utf-8")
    for name in (*CLIP_SETS, *QUIRKS):
        assert f"`{name}`" in page
    for chosen in CLIP_SETS.values():
        assert chosen.lists["train"].split("/")[1] in page


def test_a_store_of_another_seed_or_switch_is_not_continued(prepared, root, source):
    folder = prepared[1].folder
    with pytest.raises(TcmaxError, match=r"begun with other settings \(seed\)"):
        prepare_media.prepare_media("crema-d", source, folder, root, dataclasses.replace(SMALL, seed=1))
    with pytest.raises(TcmaxError, match=r"begun with other settings \(arrays, size\)"):
        prepare_media.prepare_media("crema-d", source, folder, root, dataclasses.replace(SMALL, size=16))
    with pytest.raises(TcmaxError, match=r"begun with other settings \(quirks\)"):
        prepare_media.prepare_media("crema-d", source, folder, root, dataclasses.replace(SMALL, fidelity="release"))


def test_a_report_is_written_again_only_when_it_changed(prepared, root, source):
    report = prepared[1].folder / LEAKAGE
    written = report.stat().st_mtime_ns
    prepare_media.prepare_media("crema-d", source, report.parent, root, SMALL)
    assert report.stat().st_mtime_ns == written
    report.write_text("{}")
    prepare_media.prepare_media("crema-d", source, report.parent, root, SMALL)
    assert json.loads(report.read_text())["store"] == sha256(report.parent / "manifest.json")


# What the DAG knows of stores.


def test_media_of_a_set_are_a_folder_of_its_name_below_the_folder_of_sources(tmp_path, monkeypatch):
    monkeypatch.delenv("TCMAX_SOURCES", raising=False)
    assert media_folder("crema-d") is None
    monkeypatch.setenv("TCMAX_SOURCES", str(tmp_path))
    assert media_folder("crema-d") is None
    (tmp_path / "crema-d").mkdir()
    assert media_folder("crema-d") == media_folder("crema-d-actors") == tmp_path / "crema-d"


@pytest.fixture
def with_stores(tmp_path, monkeypatch):
    """An experiment on a dataset of clips, one of features, and one without files; no media, an empty data root."""
    for name in ("crema-d-actors", "ave"):
        monkeypatch.setitem(DATASETS.entries, name, Entry("tcmax.data.digits:halves"))
    monkeypatch.setenv("TCMAX_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("TCMAX_SOURCES", str(tmp_path / "media"))
    encoder = "{encoder: {name: mlp, hidden: [4]}"
    (tmp_path / "stores.yaml").write_text(f"""
name: stores
title: Stores
seeds: [0]
training: {{epochs: 1, batch_size: 8, learning_rate: 0.1}}
datasets:
  crema-d-actors: {encoder}}}
  ave: {encoder}, features: own.npz}}
  digits-halves: {encoder}}}
  KS: {encoder}}}
  ucf101: {{encoder: {{name: nobody}}, needs: an encoder}}
  mvsa-single-rn50: {encoder}}}
variants:
  joint: {{method: joint, head: concat}}
""")
    return grid.load(tmp_path / "stores.yaml")


def test_a_dataset_waits_for_its_store_where_there_is_one_or_can_be(with_stores, tmp_path, monkeypatch):
    report = tmp_path / "data" / "stores" / "crema-d" / LEAKAGE
    reports = {name: datasets.store_report(with_stores, name) for name in with_stores.settings.datasets}
    assert set(reports.values()) == {None}
    (tmp_path / "media" / "crema-d").mkdir(parents=True)  # media: the store can be made
    (tmp_path / "media" / "ave").mkdir()
    (tmp_path / "media" / "kinetics-sounds").mkdir()
    (tmp_path / "media" / "ucf101").mkdir()
    reports = {name: datasets.store_report(with_stores, name) for name in with_stores.settings.datasets}
    assert reports == {
        "crema-d-actors": report,
        "ave": None,
        "digits-halves": None,
        "KS": tmp_path / "data" / "stores" / "kinetics-sounds" / LEAKAGE,
        "ucf101": None,
        "mvsa-single-rn50": None,
    }
    monkeypatch.delenv("TCMAX_SOURCES")
    report.parent.mkdir(parents=True)
    report.write_text("{}")  # no media, but the store is there
    assert datasets.store_report(with_stores, "crema-d-actors") == report
    features = tmp_path / "data" / "stores" / "mvsa-single-rn50" / "features.npz"
    features.parent.mkdir()
    features.write_bytes(b"")
    assert datasets.store_report(with_stores, "mvsa-single-rn50") == features
    monkeypatch.delenv("TCMAX_DATA")
    assert datasets.store_report(with_stores, "crema-d-actors") is None


def test_a_dataset_of_another_package_brings_its_own_files(with_stores, tmp_path, monkeypatch):
    (tmp_path / "media" / "crema-d").mkdir(parents=True)
    monkeypatch.setitem(DATASETS.entries, "crema-d-actors", Entry("another.package:load"))
    assert datasets.store_report(with_stores, "crema-d-actors") is None


def test_a_store_is_due_again_when_what_makes_it_changed_but_not_for_a_library(monkeypatch):
    key = store_key("crema-d")
    assert key == store_key("crema-d-actors") != store_key("ave")
    monkeypatch.setattr(prepare_media, "_LIBRARIES", ("numpy",))
    assert store_key("crema-d") == key
    with monkeypatch.context() as patch:
        patch.setattr(clip_maker, "resolve_quirks", lambda: {**resolve_quirks(), "frames.order": "uniform"})
        assert store_key("crema-d") != key
    monkeypatch.setattr(provenance, "data_code", lambda module: {module: "changed"})
    assert store_key("crema-d") != key


# Switches.


def test_fidelities_fill_every_switch_and_single_ones_override():
    reference, release = resolve_quirks(), resolve_quirks("release")
    assert reference == {name: quirk.values[0] for name, quirk in QUIRKS.items()}
    assert {name for name in QUIRKS if reference[name] == release[name]} == {"sound.crop"}
    assert all(quirk.release in quirk.values for quirk in QUIRKS.values())
    mixed = resolve_quirks("release", {"flow.transposed": "False", "frames.order": "uniform"})
    assert mixed == {**release, "flow.transposed": False, "frames.order": "uniform"}
    with pytest.raises(TcmaxError, match=r"no switch 'flow\.rotated'"):
        resolve_quirks("release", {"flow.rotated": "True"})
    with pytest.raises(TcmaxError, match=r"frames\.order cannot be 'last'; it is first or uniform or listing"):
        resolve_quirks("release", {"frames.order": "last"})


def maker(path, **changes):
    """A maker of one row from one file."""
    settings = {"audio": "", "frames": 0, "flow": 0, "size": 16, "sound": (), "picture": ((path,),)}
    return ClipMaker(dataset="test", source=path.parent, clips=(path.stem,), **{**settings, **changes})


def test_frames_are_the_first_or_spread_or_in_an_order_that_is_none(tmp_path):
    path = write_media(tmp_path / "clip.mkv", grey_clock(3.8, fps=10), 10)
    seconds = {}
    for order in QUIRKS["frames.order"].values:
        _, facts = maker(path, frames=2, quirks=resolve_quirks(chosen={"frames.order": order}))(0)
        seconds[order] = facts["frame_seconds"]
    assert seconds["first"] == [0, 1]
    assert seconds["uniform"] == [0, 3]
    assert set(seconds["listing"]) <= {0, 1, 2, 3}
    orders = set()
    for number in range(8):
        other = path.rename(tmp_path / f"clip{number}.mkv")
        path = other
        orders.add(tuple(maker(path, frames=4, quirks=resolve_quirks("release"))(0)[1]["frame_seconds"]))
    assert len(orders) > 4  # a shuffle of its own for each clip, the same at every call


def drift(n_frames):
    """A pattern that moves right by two pixels a frame on a frame that is not square."""
    texture = np.random.default_rng(0).integers(0, 256, (12, 36)).astype(np.uint8).repeat(4, 0).repeat(4, 1)
    return [np.repeat(np.roll(texture, 2 * k, axis=1)[:, :, None], 3, axis=2) for k in range(n_frames)]


def test_flow_has_all_x_then_all_y_and_is_transposed_and_copied_only_as_released(tmp_path):
    half = [frame.copy() for frame in drift(60)]
    for frame in half:
        frame[:, :72] = half[0][:, :72]  # the left half stands still
    path = write_media(tmp_path / "clip.mkv", half, 25)
    rows, facts = maker(path, flow=10)(0)
    assert rows["flow"].shape == (20, 16, 16)
    assert rows["flow"].dtype == np.float16
    assert len(facts["flow_seconds"]) == 10
    x, y = rows["flow"][:10].astype(float), rows["flow"][10:].astype(float)
    assert np.abs(x[:, 4:12, 9:15]).mean() > 5 * np.abs(y[:, 4:12, 9:15]).mean()
    assert np.median(x[:, 4:12, 9:15]) > 1
    assert np.abs(x[:, 4:12, 1:6]).mean() < 0.5
    assert len(np.unique(x.reshape(10, -1), axis=0)) == 10

    released, facts = maker(path, flow=10, quirks=resolve_quirks("release"))(0)
    assert facts["flow_seconds"] == [1.0, 2.0]
    x = released["flow"][:10].astype(float)
    assert len(np.unique(x.reshape(10, -1), axis=0)) == 2
    np.testing.assert_array_equal(x[2:], np.broadcast_to(x[1], (8, 16, 16)))
    assert np.median(x[:, 9:15, 4:12]) > 1  # rows are the clip's columns
    assert np.abs(x[:, 1:6, 4:12]).mean() < 0.5


def test_a_filterbank_is_refused_for_a_broken_recording_or_constant_as_released(tmp_path):
    broken = tmp_path / "clip.wav"
    broken.write_bytes(b"RIFF but not really")
    settings = {"audio": "filterbank", "sound": ((broken,),), "picture": ()}
    with pytest.raises(TcmaxError, match=r"^clip\.wav is not sound or video"):
        maker(broken, **settings)(0)
    rows, facts = maker(broken, **settings, quirks=resolve_quirks("release"))(0)
    np.testing.assert_array_equal(rows["audio"], decoding.filterbank_of_a_failure())
    assert facts["sound_replaced"].startswith("clip.wav is not")
    soundfile.write(broken, np.zeros(100), 16_000)
    with pytest.raises(TcmaxError, match="less than 25 ms"):
        maker(broken, **settings)(0)
    soundfile.write(broken, tone(1.0, rate_hz=16_000), 16_000)
    rows, _ = maker(broken, **settings)(0)
    assert rows["audio"].shape == (1, 1024, 128)


def test_ten_seconds_of_sound_are_kept_where_crops_are_drawn_in_each_epoch(tmp_path):
    path = tmp_path / "clip.wav"
    soundfile.write(path, tone(3.0, rate_hz=22_050), 22_050, subtype="FLOAT")
    settings = {"audio": "spectrogram", "sound": ((path,),), "picture": ()}
    whole, facts = maker(path, **settings, quirks=resolve_quirks(chosen={"sound.crop": "each_epoch"}))(0)
    once, _ = maker(path, **settings)(0)
    np.testing.assert_allclose(whole["audio"], np.tile(tone(3.0, rate_hz=22_050), 4)[:220_500], atol=1e-6)
    crop = whole["audio"][facts["sound_start"] :][:110_250]
    np.testing.assert_array_equal(decoding.log_spectrogram(crop), once["audio"])
    with pytest.raises(TcmaxError, match="no sound of test is cropped"):
        maker(path, audio="filterbank", quirks=resolve_quirks(chosen={"sound.crop": "each_epoch"}))


def test_every_set_says_what_a_row_holds():
    shapes = {}
    for name, chosen in CLIP_SETS.items():
        make = ClipMaker(name, None, (), (), (), chosen.audio, chosen.frames, chosen.flow)
        shapes[name] = {array: shape for array, (shape, _) in make.arrays().items()}
    spectrogram, three = (1, 129, 862), (3, 224, 224, 3)
    assert shapes == {
        "crema-d": {"audio": spectrogram, "visual": three},
        "ave": {"audio": spectrogram, "visual": three},
        "kinetics-sounds": {"audio": (1, 1024, 128), "visual": three},
        "vggsound": {"audio": spectrogram, "visual": (4, 224, 224, 3)},
        "ucf101": {"visual": three, "flow": (20, 224, 224)},
    }
