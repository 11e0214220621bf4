"""Sentences from rows: with the labels of a file, or with the names and signs of a page."""

import pytest

from tcmax.audit import wording
from tcmax.evidence.wording import Names

PAGE = Names(str.upper, str.title, minus=" − ", sign="−")
ROW = {
    "a": "x",
    "a_variants": None,
    "b": "best of y, z",
    "b_variants": ["y", "z"],
    "metric": "accuracy",
    "readout": "own",
    "b_metric": None,
    "b_readout": None,
    "direction": None,
    "dataset": "toy",
    "n_datasets": 1,
}
VERDICT = {"quantifier": "each dataset", "verdict_removed": "undetermined", "verdict_at_chance": None}


def test_a_comparison_is_named_by_its_sides_and_where_it_stands():
    assert wording.component(VERDICT, ROW) == "x minus best of y, z on toy"
    assert wording.component(VERDICT, ROW, PAGE) == "X − best of Y, Z on Toy"
    several = {**ROW, "dataset": None, "n_datasets": 3}
    assert wording.component(VERDICT, several) == "x minus best of y, z, average of 3 datasets"
    general = {"quantifier": "datasets in general"}
    assert wording.component(general, several) == "x minus best of y, z, 3 datasets in general"


def test_an_association_is_named_by_its_metrics():
    row = {**ROW, "a": "x, y", "a_variants": ["x", "y"], "b": None, "b_metric": "js", "direction": "negative"}
    assert wording.component(VERDICT, row) == "-tau(accuracy, js) over 2 variants on toy"
    assert wording.component(VERDICT, row, PAGE) == "−tau(accuracy, js) over 2 variants on Toy"
    assert wording.component(VERDICT, {**row, "direction": "positive"}).startswith("tau(")


@pytest.mark.parametrize(
    ("need", "expected"),
    [
        (
            {"of": "seeds", "outcome": "supported", "n": 8, "at": 0.01},
            "supported with 8 seeds at a difference of 1.00 pp",
        ),
        (
            {"of": "seeds", "floor": 0.0035, "gap": 0.002},
            "no number of seeds (the test items leave ±0.35 pp, the margin is 0.20 pp away) at the observed difference",
        ),
        ({"of": "seeds", "floor": 0.0, "at": -0.02}, "no number of seeds at a difference of −2.00 pp"),
        (
            {"of": "items", "floor": 0.03, "gap": 0.01},
            "more test items, for ±3.00 pp is more than the 1.00 pp to the margin at the observed difference",
        ),
        ({"of": "datasets", "n": 7}, "7 datasets at this mean and spread"),
        ({"of": "datasets"}, "no number of datasets at this mean and spread"),
    ],
)
def test_what_would_decide_is_said_in_the_unit_of_the_claim(need, expected):
    row = {**dict.fromkeys(("n", "outcome", "at", "floor", "gap")), **need}
    assert wording.needed({**VERDICT, "unit": "proportion", "needed": [row]}, PAGE) == expected


def test_runs_that_diverged_come_before_all_else_that_is_needed():
    verdict = {**VERDICT, "verdict_at_chance": "supported", "needed": []}
    assert wording.needed(verdict) == "finished runs in place of the diverged ones"
    assert wording.needed({**verdict, "verdict_at_chance": "undetermined"}) == ""


def test_what_leaves_is_called_by_its_names():
    flips = [
        {"kind": "seed", "name": "3", "dataset": None, "verdict": "supported"},
        {"kind": "dataset", "name": "toy", "dataset": None, "verdict": "supported"},
        {"kind": "group", "name": "speaker toy", "dataset": "toy", "verdict": "supported"},
    ]
    assert [wording.left(flip, PAGE) for flip in flips] == ["seed 3", "dataset Toy", "speaker toy on Toy"]
    counts = {"left_out_seeds": 5, "left_out_groups": 0, "left_out_datasets": 10}
    assert wording.influence({**counts, "flips": []}) == "stays whichever of 5 seeds or 10 datasets leaves"
    many = wording.influence({**counts, "flips": flips[:1] * 8})
    assert many.endswith("and with 2 more; left out in turn: 5 seeds, 10 datasets")
