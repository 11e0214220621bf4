"""The audit of the seed papers' tables reproduces the published list of inconsistencies, item by item."""

import json
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from projects import ROOT

from tcmax.audit.findings import Finding
from tcmax.audit.printed_tables import OverlapSentence, ValueSentence, load_table
from tcmax.audit.published import PublishedAudit, audit_table, run, to_json, to_text
from tcmax.audit.sentences import check_sentence
from tcmax.errors import TcmaxError

PUBLISHED = ROOT / "config" / "published"
TABLES = (
    "tcmax_table1",
    "tcmax_table2_js",
    "tcmax_table3_entropy",
    "tcmax_table4_mvsa",
    "tcmax_table5_mvsa_ci",
    "tcmax_table6_regression",
    "confu_birds",
)


@cache
def audit(name: str) -> PublishedAudit:
    return audit_table(PUBLISHED / f"{name}.csv")


def item(table: str, label: str, kind: str | None = None, **numbers: float) -> Finding:
    """The only finding with this label (and kind, and these computed numbers)."""
    found = [
        finding
        for finding in audit(table).of_item(label)
        if (kind is None or finding.kind == kind)
        and all(finding.numbers.get(name) == value for name, value in numbers.items())
    ]
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize(
    ("label", "table", "strength"),
    [(label, "tcmax_table1", "certain") for label in ("A1", "A2", "A3", "A4", "A5", "A6", "A7", "A8", "A9", "C1", "C3")]
    + [
        ("C6", "tcmax_table1", "likely"),
        ("C7", "tcmax_table2_js", "certain"),
        ("D1", "tcmax_table5_mvsa_ci", "certain"),
    ],
)
def test_each_listed_disagreement_is_found_with_its_strength(label: str, table: str, strength: str):
    found = [f for f in audit(table).of_item(label) if f.outcome == "disagrees"]
    assert found
    assert {f.strength for f in found} == {strength}


def test_a1_no_cell_of_table_1_is_77_6():
    finding = item("tcmax_table1", "A1")
    assert (finding.numbers["matches"], finding.numbers["matches_anywhere"]) == (0, 0)
    assert "82.8 (TCMax (Concat)), 82.7 (TCMax (Share Head))" in finding.sentence


def test_a2_share_head_on_vggsound_is_47_5_and_gains_1_3():
    finding = item("tcmax_table1", "A2")
    assert finding.numbers["gain"] == pytest.approx(1.3)
    assert "TCMax (Share Head) is 47.5 in the table, not 47.6" in finding.sentence


def test_a3_six_earlier_rows_are_above_mmpareto_on_crema_d():
    finding = item("tcmax_table1", "A3")
    assert finding.numbers["rows_above"] == 6
    assert finding.numbers["best"] == 82.1
    assert finding.numbers["gain TCMax (Share Head)"] == pytest.approx(0.6)
    assert finding.numbers["gain TCMax (Concat)"] == pytest.approx(0.7)
    assert "Unimodal Ensemble 82.1, QMF 81.4, MLA 81.0, OGM-GE + OPM 80.3, OPM 79.4, OGM-GE 75.2" in finding.sentence


def test_a4_two_earlier_rows_are_above_mmpareto_on_ave_and_qmf_above_tcmax():
    finding = item("tcmax_table1", "A4")
    assert finding.numbers["rows_above"] == 2
    assert "QMF 65.1, OGM-GE + OPM 63.3" in finding.sentence
    assert finding.numbers["gain TCMax (Share Head)"] == pytest.approx(-0.6)


def test_a5_unimodal_ensemble_is_above_mmpareto_on_vggsound():
    finding = item("tcmax_table1", "A5")
    assert (finding.numbers["rows_above"], finding.numbers["best"]) == (1, 46.3)


def test_a6_four_datasets_are_audio_visual_and_none_is_image_text():
    finding = item("tcmax_table1", "A6")
    assert (finding.numbers["printed"], finding.numbers["count"]) == (5, 4)
    assert "none is image-text" in finding.sentence


def test_a7_about_19000_clips_are_17269():
    assert item("tcmax_table1", "A7").numbers == {"first": 19000, "second": 17269}


def test_a8_13294_test_clips_are_15446():
    assert item("tcmax_table1", "A8").numbers == {"first": 13294, "second": 15446}


def test_a9_the_listed_entry_mixes_the_two_heads():
    finding = item("tcmax_table1", "A9")
    assert (finding.numbers["matched"], finding.numbers["values"], finding.numbers["common_rows"]) == (4, 5, 0)
    assert {(cell.dataset, cell.method) for cell in finding.cells} == {
        ("VGGSound", "TCMax (Concat)"),
        ("Kinetics-Sounds", "TCMax (Share Head)"),
        ("AVE", "TCMax (Share Head)"),
        ("UCF101", "TCMax (Share Head)"),
    }


def test_c1_the_best_multimodal_score_fails_on_ave_only():
    finding = item("tcmax_table1", "C1")
    assert finding.computed == "fails"
    assert (finding.numbers["held"], finding.numbers["datasets"]) == (4, 5)
    assert "AVE: QMF 65.1 against 64.5" in finding.sentence


def test_c3_two_second_best_cells_carry_no_mark():
    found = audit("tcmax_table1").of_item("C3")
    assert {(f.cells[0].dataset, f.cells[0].method, f.numbers["value"]) for f in found} == {
        ("Kinetics-Sounds", "Unimodal Ensemble", 45.8),
        ("VGGSound", "Unimodal Ensemble", 26.7),
    }
    others = [f for f in audit("tcmax_table1").findings if f.kind.startswith("mark_") and f not in found]
    assert not others


def test_c5_a_full_batch_of_32_has_1024_pairs():
    assert item("tcmax_table1", "C5").numbers == {"first": 256, "second": 1024}


def test_c6_the_only_cell_where_a_part_beats_the_whole():
    finding = item("tcmax_table1", "C6")
    assert (finding.numbers["cases"], finding.numbers["difference"]) == (1, pytest.approx(1.3))
    assert finding.printed == "Multi 74.4, Visual 75.7"


def test_c7_the_second_mark_of_vggsound_is_shared_by_opm():
    finding = item("tcmax_table2_js", "C7")
    assert finding.kind == "mark_shared"
    assert [cell.method for cell in finding.cells] == ["OPM", "TCMax (Concat)"]
    assert finding.numbers["value"] == 0.513


def test_c9_no_interval_for_any_of_210_cells():
    assert item("tcmax_table1", "C9").numbers["cells"] == 210


@pytest.mark.parametrize(
    ("dataset", "gap_low", "gap_high", "t", "df"),
    [("RN50", 0.0, 0.04, 3.32, 17.6), ("ViT-B/32", 0.90, 0.94, 13.0, 18.0)],
)
def test_d1_non_overlap_is_re_read(dataset: str, gap_low: float, gap_high: float, t: float, df: float):
    finding = next(
        f
        for f in audit("tcmax_table5_mvsa_ci").of_item("D1")
        if f.kind == "sentence_overlap" and f.cells[0].dataset.endswith(dataset)
    )
    assert (finding.numbers["gap_low"], finding.numbers["gap_high"]) == pytest.approx((gap_low, gap_high))
    assert finding.numbers["t"] == pytest.approx(t, abs=0.05)
    assert finding.numbers["df"] == pytest.approx(df, abs=0.05)
    assert finding.numbers["joint_coverage"] == pytest.approx(0.9506, abs=1e-4)


def test_d1_three_readings_with_the_documents_own_marked():
    tests = [f for f in audit("tcmax_table5_mvsa_ci").of_item("D1") if f.kind == "spread_test"]
    assert len(tests) == 6
    own = [f for f in tests if "the document's own definition" in f.sentence]
    assert [f.id.rpartition("/")[2] for f in own] == ["ci95", "ci95"]
    assert own[0].numbers["p"] == pytest.approx(0.004, abs=0.0005)
    assert own[0].numbers["p_low"] < own[0].numbers["p"] < own[0].numbers["p_high"]
    assert own[1].numbers["p"] < 1e-9


def test_d1_the_item_noise_of_519_items_is_larger_than_the_gap():
    noise = [f for f in audit("tcmax_table5_mvsa_ci").of_item("D1") if f.kind == "gap"]
    vit = next(f for f in noise if f.cells[0].dataset.endswith("ViT-B/32"))
    assert vit.numbers["se"] == pytest.approx(1.6, abs=0.02)
    assert all(f.numbers["se"] > f.numbers["gap"] for f in noise)


@pytest.mark.parametrize(
    ("dataset", "gap", "items", "se", "in_se", "unpaired", "discordance", "rival"),
    [
        ("CREMA-D", 0.7, 5.2, 1.38, 0.51, 0.35, 0.95, "Unimodal Ensemble"),
        ("Kinetics-Sounds", 0.8, 20.8, 0.95, 0.85, 0.60, 4.34, "MMPareto"),
        ("AVE", -0.6, -2.4, 2.39, -0.25, -0.18, 0.38, "QMF"),
        ("VGGSound", 1.3, 172.8, 0.43, 3.00, 2.12, 58.5, "Unimodal Ensemble"),
        ("UCF101", 0.1, 3.8, 0.81, 0.12, 0.09, 0.0995, "MMPareto"),
    ],
)
def test_d2_gaps_against_item_noise(dataset, gap, items, se, in_se, unpaired, discordance, rival):
    finding = next(f for f in audit("tcmax_table1").of_kind("gap") if f.cells[0].dataset == dataset)
    assert finding.item == "D2"
    assert finding.cells[1].method == rival
    n = finding.numbers
    assert n["gap"] == pytest.approx(gap)
    assert n["items"] == pytest.approx(items, abs=0.05)
    assert n["se"] == pytest.approx(se, abs=0.006)
    assert n["gap_in_se"] == pytest.approx(in_se, abs=0.006)
    assert n["gap_in_unpaired_se"] == pytest.approx(unpaired, abs=0.006)
    assert n["discordance_percent"] == pytest.approx(discordance, rel=0.01)
    assert n["break_even_seed_sd"] == pytest.approx(abs(gap) / 2.267, rel=1e-3)
    assert ("no pairing of single runs reaches 5 %" in finding.sentence) == (dataset in ("AVE", "UCF101"))


def test_d2_three_of_four_wins_are_inside_one_standard_error():
    finding = item("tcmax_table1", "D2", "wins_within_noise")
    assert (finding.numbers["within"], finding.numbers["wins"]) == (3, 4)
    assert "VGGSound" not in finding.sentence


def test_d3_grim_is_silent_on_all_of_table_1():
    found = audit("tcmax_table1").of_item("D3")
    assert len(found) == 5
    assert {f.outcome for f in found} == {"silent"}
    assert sum(f.numbers["cells"] for f in found) == 190
    singles = {f.id.split("/")[1]: f.numbers["single_run_reachable"] for f in found}
    assert (singles["CREMA-D"], singles["AVE"]) == (669, 362)
    assert {singles[name] for name in ("Kinetics-Sounds", "VGGSound", "UCF101")} == {900}


def test_d4_519_is_supported_as_likely():
    finding = item("tcmax_table5_mvsa_ci", "D4", "denominator", n_items=519)
    assert (finding.numbers["reached"], finding.numbers["cells"]) == (16, 18)
    assert finding.numbers["chance"] == pytest.approx(0.001, abs=0.0003)
    assert finding.strength == "likely"
    assert "77.16 (0.008 off), 74.27 (0.007 off), of which rounding each run to 1 decimal first explains 2" in (
        finding.sentence
    )
    rows = {f.numbers["n_items"]: f for f in audit("tcmax_table5_mvsa_ci").of_kind("denominator")}
    assert {n: f.numbers["reached"] for n, f in rows.items()} == {
        450: 6, 451: 9, 452: 12, 453: 7, 518: 7, 519: 16, 520: 10, 902: 18, 903: 16, 973: 18, 974: 18,
    }  # fmt: skip
    assert max((450, 451, 452, 453, 518, 520), key=lambda n: rows[n].numbers["log_likelihood"]) == 452
    assert rows[519].numbers["log_likelihood"] - rows[452].numbers["log_likelihood"] > 10


def test_d4_three_spreads_do_not_fit_integer_counts():
    finding = item("tcmax_table5_mvsa_ci", "D4", "spread_counts")
    assert (finding.numbers["failed"], finding.numbers["cells"]) == (3, 18)
    assert finding.strength == "weak"


@pytest.mark.parametrize(
    ("method", "dataset", "ratio", "low", "high"),
    [
        ("Concat", "CREMA-D", 2.916, 2.911, 2.921),
        ("Share Head", "CREMA-D", 6.679, 6.659, 6.700),
        ("Unimodal Ensemble", "CREMA-D", 2.331, 2.326, 2.336),
        ("Concat", "UCF101", 1.802, 1.801, 1.804),
        ("Share Head", "UCF101", 1.857, 1.855, 1.859),
        ("Unimodal Ensemble", "UCF101", 1.367, 1.366, 1.368),
    ],
)
def test_d5_ratios_of_table_3_are_consistent(method, dataset, ratio, low, high):
    finding = next(
        f
        for f in audit("tcmax_table3_entropy").of_item("D5")
        if f.cells[0].method == method and f.cells[0].dataset == dataset
    )
    assert finding.outcome == "agrees"
    assert finding.strength == "certain"
    assert (finding.numbers["ratio"], finding.numbers["low"], finding.numbers["high"]) == pytest.approx(
        (ratio, low, high), abs=6e-4
    )


def test_d6_only_655_reaches_both_mosi_accuracies():
    rows = {f.numbers["n_items"]: f for f in audit("tcmax_table6_regression").of_kind("denominator")}
    assert {n: f.numbers["reached"] for n, f in rows.items() if n < 1000} == {655: 2, 656: 0, 685: 1, 686: 0}
    assert rows[655].strength == "weak"
    assert rows[4659].outcome == "silent"
    scan = item("tcmax_table6_regression", "D6", "denominator_scan")
    assert scan.numbers["full"] / scan.numbers["sizes"] == pytest.approx(0.10, abs=0.005)


def test_d6_correlations_lie_above_the_reference_range_and_errors_near_its_top():
    found = [f for f in audit("tcmax_table6_regression").of_item("D6") if f.kind == "reference_range"]
    above = [f for f in found if f.outcome == "disagrees"]
    assert {f.cells[0].column for f in above} == {"pearson_r"}
    assert len(above) == 2
    assert {f.strength for f in above} == {"likely"}
    assert all(f.numbers["position"] > 0.8 for f in found if f.cells[0].column == "mae")


def test_c12_the_mosi_gain_is_six_items():
    finding = item("tcmax_table6_regression", "C12")
    assert finding.numbers["gap"] == pytest.approx(0.91)
    assert finding.numbers["items"] == pytest.approx(6, abs=0.1)


def test_table_4_repeats_table_5():
    finding = item("tcmax_table4_mvsa", "table-4-is-table-5")
    assert (finding.outcome, finding.numbers) == ("agrees", {"shared": 18, "different": 0})


@pytest.mark.parametrize("name", TABLES)
def test_identifiers_are_unique_and_sentences_end(name: str):
    ids = [finding.id for finding in audit(name).findings]
    assert len(ids) == len(set(ids))
    assert all(finding.sentence.endswith(".") for finding in audit(name).findings)


@pytest.mark.parametrize("name", TABLES)
def test_the_text_fits_100_columns_and_holds_every_item(name: str):
    text = to_text(audit(name))
    assert max(map(len, text.splitlines())) <= 100
    flat = re.sub(r"\s+", " ", text)
    for finding in audit(name).findings:
        if finding.kind != "gap":
            assert re.sub(r"\s+", " ", finding.sentence) in flat
    assert "supported" not in text
    assert "contradicted" not in text


@pytest.mark.parametrize("name", TABLES)
def test_equal_inputs_give_equal_bytes_and_json_that_reads_back(name: str):
    again = audit_table(PUBLISHED / f"{name}.csv")
    assert to_json(again) == to_json(audit(name))
    content = json.loads(to_json(again))
    assert len(content["findings"]) == len(again.findings)
    assert content["sha256"] == again.sha256


def test_run_writes_json_or_text_by_the_name_of_the_file(tmp_path: Path):
    table = PUBLISHED / "tcmax_table3_entropy.csv"
    result = run(table, out=tmp_path / "audit.json")
    assert (tmp_path / "audit.json").read_text() == to_json(result)
    run(table, out=tmp_path / "audit.txt")
    assert (tmp_path / "audit.txt").read_text() == to_text(result)


FOREIGN = """method,dataset,column,value,pm,n_seeds,n_items
baseline,X,test,81.2,0.4,5,1000
new,X,test,82.0,0.3,5,1000
new,Y,test,55.1,,5,200
baseline,Y,test,55.1,,5,200
"""


def foreign(folder: Path, text: str = FOREIGN, metadata: str = "") -> PublishedAudit:
    path = folder / "theirs.csv"
    path.write_text(text)
    if metadata:
        path.with_suffix(".yaml").write_text(metadata)
    return audit_table(path)


def test_a_foreign_table_without_metadata_holds_the_best_row_against_the_runner_up(tmp_path: Path):
    result = foreign(tmp_path)
    first, second = result.of_kind("gap")
    assert [cell.method for cell in first.cells] == ["new", "baseline"]
    assert first.numbers["gap"] == pytest.approx(0.8)
    assert second.computed == "tie within rounding"
    assert len(result.of_kind("spread_test")) == 3
    assert any("Own rows are not declared" in limit for limit in result.limits)
    assert any("What ± means is not stated" in limit for limit in result.limits)
    assert "document's own definition" not in to_text(result)


def test_grim_catches_a_value_that_one_run_on_200_items_cannot_have(tmp_path: Path):
    text = FOREIGN.replace("55.1,,5,200", "55.1,,1,200")
    grim = [f for f in foreign(tmp_path, text).of_kind("grim") if f.outcome == "disagrees"]
    assert len(grim) == 1
    assert grim[0].numbers["failed"] == 2


def test_lower_is_better_turns_the_gap_round(tmp_path: Path):
    metadata = "metric: {name: error, unit: percent, better: lower, item_mean: true}\nours: [new]\n"
    gap = foreign(tmp_path, metadata=metadata).of_kind("gap")[0]
    assert gap.numbers["gap"] == pytest.approx(-0.8)
    assert gap.computed == "fails"


def test_proportions_give_the_same_noise_as_percent(tmp_path: Path):
    percent = foreign(tmp_path).of_kind("gap")[0].numbers
    text = FOREIGN.replace("81.2,0.4", "0.812,0.004").replace("82.0,0.3", "0.820,0.003").replace("55.1", "0.551")
    proportion = foreign(tmp_path, text).of_kind("gap")[0].numbers
    assert proportion["gap_in_se"] == pytest.approx(percent["gap_in_se"])
    assert proportion["items"] == pytest.approx(percent["items"])
    assert 100 * proportion["se"] == pytest.approx(percent["se"])


def test_different_test_sizes_are_not_compared(tmp_path: Path):
    text = FOREIGN.replace("baseline,X,test,81.2,0.4,5,1000", "baseline,X,test,81.2,0.4,5,900")
    gap = foreign(tmp_path, text).of_kind("gap")[0]
    assert "test sizes differ (1000 and 900)" in gap.sentence
    assert "se" not in gap.numbers


def test_a_perfect_score_and_a_spread_of_zero_are_no_accident(tmp_path: Path):
    text = FOREIGN.replace("82.0,0.3", "100.0,0.0")
    result = foreign(tmp_path, text)
    gap = result.of_kind("gap")[0].numbers
    assert gap["se"] == pytest.approx(100 * 1.959964 / (1000 + 1.959964**2))  # Wilson's, of 1,000 of 1,000
    assert gap["gap_in_se"] == pytest.approx((100 - 81.2) / gap["se"])
    assert not result.of_kind("spread_test")
    assert json.loads(to_json(result))["findings"][0]["numbers"]["gap_in_se"] > 10
    to_text(result)


def test_a_single_row_gives_no_gap(tmp_path: Path):
    result = foreign(tmp_path, "method,dataset,column,value\nnew,X,test,82.0\n")
    assert not result.of_kind("gap")
    assert "What these numbers cannot say" in to_text(result)


def test_wrong_marks_are_found_in_a_foreign_table(tmp_path: Path):
    text = "method,dataset,column,value,mark\na,X,t,80.0,best\nb,X,t,81.0,second\nc,X,t,79.0,\n"
    kinds = sorted((f.kind, f.cells[0].method) for f in foreign(tmp_path, text).findings if f.kind.startswith("mark"))
    assert kinds == [("mark_missing", "a"), ("mark_missing", "b"), ("mark_wrong", "a"), ("mark_wrong", "b")]


def test_an_impossible_ratio_is_found(tmp_path: Path):
    text = "method,dataset,column,value\na,X,top,1.076\na,X,bottom,0.369\na,X,ratio,2.950\n"
    metadata = (
        "metric: {name: entropy, unit: other, item_mean: false}\n"
        "derived: [{column: ratio, numerator: top, denominator: bottom, datasets: [X]}]\n"
    )
    (finding,) = foreign(tmp_path, text, metadata).of_kind("derived")
    assert finding.outcome == "disagrees"
    assert "not possible" in finding.sentence


def test_a_sentence_about_a_cell_that_is_not_there_is_an_error_naming_it(tmp_path: Path):
    foreign(tmp_path)
    table = load_table(tmp_path / "theirs.csv")
    base = {"id": "s1", "document": "d", "text": "t"}
    with pytest.raises(TcmaxError, match=r"sentence s1: .*has no Z, test"):
        check_sentence(table, ValueSentence(kind="value", printed="1", dataset="Z", column="test", **base))
    with pytest.raises(TcmaxError, match=r"sentence s1: '1,2' has a comma"):
        check_sentence(table, ValueSentence(kind="value", printed="1,2", dataset="X", column="test", **base))
    with pytest.raises(TcmaxError, match=r"sentence s1: Y needs a ±"):
        check_sentence(table, OverlapSentence(kind="overlap", a="new", b="baseline", column="test", **base))


def test_an_order_sentence_holds_fails_or_ties(tmp_path: Path):
    def computed(dataset: str, first: str, against: str) -> str:
        metadata = (
            "sentences:\n  - {id: s, kind: order, document: d, text: t, column: test, "
            f"group: [{first}], against: [{against}], datasets: [{dataset}]}}\n"
        )
        (finding,) = foreign(tmp_path, metadata=metadata).of_kind("sentence_order")
        return finding.computed

    assert computed("X", "new", "baseline") == "holds"
    assert computed("X", "baseline", "new") == "fails"
    assert computed("Y", "new", "baseline") == "tie within rounding"


def test_the_best_rival_of_a_divergence_is_the_lowest():
    gaps = {f.cells[0].dataset: f for f in audit("tcmax_table2_js").of_kind("gap")}
    rivals = {dataset: f.cells[1].method for dataset, f in gaps.items()}
    assert rivals == {
        "CREMA-D": "QMF",
        "Kinetics-Sounds": "MMPareto",
        "AVE": "Unimodal Ensemble",
        "VGGSound": "OPM",
        "UCF101": "MLA",
    }
    assert all(f.numbers["gap"] > 0 and "se" not in f.numbers for f in gaps.values())


@pytest.mark.parametrize(("n_items", "within"), [(1000, 1), (10_000, 0)])
def test_a_win_counts_as_noise_below_one_standard_error_only(tmp_path: Path, n_items: int, within: int):
    (finding,) = foreign(tmp_path, FOREIGN.replace(",1000", f",{n_items}")).of_kind("wins_within_noise")
    assert (finding.numbers["wins"], finding.numbers["within"]) == (1, within)


@pytest.mark.parametrize(("about", "outcome"), [("17000", "agrees"), ("19000", "disagrees")])
def test_a_number_given_as_about_is_held_to_its_unit(tmp_path: Path, about: str, outcome: str):
    metadata = (
        "sentences:\n  - {id: s, kind: numbers, document: d, text: t, "
        f"first: {{source: a, printed: '{about}', unit: 1000}}, second: {{source: b, sum: [14675, 2594]}}}}\n"
    )
    (finding,) = foreign(tmp_path, metadata=metadata).of_kind("sentence_numbers")
    assert finding.outcome == outcome


# --- type M


def simulated(true_gain, sd, runs, rng, n=100_000):
    """Power, type M and type S by drawing the runs of both methods and testing each pair of means by Welch."""
    a = rng.normal(true_gain, sd, (n, runs))
    b = rng.normal(0, sd, (n, runs))
    significant = scipy.stats.ttest_ind(a, b, axis=1, equal_var=False).pvalue < 0.05
    gaps = (a.mean(axis=1) - b.mean(axis=1))[significant]
    return significant.mean(), np.abs(gaps).mean() / true_gain, (gaps < 0).mean()


def test_what_a_printed_gain_is_worth_was_simulated():
    found = {f.cells[0].dataset: f for f in audit("tcmax_table5_mvsa_ci").of_kind("exaggeration")}
    numbers = found["MVSA-Single / RN50"].numbers
    assert set(found) == {"MVSA-Single / RN50", "MVSA-Single / ViT-B/32"}  # one reading of ±: the document's own
    assert numbers["true_gain"] == pytest.approx(0.26)
    sd = 0.25 * np.sqrt(10) / scipy.stats.t.ppf(0.975, 9)  # between the two half-widths, 0.23 and 0.27
    power, factor, wrong = simulated(0.26, sd, 10, np.random.default_rng(0), n=40_000)
    assert numbers["power"] == pytest.approx(power, abs=0.03)
    assert numbers["factor"] == pytest.approx(factor, rel=0.05)
    assert numbers["wrong_sign"] == pytest.approx(wrong, abs=0.01)


def test_without_a_spread_an_assumed_one_bounds_what_a_gain_is_worth():
    found = audit("tcmax_table1").of_kind("exaggeration")
    assert {f.cells[0].dataset for f in found} == {"CREMA-D", "Kinetics-Sounds", "VGGSound", "UCF101"}  # no lost gap
    by_sd = {f.id.rpartition("/")[2]: f for f in found if f.cells[0].dataset == "CREMA-D"}
    assert set(by_sd) == {"0.098", "0.75"}
    power, factor, wrong = simulated(0.35, 0.75, 3, np.random.default_rng(1))
    # equal spreads are assumed, so t has 4 degrees of freedom; Welch estimates fewer and is stricter
    assert by_sd["0.75"].numbers["power"] == pytest.approx(power, abs=0.03)
    assert by_sd["0.75"].numbers["factor"] == pytest.approx(factor, rel=0.1)
    assert by_sd["0.75"].numbers["wrong_sign"] == pytest.approx(wrong, abs=0.03)
    assert by_sd["0.098"].numbers["power"] > 0.85
    assert all(f.strength == "likely" for f in found)
    text = to_text(audit("tcmax_table1"))
    assert "assumed sd over runs: 0.098 to 0.75 (Table 5 of the same paper" in text
    assert "Half is an assumption, not an estimate; only runs vary, on this test set." in text


@pytest.mark.parametrize(
    ("metadata", "labels"),
    [
        ("n_seeds: 5", set()),  # nothing is known of the noise
        ("n_seeds: 1\nassumed_seed_sd: {low: 0.5, high: 0.5, source: made up}", set()),
        ("n_seeds: 5\nassumed_seed_sd: {low: 0.5, high: 0.5, source: made up}", {"0.5"}),
    ],
)
def test_noise_that_nothing_says_gives_no_type_m(tmp_path: Path, metadata: str, labels: set[str]):
    result = foreign(tmp_path, "method,dataset,column,value\nA,x,m,80.0\nB,x,m,79.0\n", metadata)
    assert {f.id.rpartition("/")[2] for f in result.of_kind("exaggeration")} == labels


def test_an_undeclared_spread_is_read_in_all_three_ways_for_type_m(tmp_path: Path):
    result = foreign(tmp_path, "method,dataset,column,value,pm,n\nA,x,m,80.0,0.5,5\nB,x,m,79.0,0.5,5\n", "document: d")
    found = result.of_kind("exaggeration")
    assert len({f.id for f in found}) == 3
    powers = {f.sentence.split(":")[0]: f.numbers["power"] for f in found}
    # at five runs a half-width of 0.5 is a sd of 0.40, a standard error of 0.5 one of 1.12
    assert powers["± read as 95 % half-width"] > powers["± read as standard deviation"]
    assert powers["± read as standard deviation"] > powers["± read as standard error"]


DOCS = ROOT / "docs" / "audit.md"


def test_the_sample_in_the_docs_is_what_the_audit_prints():
    sample = re.search(r"```text\n(.*?)```", DOCS.read_text(), re.S)
    assert sample is not None
    real = to_text(audit("tcmax_table1"))
    for piece in sample[1].split("  ...\n"):
        for line in piece.splitlines():
            assert line in real.splitlines()


def test_the_example_in_the_docs_runs_as_printed(tmp_path: Path):
    blocks = dict(reversed(re.findall(r"```(csv|yaml)\n(.*?)```", DOCS.read_text(), re.S)))  # the first of each
    result = foreign(tmp_path, blocks["csv"], blocks["yaml"])
    assert result.of_item("S1")[0].computed == "holds"
    assert len(result.of_kind("spread_test")) == 3
    assert result.of_kind("marks")[0].outcome == "agrees"
