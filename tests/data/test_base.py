"""The dataset contract: arrays that contradict each other are refused, and content alone makes the fingerprint."""

import dataclasses

import numpy as np
import pytest
import tiny

from tcmax.data.base import Fold, data_root, overlap_facts
from tcmax.errors import TcmaxError

N = 51


def rows(*values):
    return np.array(values, dtype=np.int64)


def folds(*parts):
    return {"folds": tuple(Fold(*(rows(*part) for part in fold)) for fold in parts)}


INPUT = np.zeros((N, 2), np.float32)
MISTAKES = [
    ({"inputs": {}}, "no modality"),
    ({"inputs": {"joint": INPUT}}, "may not be called 'joint'"),
    ({"inputs": {"joint_entropy_gated": INPUT}}, "may not be called 'joint_entropy_gated'"),
    ({"inputs": {"head": INPUT}}, "may not be called 'head'"),
    ({"inputs": {"own": INPUT}}, "may not be called 'own'"),
    ({"inputs": {"all": INPUT}}, "may not be called 'all'"),
    ({"inputs": {"a.b": INPUT}}, "modality 'a.b': names become columns"),
    ({"inputs": {"": INPUT}}, "modality '': names become columns"),
    ({"inputs": {"left": INPUT[1:]}}, f"modality 'left' has 50 rows, the labels have {N}"),
    ({"inputs": {"left": np.full((N, 1), np.nan)}}, "modality 'left' holds NaN or infinite values"),
    ({"groups": {"speaker": np.array(["x"])}}, "group 'speaker' has 1 rows"),
    ({"items": np.array(["a"])}, f"1 item ids for {N} labels"),
    ({"items": np.array(["a"] * N)}, "item ids are not unique"),
    ({"labels": np.full(N, 3)}, r"labels must lie in 0\.\.2"),
    ({"labels": np.full(N, -1)}, r"labels must lie in 0\.\.2"),
    ({"labels": np.zeros(N, np.int32)}, "labels are int32, not int64"),
    ({"folds": ()}, "no fold"),
    (folds(([0], [1], [N])), "fold 0 points outside the data"),
    (folds(([0], [1], [-1])), "fold 0 points outside the data"),
    (folds(([0], [0], [1])), "fold 0 puts an item in two parts"),
    (folds(([0, 0], [1], [2])), "or twice in one"),
    (folds(([0], [], [2])), "fold 0 has an empty val part"),
    (folds(([0], [1], [2]), ([0], [1], [3, 2])), "fold 1 tests an item that an earlier fold tests too"),
]


@pytest.mark.parametrize(("changes", "sentence"), MISTAKES, ids=[sentence for _, sentence in MISTAKES])
def test_arrays_that_contradict_each_other_are_refused(changes, sentence):
    with pytest.raises(TcmaxError, match=f"dataset tiny: .*{sentence}"):
        tiny.dataset(**changes)


def test_the_fingerprint_depends_on_every_part_of_the_content():
    plain = tiny.dataset()
    left = plain.inputs["left"].copy()
    left[3, 1] = np.nextafter(left[3, 1], np.float32(9))
    labels = plain.labels.copy()
    labels[0] = (labels[0] + 1) % 3
    items = plain.items.copy()
    items[5] = "renamed"
    fold = plain.folds[0]
    right = plain.inputs["right"]
    changed = [
        {"inputs": {"left": left, "right": right}},
        {"inputs": {"right": right, "left": plain.inputs["left"]}},  # order decides the columns of a concatenation
        {"inputs": {"links": plain.inputs["left"], "right": right}},
        {"inputs": {"left": plain.inputs["left"].astype(np.float64), "right": right}},
        {"inputs": {"left": plain.inputs["left"][:, :, None], "right": right}},
        {"labels": labels},
        {"items": items},
        {"class_names": ("a", "b", "c")},
        {"groups": {}},
        {"groups": {"writer": plain.groups["speaker"]}},
        {"folds": (Fold(fold.train, fold.test, fold.val),)},
        {"folds": (Fold(fold.train[1:], fold.val, fold.test),)},
    ]
    prints = [dataclasses.replace(plain, **change).fingerprint() for change in changed]
    assert len({plain.fingerprint(), *prints}) == len(changed) + 1


def test_the_fingerprint_ignores_memory_layout_byte_order_and_words():
    plain = tiny.dataset()
    left = plain.inputs["left"]
    for other in (np.asfortranarray(left), left.astype(">f4"), np.repeat(left, 2, axis=0)[::2]):
        inputs = {"left": other, "right": plain.inputs["right"]}
        assert dataclasses.replace(plain, inputs=inputs).fingerprint() == plain.fingerprint()
    card = dataclasses.replace(plain.card, title="Another title")
    assert dataclasses.replace(plain, card=card, facts=("x",)).fingerprint() == plain.fingerprint()


def test_overlap_between_parts_is_counted():
    plain = tiny.dataset(groups={"speaker": np.array(["a"] * 3 + ["b"] * 2 + ["c"] * (N - 5))})
    inputs = {name: array.copy() for name, array in plain.inputs.items()}
    for array in inputs.values():
        array[4] = array[0]  # a test item that repeats a train item in every modality
    inputs["left"][3] = inputs["left"][1]  # and a val item that does in one only
    plain = dataclasses.replace(plain, inputs=inputs, **folds(([0, 1], [3], [2, 4])))
    assert overlap_facts(plain) == (
        "0 of 1 speaker ids in val also occur in train",
        "1 of 2 speaker ids in test also occur in train",
        "0 items of val are byte-identical to a train item",
        "1 items of test are byte-identical to a train item",
    )
    two = dataclasses.replace(plain, **folds(([0, 1], [3], [2, 4]), ([5], [6], [7, 8])))
    assert overlap_facts(two)[1] == "over 2 folds: 1 of 1 to 2 speaker ids in test also occur in train"


def test_the_data_root_is_what_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.delenv("TCMAX_DATA", raising=False)
    assert data_root() is None
    monkeypatch.setenv("TCMAX_DATA", "")
    assert data_root() is None
    monkeypatch.setenv("TCMAX_DATA", str(tmp_path))
    assert data_root() == tmp_path
    monkeypatch.setenv("TCMAX_DATA", "~/x")
    assert "~" not in str(data_root())


def test_a_part_is_asked_for_by_its_name():
    fold = tiny.dataset().folds[0]
    assert fold.part("val") is fold.val
    with pytest.raises(ValueError, match="not 'valid'"):
        fold.part("valid")
