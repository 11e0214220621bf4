"""Two variants over repeated random splits: the corrected t, and designs it is not for."""

import math

import numpy as np
import pytest
import scipy.stats
from scored import made_up, write_items

from tcmax.commands.splits import compare_splits, splits_text
from tcmax.errors import TcmaxError
from tcmax.records.files import write_json

N_ITEMS, N_TEST = 200, 40


def written(folder, tested, train=140, folds=1):
    """Item scores of a and b, two seeds each, on the items that each split tests; returns the mean differences."""
    rng = np.random.default_rng(4)
    names = tuple(f"split-{k}" for k in range(len(tested)))
    differences = []
    for name, rows in zip(names, tested, strict=True):
        b = rng.normal(0.4, 0.1, (2, len(rows)))
        a = b + rng.normal(0.05, 0.05) + rng.normal(0, 0.02, (2, len(rows)))
        items = [f"clip-{row:03d}" for row in sorted(rows)]
        write_items(folder / "made-up" / name, {"a": {"nll.own": a}, "b": {"nll.own": b}}, seeds=(0, 1), items=items)
        sizes = {"train": train, "val": N_ITEMS - train - len(rows), "test": len(rows)}
        write_json(folder / "made-up" / name / "data.json", {"n_items": N_ITEMS, "folds": [sizes] * folds})
        differences.append((a - b).mean())
    return made_up("ab", datasets=names, seeds=(0, 1)), differences


def random_tests(n=6):
    rng = np.random.default_rng(1)
    return [rng.choice(N_ITEMS, N_TEST, replace=False) for _ in range(n)]


def test_random_splits_get_the_variance_of_nadeau_and_bengio(tmp_path):
    experiment, d = written(tmp_path, random_tests())
    found = compare_splits(experiment, tmp_path, "a", "b", "nll")
    mean = sum(d) / 6
    spread = sum((x - mean) ** 2 for x in d) / 5
    error = math.sqrt((1 / 6 + 40 / 140) * spread)
    half = scipy.stats.t.ppf(0.975, 5) * error
    c = found.corrected
    assert (c.estimate, c.low, c.high) == pytest.approx((mean, mean - half, mean + half))
    assert c.p_value == pytest.approx(2 * scipy.stats.t.sf(abs(mean) / error, 5))
    assert found.plain.p_value == pytest.approx(scipy.stats.ttest_1samp(d, 0).pvalue)
    assert (found.n_train, found.n_test, found.fewest_seeds) == (140, 40, 2)
    text = splits_text(found)
    assert "a - b, Negative log-likelihood, 6 random splits of 140 training and 40 test items" in text
    assert "for new training sets and test sets of these sizes" in text
    turned = compare_splits(experiment, tmp_path, "b", "a", "nll")
    assert turned.corrected.estimate == pytest.approx(-c.estimate)


@pytest.mark.parametrize(
    ("tested", "folds", "message"),
    [
        (random_tests(2), 1, "are 2 datasets, and 3 splits are the fewest"),
        (np.arange(N_ITEMS).reshape(5, 40), 1, "test sets share no item, as in cross-validation"),
        ([np.arange(40)] * 4, 1, "all test sets are the same"),
        ([np.arange(k, 40 + k) for k in range(4)], 1, "test sets share 38.3 items on average, random ones 8.0"),
        (random_tests(3), 2, "a dataset has folds, whose test sets are disjoint"),
        ([*random_tests(3), np.arange(50)], 1, "datasets differ in their numbers of items"),
        (random_tests(3), 1, "nobody says how many items were trained on"),
    ],
)
def test_other_designs_are_refused_with_the_reason(tmp_path, tested, folds, message):
    experiment, _ = written(tmp_path, list(tested), folds=folds)
    if "nobody" in message:
        for path in tmp_path.glob("made-up/*/data.json"):
            write_json(path, {"n_items": N_ITEMS, "folds": [{"train": "not stated", "test": N_TEST}]})
    with pytest.raises(TcmaxError, match="repeated random splits of the same items only") as error:
        compare_splits(experiment, tmp_path, "a", "b", "nll")
    assert message in str(error.value)


def test_unknown_names_are_refused(tmp_path):
    experiment, _ = written(tmp_path, random_tests(3))
    for variant, metric, message in (
        ("c", "nll", "there is no variant 'c'; known: a, b"),
        ("b", "luck", "there is no metric 'luck'"),
        ("b", "brier", "has no scores of brier"),
    ):
        with pytest.raises(TcmaxError, match=message):
            compare_splits(experiment, tmp_path, "a", variant, metric)
