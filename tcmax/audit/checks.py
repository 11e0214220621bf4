"""Checks that a table's own cells allow, one function each: a table in, findings out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from typing import get_args

from scipy import stats

from tcmax.audit.emphasis import check_marks
from tcmax.audit.findings import Finding, Strength
from tcmax.audit.grim import (
    Denominator,
    grim,
    grim_power,
    halfwidth_reachable,
    reachable_if_rounded_first,
    recovered_denominator,
)
from tcmax.audit.noise import GapNoise, break_even_discordance, break_even_seed_sd, gap_noise
from tcmax.audit.printed_tables import CellRef, DenominatorQuestion, PrintedCell, PublishedTable
from tcmax.audit.rounding import Interval, Order, PrintedNumber, check_derived, parse_printed, printed_order
from tcmax.audit.summaries import Spread, SummaryTest, paired_bounds, seed_sd, welch, welch_range
from tcmax.stats.power import exaggeration

_MEANING = {"sd": "standard deviation", "se": "standard error", "ci95": "95 % half-width"}


def number(cell: PrintedCell) -> PrintedNumber:
    """The printed value of a cell that is known to have one."""
    assert cell.value is not None
    return cell.value


def _reported(cells: Sequence[PrintedCell]) -> list[PrintedCell]:
    return [cell for cell in cells if cell.value is not None]


def _size_strength(table: PublishedTable, dataset: str) -> Strength:
    size = table.metadata.test_sizes.get(dataset)
    return "likely" if size is not None and size.assumed else "certain"


def _size_source(table: PublishedTable, dataset: str) -> str:
    size = table.metadata.test_sizes.get(dataset)
    return f" (test size from {size.source})" if size is not None else ""


@dataclass(frozen=True)
class Pair:
    """The comparison a reader makes in one column of one dataset: `better` is the one whose lead is judged.

    With declared own rows: the best of them against the best other row (then `better` may trail). Without: the best
    row against the runner-up. gap: interval of the lead in the metric's direction, positive when `better` leads.
    """

    better: PrintedCell
    other: PrintedCell
    siblings: int
    gap: Interval

    @property
    def printed_gap(self) -> float:
        """The lead computed from the printed values."""
        return float(self.gap.middle)


def judged_pairs(table: PublishedTable) -> tuple[Pair, ...]:
    """The pair of each judged (dataset, column); none where a side has no number."""
    pairs = []
    for (_, column), cells in table.blocks.items():
        if table.metadata.judged_columns and column not in table.metadata.judged_columns:
            continue
        sign = 1 if table.metric(column).better == "higher" else -1
        ranked = sorted(_reported(cells), key=lambda cell: -sign * number(cell).value)
        own = [cell for cell in ranked if cell.ref.method in table.metadata.ours]
        if not table.metadata.ours:
            own = ranked[:1]
        rivals = [cell for cell in ranked if cell not in own]
        if not own or not rivals:
            continue
        gap = number(own[0]).interval() - number(rivals[0]).interval()
        pairs.append(Pair(own[0], rivals[0], len(own), gap if sign > 0 else -gap))
    return tuple(pairs)


@dataclass(frozen=True)
class ItemNoise:
    """A gap beside the binomial noise of its test items.

    n_items: test items of both rows; scale: of the metric, 100 for percent. source: where their number is from, as the
    end of a sentence. largest: the gap at the edge of what rounding leaves, as a proportion; widest: the break-even
    discordance there.
    """

    noise: GapNoise
    n_items: int
    scale: int
    source: str
    largest: float
    widest: float


@dataclass(frozen=True)
class JudgedGap:
    """A judged pair with what its print allows: the printed order, the noise of items (None where that cannot be
    computed), and the common seed sd at which a Welch test breaks even (None without several runs on both sides)."""

    pair: Pair
    order: Order
    strength: Strength
    items: ItemNoise | None
    seed_sd: float | None

    @property
    def numbers(self) -> dict[str, float]:
        """What was computed, by name."""
        gap = self.pair.gap
        found = {
            "gap": self.pair.printed_gap,
            "gap_low": float(gap.low),
            "gap_high": float(gap.high),
            "own_rows": self.pair.siblings,
        }
        if self.items is not None:
            noise = self.items.noise
            found |= {
                "gap_percent": 100 * noise.gap,
                "n_items": self.items.n_items,
                "items": noise.items,
                "se": noise.se * self.items.scale,
                "gap_in_se": noise.gap_in_se,
                "gap_in_unpaired_se": noise.gap_in_unpaired_se,
                "discordance_percent": 100 * noise.discordance,
                "discordance_percent_high": 100 * self.items.widest,
            }
        return found if self.seed_sd is None else found | {"break_even_seed_sd": self.seed_sd}


def judged_gap(table: PublishedTable, pair: Pair) -> JudgedGap:
    """A judged pair beside the noise of its test items, and the seed spread at which it would vanish."""
    better, other = pair.better, pair.other
    metric = table.metric(better.ref.column)
    higher, lower = (better, other) if metric.better == "higher" else (other, better)
    items: ItemNoise | None = None
    strength: Strength = "certain"
    if metric.item_mean and better.n_items and better.n_items == other.n_items:
        scale, n = metric.scale, better.n_items
        noise = gap_noise(float(number(better).value) / scale, float(number(other).value) / scale, n)
        largest = min(1.0, max(abs(float(pair.gap.low)), abs(float(pair.gap.high))) / scale)
        source = _size_source(table, better.ref.dataset)
        items = ItemNoise(noise, n, scale, source, largest, break_even_discordance(largest, n))
        strength = _size_strength(table, better.ref.dataset)
    seed_sd = None
    if better.n_seeds and other.n_seeds and min(better.n_seeds, other.n_seeds) > 1:
        seed_sd = break_even_seed_sd(pair.printed_gap, better.n_seeds, other.n_seeds)
    return JudgedGap(pair, printed_order(number(higher), number(lower)), strength, items, seed_sd)


def check_gaps(table: PublishedTable) -> list[Finding]:
    """Each judged gap beside the noise of its test items, and the seed spread at which it would vanish."""
    return [
        Finding(
            id=f"gap/{found.pair.better.ref.dataset}/{found.pair.better.ref.column}",
            kind="gap",
            outcome="measured",
            strength=found.strength,
            cells=(found.pair.better.ref, found.pair.other.ref),
            printed=f"{found.pair.better.value} against {found.pair.other.value}",
            computed=found.order,
            sentence=_gap_sentence(found),
            numbers=found.numbers,
            values=(str(found.pair.better.value), str(found.pair.other.value)),
            decimals=max(number(found.pair.better).decimals, 0),
        )
        for found in (judged_gap(table, pair) for pair in judged_pairs(table))
    ]


def _gap_sentence(found: JudgedGap) -> str:
    pair = found.pair
    better, other = pair.better, pair.other
    places = max(number(better).decimals, number(other).decimals, 0)
    parts = [
        f"{better.ref.method} {better.value} against {other.ref.method} {other.value}: {pair.printed_gap:+.{places}f} "
        f"({float(pair.gap.low):.{places}f} to {float(pair.gap.high):.{places}f} within rounding), "
        f"printed order {found.order}"
    ]
    if pair.siblings > 1:
        parts.append(f"the better of {pair.siblings} own rows was taken after seeing the test score, which favours it")
    if found.items is not None:
        parts += _item_noise_parts(found.items)
    elif better.n_items and other.n_items and better.n_items != other.n_items:
        parts.append(f"test sizes differ ({better.n_items} and {other.n_items}), so the rows do not compare")
    if found.seed_sd is not None:
        parts.append(
            f"a common seed sd above {found.seed_sd:.{places + 1}f} puts it out of reach of a "
            f"{better.n_seeds} v {other.n_seeds} Welch test"
        )
    return "; ".join(parts) + "."


def _item_noise_parts(items: ItemNoise) -> list[str]:
    noise = items.noise
    parts = [
        f"{noise.items:.1f} of {items.n_items} items{items.source}; one binomial standard error "
        f"is {noise.se * items.scale:.2f}, so gap/SE is {noise.gap_in_se:.2f}, and "
        f"{noise.gap_in_unpaired_se:.2f} against an unpaired difference"
    ]
    share = f"{100 * noise.discordance:.3g} %"
    if noise.pairing != "never":
        return [*parts, f"two single runs that disagree on more than {share} of the items cannot reach 5 %"]
    reach = (
        "nor at the largest gap within rounding"
        if items.widest < items.largest
        else f"{100 * items.widest:.3g} % at the largest gap within rounding"
    )
    below = f"break-even discordance {share} lies below the gap itself"
    return [*parts, f"{below}: at the printed gap no pairing of single runs reaches 5 % ({reach})"]


def check_wins_within_noise(table: PublishedTable) -> list[Finding]:
    """How many of the printed wins are smaller than one standard error of one accuracy."""
    gaps = [finding for finding in check_gaps(table) if "gap_in_se" in finding.numbers]
    wins = [finding for finding in gaps if finding.numbers["gap"] > 0]
    if not wins:
        return []
    within = [finding for finding in wins if finding.numbers["gap_in_se"] < 1]
    names = ", ".join(f"{f.cells[0].dataset} {f.cells[0].column}" for f in within) or "none"
    strength: Strength = "likely" if any(finding.strength == "likely" for finding in wins) else "certain"
    return [
        Finding(
            id="wins_within_noise",
            kind="wins_within_noise",
            outcome="measured",
            strength=strength,
            cells=tuple(finding.cells[0] for finding in within),
            printed=f"{len(wins)} wins in {len(gaps)} judged columns",
            computed=f"{len(within)} inside one binomial standard error",
            sentence=(
                f"Inside one binomial standard error of the test set: {len(within)} of {len(wins)} wins ({names}); "
                "a paired comparison of items could be sharper and needs predictions that are not printed."
            ),
            numbers={"wins": len(wins), "within": len(within), "judged": len(gaps)},
        )
    ]


@dataclass(frozen=True)
class SpreadTest:
    """One reading of the ± of two cells: Welch, what rounding and the unknown pairing of the runs could do to it.

    own: whether the document says that its ± means this. numbers: t, df, p, low, high, and where they exist t_low,
    t_high, p_low, p_high (rounding) and p_worst, flip_rho (correlation of the runs). sentence: the same in words,
    without a full stop.
    """

    reading: Spread
    own: bool
    test: SummaryTest
    numbers: dict[str, float]
    sentence: str


def spread_tests(a: PrintedCell, b: PrintedCell, gap: Interval, declared: str) -> tuple[SpreadTest, ...]:
    """Is the gap a - b, as far as rounding leaves it, more than the printed ± of the two cells allow? One test for each
    reading of ±; none where a ± is missing or zero, or a cell has fewer than two runs."""
    if a.pm is None or b.pm is None or a.n_seeds is None or b.n_seeds is None or min(a.n_seeds, b.n_seeds) < 2:
        return ()
    if min(a.pm.value, b.pm.value) <= 0:
        return ()
    tests = []
    for reading in get_args(Spread):
        sd_a, sd_b = (seed_sd(float(pm.value), n, reading) for pm, n in ((a.pm, a.n_seeds), (b.pm, b.n_seeds)))
        test = welch(float(gap.middle), sd_a, a.n_seeds, 0.0, sd_b, b.n_seeds)
        numbers = {"t": test.t, "df": test.df, "p": test.p, "low": test.low, "high": test.high}
        sentence = f"± read as {_MEANING[reading]}: Welch t = {test.t:.2f}, df = {test.df:.1f}, p = {test.p:.2g}"
        intervals = [
            pm.interval() * Interval.exactly(Fraction(seed_sd(1.0, n, reading)))
            for pm, n in ((a.pm, a.n_seeds), (b.pm, b.n_seeds))
        ]
        if min(interval.low for interval in intervals) > 0:
            span = welch_range(gap, intervals[0], a.n_seeds, Interval.exactly(0), intervals[1], b.n_seeds)
            numbers |= {"t_low": span.t_low, "t_high": span.t_high, "p_low": span.p_low, "p_high": span.p_high}
            sentence += f" ({span.p_low:.2g} to {span.p_high:.2g} within rounding)"
        if a.n_seeds == b.n_seeds:
            paired = paired_bounds(float(gap.middle), sd_a, sd_b, a.n_seeds)
            numbers |= {"p_worst": paired.worst.p, "flip_rho": paired.flip}
            if paired.flip < -1:
                reach = "p < 0.05 at every correlation of the runs"
            elif paired.flip > 1:
                reach = "p < 0.05 at no correlation of the runs"
            else:
                reach = f"a paired test has p < 0.05 only if the runs correlate above {paired.flip:.2f}"
            sentence += f"; paired at correlation -1 p = {paired.worst.p:.2g}; {reach}"
        if reading == declared:
            sentence += "; this is the document's own definition"
        tests.append(SpreadTest(reading, reading == declared, test, numbers, sentence))
    return tuple(tests)


def check_spreads(table: PublishedTable) -> list[Finding]:
    """Welch and the paired bounds for each judged pair with a ±, under all three readings of ±."""
    return [
        Finding(
            id=f"spread_test/{a.ref.dataset}/{a.ref.column}/{found.reading}",
            kind="spread_test",
            outcome="measured",
            strength="certain" if found.own else "likely",
            cells=(a.ref, b.ref),
            printed=f"{a.value} ± {a.pm} (n = {a.n_seeds}) against {b.value} ± {b.pm} (n = {b.n_seeds})",
            computed=f"t = {found.test.t:.2f}, df = {found.test.df:.1f}, p = {found.test.p:.2g}",
            sentence=found.sentence + ". It speaks of new runs on this test set, not of new test items.",
            numbers=found.numbers,
        )
        for pair in judged_pairs(table)
        for a, b in [(pair.better, pair.other)]
        for found in spread_tests(a, b, pair.gap, table.metadata.spread.meaning)
    ]


def _standard_errors(
    table: PublishedTable, a: PrintedCell, b: PrintedCell, gap: Interval
) -> list[tuple[str, str, SummaryTest]]:
    """What the noise of a gap may be, each with a short name and as words: from the printed ± (its own definition, else
    all readings), or as assumed."""
    printed = spread_tests(a, b, gap, table.metadata.spread.meaning)
    if printed:
        kept = [found for found in printed if found.own] or list(printed)
        return [(found.reading, f"± read as {_MEANING[found.reading]}", found.test) for found in kept]
    assumed = table.metadata.assumed_seed_sd
    if assumed is None or a.n_seeds is None or b.n_seeds is None or min(a.n_seeds, b.n_seeds) < 2:
        return []
    return [
        (f"{sd:g}", f"assumed seed sd {sd:g}", welch(float(gap.middle), sd, a.n_seeds, 0.0, sd, b.n_seeds))
        for sd in dict.fromkeys((assumed.low, assumed.high))
    ]


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else "under 1 %"


def check_exaggeration(table: PublishedTable) -> list[Finding]:
    """What a printed gain would be worth, were the truth half of it (type M and type S errors, Gelman and Carlin 2014).

    Runs vary, the test items stay; the noise is that of the printed ±, or of the assumed range of seed sds. Half is no
    estimate: it asks how a table of this size looks when the gain is real and smaller than printed.
    """
    findings = []
    for pair in judged_pairs(table):
        a, b, gap = pair.better, pair.other, pair.printed_gap
        for name, label, test in _standard_errors(table, a, b, pair.gap) if gap > 0 else ():
            found = exaggeration(gap / 2, test.standard_error, test.df)
            findings.append(
                Finding(
                    id=f"exaggeration/{a.ref.dataset}/{a.ref.column}/{name}",
                    kind="exaggeration",
                    outcome="measured",
                    strength="likely",
                    cells=(a.ref, b.ref),
                    printed=f"{a.value} against {b.value}",
                    computed=f"power {found.power:.2g}, type M {found.factor:.2g}, type S {found.wrong_sign:.2g}",
                    sentence=(
                        f"{label}: {_percent(found.power)} of such comparisons reach p < 0.05; they overstate the gain "
                        f"{found.factor:.1f} times on average, {_percent(found.wrong_sign)} with the wrong sign."
                    ),
                    numbers={
                        "gap": gap,
                        "true_gain": gap / 2,
                        "standard_error": test.standard_error,
                        "df": test.df,
                        "power": found.power,
                        "factor": found.factor,
                        "wrong_sign": found.wrong_sign,
                    },
                    values=(str(a.value), str(b.value)),
                    decimals=max(number(a).decimals, 0),
                )
            )
    return findings


def check_missing_spread(table: PublishedTable) -> list[Finding]:
    """Cells without any ±: nothing about seeds can be tested."""
    bare = [cell for cell in table.cells if cell.pm is None]
    filled = _reported(bare)
    if not filled or len(bare) < len(table.cells):
        return []
    return [
        Finding(
            id="no_spread",
            kind="no_spread",
            outcome="measured",
            strength="certain",
            cells=(),
            printed="no ±",
            computed=f"{len(bare)} cells, {len(filled)} with a number",
            sentence=(
                f"No interval over runs can be formed for any of the {len(bare)} cells ({len(filled)} hold numbers)."
            ),
            numbers={"cells": len(bare), "with_number": len(filled)},
        )
    ]


def _counted(table: PublishedTable) -> list[PrintedCell]:
    """Cells that are means of counts with known numbers of items and runs."""
    return [
        cell
        for cell in _reported(table.cells)
        if table.metric(cell.ref.column).item_mean and cell.n_items is not None and cell.n_seeds is not None
    ]


def check_counts(table: PublishedTable) -> list[Finding]:
    """GRIM on every cell with a known test size, one finding per dataset and precision, with its power."""

    def group(cell: PrintedCell) -> tuple[str, int, int, int, int]:
        scale = table.metric(cell.ref.column).scale
        return cell.ref.dataset, cell.n_items or 0, cell.n_seeds or 0, number(cell).decimals, scale

    order = {dataset: place for place, dataset in enumerate(table.datasets)}
    cells = sorted(_counted(table), key=lambda cell: (order[cell.ref.dataset], group(cell)))
    findings = []
    for (dataset, n, runs, places, scale), members in groupby(cells, key=group):
        checked = list(members)
        results = [grim(number(cell), n, runs, scale=scale) for cell in checked]
        power = grim_power(n, runs, places, scale=scale)
        single = grim_power(n, 1, places, scale=scale)
        failed = [cell for cell, result in zip(checked, results, strict=True) if not result.consistent]
        numbers = {
            "cells": len(checked),
            "failed": len(failed),
            "step": scale / (n * runs),
            "share": power.share,
            "single_run_reachable": single.reachable,
            "single_run_printable": single.printable,
        }
        start = f"{dataset}, n = {n}, mean of {runs}: steps of {scale / (n * runs):.2g}"
        if power.silent:
            sentence = (
                f"{start}, finer than the last printed digit, so every value is reachable and none of "
                f"{len(checked)} can be ruled out"
            )
            if not single.silent:
                sentence += f" (a single run: {single.reachable} of {single.printable} values reachable)"
        else:
            sentence = (
                f"{start}; {len(checked) - len(failed)} of {len(checked)} values are reachable, "
                f"{power.share * len(checked):.1f} expected by chance"
            )
            if failed:
                misses = ", ".join(
                    f"{cell.value} ({result.distance:.3g} from a reachable mean)"
                    for cell, result in zip(checked, results, strict=True)
                    if not result.consistent
                )
                sentence += f"; not reachable: {misses}"
        findings.append(
            Finding(
                id=f"grim/{dataset}/{n}/{places}",
                kind="grim",
                outcome="silent" if power.silent else "disagrees" if failed else "agrees",
                strength=_size_strength(table, dataset),
                cells=tuple(cell.ref for cell in failed),
                printed=f"{len(checked)} values with {places} decimals",
                computed=f"{len(checked) - len(failed)} reachable, share by chance {power.share:.2f}",
                sentence=sentence + ".",
                numbers=numbers,
            )
        )
    return findings


def check_spread_counts(table: PublishedTable) -> list[Finding]:
    """Can the printed spreads come from integer counts? Only where the document says what its ± is."""
    reading = table.metadata.spread.meaning
    cells = [cell for cell in _counted(table) if cell.pm is not None and (cell.n_seeds or 0) > 1]
    if not cells or reading not in get_args(Spread):
        return []
    failed, expected = [], 0.0
    for cell in cells:
        n_runs, n_items, pm = cell.n_seeds or 0, cell.n_items or 0, cell.pm
        assert pm is not None
        multiplier = {"sd": n_runs**0.5, "se": 1.0, "ci95": float(stats.t.ppf(0.975, n_runs - 1))}[reading]
        scale = table.metric(cell.ref.column).scale

        def passes(
            halfwidth: PrintedNumber,
            cell: PrintedCell = cell,
            n_items: int = n_items,
            n_runs: int = n_runs,
            multiplier: float = multiplier,
            scale: int = scale,
        ) -> bool:
            return halfwidth_reachable(number(cell), halfwidth, n_items, n_runs, multiplier, scale=scale)

        if not passes(pm):
            failed.append(cell)
        near = [pm.value + step * pm.unit for step in range(-10, 11) if pm.value + step * pm.unit > 0]
        expected += sum(passes(PrintedNumber("", value, pm.decimals)) for value in near) / len(near)
    if expected > len(cells) - 0.5 and not failed:
        return []
    return [
        Finding(
            id="spread_counts",
            kind="spread_counts",
            outcome="disagrees" if failed else "agrees",
            strength="weak",
            cells=tuple(cell.ref for cell in failed),
            printed=f"{len(cells)} spreads",
            computed=f"{len(cells) - len(failed)} reachable, {expected:.1f} expected by chance",
            sentence=(
                f"{len(failed)} of {len(cells)} spreads cannot come from integer counts with the printed mean and the "
                f"assumed test size ({len(cells) - expected:.1f} would fail by chance); rounding each run before "
                "averaging also produces such misses, so this is no evidence of an error."
            ),
            numbers={"cells": len(cells), "failed": len(failed), "expected_failures": len(cells) - expected},
        )
    ]


@dataclass(frozen=True)
class CandidateSize:
    """How the printed values of a question fit one test size.

    missed: values that no whole number of right answers gives, each with its distance to the nearest that does.
    cleared: how many of these rounding each run first explains; None where the question does not ask.
    """

    fit: Denominator
    why: str
    n_runs: int
    missed: tuple[tuple[PrintedNumber, float], ...]
    cleared: int | None


def candidate_sizes(
    question: DenominatorQuestion, printed: Sequence[PrintedNumber], n_runs: int, scale: int
) -> list[CandidateSize]:
    """The fit of each test size that a question names."""
    found = []
    fits = recovered_denominator(printed, [candidate.n for candidate in question.candidates], n_runs, scale=scale)
    for candidate, fit in zip(question.candidates, fits, strict=True):
        checked = [(value, grim(value, fit.n_items, n_runs, scale=scale)) for value in printed]
        missed = tuple((value, result.distance) for value, result in checked if not result.consistent)
        first, cleared = question.rounded_first_to, None
        if first is not None:
            cleared = sum(
                reachable_if_rounded_first(value, fit.n_items, n_runs, first, scale=scale) for value, _ in missed
            )
        found.append(CandidateSize(fit, candidate.why, n_runs, missed, cleared))
    return found


def check_denominators(table: PublishedTable) -> list[Finding]:
    """Which test sizes do the digits speak for: one finding per candidate, one for the scan, one for what fails."""
    findings = []
    for place, question in enumerate(table.metadata.denominators, start=1):
        cells = [
            cell
            for cell in _reported(table.cells)
            if cell.ref.dataset in question.datasets and cell.ref.column in question.columns and cell.n_seeds
        ]
        if not cells:
            continue
        runs, scale = cells[0].n_seeds or 1, table.metric(cells[0].ref.column).scale
        printed = [number(cell) for cell in cells]
        refs = tuple(cell.ref for cell in cells)
        for found in candidate_sizes(question, printed, runs, scale):
            findings.append(_candidate_finding(place, question, refs, found))
        if question.scan is not None:
            first, last = question.scan
            scanned = recovered_denominator(printed, range(first, last + 1), runs, scale=scale)
            findings.append(_scan_finding(place, question, refs, runs, scanned))
    return findings


def _candidate_finding(
    place: int, question: DenominatorQuestion, refs: tuple[CellRef, ...], found: CandidateSize
) -> Finding:
    fit = found.fit
    return Finding(
        id=f"denominator/{place}/{fit.n_items}",
        kind="denominator",
        outcome="silent" if fit.share == 1 else "measured",
        strength="likely" if fit.chance < 0.01 else "weak",
        cells=refs,
        printed=f"{fit.cells} values, mean of {found.n_runs}",
        computed=f"{fit.reached} of {fit.cells} reachable",
        sentence=_candidate_sentence(question, found),
        item=question.item,
        numbers={
            "n_items": fit.n_items,
            "reached": fit.reached,
            "cells": fit.cells,
            "expected": fit.expected,
            "chance": fit.chance,
            "log_likelihood": fit.log_likelihood,
            "share": fit.share,
        },
    )


def _candidate_sentence(question: DenominatorQuestion, found: CandidateSize) -> str:
    fit = found.fit
    why = f" ({found.why})" if found.why else ""
    sentence = (
        f"n = {fit.n_items}{why}: {fit.reached} of {fit.cells} values reachable, {fit.expected:.1f} expected "
        f"by chance, log-likelihood {fit.log_likelihood:+.1f}"
    )
    if fit.share > 0.9:
        return sentence + "; the check has almost no power at this size."
    if fit.chance < 0.01:
        sentence += f"; at least that many has probability {fit.chance:.2g} for a size named beforehand"
        if found.missed:
            sentence += "; misses " + ", ".join(f"{value} ({distance:.3f} off)" for value, distance in found.missed)
            if found.cleared is not None:
                first = question.rounded_first_to
                sentence += f", of which rounding each run to {first} decimal first explains {found.cleared}"
    return sentence + "."


def _scan_finding(
    place: int,
    question: DenominatorQuestion,
    refs: tuple[CellRef, ...],
    n_runs: int,
    scanned: Sequence[Denominator],
) -> Finding:
    full = sum(fit.reached == fit.cells for fit in scanned)
    top = sorted(scanned, key=lambda fit: (-fit.log_likelihood, fit.n_items))[:5]
    listed = ", ".join(f"{fit.n_items} ({fit.log_likelihood:+.1f})" for fit in top)
    return Finding(
        id=f"denominator_scan/{place}",
        kind="denominator_scan",
        outcome="measured",
        strength="weak",
        cells=refs,
        printed=f"{len(refs)} values, mean of {n_runs}",
        computed=f"{full} of {len(scanned)} sizes reach all",
        sentence=(
            f"Of all sizes from {scanned[0].n_items} to {scanned[-1].n_items}, {100 * full / len(scanned):.0f} % reach "
            f"every value; highest log-likelihoods: {listed}. The digits support a size named beforehand; "
            "they do not single one out of a scan."
        ),
        item=question.item,
        numbers={"sizes": len(scanned), "full": full, "best_n": top[0].n_items},
    )


def check_emphasis(table: PublishedTable) -> list[Finding]:
    """Marks against numbers, column by column; nothing if the file carries no mark at all."""
    if not any(cell.mark for cell in table.cells) or not table.metadata.marks.checked:
        return []
    findings = []
    blocks = table.blocks
    for (dataset, column), cells in blocks.items():
        faults = check_marks(
            [cell.value for cell in cells],
            [cell.mark for cell in cells],
            table.metric(column).better == "higher",
            table.metadata.marks.checked,
        )
        for fault in faults:
            cell = cells[fault.position]
            holders = [c for c in cells if c.mark == fault.mark and c is not cell]
            if fault.fault == "missing":
                said = (
                    f"{cell.ref}: {cell.value} is {fault.mark} best"
                    if fault.mark == "second"
                    else f"{cell.ref} is best"
                )
                sentence = f"{said} of its column but carries no mark."
            elif fault.fault == "shared":
                sentence = (
                    f"{dataset}, {column}: the {fault.mark} mark stands on {holders[0].ref.method} "
                    f"{holders[0].value}; {cell.ref.method} has the same {cell.value} and no mark."
                )
            else:
                sentence = f"{cell.ref}: {cell.value} is marked {fault.mark} and is not {fault.mark} in its column."
            findings.append(
                Finding(
                    id=f"mark/{dataset}/{column}/{cell.ref.method}/{fault.mark}",
                    kind=f"mark_{fault.fault}",
                    outcome="disagrees",
                    strength="certain",
                    cells=(cell.ref, *(c.ref for c in holders)),
                    printed=f"mark: {cell.mark or 'none'}",
                    computed=f"{fault.mark}: {fault.fault}",
                    sentence=sentence,
                    numbers={"value": float(number(cell).value)},
                )
            )
    if not findings:
        findings.append(
            Finding(
                id="marks",
                kind="marks",
                outcome="agrees",
                strength="certain",
                cells=(),
                printed=", ".join(table.metadata.marks.checked),
                computed="as ranked",
                sentence=f"All marks ({', '.join(table.metadata.marks.checked)}) of {len(blocks)} columns fit.",
            )
        )
    return findings


def check_whole(table: PublishedTable) -> list[Finding]:
    """Cells where one modality alone beats the combination of all, which a sound read-out rarely does."""
    whole = table.metadata.whole
    if whole is None:
        return []
    findings, checked = [], 0
    for cell in _reported(table.cells):
        if cell.ref.column != whole:
            continue
        sign = 1 if table.metric(whole).better == "higher" else -1
        parts = [
            part
            for part in _reported(table.cells)
            if (part.ref.method, part.ref.dataset) == (cell.ref.method, cell.ref.dataset) and part is not cell
        ]
        checked += bool(parts)
        for part in parts:
            high, low = (part, cell) if sign > 0 else (cell, part)
            if printed_order(number(high), number(low)) == "holds":
                findings.append((part, cell))
    return [
        Finding(
            id=f"part_above_whole/{cell.ref.dataset}/{part.ref.column}/{cell.ref.method}",
            kind="part_above_whole",
            outcome="disagrees",
            strength="likely",
            cells=(cell.ref, part.ref),
            printed=f"{whole} {cell.value}, {part.ref.column} {part.value}",
            computed=f"{float(number(part).value - number(cell).value):+.3g}",
            sentence=(
                f"{cell.ref.method} on {cell.ref.dataset}: {whole} {cell.value} is worse than its own "
                f"{part.ref.column} {part.value} ({len(findings)} such in {checked} checked cells); a combination that "
                "loses to a part points to an undertrained head or another read-out."
            ),
            numbers={
                "difference": float(number(part).value - number(cell).value),
                "cases": len(findings),
                "checked": checked,
            },
        )
        for part, cell in findings
    ]


def check_derived_columns(table: PublishedTable) -> list[Finding]:
    """Printed ratios against the interval that their rounded ingredients imply."""
    findings = []
    for derived in table.metadata.derived:
        for dataset in derived.datasets:
            for method in table.methods:
                cells = [
                    table.find(method, dataset, name)
                    for name in (derived.column, derived.numerator, derived.denominator)
                ]
                ratio, top, bottom = cells
                if ratio is None or top is None or bottom is None:
                    continue
                below = number(bottom).interval()
                if below.low <= 0 <= below.high:
                    continue
                implied = number(top).interval() / below
                check = check_derived(number(ratio), implied)
                exact = float(number(top).value / number(bottom).value)
                findings.append(
                    Finding(
                        id=f"derived/{dataset}/{derived.column}/{method}",
                        kind="derived",
                        outcome="agrees" if check.consistent else "disagrees",
                        strength="certain",
                        cells=(ratio.ref, top.ref, bottom.ref),
                        printed=f"{ratio.value}",
                        computed=f"{exact:.3f} in {implied}",
                        sentence=(
                            f"{method} on {dataset}: {top.value}/{bottom.value} = {exact:.3f}, "
                            f"{float(implied.low):.3f} to {float(implied.high):.3f} within rounding; "
                            f"printed {ratio.value} is {'consistent' if check.consistent else 'not possible'}."
                        ),
                        item=derived.item,
                        numbers={"ratio": exact, "low": float(implied.low), "high": float(implied.high)},
                    )
                )
    return findings


def check_reference_ranges(table: PublishedTable) -> list[Finding]:
    """Cells against the range that other documents print for the same quantity."""
    findings = []
    for reference in table.metadata.reference_ranges:
        low, high = parse_printed(reference.low), parse_printed(reference.high)
        for cell in _reported(table.blocks.get((reference.dataset, reference.column), ())):
            value = number(cell).interval()
            above, below = high.interval().lies_below(value), value.lies_below(low.interval())
            position = float((number(cell).value - low.value) / (high.value - low.value))
            place = "above" if above else "below" if below else f"{100 * position:.0f} % of the way up"
            findings.append(
                Finding(
                    id=f"reference_range/{cell.ref.dataset}/{cell.ref.column}/{cell.ref.method}",
                    kind="reference_range",
                    outcome="disagrees" if above or below else "agrees",
                    strength="likely",
                    cells=(cell.ref,),
                    printed=f"{cell.value}",
                    computed=f"{low} to {high}",
                    sentence=(
                        f"{cell.ref}: {cell.value} is {place} the range {low} to {high} of {reference.source}; "
                        "another item set or filter would explain a value outside."
                    ),
                    item=reference.item,
                    numbers={"position": position},
                )
            )
    return findings


def check_precision(table: PublishedTable) -> list[Finding]:
    """Columns whose values are printed with different numbers of decimals."""
    findings = []
    for column in dict.fromkeys(cell.ref.column for cell in table.cells):
        cells = [cell for cell in _reported(table.cells) if cell.ref.column == column]
        counts = sorted({number(cell).decimals for cell in cells})
        if len(counts) < 2:
            continue
        usual = max(counts, key=lambda places: sum(number(cell).decimals == places for cell in cells))
        odd = [cell for cell in cells if number(cell).decimals != usual]
        listed = ", ".join(f"{cell.value} ({cell.ref.method}, {cell.ref.dataset})" for cell in odd[:4])
        findings.append(
            Finding(
                id=f"precision/{column}",
                kind="precision",
                outcome="measured",
                strength="certain",
                cells=tuple(cell.ref for cell in odd),
                printed=f"{len(odd)} of {len(cells)} with other decimals",
                computed=f"usual: {usual}",
                sentence=(
                    f"Column {column}: {len(odd)} of {len(cells)} values are not printed with the usual number of "
                    f"decimals ({usual}): {listed}{' ...' if len(odd) > 4 else ''}; such cells may come "
                    "from another source."
                ),
                numbers={"odd": len(odd), "usual_decimals": usual},
            )
        )
    return findings


CHECKS: tuple[Callable[[PublishedTable], list[Finding]], ...] = (
    check_emphasis,
    check_whole,
    check_derived_columns,
    check_reference_ranges,
    check_gaps,
    check_wins_within_noise,
    check_spreads,
    check_exaggeration,
    check_missing_spread,
    check_counts,
    check_spread_counts,
    check_denominators,
    check_precision,
)
"""Every check, in the order of the report."""
