"""How far the modalities' predictions lie apart: the Jensen-Shannon divergence of M unimodal predictions.

Like entropy it depends on the scale of the logits: doubling them spreads the predictions without any change of
agreement. Read it beside its calibrated form, in which each modality is divided by its own temperature.
"""

import math
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tcmax.metrics.softmax import Logits, by_modality


def js_divergence(logits: Logits) -> NDArray[np.float64]:
    """JS = (1/M) Σ_m KL(p^m ‖ q), q = (1/M) Σ_m p^m, p^m = softmax(u^m): how much do modalities disagree on an item?

    logits (M, ..., classes), one modality per entry of the first axis, to (...), in nats, within [0, log M].
    0 for equal predictions (also for M = 1), log M where no class is shared. Computed in log space: a class that
    underflows to p = 0 contributes 0, and logits of ±1e4 are finite.
    Raises ValueError for NaN or infinite logits or no modality.
    Source: TCMax, Table 2 (its mean over test items). Oracle: scipy.spatial.distance.jensenshannon², mpmath.
    """
    forecast = by_modality(logits)
    log_p = forecast.log_p
    # log q = log Σ_m exp(log p^m) − log M, per class
    highest = log_p.max(axis=0)
    log_q = highest + np.log(np.exp(log_p - highest).sum(axis=0)) - math.log(len(log_p))
    divergence = np.einsum("m...c,m...c->...", forecast.p, log_p - log_q) / len(log_p)
    result: NDArray[np.float64] = np.clip(divergence, 0.0, js_bound(len(log_p)))  # rounding leaves the range by an ulp
    return result


def js_pairwise(logits: Logits) -> NDArray[np.float64]:
    """Mean of `js_divergence` over the M(M−1)/2 pairs of modalities; equal to it for M = 2.

    logits (M, ..., classes) to (...), in nats, within [0, log 2] whatever M is, which makes different M comparable.
    Raises ValueError as `js_divergence` does, and for fewer than two modalities.
    """
    values = by_modality(logits).log_p  # log-probabilities of log-probabilities are the same again
    if len(values) < 2:
        raise ValueError("pairs need at least two modalities")
    pairs = [js_divergence(values[[m, n]]) for m, n in combinations(range(len(values)), 2)]
    return np.asarray(np.mean(pairs, axis=0))


def js_bound(n_modalities: int) -> float:
    """Largest possible `js_divergence` of M modalities: log M, in nats (0.693 for two)."""
    if n_modalities < 1:
        raise ValueError(f"at least one modality is needed, got {n_modalities}")
    return math.log(n_modalities)


def to_bits(nats: ArrayLike) -> NDArray[np.float64]:
    """Nats to bits: divided by log 2."""
    return np.asarray(nats, dtype=np.float64) / math.log(2)
