"""What an audit hands over: findings that name cells, say what is printed and what was computed."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from tcmax.audit.printed_tables import CellRef, Label

Strength = Literal["certain", "likely", "weak"]
"""certain: arithmetic on the print alone; likely: rests on an assumption that the sentence names; weak: suggestive."""

Outcome = Literal["disagrees", "agrees", "measured", "silent"]
"""silent: the check ran and could not have failed, so that it says nothing."""


@dataclass(frozen=True)
class Finding:
    """One result of one check.

    id: stable within a table; item: its number in a published list of inconsistencies, if the metadata gives one;
    numbers: what was computed, by name, in the unit of the table unless the name says otherwise; values: the printed
    numbers that are held against each other, in the order of the cells; decimals: with how many the first is printed.
    """

    id: str
    kind: str
    outcome: Outcome
    strength: Strength
    cells: tuple[CellRef, ...]
    printed: str
    computed: str
    sentence: str
    item: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)
    values: tuple[str, ...] = ()
    decimals: int = 0

    def labelled(self, labels: tuple[Label, ...]) -> "Finding":
        """This finding with the item number of the first label that fits; an item it has already stays."""
        if self.item:
            return self
        for label in labels:
            if label.kind == self.kind and all(
                wanted is None or any(getattr(cell, part) == wanted for cell in self.cells)
                for part, wanted in (("dataset", label.dataset), ("column", label.column), ("method", label.method))
            ):
                return replace(self, item=label.id)
        return self
