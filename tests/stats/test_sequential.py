"""Sequential seeds: likelihoods integrated over effects, Armitage's recursion, and error under peeking, simulated."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from tcmax.stats.crossed import average, crossed, interval, one_sided_p, what_decides
from tcmax.stats.sequential import Spending, anytime_interval, earliest, log_e, spending_boundaries

samples = st.lists(st.floats(-3, 3).map(lambda v: round(v, 3)), min_size=2, max_size=15).filter(
    lambda v: np.ptp(v) > 0.1
)


@pytest.mark.parametrize("n", [2, 3, 7, 15])
@pytest.mark.parametrize("spread", [0.5, 1.0, 2.0])
def test_evidence_is_the_noncentral_t_likelihood_averaged_over_a_half_normal_of_effects(n, spread):
    x = np.random.default_rng(n).normal(0.4, 1.3, n)
    t = math.sqrt(n) * x.mean() / x.std(ddof=1)

    def weighted(effect, sign):
        density = scipy.stats.nct.pdf(t, n - 1, sign * effect * math.sqrt(n))
        return density * 2 * scipy.stats.norm.pdf(effect, scale=spread)

    for side, sign in (("greater", 1), ("less", -1)):
        averaged = quad(weighted, 0, 9 * spread, args=(sign,))[0] / scipy.stats.t.pdf(t, n - 1)
        assert log_e(x, 0.0, side, spread) == pytest.approx(math.log(averaged), abs=1e-6)


@given(samples, st.floats(-2, 2), st.floats(0.1, 50))
def test_sides_mirror_units_do_not_matter_and_order_neither(x, margin, unit):
    value = log_e(x, margin)
    assert log_e([-v for v in x], -margin, "less") == pytest.approx(value, abs=1e-8)
    assert log_e([unit * v for v in x], unit * margin) == pytest.approx(value, abs=1e-6)
    assert log_e(x[::-1], margin) == pytest.approx(value, abs=1e-8)


@given(samples, st.floats(0.01, 2))
def test_evidence_for_more_than_a_margin_falls_with_the_margin(x, step):
    margins = np.mean(x) + step * np.arange(-3, 4)
    found = [log_e(x, m) for m in margins]
    assert all(a >= b for a, b in itertools.pairwise(found))


def test_evidence_has_mean_one_under_no_effect_given_the_past():
    past = np.array([0.3, -0.2, 0.9])
    # the next value's distribution when the scale is unknown: Student's, for the right Haar prior on the scale
    fresh = scipy.stats.t.rvs(3, scale=math.sqrt(np.mean(past**2)), size=8_000, random_state=1)
    ratios = [math.exp(log_e([*past, x]) - log_e(past)) for x in fresh]
    assert np.mean(ratios) == pytest.approx(1, abs=4 * np.std(ratios) / math.sqrt(8_000))


def test_peeking_at_3_to_20_seeds_errs_less_than_the_level_allows_and_t_intervals_do_not():
    x = np.random.default_rng(5).normal(0.7, 3, (500, 20))
    looks = range(3, 21)
    wrong = [any(log_e(row[:n], 0.7, side) >= math.log(10) for n in looks for side in ("greater", "less")) for row in x]
    assert 0.02 < np.mean(wrong) < 0.2
    peeked = np.stack([scipy.stats.ttest_1samp(x[:, :n], 0.7, axis=1).pvalue < 0.2 for n in looks])
    assert np.mean(peeked.any(axis=0)) > 0.4


@given(samples, st.sampled_from([0.01, 0.05, 0.3]))
def test_bounds_are_the_margins_at_which_evidence_reaches_its_threshold(x, alpha):
    found = anytime_interval(x, alpha)
    assert found.estimate == pytest.approx(np.mean(x))
    if math.isinf(found.low):
        assert log_e(x, np.mean(x) - 1e6) < math.log(2 / alpha) + 1e-6
        return
    assert log_e(x, found.low) == pytest.approx(math.log(2 / alpha), abs=1e-6)
    assert log_e(x, found.high, "less") == pytest.approx(math.log(2 / alpha), abs=1e-6)


def test_few_seeds_and_seeds_without_variation_decide_nothing():
    assert log_e([0.4]) == 0.0
    assert log_e([0.4, 0.4, 0.4, 0.4, 0.4, 0.4]) == 0.0
    assert anytime_interval([0.4] * 9).low == -math.inf
    assert anytime_interval([0.4]).high == math.inf
    assert anytime_interval([0.40, 0.41, 0.42, 0.40]).low == -math.inf
    assert anytime_interval([0.40, 0.41, 0.42, 0.40, 0.41]).low > 0.3
    assert math.isfinite(log_e([-1.0, -1.0000001] * 200))


@pytest.mark.parametrize("shape", [1.0, 2.0])
def test_many_seeds_per_look_give_armitages_boundaries_for_normal_sums(shape):
    found = spending_boundaries([500, 1000, 1500, 2000], 0.05, shape)
    grid = np.linspace(-8, 8, 3201)
    step, density, spent, expected = grid[1] - grid[0], None, 0.0, []
    for k in range(1, 5):  # sums of k normal increments; paths beyond a boundary, on either side, have stopped
        if density is None:
            density = scipy.stats.norm.pdf(grid)
        else:
            density = np.convolve(density, scipy.stats.norm.pdf(grid), mode="same") * step
        target = 0.025 * (k / 4) ** shape - spent
        tail = np.cumsum(density[::-1])[::-1] * step
        edge = np.interp(-target, -tail, grid)
        expected.append(scipy.stats.norm.sf(edge / math.sqrt(k)))
        spent += target
        density = np.where(np.abs(grid) < edge, density, 0.0)
    assert found.p_values == pytest.approx(expected, rel=0.06)


def test_the_even_spending_of_the_literature_is_reproduced():
    # Lan and DeMets' linear spending, five looks, two-sided 5 %: 2.58, 2.49, 2.41, 2.34, 2.28
    found = spending_boundaries([1000, 2000, 3000, 4000, 5000], 0.05, 1.0)
    z = scipy.stats.norm.isf(found.p_values)
    assert z == pytest.approx([2.58, 2.49, 2.41, 2.34, 2.28], abs=0.02)


@pytest.mark.parametrize("looks", [(3, 4, 6), (4, 8, 12)])
def test_all_looks_together_err_at_the_level(looks):
    found = spending_boundaries(looks, 0.2)
    x = np.random.default_rng(8).normal(size=(40_000, looks[-1]))
    p = np.stack([scipy.stats.ttest_1samp(x[:, :n], 0, axis=1, alternative="greater").pvalue for n in looks], axis=1)
    by_look = np.cumsum(np.bincount(np.argmax(p <= found.p_values, axis=1)[(p <= found.p_values).any(axis=1)]))
    allowed = 0.1 * (np.array(looks) / looks[-1]) ** 2
    assert by_look / 40_000 == pytest.approx(allowed, abs=0.006)


def test_one_look_is_the_plain_test_and_early_looks_ask_for_more():
    assert spending_boundaries([7]).p_values == pytest.approx((0.025,))
    found = spending_boundaries([4, 8, 12])
    assert list(found.p_values) == sorted(found.p_values)
    assert max(found.p_values) < 0.025
    assert found.at(8) == 2 * found.p_values[1]
    with pytest.raises(ValueError, match="9 seeds are no look"):
        found.at(9)
    assert spending_boundaries([4, 8, 12]) == found


def test_bad_input_is_refused():
    for looks in ([], [2, 4], [4, 4], [5, 4]):
        with pytest.raises(ValueError, match="increasing"):
            spending_boundaries(looks)
    with pytest.raises(ValueError, match="alpha"):
        spending_boundaries([4], 1.0)
    with pytest.raises(ValueError, match="shape"):
        spending_boundaries([4], shape=0)
    for values in ([], [[1.0, 2.0]], [1.0, math.nan]):
        with pytest.raises(ValueError, match="finite values"):
            log_e(values)
    with pytest.raises(ValueError, match="spread"):
        log_e([1.0, 2.0], spread=0)
    with pytest.raises(ValueError, match="alpha"):
        anytime_interval([1.0, 2.0], 0)


def test_p_and_level_at_a_look_are_two_readings_of_one_boundary():
    looks = (3, 5, 8)
    for n in looks:
        spending = Spending(n, looks)
        for alpha in (0.0005, 0.002, 0.007, 0.01, 0.03, 0.05, 0.12, 0.4):
            here = spending.alpha_here(alpha)
            assert 0 < here < alpha
            assert spending.p(here / 2) == pytest.approx(alpha / 2, rel=1e-9)
        for alpha in (0.01, 0.05):
            assert spending.alpha_here(alpha) == pytest.approx(spending_boundaries(looks, alpha).at(n))
        p = [spending.p(x) for x in np.geomspace(1e-12, 1, 400)]
        assert all(a <= b for a, b in itertools.pairwise(p))
        assert all(x <= found <= 1 for x, found in zip(np.geomspace(1e-12, 1, 400), p, strict=True))
    assert Spending(3, looks).last == Spending(8, looks)
    assert earliest([None, Spending(8, looks), Spending(5, looks)]) == Spending(5, looks)
    assert earliest([None]) is None
    with pytest.raises(ValueError, match="4 seeds are no look"):
        Spending(4, looks)


def test_the_smallest_p_of_all_looks_is_still_a_p():
    looks, repetitions = (3, 5, 8), 20_000
    values = np.random.default_rng(21).normal(size=(repetitions, 8))
    least = np.ones(repetitions)
    for n in looks:
        tails = scipy.stats.ttest_1samp(values[:, :n], 0.0, axis=1, alternative="greater").pvalue
        spending = Spending(n, looks)
        least = np.minimum(least, [spending.p(p) if p < 0.15 else 1.0 for p in tails])
    for alpha in (0.0005, 0.005, 0.015, 0.025, 0.04, 0.1):
        error = math.sqrt(alpha / repetitions)
        assert alpha - 6 * error - 0.3 * alpha < np.mean(least <= alpha) < alpha + 4 * error


def test_intervals_and_p_of_a_comparison_at_a_look_are_those_of_the_whole_design():
    rng = np.random.default_rng(3)
    spending = Spending(5, (3, 5, 8))
    plain = crossed(rng.normal(0.4, 0.3, (5, 30)) + rng.normal(0.0, 0.3, (5, 1)))
    looked = replace(plain, spending=spending)
    for population in ("seeds", "items", "both"):
        found = interval(looked, population, 0.05)
        fixed = interval(plain, population, spending_boundaries((3, 5, 8), 0.05).at(5))
        assert (found.low, found.high) == pytest.approx((fixed.low, fixed.high))
        assert found.alpha == 0.05
        for margin in np.linspace(found.low - 0.2, found.high + 0.2, 9):
            p = one_sided_p(looked, margin, population)
            assert p == pytest.approx(spending.p(one_sided_p(plain, margin, population)))
            assert (p < 0.025) == (found.low > margin)
    other = replace(plain, estimate=0.1, spending=Spending(8, (3, 5, 8)))
    assert average([looked, other]).spending == spending
    last = spending.last.alpha_here(0.05)
    near = plain.estimate - 0.02
    assert what_decides(looked, near) == what_decides(plain, near, last)
    assert what_decides(looked, near) != what_decides(plain, near, 0.05)
    assert (
        what_decides(average([looked, other]), 0.0).n_seeds
        == what_decides(average([plain, replace(other, spending=None)]), 0.0, last).n_seeds
    )


def test_constant_differences_of_rounded_scores_are_no_evidence():
    b = np.array([0.6, 0.05, 0.75, 0.16, 0.51, 0.89, 0.42, 0.3, 0.33])[:9]
    differences = np.round(b + 0.01, 2) - b
    assert np.ptp(differences) > 0
    assert log_e(differences, scale=0.7) == 0
    assert anytime_interval(differences, scale=0.7).high == math.inf
