"""Two audits against each other: flips, quieter changes, and what came or went."""

import json
import shutil
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from projects import ROOT

from tcmax import cli
from tcmax.audit.diff import diff, read_audit, to_text
from tcmax.audit.paper_verdicts import audit_paper
from tcmax.errors import TcmaxError
from tcmax.records import kinds, parquet

PAPER = ROOT / "config" / "claims" / "tcmax-paper.yaml"


def write(path, verdicts, sha="1" * 64, text="A beats B."):
    """A VERDICTS record of {claim: (verdict, verdict for new seeds)}."""
    row = dict.fromkeys(kinds.VERDICTS.columns, "x") | {
        "text": text,
        "margin": 0.0,
        "alpha": 0.05,
        "estimate": 0.01,
        "low": -0.01,
        "high": 0.03,
        "n_seeds": 5,
        "n_items": 100,
        "n_groups": None,
        "paraphrased": False,
        "alone_contradicted": False,
        **dict.fromkeys(("n_components", "left_out_seeds", "left_out_groups", "left_out_datasets"), 1),
        **{name: [] for name in ("remarks", "looks", "needed", "flips", "evidence")},
        "claims_sha256": sha,
        "claims_changed_after_training": None,
    }
    rows = [row | {"claim": claim, "verdict": v, "verdict_seeds": s} for claim, (v, s) in verdicts.items()]
    parquet.write(path, kinds.VERDICTS, {name: [r[name] for r in rows] for name in kinds.VERDICTS.columns})
    return path


BEFORE = {
    "stays": ("supported", "supported"),
    "flips": ("undetermined", "supported"),
    "quieter": ("undetermined", "undetermined"),
    "goes": ("contradicted", "contradicted"),
}
AFTER = {
    "stays": ("supported", "supported"),
    "flips": ("supported", "supported"),
    "quieter": ("undetermined", "supported"),
    "comes": ("not testable", None),
}


def test_each_kind_of_change_is_told_apart(tmp_path):
    found = diff(write(tmp_path / "a.parquet", BEFORE), write(tmp_path / "b.parquet", AFTER, sha="2" * 64))
    assert [(d.claim, d.change) for d in found.differences] == [
        ("flips", "flip"),
        ("quieter", "new seeds only"),
        ("goes", "removed"),
        ("comes", "added"),
    ]
    assert found.differences[0].before == ("verdict: undetermined", "+0.01 [-0.01, +0.03]")
    assert found.differences[0].after[0] == "verdict: supported"
    assert not found.same_claims_file
    text = to_text(found)
    assert "1 of 3 claims in both audits have the same answers." in text
    assert "claims file: changed (1111111111111111 to 2222222222222222)." in text


def test_swapping_the_audits_swaps_before_and_after(tmp_path):
    a, b = write(tmp_path / "a.parquet", BEFORE), write(tmp_path / "b.parquet", AFTER)
    forward = {d.claim: d for d in diff(a, b).differences}
    backward = {d.claim: d for d in diff(b, a).differences}
    assert set(forward) == set(backward)
    for claim, difference in forward.items():
        assert (difference.before, difference.after) == (backward[claim].after, backward[claim].before)


def test_an_audit_does_not_differ_from_itself(tmp_path):
    path = write(tmp_path / "verdicts.parquet", BEFORE)
    assert diff(path, tmp_path).differences == ()
    assert diff(path, path).same_claims_file


def test_a_sentence_that_was_reworded_is_marked(tmp_path):
    a = write(tmp_path / "a.parquet", {"c": ("supported", "supported")})
    b = write(tmp_path / "b.parquet", {"c": ("contradicted", "contradicted")}, text="A beats C.")
    assert "c: flip (the sentence of the claim changed too)" in to_text(diff(a, b))


def test_audits_from_print_are_compared_by_their_printed_order(tmp_path):
    audit_paper(PAPER, tmp_path / "a.json")
    content = json.loads((tmp_path / "a.json").read_text())
    content["verdicts"][0]["printed"] = "holds"
    (tmp_path / "b.json").write_text(json.dumps(content))
    (only,) = diff(tmp_path / "a.json", tmp_path / "b.json").differences
    assert (only.claim, only.change) == ("outperforms-joint-and-unimodal", "flip")
    assert (only.before[0], only.after[0]) == ("printed table: fails", "printed table: holds")


@pytest.mark.parametrize(("change", "status"), [(False, 0), (True, 1)])
def test_the_exit_status_says_whether_anything_differs(tmp_path, monkeypatch, change, status):
    a = write(tmp_path / "a.parquet", BEFORE)
    b = write(tmp_path / "b.parquet", AFTER) if change else Path(shutil.copy(a, tmp_path / "b.parquet"))
    monkeypatch.setattr(sys, "argv", ["tcmax", "audit", "diff", str(a), str(b)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == status


def test_what_is_no_audit_gets_a_sentence(tmp_path):
    with pytest.raises(TcmaxError, match=r"verdicts\.parquet does not exist; `tcmax audit claims` writes it"):
        read_audit(tmp_path)
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(TcmaxError, match="is not the JSON of `tcmax audit paper`"):
        read_audit(tmp_path / "x.json")
    (tmp_path / "x.parquet").write_text("no")
    with pytest.raises(TcmaxError, match="damaged or not a Parquet file"):
        read_audit(tmp_path / "x.parquet")


def test_an_audit_from_before_a_column_existed_can_still_be_compared(tmp_path):
    b = write(tmp_path / "b.parquet", BEFORE)
    whole = pq.read_table(b)
    pq.write_table(whole.drop_columns(["flips", "needed"]), tmp_path / "a.parquet")
    assert diff(tmp_path / "a.parquet", b).differences == ()
    pq.write_table(whole.drop_columns(["verdict"]), tmp_path / "a.parquet")
    with pytest.raises(TcmaxError, match=r"a\.parquet: the column 'verdict' is missing"):
        read_audit(tmp_path / "a.parquet")
