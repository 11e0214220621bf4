"""Lists of clips as published, damaged lists, and the numbers of the leakage report."""

import csv
import dataclasses
import os

import numpy as np
import pytest

from tcmax.data.base import PARTS
from tcmax.data.clips import CLIP_SETS, clip_set, find_media, leakage, leakage_text, read_lists
from tcmax.errors import TcmaxError

CREMA = CLIP_SETS["crema-d"]
AVE = dataclasses.replace(CLIP_SETS["ave"], classes=2)


def write_lists(root, train, test=b"1001_IEO_HAP_LO,HAP\n", val=None, folder="CREMAD"):
    (root / "splits" / folder).mkdir(parents=True, exist_ok=True)
    for part, content in (("train", train), ("val", val), ("test", test)):
        if content is not None:
            (root / "splits" / folder / f"{part}.csv").write_bytes(content)
    return root


@pytest.fixture(scope="module")
def real_lists(real_data):
    return {name: read_lists(CLIP_SETS[name], real_data) for name in CLIP_SETS if name != "vggsound"}


@pytest.fixture(scope="module")
def reports(real_lists):
    return {name: leakage(listed) for name, listed in real_lists.items()}


# The published facts.


def test_lists_have_the_published_sizes_and_splits(reports):
    sizes = {name: (report["listed"], report["split"]) for name, report in reports.items()}
    assert sizes == {
        "crema-d": ({"train": 6698, "test": 744}, {"train": 5358, "val": 1340, "test": 744}),
        "kinetics-sounds": ({"train": 14675, "test": 2594}, {"train": 11740, "val": 2935, "test": 2594}),
        "ave": ({"train": 3339, "val": 402, "test": 402}, {"train": 3339, "val": 402, "test": 402}),
        "ucf101": ({"train": 9537, "test": 3783}, {"train": 7629, "val": 1908, "test": 3783}),
    }


def test_crema_d_shares_every_actor_and_spoken_sentence(reports):
    groups = reports["crema-d"]["groups"]
    assert [groups["actor"][part]["also_in_train"] for part in ("val", "test")] == [91, 91]
    assert groups["actor_sentence"]["test"]["in_part"] == 545
    assert groups["actor_sentence"]["test"]["on_the_train_list"] == 545
    assert reports["crema-d"]["balance"] == {"train": 1.20, "test": 1.33}


def test_ave_lists_videos_again_with_other_labels(reports):
    again = reports["ave"]["clips_listed_again"]
    assert again["within"] == {"train": 27, "val": 1, "test": 0}
    assert again["shared_with_train"] == again["shared_with_another_label"] == {"val": 10, "test": 8}


def test_ucf101_validates_on_groups_it_trains_on_and_tests_on_others(reports):
    groups = reports["ucf101"]["groups"]["group"]
    assert groups["val"] == {"in_part": 1219, "also_in_train": 1217, "on_the_train_list": 1219}
    assert groups["test"] == {"in_part": 707, "also_in_train": 0, "on_the_train_list": 0}


def test_kinetics_sounds_shares_no_video(reports):
    assert reports["kinetics-sounds"]["groups"]["video"]["test"]["also_in_train"] == 0
    assert reports["kinetics-sounds"]["balance"] == {"train": 3.51, "test": 1.46}


def test_labels_of_crema_d_are_those_of_the_file_names(real_lists):
    listed = real_lists["crema-d"]
    names = [listed.class_names[label] for label in listed.labels]
    assert names == [clip.split("_")[2] for clip in listed.clips]
    assert len(set(listed.items)) == 7442
    assert listed.items[0] == listed.clips[0] == "1088_IOM_NEU_XX"  # despite the byte-order mark


def test_ids_of_rows_are_unique_and_stable_where_clips_are_listed_again(real_lists):
    listed = real_lists["ave"]
    assert len(set(listed.items)) == len(listed.items) == 4143
    assert {item for item in listed.items if item.startswith("-1qyr-IzqKY")} == {
        "-1qyr-IzqKY@train/Ukulele",
        "-1qyr-IzqKY@train/Accordion",
    }


def test_identical_files_of_crema_d_are_found_from_their_checksums(real_lists, real_data):
    with (real_data / "crema_d" / "media_manifest.csv").open(newline="") as stream:
        checksums = {row["clip"]: row["wav_sha256"] for row in csv.DictReader(stream)}
    listed = real_lists["crema-d"]
    sources = [{f"{clip}.wav": {"sha256": checksums[clip]}} for clip in listed.clips]
    twins = leakage(listed, sources=sources)["identical_files"]
    assert (twins["groups"], twins["with_different_labels"]) == (3, 3)
    assert ["1013_WSI_DIS_XX", "1013_WSI_SAD_XX"] in twins["clips"]
    fold, clips = listed.released_fold(), np.array(listed.clips)
    parts = {clip: part for part in PARTS for clip in clips[fold.part(part)].tolist()}
    assert twins["across_parts"] == sum(len({parts[clip] for clip in group}) > 1 for group in twins["clips"])


def test_a_clip_that_is_listed_again_is_no_twin_of_itself(tmp_path):
    train = b"youtube_id,label\nabcdefghij1,Violin\nabcdefghij1,Banjo\n"
    part = b"youtube_id,label\nabcdefghij3,Banjo\n"
    listed = read_lists(AVE, write_lists(tmp_path, train, part, part.replace(b"3", b"4"), folder="AVE"))
    sources = [{f"{clip}.mp4": {"sha256": clip}} for clip in listed.clips]
    assert leakage(listed, sources=sources)["identical_files"]["groups"] == 0


def test_the_report_says_it_in_sentences(reports):
    text = leakage_text(reports["ucf101"])
    assert "1,217 of 1,219 group ids of val also occur in train\n" in text
    assert "train list: 9,537 rows, as stated; largest class 1.68 times the smallest" in text
    assert "the standard error of an accuracy would be up to 0.8 points" in text


def test_the_report_says_where_a_list_is_not_the_papers(tmp_path):
    train = b"1002_IEO_HAP_LO,HAP\n1003_IEO_SAD_LO,SAD\n1004_IEO_SAD_LO,SAD\n"
    listed = read_lists(CREMA, write_lists(tmp_path, train))
    assert "test list: 1 rows; the paper states 744" in leakage_text(leakage(listed))


def test_clips_that_cannot_be_prepared_leave_the_split_alone_or_move_it_as_in_the_released_code(tmp_path):
    rows = "".join(f"10{row:02d}_IEO_HAP_LO,HAP\n" for row in range(10))
    listed = read_lists(CREMA, write_lists(tmp_path, rows.encode(), b"1099_IEO_HAP_LO,HAP\n"))
    ready = np.ones(11, dtype=bool)
    ready[[1, 2, 3, 4, 5]] = False
    fold = listed.released_fold(ready)
    assert (fold.train.tolist(), fold.val.tolist(), fold.test.tolist()) == ([0, 6, 7], [8, 9], [10])
    released = listed.released_fold(ready, drop_first=True)
    assert (released.train.tolist(), released.val.tolist()) == ([0, 6, 7, 8], [9])
    text = leakage_text(leakage(listed, ready))
    assert "split: 8 train, 2 val, 1 test\nsplit of what could be prepared: 3 train, 2 val, 1 test\n" in text
    assert "cut after the rest was dropped, as released: 4 train, 1 val, 1 test\n" in text


# Damaged lists.


@pytest.mark.parametrize(
    "train",
    [
        b"\xef\xbb\xbf1002_IEO_HAP_LO,HAP\r\n1003_IEO_SAD_LO,SAD\r\n",
        b'"1002_IEO_HAP_LO","HAP"\n"1003_IEO_SAD_LO","SAD"',
        b"1002_IEO_HAP_LO, HAP \n\n\n1003_IEO_SAD_LO,SAD\n\n",
    ],
    ids=["byte-order mark and CRLF", "quotes", "blank lines and spaces"],
)
def test_spellings_of_a_list_are_one(tmp_path, train):
    listed = read_lists(CREMA, write_lists(tmp_path, train))
    assert listed.items == ("1002_IEO_HAP_LO", "1003_IEO_SAD_LO", "1001_IEO_HAP_LO")
    assert [listed.class_names[label] for label in listed.labels] == ["HAP", "SAD", "HAP"]
    assert listed.groups["actor"] == ("1002", "1003", "1001")
    assert listed.groups["actor_sentence"][0] == "1002_IEO"


def test_a_label_with_a_comma_is_quoted(tmp_path):
    train = b'youtube_id,label\nabcdefghij1,"Violin, fiddle"\nabcdefghij2,Banjo\n'
    part = b"youtube_id,label\nabcdefghij3,Banjo\n"
    listed = read_lists(AVE, write_lists(tmp_path, train, part, part.replace(b"3", b"4"), folder="AVE"))
    assert listed.class_names == ("Banjo", "Violin, fiddle")


BAD = {
    "missing": (None, r"there is no list .*train\.csv"),
    "empty": (b"", r"train\.csv lists no clip"),
    "not UTF-8": (b"1002_IEO_HAP_LO,HAP\xff\n", r"train\.csv is not a list of clips in UTF-8"),
    "open quote": (b'"1002_IEO_HAP_LO,HAP\n', r"train\.csv is not a list of clips"),
    "three columns": (b"1002_IEO_HAP_LO,HAP,1\n", r"train\.csv, line 1: 3 columns, not a clip and its label"),
    "one column": (b"1002_IEO_HAP_LO\n", "line 1: 1 columns"),
    "unknown label": (b"1002_IEO_HAP_LO,HAP\n1003_IEO_JOY_LO,JOY\n", "line 2: 'JOY' is not one of the 6 classes"),
    "listed twice": (
        b"1002_IEO_HAP_LO,HAP\n1002_IEO_HAP_LO,HAP\n",
        "line 2: 1002_IEO_HAP_LO is listed twice, first in .*line 1",
    ),
    "in both parts": (
        b"1001_IEO_HAP_LO,HAP\n",
        r"test\.csv, line 1: 1001_IEO_HAP_LO is listed twice, first in .*train",
    ),
    "a path": (b"../../1002_IEO_HAP_LO,HAP\n", "'../../1002_IEO_HAP_LO' is not the name of a clip"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_damaged_list_is_refused_in_one_sentence(tmp_path, kind):
    train, message = BAD[kind]
    with pytest.raises(TcmaxError, match=message):
        read_lists(CREMA, write_lists(tmp_path, train))


def test_lists_with_a_header_must_have_it_and_name_every_class(tmp_path):
    part = b"youtube_id,label\nabcdefghij3,Banjo\n"
    with pytest.raises(TcmaxError, match="does not begin with the line 'youtube_id,label'"):
        read_lists(AVE, write_lists(tmp_path, b"abcdefghij1,Banjo\n", part, part, folder="AVE"))
    with pytest.raises(TcmaxError, match="names 1 classes, ave has 2"):
        read_lists(AVE, write_lists(tmp_path, b"youtube_id,label\nabcdefghij1,Banjo\n", part, part, folder="AVE"))


def test_a_set_is_known_by_its_aliases():
    assert clip_set("CREMAD") is clip_set("crema-d") is CREMA
    assert clip_set("KS").id == "kinetics-sounds"
    with pytest.raises(TcmaxError, match="no raw media of 'kinetics' can be prepared; known sets are crema-d"):
        clip_set("kinetics")


# Files on the disk.


def test_media_are_found_wherever_they_lie_and_hidden_files_are_not_media(tmp_path):
    for name in ("a/b/one.MP4", "two.wav", "a/._two.wav", ".trash/three.wav", "c/two.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    os.symlink(tmp_path, tmp_path / "a" / "loop")
    found = find_media(tmp_path)
    assert found == {
        "one.mp4": (tmp_path / "a/b/one.MP4",),
        "two.wav": (tmp_path / "c/two.wav", tmp_path / "two.wav"),
    }
    with pytest.raises(TcmaxError, match="is not a folder"):
        find_media(tmp_path / "two.wav")
