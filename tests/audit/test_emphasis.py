"""Marks against numbers."""

import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st
from projects import ROOT

from tcmax.audit.emphasis import check_marks, dense_ranks
from tcmax.audit.rounding import parse_printed

PUBLISHED = ROOT / "config" / "published"


def numbers(*texts: str | None):
    return [None if text is None else parse_printed(text) for text in texts]


@pytest.mark.parametrize(
    ("file", "keys", "value", "higher"),
    [
        ("tcmax_table1.csv", ("dataset", "modality"), "accuracy", True),
        ("tcmax_table2_js.csv", ("dataset",), "js_divergence", False),
    ],
)
def test_ranks_are_those_transcribed_with_the_published_tables(file, keys, value, higher):
    with (PUBLISHED / file).open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    for block in {tuple(row[key] for key in keys) for row in rows}:
        members = [row for row in rows if tuple(row[key] for key in keys) == block]
        ranks = dense_ranks(numbers(*(row[value] or None for row in members)), higher)
        assert [str(rank or "") for rank in ranks] == [row["rank_computed"] for row in members]


@given(st.lists(st.integers(0, 20), min_size=1, max_size=12), st.booleans())
def test_a_rank_counts_the_distinct_better_values(values: list[int], higher: bool):
    ranks = dense_ranks(numbers(*map(str, values)), higher)
    for value, rank in zip(values, ranks, strict=True):
        assert rank == 1 + len({v for v in values if (v > value if higher else v < value)})


def test_right_marks_pass():
    assert check_marks(numbers("1", "3", "2", None), [None, "best", "second", None], True) == ()
    assert check_marks(numbers("1", "3", "2"), ["best", None, "second"], False) == ()


def test_all_tied_cells_must_carry_the_mark():
    values = numbers("0.473", "0.513", "0.513")
    faults = check_marks(values, ["best", "second", None], False)
    assert [(f.position, f.mark, f.fault) for f in faults] == [(2, "second", "shared")]
    assert check_marks(values, ["best", "second", "second"], False) == ()


def test_a_missing_mark_and_a_wrong_one():
    faults = check_marks(numbers("1", "2", "3"), ["second", None, "best"], True)
    assert {(f.position, f.fault) for f in faults} == {(0, "wrong"), (1, "missing")}


def test_marks_that_cannot_be_read_are_not_checked():
    assert check_marks(numbers("1", "2", "3"), [None, "second", None], True, checked=("second",)) == ()


def test_a_single_row_needs_no_second_best():
    assert check_marks(numbers("1"), ["best"], True) == ()


def test_a_value_with_more_decimals_is_the_same_value():
    assert dense_ranks(numbers("82.8", "82.80"), True) == (1, 1)


@given(st.permutations(range(5)))
def test_the_order_of_rows_does_not_matter(order):
    values, marks = numbers("5", "4", "4", "3", None), ["best", "second", None, "second", None]
    faults = {(f.position, f.fault) for f in check_marks(values, marks, True)}
    shuffled = check_marks([values[i] for i in order], [marks[i] for i in order], True)
    assert {(order[f.position], f.fault) for f in shuffled} == faults


def test_senseless_arguments_are_refused():
    with pytest.raises(ValueError, match="but"):
        check_marks(numbers("1"), [], True)
    with pytest.raises(ValueError, match="without a number"):
        check_marks([None], ["best"], True)
