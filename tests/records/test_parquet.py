"""The on-disk contracts: what may be written, what is read back, and what is refused in one sentence."""

import json
import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcmax.errors import TcmaxError
from tcmax.records import kinds, parquet
from tcmax.records.kinds import EVIDENCE, HISTORY, ITEM_SCORES, KINDS, PREDICTIONS, SCORES, VERDICTS


def predictions(**changes):
    """Four items, three classes, two modalities; a change to None removes a column."""
    rng = np.random.default_rng(0)
    columns = {
        "dataset": "digits",
        "fold": 0,
        "variant": "joint",
        "run_key": "k",
        "seed": 3,
        "split": ["val", "val", "test", "test"],
        "item": ["a", "b", "a", "c"],
        "label": np.array([0, 2, 1, 1]),
        "group_speaker": ["x", "y", "x", "x"],
        "logits_left": rng.standard_normal((4, 3)).astype(np.float32),
        "logits_joint": rng.standard_normal((4, 3)).astype(np.float32),
    }
    return {name: value for name, value in {**columns, **changes}.items() if value is not None}


def foreign(path, table, kind="predictions", version=kinds.SCHEMA_VERSION):
    """A Parquet file with our header but not through our writer."""
    header = json.dumps({"kind": kind, "schema_version": version})
    pq.write_table(table.replace_schema_metadata({"tcmax": header}), path)
    return path


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "p.parquet"
    parquet.write(path, PREDICTIONS, predictions(), {"selection": "last"})
    return path


def test_predictions_come_back_bit_for_bit(written):
    table = parquet.read(written, PREDICTIONS)
    expected = predictions()
    assert parquet.readouts(table) == ["left", "joint"]
    for readout in ("left", "joint"):
        assert parquet.logits(table, readout).tobytes() == expected[f"logits_{readout}"].tobytes()
    assert table.column("label").to_pylist() == [0, 2, 1, 1]
    assert table.column("seed").to_pylist() == [3, 3, 3, 3]
    assert table.column("group_speaker").to_pylist() == ["x", "y", "x", "x"]
    assert parquet.header(written) == {
        "kind": "predictions",
        "schema_version": kinds.SCHEMA_VERSION,
        "selection": "last",
    }


def test_half_precision_logits_are_stored_as_such_and_read_as_float32(tmp_path):
    half = {name: predictions()[name].astype(np.float16) for name in ("logits_left", "logits_joint")}
    parquet.write(tmp_path / "h.parquet", PREDICTIONS, predictions(**half))
    table = parquet.read(tmp_path / "h.parquet", PREDICTIONS)
    assert table.schema.field("logits_left").type.value_type == pa.float16()
    read = parquet.logits(table, "left")
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, half["logits_left"].astype(np.float32))


def test_logits_follow_their_rows_through_filters_and_concatenation(written):
    table = parquet.read(written, PREDICTIONS)
    expected = predictions()["logits_left"]
    np.testing.assert_array_equal(parquet.logits(table.slice(1, 2), "left"), expected[1:3])
    mask = pa.array([True, False, False, True])
    np.testing.assert_array_equal(parquet.logits(table.filter(mask), "left"), expected[[0, 3]])
    both = pa.concat_tables([table, table])
    np.testing.assert_array_equal(parquet.logits(both, "left"), np.concatenate([expected, expected]))
    assert parquet.logits(table.slice(0, 0), "left").shape == (0, 3)


def test_single_row_groups_can_be_read_with_their_header(tmp_path, written):
    table = parquet.read(written, PREDICTIONS)
    assert parquet.header_of(table) == parquet.header(written)
    pq.write_table(table, tmp_path / "p.parquet", row_group_size=2)
    assert parquet.read(tmp_path / "p.parquet", PREDICTIONS, row_groups=[1]).to_pydict() == table.slice(2).to_pydict()
    part = parquet.read(tmp_path / "p.parquet", PREDICTIONS, ["label"], [1])
    assert part.to_pydict() == {"label": table["label"].to_pylist()[2:]}
    assert parquet.header_of(part) == parquet.header(written)


def test_equal_columns_give_equal_bytes_in_any_process(tmp_path):
    code = (
        "import sys; from pathlib import Path; from tcmax.records import kinds, parquet;"
        "parquet.write(Path(sys.argv[1]), kinds.HISTORY, dict(dataset='d', fold=0, variant='v', seed=0,"
        "epoch=[0, 1], quantity=['loss', 'nll'], value=[0.5, 0.25]), {'b': 1, 'a': 2})"
    )
    columns = history(quantity=["loss", "nll"])
    parquet.write(tmp_path / "here.parquet", HISTORY, columns, {"a": 2, "b": 1})
    environment = {**os.environ, "PYTHONHASHSEED": "77"}
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "there.parquet")], check=True, env=environment)
    assert (tmp_path / "there.parquet").read_bytes() == (tmp_path / "here.parquet").read_bytes()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"item": None}, "the column 'item' is missing"),
        ({"colour": ["r"] * 4}, "there is no column 'colour'"),
        ({"group_": ["r"] * 4}, "there is no column 'group_'"),
        ({"logits_left": np.zeros((4, 3))}, "must be .* float16 or float32, not float64"),
        ({"logits_left": np.zeros(4, "f4")}, "must be"),
        ({"logits_left": np.full((4, 3), np.nan, "f4")}, "'logits_left' holds missing, NaN or infinite values"),
        ({"logits_left": np.full((4, 3), np.inf, "f4")}, "'logits_left' holds missing, NaN or infinite values"),
        ({"logits_left": np.zeros((4, 2), "f4")}, r"read-outs disagree on the number of classes: \[2, 3\]"),
        ({"label": [0, 3, 1, 1]}, "labels lie in 0..3, the logits have 3 classes"),
        ({"label": [0, -1, 1, 1]}, "labels lie in -1..1"),
        ({"label": [0, None, 1, 1]}, "the column 'label' has missing values"),
        ({"label": [0.5, 1, 1, 1]}, "the column 'label' cannot be stored"),
        ({"label": [0, 2**70, 1, 1]}, "the column 'label' cannot be stored"),
        ({"label": ["0", "1", "1", "1"]}, "the column 'label' cannot be stored"),
        ({"seed": "three"}, "the column 'seed' cannot be stored"),
        ({"item": ["a", "b", "c"]}, "columns differ in length"),
        ({"item": ["a", "a", "b", "c"]}, "1 rows repeat another one in split, item"),
    ],
)
def test_columns_that_break_the_contract_are_refused_and_nothing_is_written(tmp_path, changes, sentence):
    with pytest.raises(TcmaxError, match=sentence):
        parquet.write(tmp_path / "p.parquet", PREDICTIONS, predictions(**changes))
    assert list(tmp_path.iterdir()) == []


def test_a_file_written_by_hand_is_held_to_the_same_contract(tmp_path):
    good = parquet.build(PREDICTIONS, predictions())
    plain = good.set_column(2, "variant", good.column("variant").cast(pa.string()))
    with pytest.raises(TcmaxError, match=r"f\.parquet: the column 'variant' has type string, not dictionary"):
        parquet.read(foreign(tmp_path / "f.parquet", plain), PREDICTIONS)
    with pytest.raises(
        TcmaxError, match=r"the column 'label' is missing; if an earlier tcmax wrote it, build it again"
    ):
        parquet.read(foreign(tmp_path / "g.parquet", good.drop_columns(["label"])), PREDICTIONS)
    lists = good.set_column(9, "logits_left", pa.array([[1.0, 2.0, 3.0]] * 4, pa.list_(pa.float32())))
    with pytest.raises(TcmaxError, match="'logits_left' is not a fixed-size list of floats"):
        parquet.read(foreign(tmp_path / "h.parquet", lists), PREDICTIONS)
    extra = good.append_column("colour", pa.array(["r"] * 4))
    with pytest.raises(TcmaxError, match="there is no column 'colour' in this kind of record"):
        parquet.read(foreign(tmp_path / "i.parquet", extra), PREDICTIONS)


def history(**changes):
    columns = {
        "dataset": "d",
        "fold": 0,
        "variant": "v",
        "seed": 0,
        "epoch": [0, 1],
        "quantity": ["loss", "loss"],
        "value": [0.5, 0.25],
    }
    return {**columns, **changes}


def test_a_value_that_does_not_apply_is_missing_and_only_where_the_kind_allows_it(tmp_path):
    parquet.write(tmp_path / "h.parquet", HISTORY, history(value=[0.5, float("nan")]))
    assert parquet.read(tmp_path / "h.parquet", HISTORY).column("value").to_pylist() == [0.5, None]
    with pytest.raises(TcmaxError, match="the column 'quantity' has missing values"):
        parquet.write(tmp_path / "h2.parquet", HISTORY, history(quantity=["loss", None]))
    items = {"dataset": "d", "fold": 0, "variant": "v", "seed": 0, "selection": "last", "item": ["a"], "label": [0]}
    with pytest.raises(TcmaxError, match=r"the column 'score_correct\.joint' has missing values"):
        parquet.build(ITEM_SCORES, {**items, "score_correct.joint": [None]})


def test_a_nan_in_a_foreign_file_is_not_taken_for_a_missing_value(tmp_path):
    table = parquet.build(HISTORY, history())
    table = table.set_column(6, "value", pa.array([0.5, float("nan")], pa.float64()))
    with pytest.raises(TcmaxError, match="the column 'value' holds NaN"):
        parquet.read(foreign(tmp_path / "h.parquet", table, "history"), HISTORY)


def test_missing_folds_count_as_one_value_when_rows_must_be_unique():
    row = {
        "dataset": "d",
        "fold": [None, None],
        "variant": "v",
        "seed": 0,
        "selection": "last",
        "readout": "joint",
        "metric": "accuracy",
        "value": [0.5, 0.6],
        "n_items": 4,
    }
    with pytest.raises(TcmaxError, match="1 rows repeat another one"):
        parquet.build(SCORES, row)
    assert parquet.build(SCORES, {**row, "fold": [None, 0]}).num_rows == 2


def test_a_record_of_another_kind_is_refused(written):
    with pytest.raises(TcmaxError, match=r"p\.parquet holds predictions, not history\."):
        parquet.read(written, HISTORY)


def test_a_parquet_file_that_is_not_ours_is_refused(tmp_path):
    pq.write_table(pa.table({"a": [1]}), tmp_path / "f.parquet")
    with pytest.raises(TcmaxError, match="holds no tcmax record, not predictions"):
        parquet.read(tmp_path / "f.parquet", PREDICTIONS)
    for text in (b"{not json", b"[1]"):
        pq.write_table(pa.table({"a": [1]}).replace_schema_metadata({"tcmax": text}), tmp_path / "g.parquet")
        with pytest.raises(TcmaxError, match="holds no tcmax record"):
            parquet.read(tmp_path / "g.parquet", PREDICTIONS)


@pytest.mark.parametrize(
    "version", [0, kinds.SCHEMA_VERSION - 1, kinds.SCHEMA_VERSION + 1, None, str(kinds.SCHEMA_VERSION)]
)
def test_another_schema_version_is_answered_in_one_sentence(tmp_path, version):
    path = foreign(tmp_path / "old.parquet", parquet.build(PREDICTIONS, predictions()), version=version)
    reads = f"this tcmax reads version {kinds.SCHEMA_VERSION}"
    with pytest.raises(TcmaxError, match=f"old.parquet has schema version {version}, {reads}"):
        parquet.read(path, PREDICTIONS)


def test_a_missing_record_says_that_an_earlier_stage_writes_it(tmp_path):
    with pytest.raises(TcmaxError, match=r"none\.parquet does not exist; it holds scores"):
        parquet.read(tmp_path / "none.parquet", SCORES)


def test_every_truncation_is_noticed(written):
    whole = written.read_bytes()
    for length in (0, 3, 4, 8, len(whole) // 2, len(whole) - 9, len(whole) - 1):
        written.write_bytes(whole[:length])
        with pytest.raises(TcmaxError, match=r"p\.parquet is damaged or not a Parquet file"):
            parquet.read(written, PREDICTIONS)


def test_a_damaged_page_is_noticed(tmp_path):
    path = tmp_path / "p.parquet"
    rng = np.random.default_rng(1)
    n = 4000
    wide = {
        "split": ["test"] * n,
        "item": [f"i{row}" for row in range(n)],
        "label": rng.integers(3, size=n),
        "group_speaker": None,
        "logits_left": rng.standard_normal((n, 3)).astype(np.float32),
        "logits_joint": rng.standard_normal((n, 3)).astype(np.float32),
    }
    parquet.write(path, PREDICTIONS, predictions(**wide))
    content = bytearray(path.read_bytes())
    content[200:400] = bytes(200)
    path.write_bytes(content)
    with pytest.raises(TcmaxError, match="damaged"):
        parquet.read(path, PREDICTIONS)


def test_a_partial_read_gives_the_named_columns(written):
    assert parquet.read(written, PREDICTIONS, ["item", "label"]).column_names == ["item", "label"]


def test_every_kind_is_written_and_read_empty_and_its_rows_are_told_apart_by_its_own_columns(tmp_path):
    for kind in KINDS.values():
        path = tmp_path / f"{kind.name}.parquet"
        columns = {name: [] for name in kind.columns}
        parquet.write(path, kind, columns)
        assert parquet.read(path, kind).num_rows == 0
        assert set(kind.unique) <= set(kind.columns)
        assert kind.nullable <= set(kind.columns)
    assert set(KINDS) == {
        "predictions",
        "history",
        "item scores",
        "scores",
        "evidence",
        "verdicts",
        "multiverse",
        "theory",
        "discrepancies",
    }
    assert EVIDENCE.unique == ("id",)
    assert VERDICTS.unique == ("claim",)


finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


@settings(max_examples=15)
@given(st.lists(st.tuples(st.text(), st.integers(0, 1), finite, finite), unique_by=lambda row: row[0], max_size=12))
def test_any_text_and_any_finite_logit_survive_a_round_trip(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("records") / "p.parquet"
    logits = np.array([row[2:] for row in rows], np.float32).reshape(-1, 2)
    columns = predictions(
        split=["test"] * len(rows),
        item=[row[0] for row in rows],
        label=[row[1] for row in rows],
        group_speaker=[row[0] for row in rows],
        logits_left=logits,
        logits_joint=logits,
    )
    parquet.write(path, PREDICTIONS, columns)
    table = parquet.read(path, PREDICTIONS)
    assert table.column("item").to_pylist() == columns["item"]
    assert table.column("group_speaker").to_pylist() == columns["item"]
    assert parquet.logits(table, "joint").tobytes() == logits.tobytes()


def test_a_file_of_several_row_groups_is_read_whole(tmp_path):
    import pyarrow.parquet as pq

    columns = {
        "dataset": "toy",
        "fold": 0,
        "variant": ["a", "a", "b", "b"],
        "seed": 0,
        "epoch": [0, 1, 0, 1],
        "quantity": "loss",
        "value": [1.0, 0.5, 0.9, 0.4],
    }
    table = parquet.build(kinds.HISTORY, columns)
    pq.write_table(table, tmp_path / "history.parquet", row_group_size=1)
    assert parquet.read(tmp_path / "history.parquet", kinds.HISTORY).to_pylist() == table.to_pylist()
