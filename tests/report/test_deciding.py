"""A verdict is signed with the comparison that decided it."""

import numpy as np
import pytest
from scored import made_up, one_claim, write_items

from tcmax.audit.claims import audit_claims
from tcmax.report.cards import cards
from tcmax.report.report_records import ReportRecords
from tcmax.report.tables import verdicts

SEEDS, ITEMS = 5, 40


@pytest.fixture
def records(tmp_path):
    """`a` is ahead of b and of c by the same, to the last bit; only ahead of c is it uncertain."""
    rng = np.random.default_rng(3)
    a = rng.integers(0, 8, (SEEDS, ITEMS)) / 8  # whole multiples of 1/8, so that every sum is exact
    half = rng.integers(-16, 17, (SEEDS, ITEMS // 2)) / 8
    noisy = np.concatenate([half, -half], axis=1)
    steady = rng.permuted(np.tile([0.125, -0.125], (SEEDS, ITEMS // 2)), axis=1)
    steady += np.arange(-2, 3)[:, np.newaxis] / 64
    content = {"a": a, "b": a - 0.125 + steady, "c": a - 0.125 + noisy}
    experiment = made_up("abc", seeds=range(SEEDS))
    settings = experiment.settings.model_copy(update={"claims": "claims.yaml"})
    experiment = type(experiment)(experiment.path, settings)
    write_items(tmp_path / "made-up" / "toy", {v: {"nll.own": x} for v, x in content.items()}, seeds=range(SEEDS))
    audit_claims(experiment, tmp_path, one_claim(tmp_path, rivals=["b", "c"], relation="largest of"))
    return ReportRecords(experiment, tmp_path)


def test_a_tie_of_estimates_is_signed_with_the_comparison_that_decided(records):
    (verdict,) = records.judged
    against_b, against_c = (records.components[f"c|toy|a-vs-{rival}|both"] for rival in "bc")
    assert against_b["estimate"] == against_c["estimate"] == verdict["estimate"]
    assert against_b["low"] > 0 > against_c["low"]
    assert verdict["verdict"] == "undetermined"
    assert verdict["deciding"] == against_c["id"]
    (card,) = cards(records)
    assert card.component == "a − c on toy"
    assert [mark.name for mark in card.components.marks if mark.decides] == ["toy: a − c"]
    assert [mark.name for mark in card.plot.marks] == ["toy: a − c"]
    assert "of:a - c" in verdicts(records).data["signature"][0]
