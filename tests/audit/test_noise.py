"""Binomial noise and break-even values: item D2, simulation, and McNemar counts as the oracle."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.stats import norm
from statsmodels.stats.proportion import proportion_confint

from tcmax.audit.noise import binomial_se, break_even_discordance, break_even_seed_sd, gap_noise

D2 = [
    # dataset size, TCMax best, best other, gap in items, SE of one, gap/SE, gap/unpaired SE, break-even discordance %
    (744, 82.8, 82.1, 5.2, 1.38, 0.51, 0.35, 0.95),
    (2594, 63.5, 62.7, 20.8, 0.95, 0.85, 0.60, 4.3),
    (402, 64.5, 65.1, -2.4, 2.39, -0.25, -0.18, 0.38),
    (13294, 47.6, 46.3, 172.8, 0.43, 3.00, 2.12, 58.5),
    (3783, 56.0, 55.9, 3.8, 0.81, 0.12, 0.09, 0.10),
]


@pytest.mark.parametrize(("n", "ours", "other", "items", "se", "in_se", "in_unpaired", "discordance"), D2)
def test_d2_gaps_of_table_1(n, ours, other, items, se, in_se, in_unpaired, discordance):
    noise = gap_noise(ours / 100, other / 100, n)
    assert noise.items == pytest.approx(items, abs=0.05)
    assert 100 * noise.se == pytest.approx(se, abs=0.006)
    assert noise.gap_in_se == pytest.approx(in_se, abs=0.006)
    assert noise.gap_in_unpaired_se == pytest.approx(in_unpaired, abs=0.006)
    assert 100 * noise.discordance == pytest.approx(discordance, rel=0.02)
    assert noise.pairing == ("never" if n in (402, 3783) else "depends")


def test_the_standard_error_is_that_of_simulated_test_sets():
    draws = np.random.default_rng(1).binomial(500, 0.8, 100_000) / 500
    assert binomial_se(0.8, 500) == pytest.approx(draws.std(), rel=0.01)


@given(right=st.integers(1, 999), n=st.integers(1, 10_000))
def test_four_times_the_items_halve_the_standard_error(right: int, n: int):
    accuracy = right / 1000
    assert binomial_se(accuracy, 4 * n) == pytest.approx(binomial_se(accuracy, n) / 2)
    assert binomial_se(accuracy, n) == pytest.approx(binomial_se(1 - accuracy, n), abs=1e-12)


@pytest.mark.parametrize(("n", "gap"), [(744, 40), (2594, 60), (400, 30)])
def test_beyond_the_break_even_discordance_the_paired_z_test_fails(n: int, gap: int):
    """Oracle: per-item differences built with a given number of discordant items, one-sample z on them."""
    limit = break_even_discordance(gap / n, n) * n
    for discordant in range(gap, n + 1, 2):
        wins = (discordant + gap) // 2
        items = np.concatenate([np.ones(wins), -np.ones(discordant - wins), np.zeros(n - discordant)])
        if items.std() == 0:
            continue
        z = items.mean() / (items.std() / math.sqrt(n))
        assert (2 * stats.norm.sf(z) < 0.05) == (discordant < limit)


def test_the_printed_formula():
    assert break_even_discordance(0.007, 744) == pytest.approx(744 * 0.007**2 / 3.84 + 0.007**2, rel=1e-3)


@given(gap=st.floats(0.001, 10), n=st.integers(2, 30), alpha=st.sampled_from([0.01, 0.05]))
def test_at_the_break_even_seed_sd_welch_sits_on_the_level(gap: float, n: int, alpha: float):
    sd = break_even_seed_sd(gap, n, n, alpha)
    p = stats.ttest_ind_from_stats(gap, sd, n, 0, sd, n, equal_var=False).pvalue
    assert p == pytest.approx(alpha, rel=1e-6)


def test_three_against_three_divides_the_gap_by_2_27():
    assert break_even_seed_sd(1.0, 3, 3) == pytest.approx(1 / 2.27, rel=2e-3)
    assert break_even_seed_sd(-1.0, 3, 3) == break_even_seed_sd(1.0, 3, 3)


@given(a=st.floats(0.01, 0.99), b=st.floats(0.01, 0.99), n=st.integers(10, 5000))
def test_swapping_the_methods_negates_the_gap(a: float, b: float, n: int):
    forward, backward = gap_noise(a, b, n), gap_noise(b, a, n)
    assert forward.gap == -backward.gap
    assert forward.gap_in_unpaired_se == pytest.approx(-backward.gap_in_unpaired_se)
    assert forward.pairing == backward.pairing


@pytest.mark.parametrize(
    ("better", "other", "pairing"), [(0.9, 0.1, "always"), (0.5, 0.5, "never"), (0.52, 0.50, "depends")]
)
def test_whether_pairing_could_decide(better: float, other: float, pairing: str):
    assert gap_noise(better, other, 1000).pairing == pairing


def test_limits_all_right_and_all_wrong():
    low, high = proportion_confint(50, 50, 0.05, "wilson")
    se = (high - low) / norm.ppf(0.975)
    assert binomial_se(1.0, 50) == binomial_se(0.0, 50) == pytest.approx(se)
    assert gap_noise(1.0, 0.9, 50).gap_in_se == pytest.approx(0.1 / se)
    assert gap_noise(1.0, 1.0, 50).gap_in_se == 0
    assert gap_noise(0.0, 0.1, 50).gap_in_se == pytest.approx(-0.1 / se)


@pytest.mark.parametrize(
    "call",
    [
        lambda: binomial_se(82.8, 744),
        lambda: binomial_se(0.8, 0),
        lambda: break_even_discordance(1.2, 10),
        lambda: break_even_discordance(0.1, 0),
        lambda: break_even_seed_sd(1, 1, 3),
        lambda: break_even_seed_sd(1, 3, 3, alpha=0),
    ],
)
def test_senseless_arguments_are_refused(call):
    with pytest.raises(ValueError, match=r"an accuracy lies in|at least 1|needs"):
        call()
