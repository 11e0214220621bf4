"""Metrics that are no means over items, as jackknife pseudo-values whose mean is the metric."""

import numpy as np
from numpy.typing import NDArray

from tcmax.evidence.scores import Floats
from tcmax.metrics.calibration import N_BINS


def balanced_accuracy(correct: Floats, labels: NDArray[np.int64]) -> Floats:
    """(S, I) pseudo-values of the mean of the classes' accuracies, in closed form.

    Leaving out item i of class c changes that class alone, h_c/n_c -> (h_c − x_i)/(n_c − 1); a class with one item
    leaves with it.
    """
    classes, codes, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    hits = np.stack([np.bincount(codes, weights=row, minlength=len(classes)) for row in correct])
    per_class = hits / sizes
    whole = per_class.mean(axis=1, keepdims=True)
    n, k = sizes[codes], len(classes)
    changed = whole + ((hits[:, codes] - correct) / np.maximum(n - 1, 1) - per_class[:, codes]) / k
    dropped = (k * whole - correct) / max(k - 1, 1)
    return _shifted(whole, np.where(n > 1, changed, dropped))


def ece(confidence: Floats, correct: Floats) -> Floats:
    """(S, I) pseudo-values of the expected calibration error over equal-width bins of confidence, in closed form.

    With g_b the sum of confidence − correctness in bin b, ECE = Σ|g_b|/I; leaving an item out changes its bin alone.
    """
    gap = confidence - correct
    n_items = gap.shape[1]
    bins = np.clip(np.ceil(confidence * N_BINS).astype(np.intp) - 1, 0, N_BINS - 1)
    sums = np.stack([np.bincount(b, weights=g, minlength=N_BINS) for b, g in zip(bins, gap, strict=True)])
    total = np.abs(sums).sum(axis=1, keepdims=True)
    own = np.take_along_axis(sums, bins, axis=1)
    return _shifted(total / n_items, (total - np.abs(own) + np.abs(own - gap)) / (n_items - 1))


def ratio(numerator: Floats, denominator: Floats) -> Floats:
    """(S, I) pseudo-values of Σ numerator / Σ denominator. Raises ValueError where that divides by zero."""
    top, bottom = numerator.sum(axis=1, keepdims=True), denominator.sum(axis=1, keepdims=True)
    if np.any(bottom - denominator == 0) or np.any(bottom == 0):
        raise ValueError("the ratio is not defined: the entropy of the stronger modality is 0")
    return _shifted(top / bottom, (top - numerator) / (bottom - denominator))


def _shifted(whole: Floats, left_out: Floats) -> Floats:
    """θ − (I − 1)(θ₍₋ᵢ₎ − mean θ₍₋ⱼ₎): jackknife pseudo-values whose mean is θ."""
    result: Floats = whole - (left_out.shape[1] - 1) * (left_out - left_out.mean(axis=1, keepdims=True))
    return result
