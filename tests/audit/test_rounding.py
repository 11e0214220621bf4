"""Printed numbers and exact interval arithmetic; the oracle is `decimal`'s own rounding."""

from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcmax.audit.rounding import Interval, PrintedNumber, Rule, check_derived, parse_printed, printed_order

MODES: dict[Rule, str] = {"half_up": ROUND_HALF_UP, "half_even": ROUND_HALF_EVEN, "truncate": ROUND_DOWN}
thousandths = st.integers(-120_000, 120_000)
ends = st.fractions(-20, 20, max_denominator=50)


def test_the_printed_82_8_means_82_75_up_to_but_not_including_82_85():
    assert str(parse_printed("82.8").interval()) == "[82.75, 82.85)"


@pytest.mark.parametrize("rule", MODES)
@given(value=thousandths)
def test_a_value_lies_in_the_interval_of_its_own_print_and_in_no_other(rule: Rule, value: int):
    exact = Decimal(value) / 1000
    printed = exact.quantize(Decimal("0.1"), rounding=MODES[rule])
    for step in range(-2, 3):
        text = str(printed + step * Decimal("0.1"))
        # -0.0 and 0.0 are one printed value
        same = Decimal(text) == printed
        assert parse_printed(text).interval(rule).contains(Fraction(exact)) == same


@given(value=thousandths)
def test_nearest_is_the_union_of_the_rules_that_round(value: int):
    printed = PrintedNumber("", Fraction(value, 1000), 3)
    wide = printed.interval("nearest")
    for rule in ("half_up", "half_even"):
        narrow = printed.interval(rule)
        assert wide.low == narrow.low
        assert wide.high == narrow.high
    assert wide.low_closed
    assert wide.high_closed


@pytest.mark.parametrize(
    ("text", "value", "decimals"),
    [
        ("82.80", Fraction(828, 10), 2),
        (" 83.4% ", Fraction(834, 10), 1),
        ("\N{MINUS SIGN}0.6", Fraction(-6, 10), 1),
        ("+8.3", Fraction(83, 10), 1),
        (".05", Fraction(5, 100), 2),
        ("56", Fraction(56), 0),
        ("1.9e4", Fraction(19000), -3),
        ("3.10E-2", Fraction(31, 1000), 4),
    ],
)
def test_parsing_keeps_value_and_decimals(text: str, value: Fraction, decimals: int):
    printed = parse_printed(text)
    assert (printed.value, printed.decimals) == (value, decimals)


@pytest.mark.parametrize("text", ["", "82,8", "1,234", "82.8.1", "nan", "inf", "82.8 (0.3)", "1e", "--3", "0x10"])
def test_what_is_no_plain_decimal_is_refused(text: str):
    with pytest.raises(ValueError, match=r"comma|not a decimal"):
        parse_printed(text)


def test_an_unknown_rule_is_refused():
    with pytest.raises(ValueError, match="unknown rounding rule"):
        parse_printed("1.0").interval("banker")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("a", "b", "order"),
    [
        ("82.8", "82.7", "holds"),
        ("82.7", "82.8", "fails"),
        ("82.8", "82.8", "tie within rounding"),
        ("47.6", "47.58", "tie within rounding"),
        ("47.6", "47.54", "holds"),
        ("56", "55.9", "tie within rounding"),
    ],
)
def test_printed_order(a: str, b: str, order: str):
    assert printed_order(parse_printed(a), parse_printed(b)) == order


@given(a=st.integers(0, 1000), b=st.integers(0, 1000), da=st.integers(0, 2), db=st.integers(0, 2))
def test_swapping_the_sides_swaps_holds_and_fails(a: int, b: int, da: int, db: int):
    x, y = PrintedNumber("", Fraction(a, 10**da), da), PrintedNumber("", Fraction(b, 10**db), db)
    mirror = {"holds": "fails", "fails": "holds"}
    forward = printed_order(x, y)
    assert printed_order(y, x) == mirror.get(forward, forward)


@given(a=ends, b=ends, c=ends, d=ends, s=st.fractions(0, 1), t=st.fractions(0, 1))
def test_the_result_of_an_operation_holds_every_pointwise_result(a, b, c, d, s, t):
    x, y = Interval(min(a, b), max(a, b)), Interval(min(c, d), max(c, d))
    u, v = x.low + s * (x.high - x.low), y.low + t * (y.high - y.low)
    assert (x + y).contains(u + v)
    assert (x - y).contains(u - v)
    assert (x * y).contains(u * v)
    assert (-x).contains(-u)
    if y.low > 0 or y.high < 0:
        assert (x / y).contains(u / v)


@given(a=ends, b=ends, c=ends, d=ends)
def test_the_ends_of_a_product_are_attained_at_corners(a, b, c, d):
    x, y = Interval(min(a, b), max(a, b)), Interval(min(c, d), max(c, d))
    corners = [u * v for u in (x.low, x.high) for v in (y.low, y.high)]
    assert ((x * y).low, (x * y).high) == (min(corners), max(corners))


def test_open_ends_stay_open_unless_zero_annihilates_them():
    half_open = Interval(Fraction(1), Fraction(2), True, False)
    assert str(half_open * half_open) == "[1, 4)"
    assert str(half_open - half_open) == "(-1, 1)"
    assert str(Interval.exactly(0) * half_open) == "[0, 0]"
    assert str(Interval(Fraction(0), Fraction(1), True, False) * half_open) == "[0, 2)"
    assert (
        str(Interval(Fraction(0), Fraction(1), True, False) * Interval(Fraction(1), Fraction(2), False, False))
        == "[0, 2)"
    )
    assert str(half_open / Interval(Fraction(1), Fraction(2), False, True)) == "[0.5, 2)"


def test_an_empty_interval_and_a_division_across_zero_are_refused():
    with pytest.raises(ValueError, match="empty interval"):
        Interval(Fraction(2), Fraction(1))
    with pytest.raises(ValueError, match="empty interval"):
        Interval(Fraction(1), Fraction(1), True, False)
    with pytest.raises(ValueError, match="reaches zero"):
        Interval.exactly(1) / Interval(Fraction(0), Fraction(1), False, True)


@pytest.mark.parametrize(
    ("left", "right", "overlap"),
    [
        (Interval(Fraction(0), Fraction(1)), Interval(Fraction(1), Fraction(2)), True),
        (Interval(Fraction(0), Fraction(1), True, False), Interval(Fraction(1), Fraction(2)), False),
        (Interval(Fraction(0), Fraction(3)), Interval(Fraction(1), Fraction(2)), True),
        (Interval(Fraction(0), Fraction(1)), Interval(Fraction(2), Fraction(3)), False),
    ],
)
def test_touching_intervals_overlap_only_if_both_hold_the_end(left: Interval, right: Interval, overlap: bool):
    assert left.overlaps(right) is right.overlaps(left) is overlap


def test_a_derived_value_outside_its_interval_is_off_by_the_gap_between_the_two():
    implied = parse_printed("1.076").interval() / parse_printed("0.369").interval()
    assert check_derived(parse_printed("2.913"), implied).consistent
    off = check_derived(parse_printed("2.930"), implied)
    assert not off.consistent
    assert off.distance == pytest.approx(2.9295 - 1.0765 / 0.3685)


@given(top=st.integers(1, 9999), bottom=st.integers(1, 9999))
def test_a_ratio_computed_before_rounding_is_always_consistent(top: int, bottom: int):
    ratio = Decimal(top) / Decimal(bottom)

    def printed(value: Decimal) -> PrintedNumber:
        return parse_printed(f"{value.quantize(Decimal('0.001'), rounding=ROUND_HALF_UP):f}")

    numerator, denominator = printed(Decimal(top) / 100), printed(Decimal(bottom) / 100)
    implied = numerator.interval() / denominator.interval()
    assert check_derived(printed(ratio), implied).consistent
