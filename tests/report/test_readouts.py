"""The table of joint read-outs against item scores, and the label of a lead that is the read-out's alone."""

from pathlib import Path

import numpy as np
import pytest
from small_report import DATASET, experiment_in, write_records

from tcmax.metrics.item_scores import ItemScores
from tcmax.report.readouts import readouts
from tcmax.report.report_records import ReportRecords
from tcmax.report.tables import Table, numbers

RULES = ("joint", "joint_entropy_gated", "joint_energy_weighted")
# v1 is ahead of v0 and v3 behind it under every rule. v2 has a strong and a misleading modality: energy weights favour
# the strong one, the plain sum does not.
OWN = {"v0": "joint", "v1": "joint_entropy_gated", "v2": "joint_energy_weighted", "v3": "joint_entropy_gated"}
SKILL = {"v0": 1.5, "v1": 2.4, ("v2", "left"): 3.0, ("v2", "right"): -0.5, "v3": 0.8}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[ReportRecords, ItemScores]:
    root = tmp_path_factory.mktemp("readouts")
    variants = {label: {"method": "joint", "title": label.upper()} for label in OWN}
    experiment = experiment_in(root, variants=variants, reference_variant="v0", claims=None)
    results = write_records(root, experiment, readouts=OWN, skill=SKILL)
    return ReportRecords(experiment, results), ItemScores.read(results / "small" / DATASET / "items.parquet")


def accuracy(items: ItemScores, variant: str, readout: str) -> float:
    return float(items.matrix(variant, "correct", readout).mean())


def cells(table: Table) -> dict[str, list[tuple[str, bool]]]:
    return {row.label: [(cell.text, cell.best) for cell in row.cells] for row in table.blocks[0].rows}


def test_assertion_37_every_variant_is_shown_under_all_three_read_outs(small: tuple[ReportRecords, ItemScores]) -> None:
    records, items = small
    table = readouts(records)
    assert [column.title for column in table.blocks[0].columns] == ["raw", "entropy-gated", "energy-weighted"]
    found = cells(table)
    for variant, own in OWN.items():
        expected = [(f"{100 * accuracy(items, variant, rule):.1f}", rule == own) for rule in RULES]
        assert found[variant.upper()] == expected
    key = f"accuracy/{DATASET}/v1/joint_energy_weighted"
    assert numbers([table])[key] == f"{100 * accuracy(items, 'v1', 'joint_energy_weighted'):.1f}"


def test_assertion_37_a_lead_that_only_the_read_out_gives_is_labelled(small: tuple[ReportRecords, ItemScores]) -> None:
    records, items = small
    labels = {row.variant: row.note for row in readouts(records).blocks[0].rows}
    expected = {}
    for variant, own in OWN.items():
        lead = {rule: accuracy(items, variant, rule) - accuracy(items, "v0", "joint") for rule in (own, "joint")}
        alone = own != "joint" and lead[own] > 0 >= lead["joint"]
        expected[variant] = "ahead of V0 by its read-out alone" if alone else ""
    assert labels == expected
    assert [variant for variant, label in expected.items() if label] == ["v2"], "the example must have both kinds"


def test_without_a_second_read_out_there_is_nothing_to_show(
    small: tuple[ReportRecords, ItemScores], tmp_path: Path
) -> None:
    """As of results made elsewhere that came without unimodal logits."""
    records, _ = small
    alone = ReportRecords(records.experiment, records.folder.parent)
    assert alone.evidence is not None
    joint_only = ~alone.evidence["readout"].isin(RULES[1:])
    alone.evidence = alone.evidence[joint_only | (alone.evidence["metric"] != "accuracy")]
    assert readouts(alone).empty


def test_what_no_run_holds_leaves_a_dash(small: tuple[ReportRecords, ItemScores]) -> None:
    records, _ = small
    holed = ReportRecords(records.experiment, records.folder.parent)
    assert holed.evidence is not None
    e = holed.evidence
    holed.evidence = e[~((e["a"] == "v2") & (e["readout"] == "joint_entropy_gated"))]
    assert cells(readouts(holed))["V2"][1] == ("–", False)
    assert np.isfinite([float(text) for text, _ in cells(readouts(holed))["V1"]]).all()
