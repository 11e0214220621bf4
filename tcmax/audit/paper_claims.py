"""A claims file about printed tables: sentences of a document, written down so that its own numbers can decide them.

One YAML file names published tables and lists claims about their cells (docs/audit.md). `load_paper_claims` rejects
what leaves a claim open, and every row, dataset or column that its table does not have. `paper_verdicts` judges them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import field_validator, model_validator

from tcmax.audit.checks import number
from tcmax.audit.printed_tables import PrintedCell, PublishedTable, load_table
from tcmax.audit.rounding import PrintedNumber, parse_printed
from tcmax.audit.schema import Source, validated
from tcmax.errors import TcmaxError
from tcmax.experiment.yaml import Strict, read_yaml
from tcmax.records.files import sha256

_ID = re.compile(r"[a-z0-9][a-z0-9-]*")

Relation = Literal["better than", "worse than", "best of", "equals", "gains", "association"]
Rows = tuple[str, ...] | Literal["all others", "all earlier"]

# Keys that say what to look up; a claim that is not testable has none of them.
_STRUCTURE = frozenset(
    {
        "table",
        "datasets",
        "columns",
        "subject",
        "rivals",
        "relation",
        "margin",
        "printed",
        "quantifier",
        "associated_with",
        "direction",
    }
)
_USES: dict[str, frozenset[str]] = {
    "better than": frozenset({"subject", "rivals"}),
    "worse than": frozenset({"subject", "rivals"}),
    "best of": frozenset({"subject", "rivals"}),
    "equals": frozenset({"subject", "printed"}),
    "gains": frozenset({"subject", "rivals", "printed"}),
    "association": frozenset({"associated_with", "direction"}),
}


class Beside(Strict):
    """The other column of an association."""

    table: str
    column: str


class PaperClaim(Strict):
    """One sentence about printed numbers. The meaning of every key is in docs/audit.md.

    subject, rivals: row labels of the table. "all earlier" stands for the rows that are not the authors' own, and
    "all others" for every row but the subject's. Of several subject rows the better one is compared with each rival.
    margin, printed: as printed, in the unit of the table; text, so that decimals are kept.
    """

    id: str
    text: str
    source: Source

    testable: bool = True
    reason: str | None = None
    data_needed: str | None = None

    table: str | None = None
    datasets: Literal["all"] | tuple[str, ...] = "all"
    columns: tuple[str, ...] | None = None
    subject: Rows | None = None
    rivals: Rows | None = None
    relation: Relation | None = None
    margin: str = "0"
    printed: str | None = None
    quantifier: Literal["each", "some"] = "each"
    associated_with: Beside | None = None
    direction: Literal["positive", "negative"] | None = None

    @field_validator("datasets", "columns", "subject", "rivals", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        if isinstance(value, list):
            return tuple(value)
        words = ("all", "all others", "all earlier")
        return (value,) if isinstance(value, str) and value not in words else value

    @field_validator("margin", "printed")
    @classmethod
    def _a_printed_number(cls, value: str | None) -> str | None:
        if value is not None:
            parse_printed(value)
        return value

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not _ID.fullmatch(self.id):
            raise ValueError(f"id: {self.id!r} is not lower-case letters, digits and '-'")
        for key in ("datasets", "columns", "subject", "rivals"):
            value = getattr(self, key)
            if value == ():
                raise ValueError(f"{key}: the list is empty")
            if isinstance(value, tuple) and len(set(value)) != len(value):
                raise ValueError(f"{key}: something is listed twice")
        if not self.testable:
            return self._untestable()
        if self.reason is not None:
            raise ValueError("reason: belongs to a claim with `testable: false`")
        for key in ("table", "relation", "columns"):
            if getattr(self, key) is None:
                raise ValueError(f"{key}: a testable claim needs it")
        used = _USES[str(self.relation)]
        for key in ("subject", "rivals", "printed", "associated_with", "direction"):
            given = getattr(self, key) is not None
            if key in used and not given and not (key == "rivals" and self.relation == "best of"):
                raise ValueError(f"{key}: the relation {self.relation!r} needs it")
            if given and key not in used:
                raise ValueError(f"{key}: the relation {self.relation!r} does not use it")
        if self.margin != "0" and self.relation not in ("better than", "worse than", "best of"):
            raise ValueError(f"margin: the relation {self.relation!r} does not use it")
        if self.subject == "all others":
            raise ValueError("subject: 'all others' belongs to rivals")
        if self.relation == "gains" and not (self._is_one(self.subject) and self._is_one(self.rivals)):
            raise ValueError("subject: a quoted gain is that of one row over one row")
        if self.relation == "association" and len(self.columns or ()) != 1:
            raise ValueError("columns: an association takes one column of each table")
        if isinstance(self.subject, tuple) and isinstance(self.rivals, tuple):
            both = sorted(set(self.subject) & set(self.rivals))
            if both:
                raise ValueError(f"rivals: {both[0]} is the subject too")
        return self

    def _untestable(self) -> Self:
        if not self.reason:
            raise ValueError("reason: a claim with `testable: false` says why")
        structured = sorted(_STRUCTURE & self.model_fields_set)
        if structured:
            raise ValueError(f"{structured[0]}: a claim with `testable: false` looks nothing up")
        return self

    @staticmethod
    def _is_one(rows: Rows | None) -> bool:
        return isinstance(rows, tuple) and len(rows) == 1

    @property
    def cited(self) -> str:
        """Document and section, and whether the words are the document's own."""
        paraphrased = " (paraphrased)" if self.source.wording == "paraphrased" else ""
        return f"{self.source.document}, {self.source.section}{paraphrased}"

    @property
    def quoted_number(self) -> PrintedNumber:
        """The number that the sentence quotes; only relations that need one have it."""
        return parse_printed(self.printed or "")


@dataclass(frozen=True)
class PaperClaims:
    """The claims of a file in their order, the tables they cite by name, and the SHA-256 of the file."""

    path: Path
    sha256: str
    tables: Mapping[str, PublishedTable]
    claims: tuple[PaperClaim, ...]


def load_paper_claims(path: Path) -> PaperClaims:
    """Read and validate a claims file and the tables it names (paths relative to it).

    Raises TcmaxError naming the file, the claim and the key: an incomplete or contradictory claim, a repeated id, a
    table, row, dataset or column that is not there, a claim that no cell of its table can decide.
    """
    path = Path(path)
    raw = read_yaml(path)
    if (
        not isinstance(raw, dict)
        or set(raw) != {"tables", "claims"}
        or not isinstance(raw["tables"], dict)
        or not isinstance(raw["claims"], list)
    ):
        raise TcmaxError(
            f"{path}: claims about printed tables have two keys, `tables` (name to CSV file) and `claims` (a list)."
        )
    tables = {str(name): load_table(path.parent / str(file)) for name, file in raw["tables"].items()}
    claims = validated(raw["claims"], path, PaperClaim, lambda claim: _problem(claim, tables))
    return PaperClaims(path, sha256(path), tables, claims)


def places_of(claim: PaperClaim, table: PublishedTable) -> tuple[tuple[str, str], ...]:
    """The (dataset, column) blocks a claim is about, those that the table has."""
    datasets = table.datasets if claim.datasets == "all" else claim.datasets
    blocks = table.blocks
    return tuple((name, column) for name in datasets for column in claim.columns or () if (name, column) in blocks)


def sides_of(
    claim: PaperClaim, table: PublishedTable, place: tuple[str, str]
) -> tuple[list[PrintedCell], list[PrintedCell]]:
    """Reported cells of the subject's rows and of the rivals' at one place, in the order of the table."""
    block = [cell for cell in table.blocks[place] if cell.value is not None]
    own = set(_labels(claim.subject, table, ()))
    rivals = set(_labels(claim.rivals or "all others", table, tuple(own)))
    return [cell for cell in block if cell.ref.method in own], [cell for cell in block if cell.ref.method in rivals]


def better_first(cells: list[PrintedCell], table: PublishedTable) -> list[PrintedCell]:
    """Cells of one column by their printed value, the best one first; equal values keep their order."""
    sign = -1 if table.metric(cells[0].ref.column).better == "higher" else 1
    return sorted(cells, key=lambda cell: sign * number(cell).value)


def _labels(rows: Rows | None, table: PublishedTable, subject: tuple[str, ...]) -> tuple[str, ...]:
    if isinstance(rows, tuple):
        return rows
    left_out = table.metadata.ours if rows == "all earlier" else ()
    return tuple(name for name in table.methods if name not in left_out and name not in subject)


def _problem(claim: PaperClaim, tables: Mapping[str, PublishedTable]) -> str | None:
    """The first thing a claim names that its table does not have, as "key: sentence", or None."""
    if not claim.testable:
        return None
    named = {"table": claim.table, "associated_with.table": claim.associated_with and claim.associated_with.table}
    for key, name in named.items():
        if name is not None and name not in tables:
            return f"{key}: there is no table {name!r}; tables: {', '.join(tables)}."
    table = tables[str(claim.table)]
    columns = tuple(dict.fromkeys(cell.ref.column for cell in table.cells))
    known = {"datasets": table.datasets, "columns": columns, "subject": table.methods, "rivals": table.methods}
    for key, have in known.items():
        value = getattr(claim, key)
        for name in value if isinstance(value, tuple) else ():
            if name not in have:
                return f"{key}: {table.path.name} has no {name!r}; it has {', '.join(have)}."
    if "all earlier" in (claim.subject, claim.rivals) and not table.metadata.ours:
        return f"rivals: 'all earlier' needs `ours` in the metadata of {table.path.name}."
    places = places_of(claim, table)
    if not places:
        return f"columns: {table.path.name} has none of these columns on the datasets of the claim."
    if claim.associated_with is not None:
        other = tables[claim.associated_with.table]
        for dataset, _ in places:
            if (dataset, claim.associated_with.column) not in other.blocks:
                return f"associated_with.column: {other.path.name} has no {claim.associated_with.column} on {dataset}."
        return None
    for place in places:
        own, rivals = sides_of(claim, table, place)
        side = "subject" if not own else "rivals" if claim.relation != "equals" and not rivals else None
        if side:
            return f"{side}: {table.path.name} has no number for it on {place[0]}, {place[1]}."
    return None
