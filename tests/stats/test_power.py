"""Oracles: statsmodels' power of a t test, scipy's noncentral t, simulation, and published exaggeration ratios."""

import math

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
from statsmodels.stats.power import TTestPower

from tcmax.stats.crossed import Crossed, average, interval, redesigned, what_decides
from tcmax.stats.power import detectable_gain, exaggeration, items_needed, power_of, seeds_needed


def parts(seeds=0.02, items=0.4, joint=0.5, n_seeds=5, n_items=744, estimate=0.01):
    """Parts of a design from standard deviations of one score: over seeds, over items, item x seed."""
    e = joint**2 / (n_seeds * n_items)
    return Crossed(
        estimate=estimate,
        a=seeds**2 / n_seeds + e,
        b=items**2 / n_items + e,
        e=e,
        n_seeds=n_seeds,
        n_items=n_items,
        n_groups=n_items,
        seed_df=n_seeds - 1.0,
        group_df=n_items - 1.0,
    )


@pytest.mark.parametrize("n_seeds", [3, 5, 20])
@pytest.mark.parametrize("gain", [0.005, 0.02, 0.05])
def test_power_over_seeds_is_that_of_a_one_sided_t_test(n_seeds, gain):
    c = parts(n_seeds=n_seeds)
    size = (gain - 0.001) / math.sqrt(c.a * n_seeds)
    expected = TTestPower().power(size, n_seeds, 0.025, alternative="larger")
    assert power_of(c, gain, 0.001, population="seeds") == pytest.approx(expected, abs=1e-6)


def simulated_power(designs, gain, rng, n=20_000):
    """Share of simulated experiments whose *both* interval lies above 0, from the formulas; designs averaged."""
    t, found = scipy.stats.t, []
    for c in designs:
        df = (c.n_seeds - 1, c.n_items - 1, (c.n_seeds - 1) * (c.n_items - 1))
        a, b, e = (x * rng.chisquare(k, n) / k for x, k in zip((c.a, c.b, c.e), df, strict=True))
        a0 = np.maximum(a, e)
        v = a0 + np.maximum(b - e, 0)
        found.append((v, np.maximum(v**2 / (a0**2 / df[0] + b**2 / df[1]), min(df[:2])), a, b, df))
    width = np.zeros(n)
    for part in (
        [(v, nu) for v, nu, *_ in found],
        [(a, np.full(n, df[0])) for _, _, a, _, df in found],
        [(b, np.full(n, df[1])) for *_, b, df in found],
    ):
        total = sum(x for x, _ in part)
        nu = total**2 / sum(x**2 / k for x, k in part)
        width = np.maximum(width, t.ppf(0.975, nu) * np.sqrt(total) / len(designs))
    error = math.sqrt(sum(c.a + c.b - c.e for c in designs)) / len(designs)
    return np.mean(gain + error * rng.standard_normal(n) > width)


@pytest.mark.parametrize(
    ("seeds", "n_seeds", "gain"), [(0.02, 3, 0.05), (0.0, 3, 0.03), (0.005, 3, 0.05), (0.02, 5, 0.05), (0.01, 20, 0.04)]
)
def test_power_over_both_is_the_simulated_one_and_below_each_of_three(seeds, n_seeds, gain):
    c = parts(seeds=seeds, n_seeds=n_seeds)
    found = power_of(c, gain)
    assert found == pytest.approx(simulated_power([c], gain, np.random.default_rng(1)), abs=0.012)
    sources = [(c.variance, c.both_df), (c.a, n_seeds - 1), (c.b, 743)]
    chances = [scipy.stats.nct.sf(scipy.stats.t.ppf(0.975, df), df, gain / math.sqrt(v)) for v, df in sources]
    assert found < min(chances)
    if n_seeds == 3 and seeds < 0.01:  # what three seeds promise too much
        assert min(chances) - found > 0.09


def test_power_of_an_average_is_the_simulated_one():
    designs = [parts(n_seeds=3), parts(n_seeds=4, n_items=90, seeds=0.05), parts(n_seeds=3, items=0.2)]
    found = power_of(average(designs), 0.04)
    assert found == pytest.approx(simulated_power(designs, 0.04, np.random.default_rng(2)), abs=0.015)


def test_unlimited_seeds_leave_the_power_of_the_items_alone():
    c = redesigned(parts(), 2**40)
    expected = 1 - scipy.stats.nct.cdf(scipy.stats.t.ppf(0.975, 743), 743, 0.04 / (0.4 / math.sqrt(744)))
    assert power_of(c, 0.04) == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("population", ["seeds", "items", "both"])
def test_the_detectable_gain_has_the_power_asked_for(population):
    c = parts()
    gain = detectable_gain(c, 0.01, 0.9, 0.05, population)
    assert power_of(c, gain, 0.01, 0.05, population) == pytest.approx(0.9, abs=1e-6)
    assert power_of(c, gain * 1.1, 0.01, 0.05, population) > 0.9


@pytest.mark.parametrize("gain", [0.045, 0.06, 0.2])
def test_the_least_design_reaches_the_power_and_one_less_does_not(gain):
    c = parts()
    plan = seeds_needed(c, gain)
    assert plan.power >= 0.8
    assert plan.n_seeds == 3 or power_of(redesigned(c, plan.n_seeds - 1), gain) < 0.8
    items = items_needed(c, gain)
    assert items.power >= 0.8
    assert power_of(redesigned(c, n_items=items.n_items - 1), gain) < 0.8 or items.n_items == 3
    assert (plan.n_items, items.n_seeds) == (744, 5)


def test_small_gains_can_never_be_decided_and_the_limit_says_which():
    c = parts()
    plan = seeds_needed(c, 0.02)
    assert plan.n_seeds is None
    assert plan.power < 0.8
    # with unlimited seeds only the items vary: sd 0.4 on 744 items, 80 % power one-sided at 2.5 %
    assert plan.limit == pytest.approx((1.96 + 0.8416) * 0.4 / math.sqrt(744), rel=2e-3)
    assert seeds_needed(c, plan.limit * 1.001).n_seeds is not None
    assert seeds_needed(c, plan.limit * 0.999).n_seeds is None
    items = items_needed(c, 0.02)
    assert items.n_items is None
    assert items_needed(c, items.limit * 1.001).n_items is not None
    assert items_needed(c, items.limit * 0.999).n_items is None


def test_an_average_over_datasets_is_planned_by_its_components():
    c = average([parts(), parts(n_items=3783)])
    plan = seeds_needed(c, 0.04)
    assert plan.n_seeds is not None
    assert power_of(redesigned(c, plan.n_seeds), 0.04) >= 0.8


def test_plans_that_make_no_sense_are_refused():
    c = parts()
    with pytest.raises(ValueError, match="exceed the margin"):
        seeds_needed(c, 0.01, margin=0.02)
    with pytest.raises(ValueError, match="power"):
        items_needed(c, 0.1, power=1.0)
    with pytest.raises(ValueError, match="more seeds change nothing"):
        seeds_needed(c, 0.1, population="items")
    with pytest.raises(ValueError, match="items do not change"):
        items_needed(c, 0.1, population="seeds")
    with pytest.raises(ValueError, match="without any variation"):
        detectable_gain(Crossed(0.1, 0.0, 0.0, 0.0, 3, 10, 10, 2.0, 9.0))
    with pytest.raises(ValueError, match="one seed"):
        power_of(Crossed(0.1, math.nan, 0.1, math.nan, 1, 10, 10, 0.0, 9.0), 0.1)


@pytest.mark.parametrize(("gain", "se", "published"), [(0.1, 3.28, (0.05, 0.46, 77)), (2.0, 8.1, (0.06, 0.24, 9.7))])
def test_exaggeration_of_gelman_and_carlin_2014(gain, se, published):
    # their design calculations for the beauty-and-sex-ratio and the fat-arms examples, found by simulation
    found = exaggeration(gain, se)
    assert found.power == pytest.approx(published[0], abs=0.005)
    assert found.wrong_sign == pytest.approx(published[1], abs=0.01)
    assert found.factor == pytest.approx(published[2], rel=0.02)


@pytest.mark.parametrize(("runs", "gain"), [(2, -1.2), (3, 0.4), (5, 2.0), (40, -0.8)])
def test_exaggeration_is_that_of_simulated_experiments_with_few_runs(runs, gain):
    rng, shape = np.random.default_rng(runs), (400_000 // runs, runs)
    a, b = rng.normal(gain, 1, shape), rng.normal(0, 1, shape)
    significant = scipy.stats.ttest_ind(a, b, axis=1).pvalue < 0.05
    gaps = (a.mean(axis=1) - b.mean(axis=1))[significant] / gain
    found = exaggeration(gain, math.sqrt(2 / runs), 2 * runs - 2)
    assert found.power == pytest.approx(significant.mean(), rel=0.03)
    assert found.factor == pytest.approx(np.abs(gaps).mean(), rel=0.03)
    assert found.wrong_sign == pytest.approx((gaps < 0).mean(), abs=0.01)


@pytest.mark.parametrize("df", [1.0, 2.5, 8.7, 300.0, 2e4, 9e5])
def test_the_power_behind_exaggeration_is_that_of_the_noncentral_t(df):
    critical = scipy.stats.t.ppf(0.975, df)
    right, wrong = scipy.stats.nct.sf(critical, df, 1.7), scipy.stats.nct.cdf(-critical, df, 1.7)
    found = exaggeration(3.4, 2.0, df)
    assert found.power == pytest.approx(right + wrong, rel=1e-5)
    assert found.wrong_sign * found.power == pytest.approx(wrong, rel=1e-3, abs=1e-9)


def test_many_degrees_of_freedom_join_the_normal_without_a_step():
    assert exaggeration(1.0, 1.0, 0.999e6).factor == pytest.approx(exaggeration(1.0, 1.0).factor, rel=1e-5)
    assert exaggeration(-1.0, 1.0, 7) == exaggeration(1.0, 1.0, 7)


def test_large_true_gains_are_not_exaggerated_and_bad_input_is_refused():
    assert exaggeration(10, 1).factor == pytest.approx(1.0)
    with pytest.raises(ValueError, match="gain other than 0"):
        exaggeration(0, 1)


def test_the_worked_example_of_the_documentation_can_be_repeated_from_its_printed_parts():
    c = Crossed(0.0081, 6.81e-5, 9.67e-5, 6.36e-5, 5, 744, 744, 4.0, 743.0)
    assert c.variance == pytest.approx(1.012e-4, abs=1e-7)
    assert c.both_df == pytest.approx(8.7, abs=0.05)
    half_widths = [100 * interval(c, p).half_width for p in ("seeds", "items", "both")]
    assert half_widths == pytest.approx([2.29, 1.93, 2.29], abs=0.005)
    needed = what_decides(c, 0.0)
    assert needed.n_seeds is None
    assert needed.floor == pytest.approx(0.0113, abs=5e-5)
    plan = seeds_needed(c, 0.01)
    assert plan.n_seeds is None
    assert plan.limit == pytest.approx(0.0161, abs=5e-5)
    assert items_needed(c, 0.01).n_items == pytest.approx(20_200, rel=0.01)
    found = exaggeration(0.01, math.sqrt(c.variance), c.both_df)
    assert (found.power, found.wrong_sign, found.factor) == pytest.approx((0.144, 0.015, 2.41), rel=0.02)
