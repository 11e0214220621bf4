"""Bayesian signed ranks: closed forms of the beta distribution, a longhand loop, and symmetries."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta

from tcmax.stats.bayes import bayesian_signed_rank


@pytest.mark.parametrize(("margin", "edge"), [(0.4, math.sqrt(0.5)), (0.6, 1 - math.sqrt(0.5))])
@pytest.mark.parametrize("n", [10, 25])
def test_equal_differences_leave_a_beta_distribution(n, margin, edge):
    # w, the weight of the imagined dataset, is Beta(0.5, n); "better" has 1 - w² while 0 + 1 is outside, else (1 - w)²
    found = bayesian_signed_rank(np.ones(n), margin, np.random.default_rng(0))
    assert found.better == pytest.approx(beta.cdf(edge, 0.5, n), abs=0.005)
    assert found.equal == pytest.approx(1 - beta.cdf(edge, 0.5, n), abs=0.005)
    assert found.worse == 0


def test_probabilities_are_those_of_a_loop_over_pairs_of_datasets():
    z = np.round(np.random.default_rng(4).normal(0.5, 1, 10), 2)
    found = bayesian_signed_rank(z, 0.3, np.random.default_rng(1))
    rng = np.random.default_rng(2)
    counts = dict.fromkeys(("better", "equal", "worse"), 0)
    for _ in range(1500):
        gammas = [rng.gamma(1.0) for _ in z] + [rng.gamma(0.5)]
        theta = dict.fromkeys(counts, 0.0)
        for wi, zi in zip(gammas, [*z, 0.0], strict=True):
            for wj, zj in zip(gammas, [*z, 0.0], strict=True):
                mean = (zi + zj) / 2
                theta["better" if mean > 0.3 else "worse" if mean < -0.3 else "equal"] += wi * wj
        counts[max(theta, key=theta.__getitem__)] += 1
    for name, count in counts.items():
        assert getattr(found, name) == pytest.approx(count / 1500, abs=0.05)
    assert 0.1 < found.better < 0.9


@settings(max_examples=20)
@given(st.lists(st.integers(-5, 5), min_size=10, max_size=14), st.sampled_from([0.0, 0.5, 2.0]))
def test_swapping_mirrors_order_does_not_matter_and_all_adds_up(z, margin):
    found = bayesian_signed_rank(z, margin, np.random.default_rng(3), 4000)
    swapped = bayesian_signed_rank([-v for v in z], margin, np.random.default_rng(3), 4000)
    turned = bayesian_signed_rank(z[::-1], margin, np.random.default_rng(3), 4000)
    assert found.better + found.equal + found.worse == pytest.approx(1)
    assert (swapped.worse, swapped.better) == (found.better, found.worse)
    assert turned.better == pytest.approx(found.better, abs=0.05)


def test_a_wider_margin_makes_equality_more_probable_and_no_difference_is_equality():
    z = np.random.default_rng(5).normal(0.3, 1, 20)
    shares = [bayesian_signed_rank(z, m, np.random.default_rng(0), 4000).equal for m in (0.0, 0.3, 0.8, 2.0)]
    assert shares == sorted(shares)
    assert bayesian_signed_rank(np.zeros(10), 0.0, np.random.default_rng(0), 100).equal == 1


def test_equal_generators_give_equal_results_and_few_datasets_are_refused():
    z = np.arange(10) - 3.0
    assert bayesian_signed_rank(z, 1, np.random.default_rng(7), 500) == bayesian_signed_rank(
        z, 1, np.random.default_rng(7), 500
    )
    with pytest.raises(ValueError, match="starts at 10 datasets, got 9"):
        bayesian_signed_rank(z[:9], 1, np.random.default_rng(0))
    with pytest.raises(ValueError, match="one finite difference"):
        bayesian_signed_rank([*z, np.nan], 1, np.random.default_rng(0))
    for margin in (-1, math.inf, math.nan):
        with pytest.raises(ValueError, match="margin"):
            bayesian_signed_rank(z, margin, np.random.default_rng(0))
