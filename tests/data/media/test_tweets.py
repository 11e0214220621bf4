"""Labels and parts of MVSA-Single: the two rules, the released lists, damaged files."""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tcmax.data.media.tweets import CLASSES, LABELS, read_tweets, same_text, text_of
from tcmax.errors import TcmaxError

HEADER = "ID\ttext,image\n"


def test_the_rules_for_a_tweet_with_two_labels():
    positive, neutral, negative = "positive", "neutral", "negative"
    expected = {  # text, image: by agree, by merged
        (positive, positive): (positive, positive),
        (negative, negative): (negative, negative),
        (neutral, neutral): (neutral, neutral),
        (positive, neutral): (None, positive),
        (neutral, positive): (None, positive),
        (negative, neutral): (None, negative),
        (neutral, negative): (None, negative),
        (positive, negative): (None, None),
        (negative, positive): (None, None),
    }
    for pair, labels in expected.items():
        assert tuple(LABELS[rule](*pair) for rule in ("agree", "merged")) == labels


@pytest.fixture(scope="module")
def label_file(data_with, tmp_path_factory):
    """The real labels of text and image, in the form that the set is distributed in."""
    root = data_with("splits/MVSA_Single/labels_by_modality.csv")
    path = tmp_path_factory.mktemp("labels") / "labelResultAll.txt"
    with (root / "splits/MVSA_Single/labels_by_modality.csv").open(newline="") as stream:
        rows = [f"{row['id']}\t{row['text_label']},{row['image_label']}\r\n" for row in csv.DictReader(stream)]
    path.write_text(HEADER + "".join(rows), newline="")
    return path, root


def counts(tweets) -> tuple[dict[str, int], list[int]]:
    return dict(Counter(tweets.parts)), np.bincount(tweets.labels).tolist()


def test_agreeing_labels_give_the_released_split(label_file):
    tweets = read_tweets(label_file[0], "agree", label_file[1])
    assert tweets.n_labelled == 4869
    assert counts(tweets) == ({"train": 1555, "val": 518, "test": 519}, [724, 470, 1398])
    with (label_file[1] / "splits/MVSA_Single/test.csv").open(newline="") as stream:
        listed = {row["id"]: row["label"] for row in csv.DictReader(stream)}
    tested = {
        tweet: CLASSES[label]
        for tweet, label, part in zip(tweets.ids, tweets.labels, tweets.parts, strict=True)
        if part == "test"
    }
    assert tested == listed
    assert tweets.official_validation  # the released lists name the validation items


def test_merged_labels_give_the_stated_classes_and_a_split_within_each(label_file):
    tweets = read_tweets(label_file[0], "merged", None)
    parts, classes = counts(tweets)
    assert classes == [1358, 470, 2683]
    # Of each class floor(0.8 n) train, up to floor(0.9 n) validate: 1086 + 376 + 2146, 136 + 47 + 268, the rest.
    assert parts == {"train": 3608, "val": 451, "test": 452}
    tested = [CLASSES[label] for label, part in zip(tweets.labels, tweets.parts, strict=True) if part == "test"]
    assert Counter(tested) == {"negative": 136, "neutral": 47, "positive": 269}
    assert list(tweets.ids) == sorted(tweets.ids, key=int)
    assert not tweets.official_validation


def test_the_place_of_a_tweet_depends_on_its_number_and_class_alone(tmp_path):
    path = tmp_path / "labels.txt"
    lines = [f"{number}\tpositive,neutral\n" for number in range(1, 101)]
    parts = []
    for chosen in (lines, lines[::-1], [*lines, "101\tnegative,negative\n"]):
        path.write_text(HEADER + "".join(chosen))
        tweets = read_tweets(path, "merged", None)
        parts.append({tweet: part for tweet, part in zip(tweets.ids, tweets.parts, strict=True) if tweet != "101"})
    assert parts[0] == parts[1] == parts[2]
    assert Counter(parts[0].values()) == {"train": 80, "val": 10, "test": 10}


BAD = {
    "empty": ("", "lists no tweet"),
    "no second label": (HEADER + "1\tpositive\n", "line 2: not the number of a tweet and two labels"),
    "a name": (HEADER + "../1\tpositive,positive\n", "line 2: not the number of a tweet"),
    "unknown label": (HEADER + "1\tpositive,happy\n", "line 2: 'happy' is not one of negative, neutral, positive"),
    "twice": (HEADER + "1\tpositive,positive\n\n1\tneutral,neutral\n", "line 4: tweet 1 is listed twice"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_damaged_label_file_is_refused_in_one_sentence(tmp_path, kind):
    content, message = BAD[kind]
    (tmp_path / "labels.txt").write_text(content)
    with pytest.raises(TcmaxError, match=message):
        read_tweets(tmp_path / "labels.txt", "merged", None)


def write_lists(root: Path, **rows: str) -> Path:
    folder = root / "splits" / "MVSA_Single"
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in {"train": "1,positive\n", "dev": "2,neutral\n", "test": "3,negative\n", **rows}.items():
        (folder / f"{file}.csv").write_text(f"id,label\n{text}")
    return root


def test_lists_that_say_otherwise_than_the_labels_are_refused(tmp_path):
    path = tmp_path / "labels.txt"
    path.write_text(HEADER + "1\tpositive,positive\n2\tneutral,neutral\n3\tnegative,negative\n4\tpositive,neutral\n")
    assert read_tweets(path, "agree", write_lists(tmp_path)).parts == ("train", "val", "test")
    with pytest.raises(TcmaxError, match=r"dev\.csv: tweet '2' is 'positive', but not in"):
        read_tweets(path, "agree", write_lists(tmp_path, dev="2,positive\n"))
    with pytest.raises(TcmaxError, match=r"test\.csv: tweet '4' is 'positive', but not in"):
        read_tweets(path, "agree", write_lists(tmp_path, test="4,positive\n"))
    with pytest.raises(TcmaxError, match=r"test\.csv: tweet 1 is listed twice"):
        read_tweets(path, "agree", write_lists(tmp_path, test="1,positive\n"))
    with pytest.raises(TcmaxError, match="1 tweets with equal labels are on no list"):
        read_tweets(path, "agree", write_lists(tmp_path, test=""))
    with pytest.raises(TcmaxError, match="set TCMAX_DATA"):
        read_tweets(path, "agree", None)
    with pytest.raises(TcmaxError, match=r"there is no list .*train\.csv"):
        read_tweets(path, "agree", tmp_path / "elsewhere")
    with pytest.raises(TcmaxError, match="no rule 'majority' for the labels of mvsa-single; known are agree, merged"):
        read_tweets(path, "majority", tmp_path)


def test_a_text_is_read_in_either_encoding(tmp_path):
    path = tmp_path / "1.txt"
    for content in ("naïve café\n".encode(), "naïve café".encode("latin-1"), "\ufeffnaïve café".encode()):
        path.write_bytes(content)
        assert text_of(path) == "naïve café"
    path.write_bytes(b" \n")
    with pytest.raises(TcmaxError, match=r"1\.txt holds no text"):
        text_of(path)


def test_texts_are_the_same_whatever_they_link_to():
    one = same_text("Good  day https://t.co/abc #sun")
    assert one == same_text("Good day #sun http://t.co/other?x=1")
    assert one != same_text("Good day #rain")
