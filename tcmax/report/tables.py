"""The tables of a report: what stands in them, and their CSV and LaTeX.

A `Table` holds the same content twice: `blocks` as a reader meets it (text, ties, marks) and `data` as a program does
(one row per number, in the unit of the records, with interval, sizes and source). Page and article render the blocks.
"""

import itertools
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from tcmax.audit import wording
from tcmax.experiment.grid import Experiment
from tcmax.metrics import METRICS
from tcmax.report.latex import Latex, environment, escape
from tcmax.report.numbers import Shown, count, joined, places_for, scale_of, show, show_p
from tcmax.report.published import Published, published_values
from tcmax.report.report_records import DatasetRecords, ReportRecords, Ties
from tcmax.report.signature import signature, signed
from tcmax.stats.unrest import restless

WIDEST = 6  # columns of numbers that fit the text width of a two-column article
POPULATIONS = {
    "both": "new seeds and new test items",
    "seeds": "new seeds on this test set",
    "items": "new test items for these trained models",
}
FIXED = "Every variant's training set, split and tuning are held fixed."


@dataclass(frozen=True)
class TableCell:
    """One cell.

    text: what it says. spread: "± half-width" or "[low, high]". letters: tie group. best: no rival beats it.
    published: what the paper prints. order: what a sortable table sorts by. note: what a reader can ask for.
    """

    text: str = "–"
    spread: str = ""
    letters: str = ""
    best: bool = False
    published: str = ""
    order: float | str | None = None
    note: str = ""
    tone: str = ""


@dataclass(frozen=True)
class Column:
    """A column: its title, its unit, and for running text its width in LaTeX (a share of the line)."""

    title: str
    unit: str = ""
    width: float | None = None


@dataclass(frozen=True)
class Row:
    """A row: its label, its cells, the variant whose colour it carries, and the heading it stands under."""

    label: str
    cells: tuple[TableCell, ...]
    variant: str | None = None
    note: str = ""
    heading: str = ""


@dataclass(frozen=True)
class Block:
    """A part of a table with its own header: column groups as (title, columns), then columns, then rows."""

    stub: str
    groups: tuple[tuple[str, int], ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    stub_width: float | None = None

    @property
    def parts(self) -> list[tuple[str, list[Row]]]:
        """Rows under their headings, in order."""
        return [(heading, list(rows)) for heading, rows in itertools.groupby(self.rows, lambda row: row.heading)]

    @cached_property
    def widest_letters(self) -> int:
        """Most letters of a tie group, so that digits stay aligned."""
        return max((len(cell.letters) for row in self.rows for cell in row.cells), default=0)


@dataclass(frozen=True)
class Table:
    """A table.

    name: file name. caption: what it shows, with n, source of uncertainty and correction. macros: its numbers by the
    names under which an article can print them.
    """

    name: str
    title: str
    caption: str
    blocks: tuple[Block, ...]
    data: pd.DataFrame
    notes: tuple[str, ...] = ()
    macros: Mapping[str, str] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        return not any(block.rows for block in self.blocks)

    @cached_property
    def csv(self) -> str:
        """One row per number; missing values are empty."""
        return self.data.to_csv(index=False, lineterminator="\n", float_format="%.10g")

    @cached_property
    def tex(self) -> str:
        """A tabular for any article that loads booktabs."""
        template = environment().get_template("table.tex.j2")
        return template.render(table=self, cell=_cell_tex, spec=_column_spec)


def _cell_tex(cell: TableCell, block: Block, column: int) -> Latex:
    text = escape(cell.text)
    if block.columns[column].width is not None:
        text = Latex(f"\\raggedright {text}")
    if cell.best:
        text = Latex(f"\\textbf{{{text}}}")
    if cell.spread:
        text = Latex(f"{text}\\,{{\\scriptsize {escape(cell.spread)}}}")
    if block.widest_letters:
        width = 0.1 + 0.4 * block.widest_letters
        text = Latex(f"{text}\\makebox[{width:.1f}em][l]{{\\textsuperscript{{{escape(cell.letters)}}}}}")
    if cell.published:
        text = Latex(f"{text} \\tcmaxpublished{{{escape(cell.published)}}}")
    return text


def _column_spec(block: Block) -> Latex:
    def letter(width: float | None, default: str) -> str:
        return default if width is None else f"p{{{width:.2f}\\linewidth}}"

    stub = letter(block.stub_width, "l")
    return Latex("@{}" + stub + "".join(letter(column.width, "r") for column in block.columns) + "@{}")


@dataclass(frozen=True)
class Quantity:
    """A column of an estimate table: metric, read-out and how it is headed."""

    metric: str
    readout: str
    title: str
    unit: str = ""


# --- Tables 1 to 3: estimates -----------------------------------------------------------------------------------------


def table1(records: ReportRecords) -> Table:
    """Accuracy of each modality and of the variant's own joint prediction."""

    def columns(dataset: DatasetRecords) -> list[Quantity]:
        singles = [Quantity("accuracy", m, m) for m in dataset.modalities]
        return [*singles, Quantity("accuracy", "own", "own")]

    caption = (
        "Accuracy (%) of each modality by itself and of the variant's own joint prediction (own: the head's, unless "
        "the method derives another from it; all of them stand in the table of joint read-outs): mean [95 % interval] "
        f"for {POPULATIONS['both']} (crossed seeds × items). {_design(records)} "
        f"{held_fixed(records)} {_ties_sentence(records)} "
        "Bold: possibly best, since no rival beats it (one-sided 0.025, Holm over its rivals); what is measured with a "
        "wide interval stays bold."
    )
    return _estimate_table(records, "table1", "Accuracy", caption, columns)


def table2(records: ReportRecords) -> Table:
    """Jensen-Shannon divergence between the modalities' predictions."""

    def columns(dataset: DatasetRecords) -> list[Quantity]:
        found = [Quantity("js", "all", "raw", "nats"), Quantity("js_calibrated", "all", "calibrated", "nats")]
        if len(dataset.modalities) > 2:
            found.append(Quantity("js_pairwise", "all", "pairs", "nats"))
        return found

    caption = (
        "Jensen-Shannon divergence between the modalities' predictions (nats), raw and after one temperature per run "
        "and modality fitted on validation; pairs: mean over pairs of modalities. Mean ± half-width of the 95 % "
        f"interval for {POPULATIONS['both']}. {_design(records)} {held_fixed(records)} "
        f"{_ties_sentence(records)} Nothing is bold: neither direction is better by itself."
    )
    return _estimate_table(records, "table2", "Jensen-Shannon divergence", caption, columns)


def table3(records: ReportRecords) -> Table:
    """Entropy of each modality's predictions, and the ratio weak / strong under two conventions."""

    def columns(dataset: DatasetRecords) -> list[Quantity]:
        singles = [Quantity("entropy", m, m) for m in dataset.modalities]
        return [
            *singles,
            Quantity("entropy_ratio", "all", "ρ, reference"),
            Quantity("entropy_ratio_own", "all", "ρ, own"),
        ]

    reference = records.experiment.settings.reference_variant
    by = f"by the accuracy of {records.experiment.title(reference)}" if reference else "by a reference variant"
    caption = (
        "Entropy of each modality's predictions (nats) and ρ, the weaker modality's entropy over the stronger one's; "
        f"weaker and stronger {by} (reference) or by the variant's own accuracy (own). Mean ± half-width of the "
        f"95 % interval for {POPULATIONS['both']}. {_design(records)} {held_fixed(records)}"
    )
    return _estimate_table(records, "table3", "Entropy and its ratio", caption, columns)


def _estimate_table(
    records: ReportRecords,
    name: str,
    title: str,
    caption: str,
    columns: Callable[[DatasetRecords], list[Quantity]],
) -> Table:
    published = published_values(records.experiment)
    data: list[dict[str, object]] = []
    parts: list[tuple[DatasetRecords, list[Quantity], dict[str, Row]]] = []
    for dataset in records.datasets:
        quantities = columns(dataset)
        ties = [
            records.ties(dataset.id, q.metric, q.readout, METRICS[q.metric].better if q.metric in METRICS else None)
            for q in quantities
        ]
        places = [_places(records, dataset, quantity) for quantity in quantities]
        rows = {}
        unstable = _unstable(records, dataset) if name == "table1" else {}
        for variant in dataset.variants:
            cells = []
            for quantity, tie, place in zip(quantities, ties, places, strict=True):
                cell, record = _estimate(records, dataset, quantity, variant, tie, place, published)
                cells.append(cell)
                if record:
                    data.append(record)
            diverged, runs = dataset.diverged.get(variant, (0, 0))
            if diverged or any(cell.order is not None for cell in cells):
                found = [f"{diverged} of {runs} diverged"] if diverged else []
                note = "; ".join([*found, *unstable.get(variant, ())])
                rows[variant] = Row(records.experiment.title(variant), tuple(cells), variant, note)
        if rows:
            parts.append((dataset, quantities, rows))
    if any(cell.published for _, _, rows in parts for row in rows.values() for cell in row.cells):
        caption += " In parentheses or grey: the value that the paper prints."
    frame = pd.DataFrame(data)
    blocks = tuple(_blocks(records.experiment, parts))
    return Table(name, title, caption, blocks, frame, macros=macros_of(frame, estimate_macros))


def _unstable(records: ReportRecords, dataset: DatasetRecords) -> dict[str, list[str]]:
    """Variant -> that its seeds spread unusually far, of those whose seeds do."""
    values = dataset.values("accuracy", "own", records.experiment.settings.selection)
    spread = restless({str(variant): rows["value"].to_numpy() for variant, rows in values.groupby("variant")})
    return {
        v: [f"trained unstably: its seeds spread {times:.1f} times as far as its rivals'"]
        for v, times in spread.items()
    }


def _blocks(
    experiment: Experiment, parts: Sequence[tuple[DatasetRecords, list[Quantity], dict[str, Row]]]
) -> Iterable[Block]:
    """Datasets side by side while their columns fit the text width, else below each other."""
    pending: list[tuple[DatasetRecords, list[Quantity], dict[str, Row]]] = []
    for part in parts:
        if pending and sum(len(q) for _, q, _ in pending) + len(part[1]) > WIDEST:
            yield _block(experiment, pending)
            pending = []
        pending.append(part)
    if pending:
        yield _block(experiment, pending)


def _block(experiment: Experiment, parts: Sequence[tuple[DatasetRecords, list[Quantity], dict[str, Row]]]) -> Block:
    variants = [v for v in experiment.settings.variants if any(v in rows for _, _, rows in parts)]
    rows = []
    for variant in variants:
        cells: list[TableCell] = []
        notes = []
        for dataset, quantities, by_variant in parts:
            row = by_variant.get(variant)
            cells += row.cells if row else [TableCell()] * len(quantities)
            if row and row.note:
                notes.append(f"{dataset.title}: {row.note}" if len(parts) > 1 else row.note)
        rows.append(Row(experiment.title(variant), tuple(cells), variant, "; ".join(notes)))
    return Block(
        stub="Method",
        groups=tuple((dataset.title, len(quantities)) for dataset, quantities, _ in parts),
        columns=tuple(Column(q.title, q.unit) for _, quantities, _ in parts for q in quantities),
        rows=tuple(rows),
    )


def _places(records: ReportRecords, dataset: DatasetRecords, quantity: Quantity) -> int | None:
    """Decimals of a column: three significant digits of its typical number. None where the unit has fixed ones."""
    rows = [records.estimate(dataset.id, quantity.metric, quantity.readout, variant) for variant in dataset.variants]
    known = [row for row in rows if row is not None and pd.notna(row["estimate"])]
    if not known or scale_of(known[0]["unit"]).places is not None:
        return None
    return places_for([float(np.median([abs(row["estimate"]) for row in known]))])


def _estimate(
    records: ReportRecords,
    dataset: DatasetRecords,
    quantity: Quantity,
    variant: str,
    ties: Ties,
    places: int | None,
    published: dict[tuple[str, str, str, str], Published],
) -> tuple[TableCell, dict[str, object] | None]:
    row = records.estimate(dataset.id, quantity.metric, quantity.readout, variant)
    if row is None or pd.isna(row["estimate"]):
        return TableCell(note="no finished run"), None
    low, high = bound(row["low"]), bound(row["high"])
    shown = show(row["estimate"], low, high, row["unit"], places=places)
    printed = published.get((dataset.id, variant, quantity.metric, quantity.readout))
    seeds_row = records.estimate(dataset.id, quantity.metric, quantity.readout, variant, "seeds")
    note = f"{count(row['n_seeds'], 'seed')}, {count(row['n_items'], 'item')}"
    if low is None:
        note += f"; no interval: {row['notes']}" if row["notes"] else "; no interval"
    elif seeds_row is not None and not pd.isna(seeds_row["low"]):
        seeds = show(seeds_row["estimate"], seeds_row["low"], seeds_row["high"], row["unit"], places=places)
        note += f"; {seeds.spread} for {POPULATIONS['seeds']}"
    if printed:
        note += f"; {printed.source} prints {printed.text}"
    line = signature(row)
    cell = TableCell(
        text=shown.value,
        spread=shown.spread,
        letters=ties.letters.get(variant, ""),
        best=variant in ties.possibly_best and len(ties.possibly_best) < len(ties.letters),
        published=printed.text if printed else "",
        order=float(row["estimate"]),
        note=f"{note}; {line}",
    )
    record = {
        "dataset": dataset.id,
        "variant": variant,
        "title": records.experiment.title(variant),
        "metric": quantity.metric,
        "readout": quantity.readout,
        "unit": row["unit"],
        "estimate": row["estimate"],
        "low": row["low"],
        "high": row["high"],
        "alpha": row["alpha"],
        "population": row["population"],
        "selection": row["selection"],
        "n_seeds": row["n_seeds"],
        "n_diverged": row["n_diverged"],
        "n_items": row["n_items"],
        "n_groups": row["n_groups"],
        "tie_group": ties.letters.get(variant, ""),
        "possibly_best": variant in ties.possibly_best if ties.possibly_best else "",
        "published": printed.text if printed else "",
        "published_source": printed.source if printed else "",
        "notes": row["notes"],
        "signature": line,
    }
    return cell, record


# --- comparisons ------------------------------------------------------------------------------------------------------


def comparisons(records: ReportRecords) -> Table:
    """Each variant against the reference variant and against its best rival, in joint accuracy."""
    experiment = records.experiment
    reference = experiment.settings.reference_variant
    blocks, data = [], []
    for dataset in records.datasets:
        rows = []
        for role in ("reference", "best rival"):
            family = records.comparisons(dataset.id, "accuracy", "own", role)
            tests = int(family["p_adjusted"].notna().sum())
            rival = experiment.title(reference) if role == "reference" and reference else "the best rival"
            heading = f"against {rival} (Holm over {count(tests, 'test')})"
            for _, both in family.iterrows():
                seeds = _same(records, dataset.id, role, both, "seeds")
                rows.append(_comparison(experiment, heading, both, seeds))
                data += [_comparison_record(dataset.id, role, row) for row in (seeds, both) if row is not None]
        if rows:
            blocks.append(
                Block(
                    stub="Comparison",
                    groups=((dataset.title, 5),),
                    columns=(
                        Column("d", "pp"),
                        Column("seeds", "95 %, pp"),
                        Column("seeds and items", "95 %, pp"),
                        Column("sign-flip p", "floor"),
                        Column("Holm p"),
                    ),
                    rows=tuple(rows),
                )
            )
    against = f"{experiment.title(reference)} and with " if reference else ""
    caption = (
        f"Paired comparisons of joint accuracy, each variant with {against}its best rival (siblings excluded; the "
        "rival was picked on these items, which favours it). d: difference in percentage points, bold where Holm "
        f"p is at most 0.05, with its 95 % interval for {POPULATIONS['seeds']} and for "
        f"{POPULATIONS['both']}. Sign-flip p: test over seeds, in brackets the smallest p that this number of seeds "
        f"can reach. Holm p: two-sided t test for {POPULATIONS['both']}, corrected within the family that the "
        f"heading names. {_design(records)} {held_fixed(records)}"
    )
    frame = pd.DataFrame(data)
    macros = macros_of(frame, _comparison_macros)
    return Table("comparisons", "Who beats whom", caption, tuple(blocks), frame, macros=macros)


def _comparison_macros(record: Mapping[Hashable, Any]) -> dict[str, str]:
    shown = _shown_difference(record)
    stem = f"difference/{record['dataset']}/{record['a']}-vs-{record['b']}/{record['population']}"
    p = {f"{stem}/p-holm": show_p(record["p_adjusted"]), f"{stem}/p-sign-flip": show_p(record["sign_flip_p"])}
    return {stem: shown.value, **p, **around(stem, shown)}


def _shown_difference(record: Mapping[Hashable, Any]) -> Shown:
    return show(record["estimate"], bound(record["low"]), bound(record["high"]), str(record["unit"]), difference=True)


def _same(records: ReportRecords, dataset: str, role: str, row: pd.Series, population: str) -> pd.Series | None:
    """The row of the same comparison for another population."""
    rows = records.comparisons(dataset, row["metric"], row["readout"], role, population)
    found = rows[(rows["a"] == row["a"]) & (rows["b"] == row["b"])]
    return None if found.empty else found.iloc[0]


def _comparison(experiment: Experiment, heading: str, both: pd.Series, seeds: pd.Series | None) -> Row:
    shown = show(both["estimate"], bound(both["low"]), bound(both["high"]), both["unit"], difference=True)
    by_seeds = show(
        both["estimate"],
        None if seeds is None else bound(seeds["low"]),
        None if seeds is None else bound(seeds["high"]),
        both["unit"],
        difference=True,
    )
    source = both if seeds is None else seeds
    floor = source["sign_flip_floor"]
    flip = show_p(source["sign_flip_p"])
    decided = pd.notna(both["p_adjusted"]) and both["p_adjusted"] <= both["alpha"]
    line = "; ".join(part for part in (both["notes"], signature(both)) if part)
    cells = (
        TableCell(shown.value, order=_order(both["estimate"]), best=bool(decided), note=line),
        TableCell(by_seeds.interval or "–", order=_order(both["estimate"])),
        TableCell(shown.interval or "–", order=_order(both["estimate"])),
        TableCell(flip if pd.isna(floor) else f"{flip} ({show_p(floor)})", order=_order(source["sign_flip_p"])),
        TableCell(show_p(both["p_adjusted"]), order=_order(both["p_adjusted"]), note=both["family"] or ""),
    )
    a, b = experiment.title(both["a"]), experiment.title(both["b"])
    note = f"{int(both['n_diverged'])} diverged" if both["n_diverged"] else ""
    return Row(f"{a} − {b}", cells, both["a"], note, heading)


def _comparison_record(dataset: str, role: str, row: pd.Series) -> dict[str, object]:
    names = (
        "metric readout a b population pairing unit estimate low high alpha df p p_adjusted correction family effect "
        "effect_size sign_flip_p sign_flip_floor n_seeds n_diverged n_items n_groups notes"
    )
    columns = {name: row[name] for name in names.split()}
    return {"dataset": dataset, "against": role, **columns, "signature": signature(row)}


# --- verdicts ---------------------------------------------------------------------------------------------------------


def verdicts(records: ReportRecords) -> Table | None:
    """One row per claim: the verdict for new seeds and items, the one for new seeds, and the deciding number."""
    if records.verdicts is None:
        return None
    rows, data = [], []
    for verdict in records.judged:
        record = _verdict_record(verdict, records.components.get(verdict["deciding"]))
        cells = (
            TableCell(verdict["text"]),
            TableCell(verdict["verdict"], tone=verdict["verdict"], note=str(record["reason"]), best=True),
            TableCell(verdict["verdict_seeds"] or "–", tone=verdict["verdict_seeds"] or ""),
            TableCell(deciding_number(verdict), order=_order(verdict["estimate"]), note=str(record["signature"])),
        )
        rows.append(Row(verdict["claim"], cells))
        data.append(record)
    block = Block(
        stub="Claim",
        groups=(),
        columns=(
            Column("as stated", width=0.34),
            Column("verdict", width=0.12),
            Column("seeds only", width=0.12),
            Column("deciding number", width=0.16),
        ),
        rows=tuple(rows),
        stub_width=0.19,
    )
    alphas = [verdict["alpha"] for verdict in records.judged if verdict["verdict"] != "not testable"]
    testable, expected = len(alphas), sum(alphas) / 2
    caption = (
        "Verdicts on the claims. Verdict: for the claim's population, by default new seeds and new test items; seeds "
        "only: for new seeds on this test set. Decisions are one-sided at half the alpha; intervals are two-sided. "
        f"{testable} of {len(rows)} claims are testable here; were none of them true, {expected:.3g} at most would "
        f"be supported by chance on average. {held_fixed(records)}"
    )
    frame = pd.DataFrame(data)
    return Table("verdicts", "Claims and verdicts", caption, (block,), frame, macros=macros_of(frame, _verdict_macros))


def _verdict_macros(record: Mapping[Hashable, Any]) -> dict[str, str]:
    shown, stem = _shown_difference(record), f"verdict/{record['claim']}"
    return {stem: str(record["verdict"]), f"{stem}/number": shown.value, **around(stem, shown)}


def _verdict_record(verdict: Mapping[str, Any], deciding: Mapping[str, Any] | None) -> dict[str, object]:
    """A verdict for programs: its values, and its sentences with the labels of the experiment file."""
    names = (
        "claim text document section proxy_for origin quantifier relation population verdict verdict_seeds estimate "
        "low high margin unit alpha n_seeds n_items n_groups deciding n_components claims_sha256 "
        "claims_changed_after_training"
    )
    estimated = deciding is not None and verdict["estimate"] is not None
    return {
        **{name: verdict[name] for name in names.split()},
        "component": "" if deciding is None else wording.component(verdict, deciding),
        "reason": wording.reason(verdict, deciding),
        "needed": verdict["data_needed"] or wording.needed(verdict),
        "influence": wording.influence(verdict),
        "line": wording.line(verdict, deciding),
        "signature": signature(deciding) if estimated and deciding is not None else "",
    }


def deciding_number(verdict: Mapping[str, Any]) -> str:
    """ "d = +0.31 pp [−0.40, 1.02], margin 0" as a claim's card and table print it; a dash where there is none."""
    if pd.isna(verdict["estimate"]):
        return "–"
    shown = show(verdict["estimate"], bound(verdict["low"]), bound(verdict["high"]), verdict["unit"], difference=True)
    unit = scale_of(verdict["unit"]).difference_unit
    text = " ".join(part for part in (shown.value, unit, shown.interval) if part)
    if pd.notna(verdict["margin"]) and verdict["margin"] != 0:
        margin = show(verdict["margin"], None, None, verdict["unit"], difference=True).value
        text += f", margin {margin.replace('+', '±') if verdict['relation'] == 'equal' else margin}"
    return text


# --- choosing the epoch -----------------------------------------------------------------------------------------------

SELECTIONS = {"last": "last", "best_val": "best validation", "best_test_oracle": "best on test"}


def selection(records: ReportRecords) -> Table:
    """Joint accuracy under the three rules of choosing an epoch; what choosing on the test set adds."""
    blocks, data = [], []
    for dataset in records.datasets:
        means = {
            rule: dataset.values("accuracy", "own", rule).groupby("variant", sort=False)["value"].agg(["mean", "count"])
            for rule in SELECTIONS
        }
        rows = []
        for variant in dataset.variants:
            if not all(variant in means[rule].index for rule in SELECTIONS):
                continue
            found = {rule: float(means[rule]["mean"][variant]) for rule in SELECTIONS}
            optimism = found["best_test_oracle"] - found["best_val"]
            n = int(means["last"]["count"][variant])
            named = {"metric": "accuracy", "read_out": "own", "of": variant, "dataset": dataset.id}
            facts = {**named, "interval": "none", "estimator": "mean over seeds", "seeds": n}
            cells = [
                TableCell(
                    show(value, None, None, "proportion").value,
                    order=value,
                    note=signed(**facts, selection=rule, correction="none"),
                )
                for rule, value in found.items()
            ]
            line = signed(**facts, selection=", ".join(found), correction="none")
            shown = show(optimism, None, None, "proportion", difference=True)
            cells.append(TableCell(shown.value, order=optimism, note=line))
            rows.append(Row(records.experiment.title(variant), tuple(cells), variant))
            record = {"dataset": dataset.id, "variant": variant, "n_seeds": n, **found, "optimism": optimism}
            data.append({**record, "signature": line})
        if rows:
            columns = (*(Column(title, "%") for title in SELECTIONS.values()), Column("optimism", "pp"))
            blocks.append(Block("Method", ((dataset.title, 4),), columns, tuple(rows)))
    caption = (
        "Joint accuracy when each run reports its last epoch, the epoch that was best on validation, or the epoch "
        "that was best on the test items; mean over seeds. Optimism: what choosing on the test items adds to "
        "choosing on validation (negative at times where each modality chooses its own epoch). The last rule is a "
        f"diagnostic and never feeds a claim. {_sizes(records)}"
    )
    frame = pd.DataFrame(data)
    macros = macros_of(frame, _selection_macros)
    return Table("selection", "Choosing the epoch", caption, tuple(blocks), frame, macros=macros)


def _selection_macros(record: Mapping[Hashable, Any]) -> dict[str, str]:
    stem = f"selection/{record['dataset']}/{record['variant']}"
    rules = {f"{stem}/{rule}": show(record[rule], None, None, "proportion").value for rule in SELECTIONS}
    return {**rules, f"{stem}/optimism": show(record["optimism"], None, None, "proportion", difference=True).value}


# --- shared -----------------------------------------------------------------------------------------------------------


def numbers(made: Sequence[Table]) -> dict[str, str]:
    """Every number of the tables by name, for LaTeX macros."""
    return {name: text for table in made for name, text in table.macros.items()}


def macros_of(data: pd.DataFrame, of: Callable[[dict[Hashable, Any]], dict[str, str]]) -> dict[str, str]:
    """The macros of a table: those that `of` makes of each record of its data."""
    return {name: text for record in data.to_dict("records") for name, text in of(record).items()}


def around(stem: str, shown: Shown) -> dict[str, str]:
    """The macros of an interval: stem/pm (half-width), stem/low and stem/high; none where there is no interval."""
    if not shown.low:
        return {}
    return {f"{stem}/pm": shown.half_width, f"{stem}/low": shown.low, f"{stem}/high": shown.high}


def estimate_macros(record: Mapping[Hashable, Any]) -> dict[str, str]:
    """metric/dataset/variant/read-out, with its sizes and interval."""
    shown = show(record["estimate"], bound(record["low"]), bound(record["high"]), str(record["unit"]))
    stem = "/".join(str(record[key]) for key in ("metric", "dataset", "variant", "readout"))
    sizes = {f"{stem}/n-seeds": f"{record['n_seeds']}", f"{stem}/n-items": f"{record['n_items']:,}"}
    return {stem: shown.value, **sizes, **around(stem, shown)}


def held_fixed(records: ReportRecords) -> str:
    """What an interval holds fixed, and which variants trained on other items than the rest."""
    if not records.cut_apart:
        return FIXED
    own = "its own" if len(records.cut_apart) == 1 else "their own"
    verb = "cuts" if len(records.cut_apart) == 1 else "cut"
    return (
        f"{FIXED} They are not alike: {joined(records.cut_apart)} {verb} {own} validation part off the train list, as "
        "the release does, so that comparisons with the others compare training sets too."
    )


def _design(records: ReportRecords) -> str:
    """Sizes, and at which epoch every run was taken; unknown of runs made elsewhere."""
    settings = records.experiment.settings
    if settings.imported is not None:
        return _sizes(records)
    return f"{_sizes(records)} Epoch chosen: {SELECTIONS.get(settings.selection, settings.selection)}."


def _sizes(records: ReportRecords) -> str:
    """ "n = 12 seeds, 1,197 test items." as the evidence says, dataset by dataset where they differ."""
    found: dict[str, list[str]] = {}
    for dataset in records.datasets:
        rows = [records.estimate(dataset.id, "accuracy", "own", variant) for variant in dataset.variants]
        known = [row for row in rows if row is not None]
        if not known:
            continue
        seeds = sorted({int(row["n_seeds"]) for row in known})
        text = f"{seeds[0]} to {seeds[-1]} seeds" if len(seeds) > 1 else count(seeds[0], "seed")
        text += f", {count(known[0]['n_items'], 'test item')}"
        if pd.notna(known[0]["n_groups"]):
            text += f" in {count(known[0]['n_groups'], 'group')}"
        found.setdefault(text, []).append(dataset.title)
    if len(found) == 1:
        return f"n\u00a0=\u00a0{next(iter(found))}."
    return " ".join(f"{joined(titles)}: n\u00a0=\u00a0{text}." for text, titles in found.items())


def _ties_sentence(records: ReportRecords) -> str:
    return (
        "Variants that share a letter in a column are not distinguished (all pairs, paired over seeds and items, "
        "two-sided 0.05 after Holm within the column)."
    )


def bound(value: float | None) -> float | None:
    """A number of a data frame, None where it is missing."""
    return None if value is None or pd.isna(value) else float(value)


def _order(value: float | None) -> float | None:
    return bound(value)
