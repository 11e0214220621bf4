"""Oracles: counts by hand and order statistics of the normal law from tables and from simulation."""

import numpy as np
import pytest

from tcmax.stats.crossed import interval
from tcmax.stats.selection import best_seed, epoch_optimism, head_optimism, ranking_change


def test_epoch_optimism_is_the_mean_difference_over_the_same_runs():
    honest = np.array([[1, 0, 1, 0], [1, 1, 0, 0], [1, 1, 1, 0]])
    on_test = np.array([[1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 1, 1]])
    found = epoch_optimism(on_test, honest)
    assert (found.on_test, found.honest) == (9 / 12, 7 / 12)
    assert found.difference.estimate == pytest.approx(2 / 12)
    assert found.changed == pytest.approx(2 / 3)
    assert interval(found.difference, "seeds").half_width > 0
    assert epoch_optimism(honest, honest).difference.estimate == 0
    with pytest.raises(ValueError, match=r"rows \[0, 2\]"):
        epoch_optimism(honest, on_test)
    with pytest.raises(ValueError, match="seeds, items"):
        epoch_optimism(on_test, honest[:2])


def test_choosing_the_head_on_test_is_compared_with_validation_inside_each_seed():
    rng = np.random.default_rng(1)
    test = rng.random((2, 5, 40)) < 0.6
    validation = np.array([[0.6, 0.5, 0.7, 0.6, 0.6], [0.5, 0.6, 0.7, 0.7, 0.5]])
    chosen = [0, 1, 0, 1, 0]
    honest = np.mean([test[h, s].mean() for s, h in enumerate(chosen)])
    best = 0 if test[0].mean() >= test[1].mean() else 1
    found = head_optimism(test, validation)
    assert found.honest == pytest.approx(honest)
    assert found.on_test == pytest.approx(test[best].mean())
    assert found.difference.estimate == pytest.approx(test[best].mean() - honest)
    assert found.changed == np.mean([h != best for h in chosen])
    one = head_optimism(test[:1], validation[:1])
    assert one.difference.estimate == 0
    with pytest.raises(ValueError, match="heads, seeds"):
        head_optimism(test, validation[:, :3])


@pytest.mark.parametrize(("n", "expected"), [(2, 0.56419), (3, 0.84628), (5, 1.16296), (10, 1.53875), (50, 2.24907)])
def test_the_best_of_seeds_is_the_tabulated_normal_order_statistic(n, expected):
    # Harter (1961), expected values of normal order statistics
    scores = np.random.default_rng(0).normal(size=n)
    found = best_seed(scores)
    assert found.expected_excess / scores.std(ddof=1) == pytest.approx(expected, abs=1e-5)
    assert (found.best, found.mean, found.n_seeds) == (scores.max(), scores.mean(), n)


def test_one_seed_has_no_best():
    with pytest.raises(ValueError, match="two finite scores"):
        best_seed([0.7])


def test_ranking_changes_name_who_moves():
    honest = {"a": 0.80, "b": 0.79, "c": 0.70}
    found = ranking_change(honest, {"c": 0.71, "b": 0.82, "a": 0.81})
    assert found.moved == (("a", 1, 2), ("b", 2, 1))
    assert found.pairs_reversed == 1
    assert found.winner_changes
    same = ranking_change(honest, honest)
    assert same.moved == ()
    assert not same.winner_changes
    tied = ranking_change(honest, {"a": 0.8, "b": 0.8, "c": 0.7})
    assert tied.moved == (("b", 2, 1),)
    assert tied.pairs_reversed == 0
    assert tied.winner_changes
    lower = ranking_change({"a": 0.1, "b": 0.2}, {"a": 0.3, "b": 0.2}, larger_is_better=False)
    assert lower.moved == (("a", 1, 2), ("b", 2, 1))
    with pytest.raises(ValueError, match="different variants"):
        ranking_change(honest, {"a": 1.0})
