"""Claims files about printed tables: what they may say, and the sentence that each mistake gets."""

import re

import pytest
import yaml
from projects import ROOT

from tcmax.audit.paper_claims import load_paper_claims
from tcmax.errors import TcmaxError

PAPER = ROOT / "config" / "claims" / "tcmax-paper.yaml"
TABLE = """method,dataset,column,value
Old,one,Multi,80.0
Older,one,Multi,79.0
Ours,one,Multi,81.0
Old,two,Multi,70.0
Older,two,Multi,69.0
Ours,two,Multi,-
"""
VALID = {
    "id": "ours-wins",
    "text": "Ours wins.",
    "source": {"document": "Paper", "section": "Abstract"},
    "table": "t",
    "datasets": "one",
    "subject": "Ours",
    "columns": "Multi",
    "relation": "best of",
}


def write(folder, *claims, tables=None):
    (folder / "t.csv").write_text(TABLE)
    (folder / "t.yaml").write_text("ours: [Ours]\n")
    path = folder / "claims.yaml"
    path.write_text(yaml.safe_dump({"tables": tables or {"t": "t.csv"}, "claims": list(claims)}, sort_keys=False))
    return path


def changed(**changes):
    return {key: value for key, value in {**VALID, **changes}.items() if value is not None}


def test_one_name_or_a_list_of_names_is_the_same(tmp_path):
    (claim,) = load_paper_claims(write(tmp_path, VALID)).claims
    assert (claim.datasets, claim.columns, claim.subject) == (("one",), ("Multi",), ("Ours",))
    assert claim.cited == "Paper, Abstract"


MISTAKES = [
    (changed(colour="red"), "claims.ours-wins.colour: unknown key"),
    (changed(id="Ours wins"), "lower-case letters"),
    (changed(relation=None), "relation: a testable claim needs it"),
    (changed(columns=None), "columns: a testable claim needs it"),
    (changed(relation="better than"), "rivals: the relation 'better than' needs it"),
    (changed(relation="equals"), "printed: the relation 'equals' needs it"),
    (changed(printed="80.0"), "printed: the relation 'best of' does not use it"),
    (changed(relation="equals", printed="eighty"), "'eighty' is not a decimal number"),
    (changed(relation="equals", printed=80.0), "printed: input should be a valid string (got 80.0)"),
    (changed(relation="equals", printed="80.0", margin="1"), "margin: the relation 'equals' does not use it"),
    (changed(subject=[]), "subject: the list is empty"),
    (changed(subject=["Ours", "Ours"]), "subject: something is listed twice"),
    (changed(subject="all others"), "subject: 'all others' belongs to rivals"),
    (changed(rivals=["Old", "Ours"]), "rivals: Ours is the subject too"),
    (changed(subject=["Old", "Older"], rivals="Ours", relation="gains", printed="1"), "one row over one row"),
    (changed(reason="why"), "reason: belongs to a claim with `testable: false`"),
    (changed(table="u"), "table: there is no table 'u'; tables: t."),
    (changed(subject="Mine"), "subject: t.csv has no 'Mine'; it has Old, Older, Ours."),
    (changed(columns="Audio"), "columns: t.csv has no 'Audio'; it has Multi."),
    (changed(datasets="three"), "datasets: t.csv has no 'three'; it has one, two."),
    (changed(datasets="all"), "subject: t.csv has no number for it on two, Multi."),
    (
        {"id": "u", "text": "U.", "source": VALID["source"], "testable": False},
        "reason: a claim with `testable: false` says why",
    ),
    (
        {"id": "u", "text": "U.", "source": VALID["source"], "testable": False, "reason": "x", "subject": "Ours"},
        "subject: a claim with `testable: false` looks nothing up",
    ),
    (
        changed(subject=None, relation="association", direction="positive", associated_with={"table": "t"}),
        "associated_with.column: this key is missing",
    ),
    (
        changed(
            subject=None,
            relation="association",
            direction="positive",
            associated_with={"table": "t", "column": "Audio"},
        ),
        "associated_with.column: t.csv has no Audio on one.",
    ),
]


@pytest.mark.parametrize(("claim", "sentence"), MISTAKES)
def test_a_mistake_gets_one_sentence_that_names_file_claim_and_key(tmp_path, claim, sentence):
    path = write(tmp_path, claim)
    with pytest.raises(TcmaxError, match=re.escape(sentence)) as error:
        load_paper_claims(path)
    assert str(error.value).startswith(f"{path}: claims.{claim['id']}")
    assert "\n" not in str(error.value)


def test_an_id_occurs_once(tmp_path):
    with pytest.raises(TcmaxError, match=r"claims\.ours-wins: this id occurs twice"):
        load_paper_claims(write(tmp_path, VALID, VALID))


@pytest.mark.parametrize("content", ["claims: []", "- a", "tables: {}\nclaims: {}", "tables: []\nclaims: []"])
def test_the_file_has_tables_and_claims(tmp_path, content):
    path = tmp_path / "claims.yaml"
    path.write_text(content)
    with pytest.raises(TcmaxError, match="have two keys, `tables`"):
        load_paper_claims(path)


def test_earlier_rows_need_the_authors_own_rows_declared(tmp_path):
    path = write(tmp_path, changed(rivals="all earlier"))
    (tmp_path / "t.yaml").unlink()
    with pytest.raises(TcmaxError, match="'all earlier' needs `ours`"):
        load_paper_claims(path)


def test_the_shipped_file_has_25_sentences_of_the_paper_and_both_summary_pages():
    claims = load_paper_claims(PAPER).claims
    documents = [claim.source.document for claim in claims]
    assert documents.count("TCMax paper") >= 25
    assert documents.count("paper notes page") >= 5
    assert documents.count("benchmark listing page") >= 4


def test_every_sentence_of_the_shipped_file_that_is_not_testable_says_why():
    claims = [claim for claim in load_paper_claims(PAPER).claims if not claim.testable]
    assert len(claims) >= 6
    assert all(claim.reason for claim in claims)
    assert [claim.id for claim in claims if not claim.data_needed] == ["hyperparameter-free"]
