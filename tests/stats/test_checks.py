import numpy as np
import pytest

from tcmax.stats.checks import influence, self_comparison
from tcmax.stats.crossed import crossed_paired, crossed_unpaired, one_sided_p, verdict_of
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


def test_a_method_does_not_beat_itself_more_often_than_the_level():
    rng = np.random.default_rng(5)
    sides = {"greater": 0, "less": 0}
    for _ in range(300):
        scores = draw(Probit(6, 200, (0.7,), sd_seed=0.15), rng).scores[0]
        for side in sides:
            sides[side] += one_sided_p(self_comparison(scores), 0.0, "both", side) < 0.025
    # 0.025 ± 4 standard errors
    assert max(sides.values()) <= 300 * (0.025 + 4 * 0.009)
    rows = np.random.default_rng(6).normal(size=(7, 20))
    assert self_comparison(rows) == crossed_unpaired(rows[[0, 2, 4, 6]], rows[[1, 3, 5]])
    with pytest.raises(ValueError, match="6 seeds"):
        self_comparison(np.ones((5, 20)))
