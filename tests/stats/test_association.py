"""Rank correlation over variants: scipy's τ, enumerated permutations, and a longhand bootstrap of seeds and items."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats

from tcmax.stats.association import Resampled, kendall, kendall_tau, resampled_tau


def test_kendall_is_scipys_exact_or_enumerates_ties():
    rng = np.random.default_rng(3)
    x, y = rng.permutation(9), rng.permutation(9)
    expected = scipy.stats.kendalltau(x, y)
    found = kendall(x, y)
    assert (found.tau, found.p_value) == pytest.approx((expected.statistic, expected.pvalue))
    tied_x, tied_y = [1, 1, 2, 3, 4, 5], [2, 1, 1, 4, 4, 6]
    taus = [scipy.stats.kendalltau(tied_x, p).statistic for p in itertools.permutations(tied_y)]
    observed = scipy.stats.kendalltau(tied_x, tied_y).statistic
    exact = np.mean(np.abs(taus) >= observed - 1e-9)
    tied = kendall(tied_x, tied_y, np.random.default_rng(1), 20_000)
    assert tied.tau == pytest.approx(observed)
    assert tied.p_value == pytest.approx(exact, abs=0.006)
    assert kendall(range(8), [0, 0, *range(1, 7)], np.random.default_rng(1), 9).p_value >= 0.1
    assert kendall(tied_x, [-v for v in tied_y], np.random.default_rng(1)).tau == pytest.approx(-observed)
    with pytest.raises(ValueError, match="generator"):
        kendall(tied_x, tied_y)
    with pytest.raises(ValueError, match="two different values"):
        kendall([1, 1], [1, 2])
    with pytest.raises(ValueError, match="one length"):
        kendall([1, 2], [1, 2, 3])


def test_kendall_tau_is_scipys_ties_included():
    rng = np.random.default_rng(2)
    x, y = rng.integers(0, 4, (50, 6)).astype(float), rng.integers(0, 4, (50, 6)).astype(float)
    for row_x, row_y, found in zip(x, y, kendall_tau(x, y), strict=True):
        expected = scipy.stats.kendalltau(row_x, row_y).statistic
        assert found == pytest.approx(0.0 if math.isnan(expected) else expected)


def test_an_association_without_noise_keeps_its_sign_in_every_resample():
    rng = np.random.default_rng(3)
    quality = np.linspace(0.2, 0.8, 5)[:, None, None]
    x = quality + rng.normal(0, 0.01, (5, 12, 40))
    y = -quality + rng.normal(0, 0.01, (5, 12, 40))
    found = resampled_tau(x, y, {}, np.random.default_rng(0), resamples=200)
    assert found.estimate == -1
    assert set(found.draws) == {"seeds", "items", "both"}
    assert all(np.all(draws == -1) for draws in found.draws.values())
    assert found.interval("both", 0.05).high == -1
    assert found.p(0.0, "both", "less") == pytest.approx(1 / 201)
    assert found.units == {"seeds": 12, "items": 40, "both": 12}


def noisy_scores(rng, groups, second):
    """(variants, seeds, items) of two metrics in which seeds, groups and second groups all matter."""
    quality = np.linspace(0, 0.6, 4)[:, None, None]
    x, y = (
        quality
        + rng.normal(0, 0.3, (4, 10, len(groups)))
        + rng.normal(0, 0.3, (4, 10, 1))
        + rng.normal(0, 0.9, (4, 1, groups.max() + 1))[..., groups]
        + rng.normal(0, 0.9, (4, 1, second.max() + 1))[..., second]
        for _ in range(2)
    )
    return x, y


@pytest.mark.parametrize("population", ["seeds", "items", "both"])
@pytest.mark.parametrize("two_groupings", [False, True])
def test_resampled_tau_moves_as_a_longhand_bootstrap_does(population, two_groupings):
    rng = np.random.default_rng(11)
    speaker, sentence = np.arange(150) % 15, np.arange(150) // 15
    x, y = noisy_scores(rng, speaker, sentence)
    groups = {"speaker": speaker, "sentence": sentence} if two_groupings else {"speaker": speaker}
    found = resampled_tau(x, y, groups, np.random.default_rng(0), resamples=1000)
    longhand = []
    for _ in range(1000):
        seeds = rng.integers(0, 10, 10) if population != "items" else np.arange(10)
        items = np.arange(150)
        if population != "seeds":
            items = np.concatenate([np.flatnonzero(speaker == g) for g in rng.integers(0, 15, 15)])
            if two_groupings:
                items = np.concatenate([items[sentence[items] == g] for g in rng.integers(0, 10, 10)])
        means = [z[:, seeds][:, :, items].mean(axis=(1, 2)) for z in (x, y)]
        longhand.append(scipy.stats.kendalltau(*means).statistic)
    draws = found.draws[population]
    assert draws.mean() == pytest.approx(np.mean(longhand), abs=0.06)
    assert draws.std() == pytest.approx(np.std(longhand), rel=0.12)
    assert found.units == {"seeds": 10, "items": 10 if two_groupings else 15, "both": 10}
    for margin in (-0.2, 1 / 3, 0.7):  # of 4 variants a third is a value that tau takes
        reached = sum(tau <= margin + 1e-9 for tau in longhand) / 1000
        p = {name: [found.p(margin, name, side) for side in ("greater", "less")] for name in found.draws}
        if population != "both":
            assert p[population] == pytest.approx([reached, 1 - reached], abs=0.07)
        else:
            own = np.mean(draws <= margin + 1e-9)
            assert own == pytest.approx(reached, abs=0.07)
            assert p["both"] == pytest.approx(np.max([p["seeds"], p["items"], [own, 1 - own]], axis=0), abs=0.002)
    widest, others = found.interval("both", 0.05), [found.interval(name, 0.05) for name in ("seeds", "items")]
    assert all(widest.low <= other.low and widest.high >= other.high for other in others)


def test_p_against_a_margin_counts_the_draws_on_the_other_side_by_hand():
    draws = np.array([-0.5, -0.2, 0.0, 0.1, 0.1, 0.2, 0.3, 0.4, 0.5])
    found = Resampled(0.2, {"both": draws}, {"both": 20})
    for margin, at_most, above in ((0.1, 5, 4), (0.15, 5, 4), (-0.2, 2, 7), (0.5, 9, 0)):
        assert found.p(margin, "both", "greater") == pytest.approx((1 + at_most) / 10)
        assert found.p(margin, "both", "less") == pytest.approx((1 + above) / 10)


def test_the_populations_of_an_association_differ():
    speaker = np.arange(150) % 15
    x, y = noisy_scores(np.random.default_rng(11), speaker, np.arange(150) // 15)
    draws = resampled_tau(x, y, {"speaker": speaker}, np.random.default_rng(0), resamples=1000).draws
    assert draws["both"].std() > 1.1 * draws["seeds"].std()


def test_resampling_repeats_with_equal_generators_and_counts_itself_in_p():
    x, y = np.random.default_rng(1).normal(size=(2, 4, 10, 30))
    first, second = (resampled_tau(x, y, {}, np.random.default_rng(9), resamples=99) for _ in range(2))
    np.testing.assert_array_equal(first.draws["both"], second.draws["both"])
    sure = Resampled(1.0, {"both": np.ones(99)}, {"both": 20})
    assert sure.p(0.0, "both", "greater") == pytest.approx(1 / 100)
    assert sure.p(0.0, "both", "less") == 1.0


def test_arrays_of_other_shapes_or_with_gaps_are_refused():
    x = np.random.default_rng(1).normal(size=(3, 4, 20))
    with pytest.raises(ValueError, match="variants, seeds, items"):
        resampled_tau(x[0], x[0], {}, np.random.default_rng(0))
    with pytest.raises(ValueError, match="variants, seeds, items"):
        resampled_tau(x, x[:, :3], {}, np.random.default_rng(0))
    with pytest.raises(ValueError, match="finite"):
        resampled_tau(x, np.where(x > 2, np.nan, x), {}, np.random.default_rng(0))
