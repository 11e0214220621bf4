"""The interval of an accuracy by itself. Oracles: statsmodels' Wilson interval with the quantile of t, and simulation
with known truth."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from tcmax.stats.crossed import (
    clipped,
    crossed,
    crossed_proportion,
    interval,
    one_sided_p,
    refusal,
    verdict_of,
)
from tcmax.stats.simulate import Probit, draw

RNG = np.random.default_rng(5)
SCORES = (RNG.random((4, 90)) < np.clip(0.9 + 0.1 * RNG.normal(size=90), 0, 1)).astype(float)


def by_statsmodels(p, n, df):
    """Wilson's interval of a real number of items, with t for z."""
    alpha = 2 * scipy.stats.norm.sf(scipy.stats.t.ppf(0.975, df))
    return proportion_confint(p * n, n, alpha, "wilson")


@pytest.mark.parametrize("population", ["seeds", "items", "both"])
def test_it_is_wilsons_with_an_effective_number_of_items(population):
    c = crossed_proportion(SCORES)
    p = SCORES.mean()
    sources = {"seeds": [(c.a, 3)], "items": [(c.b, 89)], "both": [(c.variance, c.both_df), (c.a, 3), (c.b, 89)]}
    bounds = [by_statsmodels(p, p * (1 - p) / variance, df) for variance, df in sources[population]]
    found = interval(c, population)
    assert (found.low, found.high) == pytest.approx((min(b[0] for b in bounds), max(b[1] for b in bounds)))
    assert found.half_width == pytest.approx((found.high - found.low) / 2)
    assert (c.a, c.b, c.e) == (crossed(SCORES).a, crossed(SCORES).b, crossed(SCORES).e)


@pytest.mark.parametrize("right", [True, False])
def test_all_right_and_all_wrong_have_a_width_within_the_range(right):
    # 3 runs, 100 items, all right: 96.2 to 100
    c = crossed_proportion(np.full((3, 100), float(right)))
    edge = scipy.stats.t.ppf(0.975, 99) ** 2 / (100 + scipy.stats.t.ppf(0.975, 99) ** 2)
    for population in ("seeds", "items", "both"):
        found = interval(c, population)
        assert (found.low, found.high) == pytest.approx((1 - edge, 1) if right else (0, edge))
        assert found.decides
    assert round(100 * (1 - edge), 1) == 96.2
    assert verdict_of(c, 0.95 if right else -0.1, "both") == "supported"
    assert verdict_of(c, 0.97 if right else 0.03, "both") == "undetermined"


def test_groups_count_where_all_are_right_and_cap_where_not():
    groups = np.repeat(np.arange(12), 10)
    c = crossed_proportion(np.ones((3, 120)), groups)
    assert interval(c, "both").low == pytest.approx(12 / (12 + scipy.stats.t.ppf(0.975, 11) ** 2))
    narrow = np.ones((3, 120))  # one error in nearly every group: less spread than 120 independent items would have
    narrow[:, ::10] = 0
    narrow[0, 0], narrow[1, 11] = 1, 0
    found, p = crossed_proportion(narrow, groups), narrow.mean()
    assert p * (1 - p) / found.b > 120
    assert interval(found, "items").low == pytest.approx(by_statsmodels(p, 120, 11)[0])
    items = crossed_proportion(narrow)
    assert interval(items, "items").low == pytest.approx(by_statsmodels(p, p * (1 - p) / items.b, 119)[0])


def test_few_groups_that_hold_an_error_are_flagged():
    groups = np.repeat(np.arange(20), 10)
    scores = np.ones((3, 200))
    scores[0, :90:10] = 0
    assert "fewer than 10 groups hold an error: 9" in crossed_proportion(scores, groups).notes
    assert "fewer than 10 groups hold a right answer: 9" in crossed_proportion(1 - scores, groups).notes
    scores[1, 90] = 0
    assert crossed_proportion(scores, groups).notes == ()


@given(st.integers(1, 59), st.floats(0.01, 0.99), st.sampled_from(["seeds", "items", "both"]))
@settings(max_examples=60, deadline=None)
def test_p_is_below_the_level_exactly_beyond_the_interval(wrong, margin, population):
    rng = np.random.default_rng(wrong)
    scores = (rng.random((3, 60)) >= wrong / 60).astype(float)
    c = crossed_proportion(scores)
    found = interval(c, population)
    assert 0 <= found.low <= c.estimate <= found.high <= 1
    if found.decides and min(abs(margin - found.low), abs(margin - found.high)) > 1e-9:
        assert (found.low > margin) == (one_sided_p(c, margin, population) < 0.025)
        assert (found.high < margin) == (one_sided_p(c, margin, population, "less") < 0.025)


def test_whole_runs_speak_for_seeds_only():
    c = crossed_proportion(np.array([[0.9], [0.95], [1.0], [0.85]]))
    assert "whole runs" in refusal(c, "both")
    p, a = 0.925, np.var([0.9, 0.95, 1.0, 0.85], ddof=1) / 4
    found = interval(c, "seeds")
    assert (found.low, found.high) == pytest.approx(by_statsmodels(p, p * (1 - p) / a, 3))
    perfect = interval(crossed_proportion(np.ones((8, 1))), "seeds")
    assert perfect.low == pytest.approx(by_statsmodels(1, 8, 7)[0])
    with pytest.raises(ValueError, match="within 0 and 1"):
        crossed_proportion([[1.2, 0.1]])


def test_a_printed_interval_stays_within_the_range_of_its_metric():
    found = interval(crossed(np.array([[0.9, 1.0, 0.2], [0.9, 0.1, 1.0]])), "items")
    assert found.high > 1
    printed = clipped(found, 0, 1)
    assert (printed.low, printed.high) == (max(found.low, 0), 1)
    assert printed.half_width == found.half_width


@pytest.mark.parametrize(
    ("design", "symmetric_below"),
    [
        (Probit(3, 50, accuracies=(0.988,), sd_seed=0.1), 0.9),
        (Probit(5, 400, accuracies=(0.99,), sd_seed=0.1, sd_item=0.6, sd_group=0.8, n_groups=10), 0.88),
    ],
)
def test_it_covers_near_one_where_the_symmetric_interval_does_not(design, symmetric_below):
    rng, n = np.random.default_rng(1), 250
    own = symmetric = 0
    for _ in range(n):
        found = draw(design, rng)
        scores, truth = found.scores[0].astype(float), found.truth_both[0]
        bounds = interval(crossed_proportion(scores, found.groups), "both")
        own += bounds.low <= truth <= bounds.high
        bounds = interval(crossed(scores, found.groups), "both")
        symmetric += bounds.low <= truth <= bounds.high
    assert own / n >= 0.95 - 4 * math.sqrt(0.05 * 0.95 / n)
    assert symmetric / n < symmetric_below
