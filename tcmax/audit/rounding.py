"""What a printed number still allows: exact interval arithmetic on rounded decimals.

A table prints 82.8; the value behind it lies in [82.75, 82.85). Every comparison, gap and ratio below carries
that interval along in rational arithmetic, so that a finding never rests on a digit the table does not have.
"""

import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Literal, get_args

Rule = Literal["half_up", "half_even", "nearest", "truncate"]
"""How the last digit came about. `nearest` is rounding to nearest with ties going either way, which is what
floating-point arithmetic does in practice; it is the widest of the three that round."""

Order = Literal["holds", "fails", "tie within rounding"]

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


@dataclass(frozen=True)
class Interval:
    """A bounded set of real numbers with exact ends, each end in (closed) or out (open).

    Arithmetic assumes that the two operands vary independently: the result is the set of all values that the
    operation can take. It is sharp when each printed number enters once, as in a gap or a ratio.

    Raises ValueError where low > high, where low == high with an open end, and for a division by an interval
    that holds zero.
    """

    low: Fraction
    high: Fraction
    low_closed: bool = True
    high_closed: bool = True

    def __post_init__(self) -> None:
        if self.low > self.high or (self.low == self.high and not (self.low_closed and self.high_closed)):
            raise ValueError(f"empty interval: low {float(self.low)}, high {float(self.high)}")

    @classmethod
    def exactly(cls, value: Fraction | int) -> "Interval":
        """The interval that holds one value."""
        return cls(Fraction(value), Fraction(value))

    @property
    def middle(self) -> Fraction:
        """The midpoint."""
        return (self.low + self.high) / 2

    def contains(self, value: Fraction) -> bool:
        """Whether `value` lies inside, ends counted as they are marked."""
        above = value > self.low or (value == self.low and self.low_closed)
        below = value < self.high or (value == self.high and self.high_closed)
        return above and below

    def lies_below(self, other: "Interval") -> bool:
        """Whether every value here is smaller than every value of `other`."""
        touching = self.high == other.low and self.high_closed and other.low_closed
        return self.high <= other.low and not touching

    def overlaps(self, other: "Interval") -> bool:
        """Whether some value lies in both."""
        return not (self.lies_below(other) or other.lies_below(self))

    def __neg__(self) -> "Interval":
        return Interval(-self.high, -self.low, self.high_closed, self.low_closed)

    def __add__(self, other: "Interval") -> "Interval":
        return Interval(
            self.low + other.low,
            self.high + other.high,
            self.low_closed and other.low_closed,
            self.high_closed and other.high_closed,
        )

    def __sub__(self, other: "Interval") -> "Interval":
        return self + (-other)

    def __mul__(self, other: "Interval") -> "Interval":
        corners = [
            (a * b, a_closed and b_closed)
            for a, a_closed in ((self.low, self.low_closed), (self.high, self.high_closed))
            for b, b_closed in ((other.low, other.low_closed), (other.high, other.high_closed))
        ]
        zero_attained = self.contains(Fraction(0)) or other.contains(Fraction(0))

        def attained(bound: Fraction) -> bool:
            if bound == 0 and zero_attained:
                return True
            return any(closed for value, closed in corners if value == bound)

        low, high = min(value for value, _ in corners), max(value for value, _ in corners)
        return Interval(low, high, attained(low), attained(high))

    def __truediv__(self, other: "Interval") -> "Interval":
        if other.low <= 0 <= other.high:
            raise ValueError("division by an interval that reaches zero")
        return self * Interval(1 / other.high, 1 / other.low, other.high_closed, other.low_closed)

    def __str__(self) -> str:
        left, right = "[" if self.low_closed else "(", "]" if self.high_closed else ")"
        return f"{left}{float(self.low):.6g}, {float(self.high):.6g}{right}"


@dataclass(frozen=True)
class PrintedNumber:
    """A number as it stands on the page: its characters, its value, and how many decimals it shows.

    `decimals` counts digits after the point (82.80 has two; 1.9e4 has -3, its last digit is worth 1000).
    """

    text: str
    value: Fraction
    decimals: int

    @property
    def unit(self) -> Fraction:
        """The worth of one step in the last printed digit."""
        return Fraction(10) ** -self.decimals

    def interval(self, rule: Rule = "half_up") -> Interval:
        """The values that print like this under a rounding rule.

        half_up    ties away from zero: 82.8 means [82.75, 82.85), -1.2 means (-1.25, -1.15]
        half_even  ties to the even digit: both ends belong to an even last digit, neither to an odd one
        nearest    ties either way: both ends belong
        truncate   digits cut off: 82.8 means [82.8, 82.9)
        """
        if rule not in get_args(Rule):
            raise ValueError(f"unknown rounding rule {rule!r}; known: {', '.join(get_args(Rule))}")
        value, unit = self.value, self.unit
        if rule == "truncate":
            return Interval(
                value - (unit if value <= 0 else 0), value + (unit if value >= 0 else 0), value > 0, value < 0
            )
        if rule == "half_up":
            return Interval(value - unit / 2, value + unit / 2, value > 0, value < 0)
        closed = rule == "nearest" or (value / unit) % 2 == 0
        return Interval(value - unit / 2, value + unit / 2, closed, closed)

    def __str__(self) -> str:
        return self.text


def parse_printed(text: str) -> PrintedNumber:
    """Read a printed decimal and keep how precisely it was printed.

    Accepts a sign (also the typographic minus), a decimal point, an exponent and a trailing percent sign, which
    is dropped: 83.4% reads as 83.4. Thousands separators and decimal commas are refused, because 1,234 may mean
    either. Raises ValueError with one clause that says what is wrong.
    """
    cleaned = text.strip().replace("\N{MINUS SIGN}", "-").removesuffix("%").rstrip()
    if "," in cleaned:
        raise ValueError(f"{text.strip()!r} has a comma; write a decimal point and no thousands separator")
    if not _NUMBER.fullmatch(cleaned):
        raise ValueError(f"{text.strip()!r} is not a decimal number")
    decimal = Decimal(cleaned)
    exponent = decimal.as_tuple().exponent
    assert isinstance(exponent, int)  # the pattern admits neither NaN nor infinity
    return PrintedNumber(text=text.strip(), value=Fraction(decimal), decimals=-exponent)


def printed_order(larger: PrintedNumber, smaller: PrintedNumber, rule: Rule = "half_up") -> Order:
    """Does `larger` > `smaller` hold for the values behind the print?

    holds: for every pair of values that prints like this; fails: for no such pair, the reverse order being
    strict; tie within rounding: the printed digits cannot tell. Verdict for the population "printed table"
    only: it says nothing about new seeds or new items.
    """
    a, b = larger.interval(rule), smaller.interval(rule)
    if b.lies_below(a):
        return "holds"
    return "fails" if a.lies_below(b) else "tie within rounding"


@dataclass(frozen=True)
class DerivedCheck:
    """A printed number against the interval that its printed ingredients imply.

    consistent: some value lies in both intervals. distance: how far the two intervals are apart (0 if they meet).
    """

    printed: Interval
    implied: Interval
    consistent: bool
    distance: float


def check_derived(printed: PrintedNumber, implied: Interval, rule: Rule = "half_up") -> DerivedCheck:
    """Can a printed ratio, difference or mean come from its ingredients, all of them rounded?

    `implied` is the interval from arithmetic on the ingredients' own rounding intervals. Inconsistency is certain
    (it needs a misprint, another rounding rule or another formula); consistency proves nothing when the implied
    interval is wide, so both are returned.
    """
    own = printed.interval(rule)
    gap = max(implied.low - own.high, own.low - implied.high, Fraction(0))
    return DerivedCheck(own, implied, own.overlaps(implied), float(gap))
