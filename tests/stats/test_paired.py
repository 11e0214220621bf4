"""Oracles: enumeration with itertools, scipy.stats, statsmodels, and the formulas longhand."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar

from tcmax.stats.paired import (
    corrected_resampled_t,
    mcnemar,
    sign_flip,
    sign_flip_items,
    sign_flip_seeds,
    welch,
    wilcoxon_datasets,
)


def enumerated(values, alternative):
    observed = sum(values)
    hits = 0
    for signs in itertools.product((-1, 1), repeat=len(values)):
        total = sum(s * v for s, v in zip(signs, values, strict=True))
        hits += {
            "greater": total >= observed - 1e-9,
            "less": total <= observed + 1e-9,
            "two-sided": abs(total) >= abs(observed) - 1e-9,
        }[alternative]
    return hits / 2 ** len(values)


@given(
    st.lists(st.integers(-5, 5), min_size=1, max_size=9),
    st.sampled_from(["two-sided", "greater", "less"]),
    st.booleans(),
)
def test_sign_flip_is_the_enumeration(values, alternative, halves):
    values = [v / 3 for v in values] if halves else values
    found = sign_flip(values, alternative)
    assert found.p_value == pytest.approx(enumerated(values, alternative), abs=1e-12)
    assert found.method == "exact"


@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
@pytest.mark.parametrize("shift", [-0.6, 0.0, 0.6])
def test_many_integers_are_convolved_exactly(alternative, shift):
    rng = np.random.default_rng(4)
    values = np.rint(rng.normal(shift, 2, 60)).astype(int)
    law = {0: 1.0}
    for v in values:
        new: dict[int, float] = {}
        for total, p in law.items():
            for step in (-v, v):
                new[total + step] = new.get(total + step, 0.0) + p / 2
        law = new
    observed = values.sum()
    tail = {
        "greater": lambda k: k >= observed,
        "less": lambda k: k <= observed,
        "two-sided": lambda k: abs(k) >= abs(observed),
    }[alternative]
    expected = sum(p for total, p in law.items() if tail(total))
    found = sign_flip(values, alternative)
    assert found.method == "exact"
    assert found.p_value == pytest.approx(expected, abs=1e-12)


def test_signs_of_unit_values_give_the_binomial_test():
    values = [1] * 70 + [-1] * 40 + [0] * 25
    assert sign_flip(values).p_value == pytest.approx(scipy.stats.binomtest(70, 110).pvalue, abs=1e-12)
    assert sign_flip([1] * 30 + [-1] * 30).p_value == 1.0


def test_monte_carlo_nears_the_exact_value_and_repeats_itself():
    values = np.random.default_rng(0).normal(0.25, 1, 40)
    first = sign_flip(values, rng=np.random.default_rng(1), resamples=20_000)
    again = sign_flip(values, rng=np.random.default_rng(1), resamples=20_000)
    assert first == again
    assert first.method == "monte carlo"
    exact = sign_flip(np.rint(values * 5000)).p_value
    assert abs(first.p_value - exact) < 4 * math.sqrt(exact * (1 - exact) / 20_000)
    assert sign_flip(np.abs(values) + 1, rng=np.random.default_rng(1), resamples=99).p_value == 0.01
    with pytest.raises(ValueError, match="generator"):
        sign_flip(values)


@pytest.mark.parametrize(
    ("n", "alternative", "floor"), [(3, "two-sided", 0.25), (5, "two-sided", 0.0625), (5, "less", 1 / 32)]
)
def test_the_floor_is_reached_when_every_seed_agrees(n, alternative, floor):
    values = -np.arange(1.0, n + 1)
    found = sign_flip(values, alternative)
    assert found.p_value == found.floor == floor


def test_overwhelming_evidence_is_not_reported_below_the_accuracy():
    assert sign_flip(np.ones(500)).p_value == 1e-12
    assert sign_flip(np.zeros(500)).p_value == 1.0


def test_seeds_and_items_flip_their_sums():
    rng = np.random.default_rng(6)
    d = rng.integers(-1, 2, (6, 12)).astype(float)
    by_seed, by_item = sign_flip_seeds(d), sign_flip_items(d)
    assert by_seed.p_value == pytest.approx(enumerated(d.sum(axis=1).tolist(), "two-sided"))
    assert by_item.p_value == pytest.approx(enumerated(d.sum(axis=0).tolist(), "two-sided"))
    assert by_seed.estimate == by_item.estimate == d.mean()
    groups = np.array(list("aaabbbcccddd"))
    sums = [d[:, groups == g].sum() for g in "abcd"]
    grouped = sign_flip_items(d, groups)
    assert grouped.n_units == 4
    assert grouped.p_value == pytest.approx(enumerated(sums, "two-sided"))


def test_swapping_methods_swaps_the_sides_and_keeps_two_sided_p():
    d = np.random.default_rng(8).integers(-1, 2, (7, 30))
    assert sign_flip_seeds(d, "greater").p_value == sign_flip_seeds(-d, "less").p_value
    assert sign_flip_items(d).p_value == sign_flip_items(-d).p_value


def test_mcnemar_is_the_exact_binomial_test_of_each_run():
    rng = np.random.default_rng(2)
    a, b = rng.random((4, 80)) < 0.8, rng.random((4, 80)) < 0.6
    b[3] = a[3]
    found = mcnemar(a, b)
    for s in range(4):
        table = [[np.sum(a[s] & b[s]), np.sum(a[s] & ~b[s])], [np.sum(~a[s] & b[s]), np.sum(~a[s] & ~b[s])]]
        if s < 3:
            assert found.p_value[s] == pytest.approx(statsmodels_mcnemar(table, exact=True).pvalue)
        assert (found.wins[s], found.losses[s]) == (table[0][1], table[1][0])
    assert found.p_value[3] == 1.0
    np.testing.assert_array_equal(mcnemar(b, a).p_value, found.p_value)
    with pytest.raises(ValueError, match="0 and 1"):
        mcnemar([[0.5]], [[1.0]])
    with pytest.raises(ValueError, match="seeds, items"):
        mcnemar([1, 0], [1, 0])


def test_welch_from_summaries_is_scipys():
    found = welch(82.8, 0.9, 3, 81.5, 0.4, 5)
    expected = scipy.stats.ttest_ind_from_stats(82.8, 0.9, 3, 81.5, 0.4, 5, equal_var=False)
    assert found.p_value == pytest.approx(expected.pvalue)
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=6), rng.normal(size=4)
    raw = scipy.stats.ttest_ind(x, y, equal_var=False)
    low, high = raw.confidence_interval(0.9)
    ours = welch(x.mean(), x.std(ddof=1), 6, y.mean(), y.std(ddof=1), 4, 0.1)
    assert (ours.low, ours.high, ours.df) == pytest.approx((low, high, raw.df))
    assert welch(1, 0, 3, 0, 0, 3).p_value == 1.0
    with pytest.raises(ValueError, match="two runs"):
        welch(1, 1, 1, 0, 1, 3)


def test_the_break_even_gap_of_three_against_three_runs_is_2_27_sd():
    assert welch(0, 1, 3, 0, 1, 3).half_width == pytest.approx(2.27, abs=0.005)


def test_corrected_resampled_t_widens_the_ordinary_one():
    d = np.random.default_rng(7).normal(0.3, 1, 15)
    plain = scipy.stats.ttest_1samp(d, 0)
    assert corrected_resampled_t(d, 0.0).p_value == pytest.approx(plain.pvalue)
    found = corrected_resampled_t(d, 1 / 9)
    mean = sum(d) / 15
    s2 = sum((x - mean) ** 2 for x in d) / 14
    t = mean / math.sqrt((1 / 15 + 1 / 9) * s2)
    assert found.p_value == pytest.approx(2 * scipy.stats.t.sf(abs(t), 14))
    assert found.half_width == pytest.approx(scipy.stats.t.ppf(0.975, 14) * mean / t)
    with pytest.raises(ValueError, match="two splits"):
        corrected_resampled_t([1.0], 0.1)


@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
def test_wilcoxon_without_ties_is_scipys_exact_one(alternative):
    d = np.array([0.3, -1.2, 2.5, 0.9, 1.4, -0.1, 3.3])
    expected = scipy.stats.wilcoxon(d, alternative=alternative, method="exact").pvalue
    assert wilcoxon_datasets(d, alternative).p_value == pytest.approx(expected)


def test_wilcoxon_with_ties_and_zeros_permutes_pratt_ranks():
    d = np.array([1.0, 1.0, -1.0, 0.0, 2.0, 2.0, 0.0, 3.0])
    ranks = scipy.stats.rankdata(np.abs(d)) * np.sign(d)
    assert wilcoxon_datasets(d).p_value == pytest.approx(enumerated(ranks.tolist(), "two-sided"))
    assert wilcoxon_datasets(d).estimate == 1.0
    assert wilcoxon_datasets([1.0, 2.0, 3.0, 4.0, 5.0]).p_value == 0.0625


@pytest.mark.parametrize("values", [[], [[1.0]], [np.nan]])
def test_values_that_are_not_one_finite_axis_are_refused(values):
    with pytest.raises(ValueError, match="finite"):
        sign_flip(values)


def test_equal_fractions_tie_whatever_their_floats_say():
    # ten datasets of ten runs: counts right, whose differences tie as fractions and not as floats
    counts = [(8, 7), (6, 5), (9, 8), (7, 6), (4, 5), (9, 6), (8, 5), (7, 7), (9, 5), (10, 6)]
    exact = [Fraction(a, 10) - Fraction(b, 10) for a, b in counts]
    floats = np.array([a / 10 for a, _ in counts]) - np.array([b / 10 for _, b in counts])
    assert len(np.unique(np.abs(floats))) > len({abs(d) for d in exact})
    ranks = scipy.stats.rankdata([abs(a - b) for a, b in counts]) * [np.sign(a - b) for a, b in counts]
    expected = enumerated(ranks.tolist(), "two-sided")
    assert wilcoxon_datasets(exact).p_value == pytest.approx(expected)
    assert wilcoxon_datasets(floats, scale=1.0).p_value == pytest.approx(expected)
    assert wilcoxon_datasets(exact).estimate == pytest.approx(floats.mean())
    almost = np.array([0.3 - 0.1 - 0.2, 1.0, 1.0, 1.0])  # a zero, but for rounding
    assert wilcoxon_datasets(almost).p_value == wilcoxon_datasets([0.0, 1.0, 1.0, 1.0]).p_value


def test_a_resampled_t_of_constant_differences_of_rounded_scores_decides_nothing():
    b = np.array([0.6, 0.05, 0.75, 0.16, 0.51, 0.89, 0.42, 0.3, 0.33])[:7]
    differences = np.round(b + 0.01, 2) - b
    assert np.ptp(differences) > 0
    found = corrected_resampled_t(differences, 0.25, scale=0.7)
    assert (found.standard_error, found.p_value) == (0, 1)


def test_means_of_three_runs_that_are_equal_as_fractions_are_zeros():
    # four datasets tie at 0.8, six are won by 0.02, 0.03, 0.04, 0.05, 0.06, 0.02
    a = [(0.7, 0.8, 0.9)] * 4 + [(0.61, 0.62, 0.63), (0.71, 0.73, 0.75), (0.80, 0.82, 0.84)]
    a += [(0.55, 0.56, 0.57), (0.90, 0.91, 0.92), (0.66, 0.68, 0.70)]
    b = [0.8] * 4 + [0.60, 0.70, 0.78, 0.51, 0.85, 0.62]
    differences = np.array([np.mean(row) - np.mean([other] * 3) for row, other in zip(a, b, strict=True)])
    assert (differences[:4] != 0).any()
    assert wilcoxon_datasets(differences, scale=0.92).p_value == 2 * 2.0**-6
