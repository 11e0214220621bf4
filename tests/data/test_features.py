"""A user's own features: both formats give one dataset, and every mistake is named with its file and key."""

import json
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny

from tcmax.data.features import count_folds, load_features
from tcmax.errors import TcmaxError
from tcmax.training.datasets import data_record
from tcmax.training.spec import resolve_run

N = 12


def arrays(**changes):
    """A small, valid set of arrays; a change to None removes the key."""
    rng = np.random.default_rng(3)
    good = {
        "inputs_audio": rng.standard_normal((N, 5)),
        "inputs_text": rng.standard_normal((N, 3)).astype(np.float32),
        "labels": np.arange(N) % 3,
        "items": np.array([f"clip-{row}" for row in range(N)]),
        "group_speaker": np.arange(N) // 4,
        "class_names": np.array(["sad", "glad", "mad"]),
        "licence": np.array("CC0"),
        "split": np.array(["train"] * 6 + ["val"] * 3 + ["test"] * 3),
    }
    return {key: value for key, value in {**good, **changes}.items() if value is not None}


def npz(folder, **changes):
    path = folder / "features.npz"
    np.savez(path, **arrays(**changes))
    return path


def parquet(path, metadata=(), rows=slice(None), **changes):
    columns = {
        key: pa.array(list(value[rows]))
        for key, value in arrays(**changes).items()
        if key not in ("class_names", "licence")
    }
    table = pa.table(columns).replace_schema_metadata(dict(metadata))
    pq.write_table(table, path)
    return path


def folds(*parts):
    codes = {"t": "train", "v": "val", "e": "test", "-": ""}
    named = {f"fold_{number}": np.array([codes[code] for code in part]) for number, part in enumerate(parts)}
    return {"split": None, **named}


def test_an_npz_file_becomes_a_dataset(tmp_path):
    dataset = load_features(npz(tmp_path), "mine")
    assert dataset.id == "mine"
    assert dataset.modalities == ("audio", "text")
    assert dataset.shape("audio") == (5,)
    assert all(array.dtype == np.float32 for array in dataset.inputs.values())
    np.testing.assert_allclose(dataset.inputs["audio"], arrays()["inputs_audio"], rtol=1e-6)
    assert dataset.labels.tolist() == [0, 1, 2] * 4
    assert dataset.class_names == ("sad", "glad", "mad")
    assert dataset.items[3] == "clip-3"
    assert dataset.groups["speaker"].tolist() == ["0"] * 4 + ["1"] * 4 + ["2"] * 4
    assert dataset.card.licence == "CC0"
    (fold,) = dataset.folds
    assert (fold.train.tolist(), fold.val.tolist(), fold.test.tolist()) == ([*range(6)], [6, 7, 8], [9, 10, 11])
    assert "1 of 2 speaker ids in val also occur in train" in dataset.facts


def test_parquet_gives_the_same_dataset_as_npz(tmp_path):
    told = {"class_names": json.dumps(["sad", "glad", "mad"]), "licence": "CC0"}
    whole = parquet(tmp_path / "features.parquet", told)
    (tmp_path / "parts").mkdir()
    parquet(tmp_path / "parts" / "part-1.parquet", told, rows=slice(5, None))
    parquet(tmp_path / "parts" / "part-0.parquet", told, rows=slice(0, 5))
    expected = load_features(npz(tmp_path), "mine")
    for path in (whole, tmp_path / "parts"):
        dataset = load_features(path, "mine")
        assert dataset.fingerprint() == expected.fingerprint()
        assert dataset.facts == expected.facts
        assert dataset.card.licence == "CC0"


def test_a_file_says_whether_its_val_items_are_official(tmp_path):
    table = tmp_path / "features.parquet"
    for word, stated in (("true", True), ("false", False)):
        for path in (npz(tmp_path, official_validation=stated), parquet(table, {"official_validation": word})):
            dataset = load_features(path, "mine")
            assert dataset.official_validation is stated
            assert data_record(dataset)["official_validation"] is stated
            # A variant that cuts train lists, as released code does, keeps an official validation list.
            fold = resolve_run(cutting(path), dataset, "mine", 0, "joint").parts(dataset)
            assert [len(part) for part in (fold.train, fold.val, fold.test)] == ([6, 3, 3] if stated else [7, 2, 3])


def cutting(path):
    return tiny.experiment(
        datasets={"mine": {"features": str(path), "encoder": {"name": "mlp", "hidden": [4]}}},
        variants={"joint": {"method": "joint", "switches": {"protocol.file_order_split": True}}},
    )


@pytest.mark.parametrize("word", ["yes", "True", "1", ""])
def test_other_words_for_official_in_parquet_metadata_are_refused(word, tmp_path):
    path = parquet(tmp_path / "features.parquet", {"official_validation": word})
    with pytest.raises(TcmaxError, match=f"'official_validation' must be a single true or false, not '{word}'"):
        load_features(path, "mine")


def test_types_that_libraries_write_to_parquet_are_read_as_what_they_hold(tmp_path):
    plain = arrays()
    columns = {
        "inputs_audio": pa.FixedSizeListArray.from_arrays(pa.array(plain["inputs_audio"].ravel()), 5),
        "inputs_text": pa.array(plain["inputs_text"].tolist(), pa.large_list(pa.float32())),
        "inputs_loud": pa.array([row % 2 == 0 for row in range(N)]),
        "labels": pa.array(plain["labels"], pa.int8()),
        "items": pa.array(plain["items"].tolist(), pa.large_string()),
        "group_speaker": pa.array(plain["group_speaker"], pa.uint16()),
        "split": pa.array(plain["split"].tolist()).dictionary_encode(),  # a category of pandas
    }
    pq.write_table(pa.table(columns), tmp_path / "features.pq")
    expected = load_features(npz(tmp_path, class_names=None, inputs_loud=np.arange(N) % 2 == 0), "mine")
    dataset = load_features(tmp_path / "features.pq", "mine")
    for name, array in expected.inputs.items():
        np.testing.assert_array_equal(dataset.inputs[name], array)
    assert dataset.items.tolist() == expected.items.tolist()
    assert dataset.groups["speaker"].tolist() == expected.groups["speaker"].tolist()
    assert dataset.folds[0].val.tolist() == expected.folds[0].val.tolist()
    assert (dataset.card.source, expected.card.source) == ("features.pq", "features.npz")


def test_what_may_be_left_out(tmp_path):
    path = npz(tmp_path, items=None, group_speaker=None, class_names=None, licence=None)
    dataset = load_features(path, "mine")
    assert dataset.official_validation is False
    assert dataset.items[[0, 11]].tolist() == ["item-00", "item-11"]
    assert dataset.class_names == ("0", "1", "2")
    assert dataset.groups == {}
    assert dataset.card.licence == "not stated"


def test_inputs_of_any_shape_and_number_type_become_float32_unscaled(tmp_path):
    images = np.arange(N * 8, dtype=np.uint8).reshape(N, 2, 2, 2)
    dataset = load_features(npz(tmp_path, inputs_image=images, inputs_age=np.arange(N)), "mine")
    np.testing.assert_array_equal(dataset.inputs["image"], images)
    assert dataset.shape("image") == (2, 2, 2)
    assert dataset.shape("age") == (1,)


def test_folds_are_read_in_the_order_of_their_numbers(tmp_path):
    twelve = {"split": None}
    for number in reversed(range(N)):  # leave one out, stored backwards; fold_10 comes after fold_9, not after fold_1
        parts = np.array(["train"] * N)
        parts[number], parts[number - 1] = "test", "val"
        twelve[f"fold_{number}"] = parts
    path = npz(tmp_path, **twelve)
    assert [fold.test.tolist() for fold in load_features(path, "mine").folds] == [[row] for row in range(N)]
    assert count_folds(path) == N
    assert count_folds(npz(tmp_path)) == 1
    assert count_folds(parquet(tmp_path / "a.parquet", **twelve)) == N


def test_unused_items_stay_in_the_data_and_out_of_the_parts(tmp_path):
    dataset = load_features(npz(tmp_path, **folds("tttve-------", "-------tttve")), "mine")
    assert len(dataset.labels) == N
    assert [fold.test.tolist() for fold in dataset.folds] == [[4], [11]]


def test_a_class_without_train_items_is_a_fact(tmp_path):
    labels = np.array([0, 1, 0, 1, 0, 1, 2, 2, 2, 2, 2, 2])
    assert "fold 0: no train item of class mad" in load_features(npz(tmp_path, labels=labels), "mine").facts


BAD_ROW = np.zeros((N, 5))
BAD_ROW[7, 2] = np.nan
TOO_LARGE = np.zeros((N, 5))
TOO_LARGE[4] = 1e300


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": None}, "the key 'labels' is missing"),
        ({"inputs_audio": None, "inputs_text": None}, "no key inputs_<modality>"),
        ({"input_audio": np.zeros((N, 2))}, "unknown key 'input_audio'"),
        ({"inputs_audio": np.zeros((N - 1, 5))}, "'inputs_audio' has 11 rows, 'labels' has 12"),
        ({"inputs_audio": np.array(1.0)}, "'inputs_audio' is a single value"),
        ({"inputs_audio": np.zeros((N, 0))}, "'inputs_audio' is empty"),
        ({"inputs_audio": BAD_ROW}, r"'inputs_audio' holds NaN.* in 1 rows, the first being row 7"),
        ({"inputs_audio": TOO_LARGE}, r"too large values in 1 rows, the first being row 4"),
        ({"inputs_audio": np.array(["x"] * N)}, "'inputs_audio' holds <U1, not real numbers"),
        ({"inputs_audio": np.zeros(N, complex)}, "'inputs_audio' holds complex128, not real numbers"),
        ({"inputs_audio": np.array([None] * N)}, "'inputs_audio' holds Python objects"),
        ({"inputs_joint": np.zeros((N, 2))}, "may not be called 'joint'"),
        ({"labels": np.array([0.0, 1.0, 2.0] * 4)}, "'labels' must be a list of integers"),
        ({"labels": np.array(["sad"] * N)}, "'labels' must be a list of integers"),
        ({"labels": np.zeros((N, 1), int)}, r"'labels' must be a list of integers .*shape \(12, 1\)"),
        ({"labels": np.zeros(0, int)}, r"'labels' must be a list of integers .*shape \(0,\)"),
        ({"labels": np.arange(N) - 1}, "negative label -1"),
        ({"labels": np.arange(N) % 4}, "'labels' holds 3 in row 3, but there are 3 class names"),
        ({"labels": np.arange(N) % 3 * 2, "class_names": None}, "no item has the label 1"),
        ({"labels": np.arange(N) + 10**12, "class_names": None}, "no item has the label 0"),
        ({"labels": np.zeros(N, int), "class_names": None}, "needs two classes"),
        ({"class_names": np.array(["a", "b", "a"])}, "'class_names' holds a name twice"),
        ({"class_names": np.arange(3)}, "'class_names' must be a list of text"),
        ({"items": np.array(["same"] * N)}, "item ids are not unique"),
        ({"items": np.arange(2 * N).reshape(N, 2)}, "'items' must hold one text or integer per item"),
        ({"items": np.arange(N) / 2}, "'items' must hold one text or integer per item"),
        ({"group_speaker": np.arange(N + 1)}, "'group_speaker' has 13 rows"),
        ({"licence": np.array(["a", "b"])}, "'licence' must be a single text"),
        ({"official_validation": "true"}, "'official_validation' must be a single true or false, not 'true'"),
        ({"official_validation": 1}, "'official_validation' must be a single true or false, not 1"),
        ({"official_validation": np.ones(N, bool)}, r"a single true or false, not bool of shape \(12,\)"),
        (
            {"official_validation": True, "split": np.array(["train"] * 6 + ["test"] * 6)},
            "'split' has no val item, although 'official_validation' says that the source of the data names some",
        ),
        ({"split": None}, "no key says which items train, validate and test"),
        ({"split": np.arange(N)}, "'split' must hold text"),
        ({"split": np.array([["train"]] * N)}, "'split' must hold text"),
        ({"split": np.array(["training"] * N)}, "'split' holds 'training' in row 0"),
        ({"split": np.array(["train"] * 6 + ["test"] * 6)}, "'split' has no val item; epochs are chosen on val"),
        ({"split": np.array(["val"] * 6 + ["test"] * 6)}, "'split' has no train item"),
        ({"fold_0": np.array(["train"] * N)}, "has both 'split' and 'fold_0'"),
        ({"split": None, "fold_1": np.array(["train"] * N)}, r"folds must be numbered from 0 without gaps, not \[1\]"),
        ({"fold_01": np.array(["train"] * N)}, "unknown key 'fold_01'"),
    ],
)
def test_a_mistake_in_an_npz_file_is_named_with_file_and_key(changes, message, tmp_path):
    path = npz(tmp_path, **changes)
    with pytest.raises(TcmaxError, match=message) as raised:
        load_features(path, "mine")
    assert str(path) in str(raised.value)


def test_two_folds_that_test_one_item_are_refused_only_for_the_items_they_share(tmp_path):
    load_features(npz(tmp_path, **folds("tttvvveee---", "ttt---vvveee")), "mine")
    with pytest.raises(TcmaxError, match="fold 1 tests an item"):
        load_features(npz(tmp_path, **folds("tttvvveee---", "---tttvveee-")), "mine")


def test_a_damaged_npz_file_is_named(tmp_path):
    path = npz(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TcmaxError, match=r"features.npz is not a complete .npz file"):
        load_features(path, "mine")
    flipped = bytearray(whole)
    flipped[200] ^= 0xFF  # among the numbers of the first array: the checksum of the zip does not fit
    path.write_bytes(bytes(flipped))
    with pytest.raises(TcmaxError, match=r"features.npz: 'inputs_audio' cannot be read"):
        load_features(path, "mine")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("labels.npy", b"no array")
        archive.writestr("inputs_a.npy", b"no array")
    with pytest.raises(TcmaxError, match=r"'labels' cannot be read"):
        load_features(path, "mine")


def test_a_pickle_is_never_opened(tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("the pickle was opened",))

    path = npz(tmp_path, items=np.array([Trap() for _ in range(N)], dtype=object))
    with pytest.raises(TcmaxError, match="'items' holds Python objects"):
        load_features(path, "mine")


def test_files_that_are_absent_or_of_another_format_are_named(tmp_path):
    with pytest.raises(TcmaxError, match=r"absent.npz: there is no such feature file"):
        load_features(tmp_path / "absent.npz", "mine")
    (tmp_path / "features.csv").write_text("a,b\n")
    with pytest.raises(TcmaxError, match=r"features.csv: features come as .npz, .parquet"):
        load_features(tmp_path / "features.csv", "mine")
    (tmp_path / "empty").mkdir()
    with pytest.raises(TcmaxError, match=r"holds no .parquet file"):
        load_features(tmp_path / "empty", "mine")


RAGGED = pa.array([[1.0, 2.0]] * 7 + [[1.0]] * 5)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (RAGGED, "'inputs_text' has 1 numbers in row 7 but 2 in row 0"),
        (pa.array([[1.0, 2.0]] * 11 + [None]), "'inputs_text' has 1 empty values"),
        (pa.array([[1.0, None]] * N), "'inputs_text' has 12 empty values"),
        (pa.array([["a", "b"]] * N), "'inputs_text' holds object, not real numbers"),
        (pa.array([[[1.0]]] * N), "'inputs_text' holds object, not real numbers"),
        (pa.array([[1.0, float("inf")]] * N), "'inputs_text' holds NaN, infinite"),
    ],
)
def test_a_mistake_in_a_parquet_file_is_named_with_file_and_key(column, message, tmp_path):
    path = parquet(tmp_path / "features.parquet", inputs_text=None)
    table = pq.read_table(path)
    pq.write_table(table.append_column("inputs_text", column), path)
    with pytest.raises(TcmaxError, match=message) as raised:
        load_features(path, "mine")
    assert str(path) in str(raised.value)


def test_damaged_and_differing_parquet_files_are_named(tmp_path):
    parquet(tmp_path / "a.parquet", rows=slice(0, 6))
    parquet(tmp_path / "b.parquet", rows=slice(6, None), inputs_text=None)
    with pytest.raises(TcmaxError, match=r"b.parquet has other columns"):
        load_features(tmp_path, "mine")
    content = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(content[:-50])
    with pytest.raises(TcmaxError, match=r"a.parquet is not a complete Parquet file"):
        load_features(tmp_path / "a.parquet", "mine")


def test_class_names_in_parquet_metadata_must_be_a_list(tmp_path):
    path = parquet(tmp_path / "features.parquet", {"class_names": "sad, glad"})
    with pytest.raises(TcmaxError, match="'class_names' in the schema metadata must be a JSON list"):
        load_features(path, "mine")
    path = parquet(tmp_path / "features.parquet", {"class_names": "[1, 2, 3]"})
    with pytest.raises(TcmaxError, match="must be a JSON list of strings"):
        load_features(path, "mine")


def test_the_index_that_pandas_writes_is_no_unknown_key(tmp_path):
    path = parquet(tmp_path / "features.parquet")
    table = pq.read_table(path)
    pq.write_table(table.append_column("__index_level_0__", pa.array(range(N))), path)
    assert len(load_features(path, "mine").labels) == N
