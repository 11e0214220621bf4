"""Suites of datasets: counted and sorted by hand, statsmodels' Wilson interval, and simulated coverage."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from tcmax.stats.effects import improvement
from tcmax.stats.suite import improvement_matrix, interquartile_means, performance_profiles

NAMES = ("a", "b", "c")


def suite(rng, sizes=(6, 9, 7), decimals=2):
    return {name: [np.round(rng.normal(k / 4, 1, n), decimals) for n in sizes] for k, name in enumerate(NAMES)}


def test_the_interquartile_mean_is_that_of_the_middle_half_sorted_by_hand():
    scores = suite(np.random.default_rng(0))
    for found in interquartile_means(scores, np.random.default_rng(1), 50):
        values = sorted(np.concatenate(scores[found.variant]))  # 22 runs: 5 are cut off at each end
        assert found.estimate == pytest.approx(sum(values[5:17]) / 12)
        assert found.low <= found.estimate <= found.high
        assert (found.n_datasets, found.n_seeds) == (3, 6)


def test_its_interval_is_that_of_seeds_drawn_within_each_dataset():
    rng = np.random.default_rng(3)
    runs = [rng.normal(0, 1, 8), rng.normal(5, 1, 8)]
    found = interquartile_means({"a": runs}, np.random.default_rng(1), 4000)[0]
    longhand = []
    for _ in range(4000):
        values = sorted(value for part in runs for value in rng.choice(part, 8))
        longhand.append(sum(values[4:12]) / 8)
    assert [found.low, found.high] == pytest.approx(np.quantile(longhand, [0.025, 0.975]), abs=0.08)
    pooled = [sorted(rng.choice(np.concatenate(runs), 16)) for _ in range(2000)]
    wrong = np.quantile([sum(values[4:12]) / 8 for values in pooled], [0.025, 0.975])
    assert found.high - found.low < 0.7 * (wrong[1] - wrong[0])


def test_one_collapsed_run_in_eight_does_not_move_the_interquartile_mean():
    steady = [np.linspace(0.80, 0.87, 8)]
    collapsed = [np.where(steady[0] == 0.80, 0.1, steady[0])]
    means = interquartile_means({"steady": steady, "collapsed": collapsed}, np.random.default_rng(0), 10)
    assert means[0].estimate == pytest.approx(means[1].estimate)


def test_profiles_count_runs_above_each_threshold_and_weigh_datasets_equally():
    scores = {"a": [[1, 2, 3, 4, 5, 6], [1] * 7]}
    found = performance_profiles(scores, [0.5, 1, 3, 6])[0]
    assert found.share == pytest.approx((1.0, (5 / 6) / 2, (3 / 6) / 2, 0.0))


@pytest.mark.parametrize("above", [0, 1, 5, 9])
def test_a_profile_of_one_dataset_has_wilsons_interval(above):
    runs = [1.0] * above + [0.0] * (9 - above)
    found = performance_profiles({"a": [runs]}, [0.5], alpha=0.1)[0]
    expected = proportion_confint(above, 9, alpha=0.1, method="wilson")
    assert (found.low[0], found.high[0]) == pytest.approx(expected)
    assert found.high[0] > found.low[0]


def test_intervals_of_equal_datasets_shrink_with_the_root_of_their_number():
    runs = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
    one, four = (performance_profiles({"a": [runs] * n}, [0.45])[0] for n in (1, 4))
    assert four.share == one.share
    assert four.high[0] - four.share[0] == pytest.approx((one.high[0] - one.share[0]) / 2)
    first, second = {"a": [runs], "b": [runs[1:]]}, {"a": [runs] * 4, "b": [runs[1:]] * 4}
    wide, narrow = improvement_matrix(first)["a", "b"], improvement_matrix(second)["a", "b"]
    assert narrow.estimate - narrow.low == pytest.approx((wide.estimate - wide.low) / 2)


@given(st.integers(0, 10_000))
def test_improvement_counts_pairs_of_runs_dataset_by_dataset(seed):
    scores = suite(np.random.default_rng(seed), (2, 6, 3), decimals=0)
    found = improvement_matrix(scores)
    for a, b in itertools.permutations(NAMES, 2):
        shares = []
        for x, y in zip(scores[a], scores[b], strict=True):
            won = sum(1.0 if i > j else 0.5 if i == j else 0.0 for i in x for j in y)
            shares.append(won / (len(x) * len(y)))
        assert found[a, b].estimate == pytest.approx(sum(shares) / 3)
        assert found[a, b].estimate + found[b, a].estimate == pytest.approx(1)
        assert found[a, b].low is None


def test_swapping_rows_mirrors_the_interval_and_one_dataset_is_plain_improvement():
    scores = suite(np.random.default_rng(5))
    found = improvement_matrix(scores)
    assert found["a", "b"].low == pytest.approx(1 - found["b", "a"].high)
    alone = improvement_matrix({name: runs[:1] for name, runs in scores.items()})["a", "c"]
    plain = improvement(scores["a"][0], scores["c"][0])
    assert (alone.low, alone.high) == pytest.approx((plain.low, plain.high))


def test_runs_that_always_win_leave_an_interval_of_positive_width():
    found = improvement_matrix({"a": [[2.0] * 6] * 3, "b": [[1.0] * 6] * 3})["a", "b"]
    assert (found.estimate, found.high) == (1.0, 1.0)
    assert 0.7 < found.low < 0.95


def test_under_six_seeds_on_any_dataset_there_is_no_interval():
    scores = suite(np.random.default_rng(2), (12, 5))
    assert interquartile_means(scores, np.random.default_rng(0), 10)[0].low is None
    assert performance_profiles(scores, [0.0])[0].low is None
    assert improvement_matrix(scores)["a", "b"].high is None
    single = interquartile_means({"a": [[0.5]]}, np.random.default_rng(0))[0]
    assert (single.estimate, single.low, single.n_seeds) == (0.5, None, 1)


@given(st.permutations(range(6)))
def test_the_order_of_runs_and_of_datasets_changes_nothing(order):
    scores = suite(np.random.default_rng(7), (6, 6))
    turned = {name: [runs[1][order], runs[0][order]] for name, runs in scores.items()}
    assert improvement_matrix(turned)["a", "b"].estimate == pytest.approx(improvement_matrix(scores)["a", "b"].estimate)
    one, other = (performance_profiles(s, [0.1, 0.7])[1] for s in (scores, turned))
    assert (other.share, other.low) == (pytest.approx(one.share), pytest.approx(one.low))
    means = [interquartile_means(s, np.random.default_rng(0), 5)[2].estimate for s in (scores, turned)]
    assert means[0] == pytest.approx(means[1])


def test_equal_generators_give_equal_bounds():
    scores = suite(np.random.default_rng(7))
    assert interquartile_means(scores, np.random.default_rng(4), 99) == interquartile_means(
        scores, np.random.default_rng(4), 99
    )


def test_bad_suites_are_refused():
    rng = np.random.default_rng(0)
    for scores, message in (
        ({"a": [[1.0]], "b": []}, "same datasets"),
        ({}, "same datasets"),
        ({"a": [[]]}, "one axis of finite values"),
        ({"a": [[np.nan]]}, "one axis of finite values"),
        ({"a": [[[1.0]]]}, "one axis of finite values"),
    ):
        with pytest.raises(ValueError, match=message):
            interquartile_means(scores, rng)
        with pytest.raises(ValueError, match=message):
            improvement_matrix(scores)
    with pytest.raises(ValueError, match="thresholds"):
        performance_profiles({"a": [[1.0]]}, [])


def test_intervals_cover_about_what_they_claim():
    rng = np.random.default_rng(11)
    covered = np.zeros(3)
    for _ in range(300):
        runs = rng.normal(size=(2, 3, 12)) + np.array([0.0, 0.8])[:, None, None]
        mean = interquartile_means({"a": runs[0]}, rng, 200)[0]
        profile = performance_profiles({"a": runs[0]}, [0.0])[0]
        won = improvement_matrix({"a": runs[0], "b": runs[1]})["b", "a"]
        covered += [mean.low <= 0 <= mean.high, profile.low[0] <= 0.5 <= profile.high[0], won.low <= 0.7142 <= won.high]
    assert np.all(covered / 300 > 0.89)
    assert np.all(covered / 300 < 0.99)
