"""Do the probabilities mean what they say? Log-loss, Brier score, calibration error, and a temperature to mend it."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln

from tcmax.metrics.softmax import Logits, checked, checked_labels, forecast_of

N_BINS = 15
# Range of the fitted sharpness, the root mean square of the calibrated logits centred over classes: from a forecast
# that hardly tells classes apart to one that is certain of every answer.
SHARPNESS = (1e-2, 1e2)


def nll(logits: Logits, labels: ArrayLike) -> NDArray[np.float64]:
    """Negative log-likelihood of the true class, −log p_y; how surprised is the forecast?

    logits (..., items, classes), labels (items,); result (..., items), in nats, ≥ 0, unbounded: one confident error
    can outweigh a thousand right answers. log C for a uniform forecast.
    Raises ValueError for NaN or infinite logits or labels outside the classes. Oracle: scipy.special.log_softmax.
    """
    return -_at(forecast_of(logits).log_p, labels)


def brier(logits: Logits, labels: ArrayLike) -> NDArray[np.float64]:
    """Brier score over all classes, Σ_c (p_c − [c = y])²; a proper score that no single item dominates.

    logits (..., items, classes), labels (items,); result (..., items), within [0, 2] (twice the form that is used for
    two classes with one probability); (C−1)/C for a uniform forecast.
    Raises ValueError as `nll` does. Source: Brier 1950. Oracle: the sum written out with scipy.special.softmax.
    """
    errors = forecast_of(logits).p.copy()
    index = _label_index(errors, labels)
    errors[..., np.arange(len(index)), index] -= 1.0
    result: NDArray[np.float64] = np.einsum("...c,...c->...", errors, errors)
    return result


def confidence(logits: Logits) -> NDArray[np.float64]:
    """Probability of the most probable class, max_c p_c; logits (..., classes) to (...), within [1/C, 1].

    Raises ValueError for NaN or infinite logits. Oracle: scipy.special.softmax.
    """
    result: NDArray[np.float64] = np.exp(forecast_of(logits).log_p.max(axis=-1))
    return result


@dataclass(frozen=True)
class Reliability:
    """A reliability curve and its summary, of one run or of several.

    counts              (..., n_bins) items per bin; equal widths of confidence, open on the left, closed on the right
    confidence          (..., n_bins) mean confidence in the bin; NaN where it is empty
    accuracy            (..., n_bins) share of right answers in the bin; NaN where it is empty
    ece                 (...) Σ_b (n_b / n) |accuracy_b − confidence_b|, a proportion
    ece_if_calibrated   (...) the ece that a perfectly calibrated forecast with these confidences would show by chance
    n_items             n
    """

    counts: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    ece: NDArray[np.float64]
    ece_if_calibrated: NDArray[np.float64]
    n_items: int

    @property
    def edges(self) -> NDArray[np.float64]:
        """(n_bins + 1,) of confidence."""
        return np.linspace(0.0, 1.0, self.counts.shape[-1] + 1)


def reliability(confidence: ArrayLike, correct: ArrayLike, n_bins: int = N_BINS) -> Reliability:
    """Is an answer given with confidence p right a share p of the time? Curve and expected calibration error.

    confidence (..., items) in [0, 1], correct (..., items) 0/1, each run by itself: pooling runs hides their opposite
    errors. Equal-width bins (0, 1/B], (1/B, 2/B], ...; the value depends on B, and compares only between equal B.

    Small samples bias the error upwards, since |accuracy − confidence| is positive by chance alone:
    `ece_if_calibrated` is what sampling alone yields, Σ_b E|X_b − n_b p_b| / n with X_b ~ Binomial(n_b, p_b) and p_b
    the bin's mean confidence (exact where a bin's confidences are equal, else slightly too large). An error of that
    size is no evidence of miscalibration.
    Raises ValueError for no items, unequal lengths or values outside [0, 1].
    Source: Guo et al. 2017, equations 2 and 3. Oracle: the sum written out bin by bin; scipy.stats.binom, simulation.
    """
    claimed, right = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    if claimed.ndim < 1 or claimed.shape != right.shape or not claimed.size:
        raise ValueError(f"confidence and correct are (..., items) of one shape, got {claimed.shape} and {right.shape}")
    if n_bins < 1 or not ((claimed >= 0) & (claimed <= 1)).all() or not ((right == 0) | (right == 1)).all():
        raise ValueError("confidence lies in [0, 1], correct is 0 or 1, and at least one bin is needed")
    *runs, n_items = claimed.shape
    bins = np.clip(np.ceil(claimed * n_bins).astype(np.intp) - 1, 0, n_bins - 1)
    places = (bins.reshape(-1, n_items) + n_bins * np.arange(math.prod(runs))[:, np.newaxis]).ravel()

    def in_bins(weights: NDArray[np.float64] | None) -> NDArray[Any]:
        flat = None if weights is None else weights.ravel()
        return np.bincount(places, flat, math.prod(runs) * n_bins).reshape(*runs, n_bins)

    counts, claimed_sum, right_sum = in_bins(None), in_bins(claimed), in_bins(right)
    filled = np.where(counts > 0, counts, np.nan)
    return Reliability(
        counts=counts.astype(np.int64),
        confidence=claimed_sum / filled,
        accuracy=right_sum / filled,
        ece=np.abs(right_sum - claimed_sum).sum(axis=-1) / n_items,
        ece_if_calibrated=_binomial_deviation(counts, claimed_sum).sum(axis=-1) / n_items,
        n_items=n_items,
    )


def _binomial_deviation(n: NDArray[Any], mean: NDArray[Any]) -> NDArray[np.float64]:
    """E|X − mean| of X ~ Binomial(n, p = mean / n), by de Moivre: 2 k (n over k) p^k (1−p)^(n−k+1), k = ⌊mean⌋ + 1."""
    inside = (mean > 0) & (mean < n)  # otherwise nothing varies
    trials, p = n[inside], mean[inside] / n[inside]
    k = np.minimum(np.floor(mean[inside]) + 1, trials)
    log_choose = gammaln(trials + 1) - gammaln(k + 1) - gammaln(trials - k + 1)
    result = np.zeros(n.shape)
    result[inside] = 2 * k * np.exp(log_choose + k * np.log(p) + (trials - k + 1) * np.log1p(-p))
    return result


@dataclass(frozen=True)
class Temperature:
    """A fitted temperature: calibrated logits are logits / value.

    nll         mean negative log-likelihood of the fitted items at this temperature, in nats
    at_bound    the likelihood still rose at the end of the range: the items are separable, so that any sharper forecast
                is better (value at its lowest), or worse than uninformative (value at its highest)
    n_items     items it was fitted on
    """

    value: float
    nll: float
    at_bound: bool
    n_items: int


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> Temperature:
    """Which one number T makes softmax(u / T) fit validation items best? argmin_T mean_i −log softmax(u_i / T)_{y_i}.

    logits (items, classes), labels (items,) of *validation* items. The mean log-loss is convex in β = 1/T, so the
    zero of its slope mean_i (Σ_c p_ic u_ic − u_iy) is the minimum; it is bracketed in log T and found to 1e-12. The
    range is relative to the scale of the logits (`SHARPNESS`): calibrated quantities do not change when all logits
    are multiplied by a number. Class order, accuracy and ranking stay. Constant logits have no scale: T = 1.
    With few validation items, or nearly perfect accuracy, T is noisy; `at_bound` tells when it is arbitrary.
    Raises ValueError for no items, NaN or infinite logits, or labels outside the classes.
    Source: Guo et al. 2017, section 4.2. Oracle: bounded minimisation of the log-loss, derivatives in mpmath.
    """
    values = checked(logits)
    if values.ndim != 2 or not len(values):
        raise ValueError(f"a temperature is fitted on (items, classes) with at least one item, got {values.shape}")
    labels = checked_labels(labels, *values.shape)
    unit = values - values.mean(axis=-1, keepdims=True)
    scale = math.sqrt(np.einsum("ic,ic->", unit, unit) / unit.size)
    if scale <= 1e-12 * float(np.abs(values).max()):  # equal up to rounding
        return Temperature(1.0, math.log(values.shape[1]), False, len(values))
    unit /= scale
    unit -= unit.max(axis=-1, keepdims=True)  # largest logit 0, at every sharpness
    true = float(_at(unit, labels).mean())
    low, high = map(math.log, SHARPNESS)
    log_sharpness, at_bound = _rising_zero(lambda x: _log_loss(unit, true, math.exp(x))[1:], low, high)
    sharpness = math.exp(log_sharpness)
    return Temperature(scale / sharpness, _log_loss(unit, true, sharpness)[0], at_bound, len(values))


def _log_loss(unit: NDArray[np.float64], true: float, sharpness: float) -> tuple[float, float, float]:
    """Mean log-loss at sharpness s, its derivative by s (mean of Σ_c p_c u_c − u_y), and that derivative's by log s.

    unit (items, classes) with maxima 0; true: mean of u_y. Rows are taken in blocks that stay in the processor's
    cache, since this is where scoring spends its time.
    """
    loss = slope = curvature = 0.0
    rows = max(1, 2**16 // unit.shape[1])
    for start in range(0, len(unit), rows):
        block = unit[start : start + rows]
        weighted = np.exp(sharpness * block)
        total = weighted.sum(axis=-1)
        weighted *= block
        mean = weighted.sum(axis=-1) / total
        loss += float(np.log(total).sum())
        slope += float(mean.sum())
        curvature += float((np.einsum("ic,ic->i", weighted, block) / total - mean**2).sum())
    n = len(unit)
    return loss / n - sharpness * true, slope / n - true, sharpness * curvature / n


def _rising_zero(function: Callable[[float], tuple[float, float]], low: float, high: float) -> tuple[float, bool]:
    """Where an increasing function (value, derivative) crosses zero; the nearer end, and True, if it does so outside.

    Newton's method, which bisects the bracket whenever a step leaves it or is no half of the one before.
    """
    if function(low)[0] >= 0:
        return low, True
    if function(high)[0] <= 0:
        return high, True
    x, step = (low + high) / 2, high - low
    while abs(step) > 1e-12:
        value, derivative = function(x)
        low, high = (x, high) if value < 0 else (low, x)
        newton = -value / derivative if derivative > 0 else math.inf
        step = newton if low <= x + newton <= high and abs(newton) < abs(step) / 2 else (low + high) / 2 - x
        x += step
    return x, False


def _at(values: NDArray[np.float64], labels: ArrayLike) -> NDArray[np.float64]:
    """values (..., items, classes) at each item's label: (..., items)."""
    index = _label_index(values, labels)
    return values[..., np.arange(len(index)), index]


def _label_index(values: NDArray[np.float64], labels: ArrayLike) -> NDArray[np.intp]:
    if values.ndim < 2:
        raise ValueError(f"logits are (..., items, classes), got {values.shape}")
    return checked_labels(labels, values.shape[-2], values.shape[-1])
