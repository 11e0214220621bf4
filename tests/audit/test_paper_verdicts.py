"""Verdicts on printed claims: arithmetic by hand, tests by SciPy, and never a verdict that print cannot earn."""

import csv
import json
import re
from functools import cache

import pytest
import yaml
from projects import ROOT
from scipy import stats

from tcmax.audit.paper_claims import load_paper_claims
from tcmax.audit.paper_verdicts import PaperVerdict, audit_paper, judge_paper, to_json, to_text
from tcmax.errors import TcmaxError

PAPER = ROOT / "config" / "claims" / "tcmax-paper.yaml"


@cache
def paper() -> dict[str, PaperVerdict]:
    audit, _ = audit_paper(PAPER)
    return {verdict.claim: verdict for verdict in audit.verdicts}


def judged(folder, rows, metadata="document: Paper", **claim) -> PaperVerdict:
    """The verdict on one claim about a made-up table; rows of "method,dataset,column,value,pm,n_seeds,n_items"."""
    (folder / "t.csv").write_text("\n".join(["method,dataset,column,value,pm,n_seeds,n_items", *rows]) + "\n")
    (folder / "t.yaml").write_text(metadata)
    content = {
        "id": "c",
        "text": "A is better.",
        "source": {"document": "Paper", "section": "1"},
        "table": "t",
        "subject": "A",
        "columns": "Multi",
        "relation": "best of",
        **claim,
    }
    path = folder / "claims.yaml"
    path.write_text(yaml.safe_dump({"tables": {"t": "t.csv"}, "claims": [content]}))
    claims = load_paper_claims(path)
    return judge_paper(claims.claims[0], claims)


@pytest.mark.parametrize(
    ("claim", "printed"),
    [
        ("outperforms-joint-and-unimodal", "fails"),  # C1: AVE, QMF 65.1
        ("best-somewhere", "holds"),
        ("gains-are-not-unimodal", "fails"),  # C2: UCF101 optical flow, VGGSound audio
        ("smallest-divergence", "holds"),
        ("concat-divergence-below-earlier", "tie within rounding"),  # C7: OPM 0.513 too
        ("notes-crema-d-gain", "holds"),
        ("notes-crema-d-previous-best", "fails"),  # A3
        ("notes-ave-previous-best", "fails"),  # A4
        ("notes-vggsound-previous-best", "fails"),  # A5
        ("notes-vggsound-share-head", "fails"),  # A2
        ("notes-kinetics-sounds-previous-best", "holds"),
        ("listing-crema-d", "fails"),  # A1
        ("listing-vggsound", "holds"),
        ("improves-mag-bert-on-mosi", "holds"),
        ("loss-stays-above", None),  # B1
    ],
)
def test_printed_orders_of_the_paper_are_those_found_by_hand(claim, printed):
    assert paper()[claim].printed == printed


def test_nothing_is_ever_said_of_new_items_and_nothing_of_new_seeds_without_a_spread():
    for verdict in paper().values():
        assert verdict.verdict == "not testable"
        assert verdict.needed
        if "Table 5" not in verdict.cells:
            assert verdict.verdict_seeds == "not testable"


def test_exceptions_to_the_headline_claim_are_named():
    verdict = paper()["outperforms-joint-and-unimodal"]
    assert (verdict.held, verdict.places) == (4, 5)
    assert verdict.deciding == "AVE, Multi: TCMax (Share Head) 64.5 against QMF 65.1"
    assert sum(part.order != "holds" for part in verdict.parts) == 1
    assert len(verdict.parts) == 5 * 12


def test_the_narrowest_gap_has_the_break_even_values_of_the_published_list():
    part = next(
        p for p in paper()["outperforms-joint-and-unimodal"].parts if p.name.startswith("UCF101") and p.gap < 0.2
    )
    assert part.noise is not None
    assert part.noise.items == pytest.approx(3.783)
    assert 100 * part.noise.discordance == pytest.approx(0.0986, abs=5e-4)
    assert part.noise.pairing == "never"
    assert part.seed_sd == pytest.approx(0.1 / 2.267, rel=1e-3)


def test_d1_with_three_readings_of_the_half_widths():
    verdict = paper()["significant-on-mvsa-rn50"]
    (part,) = verdict.parts
    assert [spread.reading for spread in part.spreads] == ["sd", "se", "ci95"]
    (own,) = [spread for spread in part.spreads if spread.own]
    t = stats.t.ppf(0.975, 9)
    oracle = stats.ttest_ind_from_stats(81.75, 0.23 * 10**0.5 / t, 10, 81.23, 0.27 * 10**0.5 / t, 10, equal_var=False)
    assert (own.reading, own.test.p) == ("ci95", pytest.approx(oracle.pvalue, rel=1e-9))
    assert verdict.verdict_seeds == "supported"
    assert "this is the document's own definition" in " ".join(verdict.reasons)


def test_a_group_picked_by_its_test_score_cannot_be_tested_for_new_seeds(tmp_path):
    rows = [f"{m},one,Multi,{v},0.1,5," for m, v in (("A", "82.0"), ("A2", "81.9"), ("B", "70.0"))]
    verdict = judged(tmp_path, rows, "spread: {meaning: sd}", subject=["A", "A2"])
    assert (verdict.printed, verdict.verdict_seeds) == ("holds", "not testable")
    assert "better of 2 rows" in " ".join(verdict.reasons)


def test_swapping_the_sides_turns_supported_into_contradicted(tmp_path):
    rows = ["A,one,Multi,82.0,0.1,5,", "B,one,Multi,81.0,0.1,5,"]
    metadata = "spread: {meaning: sd}"
    assert judged(tmp_path, rows, metadata).verdict_seeds == "supported"
    swapped = judged(tmp_path, rows, metadata, subject="B")
    assert (swapped.printed, swapped.verdict_seeds) == ("fails", "contradicted")
    assert judged(tmp_path, rows, metadata, subject="B", rivals="A", relation="worse than").verdict_seeds == "supported"


def test_two_runs_are_too_few_and_an_unstated_spread_must_survive_every_reading(tmp_path):
    two = ["A,one,Multi,82.0,0.1,2,", "B,one,Multi,70.0,0.1,2,"]
    assert judged(tmp_path, two, "spread: {meaning: sd}").verdict_seeds == "not testable"
    # As standard errors p = 0.16, as standard deviations p = 0.0002.
    rows = ["A,one,Multi,81.75,0.23,10,", "B,one,Multi,81.23,0.27,10,"]
    assert judged(tmp_path, rows, "spread: {meaning: sd}").verdict_seeds == "supported"
    assert judged(tmp_path, rows, "spread: {meaning: se}").verdict_seeds == "undetermined"
    assert judged(tmp_path, rows).verdict_seeds == "undetermined"


def test_a_claim_on_each_column_is_contradicted_only_after_holm(tmp_path):
    rows = [f"{m},{d},Multi,{v},0.2,5," for d in ("one", "two", "three") for m, v in (("A", "80.0"), ("B", "80.0"))]
    rows[0] = "A,one,Multi,79.5,0.2,5,"  # alone contradicted, over three no longer
    metadata = "spread: {meaning: sd}"
    alone = judged(tmp_path, rows, metadata, datasets="one")
    assert alone.verdict_seeds == "contradicted"
    (spread,) = [s for s in alone.parts[0].spreads if s.own]
    assert 0.025 / 3 < spread.numbers["p_high"] / 2 <= 0.025
    assert judged(tmp_path, rows, metadata).verdict_seeds == "undetermined"


def test_some_asks_for_one_column_only(tmp_path):
    rows = ["A,one,Multi,80.0,,3,", "B,one,Multi,81.0,,3,", "A,two,Multi,82.0,,3,", "B,two,Multi,81.0,,3,"]
    assert judged(tmp_path, rows).printed == "fails"
    some = judged(tmp_path, rows, quantifier="some")
    assert (some.printed, some.held, some.deciding) == ("holds", 1, "two, Multi: A 82.0 against B 81.0")
    rows = [row.replace(",,3,", ",0.1,5,") for row in rows]
    metadata = "spread: {meaning: sd}"
    assert judged(tmp_path, rows, metadata).verdict_seeds == "contradicted"
    assert judged(tmp_path, rows, metadata, quantifier="some").verdict_seeds == "supported"


def test_rounding_can_tie_and_a_margin_moves_the_line(tmp_path):
    rows = ["A,one,Multi,80.0,,3,", "B,one,Multi,80.0,,3,"]
    assert judged(tmp_path, rows).printed == "tie within rounding"
    rows[0] = "A,one,Multi,81.0,,3,"
    assert judged(tmp_path, rows).printed == "holds"
    assert judged(tmp_path, rows, margin="1").printed == "tie within rounding"
    assert judged(tmp_path, rows, margin="1.2").printed == "fails"
    assert judged(tmp_path, rows, subject="B", margin="-1.2").printed == "holds"


def test_lower_is_better_where_the_metadata_says_so(tmp_path):
    rows = ["A,one,Multi,0.20,,3,100", "B,one,Multi,0.30,,3,100"]
    metadata = "metric: {name: error, unit: proportion, better: lower, item_mean: true}"
    verdict = judged(tmp_path, rows, metadata)
    assert verdict.printed == "holds"
    assert verdict.parts[0].noise is not None
    assert verdict.parts[0].noise.items == pytest.approx(10)
    assert judged(tmp_path, rows).printed == "fails"


def test_a_quoted_gain_has_a_direction(tmp_path):
    rows = ["A,one,Multi,82.0,,3,", "B,one,Multi,81.0,,3,"]
    quoted = {"relation": "gains", "rivals": "B"}
    assert judged(tmp_path, rows, **quoted, printed="1.0").printed == "holds"
    assert judged(tmp_path, rows, **quoted, printed="1.1").printed == "holds"  # 81.95 - 81.05 to 82.05 - 80.95
    assert judged(tmp_path, rows, **quoted, printed="1.2").printed == "fails"
    assert judged(tmp_path, rows, **quoted, printed="-1.0").printed == "fails"


def test_the_association_of_tables_1_and_2_is_kendalls():
    verdict = paper()["agreement-goes-with-accuracy"]
    folder = PAPER.parents[1] / "published"
    accuracy = {
        row["method"]: float(row["accuracy"])
        for row in csv.DictReader((folder / "tcmax_table1.csv").open())
        if row["dataset"] == "VGGSound" and row["modality"] == "Multi" and row["accuracy"]
    }
    divergence = {
        row["method"]: float(row["js_divergence"])
        for row in csv.DictReader((folder / "tcmax_table2_js.csv").open())
        if row["dataset"] == "VGGSound"
    }
    tau = stats.kendalltau([accuracy[m] for m in divergence], list(divergence.values())).statistic
    (line,) = [reason for reason in verdict.reasons if reason.startswith("VGGSound")]
    assert f"tau {tau:+.2f} over 11 rows" in line


def test_open_pairs_can_leave_an_association_undecided(tmp_path):
    beside = {"relation": "association", "associated_with": {"table": "t", "column": "X"}}

    def printed(accuracies, others, direction):
        columns = (("Multi", accuracies), ("X", others))
        rows = [f"{m},one,{c},{v},,3," for c, values in columns for m, v in zip("ABC", values, strict=True)]
        return judged_association(tmp_path, rows, {**beside, "direction": direction}).printed

    assert printed((11, 11, 12), (11, 12, 12), "positive") == "tie within rounding"  # one pair agrees, two are open
    assert printed((11, 12, 13), (11, 12, 12), "positive") == "holds"  # two agree, one is open
    assert printed((11, 12, 13), (11, 12, 12), "negative") == "fails"


def judged_association(folder, rows, claim) -> PaperVerdict:
    (folder / "t.csv").write_text("\n".join(["method,dataset,column,value,pm,n_seeds,n_items", *rows]) + "\n")
    content = {"id": "c", "text": "t", "source": {"document": "P", "section": "1"}, "table": "t", "columns": "Multi"}
    path = folder / "claims.yaml"
    path.write_text(yaml.safe_dump({"tables": {"t": "t.csv"}, "claims": [content | claim]}))
    claims = load_paper_claims(path)
    return judge_paper(claims.claims[0], claims)


def test_the_text_is_narrow_and_holds_every_answer():
    audit, _ = audit_paper(PAPER)
    text = to_text(audit)
    assert max(map(len, text.splitlines())) <= 100
    flat = re.sub(r"\s+", " ", text)
    for verdict in audit.verdicts:
        assert f'{verdict.claim}: "{verdict.text}"' in flat
        for reason in verdict.reasons:
            assert reason in flat
    assert text.endswith("46 claims: 28 holds, 9 fails, 1 tie within rounding, 8 not in print.\n")


def test_equal_inputs_give_equal_bytes_and_json_reads_back(tmp_path):
    first, _ = audit_paper(PAPER, tmp_path / "audit.json")
    assert (tmp_path / "audit.json").read_text() == to_json(audit_paper(PAPER)[0])
    content = json.loads(to_json(first))
    assert len(content["verdicts"]) == len(first.verdicts)


def test_fail_on_looks_at_all_three_answers():
    assert audit_paper(PAPER, fail_on="fails")[1]
    assert audit_paper(PAPER, fail_on="supported")[1]
    assert not audit_paper(PAPER, fail_on="contradicted")[1]
    with pytest.raises(
        TcmaxError, match="there is no answer 'wrong'; answers: holds, fails, tie within rounding, supp"
    ):
        audit_paper(PAPER, fail_on="wrong")


def test_the_output_in_the_documentation_is_what_is_printed():
    page = (PAPER.parents[2] / "docs" / "audit.md").read_text()
    (shown,) = re.findall(r"```text\n(best-multimodal-scores: .*?)```", page, re.S)
    assert shown in to_text(audit_paper(PAPER)[0])
    assert f"{len(paper())} sentences about TCMax" in page
