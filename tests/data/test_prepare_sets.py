"""`tcmax prepare` from end to end on AVE, Kinetics-Sounds, VGGSound and UCF101: real clips, and one that is made up."""

import csv
import dataclasses
import json

import numpy as np
import pytest
import soundfile
from media_files import grey_clock, tone, write_media
from stores import make_here
from typer.testing import CliRunner

from tcmax.cli import app
from tcmax.data.media import store
from tcmax.data.media.clips import CLIP_SETS, LEAKAGE
from tcmax.data.media.store import Store

# Set -> (folder of its lists, header, classes, names of six clips: four train, then validation or train, then test).
SETS = {
    "ave": ("AVE", "youtube_id,label", ("Banjo", "Violin"), [f"abcdefghij{k}" for k in range(6)]),
    "kinetics-sounds": (
        "KineticsSound",
        "youtube_id,label",
        ("laughing", "singing"),
        [f"abcdefghij{k}_000001_000011" for k in range(6)],
    ),
    "vggsound": ("VGGSound", "youtube_id,label", ("bells", "rain"), [f"abcdefghij{k}_1_11" for k in range(6)]),
    "ucf101": (
        "UCF101",
        "idx,label",
        ("Archery", "Bowling"),
        [f"v_{'ArcheryBowling'[7 * (k % 2) :][:7]}_g{8 + 3 * k:02d}_c01" for k in range(6)],
    ),
}
REAL = ("bbaf2n.mp4", "swwp2s.avi", "lbbc2a.mpg", "swwp2s.flv", "bbaf2n_noaudio_320x240.avi")


@pytest.fixture
def prepared(request, data_with_clips, tmp_path, monkeypatch):
    """(text, store) of the command on a set: five clips are real, one of them without sound, the last is made up."""
    name = request.param
    folder, header, classes, clips = SETS[name]
    monkeypatch.setattr(store, "_make_shards", make_here)
    monkeypatch.setitem(CLIP_SETS, name, dataclasses.replace(CLIP_SETS[name], classes=2))
    monkeypatch.setenv("TCMAX_DATA", str(tmp_path))
    (tmp_path / "splits" / folder).mkdir(parents=True)
    (tmp_path / "media").mkdir()
    rows = [f"{clip},{classes[k % 2]}\n" for k, clip in enumerate(clips)]
    parts = {"train": rows[:4], "val": rows[4:5], "test": rows[5:]}
    if "val" not in CLIP_SETS[name].lists:
        parts = {"train": rows[:5], "test": rows[5:]}
    for part, lines in parts.items():
        (tmp_path / "splits" / folder / f"{part}.csv").write_text(f"{header}\n{''.join(lines)}")
    picture = CLIP_SETS[name].picture
    for clip, file in zip(clips, REAL, strict=False):
        suffix = file[-4:] if file[-4:] in picture else ".avi"  # the content says what a file is, not its name
        (tmp_path / "media" / f"{clip}{suffix}").symlink_to(data_with_clips / file)
    write_media(tmp_path / "media" / f"{clips[5]}.mp4", grey_clock(2.2), sound=tone(2.2, 600))
    soundfile.write(tmp_path / "media" / f"{clips[5]}.wav", tone(2.2, 300), 44_100)  # comes before the clip's own sound
    command = ["prepare", name, "--source", str(tmp_path / "media"), "--size", "32", "--failed-share", "0.2"]
    done = CliRunner().invoke(app, command)
    assert done.exception is None, done.exception
    return done.stdout, Store(tmp_path / "stores" / name)


@pytest.fixture
def data_with_clips(data_with):
    return data_with("video_clips/clips.csv") / "video_clips"


def split_of(built):
    with (built.folder / "items.csv").open(newline="") as stream:
        return [row["split"] for row in csv.DictReader(stream)]


@pytest.mark.parametrize("prepared", ["ave", "vggsound"], indirect=True)
def test_sets_with_spectrograms(prepared):
    text, built = prepared
    n_frames = 4 if built.folder.name == "vggsound" else 3
    assert built.shape("audio") == (6, 1, 129, 862)
    assert built.shape("visual") == (6, n_frames, 32, 32, 3)
    ((failed, reason),) = built.failed.items()
    assert (failed, reason) == (built.items[4], f"{failed}.avi has no sound track.")
    assert "prepared 5 of 6 rows" in text
    assert split_of(built) == [*["train"] * 4, "", "test"]
    audio = built.rows("audio", np.arange(6))
    assert (audio[4] == 0).all()
    assert all(0.5 < spread < 10 for spread in audio[[0, 1, 2, 3, 5]].std(axis=(1, 2, 3)))
    # 300 Hz lies between bins 3 and 4 of 86 Hz, in every frame.
    assert set(audio[5, 0].argmax(axis=0).tolist()) <= {3, 4}
    assert [facts.get("height") for facts in built.facts] == [288, 288, 288, 288, None, 48]
    assert built.facts[0]["frame_seconds"] == [0.0, 1.0, 2.0, 2.0][:n_frames]  # three seconds
    grey = built.rows("visual", np.array([5]))[0].mean(axis=(1, 2, 3))
    np.testing.assert_allclose(grey, [20, 80, 140, 140][:n_frames], atol=2)
    # Two containers of one clip look and sound alike.
    pair = built.rows("visual", np.array([1, 3])).astype(int)
    assert np.abs(pair[0] - pair[1]).mean() < 4


@pytest.mark.parametrize("prepared", ["kinetics-sounds"], indirect=True)
def test_a_set_with_filterbanks(prepared):
    _, built = prepared
    assert built.shape("audio") == (6, 1, 1024, 128)
    audio = built.rows("audio", np.arange(6))
    frames = [np.flatnonzero(row[0].any(axis=1)).max() + 1 for row in audio[[0, 1, 2, 3, 5]]]
    # A frame each 10 ms while 25 ms fit: 2.978 s give 296; the encoders of mp3 and aac add less than 50 ms.
    assert frames[1:3] == [296, 296]
    assert all(296 <= count <= 301 for count in (frames[0], frames[3]))
    assert 218 <= frames[4] <= 223
    assert list(built.failed) == [built.items[4]]


@pytest.mark.parametrize("prepared", ["ucf101"], indirect=True)
def test_a_set_with_flow(prepared):
    text, built = prepared
    assert built.shape("flow") == (6, 20, 32, 32)
    assert built.ready.all()  # it needs no sound
    assert split_of(built) == [*["train"] * 4, "val", "test"]
    flow = built.rows("flow", np.arange(6)).astype(float)
    assert np.isfinite(flow).all()
    assert all(0.01 < np.abs(row).mean() < 5 for row in flow[:5])  # people who speak
    assert np.abs(flow[5]).mean() < 0.01  # a grey plane that brightens does not move
    assert [len(facts["flow_seconds"]) for facts in built.facts] == [10] * 6
    report = json.loads((built.folder / LEAKAGE).read_text())
    (fold,) = report["safer"]["ucf101-groups"]["folds"]
    # Groups 8, 11, 14, 17, 20 are on the train list: none of 22 to 25, which would validate.
    assert fold["split"] == {"train": 5, "val": 0, "test": 1}
    assert "ucf101-groups: 5 train, 0 val, 1 test" in text
