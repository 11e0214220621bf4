"""The joint read-outs of every variant beside each other: what a gain owes to the read-out, and not to the training."""

import pandas as pd

from tcmax.metrics.readout import JOINT_READOUTS
from tcmax.records import parquet
from tcmax.report.numbers import show
from tcmax.report.report_records import DatasetRecords, ReportRecords
from tcmax.report.signature import signature
from tcmax.report.tables import POPULATIONS, Block, Column, Row, Table, TableCell, estimate_macros, macros_of

TITLES = {"joint": "raw", "joint_entropy_gated": "entropy-gated", "joint_energy_weighted": "energy-weighted"}


def readouts(records: ReportRecords) -> Table:
    """Joint accuracy of each variant under each read-out; a variant ahead by its read-out alone is labelled so."""
    blocks, data = [], []
    for dataset in records.datasets:
        own = _own(dataset)
        # A method may have a read-out that is none of the three; it then has a column of its own.
        shown = [*JOINT_READOUTS, *(["own"] if set(own.values()) - set(JOINT_READOUTS) else [])]
        rows = []
        for variant in dataset.variants:
            label = _label(records, dataset, variant, own)
            cells = []
            for readout in shown:
                row = records.estimate(dataset.id, "accuracy", readout, variant)
                mine = own.get(variant) == readout
                if row is None or pd.isna(row["estimate"]) or (readout == "own" and not mine):
                    cells.append(TableCell())
                    continue
                low, high = (None if pd.isna(row[name]) else float(row[name]) for name in ("low", "high"))
                number = show(row["estimate"], low, high, row["unit"])
                line = signature(row)
                cells.append(TableCell(number.value, number.spread, best=mine, order=float(row["estimate"]), note=line))
                facts = {"dataset": dataset.id, "variant": variant, "metric": "accuracy", "readout": readout}
                numbers = {name: row[name] for name in ("unit", "estimate", "low", "high", "n_seeds", "n_items")}
                data.append({**facts, **numbers, "own": mine, "label": label, "signature": line})
            if any(cell.order is not None for cell in cells):
                rows.append(Row(records.experiment.title(variant), tuple(cells), variant, label))
        if any(
            sum(cell.order is not None for cell in row.cells) > 1 for row in rows
        ):  # else there is nothing to compare
            columns = tuple(Column(TITLES.get(readout, readout), "%") for readout in shown)
            blocks.append(Block("Method", ((dataset.title, len(columns)),), columns, tuple(rows)))
    caption = (
        "Joint accuracy under every read-out: the head's own output (raw), and unimodal logits weighted by "
        "exp(-entropy) (entropy-gated, MLA's rule) or by energy (energy-weighted, QMF's rule). Bold: the read-out that "
        "is the variant's own, which every other table uses. A variant is labelled where it is ahead of the reference "
        "variant with its own read-out and not with the raw one. Mean [95 % interval] for "
        f"{POPULATIONS['both']}."
    )
    frame = pd.DataFrame(data)
    macros = macros_of(frame, estimate_macros)
    return Table("readouts", "Joint read-outs", caption, tuple(blocks), frame, macros=macros)


def _own(dataset: DatasetRecords) -> dict[str, str]:
    """Variant -> the read-out that is its own; empty without item scores."""
    if dataset.items is None:
        return {}
    own: dict[str, str] = parquet.header(dataset.items)["own"]
    return own


def _label(records: ReportRecords, dataset: DatasetRecords, variant: str, own: dict[str, str]) -> str:
    """What to say of a variant whose lead over the reference is that of its read-out; usually nothing."""
    reference = records.experiment.settings.reference_variant
    if reference is None or variant == reference or own.get(variant, "joint") == "joint":
        return ""
    lead = {}
    for readout in ("own", "joint"):
        pair = [records.estimate(dataset.id, "accuracy", readout, each) for each in (variant, reference)]
        values = [float(row["estimate"]) for row in pair if row is not None and pd.notna(row["estimate"])]
        if len(values) < 2:
            return ""
        lead[readout] = values[0] - values[1]
    ahead = lead["own"] > 0 >= lead["joint"]
    return f"ahead of {records.experiment.title(reference)} by its read-out alone" if ahead else ""
