"""Log-loss, Brier score, reliability and temperature against written-out sums, scipy, mpmath and simulation."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, special, stats

from tcmax.metrics import calibration
from tcmax.metrics.calibration import SHARPNESS, brier, confidence, fit_temperature, nll, reliability
from tcmax.metrics.divergence import js_divergence
from tcmax.metrics.entropy import entropy


def forecasts(n: int = 400, n_classes: int = 5, sharpness: float = 2.0, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Logits of which the labels are drawn: calibrated, then multiplied by `sharpness`."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=1.5, size=(n, n_classes))
    p = special.softmax(logits, axis=-1)
    labels = (p.cumsum(axis=-1) < rng.random((n, 1))).sum(axis=-1)
    return sharpness * logits, labels


def test_nll_is_minus_the_log_probability_of_the_label() -> None:
    logits, labels = forecasts()
    expected = -special.log_softmax(logits, axis=-1)[np.arange(len(labels)), labels]
    np.testing.assert_allclose(nll(logits, labels), expected, rtol=1e-12)
    np.testing.assert_allclose(nll(np.stack([logits, 2 * logits]), labels)[0], expected, rtol=1e-12)


def test_brier_is_the_squared_distance_to_the_one_hot_label() -> None:
    logits, labels = forecasts()
    p = special.softmax(logits, axis=-1)
    expected = ((p - np.eye(5)[labels]) ** 2).sum(axis=-1)
    np.testing.assert_allclose(brier(logits, labels), expected, rtol=1e-11)


def test_uniform_certain_and_wrong_forecasts_score_their_limits() -> None:
    logits = np.array([[0.0, 0.0, 0.0, 0.0], [1e4, -1e4, -1e4, -1e4], [1e4, -1e4, -1e4, -1e4]])
    labels = np.array([2, 0, 1])
    np.testing.assert_allclose(nll(logits, labels), [math.log(4), 0, 2e4], rtol=1e-14)
    np.testing.assert_allclose(brier(logits, labels), [0.75, 0, 2], rtol=1e-14)
    np.testing.assert_allclose(confidence(logits), [0.25, 1, 1], rtol=1e-14)


@pytest.mark.parametrize("labels", [[0, 5], [-1, 0], [0], [0.0, 1.0]])
def test_labels_that_do_not_fit_are_refused(labels: list[float]) -> None:
    for score in (nll, brier, fit_temperature):
        with pytest.raises(ValueError, match="labels"):
            score(np.ones((2, 5)), np.array(labels))


def test_ece_is_the_sum_written_out_bin_by_bin() -> None:
    rng = np.random.default_rng(2)
    claimed = np.r_[rng.uniform(0.2, 1, 300), 1.0, 1 / 15, 2 / 15, 0.0]
    right = (rng.random(len(claimed)) < claimed**2).astype(float)
    expected, total = 0.0, 0
    for b in range(15):
        low, high = b / 15, (b + 1) / 15
        inside = [i for i, p in enumerate(claimed) if low < p <= high or (b == 0 and p == 0)]
        if inside:
            gap = np.mean([right[i] for i in inside]) - np.mean([claimed[i] for i in inside])
            expected += len(inside) / len(claimed) * abs(gap)
            total += len(inside)
    found = reliability(claimed, right)
    assert total == found.n_items == found.counts.sum() == len(claimed)
    assert found.ece == pytest.approx(expected, rel=1e-12)


def test_the_curve_has_the_bins_means_and_nothing_where_they_are_empty() -> None:
    found = reliability([0.55, 0.65, 0.95], [1, 0, 1], n_bins=5)
    np.testing.assert_array_equal(found.counts, [0, 0, 1, 1, 1])
    np.testing.assert_allclose(found.confidence[2:], [0.55, 0.65, 0.95])
    np.testing.assert_allclose(found.accuracy[2:], [1, 0, 1])
    assert np.isnan(found.confidence[:2]).all()
    assert found.ece == pytest.approx((0.45 + 0.65 + 0.05) / 3)


def test_the_curves_of_several_runs_are_those_of_each() -> None:
    rng = np.random.default_rng(6)
    claimed = rng.uniform(size=(3, 4, 50))
    right = (rng.random(claimed.shape) < claimed).astype(float)
    found = reliability(claimed, right, n_bins=7)
    assert found.ece.shape == found.ece_if_calibrated.shape == (3, 4)
    for run in np.ndindex(3, 4):
        alone = reliability(claimed[run], right[run], n_bins=7)
        assert (found.ece[run], found.ece_if_calibrated[run]) == (alone.ece, alone.ece_if_calibrated)
        for name in ("counts", "confidence", "accuracy"):
            np.testing.assert_array_equal(getattr(found, name)[run], getattr(alone, name))


def test_a_confidence_on_an_edge_belongs_to_the_bin_below() -> None:
    np.testing.assert_array_equal(reliability([0.25, 0.5, 1.0], [1, 1, 1], n_bins=4).counts, [1, 1, 0, 1])


def test_always_right_and_certain_has_no_calibration_error() -> None:
    found = reliability(np.ones(7), np.ones(7))
    assert (found.ece, found.ece_if_calibrated) == (0, 0)
    assert reliability(np.ones(7), np.zeros(7)).ece == 1


@pytest.mark.parametrize(("n", "p"), [(1, 0.5), (7, 0.93), (40, 0.5), (300, 0.999), (2000, 0.7)])
def test_chance_alone_gives_the_mean_deviation_of_a_binomial(n: int, p: float) -> None:
    outcomes = np.arange(n + 1)
    expected = (np.abs(outcomes - n * p) * stats.binom.pmf(outcomes, n, p)).sum() / n
    assert reliability(np.full(n, p), np.zeros(n)).ece_if_calibrated == pytest.approx(expected, rel=1e-9)


def test_a_calibrated_forecast_shows_the_error_that_chance_alone_predicts() -> None:
    found = []
    for seed in range(200):
        logits, labels = forecasts(n=150, sharpness=1.0, seed=seed)
        found.append(reliability(confidence(logits), logits.argmax(axis=-1) == labels))
    shown, predicted = (np.mean([getattr(curve, name) for curve in found]) for name in ("ece", "ece_if_calibrated"))
    error = np.std([curve.ece for curve in found]) / math.sqrt(200)
    assert shown > 0.05  # far from 0 although every probability is right
    assert abs(shown - predicted) < 4 * error


@pytest.mark.parametrize(
    ("claimed", "right", "n_bins"),
    [([], [], 15), ([0.5], [1, 0], 15), ([1.5], [1], 15), ([0.5], [0.5], 15), ([0.5], [1], 0), ([np.nan], [1], 15)],
)
def test_reliability_refuses_what_is_no_confidence(claimed: list[float], right: list[float], n_bins: int) -> None:
    with pytest.raises(ValueError, match=r"confidence"):
        reliability(claimed, right, n_bins)


def test_the_temperature_minimises_the_log_loss() -> None:
    logits, labels = forecasts(sharpness=3.0)

    def loss(log_t: float) -> float:
        log_p = special.log_softmax(logits / math.exp(log_t), axis=-1)
        return float(-log_p[np.arange(len(labels)), labels].mean())

    best = optimize.minimize_scalar(loss, bounds=(-5, 5), method="bounded", options={"xatol": 1e-10})
    found = fit_temperature(logits, labels)
    assert found.value == pytest.approx(math.exp(best.x), rel=1e-5)  # a minimiser knows x to the root of precision
    assert found.nll == pytest.approx(loss(math.log(found.value)), rel=1e-12)
    assert found.nll <= best.fun
    assert not found.at_bound


def test_the_slope_of_the_log_loss_is_zero_in_fifty_digit_arithmetic() -> None:
    logits, labels = forecasts(n=12, n_classes=3)
    found = fit_temperature(logits, labels)
    with mpmath.workdps(50):
        rows = [[mpmath.mpf(float(u)) for u in row] for row in logits]

        def loss(beta: mpmath.mpf) -> mpmath.mpf:
            total = mpmath.mpf(0)
            for row, label in zip(rows, labels, strict=True):
                total += mpmath.log(sum(mpmath.exp(beta * u) for u in row)) - beta * row[label]
            return total / len(rows)

        beta = mpmath.mpf(1) / mpmath.mpf(found.value)
        slope, curvature = (mpmath.diff(loss, beta, k) for k in (1, 2))
        assert curvature > 0
        assert abs(slope / curvature / beta) < 1e-11  # Newton's step from the answer


def test_a_fit_passes_over_the_items_about_ten_times(monkeypatch: pytest.MonkeyPatch) -> None:
    passes, log_loss = [], calibration._log_loss
    monkeypatch.setattr(calibration, "_log_loss", lambda *given: passes.append(1) or log_loss(*given))
    for seed in range(20):
        fit_temperature(*forecasts(sharpness=10 ** (seed / 10 - 1), seed=seed))
    assert len(passes) / 20 <= 12


def test_a_temperature_recovers_the_sharpness_that_was_added() -> None:
    for sharpness in (0.2, 1.0, 5.0):
        logits, labels = forecasts(n=20_000, sharpness=sharpness)
        assert fit_temperature(logits, labels).value == pytest.approx(sharpness, rel=0.03)


@settings(max_examples=30)
@given(st.floats(1e-6, 1e6))
def test_calibrated_quantities_do_not_change_when_all_logits_are_rescaled(factor: float) -> None:
    logits, labels = forecasts(n=60)
    plain, scaled = fit_temperature(logits, labels), fit_temperature(factor * logits, labels)
    assert scaled.value == pytest.approx(factor * plain.value, rel=1e-9)
    np.testing.assert_allclose(
        entropy(factor * logits / scaled.value), entropy(logits / plain.value), rtol=1e-7, atol=1e-12
    )
    other = forecasts(n=60, seed=2)[0] / plain.value
    np.testing.assert_allclose(
        js_divergence(np.stack([factor * logits / scaled.value, other])),
        js_divergence(np.stack([logits / plain.value, other])),
        rtol=1e-7,
        atol=1e-12,
    )


def test_a_temperature_keeps_the_order_of_classes() -> None:
    logits, labels = forecasts()
    np.testing.assert_array_equal((logits / fit_temperature(logits, labels).value).argmax(-1), logits.argmax(-1))


def test_separable_validation_items_end_at_the_sharp_bound_and_say_so() -> None:
    logits = 3 * np.eye(4)
    found = fit_temperature(logits, np.arange(4))
    assert found.at_bound
    centred = logits / found.value - (logits / found.value).mean(axis=-1, keepdims=True)
    assert math.sqrt((centred**2).mean()) == pytest.approx(SHARPNESS[1])


def test_a_forecast_worse_than_none_ends_at_the_flat_bound_and_says_so() -> None:
    logits = 3 * np.eye(4)
    found = fit_temperature(logits, (np.arange(4) + 1) % 4)
    assert found.at_bound
    assert found.nll == pytest.approx(math.log(4), rel=0.01)


@pytest.mark.parametrize("offset", [0.0, 1e4, -12.3])
def test_constant_logits_keep_the_temperature_one(offset: float) -> None:
    found = fit_temperature(np.full((6, 3), offset), [0, 1, 2, 0, 1, 2])
    assert (found.value, found.at_bound) == (1.0, False)
    assert found.nll == pytest.approx(math.log(3))


@pytest.mark.parametrize("scale", [200.0, 1e4])
def test_large_logits_are_fitted_without_overflow(scale: float) -> None:
    logits, labels = forecasts(n=100)
    found = fit_temperature(scale * logits + scale, labels)
    assert found.value == pytest.approx(scale * fit_temperature(logits, labels).value, rel=1e-9)


def test_rows_in_several_blocks_give_what_one_block_gives() -> None:
    logits, labels = forecasts(n=70, n_classes=5)
    many = np.tile(logits, (400, 1)), np.tile(labels, 400)  # more rows than a block holds
    assert fit_temperature(*many).value == pytest.approx(fit_temperature(logits, labels).value, rel=1e-10)


def test_a_temperature_needs_items_and_two_axes() -> None:
    for logits in (np.empty((0, 3)), np.zeros((2, 2, 3))):
        with pytest.raises(ValueError, match="at least one item"):
            fit_temperature(logits, [])
    with pytest.raises(ValueError, match="NaN"):
        fit_temperature([[np.nan, 0.0]], [0])
