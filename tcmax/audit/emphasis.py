"""Do bold and underline say what the numbers say?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tcmax.audit.rounding import PrintedNumber

Mark = Literal["best", "second"]
Fault = Literal["missing", "shared", "wrong"]
_RANK: dict[Mark, int] = {"best": 1, "second": 2}


def dense_ranks(values: Sequence[PrintedNumber | None], higher_is_better: bool) -> tuple[int | None, ...]:
    """Rank of each value, 1 the best; equal printed values share a rank and the next value follows without a gap.

    None (a cell that was not reported) stays None. Precision is ignored: 82.8 and 82.80 are equal.
    """
    distinct = sorted({v.value for v in values if v is not None}, reverse=higher_is_better)
    rank = {value: place for place, value in enumerate(distinct, start=1)}
    return tuple(None if v is None else rank[v.value] for v in values)


@dataclass(frozen=True)
class MarkFault:
    """One cell whose mark disagrees with the numbers of its column.

    missing: the cell has the rank but no cell of that value is marked; shared: the cell equals a marked cell and
    carries no mark itself; wrong: the cell is marked and does not have the rank.
    """

    position: int
    mark: Mark
    fault: Fault


def check_marks(
    values: Sequence[PrintedNumber | None],
    marks: Sequence[Mark | None],
    higher_is_better: bool,
    checked: Sequence[Mark] = ("best", "second"),
) -> tuple[MarkFault, ...]:
    """Compare the emphasis of one column with its printed numbers.

    values, marks: one entry per row. checked: the marks that can be read off the document (bold is often lost in
    text). Ranks are those of the printed digits, since a mark is a statement about print; where two cells tie for
    best, the next distinct value counts as second best.

    Raises ValueError for lengths that differ and for a mark on a cell without a number.
    """
    if len(values) != len(marks):
        raise ValueError(f"{len(values)} values but {len(marks)} marks")
    if any(mark is not None and value is None for value, mark in zip(values, marks, strict=True)):
        raise ValueError("a mark stands on a cell without a number")
    ranks = dense_ranks(values, higher_is_better)
    faults = []
    for mark in checked:
        ranked = [i for i, rank in enumerate(ranks) if rank == _RANK[mark]]
        marked = [i for i, own in enumerate(marks) if own == mark]
        fault: Fault = "shared" if set(ranked) & set(marked) else "missing"
        faults += [MarkFault(i, mark, fault) for i in ranked if i not in marked]
        faults += [MarkFault(i, mark, "wrong") for i in marked if i not in ranked]
    return tuple(faults)
