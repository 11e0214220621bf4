"""Log-softmax and log-sum-exp against scipy, mpmath and their limits."""

import mpmath
import numpy as np
import pytest
from scipy import special

from tcmax.metrics.accuracy import predict
from tcmax.metrics.calibration import brier, confidence, nll
from tcmax.metrics.divergence import js_divergence
from tcmax.metrics.entropy import entropy, logit_scale
from tcmax.metrics.readout import energy_weighted, entropy_gated
from tcmax.metrics.softmax import forecast_of


def test_log_softmax_agrees_with_scipy_over_leading_axes() -> None:
    logits = np.random.default_rng(1).normal(scale=5, size=(3, 4, 7))
    np.testing.assert_allclose(forecast_of(logits).log_p, special.log_softmax(logits, axis=-1), rtol=1e-13)
    np.testing.assert_allclose(forecast_of(logits).log_z, special.logsumexp(logits, axis=-1), rtol=1e-13)


def test_logits_of_ten_thousand_agree_with_fifty_digit_arithmetic() -> None:
    logits = [1e4, -1e4, 9_999.5, 0.0]
    with mpmath.workdps(50):
        total = mpmath.log(sum(mpmath.exp(mpmath.mpf(u)) for u in logits))
        expected = [float(mpmath.mpf(u) - total) for u in logits]
    np.testing.assert_allclose(forecast_of(logits).log_p, expected, rtol=1e-14)
    assert forecast_of(logits).log_z == pytest.approx(float(total), rel=1e-15)


def test_a_shift_of_all_logits_changes_no_probability() -> None:
    logits = np.random.default_rng(2).normal(size=(5, 3))
    np.testing.assert_allclose(forecast_of(logits + 123.0).log_p, forecast_of(logits).log_p, atol=1e-12)


def test_single_precision_input_is_computed_in_double_precision() -> None:
    logits = np.random.default_rng(3).normal(size=(5, 3)).astype(np.float32)
    assert forecast_of(logits).log_p.dtype == np.float64
    np.testing.assert_array_equal(forecast_of(logits).log_p, forecast_of(logits.astype(np.float64)).log_p)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="NaN or infinite"):
        forecast_of([[0.0, bad]])


def test_logits_without_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="last axis"):
        forecast_of(np.empty((3, 0)))


def test_every_metric_takes_a_forecast_in_place_of_its_logits_and_leaves_it_as_it_is() -> None:
    rng = np.random.default_rng(4)
    logits, labels = rng.normal(scale=4, size=(2, 9, 5)), rng.integers(0, 5, 9)
    forecast = forecast_of(logits)
    assert forecast_of(forecast) is forecast
    metrics = (predict, confidence, entropy, logit_scale, js_divergence, entropy_gated, energy_weighted)
    for metric in (*metrics, lambda u: nll(u, labels), lambda u: brier(u, labels)):
        np.testing.assert_array_equal(metric(forecast), metric(logits))
    np.testing.assert_array_equal(forecast.p, np.exp(forecast.log_p))
    np.testing.assert_array_equal(forecast.log_p, forecast_of(logits).log_p)


def test_forecasts_of_several_read_outs_are_those_of_each() -> None:
    logits = np.random.default_rng(5).normal(scale=4, size=(3, 9, 10))
    for metric in (entropy, confidence, logit_scale):
        np.testing.assert_array_equal(metric(logits), [metric(each) for each in logits])
