"""Jensen-Shannon divergence of M modalities against scipy, mpmath and its bounds."""

import math
from itertools import combinations

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import special
from scipy.spatial.distance import jensenshannon

from tcmax.metrics.divergence import js_bound, js_divergence, js_pairwise, to_bits


def test_two_modalities_agree_with_scipys_squared_distance() -> None:
    logits = np.random.default_rng(1).normal(scale=3, size=(2, 40, 6))
    p, q = special.softmax(logits, axis=-1)
    np.testing.assert_allclose(js_divergence(logits), jensenshannon(p, q, axis=-1) ** 2, rtol=1e-9)
    np.testing.assert_allclose(to_bits(js_divergence(logits)), jensenshannon(p, q, base=2, axis=-1) ** 2, rtol=1e-9)


@pytest.mark.parametrize("scale", [1.0, 200.0, 1e4])
def test_four_modalities_agree_with_fifty_digit_arithmetic(scale: float) -> None:
    logits = scale * np.random.default_rng(2).normal(size=(4, 3))
    with mpmath.workdps(50):
        p = []
        for row in logits:
            weights = [mpmath.exp(mpmath.mpf(float(u))) for u in row]
            p.append([w / sum(weights) for w in weights])
        q = [sum(column) / 4 for column in zip(*p, strict=True)]
        expected = sum(sum(x * mpmath.log(x / y) for x, y in zip(row, q, strict=True)) for row in p) / 4
    assert float(js_divergence(logits)) == pytest.approx(float(expected), rel=1e-12, abs=1e-15)


@given(arrays(np.float64, (3, 2, 4), elements=st.floats(-1e4, 1e4)))
def test_it_lies_between_zero_and_log_of_the_modalities(logits: np.ndarray) -> None:
    found = js_divergence(logits)
    assert ((found >= 0) & (found <= js_bound(3))).all()
    pairs = js_pairwise(logits)
    assert ((pairs >= 0) & (pairs <= math.log(2))).all()


def test_equal_predictions_do_not_diverge() -> None:
    logits = np.random.default_rng(3).normal(size=(1, 9, 5))
    shifted = logits + np.array([0.0, 5.0, -80.0])[:, None, None]  # a constant changes no probability
    np.testing.assert_allclose(js_divergence(shifted), 0, atol=1e-15)


@pytest.mark.parametrize("n_modalities", [2, 3, 5])
def test_predictions_without_a_common_class_reach_the_bound(n_modalities: int) -> None:
    logits = 1e4 * np.eye(n_modalities)
    assert float(js_divergence(logits)) == pytest.approx(math.log(n_modalities), rel=1e-14)
    assert js_bound(n_modalities) == math.log(n_modalities)


def test_one_modality_does_not_diverge_and_has_no_pairs() -> None:
    logits = np.random.default_rng(4).normal(size=(1, 3, 5))
    np.testing.assert_allclose(js_divergence(logits), 0, atol=1e-15)
    with pytest.raises(ValueError, match="two modalities"):
        js_pairwise(logits)


def test_pairwise_is_the_mean_over_all_pairs() -> None:
    logits = np.random.default_rng(5).normal(scale=2, size=(4, 11, 3))
    p = special.softmax(logits, axis=-1)
    pairs = [jensenshannon(p[m], p[n], axis=-1) ** 2 for m, n in combinations(range(4), 2)]
    assert len(pairs) == 6
    np.testing.assert_allclose(js_pairwise(logits), np.mean(pairs, axis=0), rtol=1e-9)


def test_pairwise_of_two_modalities_is_the_divergence() -> None:
    logits = np.random.default_rng(6).normal(size=(2, 11, 3))
    np.testing.assert_allclose(js_pairwise(logits), js_divergence(logits), rtol=1e-12)


def test_the_order_of_modalities_and_classes_does_not_matter() -> None:
    rng = np.random.default_rng(7)
    logits = rng.normal(size=(3, 8, 5))
    permuted = logits[[2, 0, 1]][..., rng.permutation(5)]
    np.testing.assert_allclose(js_divergence(permuted), js_divergence(logits), rtol=1e-12)


def test_scaling_the_logits_changes_it_although_no_prediction_changes() -> None:
    logits = np.random.default_rng(8).normal(size=(2, 200, 5))
    assert js_divergence(2 * logits).mean() > 1.3 * js_divergence(logits).mean()


def test_logits_without_a_modality_axis_are_refused() -> None:
    with pytest.raises(ValueError, match="modalities"):
        js_divergence(np.zeros(3))
    with pytest.raises(ValueError, match="at least one"):
        js_bound(0)
