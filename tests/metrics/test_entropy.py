"""Entropy, logit scale and the ratio of the weak to the strong modality."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import special, stats

from tcmax.metrics.entropy import entropy, entropy_ratio, logit_scale, weak_and_strong


def test_entropy_agrees_with_scipy_over_leading_axes() -> None:
    logits = np.random.default_rng(1).normal(scale=3, size=(2, 6, 5))
    expected = stats.entropy(special.softmax(logits, axis=-1), axis=-1)
    np.testing.assert_allclose(entropy(logits), expected, rtol=1e-12)


def test_entropy_of_large_logits_agrees_with_fifty_digit_arithmetic() -> None:
    logits = [200.0, 195.0, -200.0]
    with mpmath.workdps(50):
        weights = [mpmath.exp(u) for u in logits]
        p = [w / sum(weights) for w in weights]
        expected = float(-sum(x * mpmath.log(x) for x in p))
    assert float(entropy(logits)) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("scale", [200.0, 1e4])
def test_entropy_is_finite_where_probabilities_underflow(scale: float) -> None:
    assert 0 <= float(entropy([scale, -scale, 0.0])) < 1e-80
    assert float(entropy([scale, scale, -scale])) == pytest.approx(math.log(2))


@given(arrays(np.float64, (3, 4), elements=st.floats(-1e4, 1e4)))
def test_entropy_lies_between_zero_and_log_of_the_classes(logits: np.ndarray) -> None:
    found = entropy(logits)
    assert ((found >= 0) & (found <= math.log(4))).all()


def test_equal_logits_have_the_largest_entropy() -> None:
    assert float(entropy(np.full(7, -3.0))) == pytest.approx(math.log(7), rel=1e-15)


def test_scaling_the_logits_changes_entropy() -> None:
    logits = np.random.default_rng(2).normal(size=(50, 5))
    assert (entropy(3 * logits) < entropy(logits)).all()


def test_logit_scale_is_the_euclidean_norm_and_proportional() -> None:
    logits = np.random.default_rng(3).normal(size=(2, 6, 5))
    np.testing.assert_allclose(logit_scale(logits), np.linalg.norm(logits, axis=-1), rtol=1e-14)
    np.testing.assert_allclose(logit_scale(7 * logits), 7 * logit_scale(logits), rtol=1e-14)


def test_weak_is_the_least_and_strong_the_most_accurate_modality() -> None:
    assert weak_and_strong({"audio": 0.6, "visual": 0.8, "text": 0.7}) == ("audio", "visual")
    assert weak_and_strong({"audio": 0.9, "visual": 0.8, "text": 0.7}) == ("text", "audio")


def test_equally_accurate_modalities_are_still_two() -> None:
    assert weak_and_strong({"audio": 0.5, "visual": 0.5, "text": 0.5}) == ("text", "audio")


def test_one_modality_has_no_weak_and_strong() -> None:
    with pytest.raises(ValueError, match="two modalities"):
        weak_and_strong({"audio": 0.5})


def test_the_ratio_is_weak_over_strong_and_missing_without_a_denominator() -> None:
    assert entropy_ratio(0.6, 0.4) == pytest.approx(1.5)
    assert entropy_ratio(0.6, 0.0) is None
    with pytest.raises(ValueError, match="not negative"):
        entropy_ratio(-0.1, 0.4)
