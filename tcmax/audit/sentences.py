"""Sentences of a document, or of another one, held against the cells of a table.

Each sentence is structured in the metadata; the functions below only do the arithmetic, so that a check across two
documents is data, not code. All of it is about the printed table: *holds*, *fails* or *tie within rounding*.
"""

from fractions import Fraction

from tcmax.audit.checks import number
from tcmax.audit.findings import Finding, Outcome
from tcmax.audit.printed_tables import (
    BestEarlierSentence,
    DatasetKindsSentence,
    GainSentence,
    NumbersSentence,
    OneRowSentence,
    OrderSentence,
    OverlapSentence,
    PrintedCell,
    PublishedTable,
    Quoted,
    SameCellsSentence,
    Sentence,
    ValueSentence,
    load_table,
)
from tcmax.audit.rounding import Interval, PrintedNumber, parse_printed, printed_order
from tcmax.audit.summaries import overlap_critique
from tcmax.errors import TcmaxError


def _finding(
    sentence: Sentence,
    outcome: Outcome,
    computed: str,
    says: str,
    cells: tuple[PrintedCell, ...] = (),
    numbers: dict[str, float] | None = None,
    id_suffix: str = "",
) -> Finding:
    return Finding(
        id=f"sentence/{sentence.id}{id_suffix}",
        kind=f"sentence_{sentence.kind}",
        outcome=outcome,
        strength="certain",
        cells=tuple(cell.ref for cell in cells),
        printed=f"{sentence.document}: {sentence.text}",
        computed=computed,
        sentence=says,
        item=sentence.id,
        numbers=numbers or {},
    )


def _quoted(text: str, sentence: Sentence) -> PrintedNumber:
    try:
        return parse_printed(text)
    except ValueError as error:
        raise TcmaxError(f"sentence {sentence.id}: {error}.") from error


def _cell(table: PublishedTable, method: str, dataset: str, column: str, sentence: Sentence) -> PrintedCell:
    cell = table.find(method, dataset, column)
    if cell is None:
        raise TcmaxError(f"sentence {sentence.id}: {table.path} has no number for {method}, {dataset}, {column}.")
    return cell


def _better(table: PublishedTable, a: PrintedCell, b: PrintedCell) -> str:
    """Printed order of "a is better than b" in the column's direction."""
    high, low = (a, b) if table.metric(a.ref.column).better == "higher" else (b, a)
    return printed_order(number(high), number(low))


def same_number(quoted: PrintedNumber, cell: PrintedCell) -> bool:
    """Whether a number quoted elsewhere, perhaps with fewer decimals, can be this cell."""
    if quoted.decimals == number(cell).decimals:
        return quoted.value == number(cell).value
    return quoted.interval().overlaps(number(cell).interval())


def _order(table: PublishedTable, sentence: OrderSentence) -> Finding:
    failing: list[tuple[str, str]] = []  # dataset, and what stands against what
    ties: list[tuple[str, str]] = []
    datasets = sentence.datasets or table.datasets
    cells: list[PrintedCell] = []
    for dataset in datasets:
        block = [cell for cell in table.blocks.get((dataset, sentence.column), ()) if cell.value is not None]
        group = [cell for cell in block if cell.ref.method in sentence.group]
        rivals = [
            cell
            for cell in block
            if cell not in group and (sentence.against is None or cell.ref.method in sentence.against)
        ]
        if not group or not rivals:
            raise TcmaxError(f"sentence {sentence.id}: {dataset}, {sentence.column} lacks one of the sides.")
        for rival in rivals:
            verdicts = {_better(table, own, rival): own for own in group}
            if "holds" in verdicts:
                continue
            own = verdicts.get("tie within rounding") or verdicts["fails"]
            best = min(group, key=lambda cell: abs(number(cell).value - number(rival).value))
            (ties if "tie within rounding" in verdicts else failing).append(
                (dataset, f"{rival.ref.method} {rival.value} against {best.value}")
            )
            cells += [own, rival]
    if failing:
        outcome: Outcome = "disagrees"
        result = "fails"
    elif ties:
        outcome, result = "measured", "tie within rounding"
    else:
        outcome, result = "agrees", "holds"
    held = len(datasets) - len({dataset for dataset, _ in (*failing, *ties)})
    listed = "; ".join(f"{dataset}: {what}" for dataset, what in (*failing, *ties))
    return _finding(
        sentence,
        outcome,
        result,
        f'"{sentence.text}" ({sentence.document}): printed order {result}'
        + (f"; {listed}" if listed else "")
        + f"; holds on {held} of {len(datasets)} datasets.",
        tuple(cells),
        {"datasets": len(datasets), "held": held},
    )


def _gain(table: PublishedTable, sentence: GainSentence) -> Finding:
    own = _cell(table, sentence.method, sentence.dataset, sentence.column, sentence)
    over = _cell(table, sentence.over, sentence.dataset, sentence.column, sentence)
    value, over_value, gain = (_quoted(text, sentence) for text in (sentence.value, sentence.over_value, sentence.gain))
    faults = [
        f"{cell.ref.method} is {cell.value} in the table, not {quoted}"
        for cell, quoted in ((own, value), (over, over_value))
        if not same_number(quoted, cell)
    ]
    sign = 1 if table.metric(sentence.column).better == "higher" else -1
    difference = sign * (number(own).value - number(over).value)
    span = number(own).interval() - number(over).interval()
    span = span if sign > 0 else -span
    if not gain.interval().overlaps(span):
        faults.append(f"the gain cannot be {gain}")
    places = max(number(own).decimals, 0)
    return _finding(
        sentence,
        "disagrees" if faults else "agrees",
        f"{float(difference):+.{places}f}",
        f'"{sentence.text}" ({sentence.document}): '
        + ("; ".join(faults) + "; " if faults else "")
        + f"the cells give {float(difference):+.{places}f} over {sentence.over} {over.value} "
        f"({float(span.low):.{places}f} to {float(span.high):.{places}f} within rounding).",
        (own, over),
        {"gain": float(difference), "gain_low": float(span.low), "gain_high": float(span.high)},
    )


def _best_earlier(table: PublishedTable, sentence: BestEarlierSentence) -> Finding:
    named = _cell(table, sentence.method, sentence.dataset, sentence.column, sentence)
    block = [c for c in table.blocks[(sentence.dataset, sentence.column)] if c.value is not None]
    own = [cell for cell in block if cell.ref.method in table.metadata.ours]
    earlier = [cell for cell in block if cell not in own]
    above = [cell for cell in earlier if _better(table, cell, named) == "holds"]
    sign = 1 if table.metric(sentence.column).better == "higher" else -1
    above.sort(key=lambda cell: -sign * number(cell).value)
    best = above[0] if above else named
    gains = {cell.ref.method: sign * float(number(cell).value - number(best).value) for cell in own}
    listed = ", ".join(f"{cell.ref.method} {cell.value}" for cell in above)
    places = max(number(named).decimals, 0)
    stated = ", ".join(f"{gain:+.{places}f} ({method})" for method, gain in gains.items())
    return _finding(
        sentence,
        "disagrees" if above else "agrees",
        f"{best.ref.method} {best.value}",
        f'"{sentence.text}" ({sentence.document}): '
        + (f"better earlier rows: {listed}; " if above else "no earlier row is better; ")
        + f"the gain over the best earlier row is {stated}.",
        (named, *above),
        {"rows_above": len(above), "best": float(number(best).value)}
        | {f"gain {method}": gain for method, gain in gains.items()},
    )


def _matches(table: PublishedTable, sentence: Sentence, text: str, dataset: str, column: str) -> list[PrintedCell]:
    quoted = _quoted(text, sentence)
    block = table.blocks.get((dataset, column))
    if block is None:
        raise TcmaxError(f"sentence {sentence.id}: {table.path} has no {dataset}, {column}.")
    return [cell for cell in block if cell.value is not None and same_number(quoted, cell)]


def _value(table: PublishedTable, sentence: ValueSentence) -> Finding:
    methods = sentence.methods or table.methods
    found = [
        cell
        for cell in _matches(table, sentence, sentence.printed, sentence.dataset, sentence.column)
        if cell.ref.method in methods
    ]
    own = [table.find(method, sentence.dataset, sentence.column) for method in table.metadata.ours]
    reported = ", ".join(f"{cell.value} ({cell.ref.method})" for cell in own if cell is not None)
    anywhere = [
        cell
        for cell in table.cells
        if cell.value is not None and same_number(_quoted(sentence.printed, sentence), cell)
    ]
    if found:
        says = "is " + ", ".join(str(cell.ref) for cell in found)
    else:
        says = f"is no cell of {sentence.dataset}, {sentence.column}"
        says += f" ({len(anywhere)} elsewhere in the table)" if anywhere else " nor of the whole table"
        says += f"; own rows there: {reported}" if reported else ""
    return _finding(
        sentence,
        "agrees" if found else "disagrees",
        f"{len(found)} matching cells",
        f"{sentence.document}: {sentence.printed} {says}.",
        tuple(found) or tuple(cell for cell in own if cell is not None),
        {"matches": len(found), "matches_anywhere": len(anywhere)},
    )


def _one_row(table: PublishedTable, sentence: OneRowSentence) -> Finding:
    rows: dict[str, list[str]] = {}
    cells: list[PrintedCell] = []
    for dataset, text in sentence.values.items():
        found = [
            cell
            for cell in _matches(table, sentence, text, dataset, sentence.column)
            if cell.ref.method in sentence.methods
        ]
        cells += found
        rows[f"{text} ({dataset})"] = [cell.ref.method for cell in found]
    matched = {entry: methods for entry, methods in rows.items() if methods}
    common = set(sentence.methods).intersection(*map(set, matched.values())) if matched else set()
    listed = "; ".join(f"{entry} is {' or '.join(methods) or 'no such row'}" for entry, methods in rows.items())
    whole = bool(common) and len(matched) == len(rows)
    return _finding(
        sentence,
        "agrees" if whole else "disagrees",
        f"{len(common)} rows fit all that match",
        f"{sentence.document}, one entry: {listed}"
        + ("." if common else "; no single row has them all, so the entry mixes rows."),
        tuple(cells),
        {"matched": len(matched), "values": len(rows), "common_rows": len(common)},
    )


def _dataset_kinds(table: PublishedTable, sentence: DatasetKindsSentence) -> Finding:
    kinds = {name: table.metadata.dataset_kinds.get(name, "not stated") for name in table.datasets}
    count = sum(kind in sentence.kinds for kind in kinds.values())
    others = ", ".join(f"{name} ({kind})" for name, kind in kinds.items() if kind not in sentence.kinds)
    absent = [kind for kind in sentence.kinds if kind not in kinds.values()]
    return _finding(
        sentence,
        "agrees" if count == sentence.printed else "disagrees",
        f"{count} of {len(kinds)}",
        f'"{sentence.text}" ({sentence.document}): the table has {count} of these kinds'
        + (f"; the rest: {others}" if others else "")
        + (f"; none is {' or '.join(absent)}" if absent else "")
        + ".",
        (),
        {"printed": sentence.printed, "count": count},
    )


def _quoted_value(quoted: Quoted, sentence: Sentence) -> Interval:
    """The values a quoted number allows; a printed one without `unit` is taken as exact (a count)."""
    if quoted.sum is not None:
        return Interval.exactly(sum(quoted.sum))
    if quoted.product is not None:
        product = 1
        for factor in quoted.product:
            product *= factor
        return Interval.exactly(product)
    if quoted.printed is None:
        raise TcmaxError(f"sentence {sentence.id}: give printed, sum or product for {quoted.source}.")
    value = _quoted(quoted.printed, sentence).value
    if quoted.unit is None:
        return Interval.exactly(value)
    half = Fraction(quoted.unit, 2)
    return Interval(value - half, value + half, True, False)


def _describe(quoted: Quoted, value: Interval) -> str:
    if quoted.sum is not None:
        return " + ".join(f"{part:,}" for part in quoted.sum) + f" = {int(value.low):,}"
    if quoted.product is not None:
        return " x ".join(f"{part:,}" for part in quoted.product) + f" = {int(value.low):,}"
    return f"{'about ' if quoted.unit else ''}{float(value.middle):,.6g}"


def _numbers(table: PublishedTable, sentence: NumbersSentence) -> Finding:
    first, second = (_quoted_value(quoted, sentence) for quoted in (sentence.first, sentence.second))
    agree = first.overlaps(second)
    return _finding(
        sentence,
        "agrees" if agree else "disagrees",
        _describe(sentence.second, second),
        f"{sentence.first.source}: {_describe(sentence.first, first)}; "
        f"{sentence.second.source}: {_describe(sentence.second, second)}; these {'agree' if agree else 'differ'}.",
        (),
        {"first": float(first.middle), "second": float(second.middle)},
    )


def _overlap(table: PublishedTable, sentence: OverlapSentence) -> list[Finding]:
    findings = []
    for dataset in sentence.datasets or table.datasets:
        a, b = (_cell(table, method, dataset, sentence.column, sentence) for method in (sentence.a, sentence.b))
        if a.pm is None or b.pm is None or a.n_seeds is None or b.n_seeds is None:
            raise TcmaxError(f"sentence {sentence.id}: {dataset} needs a ± and a number of runs on both sides.")
        if table.metric(sentence.column).better == "lower":
            a, b = b, a
        assert a.pm is not None
        assert b.pm is not None
        critique = overlap_critique(
            number(a).interval(), a.pm.interval(), a.n_seeds or 0, number(b).interval(), b.pm.interval(), b.n_seeds or 0
        )
        ends = [
            (float(number(cell).value - cell.pm.value), float(number(cell).value + cell.pm.value))
            for cell in (a, b)
            if cell.pm is not None
        ]
        places = max(number(a).decimals, 0)
        (a_low, a_high), (b_low, b_high) = ends
        test = critique.test
        findings.append(
            _finding(
                sentence,
                "disagrees",
                f"t = {test.t:.2f}, df = {test.df:.1f}, p = {test.p:.2g}",
                f"{dataset}: [{a_low:.{places}f}, {a_high:.{places}f}] and [{b_low:.{places}f}, {b_high:.{places}f}] "
                f"are {critique.gap:.{places}f} apart, {float(critique.gap_range.low):.{places}f} to "
                f"{float(critique.gap_range.high):.{places}f} within rounding. 0.975^2 = "
                f"{critique.joint_coverage:.4f} is the chance that two independent one-sided bounds hold at once, "
                f"a confidence and no p-value; no overlap is a test at alpha {critique.equivalent_level:.2g}, not "
                f"5 %. Welch gives t = {test.t:.2f}, df = {test.df:.1f}, p = {test.p:.2g}, for new runs on the same "
                "test items only.",
                (a, b),
                {
                    "gap": critique.gap,
                    "gap_low": float(critique.gap_range.low),
                    "gap_high": float(critique.gap_range.high),
                    "a_low": a_low,
                    "a_high": a_high,
                    "b_low": b_low,
                    "b_high": b_high,
                    "difference": test.difference,
                    "t": test.t,
                    "df": test.df,
                    "p": test.p,
                    "joint_coverage": critique.joint_coverage,
                    "equivalent_level": critique.equivalent_level,
                },
                f"/{dataset}",
            )
        )
    return findings


def _same_cells(table: PublishedTable, sentence: SameCellsSentence) -> Finding:
    other = load_table(table.path.parent / sentence.table)
    shared, different = 0, []
    for cell in table.cells:
        twin = other.find(cell.ref.method, cell.ref.dataset, cell.ref.column)
        if twin is None or cell.value is None:
            continue
        shared += 1
        if not same_number(number(twin), cell):
            different.append(cell)
    listed = ", ".join(str(cell.ref) for cell in different)
    return _finding(
        sentence,
        "disagrees" if different or not shared else "agrees",
        f"{shared - len(different)} of {shared} equal",
        f"{sentence.text}: {shared - len(different)} of {shared} shared cells are equal"
        + (f"; they differ in {listed}." if listed else "."),
        tuple(different),
        {"shared": shared, "different": len(different)},
    )


def check_sentence(table: PublishedTable, sentence: Sentence) -> list[Finding]:
    """Hold one structured sentence against a table; a place it names and the table lacks is a TcmaxError."""
    match sentence:
        case OrderSentence():
            return [_order(table, sentence)]
        case GainSentence():
            return [_gain(table, sentence)]
        case BestEarlierSentence():
            return [_best_earlier(table, sentence)]
        case ValueSentence():
            return [_value(table, sentence)]
        case OneRowSentence():
            return [_one_row(table, sentence)]
        case DatasetKindsSentence():
            return [_dataset_kinds(table, sentence)]
        case OverlapSentence():
            return _overlap(table, sentence)
        case SameCellsSentence():
            return [_same_cells(table, sentence)]
        case NumbersSentence():
            return [_numbers(table, sentence)]
