"""Reading a published table: cells as they were printed, and the small metadata file beside them.

A table is a CSV in long format, one row per cell. By default its columns are `method, dataset, column, value` and,
where known, `pm` (the printed ±), `n_seeds` (or `n`: runs behind the mean), `n_items` (test items) and `mark` (best
or second); `layout` in the metadata renames them. Numbers stay text until `rounding` has noted their decimals.
"""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from tcmax.audit.emphasis import Mark
from tcmax.audit.rounding import PrintedNumber, parse_printed
from tcmax.errors import TcmaxError
from tcmax.experiment.yaml import explain, read_yaml
from tcmax.records.files import explained

_NOT_REPORTED = {"", "-", "--", "\N{EN DASH}", "\N{EM DASH}", "\N{MINUS SIGN}", "n/a", "na", "nan", "none"}
_MOST_SEEDS = 100


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Layout(_Strict):
    """Which column of the file plays which part; several dataset columns are joined with " / "."""

    method: str = "method"
    dataset: tuple[str, ...] = ("dataset",)
    column: str | None = "column"
    value: str = "value"
    pm: str = "pm"
    n_seeds: str = "n_seeds"
    n_items: str = "n_items"
    mark: str = "mark"

    @field_validator("dataset", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value


class Metric(_Strict):
    """What the numbers of a column are. `item_mean`: a share of test items that are right, so that counts apply."""

    name: str
    unit: Literal["percent", "proportion", "other"]
    better: Literal["higher", "lower"] = "higher"
    item_mean: bool = True

    @property
    def scale(self) -> int:
        """The value of a perfect score, for item means."""
        return 100 if self.unit == "percent" else 1


class TestSize(_Strict):
    """Number of test items with its source; `assumed` where the document itself does not state it."""

    __test__ = False  # the name is no pytest class

    n: int = Field(ge=1)
    source: str
    assumed: bool = False


class SpreadMeaning(_Strict):
    """What a printed ± is said to be, and where that is said."""

    meaning: Literal["sd", "se", "ci95", "none", "unstated"]
    source: str = ""


class AssumedSpread(_Strict):
    """A range of standard deviations over runs, in the unit of the table, for cells without a ±, and whence it is."""

    low: float = Field(gt=0)
    high: float = Field(gt=0)
    source: str

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.high < self.low:
            raise ValueError("high lies below low")
        return self


class Marks(_Strict):
    """Which kinds of emphasis could be read off the document."""

    checked: tuple[Mark, ...] = ("best", "second")
    note: str = ""


class Derived(_Strict):
    """A printed column that is computed from others: numerator / denominator."""

    column: str
    numerator: str
    denominator: str
    datasets: tuple[str, ...]
    item: str = ""


class Candidate(_Strict):
    """One test size to weigh, with why anybody would think of it."""

    n: int = Field(ge=1)
    why: str = ""


class DenominatorQuestion(_Strict):
    """Which test size do these cells speak for? `scan`: also look at every size from ... to, inclusive."""

    item: str = ""
    datasets: tuple[str, ...]
    columns: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    scan: tuple[int, int] | None = None
    rounded_first_to: int | None = None


class ReferenceRange(_Strict):
    """Where other documents put this quantity."""

    item: str = ""
    dataset: str
    column: str
    low: str
    high: str
    source: str


class _Sentence(_Strict):
    id: str
    document: str
    text: str


class OrderSentence(_Sentence):
    """`group` beats every other row of `column` on each of `datasets` (all of them by default)."""

    kind: Literal["order"]
    group: tuple[str, ...]
    column: str
    against: tuple[str, ...] | None = None
    datasets: tuple[str, ...] | None = None


class GainSentence(_Sentence):
    """`method` scores `value` on a dataset, `gain` above `over`, which scores `over_value`."""

    kind: Literal["gain"]
    method: str
    value: str
    over: str
    over_value: str
    gain: str
    dataset: str
    column: str


class BestEarlierSentence(_Sentence):
    """`method`, at `value`, is the best row that is not the authors' own, so that `gain` is the gain over it."""

    kind: Literal["best_earlier"]
    method: str
    value: str
    gain: str
    dataset: str
    column: str


class ValueSentence(_Sentence):
    """A number quoted elsewhere for a dataset should be some cell of `methods` (all by default) in `column`."""

    kind: Literal["value"]
    printed: str
    dataset: str
    column: str
    methods: tuple[str, ...] | None = None


class OneRowSentence(_Sentence):
    """Numbers quoted as those of one method should all be cells of one row."""

    kind: Literal["one_row"]
    values: dict[str, str]
    column: str
    methods: tuple[str, ...]


class DatasetKindsSentence(_Sentence):
    """`printed` datasets of these kinds stand in the table."""

    kind: Literal["dataset_kinds"]
    printed: int
    kinds: tuple[str, ...]


class OverlapSentence(_Sentence):
    """Method a is better than method b because their 95 % intervals do not overlap."""

    kind: Literal["overlap"]
    a: str
    b: str
    column: str
    datasets: tuple[str, ...] | None = None


class SameCellsSentence(_Sentence):
    """The cells of another table of the same folder repeat the ones of this table."""

    kind: Literal["same_cells"]
    table: str


class Quoted(_Strict):
    """A number with its source: printed as such (`unit`: worth of its last firm digit), or a sum or product."""

    source: str
    printed: str | None = None
    unit: int | None = None
    sum: tuple[int, ...] | None = None
    product: tuple[int, ...] | None = None


class NumbersSentence(_Sentence):
    """Two documents give one quantity."""

    kind: Literal["numbers"]
    first: Quoted
    second: Quoted


Sentence = Annotated[
    OrderSentence
    | GainSentence
    | BestEarlierSentence
    | ValueSentence
    | OneRowSentence
    | DatasetKindsSentence
    | OverlapSentence
    | SameCellsSentence
    | NumbersSentence,
    Field(discriminator="kind"),
]


class Label(_Strict):
    """Gives findings of one kind (on one dataset, column, method) the number they have in a published list."""

    id: str
    kind: str
    dataset: str | None = None
    column: str | None = None
    method: str | None = None


class Metadata(_Strict):
    """Everything about a table that its cells do not say. Every key is optional; unknown keys are refused."""

    document: str = ""
    table: str = ""
    citation: str = ""
    note: str = ""
    reference: str = ""
    layout: Layout = Layout()
    metric: Metric | None = None
    metrics: dict[str, Metric] = {}
    n_seeds: int | None = Field(default=None, ge=1)
    n_seeds_source: str = ""
    spread: SpreadMeaning = SpreadMeaning(meaning="unstated")
    assumed_seed_sd: AssumedSpread | None = None
    marks: Marks = Marks()
    ours: tuple[str, ...] = ()
    judged_columns: tuple[str, ...] = ()
    whole: str | None = None
    test_sizes: dict[str, TestSize] = {}
    dataset_kinds: dict[str, str] = {}
    derived: tuple[Derived, ...] = ()
    denominators: tuple[DenominatorQuestion, ...] = ()
    reference_ranges: tuple[ReferenceRange, ...] = ()
    sentences: tuple[Sentence, ...] = ()
    items: tuple[Label, ...] = ()


@dataclass(frozen=True, order=True)
class CellRef:
    """Which cell: row (method), dataset and column."""

    method: str
    dataset: str
    column: str

    def __str__(self) -> str:
        return f"{self.method}, {self.dataset}, {self.column}"


@dataclass(frozen=True)
class PrintedCell:
    """One printed cell. `value` is None where the table has a dash; n_items None where no size is known."""

    ref: CellRef
    value: PrintedNumber | None
    pm: PrintedNumber | None
    n_seeds: int | None
    n_items: int | None
    mark: Mark | None


@dataclass(frozen=True)
class PublishedTable:
    """Cells in file order with their metadata; look one up with `cell`."""

    path: Path
    metadata: Metadata
    cells: tuple[PrintedCell, ...]
    _index: Mapping[CellRef, PrintedCell] = field(repr=False, compare=False)

    def cell(self, method: str, dataset: str, column: str) -> PrintedCell:
        """The cell at this place; a TcmaxError names the table and the place if there is none."""
        ref = CellRef(method, dataset, column)
        if ref not in self._index:
            raise TcmaxError(f"{self.path} has no cell for {ref}.")
        return self._index[ref]

    def find(self, method: str, dataset: str, column: str) -> PrintedCell | None:
        """The cell at this place if it is there and holds a number."""
        cell = self._index.get(CellRef(method, dataset, column))
        return cell if cell is not None and cell.value is not None else None

    @property
    def methods(self) -> tuple[str, ...]:
        """Row labels in order of appearance."""
        return tuple(dict.fromkeys(cell.ref.method for cell in self.cells))

    @property
    def datasets(self) -> tuple[str, ...]:
        """Dataset labels in order of appearance."""
        return tuple(dict.fromkeys(cell.ref.dataset for cell in self.cells))

    @property
    def blocks(self) -> dict[tuple[str, str], tuple[PrintedCell, ...]]:
        """The cells that are compared with each other: those of one (dataset, column), in row order."""
        blocks: dict[tuple[str, str], tuple[PrintedCell, ...]] = {}
        for cell in self.cells:
            key = (cell.ref.dataset, cell.ref.column)
            blocks[key] = (*blocks.get(key, ()), cell)
        return blocks

    def metric(self, column: str) -> Metric:
        """What the numbers of a column are."""
        declared = self.metadata.metrics.get(column, self.metadata.metric)
        if declared is not None:
            return declared
        values = [float(c.value.value) for c in self.cells if c.ref.column == column and c.value is not None]
        if values and (min(values) < 0 or max(values) > 100):
            return Metric(name=column, unit="other", item_mean=False)
        unit: Literal["percent", "proportion"] = "percent" if values and max(values) > 1 else "proportion"
        return Metric(name=f"{column} (taken as accuracy)", unit=unit)


def load_metadata(path: Path) -> Metadata:
    """Read a metadata file; unknown keys, wrong types and numbers without quotes are TcmaxErrors naming the key."""
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise TcmaxError(f"{path} must hold keys and values (document, metric, test_sizes, ...).")
    try:
        return Metadata.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden" and len(first["loc"]) == 1:
            known = ", ".join(sorted(Metadata.model_fields))
            raise TcmaxError(f"{path}: unknown key {where}; known keys are {known}.") from error
        if first["type"] == "string_type" and isinstance(first["input"], int | float):
            raise TcmaxError(
                f"{path}: {where} must be in quotes, '{first['input']}', so that its printed decimals are kept."
            ) from error
        raise explain(error, path) from error


def _rows(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Header and (line number, fields) of a CSV file, with byte-order mark, line ends and quotes dealt with."""
    with explained("read", path):
        raw = Path(path).read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TcmaxError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8 CSV.") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows = []
    try:
        for fields in reader:
            if any(part.strip() for part in fields):
                rows.append((reader.line_num, [part.strip() for part in fields]))
    except csv.Error as error:
        raise TcmaxError(f"{path}, line {reader.line_num}: {error}.") from error
    if not rows:
        raise TcmaxError(f"{path} is empty.")
    _, header = rows[0]
    if len(header) == 1 and any(mark in header[0] for mark in ";\t"):
        raise TcmaxError(f"{path} seems to be separated by semicolons or tabs; write it with commas.")
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise TcmaxError(f"{path} has the column {repeated[0]!r} twice.")
    for line, fields in rows[1:]:
        if len(fields) != len(header):
            raise TcmaxError(f"{path}, line {line}: {len(fields)} fields where the header has {len(header)}.")
    return header, rows[1:]


def _printed(text: str, where: str) -> PrintedNumber | None:
    if text.casefold() in _NOT_REPORTED:
        return None
    try:
        return parse_printed(text)
    except ValueError as error:
        raise TcmaxError(f"{where}: {error}.") from error


def _count(text: str, where: str, name: str) -> int | None:
    if text.casefold() in _NOT_REPORTED:
        return None
    try:
        value = int(text)
    except ValueError as error:
        raise TcmaxError(f"{where}: {name} is {text!r}, not a whole number.") from error
    if value < 1:
        raise TcmaxError(f"{where}: {name} is {value}; it must be at least 1.")
    return value


def _mark(text: str, where: str) -> Mark | None:
    if text.casefold() in _NOT_REPORTED:
        return None
    marks: dict[str, Mark] = {"best": "best", "second": "second"}
    if text in marks:
        return marks[text]
    raise TcmaxError(f"{where}: the mark is {text!r}; use best, second or nothing.")


def _check_units(table: PublishedTable) -> None:
    """Refuse percent read as proportion and the reverse: every count and noise figure would be wrong."""
    for column in dict.fromkeys(cell.ref.column for cell in table.cells):
        cells = [cell for cell in table.cells if cell.ref.column == column and cell.value is not None]
        values = {float(cell.value.value): cell for cell in cells if cell.value is not None}
        if not values:
            continue
        low, high = min(values), max(values)
        declared = table.metadata.metrics.get(column, table.metadata.metric)
        place = f"{table.path}, column {column}"
        if declared is None:
            if 0 < low <= 1 < high <= 100:
                raise TcmaxError(
                    f"{place}: {values[low].value} ({values[low].ref}) and {values[high].value} ({values[high].ref}) "
                    "look like a proportion and a percentage; say which with `metric: {name: ..., unit: ...}` in the "
                    "metadata."
                )
        elif declared.unit == "proportion" and (high > 1 or low < 0):
            extreme = values[high] if high > 1 else values[low]
            raise TcmaxError(f"{place}: declared as proportion, but {extreme.ref} is {extreme.value}; is it percent?")
        elif declared.unit == "percent" and declared.item_mean:
            if high > 100 or low < 0:
                extreme = values[high] if high > 100 else values[low]
                raise TcmaxError(f"{place}: declared as percent, but {extreme.ref} is {extreme.value}.")
            if 0 < high <= 1:
                raise TcmaxError(f"{place}: declared as percent, but no value exceeds 1; is it a proportion?")


def load_table(path: Path, metadata: Path | Metadata | None = None) -> PublishedTable:
    """Read a published table with its metadata.

    metadata: a path, an object, or None for the file of the same name ending in .yaml beside the table, if there is
    one. Every defect of either file (missing column, unparsable number, cell given twice, percent mixed with
    proportions, unknown key, name in the metadata that no cell has) is a TcmaxError naming file and place.
    """
    path = Path(path)
    header, rows = _rows(path)
    if metadata is None and path.with_suffix(".yaml").exists():
        metadata = path.with_suffix(".yaml")
    facts = load_metadata(metadata) if isinstance(metadata, Path) else metadata or Metadata()
    if facts.reference:
        raise TcmaxError(f"{path} is not a table of results to audit: {facts.reference}")
    layout = facts.layout
    needed = [layout.method, *layout.dataset, layout.value] + ([layout.column] if layout.column else [])
    for name in needed:
        if name not in header:
            raise TcmaxError(
                f"{path} has no column {name!r} (it has {', '.join(header)}); "
                "rename it or set `layout` in the metadata."
            )
    if layout.n_seeds not in header and "n" in header:
        layout = layout.model_copy(update={"n_seeds": "n"})
    cells: dict[CellRef, PrintedCell] = {}
    for line, fields in rows:
        row = dict(zip(header, fields, strict=True))
        column = row[layout.column] if layout.column else (facts.metric.name if facts.metric else layout.value)
        ref = CellRef(row[layout.method], " / ".join(row[name] for name in layout.dataset), column)
        where = f"{path}, line {line} ({ref})"
        if not all((ref.method, ref.dataset, ref.column)):
            raise TcmaxError(f"{path}, line {line}: method, dataset and column must not be empty.")
        if ref in cells:
            raise TcmaxError(f"{where}: this cell stands in the file twice.")
        text, joined, spread = row[layout.value].partition("±")
        pm = _printed(spread.strip() if joined else row.get(layout.pm, ""), where)
        if pm is not None and pm.value < 0:
            raise TcmaxError(f"{where}: a spread of {pm} is negative.")
        n_seeds = _count(row.get(layout.n_seeds, ""), where, layout.n_seeds)
        if layout.n_seeds == "n" and n_seeds is not None and n_seeds > _MOST_SEEDS:
            raise TcmaxError(
                f"{where}: n is {n_seeds}, which looks like a test size; n counts runs (call it n_seeds if it does), "
                "test items go into n_items."
            )
        size = facts.test_sizes.get(ref.dataset)
        cells[ref] = PrintedCell(
            ref=ref,
            value=_printed(text.strip(), where),
            pm=pm,
            n_seeds=n_seeds or facts.n_seeds,
            n_items=_count(row.get(layout.n_items, ""), where, layout.n_items) or (size.n if size else None),
            mark=_mark(row.get(layout.mark, ""), where),
        )
    if not cells:
        raise TcmaxError(f"{path} has a header and no rows.")
    table = PublishedTable(path, facts, tuple(cells.values()), cells)
    _check_names(table)
    _check_units(table)
    return table


def _check_names(table: PublishedTable) -> None:
    """Every dataset, column and method that the metadata names must occur, or a typing slip would silence a check."""
    facts = table.metadata
    methods, datasets = set(table.methods), set(table.datasets)
    columns = {cell.ref.column for cell in table.cells}
    named: list[tuple[str, str, set[str]]] = [("ours", name, methods) for name in facts.ours]
    named += [("judged_columns", name, columns) for name in facts.judged_columns]
    named += [("metrics", name, columns) for name in facts.metrics]
    named += [("whole", facts.whole, columns)] if facts.whole else []
    named += [("test_sizes", name, datasets) for name in facts.test_sizes]
    named += [("dataset_kinds", name, datasets) for name in facts.dataset_kinds]
    for derived in facts.derived:
        named += [("derived", name, columns) for name in (derived.column, derived.numerator, derived.denominator)]
        named += [("derived", name, datasets) for name in derived.datasets]
    for question in facts.denominators:
        named += [("denominators", name, datasets) for name in question.datasets]
        named += [("denominators", name, columns) for name in question.columns]
    for reference in facts.reference_ranges:
        named += [("reference_ranges", reference.dataset, datasets), ("reference_ranges", reference.column, columns)]
    for key, name, known in named:
        if name not in known:
            raise TcmaxError(
                f"metadata of {table.path}: {key} names {name!r}, which the table does not have "
                f"(it has {', '.join(sorted(known))})."
            )
