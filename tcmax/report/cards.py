"""Claims as a reader meets them: one card per claim, and the sentence at the top of the page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tcmax.audit import wording
from tcmax.audit.published import audit_table
from tcmax.evidence.wording import Names
from tcmax.experiment.grid import Experiment
from tcmax.metrics import METRICS
from tcmax.records.kinds import VERDICT_WORDS
from tcmax.report.numbers import count, fixed, scale_of, show
from tcmax.report.published import published_tables
from tcmax.report.report_records import ReportRecords
from tcmax.report.tables import POPULATIONS, deciding_number


@dataclass(frozen=True)
class Mark:
    """One line of an interval plot, in percent of its width. decides: the component that the verdict rests on."""

    name: str
    text: str
    low: float
    estimate: float
    high: float
    decides: bool


@dataclass(frozen=True)
class Plot:
    """Intervals on one axis. margins: where the claim's margin lies; zero: where 0 does; in percent of the width."""

    marks: tuple[Mark, ...]
    margins: tuple[float, ...]
    zero: float
    ticks: tuple[tuple[float, str], ...]
    unit: str


@dataclass(frozen=True)
class Printed:
    """What the printed table behind a claim says by itself."""

    source: str
    verdict: str
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Card:
    """A claim with everything that decides it. measured: the metric and read-out of the deciding number."""

    id: str
    text: str
    source: str
    origin: str
    proxy_for: str
    verdict: str
    verdict_seeds: str
    deciding: str
    measured: str
    component: str
    sizes: str
    population: str
    quantifier: str
    relation: str
    reason: str
    needed: str
    influence: str
    plot: Plot | None
    components: Plot | None
    printed: Printed | None


def cards(records: ReportRecords) -> list[Card]:
    """The claims in the order of their file."""
    return [_card(records, verdict) for verdict in records.judged]


def headline(made: Sequence[Card], settings: str = "") -> str:
    """The sentence that matters most: the verdict on the first claim of the file, with its deciding number.

    settings: for which it holds, in words (`tcmax.experiment.tuning.in_words`).
    """
    if not made:
        return ""
    first = made[0]
    if first.verdict == "not testable":
        return f"“{first.text}” cannot be tested here: {first.reason.rstrip('.')}."
    numbers = ", ".join(part for part in (first.sizes, first.population) if part)
    numbers = "; ".join(part for part in (numbers, settings) if part)
    asked = f"Asked of these data in place of {first.proxy_for}: " if first.proxy_for else ""
    held = {"supported": "is supported", "contradicted": "is contradicted", "undetermined": "stays undetermined"}
    return f"{asked}“{first.text.rstrip('.')}” {held[first.verdict]}: {first.component} {first.deciding} ({numbers})."


def tally(made: Sequence[Card]) -> dict[str, int]:
    """Verdict word -> number of claims, all four words."""
    words = [card.verdict for card in made]
    return {word: words.count(word) for word in VERDICT_WORDS}


def names_of(experiment: Experiment) -> Names:
    """Variants and datasets as the tables call them, with true minus signs."""
    return Names(experiment.title, experiment.dataset_title, minus=" − ", sign="−")


def _card(records: ReportRecords, verdict: dict[str, Any]) -> Card:
    names = names_of(records.experiment)
    deciding = records.components.get(verdict["deciding"])
    sizes = [count(verdict["n_seeds"], "seed"), count(verdict["n_items"], "test item")]
    if verdict["n_groups"] is not None:
        sizes.append(count(verdict["n_groups"], "group"))
    rows = _components(records, verdict)
    return Card(
        id=verdict["claim"],
        text=verdict["text"],
        source=wording.source(verdict),
        origin=verdict["origin"],
        proxy_for=verdict["proxy_for"] or "",
        verdict=verdict["verdict"],
        verdict_seeds=verdict["verdict_seeds"] or "",
        deciding=deciding_number(verdict) if verdict["estimate"] is not None else "",
        measured=_measured(deciding) if verdict["estimate"] is not None else "",
        component="" if deciding is None else wording.component(verdict, deciding, names),
        sizes=", ".join(sizes) if verdict["n_seeds"] is not None else "",
        population=POPULATIONS.get(verdict["population"], ""),
        quantifier="" if verdict["quantifier"] == "none" else verdict["quantifier"],
        relation="" if verdict["relation"] == "none" else verdict["relation"],
        reason=wording.reason(verdict, deciding, names),
        needed=verdict["data_needed"] or wording.needed(verdict, names),
        influence=wording.influence(verdict, names),
        plot=_plot(records, verdict, [row for row in rows if row["id"] == verdict["deciding"]]),
        components=_plot(records, verdict, rows) if len(rows) > 1 else None,
        printed=_printed(verdict),
    )


def _measured(row: Mapping[str, Any] | None) -> str:
    """ "Accuracy of right alone", as a comparison measures it; an association names its own metrics."""
    if row is None or row["b"] is None:
        return ""
    title, readout = METRICS[row["metric"]].title, row["readout"]
    if readout == "all" or row["b_readout"] is not None:
        return title
    return f"{title} of the joint prediction" if readout in ("own", "joint") else f"{title} of {readout} alone"


def _components(records: ReportRecords, verdict: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Evidence rows of a claim's components for its population, those that have an interval."""
    rows = [records.components[identity] for identity in verdict["evidence"] if identity in records.components]
    return [
        row
        for row in rows
        if (row["population"], row["treatment"]) == (verdict["population"], "removed") and row["low"] is not None
    ]


def _plot(records: ReportRecords, verdict: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> Plot | None:
    """The intervals of some components, on an axis that holds them, 0 and the margin."""
    if not rows:
        return None
    factor = scale_of(verdict["unit"]).factor
    margin = factor * float(verdict["margin"])
    margins = (-margin, margin) if verdict["relation"] == "equal" else (margin,)
    values: list[float] = [*(factor * row[end] for row in rows for end in ("low", "high")), *margins, 0.0]
    low, high = min(values), max(values)
    room = 0.04 * (high - low) or 1.0
    low, high = low - room, high + room

    def place(value: float) -> float:
        result: float = round(100 * (value - low) / (high - low), 2)
        return result

    names = names_of(records.experiment)
    marks = []
    for row in rows:
        shown = show(row["estimate"], row["low"], row["high"], verdict["unit"], difference=True)
        where = "all datasets" if row["dataset"] is None else names.dataset(row["dataset"])
        sides = (names.arm(row[side], row[f"{side}_variants"]) for side in ("a", "b") if row["b"] is not None)
        name = ": ".join(filter(None, (where, names.minus.join(sides))))
        left, middle, right = (place(factor * float(row[key])) for key in ("low", "estimate", "high"))
        decides = row["id"] == verdict["deciding"]
        marks.append(Mark(name, f"{shown.value} {shown.interval}", left, middle, right, decides))
    step = _step(high - low)
    first = int(np.ceil(low / step))
    places = max(0, -int(np.floor(np.log10(step))))
    ticks = tuple((place(k * step), fixed(k * step, places)) for k in range(first, int(np.floor(high / step)) + 1))
    unit = scale_of(verdict["unit"]).difference_unit
    return Plot(tuple(marks), tuple(map(place, margins)), place(0.0), ticks, unit)


def _step(span: float) -> float:
    """A round distance of ticks: 1, 2 or 5 times a power of ten, about four over the span."""
    raw = span / 4
    power = 10.0 ** np.floor(np.log10(raw))
    return float(next(k * power for k in (1, 2, 5, 10) if k * power >= raw))


def _printed(verdict: Mapping[str, Any]) -> Printed | None:
    """The audit of the printed table that a published claim stands for."""
    if verdict["origin"] != "published" or verdict["printed_table"] is None:
        return None
    named = verdict["document"], verdict["printed_table"]
    for table in published_tables():
        if (table.metadata.document, table.metadata.table) == named:
            return _of_table(table.path, ", ".join(named), verdict["relation"] == "largest of")
    return None


_audit = cache(audit_table)


def _of_table(path: Path, source: str, about_order: bool) -> Printed:
    audit = _audit(path)
    orders = audit.of_kind("sentence_order")
    unspread = audit.of_kind("no_spread")
    disagrees = any(finding.outcome == "disagrees" for finding in orders)
    words = ["printed order fails" if disagrees else "printed order holds"] if orders and about_order else []
    words.append("beyond the print not testable: no ±" if unspread else "")
    findings = (*orders, *audit.of_kind("wins_within_noise"), *unspread)
    return Printed(source, "; ".join(filter(None, words)), tuple(finding.sentence for finding in findings))
