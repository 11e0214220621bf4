"""Accuracy, balanced accuracy and macro F1 against scikit-learn, and at their limits."""

import numpy as np
import pytest
from sklearn import metrics

from tcmax.metrics.accuracy import accuracy, balanced_accuracy, macro_f1, predict


@pytest.fixture
def long_tailed() -> tuple[np.ndarray, np.ndarray]:
    """Four runs of predictions of 90 items, with a class of one item, one never true and one never predicted."""
    rng = np.random.default_rng(4)
    labels = np.r_[np.zeros(60, int), np.ones(25, int), np.full(4, 2), [4]]
    predicted = np.where(rng.random((4, 90)) < 0.6, labels, rng.integers(0, 4, size=(4, 90)))
    return predicted, labels


def test_all_three_agree_with_scikit_learn_in_every_run(long_tailed: tuple[np.ndarray, np.ndarray]) -> None:
    predicted, labels = long_tailed
    oracles = {
        accuracy: metrics.accuracy_score,
        balanced_accuracy: lambda y, p: np.mean(metrics.recall_score(y, p, labels=np.unique(y), average=None)),
        macro_f1: lambda y, p: metrics.f1_score(y, p, average="macro", zero_division=0),
    }
    for ours, theirs in oracles.items():
        np.testing.assert_allclose(ours(predicted, labels), [theirs(labels, run) for run in predicted], rtol=1e-14)
        assert float(ours(predicted[2], labels)) == pytest.approx(theirs(labels, predicted[2]))


def test_classes_of_equal_size_make_balanced_accuracy_the_accuracy() -> None:
    labels = np.repeat(np.arange(3), 10)
    predicted = np.random.default_rng(5).integers(0, 3, size=30)
    assert balanced_accuracy(predicted, labels) == pytest.approx(float(accuracy(predicted, labels)))


def test_naming_the_majority_class_scores_its_share_but_one_class_in_balance() -> None:
    labels = np.r_[np.zeros(90, int), np.ones(10, int)]
    majority = np.zeros(100, int)
    assert accuracy(majority, labels) == 0.9
    assert balanced_accuracy(majority, labels) == 0.5
    assert macro_f1(majority, labels) == pytest.approx((2 * 90 / (2 * 90 + 10)) / 2)


def test_all_right_is_one_and_all_wrong_is_zero() -> None:
    labels = np.array([0, 1, 2, 0])
    for metric in (accuracy, balanced_accuracy, macro_f1):
        assert metric(labels, labels) == 1
        assert metric((labels + 1) % 3, labels) == 0


def test_renaming_classes_changes_nothing(long_tailed: tuple[np.ndarray, np.ndarray]) -> None:
    predicted, labels = long_tailed
    renamed = np.array([3, 0, 4, 1, 2])
    for metric in (accuracy, balanced_accuracy, macro_f1):
        np.testing.assert_allclose(metric(renamed[predicted], renamed[labels]), metric(predicted, labels), rtol=1e-14)


def test_equal_logits_predict_the_first_class() -> None:
    assert predict([[1.0, 1.0, 1.0], [0.0, 2.0, 2.0]]).tolist() == [0, 1]


def test_accuracy_does_not_depend_on_the_scale_of_the_logits() -> None:
    logits = np.random.default_rng(6).normal(size=(40, 5))
    np.testing.assert_array_equal(predict(logits), predict(1e4 * logits))


@pytest.mark.parametrize(("predicted", "labels"), [([], []), ([0, 1], [0]), (0, 0), ([0, 1], [[0, 1]])])
def test_predictions_and_labels_that_do_not_fit_are_refused(predicted: object, labels: object) -> None:
    for metric in (accuracy, balanced_accuracy, macro_f1):
        with pytest.raises(ValueError, match="do not fit"):
            metric(predicted, labels)  # type: ignore[arg-type]
