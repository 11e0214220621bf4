"""crema-d-ratings as loaded from the real file, against the tables it was made from."""

import csv
import gzip
from collections import Counter

import numpy as np
import pytest

from tcmax.data.crema_d_ratings import FILE, load
from tcmax.errors import TcmaxError

LETTERS = "ADFHNS"


@pytest.fixture(scope="module")
def root(data_with):
    return data_with(FILE)


@pytest.fixture(scope="module")
def dataset(root):
    return load(root)


def table(path):
    with path.open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream))


def test_shares_are_those_of_the_published_votes(dataset, root):
    with gzip.open(root / "crema_d" / "tabulatedVotes.csv.gz", "rt", encoding="utf-8") as stream:
        votes = {int(row[""]): row for row in csv.DictReader(stream)}
    for clip in range(1, 7_443, 97):
        for question, modality in ((1, "voice"), (2, "face")):
            row = votes[question * 100_000 + clip]
            counts = np.array([int(row[letter]) for letter in LETTERS])
            position = int(np.flatnonzero(dataset.items == row["fileName"])[0])
            np.testing.assert_allclose(dataset.inputs[modality][position], counts / counts.sum(), rtol=1e-6)


def test_every_clip_tests_once_and_no_actor_is_on_two_sides(dataset):
    actor = dataset.groups["actor"]
    assert len(np.unique(actor)) == 91
    assert sorted(np.concatenate([fold.test for fold in dataset.folds])) == list(range(7_442))
    for number, fold in enumerate(dataset.folds):
        sides = [set(actor[fold.part(part)]) for part in ("train", "val", "test")]
        assert sum(map(len, sides)) == len(set().union(*sides)) == 91
        assert sides[1] == set(actor[dataset.folds[(number + 1) % 5].test])


def test_the_label_is_the_emotion_in_the_name_of_the_clip(dataset):
    names = {"ANG": "anger", "DIS": "disgust", "FEA": "fear", "HAP": "happy", "NEU": "neutral", "SAD": "sad"}
    for item, label, actor in zip(dataset.items, dataset.labels, dataset.groups["actor"], strict=True):
        assert dataset.class_names[label] == names[item.split("_")[2]]
        assert item.startswith(actor)


def test_the_notes_on_raters_and_on_the_published_list_are_true(dataset, root):
    rows = table(root / FILE)
    right = Counter()
    for row in rows:
        for modality in ("voice", "face", "av"):
            counts = [int(row[f"{modality}_{letter}"]) for letter in LETTERS]
            if counts.count(max(counts)) == 1:
                right[modality] += LETTERS[int(np.argmax(counts))] == row["emotion"][0]
    shares = [f"{right[modality] / len(rows):.1%}".replace("%", " %") for modality in ("av", "voice", "face")]
    ceiling = next(note for note in dataset.card.notes if note.startswith("Human ceiling"))
    assert [word for word in shares if word in ceiling] == shares
    actors = {part: {row["actor"] for row in rows if row["official_split"] == part} for part in ("train", "test")}
    assert actors["test"] <= actors["train"]
    assert len({row["sentence"] for row in rows}) == 12


def test_other_line_ends_are_the_same_table_and_another_vote_is_not(root, tmp_path):
    (tmp_path / "crema_d").mkdir()
    path = tmp_path / FILE
    content = (root / FILE).read_bytes().replace(b"\r\n", b"\n")
    path.write_bytes(b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n"))
    assert len(load(tmp_path).labels) == 7_442
    line = content.splitlines()[1]
    path.write_bytes(content.replace(line, line.replace(b",6,2,", b",5,3,", 1)))
    with pytest.raises(TcmaxError, match=r"ratings\.csv does not hold the published votes"):
        load(tmp_path)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(TcmaxError, match=r"ratings\.csv does not hold the published votes"):
        load(tmp_path)
    path.unlink()
    with pytest.raises(TcmaxError, match=r"ratings\.csv is missing; docs/benchmark-datasets\.md"):
        load(tmp_path)


def test_the_decoded_dataset_has_the_same_bytes_on_every_machine(dataset):
    assert dataset.fingerprint() == "d6f7417fb305c1e1532bae1c414f0b3518931825bd5a99288e7a900b69a9b129"
