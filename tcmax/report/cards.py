"""Claims as a reader meets them: one card per claim, and the sentence at the top of the page."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from tcmax.audit.published import audit_table
from tcmax.audit.schema import Claim, load_claims
from tcmax.experiment.grid import Experiment
from tcmax.experiment.paths import claims_path
from tcmax.metrics import METRICS
from tcmax.records.files import sha256
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
    if records.verdicts is None:
        return []
    declared = _declared(records)
    return [_card(records, verdict, declared.get(verdict["claim"])) for _, verdict in records.verdicts.iterrows()]


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


def _declared(records: ReportRecords) -> dict[str, Claim]:
    """Claims by id, when the file is still the one that was judged."""
    path = claims_path(records.experiment)
    if path is None or not path.is_file() or records.verdicts is None or records.verdicts.empty:
        return {}
    if sha256(path) != records.verdicts["claims_sha256"].iloc[0]:
        return {}
    return {claim.id: claim for claim in load_claims(path, records.experiment).claims}


def _card(records: ReportRecords, verdict: pd.Series, declared: Claim | None) -> Card:
    def text(name: str) -> str:
        return "" if pd.isna(verdict[name]) else str(verdict[name])

    sizes = [count(verdict["n_seeds"], "seed"), count(verdict["n_items"], "test item")]
    if pd.notna(verdict["n_groups"]):
        sizes.append(count(verdict["n_groups"], "group"))
    tested = pd.notna(verdict["n_seeds"])
    components = _components(records, verdict)
    proxy_for = (declared.proxy_for or "") if declared else ""
    return Card(
        id=verdict["claim"],
        text=text("text"),
        source=text("source").removesuffix(f", proxy for {proxy_for}"),
        origin=text("origin"),
        proxy_for=proxy_for,
        verdict=verdict["verdict"],
        verdict_seeds=text("verdict_seeds"),
        deciding=deciding_number(verdict) if pd.notna(verdict["estimate"]) else "",
        measured=_measured(records.deciding(verdict)),
        component=titled(records.experiment, text("blocking")),
        sizes=", ".join(sizes) if tested else "",
        population=POPULATIONS.get(text("population"), ""),
        quantifier="" if text("quantifier") == "none" else text("quantifier"),
        relation="" if text("relation") == "none" else text("relation"),
        reason=titled(records.experiment, text("reason")),
        needed=titled(records.experiment, text("needed")).removeprefix("would be tested by: "),
        influence=titled(records.experiment, text("influence")),
        plot=_plot(records, verdict, components[components["decides"]]),
        components=_plot(records, verdict, components) if len(components) > 1 else None,
        printed=_printed(declared),
    )


def _measured(row: pd.Series | None) -> str:
    """ "Accuracy of right alone", as a comparison measures it; an association names its own metrics."""
    if row is None or pd.isna(row["b"]):
        return ""
    title, readout = METRICS[row["metric"]].title, row["readout"]
    if readout == "all" or pd.notna(row["b_readout"]):
        return title
    return f"{title} of the joint prediction" if readout in ("own", "joint") else f"{title} of {readout} alone"


def titled(experiment: Experiment, text: str) -> str:
    """Text of the records with variants and datasets called as in the tables, and minus signs as there."""
    names = {label: experiment.title(label) for label in experiment.settings.variants}
    names |= {dataset: experiment.dataset_title(dataset) for dataset in experiment.settings.datasets}
    pattern = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    text = re.sub(rf"(?<![\w.-])(?:{pattern})(?![\w-])", lambda match: names[match[0]], text)
    return re.sub(r"(?<![\w.-])-(?=\d|tau)", "−", text.replace(" minus ", " − "))


def _components(records: ReportRecords, verdict: pd.Series) -> pd.DataFrame:
    """Evidence rows of a claim's components for its population; decides: the one that the verdict prints."""
    if records.claim_evidence is None:
        return pd.DataFrame({"decides": []}, dtype=bool)
    e = records.claim_evidence
    rows = e[e["id"].isin(set(verdict["evidence"])) & (e["population"] == verdict["population"])]
    rows = rows[~rows["id"].str.endswith("|at chance")].dropna(subset=["estimate", "low", "high"])
    same = np.isclose(rows["estimate"], verdict["estimate"]) & np.isclose(rows["low"], verdict["low"])
    return rows.assign(decides=same)


def _plot(records: ReportRecords, verdict: pd.Series, rows: pd.DataFrame) -> Plot | None:
    """The intervals of some components, on an axis that holds them, 0 and the margin."""
    if rows.empty:
        return None
    factor = scale_of(verdict["unit"]).factor
    margin = factor * float(verdict["margin"])
    margins = (-margin, margin) if verdict["relation"] == "equal" else (margin,)
    values = [*(factor * rows["low"]), *(factor * rows["high"]), *margins, 0.0]
    low, high = min(values), max(values)
    room = 0.04 * (high - low) or 1.0
    low, high = low - room, high + room

    def place(value: float) -> float:
        return round(100 * (value - low) / (high - low), 2)

    marks = []
    for _, row in rows.iterrows():
        shown = show(row["estimate"], row["low"], row["high"], verdict["unit"], difference=True)
        where = records.experiment.dataset_title(row["dataset"]) if row["dataset"] is not None else "all datasets"
        pair = row["a"] if row["b"] is None else f"{row['a']} minus {row['b']}"
        name = f"{where}: {titled(records.experiment, pair)}" if row["b"] is not None else where
        left, middle, right = (place(factor * float(row[key])) for key in ("low", "estimate", "high"))
        marks.append(Mark(name, f"{shown.value} {shown.interval}", left, middle, right, bool(row["decides"])))
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


def _printed(declared: Claim | None) -> Printed | None:
    """The audit of the printed table that a published claim stands for, by document and table number."""
    if declared is None or declared.origin != "published":
        return None
    named = re.findall(r"Tables? (\d+)", f"{declared.proxy_for or ''} {declared.source.section}")
    if not named:
        return None
    for table in published_tables():
        metadata = table.metadata
        if metadata.document == declared.source.document and metadata.table == f"Table {named[0]}":
            return _of_table(table.path, f"{metadata.document}, {metadata.table}", declared.relation == "largest of")
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
