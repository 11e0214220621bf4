"""Oracles: the formulas as explicit loops, scipy.stats, statsmodels' cluster covariance, deletion by hand."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.regression.linear_model import OLS
from statsmodels.tools import add_constant

from tcmax.stats.crossed import (
    Crossed,
    average,
    clipped,
    crossed,
    crossed_jackknife,
    crossed_paired,
    crossed_ratio,
    crossed_unpaired,
    equivalence_of,
    interval,
    one_sided_p,
    pseudo_values,
    redesigned,
    refusal,
    verdict_of,
    what_decides,
)

POPULATIONS = ("seeds", "items", "both")


def longhand(d, groups):
    """a, b, e as written in the formulas, one term at a time."""
    n_seeds, n_items = len(d), len(d[0])
    labels = sorted(set(groups))
    grand = sum(sum(row) for row in d) / (n_seeds * n_items)
    by_seed = [sum(row) / n_items for row in d]
    by_item = [sum(d[s][i] for s in range(n_seeds)) / n_seeds for i in range(n_items)]
    a = sum((m - grand) ** 2 for m in by_seed) / (n_seeds * (n_seeds - 1))
    b = e = 0.0
    for label in labels:
        members = [i for i in range(n_items) if groups[i] == label]
        weight = 1 / (1 - len(members) / n_items)
        b += weight * sum(by_item[i] - grand for i in members) ** 2
        for s in range(n_seeds):
            e += weight * sum(d[s][i] - by_seed[s] - by_item[i] + grand for i in members) ** 2
    b /= n_items**2
    e *= n_seeds / (n_seeds - 1) / (n_seeds * n_items) ** 2
    return grand, a, b, e


def effective(groups):
    """How many equal groups these are worth: one over the chance that two items drawn anew share a group."""
    sizes = [list(groups).count(label) for label in set(groups)]
    return 1 / sum((n / len(groups)) ** 2 for n in sizes)


def longhand_both(a, b, e, n_seeds, n_groups, alpha=0.05):
    t = scipy.stats.t
    a0 = max(a, e)
    v = a0 + max(b - e, 0)
    df = max(v**2 / (a0**2 / (n_seeds - 1) + b**2 / (n_groups - 1)), min(n_seeds, n_groups) - 1)
    q = 1 - alpha / 2
    return max(
        t.ppf(q, df) * math.sqrt(v),
        t.ppf(q, n_seeds - 1) * math.sqrt(a),
        t.ppf(q, n_groups - 1) * math.sqrt(b),
    )


def normal(seed, shape=(4, 30), seeds=0.5, items=1.0):
    rng = np.random.default_rng(seed)
    return (
        0.3
        + seeds * rng.standard_normal((shape[0], 1))
        + items * rng.standard_normal(shape[1])
        + rng.standard_normal(shape)
    )


def parts(estimate=0.1, a=1e-4, b=2e-4, e=5e-5, n_seeds=5, n_items=400):
    return Crossed(
        estimate=estimate,
        a=a,
        b=b,
        e=e,
        n_seeds=n_seeds,
        n_items=n_items,
        n_groups=n_items,
        seed_df=float(n_seeds - 1),
        group_df=float(n_items - 1),
    )


variances = st.floats(1e-8, 1e-2)
designs = st.builds(
    parts,
    estimate=st.floats(-0.2, 0.2),
    a=st.one_of(st.just(0.0), variances),
    b=variances,
    e=variances,
    n_seeds=st.integers(3, 30),
    n_items=st.integers(3, 5000),
)


@pytest.mark.parametrize("n_groups", [None, 3, 7])
@pytest.mark.parametrize("shape", [(2, 9), (5, 40), (3, 2)])
def test_the_parts_are_those_of_the_longhand_loops(shape, n_groups):
    rng = np.random.default_rng(3)
    d = normal(1, shape)
    groups = None if n_groups is None else np.concatenate([[0, 1], rng.integers(0, n_groups, shape[1] - 2)])
    labels = list(range(shape[1])) if groups is None else groups.tolist()
    c = crossed(d, groups)
    np.testing.assert_allclose([c.estimate, c.a, c.b, c.e], longhand(d.tolist(), labels), rtol=1e-10)
    expected = longhand_both(c.a, c.b, c.e, shape[0], effective(labels))
    assert interval(c, "both").half_width == pytest.approx(expected, rel=1e-9)
    assert c.n_groups == len(set(labels))


def test_without_groups_the_parts_are_mean_squares_of_a_two_way_layout():
    d = normal(5, (6, 25))
    seeds, items = np.indices(d.shape)
    design = np.column_stack(
        [(seeds.ravel()[:, None] == np.arange(1, 6)), (items.ravel()[:, None] == np.arange(1, 25))]
    )
    full = OLS(d.ravel(), add_constant(design.astype(float))).fit()
    only_items = OLS(d.ravel(), add_constant(design[:, 5:].astype(float))).fit()
    only_seeds = OLS(d.ravel(), add_constant(design[:, :5].astype(float))).fit()
    c = crossed(d)
    assert c.e == pytest.approx(full.mse_resid / d.size)
    assert c.a == pytest.approx((only_items.ssr - full.ssr) / 5 / d.size)
    assert c.b == pytest.approx((only_seeds.ssr - full.ssr) / 24 / d.size)


@pytest.mark.parametrize("population", ["seeds", "items"])
def test_one_source_alone_is_the_one_sample_t_interval(population):
    d = normal(2, (7, 50))
    means = d.mean(axis=1) if population == "seeds" else d.mean(axis=0)
    test = scipy.stats.ttest_1samp(means, 0.1)
    low, high = test.confidence_interval(0.9)
    found = interval(crossed(d), population, 0.1)
    np.testing.assert_allclose([found.low, found.high], [low, high], rtol=1e-9)
    greater = scipy.stats.ttest_1samp(means, 0.1, alternative="greater").pvalue
    assert one_sided_p(crossed(d), 0.1, population) == pytest.approx(greater, rel=1e-9)


def bias_reduced(residuals, groups):
    """Cluster variance CR2 of a mean from its matrices: residuals of each group times (I − H_gg)^(−1/2)."""
    n = len(residuals)
    total = 0.0
    for label in np.unique(groups):
        own = residuals[groups == label]
        kept = np.eye(len(own)) - np.full((len(own), len(own)), 1 / n)
        total += float(np.real(scipy.linalg.inv(scipy.linalg.sqrtm(kept)) @ own).sum()) ** 2
    return total / n**2


def test_group_variances_are_cluster_robust_ones():
    speaker, sentence = np.repeat(np.arange(12), 25), np.tile(np.repeat(np.arange(5), 5), 12)
    rng = np.random.default_rng(9)
    d = normal(4, (3, 300)) + rng.standard_normal(12)[speaker] + rng.standard_normal(5)[sentence]
    model = OLS(d.mean(axis=0), np.ones(300))
    one = model.fit(cov_type="cluster", cov_kwds={"groups": speaker}).cov_params()[0, 0]
    two = model.fit(cov_type="cluster", cov_kwds={"groups": np.column_stack([speaker, sentence])}).cov_params()[0, 0]
    assert crossed(d, speaker).b == pytest.approx(one, rel=1e-9)
    c = crossed(d, speaker, sentence)
    assert c.b == pytest.approx(two, rel=1e-9)
    assert c.n_groups == 5
    assert c.group_df == 4


def test_unequal_groups_have_a_bias_reduced_variance_and_the_degrees_of_freedom_of_fewer():
    rng = np.random.default_rng(9)
    sizes = [40, *[4] * 15]
    groups = rng.permutation(np.repeat(np.arange(16), sizes))
    d = normal(4, (3, 100)) + rng.standard_normal(16)[groups]
    c = crossed(d, groups)
    per_item = d.mean(axis=0)
    assert c.b == pytest.approx(bias_reduced(per_item - per_item.mean(), groups), rel=1e-9)
    residuals = d - d.mean(axis=1, keepdims=True) - per_item + d.mean()
    assert c.e == pytest.approx(sum(bias_reduced(row, groups) for row in residuals) / (3 * 2), rel=1e-9)
    assert c.n_groups == 16
    assert c.group_df == pytest.approx(effective(groups.tolist()) - 1)
    assert c.effective_groups < 6
    assert any("16 unequal ones are worth 5.4" in note for note in c.notes)
    assert interval(c, "items").half_width == pytest.approx(scipy.stats.t.ppf(0.975, c.group_df) * math.sqrt(c.b))


def test_groups_of_which_one_holds_nearly_all_items_are_no_groups():
    groups = np.repeat([0, 1, 2, 3], [97, 1, 1, 1])
    c = crossed(normal(4, (3, 100)), groups)
    assert "worth 1.06 equal ones" in refusal(c, "both")
    assert refusal(c, "seeds") is None
    with pytest.raises(ValueError, match=r"worth 1\.06"):
        verdict_of(c, 0.0, "items")


def test_two_groupings_combine_e_as_first_plus_second_less_both():
    rng = np.random.default_rng(10)
    first, second = rng.integers(0, 5, 60), rng.integers(0, 6, 60)
    d = normal(11, (4, 60)) + rng.standard_normal((4, 5))[:, first] + rng.standard_normal((4, 6))[:, second]
    e = [longhand(d.tolist(), g)[3] for g in (first.tolist(), second.tolist(), (first * 10 + second).tolist())]
    assert crossed(d, first, second).e == pytest.approx(e[0] + e[1] - e[2], rel=1e-9)


def test_a_combined_part_that_is_not_positive_falls_back_to_the_larger_one():
    # 2 x 2 cells of one item each whose row and column sums cancel: b₁ = b₂ = 0 < b₁₂, so nothing is left
    d = np.array([[1.0, -1.0, -1.0, 1.0], [1.0, -1.0, -1.0, 1.0]]) + np.array([[0.1], [-0.1]])
    d[0, 0] += 0.1
    c = crossed(d, [0, 0, 1, 1], [0, 1, 0, 1])
    assert c.b == pytest.approx(max(longhand(d.tolist(), g)[2] for g in ([0, 0, 1, 1], [0, 1, 0, 1])))
    assert any("not positive" in note for note in c.notes)


@given(designs, st.floats(0.001, 0.4))
def test_both_is_never_inside_the_others(c, alpha):
    both = interval(c, "both", alpha)
    for population in ("seeds", "items"):
        other = interval(c, population, alpha)
        assert both.low <= other.low
        assert both.high >= other.high


@given(designs, st.sampled_from(POPULATIONS), st.floats(-0.3, 0.3), st.floats(0.001, 0.4))
def test_verdict_interval_and_p_agree(c, population, margin, alpha):
    found = interval(c, population, alpha)
    verdict = verdict_of(c, margin, population, alpha)
    if min(abs(found.low - margin), abs(found.high - margin)) > 1e-9:
        assert (verdict == "supported") == (one_sided_p(c, margin, population) < alpha / 2)
        assert (verdict == "contradicted") == (one_sided_p(c, margin, population, "less") < alpha / 2)


def test_p_is_the_largest_of_the_tails():
    c = parts()
    v, df = c.variance, c.both_df
    tails = [(v, df), (c.a, 4), (c.b, 399)]
    expected = max(scipy.stats.t.sf((0.1 - 0.04) / math.sqrt(x), n) for x, n in tails)
    assert one_sided_p(c, 0.04, "both") == pytest.approx(expected, rel=1e-9)


def test_the_upper_bound_on_the_margin_contradicts_and_the_lower_bound_on_it_does_not_support():
    c = parts()
    found = interval(c, "both")
    assert verdict_of(c, found.high, "both") == "contradicted"
    assert verdict_of(c, found.low, "both") == "undetermined"
    assert verdict_of(c, math.nextafter(found.low, -1), "both") == "supported"


@given(st.integers(0, 10_000))
@settings(max_examples=30)
def test_swapping_methods_negates_and_permuting_changes_nothing(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.random((4, 24)) < 0.7, rng.random((4, 24)) < 0.5
    groups = rng.integers(0, 6, 24)
    c, swapped = crossed_paired(a, b, groups), crossed_paired(b, a, groups)
    assert swapped.estimate == pytest.approx(-c.estimate)
    assert (swapped.a, swapped.b, swapped.e) == pytest.approx((c.a, c.b, c.e))
    items, seeds = rng.permutation(24), rng.permutation(4)
    moved = crossed_paired(a[seeds][:, items], b[seeds][:, items], groups[items])
    assert (moved.estimate, moved.a, moved.b, moved.e) == pytest.approx((c.estimate, c.a, c.b, c.e))


def test_shifting_both_methods_changes_nothing_and_scaling_scales_the_variance():
    d = normal(8)
    c, shifted, scaled = crossed(d), crossed(d + 5), crossed(3 * d)
    assert (shifted.a, shifted.b, shifted.e) == pytest.approx((c.a, c.b, c.e))
    assert (scaled.a, scaled.b, scaled.e) == pytest.approx((9 * c.a, 9 * c.b, 9 * c.e))


def test_independent_seeds_add_their_parts_with_welch_degrees_of_freedom():
    a, b = normal(12, (6, 40), seeds=2.0), normal(13, (3, 40))
    c = crossed_unpaired(a, b)
    welch = scipy.stats.ttest_ind(a.mean(axis=1), b.mean(axis=1), equal_var=False)
    low, high = welch.confidence_interval(0.95)
    found = interval(c, "seeds")
    np.testing.assert_allclose([found.low, found.high, found.df], [low, high, welch.df], rtol=1e-9)
    pair = scipy.stats.ttest_rel(a.mean(axis=0), b.mean(axis=0)).confidence_interval(0.95)
    items = interval(c, "items")
    np.testing.assert_allclose([items.low, items.high], [pair.low, pair.high], rtol=1e-9)
    e = sum(longhand(x.tolist(), range(40))[3] for x in (a, b))
    assert c.e == pytest.approx(e)
    assert c.n_seeds == 3


@pytest.mark.parametrize("wins", [0, 1, 4, 9])
def test_few_discordant_items_get_one_more_on_each_side(wins):
    # one run: Bonett and Price (2012), p̃ = (x + 1)/(n + 2) in each discordant cell
    n = 100
    a, b = np.ones((1, n)), np.ones((1, n))
    b[0, :wins] = 0
    found = interval(crossed_paired(a, b), "items", 0.05)
    p12, p21 = (wins + 1) / (n + 2), 1 / (n + 2)
    variance = (p12 + p21 - (p12 - p21) ** 2) / (n + 2)
    assert found.estimate == pytest.approx(p12 - p21)
    # theirs has divisor n + 2 and a normal quantile; ours the factor and t of the n items that are real
    half = scipy.stats.t.ppf(0.975, n - 1) * math.sqrt(variance * n / (n - 1))
    assert found.half_width == pytest.approx(half, rel=1e-9)


def test_smoothing_stops_at_ten_items_that_tell_and_is_for_binary_scores_only():
    a, b = np.ones((3, 50)), np.ones((3, 50))
    b[:, :10] = 0
    plain = crossed_paired(a, b)
    assert plain.n_discordant == 10
    assert plain.estimate == pytest.approx(10 / 50)
    b[0, 9] = 1  # on average 9.67 items differ
    smoothed = crossed_paired(a, b)
    assert smoothed.estimate == pytest.approx(29 / 3 / 52)
    assert (smoothed.n_items, smoothed.n_groups, smoothed.group_df) == (50, 50, 49)
    assert any("bonett-price: 9.67 items tell" in note for note in smoothed.notes)
    assert crossed_paired(a * 0.5, b * 0.5).estimate == pytest.approx(29 / 300)
    grouped = crossed_paired(a, b, np.arange(50) // 5)
    assert (grouped.n_groups, grouped.group_df) == (10, 9)


def smoothed_longhand(d, groups):
    """a, b and e with two pseudo-items that are groups in the sums and nowhere else; equal groups."""
    n_groups, (n_seeds, n_items) = len(set(groups)), d.shape
    more = np.hstack([d, np.ones((n_seeds, 1)), -np.ones((n_seeds, 1))])
    labels = [*groups, "won", "lost"]
    mean, by_seed, by_item = more.mean(), more.mean(axis=1), more.mean(axis=0)
    b = e = 0.0
    for label in set(labels):
        own = [i for i, other in enumerate(labels) if other == label]
        b += sum(by_item[i] - mean for i in own) ** 2
        e += sum(sum(more[s, i] - by_seed[s] - by_item[i] + mean for i in own) ** 2 for s in range(n_seeds))
    factor = n_groups / (n_groups - 1)
    return (
        mean,
        sum((by_seed - mean) ** 2) / (n_seeds * (n_seeds - 1)),
        factor * b / (n_items + 2) ** 2,
        n_seeds / (n_seeds - 1) * factor * e / (n_seeds * (n_items + 2)) ** 2,
    )


@pytest.mark.parametrize("n_groups", [2, 4, 24])
def test_pseudo_items_are_groups_in_the_sums_and_nowhere_else(n_groups):
    a, b = np.ones((3, 24)), np.ones((3, 24))
    b[0, :3] = b[1, 1:6] = b[2, 20] = a[2, 8] = 0
    groups = np.arange(24) * n_groups // 24
    c = crossed_paired(a, b, None if n_groups == 24 else groups)
    expected = smoothed_longhand(a - b, groups.tolist())
    np.testing.assert_allclose([c.estimate, c.a, c.b, c.e], expected, rtol=1e-12)
    assert (c.n_groups, c.group_df) == (n_groups, n_groups - 1)
    reason = refusal(c, "both")
    assert ("2 groups of items cannot speak" in reason) if n_groups == 2 else reason is None


def test_pseudo_items_have_the_weight_of_an_average_group():
    a, b = np.ones((1, 24)), np.ones((1, 24))
    b[0, :3] = 0
    groups = np.repeat([0, 1, 2], [4, 4, 16])
    c = crossed_paired(a, b, groups)
    d, mean, n_eff = a[0] - b[0], 3 / 26, 24**2 / (16 + 16 + 256)
    sums = [
        (3 - 4 * mean, 6 / 5),
        (-4 * mean, 6 / 5),
        (-16 * mean, 3),
        *[(s - mean, n_eff / (n_eff - 1)) for s in (1, -1)],
    ]
    assert d.sum() == 3
    assert c.b == pytest.approx(sum(weight * total**2 for total, weight in sums) / 26**2)
    assert c.group_df == pytest.approx(n_eff - 1)


def test_what_switches_smoothing_on_does_not_grow_with_seeds():
    rng = np.random.default_rng(2)
    for n_seeds in (1, 5, 40):  # in each seed 4 items of 200 differ, in 40 seeds more than 100 do
        a, b = np.ones((n_seeds, 200)), np.ones((n_seeds, 200))
        for row in b:
            row[rng.choice(200, 4, replace=False)] = 0
        c = crossed_paired(a, b)
        assert "bonett-price: 4 items tell" in c.notes[0]
    assert c.n_discordant > 50


def test_perfect_against_hopeless_has_a_width_and_decides():
    # 50 of 50 against 0 of 50 in one run: p̃ = 51/52 and 1/52
    c = crossed_paired(np.ones((1, 50)), np.zeros((1, 50)))
    assert c.estimate == pytest.approx(50 / 52)
    spread = math.sqrt((52 / 52 - (50 / 52) ** 2) / 52 * 50 / 49)
    assert interval(c, "items").half_width == pytest.approx(scipy.stats.t.ppf(0.975, 49) * spread)
    assert verdict_of(c, 0.9, "items") == "undetermined"
    assert verdict_of(c, 0.0, "items") == "supported"
    several = crossed_paired(np.ones((3, 50)), np.zeros((3, 50)))
    assert verdict_of(several, 0.0, "both") == "supported"
    assert verdict_of(several, 0.0, "seeds") == "undetermined"


def test_independent_seeds_are_smoothed_by_the_mean_over_their_pairs():
    rng = np.random.default_rng(5)
    a, b = (rng.random((4, 60)) < 0.97).astype(float), (rng.random((3, 60)) < 0.95).astype(float)
    b[:, 0] = 0
    counts = {v: np.mean([np.sum(x - y == v) for x in a for y in b]) for v in (-1, 0, 1)}
    telling = 60 - max(counts.values())
    assert telling < 10
    c = crossed_unpaired(a, b)
    assert f"bonett-price: {telling:.3g} items tell" in c.notes
    more_a, more_b = np.hstack([a, [[1, 0]] * 4]), np.hstack([b, [[0, 1]] * 3])
    assert c.estimate == pytest.approx(more_a.mean() - more_b.mean())
    assert c.a == pytest.approx(more_a.mean(axis=1).var(ddof=1) / 4 + more_b.mean(axis=1).var(ddof=1) / 3)
    per_item = more_a.mean(axis=0) - more_b.mean(axis=0)
    assert c.b == pytest.approx(60 / 59 * np.sum((per_item - per_item.mean()) ** 2) / 62**2)
    assert (c.n_items, c.n_groups, c.group_df) == (60, 60, 59)


def test_a_deterministic_method_adds_no_seed_variance_and_no_degrees_of_freedom():
    fixed, b = normal(12, (1, 40)), normal(13, (5, 40))
    c = crossed_unpaired(np.tile(fixed, (4, 1)), b, deterministic=(True, False))
    assert (c.n_seeds, c.seed_df) == (5, 4)
    alone = crossed(b)
    assert (c.a, c.e) == (alone.a, alone.e)
    test = scipy.stats.ttest_1samp(b.mean(axis=1), float(fixed.mean()))
    low, high = test.confidence_interval(0.95)
    found = interval(c, "seeds")
    np.testing.assert_allclose([found.low, found.high], [fixed.mean() - high, fixed.mean() - low])
    both = crossed_unpaired(np.tile(fixed, (4, 1)), np.tile(b[:1], (4, 1)), deterministic=(True, True))
    assert "1 seeds cannot speak" in refusal(both, "both")
    assert refusal(both, "items") is None


def one_column(values):
    return np.asarray(values, dtype=float)[:, np.newaxis]


def test_scores_of_whole_runs_never_take_the_item_path():
    a, b = np.ones(8), np.array([0, 1, 0, 0, 0, 1, 0, 0.0])
    c = crossed_paired(one_column(a), one_column(b))
    low, high = scipy.stats.ttest_rel(a, b).confidence_interval(0.95)
    found = interval(c, "seeds")
    np.testing.assert_allclose([c.estimate, found.low, found.high], [0.75, low, high], rtol=1e-9)
    assert round(100 * low, 2) == 36.3
    assert round(100 * clipped(found, -1, 1).high, 2) == 100
    assert c.whole_runs
    assert not any("groups" in note or "bonett" in note for note in c.notes)
    for population in ("items", "both"):
        assert "whole runs" in refusal(c, population)
        with pytest.raises(ValueError, match="whole runs"):
            interval(c, population)
    apart = crossed_unpaired(one_column(a), one_column(b))
    assert interval(apart, "seeds").half_width == pytest.approx(
        np.ptp(scipy.stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)) / 2
    )


@pytest.mark.parametrize(("n_seeds", "word"), [(5, "undetermined"), (6, "supported"), (9, "supported")])
def test_runs_that_all_differ_the_same_way_are_decided_by_the_exact_sign_flip(n_seeds, word):
    c = crossed_paired(np.ones((n_seeds, 1)), np.zeros((n_seeds, 1)))
    assert verdict_of(c, 0.0, "seeds") == word
    assert verdict_of(c, 0.1, "seeds") == "undetermined"
    turned = crossed_paired(np.zeros((n_seeds, 1)), np.ones((n_seeds, 1)))
    assert verdict_of(turned, 0.0, "seeds") == {"supported": "contradicted"}.get(word, word)
    if n_seeds >= 6:
        exact = scipy.stats.binomtest(n_seeds, n_seeds, alternative="greater").pvalue
        assert one_sided_p(c, 0.0, "seeds") == exact
        assert one_sided_p(turned, 0.0, "seeds") == 1


def test_constant_differences_of_rounded_scores_do_not_vary():
    # 0.7 - 0.6 and the like differ in the last bit; the tolerance is that of the scores, not of the difference
    for k in range(1, 200):
        b = np.array([[0.61], [0.62], [0.63]]) + k / 997
        a = np.round(b + 0.01, 12)
        b = np.round(b, 12)
        for c in (crossed_paired(a, b), crossed_unpaired(np.full((3, 1), a[0, 0]), np.full((3, 1), b[0, 0]))):
            assert c.a == 0
            assert verdict_of(c, 0.0, "seeds") == "undetermined"
        assert crossed(a - b, scale=float(a.max())).a == 0
        pair = average([crossed_paired(a, b), crossed_paired(a + 0.1, b + 0.1)])
        assert verdict_of(pair, 0.0, "seeds") == "undetermined"
        assert pair.scale >= 0.7
    items = np.linspace(0.1, 0.9, 30)
    shifted = crossed_paired(np.tile(items + 0.05, (3, 1)), np.tile(items, (3, 1)))
    assert (shifted.a, shifted.b, shifted.e) == (0, 0, 0)


def test_one_run_under_several_seeds_decides_nothing_about_new_ones():
    run_a, run_b = np.arange(60) % 3 > 0, np.arange(60) % 2 > 0
    c = crossed_paired(np.tile(run_a, (5, 1)), np.tile(run_b, (5, 1)))
    assert verdict_of(c, -0.9, "items") == "supported"
    for population in ("seeds", "both"):
        assert verdict_of(c, -0.9, population) == "undetermined"
        assert one_sided_p(c, -0.9, population) == 1


def test_equal_methods_are_undetermined_at_margin_zero_with_a_positive_width():
    scores = np.ones((5, 200))
    c = crossed_paired(scores, scores)
    assert c.estimate == 0
    assert interval(c, "both").decides
    assert verdict_of(c, 0.0, "both") == "undetermined"


def test_seeds_that_do_not_differ_never_decide_about_seeds():
    scores = np.tile(np.arange(40) % 2, (5, 1)).astype(float)
    c = crossed(scores)
    assert not interval(c, "seeds").decides
    assert verdict_of(c, 0.0, "seeds") == "undetermined"
    assert one_sided_p(c, 0.0, "seeds") == 1.0
    assert what_decides(c, 0.0, population="seeds").n_seeds is None
    assert interval(c, "both").half_width == pytest.approx(interval(c, "items").half_width)
    assert any("do not differ" in note for note in c.notes)


def test_equal_seed_means_use_e():
    d = np.array([[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 1.0], [1.0, 1.0, 0.0, 0.0]])
    c = crossed(d)
    assert c.a == 0
    assert interval(c, "seeds").half_width == pytest.approx(scipy.stats.t.ppf(0.975, 2) * math.sqrt(c.e))
    assert "a = 0: e used" in c.notes


def test_rounding_error_is_not_seed_variation():
    d = np.tile(np.random.default_rng(1).random(1000), (3, 1)) * 0.1
    assert crossed(d).a == 0
    assert crossed(d).e == 0


def test_one_seed_speaks_for_items_only_and_one_group_for_seeds_only():
    one_seed, one_group = crossed(normal(1)[:1]), crossed(normal(1), np.zeros(30))
    assert math.isnan(one_seed.a)
    assert math.isnan(one_seed.both_df)
    assert math.isnan(one_group.variance)
    assert interval(one_seed, "items").decides
    assert interval(one_group, "seeds").decides
    for c, population in itertools.product((one_seed,), ("seeds", "both")):
        with pytest.raises(ValueError, match="one seed"):
            interval(c, population)
        with pytest.raises(ValueError, match="one seed"):
            one_sided_p(c, 0, population)
    for population in ("items", "both"):
        with pytest.raises(ValueError, match="one group"):
            interval(one_group, population)


def test_two_seeds_or_two_groups_are_not_testable():
    two_seeds, two_groups = crossed(normal(1)[:2]), crossed(normal(1), np.arange(30) % 2)
    assert "2 seeds" in refusal(two_seeds, "both")
    assert refusal(two_seeds, "items") is None
    assert "2 groups" in refusal(two_groups, "items")
    assert refusal(two_groups, "seeds") is None
    with pytest.raises(ValueError, match="2 seeds"):
        verdict_of(two_seeds, 0, "seeds")
    assert "fewer than 10 groups" in two_groups.notes


@pytest.mark.parametrize(
    ("scores", "message"),
    [(np.zeros(3), "shape"), (np.zeros((0, 3)), "shape"), (np.array([[0.0, np.nan]]), "not finite")],
)
def test_bad_scores_are_refused(scores, message):
    with pytest.raises(ValueError, match=message):
        crossed(scores)


def test_shapes_that_do_not_pair_are_refused():
    with pytest.raises(ValueError, match="same seeds and items"):
        crossed_paired(np.zeros((3, 5)), np.zeros((4, 5)))
    with pytest.raises(ValueError, match="same items"):
        crossed_unpaired(np.zeros((3, 5)), np.zeros((3, 6)))
    with pytest.raises(ValueError, match="one label per item"):
        crossed(np.zeros((3, 5)), np.zeros(4))
    with pytest.raises(ValueError, match="needs groups"):
        crossed(np.zeros((3, 5)), second_groups=np.zeros(5))
    with pytest.raises(ValueError, match="population"):
        interval(parts(), "everything")
    with pytest.raises(ValueError, match="alpha"):
        interval(parts(), "both", 1.0)


def test_an_average_has_the_mean_variance_and_satterthwaite_degrees_of_freedom():
    components = [
        parts(0.1, 1e-4, 2e-4, 5e-5, 5),
        parts(-0.02, 3e-5, 1e-5, 4e-5, 3, 90),
        parts(0.3, 1e-3, 1e-5, 1e-5, 10),
    ]
    c = average(components)
    v = [p.variance for p in components]
    df = sum(v) ** 2 / sum(x**2 / p.both_df for x, p in zip(v, components, strict=True))
    assert c.estimate == pytest.approx((0.1 - 0.02 + 0.3) / 3)
    assert c.variance == pytest.approx(sum(v) / 9)
    assert c.both_df == pytest.approx(df)
    a = [p.a for p in components]
    seed_df = sum(a) ** 2 / (a[0] ** 2 / 4 + a[1] ** 2 / 2 + a[2] ** 2 / 9)
    assert interval(c, "seeds").half_width == pytest.approx(scipy.stats.t.ppf(0.975, seed_df) * math.sqrt(sum(a)) / 3)
    assert average(components[:1]) == components[0]
    with pytest.raises(ValueError, match="at least one"):
        average([])


def test_an_average_with_a_short_component_is_not_testable():
    assert "2 seeds" in refusal(average([parts(), parts(n_seeds=2)]), "both")


def ece(totals):
    """Expected calibration error from per-bin (confidence, hits, items), laid out as three blocks of bins."""
    confidence, hits, n = np.split(totals, 3, axis=-1)
    return np.abs(confidence - hits).sum(axis=-1) / n.sum(axis=-1)


def test_pseudo_values_are_those_of_deletion_by_hand():
    rng = np.random.default_rng(21)
    n_seeds, n_items, bins = 3, 40, 5
    confidence = rng.random((n_seeds, n_items))
    hits = rng.random((n_seeds, n_items)) < confidence
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    one_hot = which[..., None] == np.arange(bins)
    contributions = np.concatenate([one_hot * confidence[..., None], one_hot * hits[..., None], one_hot], axis=-1)

    def by_hand(s, keep):
        total = 0.0
        for k in range(bins):
            members = [i for i in keep if which[s, i] == k]
            if members:
                total += abs(sum(confidence[s, i] for i in members) - sum(hits[s, i] for i in members))
        return total / len(keep)

    everything = list(range(n_items))
    expected = np.empty((n_seeds, n_items))
    for s in range(n_seeds):
        left = [by_hand(s, everything[:i] + everything[i + 1 :]) for i in everything]
        for i in everything:
            expected[s, i] = by_hand(s, everything) - (n_items - 1) * (left[i] - sum(left) / n_items)
    found = pseudo_values(ece, contributions)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    c = crossed_jackknife(ece, contributions)
    assert c.estimate == pytest.approx(np.mean([by_hand(s, everything) for s in range(n_seeds)]))


def test_pseudo_values_of_a_mean_are_the_scores():
    d = normal(3)
    contributions = np.stack([d, np.ones_like(d)], axis=-1)
    np.testing.assert_allclose(pseudo_values(lambda t: t[..., 0] / t[..., 1], contributions), d, rtol=1e-9)


def test_a_ratio_equals_its_jackknife_and_nears_the_delta_method():
    rng = np.random.default_rng(5)
    x, y = rng.gamma(3, size=(4, 4000)), rng.gamma(5, size=(4, 4000))
    groups = np.arange(4000) // 20
    closed = crossed_ratio(x, y, groups)
    general = crossed_jackknife(lambda t: t[..., 0] / t[..., 1], np.stack([x, y], axis=-1), groups)
    assert (closed.estimate, closed.a, closed.b, closed.e) == pytest.approx(
        (general.estimate, general.a, general.b, general.e)
    )
    ratios = x.mean(axis=1) / y.mean(axis=1)
    assert closed.estimate == pytest.approx(ratios.mean())
    linear = crossed(ratios[:, None] + (x - ratios[:, None] * y) / y.mean(axis=1, keepdims=True), groups)
    assert closed.b == pytest.approx(linear.b, rel=2e-3)
    with pytest.raises(ValueError, match="zero"):
        crossed_ratio([[1.0, 2.0]], [[0.0, 1.0]])


@given(designs, st.floats(1e-4, 0.3))
@settings(max_examples=60)
def test_the_least_number_of_seeds_is_the_one_a_scan_finds(c, gain):
    needed = what_decides(c, 0.0, gain=gain)
    limit = scipy.stats.t.ppf(0.975, c.n_items - 1) * math.sqrt(max(c.b - c.e, 0))
    if abs(gain - limit) < 1e-9:
        return
    assert (needed.n_seeds is None) == (gain <= limit)
    assert needed.floor == pytest.approx(limit)

    def half_width(n):
        scale = c.n_seeds / n
        a = max(c.a - c.e, 0) * scale + min(c.a, c.e) * scale
        b = max(c.b - c.e, 0) + min(c.b, c.e) * scale
        # a = 0 falls back on e in the seeds tail
        wide = longhand_both(a, b, c.e * scale, n, c.n_items)
        return max(wide, scipy.stats.t.ppf(0.975, n - 1) * math.sqrt(a or c.e * scale))

    for n in range(3, 40):
        if half_width(n) < gain * (1 - 1e-9):
            assert needed.n_seeds == n
            break
    else:
        assert needed.n_seeds is None or needed.n_seeds >= 39


def test_the_observed_gap_is_the_default_gain_and_the_margin_counts():
    c = parts(0.03)
    assert what_decides(c, 0.01).gap == pytest.approx(0.02)
    assert what_decides(c, 0.01, gain=0.05).gap == pytest.approx(0.04)
    assert what_decides(c, 0.03).n_seeds is None
    seeds = what_decides(c, 0.0, population="seeds", gain=0.005)
    assert seeds.floor == 0
    assert seeds.n_seeds > 5
    assert what_decides(c, 0.0, population="items", gain=1.0).n_seeds == c.n_seeds


def test_a_new_design_keeps_the_sources_apart():
    # σ² of seeds 2, items 3, interaction 4 on the scale of one score
    def expected(s, i):
        return replace(parts(n_seeds=s, n_items=i), a=2 / s + 4 / (s * i), b=3 / i + 4 / (s * i), e=4 / (s * i))

    found, wanted = redesigned(expected(5, 100), 20, 1000), expected(20, 1000)
    assert (found.a, found.b, found.e) == pytest.approx((wanted.a, wanted.b, wanted.e))
    assert (found.n_groups, found.seed_df, found.group_df) == (1000, 19, 999)
    with pytest.raises(ValueError, match="one seed"):
        redesigned(crossed(normal(1)[:1]), 5)


def test_equivalence_is_two_one_sided_tests():
    c = parts(0.01)
    for margin in (0.001, 0.02, 0.03, 0.05, 0.08):
        greater, less = one_sided_p(c, -margin, "both"), one_sided_p(c, margin, "both", "less")
        assert (equivalence_of(c, margin, "both") == "supported") == (max(greater, less) < 0.025)
    assert equivalence_of(replace(c, estimate=0.5), 0.1, "both") == "contradicted"
    assert equivalence_of(replace(c, estimate=-0.5), 0.1, "both") == "contradicted"
    assert equivalence_of(c, 0.001, "both") == "undetermined"
    with pytest.raises(ValueError, match="above 0"):
        equivalence_of(c, 0.0, "both")
    with pytest.raises(ValueError, match="2 seeds"):
        equivalence_of(parts(n_seeds=2), 0.1, "both")
