"""What is compared: the scores of an arm, and the difference of two."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tcmax.evidence.wording import PLAIN, Remark
from tcmax.stats.crossed import Crossed

Floats = NDArray[np.float64]
Arm = tuple[str, ...]
Treatment = Literal["removed", "at chance"]
Pairing = Literal["paired", "independent seeds"]


def arm_name(arm: Arm) -> str:
    """A variant's label, or "best of x, y" where validation chooses within each seed."""
    return PLAIN.arm(arm[0], arm if len(arm) > 1 else None)


@dataclass(frozen=True)
class Score:
    """An arm's scores under one treatment.

    seeds, values   seeds and their scores (S, I), rows in the same order; without items, (S, 1) values of whole runs
    ran, diverged   all seeds that were run, and those without a finished run
    runs            what each row's run is known by: equal for runs whose stored forecasts are the same numbers
    notes           choices that a reader should know
    """

    seeds: tuple[int, ...]
    values: Floats
    ran: frozenset[int]
    diverged: tuple[int, ...]
    runs: tuple[Hashable, ...]
    notes: tuple[str | Remark, ...] = ()


@dataclass(frozen=True)
class Compared:
    """A − B, and what it rests on. a, b: the matrices compared, rows paired unless `pairing` says otherwise."""

    crossed: Crossed
    pairing: Pairing
    a: Floats
    b: Floats
    n_diverged: int
    notes: tuple[str | Remark, ...]
