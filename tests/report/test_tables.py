import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from latex_files import needs_latex, pdf_text
from small_report import experiment_in

from tcmax.experiment.grid import Experiment
from tcmax.metrics.item_scores import ItemScores
from tcmax.records.files import write_json
from tcmax.report.build import tables
from tcmax.report.published import published_values
from tcmax.report.report_records import ReportRecords
from tcmax.report.tables import FIXED, comparisons, held_fixed, numbers, selection, table1, table2, table3
from tcmax.stats.crossed import crossed_proportion, interval
from tcmax.stats.ranking import rank_variants

DATASET = "digits-halves"


@pytest.fixture(scope="module")
def records(experiment: Experiment, results: Path) -> ReportRecords:
    return ReportRecords(experiment, results)


@pytest.fixture(scope="module")
def items(results: Path) -> ItemScores:
    return ItemScores.read(results / "small" / DATASET / "items.parquet")


def test_table_1_prints_the_mean_and_the_interval_for_new_seeds_and_new_items(
    records: ReportRecords, items: ItemScores
) -> None:
    table = table1(records)
    (block,) = table.blocks
    assert [column.title for column in block.columns] == ["left", "right", "own"]
    assert [row.label for row in block.rows] == ["Joint-Concat", "Unimodal ensemble", "TCMax-Concat"]
    for row, variant in zip(block.rows, ("joint", "unimodal", "tcmax"), strict=True):
        for cell, readout in zip(row.cells, ("left", "right", "own"), strict=True):
            both = interval(crossed_proportion(items.matrix(variant, "correct", readout)), "both")
            assert cell.text == f"{100 * both.estimate:.1f}"
            assert cell.spread == f"[{100 * both.low:.1f}, {100 * both.high:.1f}]"


def test_tie_groups_and_the_possible_best_are_those_of_the_ranking(records: ReportRecords, items: ItemScores) -> None:
    ranking = rank_variants({v: items.matrix(v, "correct", "own") for v in ("joint", "unimodal", "tcmax")})
    joint = [row.cells[-1] for row in table1(records).blocks[0].rows]
    letters = dict(zip(ranking.variants, ranking.letters, strict=True))
    assert [cell.letters for cell in joint] == [letters[v] for v in ("joint", "unimodal", "tcmax")]
    assert len(set(letters.values())) > 1
    assert [cell.best for cell in joint] == [v in ranking.top for v in ("joint", "unimodal", "tcmax")]


def test_a_divergence_has_no_best(records: ReportRecords) -> None:
    (block,) = table2(records).blocks
    assert not any(cell.best for row in block.rows for cell in row.cells)
    assert any(cell.letters for row in block.rows for cell in row.cells)


def test_table_3_has_both_conventions_of_the_entropy_ratio(records: ReportRecords, items: ItemScores) -> None:
    data = table3(records).data.set_index(["variant", "metric"])["estimate"]
    weak, strong = (
        sorted(items.modalities, key=lambda m: items.matrix(v, "correct", m).mean()) for v in ("unimodal", "joint")
    )
    entropy = {m: items.matrix("joint", "entropy", m).mean(axis=1) for m in items.modalities}
    assert data["joint", "entropy_ratio"] == pytest.approx((entropy[weak[0]] / entropy[weak[1]]).mean(), rel=1e-6)
    assert data["joint", "entropy_ratio_own"] == pytest.approx(
        (entropy[strong[0]] / entropy[strong[1]]).mean(), rel=1e-6
    )


def test_comparisons_name_their_family_and_the_attainable_p(records: ReportRecords) -> None:
    (block,) = comparisons(records).blocks
    headings = [heading for heading, _ in block.parts]
    assert headings == ["against Unimodal ensemble (Holm over 2 tests)", "against the best rival (Holm over 3 tests)"]
    assert block.rows[0].label == "Joint-Concat − Unimodal ensemble"
    assert block.rows[0].cells[3].text.endswith("(0.12)")  # four seeds cannot do better than 1/8


def test_choosing_on_the_test_items_is_never_worse(records: ReportRecords) -> None:
    data = selection(records).data
    assert list(data["variant"]) == ["joint", "unimodal", "tcmax"]
    np.testing.assert_allclose(data["optimism"], data["best_test_oracle"] - data["best_val"])


def test_captions_state_n_the_source_of_the_interval_and_the_correction(records: ReportRecords) -> None:
    for made in (table1(records), comparisons(records)):
        for words in ("4 seeds", "60 test items", "new seeds and new test items", "Holm", "held fixed"):
            assert words in made.caption.replace("\u00a0", " ")


def test_csv_has_one_row_per_number_with_its_source(records: ReportRecords) -> None:
    data = table1(records).data
    assert len(data) == 9
    assert set(data["population"]) == {"both"}
    assert set(data["n_items"]) == {60}
    read = pd.read_csv(__import__("io").StringIO(table1(records).csv))
    np.testing.assert_allclose(read["estimate"], data["estimate"].astype(float))


def test_every_number_of_the_tables_has_a_name(records: ReportRecords) -> None:
    named = numbers(tables(records))
    cell = table1(records).blocks[0].rows[2].cells[-1]
    assert named["accuracy/digits-halves/tcmax/own"] == cell.text
    low, high = (named[f"accuracy/digits-halves/tcmax/own/{name}"] for name in ("low", "high"))
    assert cell.spread == f"[{low}, {high}]"
    assert named["verdict/tcmax-is-elegant"] == "not testable"
    assert named["difference/digits-halves/tcmax-vs-unimodal/both"].startswith(("+", "−"))


@needs_latex
def test_every_table_compiles_inside_a_plain_article(records: ReportRecords, tmp_path: Path) -> None:
    body = "\n\n".join(table.tex for table in tables(records))
    text = " ".join(pdf_text(tmp_path, body, packages="booktabs").split())
    assert "TCMax-Concat" in text
    assert table1(records).blocks[0].rows[0].cells[0].text in text


def test_a_single_seed_has_numbers_but_no_interval(build, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("tcmax.report.build.figures", lambda records: [])
    monkeypatch.setattr(shutil, "which", lambda name: None)
    out = build(seeds=[0])
    data = pd.read_csv(out / "tables" / "table1.csv")
    assert data["estimate"].notna().all()
    assert data["low"].isna().all()
    assert data["notes"].str.contains("1 seeds cannot speak for new seeds").all()
    assert "±" not in (out / "tables" / "table1.tex").read_text().split("\\begin{tabular}")[1]
    page = (out / "report.html").read_text()
    assert "no interval" in page


def test_published_values_are_found_by_name_and_column(tmp_path: Path) -> None:
    variants = {
        "tcmax": {"method": "tcmax", "title": "TCMax (Concat)"},
        "mmpareto": {"method": "joint"},
        "ours": {"method": "joint", "title": "Not in print"},
    }
    datasets = {"crema-d": {"features": "crema.npz"}, "digits-halves": {}}
    experiment = experiment_in(tmp_path, variants=variants, datasets=datasets, reference_variant=None)
    found = published_values(experiment)
    assert found["crema-d", "tcmax", "accuracy", "own"].text == "82.8"
    assert found["crema-d", "mmpareto", "accuracy", "visual"].text == "75.7"
    assert found["crema-d", "tcmax", "accuracy", "own"].source == "TCMax paper, Table 1"
    assert {(dataset, variant) for dataset, variant, _, _ in found} == {("crema-d", "tcmax"), ("crema-d", "mmpareto")}


def test_captions_name_the_variants_whose_training_set_is_another_one(tmp_path: Path) -> None:
    experiment = experiment_in(tmp_path)
    raw = experiment.settings.model_dump()
    raw["variants"]["tcmax"]["fidelity"] = "release"
    mixed = replace(experiment, settings=type(experiment.settings).model_validate(raw))
    caption = "TCMax-Concat cuts its own validation part off the train list, as the release does"
    assert caption in held_fixed(ReportRecords(mixed, tmp_path))
    assert held_fixed(ReportRecords(experiment, tmp_path)) == FIXED
    facts = tmp_path / "small" / DATASET / "data.json"
    facts.parent.mkdir(parents=True)
    write_json(facts, {"official_validation": True})
    assert held_fixed(ReportRecords(mixed, tmp_path)) == FIXED
