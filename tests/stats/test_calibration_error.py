"""Oracles: products of all pairs, deletion by hand, and simulated models that are calibrated."""

import itertools
import math

import numpy as np
import pytest

from tcmax.stats.calibration_error import calibration_test, squared_calibration_error
from tcmax.stats.crossed import crossed, interval


def by_pairs(confidence, correct, bins=15):
    """Σ_b (n_b/I) · mean over pairs i ≠ j of a bin of g_i·g_j."""
    found = 0.0
    for k in range(bins):
        own = [c - r for c, r in zip(confidence, correct, strict=True) if k / bins < c <= (k + 1) / bins]
        if len(own) > 1:
            found += len(own) * np.mean([x * y for x, y in itertools.combinations(own, 2)])
    return found / len(confidence)


def test_the_error_is_that_of_all_pairs_and_its_pseudo_values_those_of_deletion():
    rng = np.random.default_rng(1)
    confidence = rng.uniform(0.3, 1, (2, 50))
    correct = (rng.random((2, 50)) < confidence**2).astype(float)
    found = squared_calibration_error(confidence, correct)
    everything = np.arange(50)
    for row, c, r in zip(found, confidence, correct, strict=True):
        left = np.array([by_pairs(c[everything != i], r[everything != i]) for i in everything])
        np.testing.assert_allclose(row, by_pairs(c, r) - 49 * (left - left.mean()), atol=1e-10)
        assert row.mean() == pytest.approx(by_pairs(c, r))


def test_it_has_no_bias_where_the_usual_error_has():
    rng, errors, usual = np.random.default_rng(2), [], []
    for _ in range(600):
        confidence = rng.uniform(0.3, 1, 200)
        correct = (rng.random(200) < confidence).astype(float)
        errors.append(squared_calibration_error(confidence[np.newaxis], correct[np.newaxis]).mean())
        bins = np.ceil(confidence * 15)
        usual.append(sum(abs((confidence - correct)[bins == k].sum()) for k in range(1, 16)) / 200)
    assert np.mean(errors) == pytest.approx(0, abs=4 * np.std(errors) / math.sqrt(600))
    assert np.mean(usual) > 0.07


def test_a_calibrated_model_is_covered_and_a_wrong_one_too():
    rng, hits, n = np.random.default_rng(3), {0.0: 0, 0.15: 0}, 200
    for shift, _ in itertools.product(hits, range(n)):
        confidence = rng.uniform(0.4, 0.8, (3, 300))
        correct = (rng.random((3, 300)) < confidence + shift).astype(float)
        found = interval(crossed(squared_calibration_error(confidence, correct)), "both")
        hits[shift] += found.low <= shift**2 <= found.high
    assert min(hits.values()) / n >= 0.9


def test_the_test_of_calibration_keeps_its_level_and_finds_overconfidence():
    rng, rejected, n = np.random.default_rng(4), 0, 200
    for _ in range(n):
        confidence = rng.uniform(0.3, 1, 150)
        correct = rng.random(150) < confidence
        rejected += calibration_test(confidence, correct, rng, resamples=199).p_value <= 0.05
    assert rejected / n <= 0.05 + 4 * math.sqrt(0.05 * 0.95 / n)
    confidence = np.full(150, 0.95)
    found = calibration_test(confidence, np.arange(150) % 4 > 0, rng)
    assert found.p_value == 1 / 2001
    assert found.error == pytest.approx(by_pairs(confidence, np.arange(150) % 4 > 0))


@pytest.mark.parametrize("confidence", [[[0.5]], [[0.5, 1.2]], [0.5, 0.4]])
def test_what_is_no_confidence_is_refused(confidence):
    with pytest.raises(ValueError, match="confidence"):
        squared_calibration_error(confidence, np.ones_like(confidence))
