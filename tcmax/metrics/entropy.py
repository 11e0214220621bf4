"""How undecided a read-out is, and how the weak modality compares with the strong one.

Entropy depends on the scale of the logits, which training objectives treat differently (TCMax anchors it,
cross-entropy does not): read it beside its temperature-calibrated form (`calibration.fit_temperature`).
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from tcmax.metrics.softmax import Logits, checked, forecast_of


def entropy(logits: Logits) -> NDArray[np.float64]:
    """H = −Σ_c p_c log p_c with p = softmax(u); logits (..., classes) to (...), in nats, within [0, log C].

    Terms with p = 0 contribute 0; finite for any finite logits. Raises ValueError for NaN or infinite logits.
    Source: TCMax, Table 3 (its mean over test items). Oracle: scipy.stats.entropy of scipy.special.softmax, mpmath.
    """
    forecast = forecast_of(logits)
    result: NDArray[np.float64] = -np.einsum("...c,...c->...", forecast.p, forecast.log_p)
    return np.clip(result, 0.0, np.log(forecast.p.shape[-1]))  # rounding leaves the range by an ulp


def logit_scale(logits: Logits) -> NDArray[np.float64]:
    """Euclidean norm of the logits, ‖u‖; logits (..., classes) to (...), no unit.

    Adding a constant to all classes changes it although no probability changes: it compares methods on one head.
    Raises ValueError for NaN or infinite logits. Oracle: numpy.linalg.norm.
    """
    values = checked(logits)
    result: NDArray[np.float64] = np.sqrt(np.einsum("...c,...c->...", values, values))
    return result


def weak_and_strong(accuracy: Mapping[str, float]) -> tuple[str, str]:
    """The modality with the lowest and the one with the highest accuracy; two different ones for two or more.

    Equal accuracies: the earlier modality is the strong one. Raises ValueError for fewer than two modalities.
    """
    if len(accuracy) < 2:
        raise ValueError(f"weak and strong are two modalities, got {len(accuracy)}")
    ranked = sorted(accuracy, key=lambda modality: -accuracy[modality])
    return ranked[-1], ranked[0]


def entropy_ratio(weak: float, strong: float) -> float | None:
    """ρ = H_weak / H_strong of mean entropies (nats); above 1 the weak modality is the less decided one.

    Which modality is weak is an assumption that can flip between methods, so ρ is reported twice: by the accuracies
    of a fixed reference variant and by the method's own. None where H_strong is 0. A ratio of means: over seeds,
    average numerator and denominator apart or bring the bias of a ratio along.
    Raises ValueError for a negative entropy. Source: TCMax, Table 3.
    """
    if weak < 0 or strong < 0:
        raise ValueError(f"entropies are not negative, got {weak} and {strong}")
    return weak / strong if strong > 0 else None
