"""Oracles: pairwise t tests spelled out, brute-force cliques, scipy, published critical values."""

import itertools

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from tcmax.stats.ranking import critical_difference, letter_display, nemenyi_difference, rank_variants, tie_groups


def variants(means, seeds=6, items=50, seed=0, spread=0.3):
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(seeds, items))
    return {f"v{k}": m + shared + spread * rng.normal(size=(seeds, items)) for k, m in enumerate(means)}


@pytest.mark.parametrize("alpha", [0.02, 0.05, 0.1, 0.2, 0.4])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_seed_level_ranking_is_that_of_pairwise_t_tests(alpha, seed):
    scores = variants([1.0, 1.02, 1.3, 0.9, 1.25], seed=seed, spread=0.6)
    found = rank_variants(scores, population="seeds", alpha=alpha)
    names = sorted(scores, key=lambda n: -scores[n].mean())
    assert found.variants == tuple(names)
    beats = {
        (x, y): scipy.stats.ttest_rel(scores[x].mean(axis=1), scores[y].mean(axis=1), alternative="greater").pvalue
        for x, y in itertools.permutations(names, 2)
    }
    for i, j in itertools.permutations(range(5), 2):
        assert found.p_values[i][j] == pytest.approx(beats[names[i], names[j]])
    top = []
    for y in names:
        smallest = min(beats[x, y] for x in names if x != y)
        if smallest * 4 > alpha / 2:
            top.append(y)
    assert found.top == tuple(top)
    pairs = list(itertools.combinations(names, 2))
    two_sided = [2 * min(beats[x, y], beats[y, x]) for x, y in pairs]
    adjusted = multipletests(two_sided, method="holm")[1]
    better = {
        (x, y) if beats[x, y] < beats[y, x] else (y, x) for (x, y), p in zip(pairs, adjusted, strict=True) if p <= alpha
    }
    for k, name in enumerate(names):
        assert found.rank_low[k] == 1 + sum(y == name for _, y in better)
        assert found.rank_high[k] == 5 - sum(x == name for x, _ in better)
    for x, y in pairs:
        share = set(found.letters[names.index(x)]) & set(found.letters[names.index(y)])
        assert bool(share) == ((x, y) not in better and (y, x) not in better)


def test_a_variant_leaves_the_top_at_half_the_level_after_holm_over_its_rivals():
    scores = variants([1.0, 1.2, 0.9], spread=0.6)
    loser = rank_variants(scores).variants[-1]
    smallest = min(row[-1] for row in rank_variants(scores).p_values[:-1])
    adjusted = 2 * smallest  # two rivals
    assert loser in rank_variants(scores, alpha=1.9 * adjusted).top
    assert loser not in rank_variants(scores, alpha=2.1 * adjusted).top


def test_equal_variants_all_stay_on_top_with_one_letter():
    scores = variants([1.0] * 4)
    found = rank_variants(scores)
    assert len(found.top) == 4
    assert found.letters == ("a",) * 4
    assert found.rank_low == (1,) * 4
    assert found.rank_high == (4,) * 4


def test_clear_differences_separate_everything_and_lower_can_be_better():
    scores = variants([1.0, 2.0, 3.0], spread=0.05)
    found = rank_variants(scores)
    assert found.top == ("v2",)
    assert found.letters == ("a", "b", "c")
    assert found.rank_low == found.rank_high == (1, 2, 3)
    assert rank_variants(scores, larger_is_better=False).variants == ("v0", "v1", "v2")
    assert rank_variants(scores, larger_is_better=False).top == ("v0",)


def test_the_order_of_variants_does_not_matter_and_groups_widen():
    scores = variants([1.0, 1.1, 1.2], spread=0.5)
    again = rank_variants(dict(reversed(scores.items())))
    assert again == rank_variants(scores)
    groups = np.arange(50) // 10
    by_group = {k: v + np.random.default_rng(len(k) + int(k[1])).normal(0, 0.5, 5)[groups] for k, v in scores.items()}
    assert len(rank_variants(by_group, groups).top) >= len(rank_variants(by_group).top)


def test_independent_seeds_and_one_variant():
    scores = variants([1.0, 3.0])
    unequal = {"v0": scores["v0"][:4], "v1": scores["v1"]}
    assert rank_variants(unequal, paired=False).top == ("v1",)
    with pytest.raises(ValueError, match="two variants"):
        rank_variants({"a": scores["v0"]})


def maximal_cliques(same):
    size = len(same)
    cliques = [
        set(c)
        for n in range(1, size + 1)
        for c in itertools.combinations(range(size), n)
        if all(same[i][j] for i, j in itertools.combinations(c, 2))
    ]
    return [c for c in cliques if not any(c < other for other in cliques)]


@given(st.integers(1, 6), st.integers(0, 2**15 - 1))
def test_letters_are_the_maximal_cliques_of_what_does_not_differ(size, bits):
    differ = np.zeros((size, size), dtype=bool)
    for k, (i, j) in enumerate(itertools.combinations(range(size), 2)):
        differ[i, j] = differ[j, i] = bool(bits >> k & 1)
    letters = letter_display(differ)
    columns: dict[str, set[int]] = {}
    for variant, names in enumerate(letters):
        for name in names:
            columns.setdefault(name, set()).add(variant)
    expected = maximal_cliques(~differ)
    assert sorted(map(sorted, columns.values())) == sorted(map(sorted, expected))


def test_letters_need_a_symmetric_matrix():
    with pytest.raises(ValueError, match="symmetric"):
        letter_display([[False, True], [False, False]])


def test_nemenyi_at_fourteen_variants_and_five_datasets_needs_8_9_ranks():
    rng = np.random.default_rng(0)
    found = critical_difference({f"v{k}": rng.random(5) for k in range(14)})
    assert found.critical_difference == pytest.approx(8.87, abs=0.01)
    assert nemenyi_difference(14, 5) == found.critical_difference
    # two variants: the studentised range is |z1 - z2|, so that q is the normal quantile
    assert nemenyi_difference(2, 8) == pytest.approx(1.959964 * np.sqrt(6 / 48), abs=1e-5)
    with pytest.raises(ValueError, match="two variants"):
        nemenyi_difference(1, 5)


@pytest.mark.parametrize(("k", "q"), [(3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)])
def test_critical_values_are_those_of_demsar_2006_table_5(k, q):
    rng = np.random.default_rng(1)
    found = critical_difference({f"v{j}": rng.random(10) for j in range(k)})
    assert found.critical_difference == pytest.approx(q * np.sqrt(k * (k + 1) / 60), abs=2e-3)


def test_mean_ranks_groups_and_friedman_p():
    scores = {"a": [3, 3, 3, 3] * 3, "b": [2, 2, 2, 1] * 3, "c": [1, 1, 1, 1] * 3}
    found = critical_difference(scores)
    assert found.variants == ("a", "b", "c")
    assert found.mean_ranks == (1.0, 2.125, 2.875)
    assert found.friedman_p == pytest.approx(scipy.stats.friedmanchisquare(*scores.values()).pvalue)
    assert found.groups == (("a",), ("b", "c"))
    same = critical_difference({"a": [1, 2], "b": [1, 2], "c": [1, 2]})
    assert same.friedman_p == 1.0
    assert same.groups == (("a", "b", "c"),)
    assert critical_difference(scores, larger_is_better=False).variants == ("c", "b", "a")
    with pytest.raises(ValueError, match="three variants"):
        critical_difference({"a": [1, 2], "b": [1, 2]})


def test_a_pair_that_was_not_tested_tells_nothing_apart():
    nan = float("nan")
    beats = [[nan, 0.001, nan], [0.999, nan, nan], [nan, nan, nan]]
    differ = [[False, True, False], [True, False, False], [False, False, False]]
    found = tie_groups(("a", "b", "c"), beats, differ)
    assert found.top == ("a", "c")
    assert (found.rank_low, found.rank_high) == ((1, 2, 1), (2, 3, 3))
    assert [set(letters) & set(found.letters[2]) != set() for letters in found.letters] == [True, True, True]
