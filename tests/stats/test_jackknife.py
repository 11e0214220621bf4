"""Oracles: each metric by scikit-learn on the items that are left, and DeLong's variance from all pairs."""

import itertools
import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, cohen_kappa_score, f1_score, roc_auc_score

from tcmax.stats.crossed import crossed
from tcmax.stats.jackknife import auroc, average_precision, cohen_kappa, macro_f1

RNG = np.random.default_rng(11)
LABELS = RNG.integers(0, 4, 60)
PREDICTED = np.where(RNG.random((3, 60)) < 0.6, LABELS, RNG.integers(0, 5, (3, 60)))  # class 4 is in no label
POSITIVE = RNG.random(60) < 0.4
SCORES = np.round(POSITIVE + RNG.normal(size=(3, 60)), 1)  # with ties
SCORES[1] = RNG.integers(0, 3, 60)


def deleted(metric, rows, truth):
    """Pseudo-values by leaving out each item in turn."""
    n, everything = len(truth), np.arange(len(truth))
    made = []
    for row in rows:
        left = np.array([metric(row[everything != i], truth[everything != i]) for i in everything])
        made.append(metric(row, truth) - (n - 1) * (left - left.mean()))
    return np.array(made)


CASES = {
    "macro F1": (macro_f1, lambda p, y: f1_score(y, p, average="macro", labels=range(4)), PREDICTED, LABELS),
    "kappa": (cohen_kappa, lambda p, y: cohen_kappa_score(y, p), PREDICTED, LABELS),
    "AUROC": (auroc, lambda s, y: roc_auc_score(y, s), SCORES, POSITIVE),
    "average precision": (average_precision, lambda s, y: average_precision_score(y, s), SCORES, POSITIVE),
}


@pytest.mark.parametrize("name", CASES)
def test_pseudo_values_are_those_of_deletion_by_hand(name):
    own, metric, rows, truth = CASES[name]
    found = own(rows, truth)
    np.testing.assert_allclose(found, deleted(metric, rows, truth), rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(found.mean(axis=1), [metric(row, truth) for row in rows], rtol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_rows_and_items_are_taken_as_they_come(name):
    own, _, rows, truth = CASES[name]
    order = np.random.default_rng(1).permutation(60)
    np.testing.assert_allclose(own(rows[::-1][:, order], truth[order]), own(rows, truth)[::-1][:, order], atol=1e-10)


def test_classes_may_be_words():
    words = np.array(["cat", "dog", "eel", "fox", "gnu"])
    np.testing.assert_array_equal(macro_f1(words[PREDICTED], words[LABELS]), macro_f1(PREDICTED, LABELS))
    np.testing.assert_array_equal(cohen_kappa(words[PREDICTED], words[LABELS]), cohen_kappa(PREDICTED, LABELS))


def delong(rows, positive):
    """Covariance of the areas of several runs on the same items (DeLong et al. 1988), from all pairs."""
    yes, no = np.flatnonzero(positive), np.flatnonzero(~positive)
    by_yes = np.array([[np.mean([kernel(r[i], r[j]) for j in no]) for i in yes] for r in rows])
    by_no = np.array([[np.mean([kernel(r[i], r[j]) for i in yes]) for j in no] for r in rows])
    return np.cov(by_yes) / len(yes) + np.cov(by_no) / len(no)


def kernel(x, y):
    return float(x > y) + 0.5 * float(x == y)


def test_the_variance_of_an_area_and_of_a_difference_of_areas_is_delongs():
    rng = np.random.default_rng(3)
    positive = rng.random(200) < 0.45
    first = positive + rng.normal(size=200)
    rows = np.stack([np.round(first + 0.5 * rng.normal(size=200), 1), first])
    values, expected = auroc(rows, positive), delong(rows, positive)
    for k in range(2):
        assert crossed(values[k : k + 1]).b == pytest.approx(expected[k, k], rel=0.02)
    of_difference = expected[0, 0] + expected[1, 1] - 2 * expected[0, 1]
    assert crossed(values[:1] - values[1:]).b == pytest.approx(of_difference, rel=0.02)


def test_with_groups_the_variance_is_that_over_groups_drawn_anew():
    rng = np.random.default_rng(4)
    found, spread = [], []
    for _ in range(150):
        groups = np.repeat(np.arange(40), 6)
        positive = rng.random(240) < 0.5
        scores = positive + rng.normal(size=40)[groups] + 0.6 * rng.normal(size=240)
        c = crossed(auroc(scores[np.newaxis], positive), groups)
        found.append(c.estimate)
        spread.append(c.b)
    assert math.sqrt(np.mean(spread)) == pytest.approx(np.std(found), rel=0.2)


def test_constant_shifts_of_scores_change_nothing_to_the_last_bit_that_counts():
    values = auroc(np.tile(SCORES[0], (4, 1)), POSITIVE)
    c = crossed(values)
    assert (c.a, c.e) == (0, 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: macro_f1(np.zeros(3), np.zeros(3)), "predictions"),
        (lambda: cohen_kappa(np.zeros((1, 4)), np.zeros(4)), "one class"),
        (lambda: cohen_kappa([[0, 0, 0, 1]], [0, 0, 0, 0]), "one class"),
        (lambda: auroc(np.zeros((1, 4)), [True, False, False, False]), "2 positives"),
        (lambda: auroc(np.zeros((1, 4)), [0, 1, 2, 1]), "true or false"),
        (lambda: average_precision([[np.nan, 0, 0, 0]], [0, 0, 1, 1]), "scores"),
    ],
)
def test_what_has_no_value_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_average_precision_of_a_perfect_and_of_a_reversed_ranking():
    perfect = average_precision(np.arange(8.0)[np.newaxis], np.arange(8) >= 5)
    np.testing.assert_allclose(perfect, 1.0)
    turned = average_precision(-np.arange(8.0)[np.newaxis], np.arange(8) >= 5)
    expected = np.mean([hits / place for hits, place in zip(itertools.count(1), (6, 7, 8))])
    assert turned.mean() == pytest.approx(expected)
