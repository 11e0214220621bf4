"""The table of fair comparison, from runs that were really trained; time and memory stay out of CSV and LaTeX."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny

from tcmax.commands import analyse
from tcmax.data import DATASETS
from tcmax.experiment.grid import Experiment
from tcmax.records import kinds, parquet
from tcmax.records.files import read_json, write_json
from tcmax.registry import Entry
from tcmax.report.costs import costs, timings
from tcmax.report.report_records import ReportRecords
from tcmax.report.tables import Table, numbers
from tcmax.training import datasets, jobs

VARIANTS: dict[str, dict[str, Any]] = {
    "mla": {"method": "mla", "fidelity": "original"},
    "film": {"method": "joint", "head": "film"},
    "joint": {"method": "joint", "head": "concat", "title": "Joint-Concat"},
    "agm": {"method": "agm", "tuning_trials": 20},
    "cut": {"method": "joint", "head": "concat", "switches": {"protocol.file_order_split": True}},
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Experiment, Path]:
    """Four epochs of each variant on the tiny dataset, two seeds, scored."""
    results = tmp_path_factory.mktemp("costs")
    experiment = tiny.experiment(variants=VARIANTS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DATASETS.entries, "tiny", Entry("tiny:dataset"))
        for cell in experiment.cells():
            jobs.train_block(experiment, cell, 0, results)
        datasets.prepare(experiment, "tiny", results)
        analyse.score_dataset(experiment, "tiny", results)
    return experiment, results


def values(table: Table) -> dict[tuple[str, str, str], float]:
    rows = table.data.to_dict("records")
    return {(row["variant"], row["quantity"], row["of"]): row["value"] for row in rows}


def test_what_every_variant_was_allowed_and_did(trained: tuple[Experiment, Path]) -> None:
    found = values(costs(ReportRecords(*trained)))
    # 26 items in batches of 8; AGM scores every batch again, and a row of zeros, in the first three of four epochs.
    expected = {
        ("joint", "tuning_trials", ""): 0,
        ("joint", "epochs", ""): 4,
        ("joint", "train_items", ""): 26,
        ("joint", "validation_items", ""): 12,
        ("joint", "optimizer_steps", ""): 4,
        ("joint", "encoder_updates", "left"): 4,
        ("joint", "forward_passes", "right"): 4,
        ("joint", "backward_passes", ""): 4,
        ("joint", "data_passes", "left"): 1,
        ("agm", "tuning_trials", ""): 20,
        ("agm", "forward_passes", "left"): (3 * 12 + 4) / 4,
        ("agm", "data_passes", "left"): (3 * (2 * 26 + 4) + 26) / 4 / 26,
        ("mla", "optimizer_steps", ""): 8,
        ("mla", "encoder_updates", "left"): 8,
        ("mla", "encoder_updates", "right"): 4,
        ("cut", "train_items", ""): 30,
        ("cut", "validation_items", ""): 8,
    }
    assert {key: found[key] for key in expected} == pytest.approx(expected)


def test_assertion_40_the_scale_of_every_variants_logits(trained: tuple[Experiment, Path]) -> None:
    experiment, results = trained
    found = values(costs(ReportRecords(experiment, results)))
    for variant in VARIANTS:
        for modality in ("left", "right"):
            norms = []
            for seed in (0, 1):
                path = results / "tiny/tiny/fold_0" / variant / f"seed_{seed}" / "predictions_last.parquet"
                table = parquet.read(path, kinds.PREDICTIONS)
                test = table["split"].to_numpy(zero_copy_only=False) == "test"
                norms.append(np.sqrt((parquet.logits(table, modality)[test].astype(float) ** 2).sum(1)).mean())
            assert found[variant, "logit_scale", modality] == pytest.approx(np.mean(norms), rel=1e-6)


def test_the_table_shows_them_and_says_what_is_not_alike(trained: tuple[Experiment, Path]) -> None:
    table = costs(ReportRecords(*trained))
    (block,) = table.blocks
    cells = {
        row.variant: {c.title: cell for c, cell in zip(block.columns, row.cells, strict=True)} for row in block.rows
    }
    assert list(cells) == list(VARIANTS)
    assert cells["mla"]["updates"].text == "4 to 8"
    assert cells["mla"]["updates"].note == "left 8, right 4"
    assert cells["agm"]["data"].text == "1.87"
    assert table.notes == (
        "tiny: not alike in tuning trials: 0 for mla, film, joint and cut; 20 for agm.",
        "tiny: not alike in train items: 26 for mla, film, joint and agm; 30 for cut.",
        "tiny: not alike in validation items: 8 for cut; 12 for mla, film, joint and agm.",
    )
    assert numbers([table])["costs/encoder_updates/tiny/mla/left"] == "8"
    assert numbers([table])["costs/epochs/tiny/mla"] == "4"


@pytest.fixture
def timed(trained: tuple[Experiment, Path]) -> Callable[..., ReportRecords]:
    """ReportRecords after sidecars were given seconds by variant and seed."""

    def with_seconds(**changes: dict[str, Any]) -> ReportRecords:
        experiment, results = trained
        for variant in VARIANTS:
            for seed in (0, 1):
                path = results / "tiny/tiny/fold_0" / variant / f"seed_{seed}" / "sidecar.json"
                plain = {"seconds": 2.0 + 2 * seed, "peak_memory_mib": 100.0 + seed, "resumed_from_epoch": 0}
                change = changes.get(variant, {})
                write_json(path, {**read_json(path), **plain, **{k: v[seed] for k, v in change.items()}})
        return ReportRecords(experiment, results)

    return with_seconds


def test_overheads_are_relative_to_joint_concat_wherever_it_stands(timed: Callable[..., ReportRecords]) -> None:
    resumed = {"seconds": (1.5, 400.0), "resumed_from_epoch": (0, 2)}
    records = timed(agm={"seconds": (9.0, 6.0)}, mla=resumed)
    (found,) = timings(records)
    assert (found.baseline, found.machines) == ("Joint-Concat", 1)
    rows = {row.variant: (row.overhead, row.seconds, row.memory, row.timings) for row in found.rows}
    assert rows["joint"] == ("1.00", "3.00", "101", "1 timing")
    assert rows["agm"] == ("2.50", "7.50", "101", "1 timing")
    assert rows["mla"] == ("0.50", "1.50", "100", "1 timing")  # a resumed run did not measure the whole


def test_times_of_seeds_side_by_side_are_compared_with_their_like_only(timed: Callable[..., ReportRecords]) -> None:
    records = timed(agm={"seeds_together": (1, 1)}, mla={"seeds_together": (2, 1)})
    (found,) = timings(records)
    rows = {row.variant: (row.overhead, row.together, row.timings) for row in found.rows}
    assert rows["joint"] == ("1.00", "2", "1 timing")
    assert rows["agm"] == ("–", "1", "2 timings")
    assert rows["mla"] == ("–", "1, 2", "2 timings")


def test_without_joint_concat_the_first_joint_variant_is_the_baseline(trained: tuple[Experiment, Path]) -> None:
    _, results = trained
    for labels, title in ((("mla", "film"), "film"), (("mla", "agm"), "")):
        fewer = tiny.experiment(variants={label: VARIANTS[label] for label in labels})
        (found,) = timings(ReportRecords(fewer, results))
        assert found.baseline == title
        assert ({row.overhead for row in found.rows} == {"–"}) is (not title)


def test_other_machines_are_told_apart(timed: Callable[..., ReportRecords]) -> None:
    (found,) = timings(timed(agm={"hardware": ({"processor": "a"}, {"processor": "b"})}))
    assert found.machines == 3


def test_time_and_memory_change_no_byte_of_csv_and_latex(timed: Callable[..., ReportRecords]) -> None:
    found = []
    for changes in ({}, {label: {"seconds": (50.0, 60.0), "peak_memory_mib": (9.0, 9.0)} for label in VARIANTS}):
        records = timed(**changes)
        found.append((timings(records), costs(records).csv, costs(records).tex))
    assert found[0][0] != found[1][0]
    assert found[0][1:] == found[1][1:]


def test_what_was_not_recorded_is_a_dash(experiment: Experiment, results: Path, report: Path) -> None:
    """Results made elsewhere have no run folders and no counts."""
    table = costs(ReportRecords(experiment, results))
    (block,) = table.blocks
    for row in block.rows:
        texts = dict(zip((column.title for column in block.columns), (cell.text for cell in row.cells), strict=True))
        dashes = {title for title, text in texts.items() if text == "–"}
        assert dashes == {"train", "validation", "steps", "updates", "forward", "backward", "data"}
        assert texts["epochs"] == "3"
    assert timings(ReportRecords(experiment, results)) == ()
    page = (report / "report.html").read_text()
    assert "Fair comparison" in page
    assert "Time and memory" not in page
    assert (report / "tables" / "costs.csv").is_file()
