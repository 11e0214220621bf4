"""How statistics read ITEM SCORES: matrices of seeds x items, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from factories import score_runs

from tcmax.errors import TcmaxError
from tcmax.metrics.item_scores import ItemScores
from tcmax.records import kinds, parquet


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = score_runs(
        tmp_path_factory.mktemp("items"),
        variants=("zeta", "alpha"),
        seeds=(11, 3, 7),
        n_folds=2,
        groups={"speaker": 4, "writer": 3},
        readouts={"alpha": "joint_entropy_gated"},
        diverged={("alpha", 7)},
    )
    return folder / "items.parquet"


@pytest.fixture(scope="module")
def frame(path: Path) -> pd.DataFrame:
    return pd.read_parquet(path)


def rewritten(path: Path, target: Path, frame: pd.DataFrame, **header: Any) -> Path:
    """A copy of an ITEM SCORES file with other rows or header entries."""
    facts = {k: v for k, v in (parquet.header(path) | header).items() if v is not None}
    columns = {name: frame[name].tolist() for name in frame.columns}
    parquet.write(target, kinds.ITEM_SCORES, columns, facts)
    return target


def test_it_says_what_is_in_the_file(path: Path, frame: pd.DataFrame) -> None:
    items = ItemScores.read(path)
    assert items.dataset == "toy"
    assert items.variants == ("zeta", "alpha")  # order of the grid, not of the alphabet
    assert items.selections == ("last", "best_val", "best_test_oracle")
    assert items.modalities == ("left", "right")
    assert items.classes == ("class 0", "class 1", "class 2")
    assert items.own == {"zeta": "joint", "alpha": "joint_entropy_gated"}
    assert items.readouts == ("left", "right", "joint", "joint_entropy_gated", "joint_energy_weighted", "own", "all")
    assert items.items.tolist() == sorted(frame["item"].unique())
    facts = frame.drop_duplicates("item").set_index("item").loc[items.items]
    assert items.labels.tolist() == facts["label"].tolist()
    assert items.folds.tolist() == facts["fold"].tolist()
    assert {name: ids.tolist() for name, ids in items.groups.items()} == {
        name: facts[f"group_{name}"].tolist() for name in ("speaker", "writer")
    }


def test_a_matrix_has_seeds_as_rows_and_items_as_columns(path: Path, frame: pd.DataFrame) -> None:
    items = ItemScores.read(path)
    for variant, metric, readout, selection in (
        ("zeta", "correct", "own", "last"),
        ("zeta", "nll", "left", "best_val"),
        ("alpha", "js", "all", "best_test_oracle"),
        ("alpha", "entropy_calibrated", "joint", "last"),
    ):
        rows = frame[(frame["variant"] == variant) & (frame["selection"] == selection)]
        expected = rows.pivot(index="seed", columns="item", values=f"score_{metric}.{readout}")
        found = items.matrix(variant, metric, readout, selection)
        assert expected.index.tolist() == list(items.seeds(variant))
        np.testing.assert_array_equal(found, expected.to_numpy())


def test_own_is_the_read_out_that_the_variant_names(path: Path) -> None:
    items = ItemScores.read(path)
    np.testing.assert_array_equal(items.matrix("zeta", "nll"), items.matrix("zeta", "nll", "joint"))
    np.testing.assert_array_equal(items.matrix("alpha", "nll"), items.matrix("alpha", "nll", "joint_entropy_gated"))
    assert (items.matrix("alpha", "nll") != items.matrix("alpha", "nll", "joint")).any()


def test_seeds_come_in_the_order_asked_for(path: Path) -> None:
    items = ItemScores.read(path)
    assert items.seeds("zeta") == (3, 7, 11)
    whole = items.matrix("zeta", "nll")
    np.testing.assert_array_equal(items.matrix("zeta", "nll", seeds=[11, 3]), whole[[2, 0]])


def test_a_caller_may_change_the_matrix_it_got(path: Path) -> None:
    items = ItemScores.read(path)
    items.matrix("zeta", "nll")[:] = 0
    assert items.matrix("zeta", "nll").all()


def test_columns_can_be_asked_for_again_after_many_others(path: Path) -> None:
    items = ItemScores.read(path)
    first = items.matrix("zeta", "nll", "left")
    for readout in items.readouts[:-1]:
        for metric in ("correct", "brier", "entropy"):
            items.matrix("zeta", metric, readout)
    np.testing.assert_array_equal(items.matrix("zeta", "nll", "left"), first)


def test_rows_may_stand_in_any_order(path: Path, frame: pd.DataFrame, tmp_path: Path) -> None:
    shuffled = rewritten(path, tmp_path / "items.parquet", frame.sample(frac=1, random_state=1))
    one, two = ItemScores.read(path), ItemScores.read(shuffled)
    for variant in one.variants:
        np.testing.assert_array_equal(two.matrix(variant, "nll"), one.matrix(variant, "nll"))
    np.testing.assert_array_equal(two.groups["writer"], one.groups["writer"])


def test_row_groups_may_hold_several_rules_or_a_part_of_a_run(path: Path, tmp_path: Path) -> None:
    table = parquet.read(path, kinds.ITEM_SCORES)
    pq.write_table(table, tmp_path / "items.parquet", row_group_size=25)
    one, two = ItemScores.read(path), ItemScores.read(tmp_path / "items.parquet")
    for selection in one.selections:
        for variant in one.variants:
            np.testing.assert_array_equal(
                two.matrix(variant, "nll", "left", selection), one.matrix(variant, "nll", "left", selection)
            )


def test_diverged_seeds_are_known_and_refused(path: Path) -> None:
    items = ItemScores.read(path)
    assert (items.seeds("alpha"), items.diverged("alpha"), items.diverged("zeta")) == ((3, 11), (7,), ())
    with pytest.raises(TcmaxError, match=r"seed 7 of alpha \(last\) diverged"):
        items.matrix("alpha", "nll", seeds=[3, 7])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("beta", "nll"), "has no runs of 'beta'; it has zeta, alpha"),
        (("zeta", "nil"), "no score 'nil' of the read-out 'own'; it has correct, nll, brier"),
        (("zeta", "nll", "middle"), "no score 'nll' of the read-out 'middle'; its read-outs are left, right, joint"),
        (("zeta", "nll", "own", "best"), "no scores for the selection rule 'best'; it has last, best_val"),
        (("zeta", "nll", "own", "last", [4]), r"seed 4 of zeta \(last\) is not there"),
    ],
)
def test_what_is_not_there_is_named(path: Path, arguments: tuple[Any, ...], sentence: str) -> None:
    with pytest.raises(TcmaxError, match=sentence):
        ItemScores.read(path).matrix(*arguments)


def test_variants_that_differ_in_their_items_are_refused(path: Path, frame: pd.DataFrame, tmp_path: Path) -> None:
    lost = frame[(frame["item"] != frame["item"].iloc[5]) | (frame["variant"] != "alpha") | (frame["seed"] != 3)]
    other = rewritten(path, tmp_path / "items.parquet", lost)
    with pytest.raises(TcmaxError, match=r"differ in their test items: seed 3 of alpha .* has 79 of 80 items"):
        ItemScores.read(other)


def test_a_run_that_holds_one_item_twice_for_another_is_refused(
    path: Path, frame: pd.DataFrame, tmp_path: Path
) -> None:
    doubled = frame.astype({"item": object})
    doubled.loc[1, "item"] = doubled.loc[0, "item"]
    schema = pq.read_schema(path)  # written past the check for repeated rows
    pq.write_table(pa.Table.from_pandas(doubled, schema, preserve_index=False), tmp_path / "items.parquet")
    with pytest.raises(TcmaxError, match="has 79 of 80 items"):
        ItemScores.read(tmp_path / "items.parquet")


@pytest.mark.parametrize(
    ("column", "replacement"), [("label", 9), ("fold", 9), ("group_speaker", "nobody")], ids=lambda value: str(value)
)
def test_runs_that_disagree_about_an_item_are_refused(
    path: Path, frame: pd.DataFrame, tmp_path: Path, column: str, replacement: Any
) -> None:
    changed = frame.astype({column: object})
    changed.loc[len(changed) - 1, column] = replacement
    other = rewritten(path, tmp_path / "items.parquet", changed)
    with pytest.raises(TcmaxError, match=rf"disagree on the {column.removeprefix('group_')} of an item"):
        ItemScores.read(other)


def test_infinite_scores_are_refused(path: Path, frame: pd.DataFrame, tmp_path: Path) -> None:
    changed = frame.copy()
    changed.loc[3, "score_nll.own"] = np.inf
    items = ItemScores.read(rewritten(path, tmp_path / "items.parquet", changed))
    with pytest.raises(TcmaxError, match=r"'score_nll.own' holds missing or infinite"):
        items.matrix("zeta", "nll")


def test_files_that_are_no_item_scores_are_refused(path: Path, frame: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(TcmaxError, match="does not exist"):
        ItemScores.read(tmp_path / "items.parquet")
    with pytest.raises(TcmaxError, match="holds scores, not item scores"):
        ItemScores.read(path.with_name("scores.parquet"))
    with pytest.raises(TcmaxError, match="its header has no 'diverged'"):
        ItemScores.read(rewritten(path, tmp_path / "a.parquet", frame, diverged=None))
    with pytest.raises(TcmaxError, match="its header does not list 'alpha'"):
        ItemScores.read(rewritten(path, tmp_path / "b.parquet", frame, variants=["zeta"]))
    two = frame.astype({"dataset": object})
    two.loc[0, "dataset"] = "other"
    with pytest.raises(TcmaxError, match="holds 2 datasets"):
        ItemScores.read(rewritten(path, tmp_path / "c.parquet", two))
    with pytest.raises(TcmaxError, match="holds no run"):
        ItemScores.read(rewritten(path, tmp_path / "d.parquet", frame.iloc[:0]))
