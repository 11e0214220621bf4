"""Planning from runs that exist: the right comparison enters, and what cannot be decided is said."""

import math
import re

import numpy as np
import pytest
from scipy import stats
from scored import made_up, write_items

from tcmax.commands.power import power_plan, power_text
from tcmax.errors import TcmaxError
from tcmax.stats.crossed import crossed_paired

RNG = np.random.default_rng(3)
SEEDS, ITEMS = 6, 200


def correct(alpha, seeds=SEEDS):
    difficulty = np.random.default_rng(1).normal(size=ITEMS) + RNG.normal(size=ITEMS)  # shared, and the method's own
    return (alpha + difficulty + RNG.normal(size=(seeds, ITEMS)) + 0.3 * RNG.normal(size=(seeds, 1)) > 0).astype(float)


@pytest.fixture
def scored(tmp_path):
    scores = {label: {"correct.own": correct(alpha)} for label, alpha in (("a", 1.0), ("b", 0.8), ("c", 0.9))}
    write_items(tmp_path / "made-up" / "toy", scores, seeds=range(SEEDS))
    return tmp_path, {label: matrix["correct.own"] for label, matrix in scores.items()}


def test_every_variant_is_planned_against_the_reference(scored):
    results, _ = scored
    rows = power_plan(made_up("abc", seeds=range(SEEDS), reference="b"), results, 0.01)
    assert [(row.a, row.b) for row in rows] == [("a", "b"), ("c", "b")]
    assert [(row.a, row.b) for row in power_plan(made_up("abc", seeds=range(SEEDS)), results, 0.01)] == [
        ("a", "b"),
        ("a", "c"),
        ("b", "c"),
    ]


def test_a_row_rests_on_the_paired_variance_parts(scored):
    results, matrices = scored
    row = power_plan(made_up("abc", seeds=range(SEEDS), reference="b"), results, 0.05)[0]
    c = crossed_paired(matrices["a"], matrices["b"])
    assert row.observed == pytest.approx(float(matrices["a"].mean() - matrices["b"].mean()))
    assert (row.seed_part**2 + row.item_part**2, row.n_seeds, row.n_items) == (
        pytest.approx(c.variance),
        SEEDS,
        ITEMS,
    )
    # Simulated from the formulas: a, b and e are multiples of chi-squares, independent of the difference.
    n, rng, df = 40_000, np.random.default_rng(0), (SEEDS - 1, ITEMS - 1, (SEEDS - 1) * (ITEMS - 1))
    means = (c.a or c.e, c.b, c.e)
    a, b, e = (mean * rng.chisquare(k, n) / k for mean, k in zip(means, df, strict=True))
    a0 = np.maximum(a, e)
    v = a0 + np.maximum(b - e, 0)
    nu = np.maximum(v**2 / (a0**2 / df[0] + b**2 / df[1]), df[0])
    half = np.max([stats.t.ppf(0.975, k) * np.sqrt(x) for x, k in ((v, nu), (a, df[0]), (b, df[1]))], axis=0)
    by_hand = np.mean(0.05 + math.sqrt(c.variance) * rng.standard_normal(n) > half)
    assert row.power == pytest.approx(by_hand, abs=0.01)


def test_a_gain_below_the_limit_never_gets_a_number_of_seeds(scored):
    results, _ = scored
    experiment = made_up("abc", seeds=range(SEEDS), reference="b")
    small = power_plan(experiment, results, 0.001)[0]
    assert small.seeds is not None
    assert small.seeds.n_seeds is None
    assert small.seeds.limit > 0.001
    assert f"never < {100 * small.seeds.limit:.2f}" in power_text([small], 0.001)
    large = power_plan(experiment, results, 2 * small.seeds.limit)[0]
    assert large.seeds is not None
    assert large.seeds.n_seeds is not None
    assert large.type_m < small.type_m


def test_one_seed_cannot_be_planned_from(tmp_path):
    scores = {label: {"correct.own": correct(1.0, seeds=1)} for label in "ab"}
    write_items(tmp_path / "made-up" / "toy", scores, seeds=[0])
    rows = power_plan(made_up("ab", seeds=[0], reference="b"), tmp_path, 0.01)
    assert rows[0].reason == "1 seeds cannot speak for new seeds; at least 3 are needed"
    assert rows[0].reason in power_text(rows, 0.01)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"gain": 0.0}, "the smallest gain of interest must be above 0, not 0"),
        ({"gain": 0.01, "power": 1.0}, "the power asked for lies between 0 and 1"),
        ({"gain": 0.01, "metric": "speed"}, "there is no metric 'speed'"),
        ({"gain": 0.01, "metric": "nll"}, "items.parquet has no scores of nll"),
    ],
)
def test_bad_questions_get_a_sentence(scored, arguments, sentence):
    with pytest.raises(TcmaxError, match=re.escape(sentence)):
        power_plan(made_up("abc", seeds=range(SEEDS), reference="b"), scored[0], **arguments)
