"""Oracles: the definitions longhand, and complete enumeration of sign patterns."""

import itertools

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from tcmax.stats.multiplicity import adjust, max_t

probabilities = st.lists(st.floats(0, 1), min_size=1, max_size=8)


def named(values):
    return {f"c{k}": v for k, v in enumerate(values)}


@given(probabilities)
def test_holm_is_closed_testing_with_bonferroni(p):
    # adjusted p of k = largest, over the sets that hold k, of size·min
    n = len(p)
    expected = [0.0] * n
    for size in range(1, n + 1):
        for members in itertools.combinations(range(n), size):
            bonferroni = min(1.0, size * min(p[m] for m in members))
            for m in members:
                expected[m] = max(expected[m], bonferroni)
    assert adjust(named(p), "family").adjusted == pytest.approx(expected)


@pytest.mark.parametrize("p", [[0.01, 0.2, 0.03, 0.04, 0.9], [0.02, 0.02, 0.001], [0.5], [0.0, 1.0]])
def test_both_corrections_are_those_of_statsmodels(p):
    assert adjust(named(p), "f").adjusted == pytest.approx(multipletests(p, method="holm")[1])
    found = adjust(named(p), "matrix", "benjamini-hochberg")
    assert found.adjusted == pytest.approx(multipletests(p, method="fdr_bh")[1])
    assert found.controls == "false discovery rate"


@given(probabilities, st.floats(0, 1), st.integers(0, 100))
def test_adding_a_rival_never_lowers_and_shuffling_only_moves(p, rival, seed):
    alone, joined = adjust(named(p), "f").adjusted, adjust(named([*p, rival]), "f").adjusted
    assert all(y >= x - 1e-15 for x, y in zip(alone, joined, strict=False))
    order = np.random.default_rng(seed).permutation(len(p))
    assert adjust(named([p[k] for k in order]), "f").adjusted == pytest.approx([alone[k] for k in order])


def test_a_family_says_what_it_is():
    family = adjust({"a": 0.01, "b": 0.2}, "rivals of A on digits")
    assert "2 comparisons (rivals of A on digits)" in str(family)
    assert family.rejected(0.05) == ("a",)


@pytest.mark.parametrize("p", [{}, {"a": float("nan")}, {"a": 1.2}])
def test_bad_p_values_are_refused(p):
    with pytest.raises(ValueError, match="p-values"):
        adjust(p, "f")


def test_a_family_without_a_name_or_method_is_refused():
    with pytest.raises(ValueError, match="name"):
        adjust({"a": 0.1}, "")
    with pytest.raises(ValueError, match="method"):
        adjust({"a": 0.1}, "f", "sidak")
    with pytest.raises(ValueError, match="name"):
        max_t({}, "f", np.random.default_rng(0))


@pytest.mark.parametrize("alternative", ["two-sided", "greater"])
def test_max_t_nears_the_enumeration_of_all_sign_patterns(alternative):
    rng = np.random.default_rng(2)
    d = rng.normal([1.1, 0.5, 0.0, -0.7], 1, (10, 4))
    t_observed = np.array([scipy.stats.ttest_1samp(d[:, k], 0).statistic for k in range(4)])
    signs = np.array(list(itertools.product((-1, 1), repeat=10)))
    t_all = np.empty((len(signs), 4))
    for row, pattern in enumerate(signs):
        flipped = d * pattern[:, None]
        t_all[row] = flipped.mean(axis=0) / (flipped.std(axis=0, ddof=1) / np.sqrt(10))
    if alternative == "two-sided":
        t_observed, t_all = np.abs(t_observed), np.abs(t_all)
    expected, running = {}, 0.0
    remaining = sorted(range(4), key=lambda k: -t_observed[k])
    while remaining:
        k = remaining[0]
        running = max(running, float(np.mean(t_all[:, remaining].max(axis=1) >= t_observed[k] - 1e-9)))
        expected[k] = running
        remaining.pop(0)
    found = max_t(named(d.T), "f", np.random.default_rng(5), alternative, 40_000)
    for k in range(4):
        assert found.adjusted[k] == pytest.approx(expected[k], abs=0.012)
        alone = float(np.mean(t_all[:, k] >= t_observed[k] - 1e-9))
        assert found.p[k] == pytest.approx(alone, abs=0.012)


def test_equal_comparisons_cost_nothing_and_identical_methods_have_p_one():
    d = np.random.default_rng(3).normal(0.4, 1, 12)
    single = max_t({"a": d}, "f", np.random.default_rng(1), resamples=2000)
    family = max_t({"a": d, "b": d, "same": 0 * d}, "f", np.random.default_rng(1), resamples=2000)
    assert family.adjusted[:2] == pytest.approx([single.adjusted[0]] * 2)
    assert family.adjusted[2] == family.p[2] == 1.0
    assert max_t({"same": 0 * d}, "f", np.random.default_rng(1), resamples=50).adjusted == (1.0,)


def test_max_t_is_never_zero_never_below_the_unadjusted_and_repeats_itself():
    d = np.random.default_rng(4).normal(1, 0.5, (40, 3))
    args = (named(d.T), "f")
    found = max_t(*args, np.random.default_rng(1), resamples=200)
    assert found == max_t(*args, np.random.default_rng(1), resamples=200)
    assert min(found.adjusted) == pytest.approx(1 / 201)
    assert all(x >= y for x, y in zip(found.adjusted, found.p, strict=True))


def test_too_few_units_and_missing_values_are_refused():
    with pytest.raises(ValueError, match="9 units"):
        max_t({"a": np.ones(9)}, "f", np.random.default_rng(0))
    with pytest.raises(ValueError, match="not finite"):
        max_t({"a": np.full(12, np.nan)}, "f", np.random.default_rng(0))


def test_a_weaker_comparison_never_gets_the_smaller_adjusted_p():
    d = np.random.default_rng(8).normal(0.3, 1, (60, 12))
    found = max_t(named(d.T), "f", np.random.default_rng(1), resamples=500)
    order = np.argsort(-np.abs(d.sum(axis=0) / np.sqrt(np.sum(d**2, axis=0))))
    assert np.all(np.diff(np.array(found.adjusted)[order]) >= 0)
