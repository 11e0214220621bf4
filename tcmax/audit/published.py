"""The audit of a published table from its printed numbers alone: `tcmax audit published TABLE.csv`.

`audit_table` reads a table with the metadata beside it and runs every check; `to_text` and `to_json` render what it
found. Nothing here can see seeds, items or predictions: where a statistical verdict would need them, the audit says
*not testable* and what would decide it.
"""

import json
import math
import textwrap
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path

from tcmax.audit.checks import CHECKS
from tcmax.audit.findings import Finding, Strength
from tcmax.audit.printed_tables import Metadata, PublishedTable, load_table
from tcmax.audit.sentences import check_sentence
from tcmax.records.files import sha256, write_text

WIDTH = 100


@dataclass(frozen=True)
class PublishedAudit:
    """Everything one audit found.

    table: file name; sha256: of the table's bytes; about: lines that say what was read; findings: in the order of the
    checks; limits: what these numbers cannot say.
    """

    table: str
    sha256: str
    title: str
    about: tuple[str, ...]
    findings: tuple[Finding, ...]
    limits: tuple[str, ...]

    def of_kind(self, kind: str) -> tuple[Finding, ...]:
        """The findings of one kind."""
        return tuple(finding for finding in self.findings if finding.kind == kind)

    def of_item(self, item: str) -> tuple[Finding, ...]:
        """The findings that carry one item number."""
        return tuple(finding for finding in self.findings if finding.item == item)


def _about(table: PublishedTable) -> tuple[str, ...]:
    facts = table.metadata
    filled = [cell for cell in table.cells if cell.value is not None]
    columns = tuple(dict.fromkeys(cell.ref.column for cell in table.cells))
    seeds = sorted({cell.n_seeds for cell in table.cells if cell.n_seeds})
    dashes = len(table.cells) - len(filled)
    lines = [
        f"{len(table.cells)} cells ({len(table.methods)} methods, {len(table.datasets)} datasets)"
        + (f", {dashes} without a number" if dashes else ""),
        "metric: "
        + "; ".join(
            dict.fromkeys(
                f"{metric.name} ({metric.unit}, {metric.better} is better)" for metric in map(table.metric, columns)
            )
        ),
        "runs per cell: "
        + (", ".join(map(str, seeds)) or "not stated")
        + (f" ({facts.n_seeds_source})" if facts.n_seeds_source else ""),
    ]
    if any(cell.pm for cell in table.cells):
        source = f" ({facts.spread.source})" if facts.spread.source else ""
        lines.append(f"±: {facts.spread.meaning}{source}")
    if facts.assumed_seed_sd is not None:
        assumed_sd = facts.assumed_seed_sd
        lines.append(f"assumed sd over runs: {assumed_sd.low:g} to {assumed_sd.high:g} ({assumed_sd.source})")
    sizes = {
        cell.ref.dataset: cell.n_items
        for cell in table.cells
        if cell.n_items and table.metric(cell.ref.column).item_mean
    }
    if sizes:
        assumed = {name for name, size in facts.test_sizes.items() if size.assumed}
        lines.append(
            "test items: "
            + ", ".join(f"{name} {n}{' (assumed)' if name in assumed else ''}" for name, n in sizes.items())
        )
    if facts.ours:
        lines.append("own rows: " + ", ".join(facts.ours))
    if facts.note:
        lines.append("note: " + facts.note)
    return tuple(lines)


def _limits(table: PublishedTable) -> tuple[str, ...]:
    facts = table.metadata
    means = [cell for cell in table.cells if cell.value is not None and table.metric(cell.ref.column).item_mean]
    limits = []
    if any(cell.pm is None for cell in table.cells):
        limits.append(
            "New seeds and new items: not testable for cells without a ±; the break-even values say how large noise "
            "would have to be."
        )
    if any(cell.pm is not None for cell in table.cells):
        limits.append(
            "A ± over runs speaks of new seeds on this test set; new test items are not testable without item scores."
        )
        if facts.spread.meaning == "unstated":
            limits.append("What ± means is not stated: all three readings are shown and none is marked.")
    missing = tuple(dict.fromkeys(cell.ref.dataset for cell in means if cell.n_items is None))
    if missing:
        limits.append(f"No test size for {', '.join(missing)}: no item noise and no counts there.")
    if any(cell.n_seeds is None for cell in table.cells):
        limits.append("The number of runs is not stated for some cells: no seed arithmetic there.")
    if not facts.ours:
        limits.append(
            "Own rows are not declared: the best row is held against the runner-up, a comparison chosen after the fact."
        )
    if facts.metric is None and not facts.metrics and means:
        limits.append("The metric is not declared: values are taken as accuracies, higher is better.")
    limits.append(
        "The training set, the split and the tuning effort of each row are taken as given; they can matter more than "
        "any noise above."
    )
    return tuple(limits)


def audit_table(csv: Path, metadata: Path | Metadata | None = None) -> PublishedAudit:
    """Audit one published table from its printed numbers and the metadata beside it.

    csv: long format, see `tcmax.audit.printed_tables`. metadata: path, object, or None for the file of the same name
    ending in .yaml, if there is one. Raises TcmaxError for any defect of either file.
    """
    table = load_table(csv, metadata)
    findings = [finding for sentence in table.metadata.sentences for finding in check_sentence(table, sentence)]
    findings += [finding for check in CHECKS for finding in check(table)]
    facts = table.metadata
    title = ", ".join(part for part in (facts.document, facts.table) if part) or table.path.name
    return PublishedAudit(
        table=table.path.name,
        sha256=sha256(table.path),
        title=title,
        about=_about(table),
        findings=tuple(finding.labelled(facts.items) for finding in findings),
        limits=_limits(table),
    )


def run(table: Path, metadata: Path | None = None, out: Path | None = None) -> PublishedAudit:
    """Audit `table` and, if `out` is given, write the report there: JSON for a name ending in .json, else text."""
    audit = audit_table(table, metadata)
    if out is not None:
        write_text(out, to_json(audit) if Path(out).suffix == ".json" else to_text(audit))
    return audit


def to_json(audit: PublishedAudit) -> str:
    """The audit as JSON with sorted keys; numbers that are not finite become null."""
    content = asdict(audit)
    for finding in content["findings"]:
        finding["numbers"] = {
            name: value if math.isfinite(value) else None for name, value in finding["numbers"].items()
        }
    return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def wrapped(text: str, first: str, rest: str) -> list[str]:
    """Lines of at most WIDTH columns, the first with its own indent."""
    return textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )


def _bullets(findings: Iterable[Finding], indent: str = "  ") -> list[str]:
    lines = []
    for finding in findings:
        label = f"{finding.item or '-':<4} "
        lines += wrapped(finding.sentence, indent + label, indent + " " * 5)
    return lines


def _gap_lines(findings: tuple[Finding, ...]) -> list[str]:
    """Gaps against item noise and seed spread: who against whom, then the numbers."""
    lines = [f"  {'gap (within rounding)':>34}{'items':>10}{'SE':>9}{'gap/SE':>10}{'discord.':>13}{'seed sd':>11}"]
    for finding in findings:
        n = finding.numbers
        better, other = finding.cells
        first, second = finding.values
        own = f" (better of {n['own_rows']:.0f} own rows)" if n["own_rows"] > 1 else ""
        lines += wrapped(
            f"{better.dataset}, {better.column}: {better.method} {first}{own} against {other.method} {second}; "
            f"printed order {finding.computed}",
            "  ",
            "    ",
        )
        places = finding.decimals
        span = f"{n['gap']:+.{places}f} ({n['gap_low']:.{places}f} to {n['gap_high']:.{places}f})"
        row = f"  {span:>34}"
        if "se" in n:
            below = "*" if n["discordance_percent"] < abs(n["gap_percent"]) else " "
            row += f"{n['items']:>10.1f}{n['se']:>9.2f}{n['gap_in_se']:>10.2f}"
            row += f"{n['discordance_percent']:>10.3g} %{below}"
        else:
            row += f"{'-':>10}{'-':>9}{'-':>10}{'-':>13}"
        row += f"{n['break_even_seed_sd']:>11.3g}" if "break_even_seed_sd" in n else f"{'-':>11}"
        lines.append(row)
    if any("se" in finding.numbers for finding in findings):
        lines += wrapped(
            "SE: binomial standard error of one accuracy on the test items. discord.: two single runs that disagree on "
            "a larger share of items cannot reach 5 %; with * it lies below the gap itself, so none can at the printed "
            "gap.",
            "  ",
            "  ",
        )
    if any("break_even_seed_sd" in finding.numbers for finding in findings):
        lines += wrapped(
            "seed sd: a larger common standard deviation over runs puts the gap out of reach of a Welch test.",
            "  ",
            "  ",
        )
    return lines


def _spread_lines(findings: tuple[Finding, ...]) -> list[str]:
    lines = []
    previous = None
    for finding in findings:
        if finding.cells != previous:
            lines += wrapped(f"{finding.cells[0]} against {finding.cells[1].method}: {finding.printed}", "  ", "    ")
            previous = finding.cells
        lines += wrapped(finding.sentence, "    ", "      ")
    return lines


def _worth_lines(audit: PublishedAudit) -> list[str]:
    lines = []
    for cells, of_cells in groupby(audit.of_kind("exaggeration"), key=lambda finding: finding.cells):
        findings = list(of_cells)
        gap = findings[0].numbers["gap"]
        places = findings[0].decimals
        lines += wrapped(f"{cells[0]} against {cells[1].method}: printed {gap:+.{places}f}", "  ", "    ")
        for finding in findings:
            lines += wrapped(finding.sentence, "    ", "      ")
    if lines:
        lines += wrapped("Half is an assumption, not an estimate; only runs vary, on this test set.", "  ", "  ")
    return lines


def to_text(audit: PublishedAudit) -> str:
    """The audit as plain text, at most 100 columns wide: what does not add up first, what cannot be said last."""
    lines = [f"AUDIT OF {audit.table}: {audit.title}", "=" * WIDTH]
    for entry in audit.about:
        lines += wrapped(entry, "", "  ")
    lines.append(f"sha256 {audit.sha256[:16]}")

    def section(title: str, body: list[str]) -> None:
        if body:
            lines.extend(["", title, "-" * len(title), *body])

    tabled = {"gap", "spread_test", "exaggeration", "denominator", "denominator_scan"}
    disagreeing = [f for f in audit.findings if f.outcome == "disagrees" and f.kind not in tabled]
    strengths: tuple[tuple[Strength, str], ...] = (
        ("certain", "Does not add up: certain (arithmetic on the print)"),
        ("likely", "Does not add up: likely (rests on an assumption that is named)"),
        ("weak", "Does not add up: weak (suggestive only)"),
    )
    for strength, title in strengths:
        section(title, _bullets(f for f in disagreeing if f.strength == strength))
    if gaps := audit.of_kind("gap"):
        section("Gaps against noise", _gap_lines(gaps) + _bullets(audit.of_kind("wins_within_noise")))
    section("Tests from the printed spreads", _spread_lines(audit.of_kind("spread_test")))
    section("Were the true gain half the printed one (type M)", _worth_lines(audit))
    section(
        "What the digits say about the test size",
        _bullets((*audit.of_kind("denominator"), *audit.of_kind("denominator_scan"))),
    )
    shown = tabled | {"wins_within_noise"}
    rest = [f for f in audit.findings if f.kind not in shown and f not in disagreeing]
    section("Also measured", _bullets(f for f in rest if f.outcome == "measured"))
    section("Checks without power", _bullets(f for f in rest if f.outcome == "silent"))
    section("Adds up", _bullets(f for f in rest if f.outcome == "agrees"))
    section(
        "What these numbers cannot say", [line for limit in audit.limits for line in wrapped(limit, "  - ", "    ")]
    )
    return "\n".join(lines) + "\n"
