"""How often the most probable class is the right one: plain, averaged over classes, and as F1.

All are proportions. On balanced test sets they tell the same story; on long-tailed ones plain accuracy is about the
large classes and the other two about all of them.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tcmax.metrics.softmax import Logits, checked


def predict(logits: Logits) -> NDArray[np.intp]:
    """The most probable class; logits (..., items, classes) to (..., items).

    Of several equal maxima the first class wins, as in the training frameworks: exact ties are rare in single
    precision, yet a model that has collapsed to constant logits then names class 0. Raises ValueError for NaN.
    """
    result: NDArray[np.intp] = checked(logits).argmax(axis=-1)
    return result


def accuracy(predicted: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]:
    """Share of items whose class is right: mean_i [ŷ_i = y_i].

    predicted (..., items) and labels (items,) integers; result (...), a proportion.
    Binomial over independent items: standard error √(p(1−p)/n), not to be trusted near 0 and 1.
    Raises ValueError for no items or unequal lengths. Oracle: sklearn.metrics.accuracy_score.
    """
    predicted, labels = _paired(predicted, labels)
    return np.asarray((predicted == labels).mean(axis=-1))


def balanced_accuracy(predicted: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]:
    """Mean over classes of the share of their items that is right: mean_c mean_{i: y_i = c} [ŷ_i = c].

    predicted (..., items) and labels (items,) integers; result (...), a proportion. Classes without test items are
    left out. A class with one item moves it by 1/classes, so small classes dominate its noise.
    Raises ValueError for no items or unequal lengths. Oracle: sklearn.metrics.balanced_accuracy_score.
    """
    predicted, labels = _paired(predicted, labels)
    right = predicted == labels
    recalls = [right[..., labels == c].mean(axis=-1) for c in np.unique(labels)]
    return np.asarray(np.stack(recalls, axis=-1).mean(axis=-1))


def macro_f1(predicted: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]:
    """Mean over classes of F1 = 2 TP / (2 TP + FP + FN).

    predicted (..., items) and labels (items,) integers; result (...), a proportion. The classes are those that occur
    among the labels or, per leading index, among the predictions; one that is predicted but never true counts as 0.
    No mean over items: its jackknife or bootstrap must recompute it. Biased for classes with few items.
    Raises ValueError for no items or unequal lengths. Oracle: sklearn.metrics.f1_score(average="macro").
    """
    predicted, labels = _paired(predicted, labels)
    total = np.zeros(predicted.shape[:-1])
    classes = np.zeros(predicted.shape[:-1])
    for c in np.union1d(labels, predicted):
        guessed, true = predicted == c, labels == c
        hits = (guessed & true).sum(axis=-1)
        either = guessed.sum(axis=-1) + true.sum()  # 2 TP + FP + FN
        total += np.where(either > 0, 2 * hits / np.maximum(either, 1), 0.0)
        classes += either > 0
    return np.asarray(total / classes)


def _paired(predicted: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    guesses, truth = np.asarray(predicted), np.asarray(labels)
    if truth.ndim != 1 or guesses.ndim < 1 or guesses.shape[-1] != len(truth) or not len(truth):
        raise ValueError(
            f"predictions (..., items) and labels (items,) do not fit: {guesses.shape} and {truth.shape}, "
            "and at least one item is needed"
        )
    return guesses, truth
