import math

import pytest

from tcmax.report.numbers import count, fixed, joined, places_for, show, show_p


@pytest.mark.parametrize(
    ("values", "places"),
    [((94.03,), 1), ((0.171, 0.012), 3), ((1.23,), 2), ((123.4,), 0), ((0.00123,), 4), ((0.0,), 2)],
)
def test_the_largest_number_has_three_significant_digits(values: tuple[float, ...], places: int) -> None:
    assert places_for(values) == places


def test_an_interval_ends_at_the_place_of_its_estimate() -> None:
    shown = show(0.1712, 0.1594, 0.18299, "nats")
    assert (shown.value, shown.interval, shown.half_width) == ("0.171", "[0.159, 0.183]", "0.012")
    assert shown.spread == "± 0.012"


def test_proportions_are_percent_and_their_differences_percentage_points_with_a_sign() -> None:
    assert show(0.94, 0.928, 0.952, "proportion").value == "94.0"
    assert show(1.0, 0.962, 1.0, "proportion").spread == "[96.2, 100.0]"
    assert show(0.01, -0.01, 0.03, "proportion", difference=True).spread == "± 2.00"
    assert show(-0.0499, -0.0664, 0.01, "proportion", difference=True).interval == "[−6.64, +1.00]"


def test_zero_has_no_sign() -> None:
    assert fixed(-0.0004, 2, signed=True) == "0.00"
    assert fixed(0.0004, 2, signed=True) == "0.00"


def test_what_is_missing_is_a_dash_without_an_interval() -> None:
    assert show(None, None, None, "nats").value == "–"
    shown = show(0.5, math.nan, math.nan, "nats")
    assert (shown.value, shown.interval, shown.half_width) == ("0.500", "", "")


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (0.000488, "0.00049"),
        (0.0421, "0.042"),
        (0.31, "0.31"),
        (1.0, "1.00"),
        (0.0, "< 0.0001"),
        (None, "–"),
        (0.999, "1.00"),
    ],
)
def test_p_values_have_two_significant_digits_and_are_never_zero(p: float | None, text: str) -> None:
    assert show_p(p) == text


def test_counts_agree_with_their_noun() -> None:
    assert [count(n, "seed") for n in (1, 12, 1197)] == ["1 seed", "12 seeds", "1,197 seeds"]
    assert joined(["a", "b", "c"]) == "a, b and c"
