"""Judging claims about printed tables: what the digits say, and what no digits can say.

Each claim gets three answers side by side. *Printed table*: the order holds, fails, or is a tie within rounding; that
is arithmetic. *New seeds on this test set*: one of the four verdict words where spreads are printed, by Welch's test
with every rounding read against the decision, else *not testable* with the break-even values. *New seeds and new
items*: never testable from print. What would test it is said with each claim.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from tcmax.audit.checks import SpreadTest, number, spread_tests
from tcmax.audit.noise import GapNoise, break_even_seed_sd, gap_noise
from tcmax.audit.paper_claims import PaperClaim, PaperClaims, better_first, load_paper_claims, places_of, sides_of
from tcmax.audit.printed_tables import CellRef, PrintedCell, PublishedTable
from tcmax.audit.published import WIDTH, wrapped
from tcmax.audit.rounding import Interval, Order, parse_printed
from tcmax.audit.sentences import same_number
from tcmax.audit.summaries import seed_sd
from tcmax.audit.verdicts import AllOf, AnyOf, Leaf, Node, Word, decide
from tcmax.errors import TcmaxError
from tcmax.records import kinds
from tcmax.records.files import write_text
from tcmax.seeding import generator
from tcmax.stats.association import kendall

PRINTED_WORDS = ("holds", "fails", "tie within rounding")
MIN_RUNS = 3
_RANK: dict[Order, int] = {"fails": 0, "tie within rounding": 1, "holds": 2}


@dataclass(frozen=True)
class CellComparison:
    """One comparison of two cells, or of one cell with a quoted number.

    a, b       the cell that should be ahead and the one behind; b is None for a quoted number
    order      of "a is ahead of b by more than the margin"
    gap        a - b in the direction of the metric, with what rounding leaves of it
    chosen_of  rows among which `a` is the best printed one
    noise      the gap beside the binomial noise of the test items; None where that cannot be computed
    seed_sd    common standard deviation over runs above which Welch's test cannot reach 5 %
    spreads    tests from the printed ±, one for each reading of it
    """

    name: str
    a: CellRef
    b: CellRef | None
    order: Order
    gap: float
    gap_low: float
    gap_high: float
    decimals: int
    chosen_of: int = 1
    n_items: int | None = None
    noise: GapNoise | None = None
    n_seeds: tuple[int | None, int | None] = (None, None)
    seed_sd: float | None = None
    spreads: tuple[SpreadTest, ...] = ()

    @property
    def size(self) -> float:
        """The gap in the unit in which parts of different tables compare: standard errors, else last digits."""
        return self.noise.gap_in_se if self.noise is not None else self.gap * 10.0**self.decimals


@dataclass(frozen=True)
class PaperVerdict:
    """What print says about one claim.

    printed        verdict for the population "printed table"; None where the print does not hold the numbers
    verdict_seeds  for new seeds on this test set; verdict: for new seeds and new items
    deciding       name of the part to look at: what fails, or the narrowest that holds
    held, places   of how many (dataset, column) the printed order holds
    reasons        why, sentence by sentence; needed: what would test it
    """

    claim: str
    text: str
    source: str
    cells: str
    relation: str
    printed: Order | None
    verdict_seeds: Word
    verdict: Word
    reasons: tuple[str, ...]
    needed: str
    line: str
    deciding: str | None = None
    held: int = 0
    places: int = 0
    parts: tuple[CellComparison, ...] = ()


@dataclass(frozen=True)
class PaperAudit:
    """The verdicts of one claims file, in its order."""

    claims_file: str
    claims_sha256: str
    verdicts: tuple[PaperVerdict, ...]


def audit_paper(path: Path, out: Path | None = None, fail_on: str | None = None) -> tuple[PaperAudit, bool]:
    """Judge a claims file about printed tables; write the audit to `out` if given (JSON for a name ending in .json).

    Returns the audit, and whether any of the three answers to any claim is `fail_on`. Raises TcmaxError for a bad file
    and for an unknown word.
    """
    words = (*PRINTED_WORDS, *kinds.VERDICT_WORDS)
    if fail_on is not None and fail_on not in words:
        raise TcmaxError(f"there is no answer {fail_on!r}; answers: {', '.join(words)}.")
    claims = load_paper_claims(path)
    audit = PaperAudit(claims.path.name, claims.sha256, tuple(judge_paper(claim, claims) for claim in claims.claims))
    if out is not None:
        write_text(out, to_json(audit) if Path(out).suffix == ".json" else to_text(audit))
    return audit, any(fail_on in (v.printed, v.verdict_seeds, v.verdict) for v in audit.verdicts if fail_on)


def judge_paper(claim: PaperClaim, claims: PaperClaims) -> PaperVerdict:
    """The verdict on one claim that `claims` holds."""
    if not claim.testable:
        return _not_in_print(claim)
    table = claims.tables[str(claim.table)]
    if claim.relation == "association":
        return _association(claim, claims, table)
    if claim.relation in ("equals", "gains"):
        return _quoted_numbers(claim, table)
    return _comparison(claim, claims, table)


# --- comparisons of cells --------------------------------------------------------------------------------------------


def _comparison(claim: PaperClaim, claims: PaperClaims, table: PublishedTable) -> PaperVerdict:
    by_place = {place: _parts(claim, table, place) for place in places_of(claim, table)}
    parts = [part for of_place in by_place.values() for part in of_place]
    orders = {place: _all_of([part.order for part in of_place]) for place, of_place in by_place.items()}
    each = claim.quantifier == "each"
    printed = _all_of(list(orders.values())) if each else max(orders.values(), key=_RANK.__getitem__)
    weakest = [min(of_place, key=_strength) for of_place in by_place.values()]
    deciding = min(weakest, key=_strength) if each else max(weakest, key=_strength)
    leaves: Mapping[tuple[str, str], Node] = {
        place: AllOf(tuple(_leaf(part) for part in of_place)) for place, of_place in by_place.items()
    }
    tree: Node = AllOf(tuple(leaves.values())) if each else AnyOf(tuple(leaves.values()))
    decision = decide(tree)
    held = sum(order == "holds" for order in orders.values())
    reason = [_printed_sentence(parts, printed, held, len(by_place))]
    if decision.verdict == "not testable":
        reason.append(f"new seeds: {decision.leaf.refusal}")
    else:
        tested = next(part for part in parts if part.name == decision.leaf.name)
        reason.append(f"new seeds on this test set rest on {tested.name}")
        reason += [spread.sentence for spread in tested.spreads]
    reason.append(_break_even(deciding, claims, table))
    needed = claim.data_needed or (
        f"predictions for each test item of {deciding.a.method} and {deciding.b.method if deciding.b else ''} on "
        f"{deciding.a.dataset}, {MIN_RUNS} seeds or more of each"
    )
    return _verdict(
        claim,
        table,
        printed,
        decision.verdict,
        reason,
        needed,
        deciding=deciding,
        held=held,
        places=len(by_place),
        parts=tuple(parts),
    )


def _parts(claim: PaperClaim, table: PublishedTable, place: tuple[str, str]) -> list[CellComparison]:
    own, rivals = sides_of(claim, table, place)
    best = better_first(own, table)[0]
    margin = Interval.exactly(parse_printed(claim.margin).value)
    if claim.relation == "worse than":
        return [_part(table, rival, best, margin, len(own)) for rival in rivals]
    return [_part(table, best, rival, margin, len(own)) for rival in rivals]


def _part(table: PublishedTable, a: PrintedCell, b: PrintedCell, margin: Interval, chosen_of: int) -> CellComparison:
    metric = table.metric(a.ref.column)
    gap = number(a).interval() - number(b).interval()
    gap = (gap if metric.better == "higher" else -gap) - margin
    noise = None
    if metric.item_mean and a.n_items and a.n_items == b.n_items and margin.middle == 0:
        ahead, behind = (float(number(cell).value) / metric.scale for cell in (a, b))
        if metric.better == "lower":
            ahead, behind = 1 - ahead, 1 - behind
        noise = gap_noise(ahead, behind, a.n_items)
    runs = (a.n_seeds, b.n_seeds)
    sd = None
    if a.n_seeds and b.n_seeds and min(a.n_seeds, b.n_seeds) > 1:
        sd = break_even_seed_sd(float(gap.middle), a.n_seeds, b.n_seeds)
    return CellComparison(
        name=f"{a.ref.dataset}, {a.ref.column}: {a.ref.method} {a.value} against {b.ref.method} {b.value}",
        a=a.ref,
        b=b.ref,
        order=_order(gap),
        gap=float(gap.middle),
        gap_low=float(gap.low),
        gap_high=float(gap.high),
        decimals=max(number(a).decimals, number(b).decimals, 0),
        chosen_of=chosen_of,
        n_items=a.n_items if noise else None,
        noise=noise,
        n_seeds=runs,
        seed_sd=sd,
        spreads=spread_tests(a, b, gap, table.metadata.spread.meaning),
    )


def _order(gap: Interval) -> Order:
    """Is the gap positive for all values behind the print, for none (the reverse being strict), or for some?"""
    zero = Interval.exactly(0)
    if zero.lies_below(gap):
        return "holds"
    return "fails" if gap.lies_below(zero) else "tie within rounding"


def _all_of(orders: Sequence[Order]) -> Order:
    return min(orders, key=_RANK.__getitem__)


def _strength(part: CellComparison) -> tuple[int, float]:
    return _RANK[part.order], part.size


def _leaf(part: CellComparison) -> Leaf:
    """The part seen from new seeds on this test set: two one-sided p with every rounding read against the decision.

    Where the document does not say what its ± means, a decision must survive every reading.
    """
    refusal = None
    if part.chosen_of > 1:
        refusal = f"{part.a.method} is the better of {part.chosen_of} rows by the very scores that are compared"
    elif min(n or 0 for n in part.n_seeds) < MIN_RUNS:
        refusal = f"fewer than {MIN_RUNS} runs are stated for {part.name}"
    elif not part.spreads:
        refusal = "no ± over runs is printed"
    elif not all("p_high" in spread.numbers for spread in part.spreads):
        refusal = f"a printed ± of {part.name} may round to zero"
    if refusal is not None:
        return Leaf(part.name, 1.0, 1.0, refusal)
    stated = [spread for spread in part.spreads if spread.own] or part.spreads
    p = max(spread.numbers["p_high"] for spread in stated) / 2
    return Leaf(part.name, p if part.gap_low > 0 else 1.0, p if part.gap_high < 0 else 1.0)


def _printed_sentence(parts: Sequence[CellComparison], printed: Order, held: int, places: int) -> str:
    exceptions = [part for part in parts if part.order != "holds"]
    shown = [f"{part.name} ({part.order})" for part in exceptions[:4]]
    if len(exceptions) > 4:
        shown.append(f"{len(exceptions) - 4} more")
    counted = f" (holds in {held} of {places} columns)" if places > 1 else ""
    return f"printed order: {printed}{counted}" + (f"; {'; '.join(shown)}" if shown else "")


def _break_even(part: CellComparison, claims: PaperClaims, table: PublishedTable) -> str:
    """The deciding gap beside the noise that it would have to beat."""
    places = part.decimals
    said = [
        f"{part.name}: {part.gap:+.{places}f} ({part.gap_low:.{places}f} to {part.gap_high:.{places}f} within rounding)"
    ]
    noise = part.noise
    if noise is not None:
        reach = {
            "never": f"{100 * noise.discordance:.3g} %, below the gap itself: no pairing of single runs reaches 5 %",
            "depends": f"{100 * noise.discordance:.3g} %",
            "always": "beyond what the two accuracies allow: any pairing of single runs reaches 5 %",
        }
        said.append(
            f"{noise.items:.1f} of {part.n_items} items, {noise.gap_in_se:.2f} binomial standard errors; "
            f"break-even item discordance {reach[noise.pairing]}"
        )
    if part.seed_sd is not None:
        said.append(f"break-even common seed sd {part.seed_sd:.2g} ({part.n_seeds[0]} v {part.n_seeds[1]} runs)")
        printed = _printed_seed_sds(claims, table.metric(part.a.column).unit)
        if printed:
            said[-1] += f"; seed sds printed in the cited tables: {min(printed):.2g} to {max(printed):.2g}"
    return "; ".join(said)


def _printed_seed_sds(claims: PaperClaims, unit: str) -> list[float]:
    """Standard deviations over runs that the tables print in a unit of item means, by their own definition of ±."""
    found = []
    for table in claims.tables.values():
        meaning = table.metadata.spread.meaning
        if meaning not in ("sd", "se", "ci95"):
            continue
        for cell in table.cells:
            metric = table.metric(cell.ref.column)
            if metric.item_mean and metric.unit == unit and cell.pm is not None and (cell.n_seeds or 0) > 1:
                found.append(seed_sd(float(cell.pm.value), cell.n_seeds or 0, meaning))
    return found


# --- numbers that a sentence quotes ----------------------------------------------------------------------------------


def _quoted_numbers(claim: PaperClaim, table: PublishedTable) -> PaperVerdict:
    """*equals*: each place has a subject row with this number; *gains*: the difference of two rows can be this number.

    A number quoted with other decimals than the table agrees where the two rounding intervals meet.
    """
    quoted = claim.quoted_number
    parts = []
    for place in places_of(claim, table):
        own, rivals = sides_of(claim, table, place)
        if claim.relation == "equals":
            cell = next((cell for cell in own if same_number(quoted, cell)), better_first(own, table)[0])
            agrees, gap = same_number(quoted, cell), number(cell).interval() - quoted.interval()
            name = f"{place[0]}, {place[1]}: {cell.ref.method} {cell.value} against the quoted {quoted}"
            b = None
        else:
            (cell,), (over,) = own, rivals
            lead = number(cell).interval() - number(over).interval()
            lead = lead if table.metric(place[1]).better == "higher" else -lead
            agrees, gap, b = lead.overlaps(quoted.interval()), lead - quoted.interval(), over.ref
            places = max(number(cell).decimals, 0)
            name = (
                f"{place[0]}, {place[1]}: {cell.ref.method} {cell.value} over {over.ref.method} {over.value} is "
                f"{float(lead.middle):+.{places}f} ({float(lead.low):.{places}f} to {float(lead.high):.{places}f} "
                f"within rounding), quoted {quoted}"
            )
        order: Order = "holds" if agrees else "fails"
        parts.append(
            CellComparison(
                name, cell.ref, b, order, float(gap.middle), float(gap.low), float(gap.high), quoted.decimals
            )
        )
    printed = _all_of([part.order for part in parts])
    deciding = min(parts, key=lambda part: (_RANK[part.order], -abs(part.gap)))
    held = sum(part.order == "holds" for part in parts)
    rows = ", ".join(dict.fromkeys(part.a.method for part in parts))
    return _verdict(
        claim,
        table,
        printed,
        "not testable",
        ["; ".join(part.name for part in parts), "a quoted number is right or wrong in print; it compares no methods"],
        claim.data_needed or f"the document that the number comes from, or the runs of {rows}",
        deciding=deciding,
        held=held,
        places=len(parts),
        parts=tuple(parts),
    )


# --- association of two columns --------------------------------------------------------------------------------------


def _association(claim: PaperClaim, claims: PaperClaims, table: PublishedTable) -> PaperVerdict:
    """Do two columns order the rows alike (or inversely)? By concordant less discordant pairs of rows.

    A pair that rounding leaves open in either column counts against whichever answer it could change: *holds* if the
    sign of the claim stands whatever the open pairs are. The permutation p takes the rows as the sample.
    """
    assert claim.associated_with is not None
    other = claims.tables[claim.associated_with.table]
    wanted = 1 if claim.direction == "positive" else -1
    orders: dict[str, Order] = {}
    said = []
    for dataset, column in places_of(claim, table):
        pairs = [
            (cell, twin)
            for cell in table.blocks[dataset, column]
            if cell.value is not None
            and (twin := other.find(cell.ref.method, dataset, claim.associated_with.column)) is not None
        ]
        if len(pairs) < MIN_RUNS:
            raise TcmaxError(
                f"{claims.path}: claims.{claim.id}: fewer than {MIN_RUNS} rows have both numbers on {dataset}."
            )
        net, unknown = _concordance(pairs)
        orders[dataset] = _order(Interval(Fraction(wanted * net - unknown), Fraction(wanted * net + unknown)))
        x, y = ([float(number(pair[side]).value) for pair in pairs] for side in (0, 1))
        found = kendall(x, y, generator("paper association", claim.id, dataset))
        said.append(
            f"{dataset}: Kendall's tau {found.tau:+.2f} over {found.n} rows, permutation p = {found.p_value:.2g} "
            f"({orders[dataset]})"
        )
    each = claim.quantifier == "each"
    printed = _all_of(list(orders.values())) if each else max(orders.values(), key=_RANK.__getitem__)
    said.append("p takes the printed rows as the sample; new seeds and items need scores of each run")
    return _verdict(
        claim,
        table,
        printed,
        "not testable",
        said,
        claim.data_needed or f"both scores of each run and test item for the rows of {table.path.name}",
        held=sum(order == "holds" for order in orders.values()),
        places=len(orders),
    )


def _concordance(pairs: Sequence[tuple[PrintedCell, PrintedCell]]) -> tuple[int, int]:
    """Concordant less discordant pairs of rows, and how many pairs rounding leaves open."""
    net = unknown = 0
    for i, (x, y) in enumerate(pairs):
        for other_x, other_y in pairs[:i]:
            signs = [_sign(x, other_x), _sign(y, other_y)]
            unknown += 0 in signs
            net += signs[0] * signs[1]
    return net, unknown


def _sign(a: PrintedCell, b: PrintedCell) -> int:
    return _RANK[_order(number(a).interval() - number(b).interval())] - 1


# --- what every claim gets -------------------------------------------------------------------------------------------


def _verdict(
    claim: PaperClaim,
    table: PublishedTable,
    printed: Order,
    seeds: Word,
    reason: Sequence[str],
    needed: str,
    deciding: CellComparison | None = None,
    **counts: Any,
) -> PaperVerdict:
    facts = table.metadata
    columns = ", ".join(claim.columns or ())
    cells = f"{', '.join(part for part in (facts.document, facts.table) if part) or table.path.name}: {columns}"
    if claim.datasets != "all":
        cells += f" ({', '.join(claim.datasets)})"
    shown = f"; {deciding.name}" if deciding is not None else ""
    return PaperVerdict(
        claim=claim.id,
        text=" ".join(claim.text.split()),
        source=claim.cited,
        cells=cells,
        relation=str(claim.relation),
        printed=printed,
        verdict_seeds=seeds,
        verdict="not testable",
        reasons=tuple(reason),
        needed=needed,
        line=f"{claim.id}: printed table {printed}{shown}; new seeds on this test set {seeds}; new seeds and new items "
        f"not testable; would be tested by {needed}",
        deciding=deciding.name if deciding is not None else None,
        **counts,
    )


def _not_in_print(claim: PaperClaim) -> PaperVerdict:
    """A claim that says itself that the print cannot decide it."""
    needed = " ".join((claim.data_needed or "nothing: it is no statement about data").split())
    reason = " ".join((claim.reason or "").split())
    return PaperVerdict(
        claim=claim.id,
        text=" ".join(claim.text.split()),
        source=claim.cited,
        cells="none",
        relation="none",
        printed=None,
        verdict_seeds="not testable",
        verdict="not testable",
        reasons=(reason,),
        needed=needed,
        line=f"{claim.id}: not testable; {reason.rstrip('.')}; would be tested by {needed.rstrip('.')}",
    )


def to_text(audit: PaperAudit) -> str:
    """The audit as plain text, at most 100 columns wide: claim, three answers, why, and what would test it."""
    lines = [f"CLAIMS OF {audit.claims_file}, JUDGED FROM PRINT", "=" * WIDTH, f"sha256 {audit.claims_sha256[:16]}"]
    for verdict in audit.verdicts:
        lines += ["", *wrapped(f'{verdict.claim}: "{verdict.text}"', "", "  ")]
        lines += wrapped(f"({verdict.source}; cells: {verdict.cells})", "  ", "  ")
        lines += wrapped(f"printed table: {verdict.printed or 'not in print'}", "  ", "    ")
        lines += wrapped(f"new seeds on this test set: {verdict.verdict_seeds}", "  ", "    ")
        lines += wrapped(f"new seeds and new items: {verdict.verdict}", "  ", "    ")
        lines += [line for sentence in verdict.reasons for line in wrapped(sentence, "  - ", "    ")]
        lines += wrapped(f"would be tested by: {verdict.needed}", "  ", "    ")
    counts: Counter[str] = Counter(verdict.printed or "not in print" for verdict in audit.verdicts)
    words = (*PRINTED_WORDS, "not in print")
    lines += ["", f"{len(audit.verdicts)} claims: " + ", ".join(f"{counts[word]} {word}" for word in words) + "."]
    return "\n".join(lines) + "\n"


def to_json(audit: PaperAudit) -> str:
    """The audit as JSON with sorted keys; numbers that are not finite become null."""
    content = _finite(asdict(audit))
    return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
