"""The three joint read-outs that published methods use, for any model with unimodal logits.

    joint                    the head's own output f, as it is stored
    joint_entropy_gated      f = Σ_m ω^m u^m,  ω = softmax_m(−H(u^m))           MLA's rule
    joint_energy_weighted    f = Σ_m w^m u^m,  w^m = log Σ_c exp(u^m_c) / 10    QMF's rule

All three are computed for every method: a gain that comes from another read-out alone is not the training method's.
"""

import numpy as np
from numpy.typing import NDArray

from tcmax.metrics.entropy import entropy
from tcmax.metrics.softmax import Forecast, Logits, by_modality

JOINT_READOUTS = ("joint", "joint_entropy_gated", "joint_energy_weighted")
ENERGY_DIVISOR = 10.0


def entropy_weights(logits: Logits) -> NDArray[np.float64]:
    """ω^m = exp(−H(u^m)) / Σ_n exp(−H(u^n)): the decided modality counts more.

    logits (M, ..., classes), one modality per entry of the first axis; result (M, ...), positive, sum 1 over M, per
    item (no item depends on its neighbours in a batch). Raises ValueError for NaN or infinite logits or no modality.
    Source: MLA (arXiv 2311.10707), per-sample form. Oracle: scipy.special.softmax of scipy.stats.entropy.
    """
    weights = np.exp(-entropy(by_modality(logits)))  # H <= log C, so nothing underflows
    return np.asarray(weights / weights.sum(axis=0))


def energy_weights(logits: Logits) -> NDArray[np.float64]:
    """w^m = log Σ_c exp(u^m_c) / 10: the negative free energy of a modality's logits.

    logits (M, ..., classes) to (M, ...), not normalised. Negative where all logits lie below −log C, which turns the
    modality's vote round: count them. Raises ValueError for NaN or infinite logits or no modality.
    Source: QMF (arXiv 2306.02050). Oracle: scipy.special.logsumexp.
    """
    return by_modality(logits).log_z / ENERGY_DIVISOR


def entropy_gated(logits: Logits) -> NDArray[np.float64]:
    """Joint logits Σ_m ω^m u^m with `entropy_weights`; logits (M, ..., classes) to (..., classes).

    One modality gives its own logits back. Raises ValueError as `entropy_weights` does.
    """
    forecast = by_modality(logits)
    return _weighted(entropy_weights(forecast), forecast)


def energy_weighted(logits: Logits) -> NDArray[np.float64]:
    """Joint logits Σ_m w^m u^m with `energy_weights`; logits (M, ..., classes) to (..., classes).

    Grows with the square of the logits' scale, and rescaling one modality, or all, can change the predicted class.
    Raises ValueError as `energy_weights` does.
    """
    forecast = by_modality(logits)
    return _weighted(energy_weights(forecast), forecast)


def _weighted(weights: NDArray[np.float64], forecast: Forecast) -> NDArray[np.float64]:
    result: NDArray[np.float64] = np.einsum("m...,m...c->...c", weights, forecast.logits)
    return result
