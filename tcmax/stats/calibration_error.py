"""Calibration error without the bias of the usual one, and a test of calibration.

The expected calibration error sums |accuracy − confidence| over bins. Chance alone makes each term positive, so a
perfectly calibrated model shows an error too, and an interval around it hardly ever holds the true value 0. The
*squared* error has an unbiased estimate: what chance adds to a square is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["CalibrationTest", "calibration_test", "squared_calibration_error"]

Floats = NDArray[np.float64]

N_BINS = 15
BLOCK = 2**20


@dataclass(frozen=True)
class CalibrationTest:
    """error: the squared calibration error of one run; p_value: how often a calibrated model with these confidences
    shows as much, by `resamples` drawn answers."""

    error: float
    p_value: float
    n_items: int
    resamples: int


def squared_calibration_error(confidence: ArrayLike, correct: ArrayLike, n_bins: int = N_BINS) -> Floats:
    """Σ_b (n_b/I)·(accuracy_b − confidence_b)², less what chance adds to it: (seeds, items) pseudo-values.

    confidence   (seeds, items) in [0, 1]; correct (seeds, items) 0 or 1, or for any other statement its truth
    n_bins       of equal width, closed on the right

    With g = confidence − correct, a bin adds (T² − Σg²)/(n_b − 1)/I, T = Σg: the mean of the products of different
    items, times n_b/I. Its expectation is 0 for a calibrated model, whatever the bins and their numbers of items
    (Bröcker 2012; Kumar, Liang and Ma 2019), and it can be negative. A bin with one item adds nothing. The square root
    of a positive value is a calibration error in the unit of a probability.

    Meant for `crossed`, as the pseudo-values of `jackknife`. Near calibration the estimate is no longer normal and the
    interval errs on the wide side below; `docs/statistics.md` has coverages. Raises ValueError for other shapes or
    values, and fewer than 2 items. Oracle: products of all pairs, deletion by hand.
    """
    claimed, right = _checked(confidence, correct)
    n_items = claimed.shape[1]
    made = []
    for row, truth in zip(claimed, right, strict=True):
        gap, bins = row - truth, _bins(row, n_bins)
        n = np.bincount(bins, minlength=n_bins)
        total, squares = (np.bincount(bins, w, n_bins).astype(np.float64) for w in (gap, gap**2))
        own = _excess(n, total, squares)
        without = _excess(n[bins] - 1, total[bins] - gap, squares[bins] - gap**2)
        whole = own.sum()
        left_out = (whole - own[bins] + without) / (n_items - 1)
        change = left_out - left_out.mean()
        made.append(whole / n_items - (n_items - 1) * (change - change.mean()))
    return np.array(made)


def calibration_test(
    confidence: ArrayLike,
    correct: ArrayLike,
    rng: np.random.Generator,
    n_bins: int = N_BINS,
    resamples: int = 2_000,
) -> CalibrationTest:
    """Could a calibrated model with these confidences have answered like this? One run at a time.

    confidence (items,), correct (items,) as above. Answers are drawn right with probability `confidence`, item by item
    (consistency resampling, Bröcker and Smith 2007), and the share with at least the observed squared error is p, never
    0. Items are taken as independent: with groups p is too small. Not for several runs at once: they share their items.
    """
    claimed, right = (values[0] for values in _checked(np.atleast_2d(confidence), np.atleast_2d(correct)))
    bins = _bins(claimed, n_bins)
    member = (bins[:, np.newaxis] == np.arange(n_bins)).astype(np.float64)
    n = member.sum(axis=0)

    def errors(answers: Floats) -> Floats:
        gap = claimed - answers
        result: Floats = _excess(n, gap @ member, gap**2 @ member).sum(axis=-1) / len(claimed)
        return result

    observed = float(errors(right))
    hits, done, rows = 0, 0, max(1, BLOCK // len(claimed))
    while done < resamples:
        block = min(rows, resamples - done)
        drawn = (rng.random((block, len(claimed))) < claimed).astype(np.float64)
        hits += int(np.count_nonzero(errors(drawn) >= observed - 1e-12))
        done += block
    return CalibrationTest(observed, (1 + hits) / (1 + resamples), len(claimed), resamples)


def _checked(confidence: ArrayLike, correct: ArrayLike) -> tuple[Floats, Floats]:
    claimed, right = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    if claimed.ndim != 2 or claimed.shape != right.shape or claimed.shape[1] < 2 or not len(claimed):
        raise ValueError(
            f"need confidence and correct of one shape (seeds, items >= 2), got {claimed.shape}, {right.shape}"
        )
    if not ((claimed >= 0) & (claimed <= 1)).all() or not ((right == 0) | (right == 1)).all():
        raise ValueError("confidence lies in [0, 1] and correct is 0 or 1")
    return claimed, right


def _bins(confidence: Floats, n_bins: int) -> NDArray[np.intp]:
    return np.clip(np.ceil(confidence * n_bins).astype(np.intp) - 1, 0, n_bins - 1)


def _excess(n: NDArray[Any], total: Floats, squares: Floats) -> Floats:
    """n times the mean product of two different items of a bin; 0 under two items."""
    return np.where(n > 1, (total**2 - squares) / np.maximum(n - 1, 1), 0.0)
