"""GRIM against exhaustive enumeration with `decimal`, and the published counts (items D3, D4, D6)."""

import csv
import itertools
import math
import statistics
from decimal import ROUND_DOWN, ROUND_HALF_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from projects import ROOT

from tcmax.audit.grim import grim, grim_power, halfwidth_reachable, reachable_if_rounded_first, recovered_denominator
from tcmax.audit.rounding import PrintedNumber, Rule, parse_printed

PUBLISHED = ROOT / "config" / "published"
MODES: dict[Rule, tuple[str, ...]] = {
    "half_up": (ROUND_HALF_UP,),
    "half_even": (ROUND_HALF_EVEN,),
    "truncate": (ROUND_DOWN,),
    "nearest": (ROUND_HALF_UP, ROUND_HALF_DOWN),
}


def prints(n_items: int, n_runs: int, decimals: int, rule: Rule) -> set[str]:
    """Every text that a mean percentage over the runs can print as: all totals, rounded by `decimal`."""
    unit = Decimal(1).scaleb(-decimals)
    with localcontext() as context:
        context.prec = 60
        return {
            str((Decimal(100 * total) / (n_items * n_runs)).quantize(unit, rounding=mode))
            for total in range(n_items * n_runs + 1)
            for mode in MODES[rule]
        }


def mvsa_means() -> list[PrintedNumber]:
    with (PUBLISHED / "tcmax_table5_mvsa_ci.csv").open(newline="") as stream:
        return [parse_printed(row["mean"]) for row in csv.DictReader(stream)]


@settings(max_examples=40)
@given(
    n_items=st.integers(1, 60),
    n_runs=st.integers(1, 4),
    decimals=st.integers(0, 2),
    rule=st.sampled_from(list(MODES)),
)
def test_grim_and_its_power_agree_with_enumeration(n_items: int, n_runs: int, decimals: int, rule: Rule):
    reachable = prints(n_items, n_runs, decimals, rule)
    unit = Decimal(1).scaleb(-decimals)
    every = [str(step * unit) for step in range(int(Decimal(100) / unit) + 1)]
    for text in every[:: max(1, len(every) // 300)]:
        assert grim(parse_printed(text), n_items, n_runs, rule=rule).consistent == (text in reachable)
    power = grim_power(n_items, n_runs, decimals, rule=rule)
    inside = [text for text in every if Decimal(10) <= Decimal(text) < 100]
    assert power.printable == len(inside)
    assert power.reachable == len(reachable & set(inside))
    assert power.silent == (power.reachable == power.printable)


@pytest.mark.parametrize("rule", MODES)
@pytest.mark.parametrize(("n_items", "n_runs", "decimals"), [(8, 1, 0), (16, 5, 1), (40, 2, 1)])
def test_sizes_with_ties_follow_each_rule(n_items: int, n_runs: int, decimals: int, rule: Rule):
    inside = {text for text in prints(n_items, n_runs, decimals, rule) if 10 <= Decimal(text) < 100}
    assert grim_power(n_items, n_runs, decimals, rule=rule).reachable == len(inside)


@given(n_items=st.integers(1, 3000), n_runs=st.integers(1, 10), share=st.fractions(0, 1), data=st.data())
def test_a_mean_that_was_observed_always_passes(n_items: int, n_runs: int, share: Fraction, data: st.DataObject):
    total = round(share * n_items * n_runs)
    decimals = data.draw(st.integers(0, 3))
    with localcontext() as context:
        context.prec = 60
        exact = Decimal(100 * total) / (n_items * n_runs)
        text = str(exact.quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_HALF_EVEN))
    result = grim(parse_printed(text), n_items, n_runs)
    assert result.consistent
    assert result.distance <= 0.5 * 10**-decimals + 1e-12


def test_the_distance_is_to_the_closest_reachable_mean():
    result = grim(parse_printed("77.16"), 519, 10)
    assert not result.consistent
    assert result.totals == 0
    steps = 100 * np.arange(5191) / 5190
    closest = steps[np.argmin(abs(steps - 77.16))]
    assert result.nearest == pytest.approx(closest)
    assert result.distance == pytest.approx(abs(closest - 77.16))


def test_a_proportion_is_checked_on_its_own_scale():
    assert grim(parse_printed("0.5"), 2, scale=1).consistent
    assert not grim(parse_printed("0.52"), 2, scale=1).consistent
    assert not grim(parse_printed("50"), 2, scale=1).consistent


@pytest.mark.parametrize(
    ("n_items", "step"), [(744, 0.045), (2594, 0.013), (402, 0.083), (13294, 0.0025), (3783, 0.0088)]
)
def test_d3_no_value_of_table_1_can_be_ruled_out(n_items: int, step: float):
    power = grim_power(n_items, 3, 1)
    assert power.silent
    assert (power.reachable, power.printable) == (900, 900)
    assert grim(parse_printed("82.8"), n_items, 3).step == pytest.approx(step, rel=0.04)


@pytest.mark.parametrize(("n_items", "reachable"), [(744, 669), (402, 362), (2594, 900)])
def test_d3_single_runs_would_have_power_for_two_sizes_only(n_items: int, reachable: int):
    assert grim_power(n_items, 1, 1).reachable == reachable


def test_d4_reachable_counts_of_the_mvsa_means():
    expected = {450: 6, 451: 9, 452: 12, 453: 7, 518: 7, 519: 16, 520: 10, 902: 18, 903: 16, 973: 18, 974: 18}
    rows = recovered_denominator(mvsa_means(), list(expected), 10)
    assert {row.n_items: row.reached for row in rows} == expected
    by_size = {row.n_items: row for row in rows}
    assert by_size[519].chance == pytest.approx(0.001, abs=0.0003)
    assert by_size[451].expected == pytest.approx(8, abs=0.5)
    assert by_size[519].expected == pytest.approx(9, abs=0.5)
    assert by_size[902].expected == pytest.approx(16, abs=0.5)
    assert 17 <= by_size[973].expected < 18


def test_d6_reachable_counts_of_the_mosi_accuracies():
    printed = [parse_printed("83.36"), parse_printed("84.27")]
    rows = recovered_denominator(printed, [655, 656, 685, 686], 3)
    assert [row.reached for row in rows] == [2, 0, 1, 0]
    assert grim(printed[0], 685, 3).consistent
    scan = recovered_denominator(printed, range(560, 700), 3)
    assert sum(row.reached == 2 for row in scan) / len(scan) == pytest.approx(0.10, abs=0.005)


def test_chance_matches_a_direct_sum_over_all_outcomes():
    printed = [parse_printed(text) for text in ("81.3", "84.27", "79.0", "60.55")]
    row = recovered_denominator(printed, [157], 3)[0]
    shares = [grim_power(157, 3, number.decimals).share for number in printed]
    direct = sum(
        math.prod(share if hit else 1 - share for share, hit in zip(shares, hits, strict=True))
        for hits in itertools.product((0, 1), repeat=len(shares))
        if sum(hits) >= row.reached
    )
    assert row.chance == pytest.approx(direct)


def test_a_size_for_which_every_value_is_reachable_has_no_say():
    row = recovered_denominator([parse_printed(t) for t in ("82.8", "82.7", "75.0")], [100_000], 3)[0]
    assert row.log_likelihood == pytest.approx(0, abs=0.01)
    assert row.share == 1


def test_the_truth_wins_on_average_over_its_neighbours():
    rng = np.random.default_rng(5)
    candidates = [517, 518, 519, 520, 521]
    totals = dict.fromkeys(candidates, 0.0)
    for _ in range(20):
        accuracies = rng.uniform(0.6, 0.95, size=(10, 1))
        means = rng.binomial(519, accuracies, size=(10, 10)).mean(axis=1) / 519 * 100
        for row in recovered_denominator([parse_printed(f"{mean:.2f}") for mean in means], candidates, 10):
            totals[row.n_items] += row.log_likelihood
    assert max(totals, key=totals.get) == 519  # type: ignore[arg-type]
    assert totals[519] > 0 > max(value for size, value in totals.items() if size != 519)


def test_the_likelihood_is_normalised_over_printable_values():
    """Summed over all printable values with equal weight, the likelihood ratio of one cell averages to one."""
    for rule in MODES:
        every = [PrintedNumber("", Fraction(step, 10), 1) for step in range(1001)]
        ratios = [math.exp(recovered_denominator([v], [40], 3, rule=rule)[0].log_likelihood) for v in every]
        assert statistics.fmean(ratios) == pytest.approx(1, abs=0.02)


def test_sizes_whose_steps_align_near_the_printed_values_cannot_be_told_apart():
    """Four fifths of 5190 and of 5210 are both whole, so near 80 % both sizes print the same means."""
    printed = [parse_printed(text) for text in ("79.98", "80.00", "80.02", "80.04")]
    rows = recovered_denominator(printed, [519, 521], 10)
    assert rows[0].log_likelihood == pytest.approx(rows[1].log_likelihood, abs=0.1)


def test_order_of_cells_does_not_matter():
    printed = mvsa_means()
    forward = recovered_denominator(printed, [519], 10)[0]
    backward = recovered_denominator(printed[::-1], [519], 10)[0]
    assert forward.log_likelihood == pytest.approx(backward.log_likelihood)
    assert forward.reached == backward.reached


def test_rounding_each_run_first_reaches_exactly_the_enumerated_means():
    n_items, n_runs = 7, 3
    rounded = {Fraction(Decimal(100 * k) / 7).limit_denominator(10**9) for k in range(8)}
    rounded = {Fraction(str(Decimal(float(value)).quantize(Decimal("1"), rounding=ROUND_HALF_UP))) for value in rounded}
    sums = {sum(runs) / n_runs for runs in itertools.product(rounded, repeat=n_runs)}
    for step in range(0, 1001, 3):
        printed = PrintedNumber("", Fraction(step, 10), 1)
        expected = any(abs(value - printed.value) <= Fraction(1, 20) for value in sums)
        assert reachable_if_rounded_first(printed, n_items, n_runs, 0) == expected


def test_d4_rounding_first_explains_the_two_misses_at_519():
    misses = [value for value in mvsa_means() if not grim(value, 519, 10).consistent]
    assert [str(value) for value in misses] == ["77.16", "74.27"]
    assert all(0.007 < grim(value, 519, 10).distance < 0.008 for value in misses)
    assert all(reachable_if_rounded_first(value, 519, 10, 1) for value in misses)


def test_spreads_of_real_counts_always_pass():
    rng = np.random.default_rng(11)
    for _ in range(300):
        n_items, n_runs = int(rng.integers(20, 400)), int(rng.integers(2, 8))
        accuracy = rng.binomial(n_items, 0.8, size=n_runs) / n_items * 100
        mean, sd = parse_printed(f"{accuracy.mean():.2f}"), parse_printed(f"{accuracy.std(ddof=1):.2f}")
        assert halfwidth_reachable(mean, sd, n_items, n_runs, math.sqrt(n_runs))


def test_an_impossible_spread_is_caught_and_all_possible_ones_pass():
    """Four runs on eight items with a mean of 50: every spread that enumeration finds passes, an absent one fails."""
    found = set()
    for counts in itertools.product(range(9), repeat=4):
        if sum(counts) == 16:
            found.add(f"{statistics.stdev(100 * k / 8 for k in counts):.1f}")
    mean = parse_printed("50.0")
    assert all(halfwidth_reachable(mean, parse_printed(text), 8, 4, 2.0) for text in found)
    every = [f"{step / 10:.1f}" for step in range(1, 200)]
    rejected = {text for text in every if not halfwidth_reachable(mean, parse_printed(text), 8, 4, 2.0)}
    assert rejected
    assert not rejected & found


def test_a_spread_of_the_wrong_parity_is_caught():
    """Four counts with sum 16 have an even sum of squares: 66 (3, 4, 4, 5) exists, 65 does not."""
    sd_65, sd_66 = (12.5 * math.sqrt((squares - 64) / 3) for squares in (65, 66))
    assert halfwidth_reachable(parse_printed("50.00"), parse_printed(f"{sd_66:.2f}"), 8, 4, 2.0)
    assert not halfwidth_reachable(parse_printed("50.00"), parse_printed(f"{sd_65:.2f}"), 8, 4, 2.0)


def test_counts_that_cannot_all_be_equal_have_a_least_spread():
    """Eight counts with sum 36 are at best four 4s and four 5s."""
    least = 12.5 * statistics.stdev([4] * 4 + [5] * 4)
    mean = parse_printed("56.25")
    assert halfwidth_reachable(mean, parse_printed(f"{least:.2f}"), 8, 8, math.sqrt(8))
    assert not halfwidth_reachable(mean, parse_printed("0.00"), 8, 8, math.sqrt(8))


def test_a_mean_out_of_reach_is_not_counted_twice():
    mean = parse_printed("77.16")
    assert not grim(mean, 519, 10).consistent
    assert halfwidth_reachable(mean, parse_printed("0.22"), 519, 10, 2.2622)


def test_equal_counts_need_a_spread_of_zero():
    assert halfwidth_reachable(parse_printed("50.00"), parse_printed("0.00"), 8, 2, 1.0)
    assert not halfwidth_reachable(parse_printed("50.00"), parse_printed("0.01"), 8, 2, 1.0)


@pytest.mark.parametrize(("n_items", "n_runs"), [(0, 1), (5, 0), (-3, 2)])
def test_sizes_below_one_are_refused(n_items: int, n_runs: int):
    with pytest.raises(ValueError, match="at least 1"):
        grim(parse_printed("50.0"), n_items, n_runs)
    with pytest.raises(ValueError, match="at least 1"):
        grim_power(n_items, n_runs, 1)
    with pytest.raises(ValueError, match="at least 1"):
        reachable_if_rounded_first(parse_printed("50.0"), n_items, n_runs, 1)


def test_other_senseless_arguments_are_refused():
    value = parse_printed("50.0")
    with pytest.raises(ValueError, match="no printed values"):
        recovered_denominator([], [10])
    with pytest.raises(ValueError, match="misprint"):
        recovered_denominator([value], [10], misprint=0)
    with pytest.raises(ValueError, match="at least 2 runs"):
        halfwidth_reachable(value, value, 10, 1, 1.0)
    with pytest.raises(ValueError, match="multiplier"):
        halfwidth_reachable(value, value, 10, 2, 0.0)
    with pytest.raises(ValueError, match="no printable value"):
        grim_power(10, 1, 1, low=Fraction(50), high=Fraction(40))
