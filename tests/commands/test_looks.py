"""Looks at 4, 8 and 12 seeds: decided, capped by items, in need of seeds; and a record that cannot be rewritten."""

import json
import math

import numpy as np
import pytest
from scored import made_up, write_items

from tcmax.commands.looks import looks, looks_text
from tcmax.errors import TcmaxError
from tcmax.stats.crossed import crossed_paired, interval
from tcmax.stats.sequential import anytime_interval, spending_boundaries

PLAN = (4, 8, 12)
ITEMS = 300


def scores(alpha, seeds, seed_noise=0.0, item_noise=0.0, noise=0.1):
    rng = np.random.default_rng([7, round(alpha * 1000), round(seed_noise * 1000), round(item_noise * 1000)])
    per_seed = seed_noise * rng.normal(size=(12, 1))
    return (alpha + per_seed + item_noise * rng.normal(size=ITEMS) + noise * rng.normal(size=(12, ITEMS)))[:seeds]


def written(tmp_path, seeds):
    found = {
        "base": scores(0.0, seeds),
        "ahead": scores(0.5, seeds),
        "open": scores(0.15, seeds, seed_noise=0.1),
        "capped": scores(0.02, seeds, item_noise=1.0),
    }
    write_items(tmp_path / "made-up" / "toy", {k: {"nll.own": v} for k, v in found.items()}, seeds=range(seeds))
    return made_up(tuple(found), seeds=range(seeds), reference="base"), found


def test_each_state_is_reached_for_its_reason(tmp_path):
    experiment, matrices = written(tmp_path, 4)
    found = {look.a: look for look in looks(experiment, tmp_path, PLAN, "nll")}
    assert {name: look.state for name, look in found.items()} == {
        "ahead": "decided",
        "open": "needs more seeds",
        "capped": "more seeds are futile",
    }
    assert found["ahead"].why == "ahead is ahead"
    assert found["open"].why == "next look at 8"
    assert "the test items leave" in found["capped"].why
    expected = interval(
        crossed_paired(matrices["open"], matrices["base"]), "both", 2 * spending_boundaries(PLAN).p_values[0]
    )
    assert (found["open"].low, found["open"].high) == pytest.approx((expected.low, expected.high))
    assert found["open"].seeds_low is None
    text = looks_text(list(found.values()), "nll")
    assert "1 of 3 pairs need more seeds:\n  toy: open, base" in text


def test_the_last_look_asks_for_no_more(tmp_path):
    experiment, matrices = written(tmp_path, 12)
    found = {look.a: look for look in looks(experiment, tmp_path, (4, 8, 12), "nll")}
    assert found["capped"].state == "more seeds are futile"
    assert all(look.state != "needs more seeds" for look in found.values())
    expected = anytime_interval((matrices["ahead"] - matrices["base"]).mean(axis=1))
    assert (found["ahead"].seeds_low, found["ahead"].seeds_high) == pytest.approx((expected.low, expected.high))
    assert math.isfinite(found["ahead"].seeds_low)


def test_every_look_is_recorded_and_the_plan_cannot_change(tmp_path):
    for seeds in (4, 8):
        experiment, _ = written(tmp_path, seeds)
        looks(experiment, tmp_path, PLAN, "nll")
    record = json.loads((tmp_path / "made-up" / "looks.json").read_text())
    assert record["looks"] == [4, 8, 12]
    assert list(record["taken"]) == ["4", "8"]
    assert record["taken"]["8"]["alpha"] == pytest.approx(2 * spending_boundaries(PLAN).p_values[1])
    assert {pair["a"] for pair in record["taken"]["4"]["pairs"]} == {"ahead", "open", "capped"}
    before = (tmp_path / "made-up" / "looks.json").read_bytes()
    for plan, metric in (((4, 8, 16), "nll"), (PLAN, "accuracy")):
        with pytest.raises(TcmaxError, match="cannot change now"):
            looks(experiment, tmp_path, plan, metric)
    looks(experiment, tmp_path, PLAN, "nll")
    assert (tmp_path / "made-up" / "looks.json").read_bytes() == before


def test_what_cannot_be_looked_at_says_why(tmp_path):
    experiment, _ = written(tmp_path, 8)
    with pytest.raises(TcmaxError, match="lists 8 seeds, which is no look"):
        looks(experiment, tmp_path, (4, 12), "nll")
    with pytest.raises(TcmaxError, match="increasing numbers of seeds"):
        looks(experiment, tmp_path, (8, 4), "nll")
    with pytest.raises(TcmaxError, match="no scores of brier"):
        looks(experiment, tmp_path, PLAN, "brier")
    content = {"a": {"nll.own": scores(0.5, 8)[:7]}, "b": {"nll.own": scores(0.0, 8)}}
    write_items(tmp_path / "made-up" / "toy", content, seeds=range(8), diverged={"a": [3]})
    (look,) = looks(made_up("ab", seeds=range(8)), tmp_path, PLAN, "nll")
    assert (look.state, look.why) == (
        "cannot be looked at",
        "runs diverged, so that it has fewer seeds than the look",
    )
    assert "0 of 1 pairs need more seeds." in looks_text([look], "nll")
