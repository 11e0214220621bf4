"""The choice of settings as a source of variance: order statistics by enumeration, searches as a level."""

from itertools import combinations, pairwise, permutations

import numpy as np
import pytest

from tcmax.stats.crossed import crossed, interval
from tcmax.stats.tuning import choice_optimism, expected_best, new_searches, search_interval, search_means


def enumerated(validation, test, k, sign):
    """Means over all orders of all sets of k trials of the scores of the first best one."""
    found = []
    for chosen in combinations(range(len(validation)), k):
        for order in permutations(chosen):
            best = order[0]
            for trial in order[1:]:
                if sign * validation[trial] > sign * validation[best]:
                    best = trial
            found.append((validation[best], test[best]))
    return np.mean(found, axis=0)


@pytest.mark.parametrize("better", ["higher", "lower"])
@pytest.mark.parametrize(
    "validation",
    [[0.3, 0.9, 0.5, 0.7, 0.1, 0.8], [0.5, 0.9, 0.5, 0.9, 0.9, 0.2], [0.4] * 6],
    ids=["apart", "tied", "all"],
)
def test_the_order_statistic_estimator_equals_enumeration(validation, better):
    test = [0.2, 0.6, 0.9, 0.4, 0.5, 0.7]
    sign = 1 if better == "higher" else -1
    for expected in expected_best(validation, test, better):
        v, t = enumerated(validation, test, expected.trials, sign)
        assert (expected.validation, expected.test) == (pytest.approx(v), pytest.approx(t))


def test_one_trial_is_the_mean_and_all_trials_are_the_choice():
    rng = np.random.default_rng(0)
    v, t = rng.random(64), rng.random(64)
    found = expected_best(v, t)
    assert (found[0].validation, found[0].test) == (pytest.approx(v.mean()), pytest.approx(t.mean()))
    assert (found[-1].validation, found[-1].test) == (v.max(), t[v.argmax()])
    assert all(a.validation <= b.validation for a, b in pairwise(found))


def test_optimism_is_what_choosing_adds_to_the_gap_of_all_trials():
    v, t = [0.7, 0.9, 0.8], [0.6, 0.7, 0.7]
    assert choice_optimism(v, t) == pytest.approx(0.2 - (0.1 + 0.2 + 0.1) / 3)
    assert choice_optimism([1.0, 2.0, 4.0], [2.0, 2.5, 4.5], "lower") == pytest.approx(1.0 - (1.0 + 0.5 + 0.5) / 3)


def test_noise_in_validation_is_seen_as_optimism_and_none_where_there_is_none():
    rng = np.random.default_rng(1)
    truth = rng.normal(0, 0.01, (400, 16))
    noisy = [choice_optimism(row + rng.normal(0, 0.05, 16), row + rng.normal(0, 0.05, 16)) for row in truth]
    exact = [choice_optimism(row, row) for row in truth]
    assert np.mean(noisy) == pytest.approx(0.05 * 1.77, rel=0.1)  # the expected maximum of 16 normals is 1.77 sd
    assert np.abs(exact).max() < 1e-12


@pytest.mark.parametrize(("v", "t"), [([], []), ([0.1], [0.1, 0.2]), ([0.1, np.nan], [0.1, 0.2])])
def test_scores_that_make_no_sense_are_refused(v, t):
    with pytest.raises(ValueError, match="trial"):
        expected_best(v, t)


def test_searches_are_the_rows_of_the_crossed_interval():
    rng = np.random.default_rng(2)
    d, searches = rng.normal(size=(9, 30)), [0, 1, 2] * 3
    means = np.stack([d[[k, k + 3, k + 6]].mean(0) for k in range(3)])
    assert np.allclose(search_means(d, searches), means)
    found = new_searches(d, searches)
    by_search = means.mean(axis=1)
    assert found.a == pytest.approx(((by_search - by_search.mean()) ** 2).sum() / (3 * 2))
    assert found.n_seeds == 3


def test_the_third_level_is_never_narrower_than_the_searches_held_fixed():
    rng = np.random.default_rng(3)
    searches = np.arange(12) % 4
    for spread in (0.0, 0.1, 3.0):
        for _ in range(20):
            d = rng.normal(size=(12, 40)) + spread * rng.normal(size=4)[searches][:, None]
            wide, held = search_interval(d, searches), interval(crossed(d), "both")
            assert wide.half_width >= held.half_width
            assert (wide.low, wide.high) == (wide.estimate - wide.half_width, wide.estimate + wide.half_width)
    assert wide.half_width > 2 * held.half_width


def test_fewer_than_three_searches_are_a_description():
    with pytest.raises(ValueError, match="at least 3 independent ones, not 2: this search is held fixed"):
        new_searches(np.zeros((4, 5)), [0, 1, 0, 1])
    with pytest.raises(ValueError, match="do not say whose seeds"):
        search_means(np.zeros((4, 5)), [0, 1])
