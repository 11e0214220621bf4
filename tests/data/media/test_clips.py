"""Lists of clips as published, damaged lists, and the numbers of the leakage report."""

import csv
import dataclasses
import os

import numpy as np
import pytest

from tcmax.data.base import PARTS
from tcmax.data.media.clip_leakage import dataset_facts, leakage, leakage_text
from tcmax.data.media.clips import CLIP_SETS, SPLITS, clip_set, find_media, read_lists
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


def test_what_is_alike_is_not_counted_as_different(tmp_path):
    train = "".join(f"10{row:02d}_IEO_{label}_LO,{label}\n" for row, label in enumerate(["HAP"] * 4 + ["ANG"] * 2, 1))
    listed = read_lists(CREMA, write_lists(tmp_path, train.encode(), b"1091_IEO_HAP_LO,HAP\n"))
    sources = [{f"{clip}.wav": {"sha256": clip[2:4].translate({ord("2"): "1"})}} for clip in listed.clips]
    report = leakage(listed, sources=sources)
    assert report["identical_files"]["clips"] == [["1001_IEO_HAP_LO", "1002_IEO_HAP_LO"]]
    assert (report["identical_files"]["with_different_labels"], report["identical_files"]["across_parts"]) == (0, 0)
    assert report["balance"]["train"] == 2  # of the classes that occur

    rows = ("1,Violin", "2,Banjo", "3,Banjo"), ("1,Violin", "2,Violin"), ("4,Banjo",)
    train, val, test = ("\n".join(["youtube_id,label", *(f"abcdefghij{row}" for row in of)]).encode() for of in rows)
    again = leakage(read_lists(AVE, write_lists(tmp_path, train, test, val, folder="AVE")))["clips_listed_again"]
    assert (again["shared_with_train"], again["shared_with_another_label"]) == (
        {"val": 2, "test": 0},
        {"val": 1, "test": 0},
    )


def test_the_report_says_it_in_sentences(reports):
    text = leakage_text(reports["ucf101"])
    assert "1,217 of 1,219 group ids of val also occur in train\n" in text
    assert "train list: 9,537 rows, as stated; largest class 1.68 times the smallest" in text
    assert "the standard error of an accuracy would be up to 0.8 points" in text
    (line,) = (line for line in leakage_text(reports["crema-d"]).splitlines() if "actor_sentence ids of test" in line)
    assert line.endswith(" of 545 actor_sentence ids of test also occur in train (545 on the train list)")


def test_the_report_says_where_a_list_is_not_the_papers(tmp_path):
    train = b"1002_IEO_HAP_LO,HAP\n1003_IEO_SAD_LO,SAD\n1004_IEO_SAD_LO,SAD\n"
    listed = read_lists(CREMA, write_lists(tmp_path, train))
    assert "test list: 1 rows; the paper states 744" in leakage_text(leakage(listed))


def test_clips_that_cannot_be_prepared_leave_the_split_alone_or_move_it_as_in_the_released_code(tmp_path):
    rows = "".join(f"10{row:02d}_IEO_HAP_LO,HAP\n" for row in range(1, 11))
    listed = read_lists(CREMA, write_lists(tmp_path, rows.encode(), b"1091_IEO_HAP_LO,HAP\n"))
    ready = np.ones(11, dtype=bool)
    ready[[1, 2, 3, 4, 5]] = False
    fold = listed.released_fold(ready)
    assert (fold.train.tolist(), fold.val.tolist(), fold.test.tolist()) == ([0, 6, 7], [8, 9], [10])
    released = listed.released_fold(ready, drop_first=True)
    assert (released.train.tolist(), released.val.tolist()) == ([0, 6, 7, 8], [9])
    text = leakage_text(leakage(listed, ready))
    assert "split: 8 train, 2 val, 1 test\nsplit of what could be prepared: 3 train, 2 val, 1 test\n" in text
    assert "cut after the rest was dropped, as released: 4 train, 1 val, 1 test\n" in text


# Splits that keep apart what the papers' do not.


def in_two_parts(listed, fold, ids):
    """Ids that occur in more than one part of a fold, one pair of parts after the other."""
    held = {part: {ids[row] for row in fold.part(part)} for part in PARTS}
    return (held["train"] & held["val"]) | (held["train"] & held["test"]) | (held["val"] & held["test"])


def test_actors_of_crema_d_are_in_one_part_of_each_fold_and_test_once(real_lists, real_data):
    listed = real_lists["crema-d"]
    folds = listed.folds("crema-d-actors")
    assert [len(fold.test) for fold in folds] == [1551, 1469, 1476, 1470, 1476]  # clips of actors of fold 0 to 4
    for number, fold in enumerate(folds):
        assert not in_two_parts(listed, fold, listed.groups["actor"])
        np.testing.assert_array_equal(fold.val, folds[(number + 1) % 5].test)
        np.testing.assert_array_equal(
            np.sort(np.concatenate([fold.train, fold.val, fold.test])), np.arange(len(listed.items))
        )
    with (real_data / "crema_d" / "ratings.csv").open(newline="") as stream:
        published = {row["clip"]: int(row["actor_fold"]) for row in csv.DictReader(stream)}
    tested = {listed.clips[row]: number for number, fold in enumerate(folds) for row in fold.test}
    assert tested == published


def test_ave_keeps_each_video_once_and_its_test_list_whole(real_lists):
    listed = real_lists["ave"]
    (fold,) = listed.folds("ave-once")
    # Of 3,339 rows 27 pairs are one video twice; 18 videos are on a later list too, one of them among the pairs.
    assert (len(fold.train), len(fold.val), len(fold.test)) == (3339 - 2 * 27 - 17, 402 - 2, 402)
    clips = [listed.clips[row] for part in PARTS for row in fold.part(part)]
    assert len(set(clips)) == len(clips)
    np.testing.assert_array_equal(fold.test, listed.listed_fold().test)
    dropped = {listed.items[row] for row in listed.listed_fold().train} - {listed.items[row] for row in fold.train}
    assert {"-1qyr-IzqKY@train/Ukulele", "-1qyr-IzqKY@train/Accordion"} < dropped


def test_a_video_of_two_lists_stays_in_the_later_one(tmp_path):
    def listing(*rows):
        lines = ["youtube_id,label", *(f"abcdefghij{number},{label}" for number, label in rows)]
        return "\n".join(lines).encode()

    train = listing((1, "Violin"), (2, "Banjo"), (3, "Banjo"), (4, "Violin"), (4, "Banjo"))
    val = listing((2, "Violin"), (5, "Violin"), (6, "Violin"), (6, "Banjo"))
    test = listing((3, "Violin"), (5, "Banjo"))
    listed = read_lists(AVE, write_lists(tmp_path, train, test, val, folder="AVE"))
    (fold,) = listed.folds("ave-once")
    parts = {part: [listed.items[row] for row in fold.part(part)] for part in PARTS}
    assert parts == {
        "train": ["abcdefghij1"],
        "val": ["abcdefghij2@val/Violin"],
        "test": ["abcdefghij3@test/Violin", "abcdefghij5@test/Banjo"],
    }


def test_ucf101_validates_on_groups_that_nothing_else_holds(real_lists):
    listed = real_lists["ucf101"]
    (fold,) = listed.folds("ucf101-groups")
    # Clips of g22 to g25: 523 + 523 + 522 + 539 of 9,537; 101 classes of 18 groups each, 4 of which validate.
    assert (len(fold.train), len(fold.val), len(fold.test)) == (7430, 2107, 3783)
    groups = listed.groups["group"]
    assert [len({groups[row] for row in fold.part(part)}) for part in ("train", "val")] == [101 * 14, 101 * 4]
    assert not in_two_parts(listed, fold, groups)
    np.testing.assert_array_equal(fold.test, listed.listed_fold().test)


def test_the_report_shows_that_safer_splits_share_nothing(reports):
    found = {name: (name, reports[split.clip_set]["safer"][name]) for name, split in SPLITS.items()}
    for name, report in found.values():
        apart = SPLITS[name].apart
        assert {fold["shared"][apart]["in_two_parts"] for fold in report["folds"]} == {0}
    actors = found["crema-d-actors"][1]["folds"]
    assert [fold["shared"]["actor"]["ids"] for fold in actors] == [91] * 5
    assert {fold["shared"]["sentence"]["in_two_parts"] for fold in actors} == {12}  # every actor speaks all twelve
    text = leakage_text(reports["ucf101"])
    assert (
        "ucf101-groups: 7,430 train, 2,107 val, 3,783 test; in more than one part: 0 of 13,320 clip ids, 0 of " in text
    )
    assert "crema-d-actors: 4,415 to 4,497 train, 1,469 to 1,551 val, 1,469 to 1,551 test; " in leakage_text(
        reports["crema-d"]
    )
    assert reports["kinetics-sounds"]["safer"] == {}


def test_a_dataset_says_of_itself_what_its_own_split_shares(reports, real_lists):
    facts = dataset_facts(reports["crema-d"], "crema-d-actors")
    assert facts[0] == "train list: 6,698 rows, as stated; largest class 1.20 times the smallest"
    assert facts[2].startswith("five folds by actor")
    assert "0 of 91 actor ids" in facts[3]
    assert facts[4].endswith("up to 0.6 points")  # 7,442 clips are tested over the folds
    assert not any("also occur in train" in fact for fact in facts)
    assert "91 of 91 actor ids of test also occur in train" in dataset_facts(reports["crema-d"], "crema-d")
    sources = [{"clip.flv": {"sha256": clip}} for clip in real_lists["ucf101"].clips]
    (fact,) = dataset_facts(leakage(real_lists["ucf101"], sources=sources), "ucf101-groups")[3:4]
    assert fact.endswith("0 of 2,525 group ids, 0 groups of byte-identical files")


def test_a_safer_split_is_prepared_as_its_set_and_leaves_out_what_was_skipped(tmp_path):
    assert clip_set("crema-d-actors") is CREMA
    train = "".join(f"{actor}_IEO_HAP_LO,HAP\n" for actor in (1001, 1002, 1003, 1004, 1005))
    listed = read_lists(CREMA, write_lists(tmp_path, train.encode(), b"1002_TIE_HAP_LO,HAP\n"))
    fold = listed.folds("crema-d-actors")[1]  # the first actors are of folds 2, 1, 4, 2, 4
    assert (fold.train.tolist(), fold.val.tolist(), fold.test.tolist()) == ([2, 4], [0, 3], [1, 5])
    ready = np.array([True, False, True, True, False, True])
    fold = listed.folds("crema-d-actors", ready)[1]
    assert (fold.train.tolist(), fold.val.tolist(), fold.test.tolist()) == ([2], [0, 3], [5])
    counts = leakage(listed, ready)["safer"]["crema-d-actors"]["folds"][1]
    assert (counts["split"], counts["prepared"]) == (
        {"train": 2, "val": 2, "test": 2},
        {"train": 1, "val": 2, "test": 1},
    )
    text = leakage_text(leakage(listed, ready))
    assert "crema-d-actors: 2 to 4 train, 0 to 2 val, 0 to 2 test (prepared: 1 to 3 train, " in text
    assert listed.folds("crema-d")[0].val.tolist() == [4]


def test_files_that_cross_the_parts_of_a_safer_split_are_counted(tmp_path):
    listed = read_lists(CREMA, write_lists(tmp_path, b"1001_TIE_HAP_LO,HAP\n1002_IEO_SAD_LO,SAD\n"))
    sources = [{f"{clip}.wav": {"sha256": "equal"}} for clip in listed.clips]
    folds = leakage(listed, sources=sources)["safer"]["crema-d-actors"]["folds"]
    assert [fold["identical_files_across_parts"] for fold in folds] == [1, 1, 1, 0, 0]
    assert [fold["shared"]["sentence"] for fold in folds[2:4]] == [
        {"ids": 2, "in_two_parts": 1},
        {"ids": 2, "in_two_parts": 0},
    ]


def test_only_ave_has_a_validation_list_that_no_protocol_replaces():
    assert [name for name, split in SPLITS.items() if split.official_validation] == ["ave-once"]


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
