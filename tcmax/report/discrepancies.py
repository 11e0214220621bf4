"""What each deviation of released code changes, where an experiment flips switches: a table and a forest."""

import pandas as pd
from matplotlib.ticker import FuncFormatter, NullLocator

from tcmax.audit.discrepancies import MEASURED
from tcmax.experiment.grid import Flip
from tcmax.experiment.switches import SWITCHES
from tcmax.report.figure import Canvas, Figure
from tcmax.report.numbers import count, fixed, joined, show, show_p
from tcmax.report.palette import INK, MUTED
from tcmax.report.report_records import DatasetRecords, ReportRecords
from tcmax.report.tables import POPULATIONS, Block, Column, Row, Table, TableCell, held_fixed

LINEAR, TICKS = 2.0, (-50, -5, -1, 0, 1, 5, 50)  # of the forest's axis, in percentage points
TITLES = {"accuracy": ("accuracy", "pp"), "js": ("JS", "nats"), "entropy": ("entropy", "nats")}


def discrepancies(records: ReportRecords) -> Table | None:
    """Every flip: its effect on the joint prediction, and the conclusions whose verdict it would have changed."""
    experiment = records.experiment
    if not experiment.flips:
        return None
    blocks, data = [], []
    for dataset in records.datasets:
        rows = []
        for flip in experiment.flips:
            found = {metric: _effect(records, dataset, flip, metric, readout) for metric, readout in MEASURED}
            if all(row is None for row in found.values()):
                continue
            cells: list[TableCell] = []
            for metric, row in found.items():
                cells += _cells(row)
                if row is not None:
                    data.append(_record(dataset, flip, metric, row))
            changed = _changed(records, dataset, flip)
            cells.append(TableCell("; ".join(changed) or "none", order=float(len(changed))))
            what = SWITCHES[flip.switch].what if flip.switch in SWITCHES else ""
            rows.append(Row(_short(flip), tuple(cells), flip.variant, what, experiment.title(flip.base)))
        if rows:
            columns = [
                column
                for title, unit in TITLES.values()
                for column in (Column(f"Δ {title}", unit), Column("95 %", unit), Column("Holm p"))
            ]
            groups = ((dataset.title, len(columns) + 1),)
            blocks.append(
                Block("Switch", groups, (*columns, Column("changed conclusions", width=0.2)), tuple(rows), 0.2)
            )
    inert = tuple(f"{switch}: {reason}" for switch, reason in experiment.settings.inert_switches.items())
    switches = count(len({(flip.switch, str(flip.value)) for flip in experiment.flips}), "deviation")
    caption = (
        f"Each of {switches} flipped alone: the variant with the switch minus the same variant as published, in the "
        f"accuracy, the Jensen-Shannon divergence and the entropy of the prediction, paired, with the 95 % interval "
        f"for {POPULATIONS['both']} (bold: excludes 0) and p after Holm over all flips of a metric. Changed "
        "conclusions: claims of this experiment, and comparisons with its reference variant, whose verdict on this "
        "dataset has another word when the variant with the switch stands in the place of the published one. A word "
        f"may change by a hair: that two verdicts differ is no evidence that their numbers do. {held_fixed(records)}"
    )
    return Table("discrepancies", "Deviations of released code", caption, tuple(blocks), pd.DataFrame(data), inert)


def forest(records: ReportRecords, dataset: DatasetRecords) -> Figure | None:
    """Effect of every flip on joint accuracy, grouped by variant."""
    experiment = records.experiment
    found = [(flip, _effect(records, dataset, flip, "accuracy", "own")) for flip in experiment.flips]
    drawn = [(flip, row) for flip, row in found if row is not None and pd.notna(row["estimate"])]
    if not drawn:
        return None
    names = [f"{experiment.title(flip.base)}: {_short(flip)}" for flip, _ in drawn]
    decided = [pd.notna(row["p_adjusted"]) and row["p_adjusted"] <= row["alpha"] for _, row in drawn]

    def draw(canvas: Canvas, wide: bool) -> None:
        axes = canvas.subplots()
        axes.axvline(0, color=MUTED, lw=0.8)
        for k, (_, row) in enumerate(drawn):
            colour = INK if decided[k] else MUTED
            if pd.notna(row["low"]):
                axes.plot([100 * row["low"], 100 * row["high"]], [k, k], color=colour, lw=1.0)
            axes.plot(100 * row["estimate"], k, "o", color=colour)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0, labelsize=6)
        axes.spines["left"].set_visible(False)
        # Linear around 0, logarithmic beyond: one switch may break what others hardly move.
        axes.set_xscale("symlog", linthresh=LINEAR, linscale=1.5)
        ends = axes.get_xlim()
        axes.set_xticks([tick for tick in TICKS if ends[0] <= tick <= ends[1]])
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: fixed(value, 0)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("Δ accuracy (pp)")

    data = pd.DataFrame(
        [_record(dataset, flip, "accuracy", row) | {"name": n} for (flip, row), n in zip(drawn, names, strict=True)]
    )
    seeds = int(data["n_seeds"].max())
    strongest = joined([name for name, is_decided in zip(names, decided, strict=True) if is_decided] or ["none"])
    return Figure(
        name=f"discrepancies_{dataset.id}",
        title=dataset.title,
        caption=(
            "Joint accuracy with a switch flipped minus without it, 95 % interval for "
            f"{POPULATIONS['both']}; dark: p ≤ 0.05 after Holm over all flips. Beyond ±2 the axis is "
            f"logarithmic. {held_fixed(records)}"
        ),
        sizes=f"n\u00a0=\u00a0{count(seeds, 'seed')}, {count(int(data['n_items'].max()), 'test item')}.",
        alt=f"Effect of each switch on joint accuracy on {dataset.title}. Told from no effect: {strongest}.",
        data=data,
        height=0.6 + 0.14 * len(drawn),
        draw=draw,
        wide_height=0.6 + 0.14 * len(drawn),
    )


def _short(flip: Flip) -> str:
    """A flip without what its base says already: "average", "last_epoch 50"."""
    name = flip.switch.partition(".")[2]
    return name if flip.value is True else f"{name} {str(flip.value).lower()}"


def _effect(records: ReportRecords, dataset: DatasetRecords, flip: Flip, metric: str, readout: str) -> pd.Series | None:
    rows = records.flip_evidence
    if rows is None:
        return None
    identity = f"{dataset.id}|{metric}|{readout}|{flip.variant}-vs-{flip.base}|both|switch"
    found = rows[rows["id"] == identity]
    return None if found.empty else found.iloc[0]


def _cells(row: pd.Series | None) -> list[TableCell]:
    if row is None or pd.isna(row["estimate"]):
        return [TableCell(note="" if row is None else str(row["notes"])), TableCell(), TableCell()]
    low, high = (None if pd.isna(row[name]) else float(row[name]) for name in ("low", "high"))
    estimate = float(row["estimate"])
    shown = show(estimate, low, high, str(row["unit"]), difference=True)
    decided = low is not None and high is not None and (low > 0 or high < 0)
    p = None if pd.isna(row["p_adjusted"]) else float(row["p_adjusted"])
    return [
        TableCell(shown.value, order=estimate, best=decided, note=str(row["notes"])),
        TableCell(shown.interval or "–", order=estimate),
        TableCell(show_p(p), order=p, note=str(row["family"] or "")),
    ]


def _changed(records: ReportRecords, dataset: DatasetRecords, flip: Flip) -> list[str]:
    rows = records.discrepancies
    if rows is None:
        return []
    of_flip = (rows["switch"] == flip.switch) & (rows["value"] == str(flip.value).lower())
    here = rows[of_flip & (rows["dataset"] == dataset.id)]
    here = here[here["before"] != here["after"]]
    return [f"{row['claim']}: {row['before']} → {row['after']}" for _, row in here.iterrows()]


def _record(dataset: DatasetRecords, flip: Flip, metric: str, row: pd.Series) -> dict[str, object]:
    names = "unit estimate low high alpha df p p_adjusted correction family n_seeds n_diverged n_items notes"
    start = {"dataset": dataset.id, "switch": flip.switch, "value": flip.value, "base": flip.base}
    return {**start, "variant": flip.variant, "metric": metric, **{name: row[name] for name in names.split()}}
