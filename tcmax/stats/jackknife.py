"""Metrics that are no item means, one pseudo-value per run and item: macro F1, AUROC, average precision, Cohen's kappa.

Each function gives (seeds, items) pseudo-values θ − (I − 1)·(θ₍₋ᵢ₎ − mean θ₍₋ⱼ₎), with θ₍₋ᵢ₎ the metric of a run
without item i (Tukey 1958), whose mean over items is the metric itself. `crossed.crossed` of them, or of the difference
of those of two methods, gives intervals for seeds, items and both; with groups it sums them within groups first, as for
item scores. What leaving an item out does is found in closed form, in the time that sorting takes.

The interval is a large-sample one: it needs some 30 items of the rarest class, and it is symmetric, so near 0 or 1 it
is too short (`docs/statistics.md` has the coverages).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["auroc", "average_precision", "cohen_kappa", "macro_f1"]

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]


def macro_f1(predicted: ArrayLike, labels: ArrayLike) -> Floats:
    """Mean over classes of F1_c = 2·TP_c / (items of c + predictions of c), one pseudo-value per run and item.

    predicted (seeds, items) and labels (items,) are classes, of any one type. Classes are those that occur in `labels`,
    so that all runs average over the same ones; one without items and predictions, as can be when its only item is left
    out, has F1 = 0. Raises ValueError for other shapes or fewer than 2 items. Oracle: scikit-learn on the items left.
    """
    rows, truth, classes = _classified(predicted, labels)
    n_classes = len(classes)
    items = np.bincount(truth, minlength=n_classes)
    made = []
    for row in rows:
        hit = row == truth
        claims = np.bincount(row[row < n_classes], minlength=n_classes)
        hits = np.bincount(truth[hit], minlength=n_classes)
        f1 = _ratio(2 * hits, items + claims)
        total = f1.sum()
        # Without item i: its class has one item less, and what it was taken for one prediction less.
        right = _ratio(2 * hits - 2, items + claims - 2) - f1  # both are one class
        missed = _ratio(2 * hits, items + claims - 1) - f1
        falsely = np.append(missed, 0.0)  # class codes beyond the last occur in no label and do not count
        change = np.where(hit, right[truth], missed[truth] + falsely[np.minimum(row, n_classes)])
        made.append(_shifted(total / n_classes, (total + change) / n_classes))
    return np.array(made)


def auroc(scores: ArrayLike, positive: ArrayLike) -> Floats:
    """Area under the ROC curve, P(score of a positive > that of a negative) + ½ P(equal), by pseudo-values.

    scores     (seeds, items) float, larger for positives; only their order counts
    positive   (items,) bool, with 2 positives and 2 negatives at least (ValueError)

    Several classes: the mean over classes of one-against-the-rest pseudo-values is their macro average. Up to a factor
    1 + O(1/I) the item variance is that of DeLong, DeLong and Clarke-Pearson (1988), and with groups that of Obuchowski
    (1997). Oracle: DeLong's formula by all pairs, deletion by hand.
    """
    values, yes = _scored(scores, positive)
    n_yes, n_no = int(yes.sum()), int((~yes).sum())
    made = []
    for row in values:
        everywhere, within = _mid_ranks(row), np.empty(len(row))
        within[yes], within[~yes] = _mid_ranks(row[yes]), _mid_ranks(row[~yes])
        beaten = everywhere - within  # how many of the other kind are below, ties half
        wins = np.where(yes, beaten, n_yes - beaten)
        total = wins[yes].sum()
        pairs_left = np.where(yes, (n_yes - 1) * n_no, n_yes * (n_no - 1))
        made.append(_shifted(total / (n_yes * n_no), (total - wins) / pairs_left))
    return np.array(made)


def average_precision(scores: ArrayLike, positive: ArrayLike) -> Floats:
    """Mean over positives of the precision among all items scored at least as high, by pseudo-values.

    scores, positive   as for `auroc`; equal scores share one threshold

    It depends on how common positives are, so new items stand for as many of them. Raises ValueError as `auroc` does.
    Oracle: scikit-learn on the items left.
    """
    values, yes = _scored(scores, positive)
    n_yes = int(yes.sum())
    made = []
    for row in values:
        order = np.argsort(-row, kind="stable")
        ranked, hit = row[order], yes[order]
        last = np.searchsorted(-ranked, -ranked, side="right")  # items scored at least as high
        first = np.searchsorted(-ranked, -ranked, side="left")
        found = np.cumsum(hit)[last - 1].astype(np.float64)
        precision = np.where(hit, found / last, 0.0)
        rest = np.maximum(last - 1, 1)
        without_other = np.where(hit, found / rest, 0.0)  # precision at a positive when a negative above it has left
        without_positive = np.where(hit, (found - 1) / rest, 0.0)
        above = np.append(0.0, np.cumsum(precision))[first]  # thresholds that the item is not part of
        below_other = without_other.sum() - np.append(0.0, np.cumsum(without_other))[first]
        below_positive = without_positive.sum() - np.append(0.0, np.cumsum(without_positive))[first] - without_positive
        left_out = np.empty(len(row))
        left_out[order] = np.where(hit, (above + below_positive) / (n_yes - 1), (above + below_other) / n_yes)
        made.append(_shifted(precision.sum() / n_yes, left_out))
    return np.array(made)


def cohen_kappa(predicted: ArrayLike, labels: ArrayLike) -> Floats:
    """Agreement beyond chance, κ = (p_o − p_e)/(1 − p_e), of each run with the labels, by pseudo-values.

    predicted (seeds, items), labels (items,): classes. p_o is the share of items on which they agree, p_e that
    expected from how often either names each class (Cohen 1960). Raises ValueError where one class is all that either
    names, also without one of the items: κ is then 0/0. Oracle: scikit-learn on the items left.
    """
    rows, truth, classes = _classified(predicted, labels)
    n = len(truth)
    made = []
    for row in rows:
        size = max(int(row.max()) + 1, len(classes))
        named, true = np.bincount(row, minlength=size), np.bincount(truth, minlength=size)
        hit = (row == truth).astype(np.int64)
        agreed, expected = int(hit.sum()), int(named @ true)
        agreed_left = agreed - hit
        expected_left = expected - true[row] - named[truth] + hit
        if expected == n**2 or (expected_left == (n - 1) ** 2).any():
            raise ValueError("kappa is not defined where both name one class only")
        whole = (n * agreed - expected) / (n**2 - expected)
        made.append(_shifted(whole, ((n - 1) * agreed_left - expected_left) / ((n - 1) ** 2 - expected_left)))
    return np.array(made)


def _classified(predicted: ArrayLike, labels: ArrayLike) -> tuple[Codes, Codes, NDArray[np.generic]]:
    """Codes of predictions and labels, classes of the labels first, and these classes."""
    rows, truth = np.asarray(predicted), np.asarray(labels)
    if rows.ndim != 2 or truth.shape != rows.shape[1:] or truth.size < 2 or not len(rows):
        raise ValueError(f"need predictions (seeds, items >= 2) and labels (items,), got {rows.shape}, {truth.shape}")
    classes, codes = np.unique(truth, return_inverse=True)
    others = np.setdiff1d(rows, classes)
    position = {value: k for k, value in enumerate([*classes.tolist(), *others.tolist()])}
    coded = np.array([[position[value] for value in row] for row in rows.tolist()], dtype=np.intp)
    return coded, codes.astype(np.intp), classes


def _scored(scores: ArrayLike, positive: ArrayLike) -> tuple[Floats, NDArray[np.bool_]]:
    values, yes = np.asarray(scores, dtype=np.float64), np.asarray(positive)
    if values.ndim != 2 or yes.shape != values.shape[1:] or np.isnan(values).any():
        raise ValueError(f"need scores (seeds, items) and positives (items,), got {values.shape} and {yes.shape}")
    if not np.isin(yes, (0, 1)).all():
        raise ValueError("positive is true or false for each item")
    yes = yes.astype(bool)
    if min(int(yes.sum()), int((~yes).sum())) < 2:
        raise ValueError(f"need 2 positives and 2 negatives, got {int(yes.sum())} and {int((~yes).sum())}")
    return values, yes


def _mid_ranks(values: Floats) -> Floats:
    """Ranks from 1, the mean one for equal values."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def _ratio(top: NDArray[np.intp], bottom: NDArray[np.intp]) -> Floats:
    return np.divide(top, bottom, out=np.zeros(len(top)), where=bottom > 0)


def _shifted(whole: float, left_out: Floats) -> Floats:
    """Pseudo-values whose mean is the metric. Centred twice: (I − 1) would make a rounding error of the mean large."""
    change = left_out - whole
    change -= change.mean()
    change -= change.mean()
    return whole - (len(change) - 1) * change
