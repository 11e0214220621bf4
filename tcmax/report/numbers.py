"""How numbers are written: three significant digits, an interval to the same place as its estimate, p to two digits.

Places are chosen once per column or comparison, so that numbers that are read together end at the same digit.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

SIGNIFICANT = 3
MOST_PLACES = 4
SMALLEST_P = 1e-4


@dataclass(frozen=True)
class Scale:
    """How a unit of the records is shown.

    factor: shown = stored * factor. unit, difference_unit: as printed. places, difference_places: fixed numbers of
    decimals, or None for three significant digits of the largest number shown together.
    """

    factor: float
    unit: str
    difference_unit: str
    places: int | None = None
    difference_places: int | None = None


_PERCENT = Scale(100.0, "%", "pp", places=1, difference_places=2)


def scale_of(unit: str) -> Scale:
    """The scale of a unit: proportions are shown in percent and their differences in percentage points (pp)."""
    return _PERCENT if unit == "proportion" else Scale(1.0, unit, unit)


def places_for(values: Iterable[float | None]) -> int:
    """Decimals that give the largest of `values` three significant digits, 0 to 4."""
    largest = max((abs(v) for v in values if v is not None and math.isfinite(v)), default=0.0)
    if largest == 0:
        return 2
    return min(max(SIGNIFICANT - 1 - math.floor(math.log10(largest)), 0), MOST_PLACES)


def fixed(value: float | None, places: int, signed: bool = False) -> str:
    """`value` with a true minus sign, "0.00" without one, and a dash where it is missing."""
    if value is None or not math.isfinite(value):
        return "–"
    text = f"{value:+.{places}f}" if signed else f"{value:.{places}f}"
    if float(text) == 0:
        text = text.replace("-", "").replace("+", "")
    return text.replace("-", "−")


@dataclass(frozen=True)
class Shown:
    """An estimate with its interval as text: value, bounds (empty when there is no interval) and half-width. skewed:
    the interval is not symmetric about the value, as those of proportions."""

    value: str
    low: str = ""
    high: str = ""
    half_width: str = ""
    skewed: bool = False

    @property
    def interval(self) -> str:
        """ "[low, high]", or nothing."""
        return f"[{self.low}, {self.high}]" if self.low else ""

    @property
    def spread(self) -> str:
        """What stands behind the value: "± half-width", or "[low, high]" where it is skewed, or nothing."""
        if self.skewed or not self.low:
            return self.interval
        return f"± {self.half_width}"


def show(
    estimate: float | None,
    low: float | None,
    high: float | None,
    unit: str,
    difference: bool = False,
    places: int | None = None,
) -> Shown:
    """An estimate and its interval in their printed unit. `places` overrules the choice of decimals."""
    scale = scale_of(unit)
    numbers = [None if v is None or not math.isfinite(v) else v * scale.factor for v in (estimate, low, high)]
    if places is None:
        places = scale.difference_places if difference else scale.places
    if places is None:
        places = places_for(numbers)
    value, below, above = numbers
    if below is None or above is None:
        return Shown(fixed(value, places, difference))
    return Shown(
        fixed(value, places, difference),
        fixed(below, places, difference),
        fixed(above, places, difference),
        fixed((above - below) / 2, places),
        skewed=unit == "proportion" and not difference,
    )


def show_p(p: float | None) -> str:
    """A p-value to two significant digits; "< 0.0001" below that, a dash where there is none."""
    if p is None or not math.isfinite(p):
        return "–"
    if p < SMALLEST_P:
        return "< 0.0001"
    places = min(max(1 - math.floor(math.log10(p)), 2), 5) if p < 0.995 else 2
    return f"{p:.{places}f}"


def count(number: float | None, noun: str) -> str:
    """ "1 seed", "12 seeds", "1,197 items"."""
    if number is None or not math.isfinite(number):
        return f"no {noun}s"
    return f"{int(number):,} {noun}{'' if int(number) == 1 else 's'}"


def joined(words: Iterable[str], last: str = "and") -> str:
    """ "a", "a and b", "a, b and c"."""
    *first, final = list(words) or [""]
    return f"{', '.join(first)} {last} {final}" if first else final
