"""Verdicts: hand-computed intervals and p-values, families, what would decide, and simulated false contradictions."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats

from tcmax.audit.verdicts import (
    AcrossDatasets,
    AllOf,
    AnyOf,
    Difference,
    FamilySizes,
    Leaf,
    combine_treatments,
    decide,
    holm,
    leaf,
    needed,
)
from tcmax.stats.association import Resampled
from tcmax.stats.crossed import average, crossed, crossed_paired, verdict_of
from tcmax.stats.simulate import Probit, draw


def one(verdict_p, against):
    return Leaf("x", verdict_p, against)


def test_a_verdict_by_hand_on_three_seeds_and_four_items():
    # D[s, i], the difference of two methods: seed means 0.5, 0.25, 0.75; overall 0.5
    d = np.array([[1.0, 0.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 0.0]])
    a = (0.0**2 + 0.25**2 + 0.25**2) / (3 * 2)
    # item means 1, 1/3, 2/3, 0 minus 1/2, squared: 1/4, 1/36, 1/36, 1/4; G/(G−1)·Σ/I² = 4/3·(20/36)/16
    b = 4 / 3 * (20 / 36) / 16
    # residuals D − seed mean − item mean + mean, row by row (twelfths)
    r = np.array([[0, -4, 4, 0], [3, -1, -5, 3], [-3, 5, 1, -3]]) / 12
    e = 3 / 2 * 4 / 3 * (r**2).sum() / 12**2
    a0 = max(a, e)
    v = a0 + max(b - e, 0)
    nu = max(v**2 / (a0**2 / 2 + b**2 / 3), 2)
    tails = [(v, nu), (a, 2), (b, 3)]
    half = max(scipy.stats.t.ppf(0.975, df) * math.sqrt(variance) for variance, df in tails)
    p_greater = max(scipy.stats.t.sf((0.5 - 0.1) / math.sqrt(variance), df) for variance, df in tails)
    p_less = max(scipy.stats.t.cdf((0.5 - 0.1) / math.sqrt(variance), df) for variance, df in tails)

    estimand = Difference(crossed(d))
    found = estimand.interval("both", 0.05)
    assert (found.low, found.high) == pytest.approx((0.5 - half, 0.5 + half))
    of_claim = leaf("d > 0.1", estimand, 0.1, "both")
    assert (of_claim.support, of_claim.against) == pytest.approx((p_greater, p_less))
    assert decide(of_claim).verdict == "undetermined"
    # the interval is 0.5 ± half: the claim "d > margin" turns where the margin crosses its ends
    assert decide(leaf("x", estimand, 0.5 - half - 1e-6, "both")).verdict == "supported"
    assert decide(leaf("x", estimand, 0.5 - half + 1e-6, "both")).verdict == "undetermined"
    assert decide(leaf("x", estimand, 0.5 + half + 1e-6, "both")).verdict == "contradicted"
    assert decide(leaf("x", estimand, 0.5 + half - 1e-6, "both")).verdict == "undetermined"


def test_a_single_comparison_has_the_verdict_of_its_interval():
    rng = np.random.default_rng(4)
    for _ in range(200):
        c = crossed(rng.normal(rng.normal(0, 0.3), 1, (rng.integers(3, 8), 30)))
        for population, margin in itertools.product(("seeds", "items", "both"), (-0.2, 0.0, 0.2)):
            assert decide(leaf("x", Difference(c), margin, population)).verdict == verdict_of(c, margin, population)


def test_new_seeds_and_items_never_decide_what_new_seeds_alone_leave_open():
    rng = np.random.default_rng(5)
    for _ in range(300):
        c = crossed(rng.normal(rng.normal(0, 0.5), 1, (4, 25)) + rng.normal(0, 0.4, 25))
        words = [decide(leaf("x", Difference(c), 0.0, p)).verdict for p in ("seeds", "both")]
        assert words[1] == "undetermined" or words[0] == words[1]


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-0.5, 0.5, "supported"),
        (-0.9, 1.1, "undetermined"),
        (-1.1, -0.9, "undetermined"),
        (-2, 2, "undetermined"),
        (1.1, 1.5, "contradicted"),
        (-1.5, -1.1, "contradicted"),
    ],
)
def test_equality_is_two_one_sided_tests(low, high, verdict):
    # J = 4 values whose t interval is [low, high]
    spread = np.array([-1, -1, 1, 1.0])
    half_of_unit = scipy.stats.t.ppf(0.975, 3) * spread.std(ddof=1) / 2
    values = (low + high) / 2 + spread * (high - low) / 2 / half_of_unit
    estimand = AcrossDatasets(tuple(values))
    found = estimand.interval("both", 0.05)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert decide(leaf("|d| < 1", estimand, 1.0, "both", equal=True)).verdict == verdict


def test_all_parts_must_be_supported_and_the_weakest_one_is_named():
    parts = (Leaf("a", 0.001, 0.9), Leaf("b", 0.024, 0.9), Leaf("c", 0.01, 0.9))
    found = decide(AllOf(parts))
    assert (found.verdict, found.leaf.name, found.support) == ("supported", "b", 0.024)
    blocked = decide(AllOf((*parts, Leaf("d", 0.026, 0.9))))
    assert (blocked.verdict, blocked.leaf.name) == ("undetermined", "d")


def test_one_part_contradicts_only_after_holm_over_all_of_them():
    others = tuple(Leaf(f"o{k}", 0.01, 0.99) for k in range(3))
    # four parts: Holm multiplies the smallest p by four; 0.00625 · 4 = 0.025
    assert decide(AllOf((*others, Leaf("bad", 0.99, 0.00625)))).verdict == "contradicted"
    kept = decide(AllOf((*others, Leaf("bad", 0.99, 0.0063))))
    assert (kept.verdict, kept.leaf.name) == ("undetermined", "bad")
    assert decide(Leaf("bad", 0.99, 0.0063)).verdict == "contradicted"


def test_some_part_supports_only_after_holm_and_all_must_contradict():
    assert decide(AnyOf((Leaf("a", 0.0125, 0.9), Leaf("b", 0.5, 0.5)))).verdict == "undetermined"
    found = decide(AnyOf((Leaf("a", 0.0124, 0.9), Leaf("b", 0.5, 0.5))))
    assert (found.verdict, found.leaf.name) == ("supported", "a")
    against = decide(AnyOf((Leaf("a", 0.99, 0.01), Leaf("b", 0.98, 0.02))))
    assert (against.verdict, against.leaf.name) == ("contradicted", "b")
    assert decide(AnyOf((Leaf("a", 0.99, 0.01), Leaf("b", 0.9, 0.03)))).verdict == "undetermined"


def test_the_largest_on_some_dataset_needs_every_rival_of_one_dataset():
    def dataset(name, *p):
        return AllOf(tuple(Leaf(f"{name}{k}", x, 1 - x) for k, x in enumerate(p)))

    # dataset 1: support 0.01; Holm over two datasets doubles it
    assert decide(AnyOf((dataset("d", 0.001, 0.01), dataset("e", 0.001, 0.5)))).verdict == "supported"
    assert decide(AnyOf((dataset("d", 0.001, 0.013), dataset("e", 0.001, 0.5)))).verdict == "undetermined"


def test_holm_is_the_one_of_its_definition():
    p = [0.01, 0.04, 0.03, 0.005]
    # sorted 0.005·4, 0.01·3, 0.03·2, 0.04·1, then running maximum
    assert holm(p) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.7]) == [0.7]


def test_a_part_that_cannot_be_tested_blocks_support_but_not_contradiction():
    refused = Leaf("two seeds", 1.0, 1.0, "2 seeds cannot speak")
    found = decide(AllOf((Leaf("a", 0.001, 0.9), refused)))
    assert (found.verdict, found.leaf.refusal) == ("not testable", "2 seeds cannot speak")
    assert decide(AllOf((Leaf("a", 0.99, 0.001), refused))).verdict == "contradicted"
    assert decide(AnyOf((Leaf("a", 0.001, 0.9), refused))).verdict == "supported"
    assert decide(AnyOf((Leaf("a", 0.99, 0.001), refused))).verdict == "not testable"


def test_two_seeds_or_two_datasets_or_few_resampled_units_are_refused():
    two_seeds = Difference(crossed(np.random.default_rng(1).normal(size=(2, 30))))
    refused = leaf("x", two_seeds, -10, "both")
    assert "2 seeds" in refused.refusal
    assert (refused.support, refused.against) == (1.0, 1.0)
    assert decide(refused).verdict == "not testable"
    assert leaf("x", two_seeds, 0, "items").refusal is None
    assert "2 datasets" in leaf("x", AcrossDatasets((0.1, 0.2)), 0, "both").refusal
    few = Resampled(0.5, {"seeds": np.full(99, 0.5)}, {"seeds": 9})
    assert "9 units" in leaf("x", few, 0, "seeds").refusal


def test_no_variation_is_no_evidence():
    same = AcrossDatasets((0.1, 0.1, 0.1))
    assert decide(leaf("x", same, 0.0, "both")).verdict == "undetermined"
    scores = np.ones((5, 100))
    assert decide(leaf("x", Difference(crossed_paired(scores, scores)), 0.0, "both")).verdict == "undetermined"


def test_datasets_in_general_is_a_t_test_on_the_datasets():
    values = (0.02, 0.05, 0.01, 0.04, 0.03)
    estimand = AcrossDatasets(values)
    reference = scipy.stats.ttest_1samp(values, 0.005)
    interval = reference.confidence_interval(0.95)
    found = estimand.interval("both", 0.05)
    assert (found.low, found.high, found.df) == pytest.approx((interval.low, interval.high, 4))
    assert estimand.p(0.005, "seeds", "greater") == pytest.approx(reference.pvalue / 2)
    assert estimand.p(0.005, "both", "less") == pytest.approx(1 - reference.pvalue / 2)


def test_an_average_over_named_datasets_uses_both_levels_of_each():
    rng = np.random.default_rng(8)
    parts = [crossed(rng.normal(0.3, 1, (5, 60))) for _ in range(3)]
    estimand = Difference(average(parts))
    v = sum(p.variance for p in parts) / 9
    nu = sum(p.variance for p in parts) ** 2 / sum(p.variance**2 / p.both_df for p in parts)
    mean = sum(p.estimate for p in parts) / 3
    expected = scipy.stats.t.sf(mean / math.sqrt(v), nu)
    assert estimand.p(0.0, "both", "greater") >= expected * (1 - 1e-9)
    assert estimand.estimate == pytest.approx(mean)


def test_diverged_runs_leave_a_verdict_only_where_both_readings_agree():
    assert combine_treatments("supported", "supported") == "supported"
    assert combine_treatments("supported", "contradicted") == "undetermined"
    assert combine_treatments("not testable", "supported") == "undetermined"
    assert combine_treatments("not testable", "not testable") == "not testable"


def test_what_would_decide_names_the_least_number_of_seeds():
    rng = np.random.default_rng(3)
    d = rng.normal(0.05, 0.02, (4, 1)) + rng.normal(0, 0.3, (4, 400)) + rng.normal(0, 0.05, 400)
    c = crossed(d)
    (need,) = needed(Difference(c), c.estimate - 0.03, "both", 0.05)
    assert (need.of, need.outcome, need.at) == ("seeds", "supported", None)
    n = need.n

    def half_width(seeds):
        scale = 4 / seeds
        a = max(c.a - c.e, 0) * scale + min(c.a, c.e) * scale
        b, e = max(c.b - c.e, 0) + min(c.b, c.e) * scale, c.e * scale
        a0 = max(a, e)
        v = a0 + max(b - e, 0)
        nu = max(v**2 / (a0**2 / (seeds - 1) + b**2 / 399), min(seeds - 1, 399))
        tails = [(v, nu), (a, seeds - 1), (b, 399)]
        return max(scipy.stats.t.ppf(0.975, df) * math.sqrt(x) for x, df in tails)

    assert half_width(n) < 0.03
    assert n == 3 or half_width(n - 1) >= 0.03
    (against,) = needed(Difference(c), c.estimate + 0.03, "both", 0.05)
    assert against.outcome == "contradicted"
    assert against.n is not None


def test_what_no_number_of_seeds_can_decide_is_said_with_what_remains():
    rng = np.random.default_rng(6)
    c = crossed(rng.normal(0, 1, 50) + rng.normal(0, 0.1, (5, 50)))
    floor = scipy.stats.t.ppf(0.975, 49) * math.sqrt(max(c.b - c.e, 0))
    gain = c.estimate + 10 * floor
    observed, at_gain = needed(Difference(c), c.estimate - floor * 0.9, "both", 0.05, gain=gain)
    assert (observed.of, observed.n, observed.at) == ("seeds", None, None)
    assert (observed.floor, observed.gap) == pytest.approx((floor, floor * 0.9))
    assert (at_gain.outcome, at_gain.n, at_gain.at) == ("supported", 3, gain)
    (about_items,) = needed(Difference(c), 0.0, "items", 0.05)
    assert about_items.of == "items"


def test_what_would_decide_about_equality_looks_at_the_nearer_margin():
    rng = np.random.default_rng(7)
    c = crossed(rng.normal(-0.01, 0.02, (6, 1)) + rng.normal(0, 0.05, (6, 500)))
    (need,) = needed(Difference(c), 0.05, "seeds", 0.05, equal=True)
    assert need.outcome == "supported"
    assert need.n is not None


def test_a_family_needs_more_seeds_for_what_holm_corrects():
    rng = np.random.default_rng(9)
    c = Difference(crossed(rng.normal(-0.02, 0.05, (6, 1)) + rng.normal(0, 0.05, (6, 500))))
    (alone,), (in_family,) = (needed(c, 0.0, "seeds", 0.05, families=FamilySizes(1, n)) for n in (1, 13))
    assert in_family.n > alone.n
    assert (alone,) == needed(c, 0.0, "seeds", 0.05, families=FamilySizes(13, 1))


def test_more_datasets_are_counted_too():
    values = (0.02, -0.01, 0.03, 0.01)
    (need,) = needed(AcrossDatasets(values), 0.0, "both", 0.05)
    assert need.of == "datasets"
    n = need.n
    mean, sd = np.mean(values), np.std(values, ddof=1)
    assert scipy.stats.t.ppf(0.975, n - 1) * sd / math.sqrt(n) < mean
    assert scipy.stats.t.ppf(0.975, n - 2) * sd / math.sqrt(n - 1) >= mean


def test_true_claims_of_largest_are_rarely_contradicted_because_of_holm():
    # A is exactly as good as its 9 rivals, the hardest true case ("largest" with ties allowed)
    rng = np.random.default_rng(20)
    wrong_with, wrong_without, n = 0, 0, 400
    for _ in range(n):
        scores = draw(Probit(5, 300, accuracies=(0.8,) * 10), rng).scores.astype(float)
        leaves = [leaf(str(k), Difference(crossed_paired(scores[0], scores[k])), 0.0, "both") for k in range(1, 10)]
        wrong_with += decide(AllOf(tuple(leaves))).verdict == "contradicted"
        wrong_without += any(decide(each).verdict == "contradicted" for each in leaves)
    assert wrong_with / n <= 0.025 + 3 * math.sqrt(0.025 * 0.975 / n)
    assert wrong_without / n > 0.05
    assert wrong_without > wrong_with


def test_two_halves_of_one_method_rarely_support_a_gain():
    rng = np.random.default_rng(21)
    hits, n = 0, 400
    for _ in range(n):
        scores = draw(Probit(10, 300, accuracies=(0.8,)), rng).scores[0].astype(float)
        hits += (
            decide(leaf("x", Difference(crossed_paired(scores[:5], scores[5:])), 0.0, "both")).verdict == "supported"
        )
    assert hits / n <= 0.025 + 3 * math.sqrt(0.025 * 0.975 / n)
