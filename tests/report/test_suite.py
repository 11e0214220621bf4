from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_report import experiment_in, write_records

from tcmax import __version__
from tcmax.metrics.item_scores import ItemScores
from tcmax.report import figures
from tcmax.report.costs import costs
from tcmax.report.readouts import readouts
from tcmax.report.report_records import ReportRecords
from tcmax.report.signature import signature
from tcmax.report.suite import in_practice, standings, suite_scores
from tcmax.report.suite_figures import gains, improvement, profiles, ranks
from tcmax.report.tables import comparisons, numbers, selection, table1, verdicts
from tcmax.stats.ranking import rank_variants

VARIANTS = ("joint", "unimodal", "tcmax")


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[ReportRecords, list[ItemScores]]:
    """Two datasets with six seeds."""
    root = tmp_path_factory.mktemp("suite")
    datasets = {"digits-halves": {"title": "Halves"}, "digits-noisy": {"title": "Noisy"}}
    encoder = {"encoder": {"name": "mlp", "hidden": [4]}}
    experiment = experiment_in(root, seeds="0-5", datasets={name: {**d, **encoder} for name, d in datasets.items()})
    results = write_records(root, experiment)
    return ReportRecords(experiment, results), [
        ItemScores.read(results / "small" / d / "items.parquet") for d in datasets
    ]


def test_rank_sets_and_the_possible_best_are_those_of_the_ranking(two: tuple[ReportRecords, list[ItemScores]]) -> None:
    records, items = two
    table = standings(records)
    rows = {row.variant: row.cells for row in table.blocks[0].rows}
    told_apart = 0
    for k, of in enumerate(items):
        found = rank_variants({v: of.matrix(v, "correct", "own") for v in VARIANTS})
        for variant, low, high in zip(found.variants, found.rank_low, found.rank_high, strict=True):
            assert rows[variant][k].text == (str(low) if low == high else f"{low}–{high}")
            assert rows[variant][k].best == (variant in found.top and len(found.top) < 3)
            told_apart += high - low < 2
    assert told_apart
    macros = numbers([table])
    assert macros["rank/digits-halves/joint/low"] in "123"


def test_the_interquartile_mean_is_that_of_runs_above_their_datasets_mean(
    two: tuple[ReportRecords, list[ItemScores]],
) -> None:
    records, items = two
    runs = {v: [of.matrix(v, "correct", "own").mean(axis=1) for of in items] for v in VARIANTS}
    centres = [np.mean([runs[v][k].mean() for v in VARIANTS]) for k in range(2)]
    data = standings(records).data
    for variant in VARIANTS:
        values = sorted(np.concatenate([runs[variant][k] - centres[k] for k in range(2)]))
        row = data[(data["quantity"] == "interquartile mean") & (data["variant"] == variant)].iloc[0]
        assert row["estimate"] == pytest.approx(np.mean(values[3:9]))
        assert row["low"] <= row["estimate"] <= row["high"]


def test_the_matrix_and_the_profiles_count_runs(two: tuple[ReportRecords, list[ItemScores]]) -> None:
    records, items = two
    matrix, curves = improvement(records), profiles(records)
    assert matrix is not None
    assert curves is not None
    first = matrix.data.set_index(["a", "b"]).loc[("tcmax", "joint"), "estimate"]
    won = []
    for of in items:
        x, y = (of.matrix(v, "correct", "own").mean(axis=1) for v in ("tcmax", "joint"))
        won.append(np.mean([1.0 if i > j else 0.5 if i == j else 0.0 for i in x for j in y]))
    assert first == pytest.approx(np.mean(won))
    by_variant = curves.data.groupby("variant")["share"]
    assert (by_variant.first() == 1).all()
    assert by_variant.last().min() == 0
    assert all(part.is_monotonic_decreasing for _, part in by_variant)


def test_the_diagram_says_what_a_suite_of_the_papers_size_could_show(
    two: tuple[ReportRecords, list[ItemScores]],
) -> None:
    figure = ranks(two[0])
    assert figure is not None
    assert "14 variants on 5 datasets would have to differ by 8.9 of 13 ranks" in figure.caption


def test_gains_are_differences_of_mean_accuracies_and_a_star_follows_holm(
    two: tuple[ReportRecords, list[ItemScores]], tmp_path: Path
) -> None:
    records, items = two
    reference, joint = gains(records)
    assert [figure.title for figure in (reference, joint)] == [
        "Over Unimodal ensemble",
        "Over joint learning with the same head",
    ]
    assert set(zip(reference.data["a"], reference.data["b"], strict=True)) == {
        ("joint", "unimodal"),
        ("tcmax", "unimodal"),
    }
    assert set(zip(joint.data["a"], joint.data["b"], strict=True)) == {("tcmax", "joint")}
    accuracies = {
        d.id: {v: of.matrix(v, "correct", "own") for v in VARIANTS}
        for d, of in zip(records.datasets, items, strict=True)
    }
    drawn = set()
    for figure in (reference, joint):
        figure.save(tmp_path)
        texts = (tmp_path / f"{figure.name}.svg").read_text(encoding="utf-8")
        for _, row in figure.data.iterrows():
            d = accuracies[row["dataset"]][row["a"]] - accuracies[row["dataset"]][row["b"]]
            few = d.shape[1] - max(np.mean(np.sum(d == v, axis=1)) for v in (-1, 0, 1)) < 10
            shrunk = d.shape[1] / (d.shape[1] + 2) if few else 1  # one item won and one lost are added to few that tell
            expected = 100 * shrunk * d.mean()
            assert row["points"] == pytest.approx(expected)
            assert row["low"] < row["points"] < row["high"]
            star = row["p_adjusted"] <= 0.05
            drawn.add(star)
            places = 1 if abs(expected) >= 9.95 else 2
            number = f"{abs(expected):.{places}f}" + ("*" if star else "")
            assert f"+{number}<" in texts if expected > 0 else f"{number}<" in texts
    assert True in drawn


def test_a_gain_that_holm_does_not_decide_has_no_star(
    two: tuple[ReportRecords, list[ItemScores]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def undecided(*asked: str) -> pd.DataFrame:
        return found(*asked).assign(p=0.001, p_adjusted=0.06)

    found = two[0].comparisons
    monkeypatch.setattr(two[0], "comparisons", undecided)
    assert all("*<" not in figure.save(tmp_path) for figure in gains(two[0]))


def test_of_many_curves_the_first_the_reference_and_families_have_a_colour(
    two: tuple[ReportRecords, list[ItemScores]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    records = two[0]
    plain = figures.training(records, records.datasets[0])
    assert plain is not None
    assert "Grey" not in plain.caption
    monkeypatch.setattr(figures, "MOST_CURVES", 2)
    few = figures.training(records, records.datasets[0])
    assert few is not None
    assert "Grey: 1 further method, without bands" in few.caption
    assert few.data.equals(plain.data)
    text = few.save(tmp_path)
    assert "Joint-Concat" in text
    assert "Unimodal ensemble" in text
    assert "TCMax-Concat" not in text


def test_practical_equality_is_asked_from_ten_datasets_on() -> None:
    runs = [np.array([0.01 * k, 0.01 * k + 0.004]) for k in range(10)]
    suite = {"Base": runs, "Same": [r + 0.001 for r in runs], "Better": [r + 0.05 for r in runs]}
    intro, same, better = in_practice(suite, "Base", "e")
    assert "10 datasets" in intro
    assert "± 1 pp" in intro
    assert same == "Same against Base: better 0 %, practically equal 100 %, worse 0 %"
    assert better.startswith("Better against Base: better 100 %")
    (refused,) = in_practice({v: r[:9] for v, r in suite.items()}, "Base", "e")
    assert refused.endswith("from 10 datasets on; here are 9.")
    assert in_practice(suite, None, "e") == ()
    assert in_practice({}, "Base", "e") == ()


def test_one_dataset_is_no_suite_and_few_seeds_have_no_interval(tmp_path: Path) -> None:
    experiment = experiment_in(tmp_path, seeds="0-3")
    records = ReportRecords(experiment, write_records(tmp_path, experiment))
    assert suite_scores(records) == {}
    assert improvement(records) is None
    assert gains(records) == []
    assert profiles(records) is None
    assert [group for group, _ in standings(records).blocks[0].groups] == ["Halves"]


def test_every_number_can_print_its_line(two: tuple[ReportRecords, list[ItemScores]]) -> None:
    records, items = two
    data = table1(records).data
    assert data["signature"].is_unique
    row = records.estimate("digits-halves", "accuracy", "own", "tcmax")
    assert row is not None
    n = len(items[0].items)
    expected = ["metric:accuracy", "of:tcmax", "interval:95%", "population:seeds+items", "seeds:6", f"items:{n}"]
    assert set(expected) <= set(signature(row).split(" | "))
    assert "correction:none" in signature(row)
    lines = comparisons(records).data["signature"]
    assert lines.str.contains(r"correction:holm \(each variant with unimodal", regex=True).any()
    assert lines.str.contains("pairing:paired").all()
    by_name = {
        "readouts": readouts(records).data,
        "standings": standings(records).data,
        "selection": selection(records).data,
        "costs": costs(records).data,
        "verdicts": verdicts(records).data.dropna(subset=["estimate"]),
    }
    for name, table in by_name.items():
        assert table["signature"].str.startswith("metric:").all(), name
        assert table["signature"].str.contains(f"version:{__version__}", regex=False).all(), name
        assert table["signature"].str.contains(r"seeds:\d", regex=True).all(), name
    (accuracy_first, *_) = by_name["readouts"]["signature"]
    assert "interval:95%" in accuracy_first
    ranks = by_name["standings"].groupby("quantity")["signature"].first()
    assert "interval:95% for all ranks together | population:seeds+items | estimator:set of ranks" in ranks["rank"]
    assert "correction:holm (" in ranks["rank"]
    assert "estimator:interquartile mean over runs | seeds:6" in ranks["interquartile mean"]
    assert "selection:last, best_val, best_test_oracle" in by_name["selection"]["signature"].iloc[0]
    assert "estimator:as set" in by_name["costs"].set_index("quantity")["signature"]["epochs"].iloc[0]
    verdict = by_name["verdicts"].iloc[0]
    assert f"seeds:{int(verdict['n_seeds'])} " in verdict["signature"]
    assert "population:seeds+items" in verdict["signature"]
    bare = signature({**row.to_dict(), "low": None, "n_diverged": 2})
    assert "interval:none" in bare
    assert "diverged:2" in bare
