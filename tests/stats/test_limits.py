"""What every comparison must do whatever the data: swap, reorder, all right, all wrong, one seed, one group, ties."""

import math

import numpy as np
import pytest

from tcmax.stats.aso import almost_stochastic_order
from tcmax.stats.checks import self_comparison
from tcmax.stats.crossed import (
    crossed,
    crossed_jackknife,
    crossed_paired,
    crossed_ratio,
    crossed_unpaired,
    interval,
    refusal,
    tails,
    verdict_of,
)
from tcmax.stats.effects import cliffs_delta, hedges_g_paired, improvement, net_items_won
from tcmax.stats.intervals import bootstrap, t_interval, two_level_bootstrap, wilson
from tcmax.stats.multiplicity import adjust, max_t
from tcmax.stats.paired import (
    corrected_resampled_t,
    mcnemar,
    sign_flip_items,
    sign_flip_seeds,
    welch,
    wilcoxon_datasets,
)
from tcmax.stats.power import detectable_gain
from tcmax.stats.selection import best_seed, epoch_optimism, head_optimism, ranking_change

SEEDS, ITEMS = 6, 40
RNG = np.random.default_rng(17)
ABILITY = RNG.normal(size=ITEMS)
A = (0.6 + ABILITY + RNG.normal(size=(SEEDS, ITEMS)) > 0).astype(float)
B = (0.2 + ABILITY + RNG.normal(size=(SEEDS, ITEMS)) > 0).astype(float)
GROUPS = np.arange(ITEMS) % 8
RIGHT, WRONG = np.ones((SEEDS, ITEMS)), np.zeros((SEEDS, ITEMS))


def means(x):
    return x.mean(axis=1)


def spread(x):
    return float(means(x).std(ddof=1))


def welch_of(a, b):
    return welch(means(a).mean(), spread(a), len(a), means(b).mean(), spread(b), len(b)).estimate


# Every signed comparison of two (seeds, items) matrices as one number.
SIGNED = {
    "paired": lambda a, b: crossed_paired(a, b).estimate,
    "paired by group": lambda a, b: crossed_paired(a, b, GROUPS).estimate,
    "independent seeds": lambda a, b: crossed_unpaired(a, b).estimate,
    "lower end": lambda a, b: interval(crossed_paired(a, b, GROUPS), "both").low,
    "sign flip of seeds": lambda a, b: sign_flip_seeds(a - b).estimate,
    "sign flip of items": lambda a, b: sign_flip_items(a - b, GROUPS).estimate,
    "net items": lambda a, b: net_items_won(a, b).net,
    "Cliff's delta": lambda a, b: cliffs_delta(means(a), means(b)),
    "Hedges g": lambda a, b: hedges_g_paired(means(a) - means(b)),
    "improvement": lambda a, b: improvement(means(a), means(b)).estimate - 0.5,
    "Welch": welch_of,
    "resampled t": lambda a, b: corrected_resampled_t(means(a) - means(b), 0.25).estimate,
    "Wilcoxon": lambda a, b: wilcoxon_datasets(means(a) - means(b)).estimate,
    "McNemar": lambda a, b: float((mcnemar(a, b).wins - mcnemar(a, b).losses).sum()),
    "two-level bootstrap": lambda a, b: two_level_bootstrap(a - b, np.random.default_rng(0)).estimate,
}
P_VALUES = {
    "sign flip of seeds": lambda a, b: sign_flip_seeds(a - b).p_value,
    "sign flip of items": lambda a, b: sign_flip_items(10 * (a - b)).p_value,
    "Welch": lambda a, b: welch(means(a).mean(), spread(a), len(a), means(b).mean(), spread(b), len(b)).p_value,
    "resampled t": lambda a, b: corrected_resampled_t(means(a) - means(b), 0.25).p_value,
    "Wilcoxon": lambda a, b: wilcoxon_datasets(means(a) - means(b)).p_value,
    "McNemar, worst run": lambda a, b: mcnemar(a, b).p_value.max(),
}


@pytest.mark.parametrize("name", [name for name in SIGNED if name != "lower end"])
def test_swapping_the_methods_negates(name):
    assert SIGNED[name](A, B) == pytest.approx(-SIGNED[name](B, A), abs=1e-12)
    assert SIGNED[name](A, B) != 0


@pytest.mark.parametrize("name", P_VALUES)
def test_swapping_the_methods_keeps_two_sided_p(name):
    assert P_VALUES[name](A, B) == pytest.approx(P_VALUES[name](B, A), rel=1e-9)


@pytest.mark.parametrize("name", [name for name in SIGNED if "group" not in name and "of items" not in name])
def test_the_order_of_seeds_and_items_means_nothing(name):
    seeds, items = RNG.permutation(SEEDS), RNG.permutation(ITEMS)
    if name == "lower end":
        moved = interval(crossed_paired(A[seeds][:, items], B[seeds][:, items], GROUPS[items]), "both").low
        assert moved == pytest.approx(SIGNED[name](A, B), abs=1e-12)
        return
    assert SIGNED[name](A[seeds][:, items], B[seeds][:, items]) == pytest.approx(SIGNED[name](A, B), abs=1e-12)


@pytest.mark.parametrize("scores", [RIGHT, WRONG], ids=["all right", "all wrong"])
def test_a_method_that_never_varies_decides_nothing(scores):
    level = float(scores[0, 0])
    c = crossed(scores, GROUPS)
    assert (c.estimate, c.a, c.b, c.e) == (level, 0, 0, 0)
    for population in ("seeds", "items", "both"):
        assert verdict_of(c, 0.5, population) == "undetermined"
        assert all(variance == 0 for variance, _ in tails(c, population))
    assert crossed_paired(scores, scores).estimate == 0
    assert net_items_won(scores, scores).net == 0
    assert (mcnemar(scores, scores).p_value == 1).all()
    assert sign_flip_items(scores - scores).p_value == sign_flip_seeds(scores - scores).p_value == 1
    assert improvement(means(scores), means(scores)).estimate == 0.5
    assert hedges_g_paired(means(scores - scores)) == 0
    assert best_seed(means(scores)).expected_excess == 0
    assert epoch_optimism(scores, scores).difference.estimate == 0
    assert head_optimism(np.stack([scores, scores]), np.ones((2, SEEDS))).changed == 0
    assert self_comparison(scores, np.random.default_rng(0)).told_apart == 0
    found = wilson(int(scores[0].sum()), ITEMS)
    assert 0 <= found.low < found.high <= 1
    with pytest.raises(ValueError, match="without any variation"):
        detectable_gain(c)


def test_all_right_against_all_wrong_is_decided_by_units_that_were_counted():
    c = crossed_paired(RIGHT, WRONG)
    assert c.estimate == pytest.approx(ITEMS / (ITEMS + 2))
    assert verdict_of(c, 0.0, "both") == "supported"
    assert verdict_of(c, 0.0, "seeds") == "undetermined"  # the seeds did not vary, so nothing says how they would
    assert sign_flip_seeds(RIGHT - WRONG).p_value == 2.0 ** (1 - SEEDS)
    assert mcnemar(RIGHT, WRONG).p_value == pytest.approx([2.0 ** (1 - ITEMS)] * SEEDS)
    assert (cliffs_delta(means(RIGHT), means(WRONG)), net_items_won(RIGHT, WRONG).net) == (1, ITEMS)
    assert hedges_g_paired(means(RIGHT - WRONG)) == math.inf


def test_one_seed_speaks_for_its_items_only():
    c = crossed_paired(A[:1], B[:1], GROUPS)
    assert refusal(c, "items") is None
    assert "1 seeds cannot speak for new seeds" in str(refusal(c, "both"))
    assert interval(c, "items").half_width > 0
    assert sign_flip_seeds((A - B)[:1]).p_value == 1
    assert mcnemar(A[:1], B[:1]).p_value.shape == (1,)
    assert improvement(means(A[:1]), means(B[:1])).low is None
    for refused in (
        lambda: interval(c, "seeds"),
        lambda: t_interval(means(A[:1])),
        lambda: best_seed(means(A[:1])),
        lambda: hedges_g_paired(means((A - B)[:1])),
        lambda: self_comparison(A[:1], np.random.default_rng(0)),
        lambda: corrected_resampled_t(means((A - B)[:1]), 0.25),
        lambda: welch(0.5, 0.1, 1, 0.4, 0.1, 3),
        lambda: two_level_bootstrap((A - B)[:1], np.random.default_rng(0)),
    ):
        with pytest.raises(ValueError, match=r"\w"):
            refused()


def test_one_item_and_one_dataset_have_no_p_below_one():
    assert mcnemar(RIGHT[:, :1], WRONG[:, :1]).p_value == pytest.approx([1.0] * SEEDS)
    assert wilcoxon_datasets([0.3]).p_value == 1
    assert sign_flip_items((RIGHT - WRONG)[:, :1]).p_value == 1
    for refused in (
        lambda: crossed_ratio(A[:, :1], RIGHT[:, :1]),
        lambda: crossed_jackknife(lambda t: t[..., 0], A[:, :1, np.newaxis]),
    ):
        with pytest.raises(ValueError, match=r"two items|items >= 2"):
            refused()


def test_one_group_of_items_is_one_unit():
    one = np.zeros(ITEMS)
    c = crossed_paired(A, B, one)
    assert refusal(c, "seeds") is None
    assert "1 groups of items cannot speak for new ones" in str(refusal(c, "items"))
    assert math.isnan(c.b)
    assert math.isnan(c.e)
    assert interval(c, "seeds").half_width == pytest.approx(interval(crossed_paired(A, B), "seeds").half_width)
    assert sign_flip_items(A - B, one).p_value == 1


def test_ties_favour_nobody():
    same = np.array([0.5, 0.5, 0.5])
    assert cliffs_delta(same, same) == 0
    assert wilcoxon_datasets([0.0, 0.0, 0.0]).p_value == 1
    assert ranking_change({"a": 1.0, "b": 1.0}, {"a": 1.0, "b": 2.0}).pairs_reversed == 0
    order = almost_stochastic_order({"a": same, "b": same.copy()}, np.random.default_rng(0))
    assert order.ratio == ((0.5, 0.5), (0.5, 0.5))


def test_adjusted_p_keep_the_order_of_p_whatever_the_correction():
    p = {str(k): float(value) for k, value in enumerate(RNG.uniform(size=12))}
    shifts = {str(k): RNG.normal(0.3 * k, 1, 15) for k in range(4)}
    families = [adjust(p, "f"), adjust(p, "f", "benjamini-hochberg"), max_t(shifts, "f", np.random.default_rng(1))]
    for family in families:
        adjusted = dict(zip(family.members, family.adjusted, strict=True))
        raw = dict(zip(family.members, family.p, strict=True))
        ordered = [adjusted[name] for name in sorted(raw, key=raw.__getitem__)]
        assert ordered == sorted(ordered)
        assert all(adjusted[name] >= raw[name] for name in raw)


def test_a_bootstrap_of_equal_units_has_no_width():
    found = bootstrap(lambda t: t[..., 0] / t[..., 1], np.ones((12, 2)), np.random.default_rng(0))
    assert (found.low, found.high) == (1, 1)
