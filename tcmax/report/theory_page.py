"""The page of `tcmax theory`: tables and figures of the THEORY record, each with the statement it bears on."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

from tcmax.records import kinds, parquet
from tcmax.records.files import write_text
from tcmax.report.figure import Canvas, Figure
from tcmax.report.html import render
from tcmax.report.numbers import fixed, show
from tcmax.report.palette import MUTED, Style
from tcmax.report.tables import Block, Column, Row, Table, TableCell
from tcmax.stats.intervals import t_interval

_HUES = sns.color_palette("colorblind").as_hex()
LOOKS = (
    Style(_HUES[3], "D", "-"),
    Style(_HUES[0], "^", (0, (4, 1.5))),
    Style(_HUES[2], "o", (0, (1, 1))),
    Style(_HUES[1], "s", "-."),
)
SCORES = {"accuracy": ("proportion", None), "cross_entropy": ("nats", 4)}  # unit, and decimals if not the usual ones


@dataclass(frozen=True)
class Section:
    """A part of the page. statement: what it bears on. finding: what the numbers say about it."""

    id: str
    title: str
    statement: str
    finding: str
    tables: tuple[Table, ...]
    figures: tuple[Figure, ...]


def build_theory_report(record: Path, out: Path, date: str | None) -> None:
    """Write report.html, tables/ and figures/ of a THEORY record to `out`. Equal records and dates give equal bytes."""
    data = parquet.read(record, kinds.THEORY).to_pandas()
    data = data.astype(dict.fromkeys(("part", "setting", "quantity"), object))
    settings = parquet.header(record)["settings"]
    made = sections(data, settings)
    svgs: dict[str, str] = {}
    for section in made:
        for table in section.tables:
            write_text(out / "tables" / f"{table.name}.csv", table.csv)
            write_text(out / "tables" / f"{table.name}.tex", table.tex)
        svgs |= {figure.name: figure.save(out / "figures") for figure in section.figures}
    write_text(out / "report.html", _page(made, svgs, settings, date))


def sections(data: pd.DataFrame, settings: dict[str, Any]) -> list[Section]:
    """Every section, from the rows of a THEORY record and the settings it was computed with."""
    return [_optimum(data), _batch(data, settings), _prior(data), _sample(data, settings)]


def _page(made: Sequence[Section], svgs: dict[str, str], settings: dict[str, Any], date: str | None) -> str:
    look = {str(k): found for k, found in enumerate(LOOKS)}
    figures = [figure for section in made for figure in section.figures]
    return render("theory.html.j2", look, figures, svgs, title=settings["title"], date=date, sections=made, looks={})


def _table(name: str, title: str, caption: str, stub: str, columns: Sequence[Column], rows: Sequence[Row]) -> Table:
    """A table whose CSV holds what its cells are sorted by: the numbers as they were computed."""
    numbers: list[dict[str, Any]] = [
        {"group": row.heading, stub: row.label}
        | {
            f"{column.title} ({column.unit})" if column.unit else column.title: cell.order
            for column, cell in zip(columns, row.cells, strict=True)
        }
        for row in rows
    ]
    return Table(name, title, caption, (Block(stub, (), tuple(columns), tuple(rows)),), pd.DataFrame(numbers))


def _number(value: float, places: int = 4) -> TableCell:
    return TableCell(fixed(value, places), order=float(value))


# --- optimum ----------------------------------------------------------------------------------------------------------


def _optimum(data: pd.DataFrame) -> Section:
    part = data[data["part"] == "optimum"]
    rows, drawn = [], []
    for k, (law, of_law) in enumerate(part.groupby("setting", sort=False)):
        for quantity, path in of_law.groupby("quantity", sort=False):
            last = path.iloc[-1]
            cells = (_number(last["value"]), _number(last["expected"]), _number(last["expected"] - last["value"], 5))
            rows.append(Row(str(quantity), cells, heading=str(law)))
        drawn.append(_ascent(f"ascent_{k}", str(law), of_law))
    columns = (Column("reached", "nats"), Column("by formula", "nats"), Column("left", "nats"))
    caption = (
        "Minus the TCMax loss after gradient ascent on a batch that holds every row of the law as often as the law "
        "says, and the supremum by formula: total correlation for any head, the sum of the modalities' informations "
        "about the label for an additive one; log C − H(label) more with a uniform reference. No sampling: nothing "
        "here has an interval."
    )
    return Section(
        "optimum",
        "What a head can reach",
        "Proposition 3: at its optimum the loss equals minus the total correlation of all modalities and the label, "
        "which holds the term I(audio; video | label) that aligns modalities (Eq. 6).",
        "A head with a logit of its own for every combination reaches the total correlation. A sum of unimodal logits, "
        "which Concat and ShareHead are, stops at what the modalities say about the label one by one; on exclusive or "
        "that is nothing. Equality for these heads needs modalities that are independent given the label.",
        (_table("optimum", "Reached and reachable", caption, "head and label reference", columns, rows),),
        tuple(drawn),
    )


def _ascent(name: str, law: str, of_law: pd.DataFrame) -> Figure:
    shown = of_law[of_law["quantity"].str.endswith("uniform reference")]
    heads = list(dict.fromkeys(shown["quantity"]))
    steps = int(shown["x"].max())

    def draw(canvas: Canvas, wide: bool) -> None:
        axes = canvas.subplots()
        for look, head in zip(LOOKS, reversed(heads), strict=False):
            path = shown[shown["quantity"] == head]
            axes.plot(path["x"] + 1, path["value"], color=look.colour, ls=look.line, label=head.partition(",")[0])
            axes.axhline(path["expected"].iloc[0], color=look.colour, lw=0.6, alpha=0.7)
        top = float(shown["expected"].max())
        axes.set(xscale="log", ylim=(-0.35 * top, 1.15 * top), xlabel="gradient step", ylabel="−loss (nats)")
        canvas.legend(loc="outside lower center", ncols=2)

    ends = "; ".join(f"{h.partition(',')[0]} {shown[shown['quantity'] == h]['value'].iloc[-1]:.4f}" for h in heads)
    return Figure(
        name=name,
        title=law,
        caption=(
            "Minus the loss along gradient ascent, uniform label reference; thin: the supremum by formula. Starts "
            "below the frame are cut off."
        ),
        sizes=f"{steps} steps.",
        alt=f"Ascent on the law {law}, in nats after the last step: {ends}.",
        data=shown[["quantity", "x", "value", "expected"]].rename(columns={"x": "step"}),
        height=2.1,
        draw=draw,
    )


# --- batch ------------------------------------------------------------------------------------------------------------


def _batch(data: pd.DataFrame, settings: dict[str, Any]) -> Section:
    part = data[data["part"] == "batch"]
    names = list(dict.fromkeys(part["setting"]))
    found = part.groupby(["setting", "quantity"], sort=False)["value"].mean().unstack()
    exact = part.assign(gap=(part["value"] - part["expected"]).abs())["gap"].max()
    sizes = settings["batch"]["datasets"]
    keys = ("any head", "additive head", "offset", "additive head, released")
    rows = []
    for name in names:
        numbers = found.loc[name]
        size = sizes[name]
        cells = [TableCell(str(size[key]), order=float(size[key])) for key in ("batch_size", "classes")]
        cells += [_number(numbers[key], 2) for key in keys]
        rows.append(Row(name, tuple(cells)))
    columns = (
        Column("B"),
        Column("C"),
        Column("floor, any head", "nats"),
        Column("floor, additive", "nats"),
        Column("offset", "nats"),
        Column("floor as released", "nats"),
    )
    repetitions = settings["batch"]["repetitions"]
    caption = (
        "Smallest value of the loss on a batch of two modalities: for a head that can tell rows apart, −log B − log C, "
        "and for an additive one, which can tell classes apart only, −H(labels of the batch) − log C; then what the "
        "released code adds, log(BC), and where the additive floor is on its scale. Each was reached by logits that "
        f"memorise the batch, to {exact:.0e} nats. Means over {repetitions} batches with classes drawn uniformly."
    )
    return Section(
        "batch",
        "What a batch allows",
        "Eq. 14 estimates total correlation in a batch; Figure 4 compares training losses, and reads a higher one of "
        "TCMax as less overfitting.",
        "The value is capped by the batch, whatever the truth. The released loss is the paper's plus log(BC), so that "
        "its curve ends at a floor above that of cross-entropy, which is 0: an offset and a floor come before "
        "overfitting. Compare the loss minus its floor, or its cross-entropy part.",
        (_table("batch", "Floors and offsets", caption, "Dataset", columns, rows),),
        (_floors(found, names, repetitions),),
    )


def _floors(found: pd.DataFrame, names: Sequence[str], repetitions: int) -> Figure:
    def draw(canvas: Canvas, wide: bool) -> None:
        axes = canvas.subplots()
        marks = {"any head": (0, "any head, paper's value"), "additive head": (1, "additive, paper's value")}
        marks["additive head, released"] = (3, "additive, released value")
        for quantity, (k, label) in marks.items():
            look = LOOKS[k]
            axes.plot(found.loc[list(names), quantity], range(len(names)), look.marker, color=look.colour, label=label)
        axes.axvline(0, color=MUTED, lw=0.8)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("smallest loss on a batch (nats)")
        canvas.legend(loc="outside lower center", ncols=1, handletextpad=0.2)

    columns = ["any head", "additive head", "additive head, released"]
    rows = found[columns].to_dict("index")
    text = "; ".join(f"{name} {', '.join(fixed(v, 2) for v in row.values())}" for name, row in rows.items())
    return Figure(
        name="floors",
        title="Floors",
        caption=(
            "Where the loss must stop at the paper's batch sizes. Line: 0, the floor of cross-entropy, and the paper's "
            "value of a head that knows nothing; the released value of that is log(BC)."
        ),
        sizes=f"Additive: mean over {repetitions} batches.",
        alt=f"Floors in nats (any head; additive head; additive head as released): {text}.",
        data=found.loc[list(names)].reset_index(),
        height=2.4,
        draw=draw,
    )


# --- prior ------------------------------------------------------------------------------------------------------------


def _prior(data: pd.DataFrame) -> Section:
    part = data[data["part"] == "prior"]
    rules = list(dict.fromkeys(part["quantity"]))
    wide = part.pivot(index="x", columns="quantity", values="value")[rules]
    rows = [
        Row(
            f"{round(100 * float(x))} %",
            tuple(
                TableCell(show(v, None, None, "proportion").value, order=float(v), best=v == max(values))
                for v in values
            ),
        )
        for x, values in zip(wide.index, wide.to_numpy(), strict=True)
    ]
    exact = float((part["value"] - part["expected"]).abs().max())
    caption = (
        "Accuracy (%), on the law itself, of four rules of prediction at the optimum of their loss, by the share of "
        "the first of two classes; the modalities are independent given the label, so that the best rule is the one "
        "that a uniform reference gives. Trained on the whole law; the accuracies by formula differ by "
        f"{exact:.0e} at most. Bold: the best of a row. No sampling: nothing here has an interval."
    )
    columns = tuple(Column(rule, "%") for rule in rules)

    def draw(canvas: Canvas, wide_: bool) -> None:
        axes = canvas.subplots()
        for look, rule in zip(LOOKS, rules, strict=True):
            style: dict[str, Any] = {"color": look.colour, "ls": look.line, "marker": look.marker}
            axes.plot(100 * wide.index, 100 * wide[rule], label=rule, **style)
        axes.set(xlabel="share of the first class (%)", ylabel="accuracy (%)")
        canvas.legend(loc="outside lower center", ncols=1)

    figure = Figure(
        name="prior",
        title="Unequal classes",
        caption=(
            "Accuracy of rules of prediction on a law with unequal classes. With equal ones all agree; the first two "
            "agree everywhere."
        ),
        sizes="",
        alt="Accuracy against the share of the first class: a uniform reference is best throughout.",
        data=wide.reset_index().rename(columns={"x": "share of the first class"}),
        height=2.9,
        draw=draw,
    )
    return Section(
        "prior",
        "Which prior a prediction holds",
        "Eq. 13 predicts with the softmax of the joint logits, and Eq. 11 takes the true class law as reference.",
        "Together they forget the prior: with the true class law as reference, log P(c) must be added back. With the "
        "uniform reference of Eq. 14 the softmax is right as it is. The unimodal ensemble counts the prior once for "
        "every modality. None of this shows on equal classes.",
        (_table("prior", "Accuracy by rule", caption, "First class", columns, rows),),
        (figure,),
    )


# --- sample -----------------------------------------------------------------------------------------------------------


def _sample(data: pd.DataFrame, settings: dict[str, Any]) -> Section:
    part = data[data["part"] == "sample"]
    worlds = list(dict.fromkeys(part["setting"]))
    summary = _means(part)
    rows = []
    for world in worlds:
        of_world = summary[summary["world"] == world]
        limits = dict.fromkeys(SCORES, float("nan")) | {
            str(row["quantity"]): float(row["population"]) for _, row in of_world.iterrows()
        }
        for size, at in of_world.groupby("rows", sort=False):
            cells = [TableCell(f"{int(at['n'].iloc[0]):,}", order=float(at["n"].iloc[0]))]
            for quantity, (unit, places) in SCORES.items():
                row = at[at["quantity"] == quantity].iloc[0]
                shown = show(row["mean"], row["low"], row["high"], unit, True, places)
                decided = row["low"] > 0 or row["high"] < 0
                cells += [
                    TableCell(shown.value, order=float(row["mean"]), best=bool(decided and abs(row["mean"]) > 1e-9)),
                    TableCell(shown.interval, order=float(row["mean"])),
                ]
            rows.append(Row(f"{int(size):,}", tuple(cells), heading=world))
        if pd.notna(limits["accuracy"]):
            cells = [TableCell(order=None)]
            for quantity, (unit, places) in SCORES.items():
                text = show(limits[quantity], None, None, unit, True, places)
                cells += [TableCell(text.value, order=limits[quantity]), TableCell()]
            rows.append(Row("without end", tuple(cells), heading=world))
    columns = (
        Column("samples"),
        Column("accuracy", "pp"),
        Column("95 %", "pp"),
        Column("cross-entropy", "nats"),
        Column("95 %, nats"),
    )
    chosen = settings["sample"]
    caption = (
        "Additive TCMax minus the unimodal ensemble by the number of training rows: mean difference of accuracy "
        "(percentage points; positive: TCMax is better) and of the cross-entropy of the joint prediction (negative: "
        "TCMax is better), with the 95 % t interval of the mean over samples; bold where it excludes 0. Tables: both "
        f"optima in closed form, {chosen['pseudo_rows']:g} row added to each class, scored on the law. Normal "
        f"features: both trained to convergence on the same samples with weight decay {chosen['weight_decay']:g}, "
        f"scored on {chosen['test_rows']:,} fresh rows for each sample."
    )
    figures = tuple(_separation(summary, worlds, quantity) for quantity in SCORES)
    return Section(
        "sample",
        "Additive TCMax and the unimodal ensemble",
        "Table 1: TCMax with Concat or ShareHead is more accurate than the ensemble of unimodal classifiers.",
        "With logits that can be any function of their modality the two have the same optimum but for the class "
        "prior, which the ensemble counts once per modality. So on equal classes drawn in equal numbers no sample "
        "tells them apart; on equal classes as they come, the ensemble counts the noise of the class shares twice, "
        "which vanishes; on unequal classes the gap stays, and counting the prior once removes it. With linear logits "
        "they differ without end: TCMax has to fit log P(z) too, which no linear logit can, and its probabilities "
        "suffer for it, while on a few dozen rows the same constraint helps. So a gain of additive TCMax on balanced "
        "data with rich encoders is one of optimisation or of small samples.",
        (_table("sample", "On finite samples", caption, "Rows", columns, rows),),
        figures,
    )


def _means(part: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for (world, quantity, size), values in part.groupby(["setting", "quantity", "x"], sort=False):
        bounds = t_interval(values["value"].to_numpy(dtype=float))
        rows.append(
            {
                "world": world,
                "quantity": quantity,
                "rows": size,
                "mean": float(values["value"].mean()),
                "low": bounds.low,
                "high": bounds.high,
                "n": len(values),
                "population": values["expected"].iloc[0],
            }
        )
    return pd.DataFrame(rows)


def _separation(summary: pd.DataFrame, worlds: Sequence[str], quantity: str) -> Figure:
    shown = summary[summary["quantity"] == quantity]
    scale, unit = (100, "pp") if quantity == "accuracy" else (1, "nats")
    named = "accuracy" if quantity == "accuracy" else "cross-entropy"

    def draw(canvas: Canvas, wide: bool) -> None:
        axes: Axes = canvas.subplots()
        axes.axhline(0, color=MUTED, lw=0.8)
        for look, world in zip(cycle(LOOKS), worlds, strict=False):
            at = shown[shown["world"] == world]
            mean = scale * at["mean"]
            error = [mean - scale * at["low"], scale * at["high"] - mean]
            style: dict[str, Any] = {"color": look.colour, "marker": look.marker, "ls": look.line}
            axes.errorbar(at["rows"], mean, error, label=world, elinewidth=0.8, **style)
        axes.set(xscale="log", xlabel="training rows", ylabel=f"difference of {named} ({unit})")
        axes.xaxis.set_major_locator(FixedLocator(sorted(set(shown["rows"]))))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(ScalarFormatter())
        if quantity == "cross_entropy":  # a sample of linear logits that it can separate has no bound
            axes.set_ylim(-0.12, 0.08)
        canvas.legend(loc="outside lower center", ncols=1)

    cut = " Values below the frame are in the table." if quantity == "cross_entropy" else ""
    return Figure(
        name=f"sample_{quantity}",
        title=f"Difference of {named}",
        caption=(
            "Additive TCMax minus the unimodal ensemble on the same samples, 95 % interval of the mean over "
            f"samples.{cut}"
        ),
        sizes="",
        alt=f"Difference of {named} against the number of training rows in {len(worlds)} worlds; numbers in the table.",
        data=shown.drop(columns="quantity"),
        height=2.9,
        draw=draw,
    )
