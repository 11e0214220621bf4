"""How often each verdict survives other defensible choices, as a table."""

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from tcmax.audit.multiverse import CHOICES, Multiverse, Universe
from tcmax.report.numbers import joined
from tcmax.report.report_records import ReportRecords
from tcmax.report.tables import Block, Column, Row, Table, TableCell, macros_of


def multiverses(records: ReportRecords) -> list[Multiverse]:
    """The combinations of every claim, from the record."""
    if records.multiverse is None:
        return []
    found = []
    for claim, rows in records.multiverse.groupby("claim", sort=False):
        universes = []
        for _, universe in rows.groupby("universe"):
            choices = tuple(zip(universe["choice"], universe["option"], strict=True))
            universes.append(Universe(choices, universe["verdict"].iloc[0]))
        found.append(Multiverse(str(claim), universes[0].verdict, tuple(universes)))
    return found


def choices(records: ReportRecords) -> Table:
    """One row per claim: its verdict, how many combinations agree, the others, and the option that agrees least."""
    verdicts = records.verdicts
    stated = {} if verdicts is None else dict(zip(verdicts["claim"], verdicts["text"], strict=True))
    rows: list[Row] = []
    data: list[dict[str, object]] = []
    for m in multiverses(records):
        n = len(m.universes)
        others = "; ".join(f"{word} {count}" for word, count in m.counts.items() if word != m.whole) or "none"
        least = "–"
        if m.agreeing < n:
            (name, option), (agreed, of) = m.least
            least = f"{name}: {option} ({agreed} of {of})"
        cells = (
            TableCell(m.whole, tone=m.whole),
            TableCell(f"{m.agreeing} of {n}", order=m.agreeing / n),
            TableCell(others),
            TableCell(least),
        )
        known = m.claim in stated
        rows.append(Row(stated[m.claim] if known else m.claim, cells, note=m.claim if known else ""))
        for (name, option), (agreed, of) in m.by_option.items():
            record = {"claim": m.claim, "verdict": m.whole, "choice": name, "option": option}
            sizes = {"agreeing": agreed, "combinations": of, "agreeing_in_all": m.agreeing, "combinations_in_all": n}
            data.append({**record, **sizes})
    columns = (
        Column("verdict", width=0.12),
        Column("combinations that agree"),
        Column("others", width=0.14),
        Column("agrees least with", width=0.18),
    )
    caption = (
        f"Every claim judged under all combinations of {len(CHOICES)} choices, {joined(CHOICES)}, where they are open "
        "to it. Readings overlap in their data: the share that agrees is no probability and no test, it says what a "
        "verdict depends on."
    )
    block = Block("Claim", (), columns, tuple(rows), stub_width=0.36)
    frame = pd.DataFrame(data)
    macros = macros_of(frame, _macros)
    return Table("choices", "Verdicts under other choices", caption, (block,) if rows else (), frame, macros=macros)


def _macros(record: Mapping[Hashable, Any]) -> dict[str, str]:
    stem = f"choices/{record['claim']}"
    return {stem: f"{record['agreeing_in_all']}", f"{stem}/of": f"{record['combinations_in_all']}"}
