"""The table of tuning: equal trials, their cost, what they chose, and the advice to widen a range."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny

from tcmax.commands import analyse
from tcmax.commands.tune import seal
from tcmax.data import DATASETS
from tcmax.experiment import tuning
from tcmax.experiment.grid import Experiment
from tcmax.metrics.item_scores import ItemScores
from tcmax.records import kinds, parquet
from tcmax.records.files import read_json, write_json
from tcmax.registry import Entry
from tcmax.report.costs import costs, timings
from tcmax.report.report_records import ReportRecords
from tcmax.report.tuning import curves, new_searches, searches
from tcmax.report.tuning_figures import search, stability
from tcmax.training import datasets, jobs
from tcmax.training.trials import score_trials, train_trials

VARIANTS: dict[str, dict[str, Any]] = {
    "joint": {"method": "joint", "head": "concat", "title": "Joint-Concat"},
    "mcr": {"method": "mcr"},
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Experiment, Path]:
    results = tmp_path_factory.mktemp("tuning")
    rates = {"learning_rate": {"low": 0.01, "high": 0.5, "scale": "log"}}
    experiment = tiny.experiment(variants=VARIANTS, tuning={"trials": 3, "training": rates})
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DATASETS.entries, "tiny", Entry("tiny:dataset"))
        for cell in experiment.cells():
            train_trials(experiment, cell, 0, 0, results)
        seal(experiment, results)
        for cell in experiment.cells():
            score_trials(experiment, cell, results)
            jobs.train_block(experiment, cell, 0, results)
        datasets.prepare(experiment, "tiny", results)
        analyse.score_dataset(experiment, "tiny", results)
    return experiment, results


def test_every_variant_has_equal_trials_with_their_steps_and_what_they_chose(trained: tuple[Experiment, Path]) -> None:
    table = searches(ReportRecords(*trained))
    rows = table.data.set_index(["variant", "parameter"])
    assert list(rows.index) == [("joint", "learning_rate"), ("mcr", "learning_rate"), ("mcr", "weight")]
    assert set(rows["trials"]) == {3}
    assert set(rows["steps"]) == {3 * 4 * 4}  # trials x epochs x batches
    chosen = {cell.variant: tuning.chosen(*trained, cell)[0].values for cell in trained[0].cells()}
    assert rows.loc[("mcr", "weight"), "chosen"] == chosen["mcr"]["parameters.weight"]
    assert "3 trials each (random), chosen on validation items, search held fixed" in table.caption


def test_a_value_at_the_edge_comes_with_the_advice_to_widen_its_range(
    trained: tuple[Experiment, Path], tmp_path: Path
) -> None:
    experiment, results = trained
    content = read_json(tuning.choices_path(experiment, results))
    content["cells"][0]["searches"][0] |= {"at_edge": {"learning_rate": "highest"}, "diverged": [2]}
    write_json(tmp_path / "tiny" / "choices.json", content)
    notes = searches(ReportRecords(experiment, tmp_path)).notes
    assert (
        "tiny: Joint-Concat chose the highest learning_rate tried: its range may be too short, widen it upwards."
        in notes
    )
    assert "tiny: 1 of 3 trials of Joint-Concat diverged; they count as trials." in notes


def test_the_fairness_table_counts_trials_and_time_stands_on_the_page_alone(trained: tuple[Experiment, Path]) -> None:
    records = ReportRecords(*trained)
    data = costs(records).data
    assert set(data.loc[data["quantity"] == "tuning_trials", "value"]) == {3.0}
    (of_tiny,) = timings(records)
    sidecars = list(trained[1].glob("tiny/tiny/fold_0/mcr/tuning/**/sidecar.json"))
    assert len(sidecars) == 3
    expected = sum(read_json(path)["seconds"] for path in sidecars)
    assert [row.tuning for row in of_tiny.rows if row.variant == "mcr"] == [f"{expected:,.1f}"]


def test_a_choice_that_is_not_sealed_leaves_an_empty_table_and_the_command(
    trained: tuple[Experiment, Path], tmp_path: Path
) -> None:
    records = ReportRecords(trained[0], tmp_path)
    assert searches(records).empty
    assert "tcmax tune tiny" in [missing.command for missing in records.missing]


def test_for_which_settings_verdicts_hold() -> None:
    def words(**changes: Any) -> str:
        return tuning.in_words(tiny.experiment(**changes))

    assert words() == "one learning rate for all, untuned"
    assert words(variants={"a": {"method": "joint", "tuning_trials": 3}}) == "settings as given"
    assert words(tuning={"trials": 16}) == "16 trials each (random), chosen on validation items, search held fixed"
    several = words(seeds=[0, 1, 2], tuning={"trials": 16, "searches": 3, "sampler": "sobol"})
    assert several == "3 searches of 16 trials each (sobol), chosen on validation items"


def test_curves_are_the_means_over_subsets_of_the_trials(trained: tuple[Experiment, Path]) -> None:
    experiment, results = trained
    data = curves(ReportRecords(experiment, results)).data.set_index(["variant", "trials"])
    for cell in experiment.cells():
        (entry,) = [e for e in tuning.read_choices(experiment, results)["cells"] if e["variant"] == cell.variant]
        validation = [trial["scores"][0] for trial in entry["searches"][0]["trials"]]
        listed = read_json(tuning.cell_folder(results, "tiny", cell) / "test.json")["runs"]
        test = [run["score"] for run in listed]
        assert [run["trial"] for run in listed] == [0, 1, 2]
        assert list(data.loc[cell.variant].index) == [1, 2, 3]
        assert data.loc[(cell.variant, 1), "test"] == pytest.approx(sum(test) / 3)
        assert data.loc[(cell.variant, 3), "validation"] == max(validation)
        first, whole = tiny.dataset(), results / "tiny/tiny/fold_0" / cell.variant / "tuning" / listed[0]["path"]
        table = parquet.read(whole, kinds.PREDICTIONS)
        right = parquet.logits(table, "joint").argmax(1) == first.labels[first.folds[0].test]
        assert test[0] == pytest.approx(right.mean())


def test_the_figure_of_a_search_draws_every_variants_curve(trained: tuple[Experiment, Path], tmp_path: Path) -> None:
    records = ReportRecords(*trained)
    figure = search(records, records.datasets[0])
    assert figure is not None
    assert set(figure.data["variant"]) == set(VARIANTS)
    assert "<svg" in figure.save(tmp_path)
    untuned = ReportRecords(tiny.experiment(variants=VARIANTS), trained[1])
    assert search(untuned, untuned.datasets[0]) is None
    assert stability(untuned) is None


def test_a_search_that_is_not_random_has_optimism_and_no_curve(
    trained: tuple[Experiment, Path], tmp_path: Path
) -> None:
    experiment, results = trained
    shutil.copytree(results, tmp_path / "results")
    sobol = tiny.experiment(
        variants=VARIANTS, tuning=experiment.settings.tuning.model_dump(mode="python") | {"sampler": "sobol"}
    )
    path = tuning.choices_path(experiment, tmp_path / "results")
    write_json(path, {**read_json(path), "tuning": tuning.as_recorded(sobol.settings.tuning)})
    table = curves(ReportRecords(sobol, tmp_path / "results"))
    assert [column.title for column in table.blocks[0].columns] == ["optimism"]


def test_several_searches_have_an_interval_for_new_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS.entries, "tiny", Entry("tiny:dataset"))
    experiment = tiny.experiment(
        variants={"joint": VARIANTS["joint"], "unimodal": {"method": "unimodal"}},
        seeds=list(range(7)),
        seeds_per_job=7,
        reference_variant="unimodal",
        tuning={"trials": 2, "searches": 3},
    )
    for cell in experiment.cells():
        for k in range(3):
            train_trials(experiment, cell, k, 0, tmp_path)
    seal(experiment, tmp_path)
    for cell in experiment.cells():
        jobs.train_block(experiment, cell, 0, tmp_path)
    analyse.score_dataset(experiment, "tiny", tmp_path)
    (row,) = new_searches(ReportRecords(experiment, tmp_path)).data.to_dict("records")
    items = ItemScores.read(tmp_path / "tiny" / "tiny" / "items.parquet")
    d = items.matrix("joint", "correct", "own", "last") - items.matrix("unimodal", "correct", "own", "last")
    by_search = [d[k::3].mean(axis=0) for k in range(3)]
    assert row["estimate"] == pytest.approx(np.mean([means.mean() for means in by_search]))
    assert (row["searches"], row["n_seeds"], row["n_items"]) == (3, 7, 13)
    assert row["low"] < row["estimate"] < row["high"]
