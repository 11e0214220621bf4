"""What the sets of ready-made features share, on small made-up files."""

import hashlib

import numpy as np
import pytest

from tcmax.data.feature_sets import (
    LARGEST,
    PublishedArrays,
    array_digest,
    hash_order,
    rotated_folds,
    standardised,
    stratified_split,
)
from tcmax.errors import TcmaxError

COUNTS = np.arange(12, dtype=np.uint8).reshape(4, 3)
NAMES = np.array(["ä", "b", "c", "d"])
KNOWN = PublishedArrays("made-up", "made/up.npz", {"counts": array_digest(COUNTS), "names": array_digest(NAMES)})


def write(root, **arrays):
    (root / "made").mkdir(exist_ok=True)
    np.savez_compressed(root / KNOWN.file, **arrays)


def test_the_digest_of_an_array_is_that_of_its_type_shape_and_little_endian_values():
    expected = hashlib.sha256(b"<i4(2,)|" + bytes([1, 0, 0, 0, 2, 0, 0, 0])).hexdigest()
    assert array_digest(np.array([1, 2], dtype="<i4")) == expected
    assert array_digest(np.array([1, 2], dtype=">i4")) == expected
    assert array_digest(np.array([[1], [2]], dtype="<i4")) != expected
    assert array_digest(np.array([1, 2], dtype="<u4")) != expected
    assert array_digest(np.asfortranarray(COUNTS)) == array_digest(COUNTS)


def test_arrays_that_are_right_are_handed_out_and_others_ignored(tmp_path, monkeypatch):
    write(tmp_path, counts=COUNTS, names=NAMES, further=np.zeros(3))
    monkeypatch.setenv("TCMAX_DATA", str(tmp_path))
    arrays = KNOWN.read()
    assert list(arrays) == ["counts", "names"]
    np.testing.assert_array_equal(arrays["counts"], COUNTS)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"counts": COUNTS + np.uint8(1), "names": NAMES}, "'counts' does not hold the published content"),
        ({"counts": COUNTS.astype(np.int64), "names": NAMES}, "'counts' does not hold the published content"),
        ({"counts": COUNTS}, "lacks an array of made-up"),
        ({"counts": np.array([{}], dtype=object), "names": NAMES}, "cannot be read"),
    ],
)
def test_content_that_is_not_the_published_one_is_named(arrays, message, tmp_path):
    write(tmp_path, **arrays)
    with pytest.raises(TcmaxError, match=message) as raised:
        KNOWN.read(tmp_path)
    assert str(tmp_path / KNOWN.file) in str(raised.value)


@pytest.mark.parametrize("kept", [0, 10, 200, -30])
def test_a_truncated_file_is_named(kept, tmp_path):
    write(tmp_path, counts=COUNTS, names=NAMES)
    path = tmp_path / KNOWN.file
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(TcmaxError, match=r"up\.npz is not a complete \.npz file"):
        KNOWN.read(tmp_path)


def test_a_flipped_byte_is_noticed(tmp_path):
    write(tmp_path, counts=COUNTS, names=NAMES)
    path = tmp_path / KNOWN.file
    content = bytearray(path.read_bytes())
    content[80] ^= 0xFF  # inside the first compressed array
    path.write_bytes(content)
    with pytest.raises(TcmaxError, match=r"up\.npz"):
        KNOWN.read(tmp_path)


def test_a_file_that_unpacks_to_too_much_is_refused_unread(tmp_path, monkeypatch):
    write(tmp_path, counts=COUNTS, names=NAMES)
    monkeypatch.setattr("tcmax.data.feature_sets._LIMIT_BYTES", 100)
    with pytest.raises(TcmaxError, match="more than the 100 expected"):
        KNOWN.read(tmp_path)


def test_a_missing_root_or_file_says_where_to_look(tmp_path, monkeypatch):
    with pytest.raises(TcmaxError, match=r"up\.npz is missing; docs/benchmark-datasets\.md"):
        KNOWN.read(tmp_path)
    monkeypatch.delenv("TCMAX_DATA", raising=False)
    with pytest.raises(TcmaxError, match="made-up needs a data root: set the environment variable TCMAX_DATA"):
        KNOWN.read()


def test_the_order_is_that_of_the_stated_hash():
    ids = [f"id-{number}" for number in range(50)]
    expected = sorted(ids, key=lambda one: hashlib.sha256(f"set/{one}".encode()).hexdigest())
    assert [ids[position] for position in hash_order("set", ids)] == expected


def test_a_split_takes_its_share_of_every_class():
    labels = np.repeat([0, 1, 2], 40)
    fold = stratified_split("set", labels, np.arange(120).astype(str), train=10, val=5)
    for part, size in (("train", 10), ("val", 5), ("test", 25)):
        assert np.bincount(labels[fold.part(part)]).tolist() == [size] * 3
    assert sorted(np.concatenate([fold.train, fold.val, fold.test])) == list(range(120))
    order = [row for row in hash_order("set", np.arange(120).astype(str)) if labels[row] == 1]
    assert set(order[:10]) == set(fold.train[labels[fold.train] == 1])


def test_rows_of_a_unit_are_never_parted():
    labels = np.zeros(60, dtype=np.int64)
    units = np.arange(60).astype(str)
    for train in range(1, 40):  # somewhere, the cut falls between the twins
        units[7] = units[3]
        fold = stratified_split("set", labels, units, train=train, val=5)
        assert {3, 7} <= set(fold.train) or {3, 7} <= set(fold.val) or {3, 7} <= set(fold.test)
        assert train <= len(fold.train) <= train + 1


def test_standardising_uses_the_train_rows_alone():
    random = np.random.default_rng(0)
    values = random.standard_normal((200, 3)) * [1, 50, 0.01] + [0, 100, 5]
    train = np.arange(0, 200, 2)
    scores = standardised(values, train)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores[train].mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(scores[train].std(axis=0), 1, atol=1e-4)
    other = values.copy()
    other[1::2] *= 3
    np.testing.assert_array_equal(standardised(other, train)[train], scores[train])


def test_columns_constant_on_train_and_far_values_cannot_drown_the_rest():
    values = np.zeros((14, 2))
    values[:, 1] = [0.1] * 12 + [5.0, 0.1]  # constant on train; in floating point its spread is not quite 0
    values[:, 0] = [-1, 1] * 6 + [1e6, -1e6]
    scores = standardised(values, np.arange(12))
    assert not scores[:, 1].any()
    assert scores[12:, 0].tolist() == [LARGEST, -LARGEST]


def test_folds_rotate_through_the_parts():
    part = np.array([0, 1, 2, 3, 0, 1])
    folds = rotated_folds(part)
    assert [fold.test.tolist() for fold in folds] == [[0, 4], [1, 5], [2], [3]]
    assert [fold.val.tolist() for fold in folds] == [[1, 5], [2], [3], [0, 4]]
    assert folds[0].train.tolist() == [2, 3]
