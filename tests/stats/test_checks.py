import numpy as np
import pytest

from tcmax.stats.checks import _halvings, influence, self_comparison
from tcmax.stats.crossed import crossed_paired, verdict_of
from tcmax.stats.simulate import Probit, draw


def test_the_seed_that_carries_a_verdict_is_named():
    rng = np.random.default_rng(0)
    base = rng.normal(size=(5, 40))
    gain = np.array([0.3, 0.28, 0.33, 0.31, -0.6])
    found = influence(base + gain[:, None], base)
    assert found.verdict == "undetermined"
    assert found.seeds == (4,)
    assert found.groups == ()
    assert influence(base, base + gain[:, None]).seeds == (4,)


def test_the_group_that_carries_a_verdict_is_named():
    rng = np.random.default_rng(1)
    groups = np.repeat(list("uvwxyz"), 10)
    base = rng.normal(size=(4, 60))
    gain = 0.5 + 0.02 * rng.normal(size=(4, 60)) - 3 * (groups == "w")
    found = influence(base + gain, base, groups=groups)
    assert found.groups == ("w",)
    for s in range(4):
        keep = np.arange(4) != s
        without = crossed_paired((base + gain)[keep], base[keep], groups)
        assert (verdict_of(without, 0, "both") != found.verdict) == (s in found.seeds)


def test_nothing_leaves_when_only_three_remain_and_steady_gains_do_not_flip():
    base = np.random.default_rng(2).normal(size=(3, 30))
    found = influence(base + 0.5 + 0.01 * base, base, groups=np.arange(30) % 3)
    assert found.seeds == found.groups == ()
    steady = np.random.default_rng(3).normal(size=(6, 50))
    assert influence(steady + 0.5 + 0.01 * np.random.default_rng(4).normal(size=(6, 50)), steady).seeds == ()


def test_a_method_is_not_told_apart_from_itself_more_often_than_the_level():
    rng = np.random.default_rng(5)
    apart = tried = 0
    for _ in range(120):
        found = self_comparison(draw(Probit(6, 200, (0.7,), sd_seed=0.15), rng).scores[0], rng)
        apart, tried = apart + found.told_apart, tried + found.halvings
    assert tried == 120 * 10
    # 0.05, and four standard errors of 120 experiments
    assert apart / tried <= 0.05 + 4 * 0.02


@pytest.mark.parametrize("better", [[0, 2, 4], [1, 3, 5]])
def test_two_groups_of_runs_are_told_apart_where_they_differ(better):
    rows = np.random.default_rng(6).normal(0, 0.1, size=(6, 40))
    rows[better] += 1.0
    assert self_comparison(rows, np.random.default_rng(0)).told_apart == 1  # that halving, of ten


@pytest.mark.parametrize(("seeds", "halvings"), [(6, 10), (7, 20), (8, 20), (30, 20)])
def test_halvings_are_distinct_halves_of_the_seeds(seeds, halvings):
    found = _halvings(seeds, np.random.default_rng(seeds), 20)
    assert len({frozenset([tuple(first), tuple(~first)]) for first in found}) == len(found) == halvings
    assert all(first.sum() == seeds // 2 for first in found)


def test_a_self_comparison_needs_six_seeds_three_groups_and_repeats_itself():
    with pytest.raises(ValueError, match="6 seeds"):
        self_comparison(np.ones((5, 20)), np.random.default_rng(0))
    rows = np.random.default_rng(1).normal(size=(9, 20))
    two_groups = self_comparison(rows, np.random.default_rng(0), np.arange(20) % 2)
    assert (two_groups.halvings, two_groups.told_apart) == (0, 0)
    assert self_comparison(rows, np.random.default_rng(3)) == self_comparison(rows, np.random.default_rng(3))
