"""A claim under other choices: combinations judged again longhand, and data on which one choice decides."""

import itertools

import numpy as np
import pytest
from scored import made_up, one_claim, write_items

from tcmax.audit.judging import RememberingBoard
from tcmax.audit.multiverse import (
    CHOICES,
    DEFINITIONS,
    Multiverse,
    Universe,
    audit_multiverse,
    multiverse_of,
    options_of,
)
from tcmax.audit.schema import load_claims
from tcmax.errors import TcmaxError
from tcmax.metrics import METRICS
from tcmax.records import kinds, parquet
from tcmax.stats.crossed import crossed_paired, crossed_unpaired, verdict_of

SEEDS, ITEMS = 6, 40
BASE = np.random.default_rng(1).normal(2, 1, ITEMS)


def scores(level, seed, noise=0.05):
    rng = np.random.default_rng(seed)
    return BASE + level + noise * rng.normal(size=(SEEDS, ITEMS)) + noise * rng.normal(size=(SEEDS, 1))


def written(tmp_path, by_dataset, **claim):
    """An experiment whose items are given as dataset -> variant -> column -> matrix, and its one claim."""
    for dataset, content in by_dataset.items():
        write_items(tmp_path / "made-up" / dataset, content, seeds=range(SEEDS))
    return made_up("ab", tuple(by_dataset), seeds=range(SEEDS)), one_claim(tmp_path, **{"selection": "last", **claim})


def judged(tmp_path, by_dataset, **claim):
    experiment, path = written(tmp_path, by_dataset, **claim)
    (claim,) = load_claims(path, experiment).claims
    boards = {name: RememberingBoard(experiment, name, tmp_path, "last") for name in by_dataset}
    return multiverse_of(claim, experiment, lambda dataset, selection: boards[dataset])


def two(a=0.3, b=0.0, calibrated=None, shift=0):
    found = {"a": {"nll.own": scores(a, 2 + shift)}, "b": {"nll.own": scores(b, 3 + shift)}}
    for variant, level in (calibrated or {}).items():
        found[variant]["nll_calibrated.own"] = scores(level, 4 + shift + ord(variant))
    return found


def test_every_reading_is_the_verdict_of_its_own_choices(tmp_path):
    data = {"one": two(0.13, shift=0), "two": two(0.17, shift=10)}
    data["two"]["a"]["nll.own"] += np.random.default_rng(8).normal(0, 0.6, ITEMS)  # the test items leave much open
    found = judged(tmp_path, data)
    assert found.universes[0].choices[1:] == (
        ("population", "both"),
        ("alpha", "0.05"),
        ("metric", "nll"),
        ("read-out", "own"),
        ("seeds", "paired"),
        ("datasets", "all"),
    )
    assert len(found.universes) == 2 * 2 * 2 * 3  # population, alpha, seeds, datasets
    for universe in found.universes:
        choices = dict(universe.choices)
        words = []
        for name, content in data.items():
            if choices["datasets"] == f"without {name}":
                continue
            compare = crossed_paired if choices["seeds"] == "paired" else crossed_unpaired
            c = compare(content["a"]["nll.own"], content["b"]["nll.own"])
            words.append(verdict_of(c, 0.0, choices["population"], float(choices["alpha"])))
        if set(words) == {"supported"}:
            assert universe.verdict == "supported"
        elif "contradicted" not in words:
            assert universe.verdict == "undetermined"
    assert len(found.counts) > 1
    assert found.by_option["population", "seeds"] != found.by_option["population", "both"]


def test_the_choice_that_decides_is_named(tmp_path):
    found = judged(tmp_path, {"one": two(1.0, 0.0, {"a": 0.0, "b": 1.0})})
    assert found.counts == {"supported": 8, "contradicted": 8}
    assert found.by_option["metric", "nll"] == (8, 8)
    assert found.by_option["metric", "nll_calibrated"] == (0, 8)
    assert found.by_option["alpha", "0.01"] == (4, 8)
    assert found.in_words == (
        "supported in 8 of 16 combinations, contradicted in 8; least often with metric nll_calibrated (0 of 8)"
    )


def test_a_clear_claim_survives_everything(tmp_path):
    found = judged(tmp_path, {"one": two(1.0), "two": two(1.0, shift=10)})
    assert found.agreeing == len(found.universes)
    assert found.in_words == f"supported in all {len(found.universes)} combinations"


def test_what_a_claim_is_about_is_not_varied(tmp_path):
    data = {"one": two()}
    for change, name, options in (
        ({"population": "items"}, "population", ("items",)),
        ({"population": "seeds"}, "population", ("seeds", "both")),
        ({"alpha": 0.1}, "alpha", ("0.1", "0.05", "0.01")),
        ({"metric": "brier"}, "metric", ("brier",)),
        ({"readout": "own"}, "read-out", ("own",)),
        ({"subject": "a", "rivals": "a", "readout": "own", "rival_readout": "joint"}, "seeds", ("paired",)),
        ({"seed_pairing": "independent"}, "seeds", ("independent", "paired")),
        ({"metric": "js"}, "read-out", ("all",)),
        ({}, "datasets", ("all",)),
    ):
        experiment, path = written(tmp_path, data, **change)
        (claim,) = load_claims(path, experiment).claims
        found = options_of(claim, experiment)
        assert list(found) == list(CHOICES)
        assert found[name] == options


def test_claims_about_datasets_in_general_keep_three(tmp_path):
    names = ("d1", "d2", "d3", "d4")
    data = {name: two(0.1, shift=10 * k) for k, name in enumerate(names)}
    experiment, path = written(tmp_path, data, quantifier="datasets in general")
    (claim,) = load_claims(path, experiment).claims
    assert options_of(claim, experiment)["datasets"] == ("all", *(f"without {name}" for name in names))
    experiment, path = written(tmp_path, {name: data[name] for name in names[:3]}, quantifier="datasets in general")
    (claim,) = load_claims(path, experiment).claims
    assert options_of(claim, experiment)["datasets"] == ("all",)


def test_definitions_are_metrics_of_one_unit_and_belong_to_one_idea():
    named = list(itertools.chain(*DEFINITIONS))
    assert len(named) == len(set(named))
    for group in DEFINITIONS:
        assert len({(METRICS[name].unit, METRICS[name].better) for name in group}) == 1


def test_shares_are_counted_over_readings_and_single_options_left_out():
    words = ("supported", "undetermined", "supported")
    found = Multiverse(
        "c",
        "supported",
        tuple(Universe((("alpha", str(k)), ("metric", "nll")), word) for k, word in enumerate(words)),
    )
    assert (found.agreeing, found.counts) == (2, {"supported": 2, "undetermined": 1})
    assert found.by_option == {("alpha", "0"): (1, 1), ("alpha", "1"): (0, 1), ("alpha", "2"): (1, 1)}
    assert found.least == (("alpha", "1"), (0, 1))


def test_the_record_holds_every_reading_with_its_choices(tmp_path):
    experiment, path = written(tmp_path, {"one": two(1.0, 0.0, {"a": 0.0, "b": 1.0})})
    (line,) = audit_multiverse(experiment, tmp_path, path)
    assert line.startswith("c: supported in 8 of 16 combinations, contradicted in 8")
    table = parquet.read(tmp_path / "made-up" / "multiverse.parquet", kinds.MULTIVERSE).to_pydict()
    assert len(table["claim"]) == 16 * len(CHOICES)
    first = dict(zip(table["choice"][: len(CHOICES)], table["option"], strict=False))
    assert first["alpha"] == "0.05"
    assert table["verdict"].count("contradicted") == 8 * len(CHOICES)


def test_a_metric_or_a_rule_that_the_records_do_not_hold_is_left_out(tmp_path):
    found = judged(tmp_path, {"one": two(1.0)})
    assert not any(
        option in ("nll_calibrated", "best_val", "joint") for u in found.universes for _, option in u.choices
    )
    assert len(found.universes) == 2 * 2 * 2


def test_without_the_claims_own_reading_there_is_no_multiverse(tmp_path):
    experiment, path = written(tmp_path, {"one": two(1.0)}, metric="brier")
    with pytest.raises(TcmaxError, match="brier"):
        audit_multiverse(experiment, tmp_path, path)
