"""Reading somebody's table: what is accepted, and the one sentence each defect earns."""

import csv
from pathlib import Path

import pytest
import yaml
from projects import ROOT

from tcmax.audit.printed_tables import load_metadata, load_table
from tcmax.errors import TcmaxError

PUBLISHED = ROOT / "config" / "published"
HEADER = "method,dataset,column,value\n"
GOOD = HEADER + "ours,A,acc,82.80\ntheirs,A,acc,82.1\n"


def write(folder: Path, text: str | bytes, metadata: str | None = None, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    if metadata is not None:
        path.with_suffix(".yaml").write_text(metadata)
    return path


def test_a_plain_long_table_needs_no_metadata(tmp_path: Path):
    table = load_table(write(tmp_path, GOOD))
    cell = table.cell("ours", "A", "acc")
    assert cell.value is not None
    assert (cell.value.text, cell.value.decimals, cell.pm, cell.n_seeds, cell.n_items, cell.mark) == (
        ("82.80", 2, None, None, None, None)
    )
    assert table.metric("acc").unit == "percent"


def test_every_optional_column_is_read(tmp_path: Path):
    text = "method,dataset,column,value,pm,n_seeds,n_items,mark\nours,A,acc,82.80,0.3,3,744,best\n"
    cell = load_table(write(tmp_path, text)).cells[0]
    assert (str(cell.pm), cell.n_seeds, cell.n_items, cell.mark) == ("0.3", 3, 744, "best")


def test_n_counts_runs(tmp_path: Path):
    text = "method,dataset,column,value,pm,n\nours,A,acc,82.80,0.3,5\n"
    assert load_table(write(tmp_path, text)).cells[0].n_seeds == 5


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + GOOD.encode(),
        GOOD.replace("\n", "\r\n").encode(),
        GOOD.replace("ours,A", '"ours","A"').encode(),
        GOOD.replace("\n", "\n\n").encode(),
        GOOD.replace(",", " , ").encode(),
    ],
    ids=["byte order mark", "CRLF", "quotes", "blank lines", "spaces"],
)
def test_the_accidents_of_spreadsheets_change_nothing(tmp_path: Path, content: bytes):
    assert load_table(write(tmp_path, content)).cells == load_table(write(tmp_path, GOOD, name="plain.csv")).cells


def test_a_quoted_comma_and_a_quoted_line_break_stay_inside_their_field(tmp_path: Path):
    table = load_table(write(tmp_path, HEADER + '"ours, big",A,acc,1.5\n"two\nlines",A,acc,2.5\n'))
    assert table.methods == ("ours, big", "two\nlines")


def test_value_and_spread_may_share_a_field(tmp_path: Path):
    cell = load_table(write(tmp_path, HEADER + "ours,A,acc,82.8 ± 0.3\n")).cells[0]
    assert (str(cell.value), str(cell.pm)) == ("82.8", "0.3")


@pytest.mark.parametrize("dash", ["", "-", "–", "—", "n/a", "NaN"])
def test_a_dash_is_a_cell_without_a_number(tmp_path: Path, dash: str):
    assert load_table(write(tmp_path, GOOD + f"third,A,acc,{dash}\n")).cell("third", "A", "acc").value is None


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "is empty"),
        (HEADER, "a header and no rows"),
        ("method,dataset,value\na,b,1\n", "has no column 'column'"),
        ("method;dataset;column;value\na;b;c;1\n", "semicolons"),
        ("method,dataset,column,value,value\na,b,c,1,1\n", "'value' twice"),
        (HEADER + "ours,A,acc\n", "line 2: 3 fields where the header has 4"),
        (HEADER + "ours,A,acc,eighty\n", r"line 2 \(ours, A, acc\): 'eighty' is not a decimal number"),
        (HEADER + 'ours,A,acc,"82,8"\n', "has a comma"),
        (HEADER + "ours,A,acc,82.8 (0.3)\n", "not a decimal number"),
        (GOOD + "ours,A,acc,82.8\n", r"line 4 \(ours, A, acc\): this cell stands in the file twice"),
        (HEADER + ",A,acc,82.8\n", "must not be empty"),
        (HEADER + "ours,A,acc,0.828\ntheirs,A,acc,74.4\n", "proportion and a percentage"),
        (b"method,dataset,column,value\nours,A,acc,82.8 \xb1 1\n", "not UTF-8"),
        (HEADER + '"ours,A,acc,82.8\n', "line 2"),
        ("method,dataset,column,value,pm\nours,A,acc,82.8,-1\n", "spread of -1 is negative"),
        ("method,dataset,column,value,n\nours,A,acc,82.8,744\n", "n counts runs"),
        ("method,dataset,column,value,n_seeds\nours,A,acc,82.8,0\n", "n_seeds is 0"),
        ("method,dataset,column,value,n_items\nours,A,acc,82.8,7.5\n", "n_items is '7.5', not a whole number"),
        ("method,dataset,column,value,mark\nours,A,acc,82.8,bold\n", "the mark is 'bold'"),
    ],
)
def test_a_defect_of_the_table_is_one_sentence_naming_file_and_place(tmp_path: Path, content, sentence: str):
    path = write(tmp_path, content)
    with pytest.raises(TcmaxError, match=sentence) as caught:
        load_table(path)
    assert str(path) in str(caught.value)
    assert str(caught.value).endswith(".")


def test_a_missing_table_or_metadata_file_is_named(tmp_path: Path):
    with pytest.raises(TcmaxError, match=r"cannot read .*absent.csv: no such file"):
        load_table(tmp_path / "absent.csv")
    with pytest.raises(TcmaxError, match=r"cannot read .*absent.yaml: no such file"):
        load_table(write(tmp_path, GOOD), tmp_path / "absent.yaml")


@pytest.mark.parametrize(
    ("metadata", "sentence"),
    [
        ("testsizes: {A: {n: 5}}", "unknown key testsizes; known keys are assumed_seed_sd, citation"),
        ("test_sizes: {A: {n: 5, source: x, why: y}}", "test_sizes.A.why: unknown key"),
        ("assumed_seed_sd: {low: 2, high: 1, source: x}", "assumed_seed_sd: high lies below low"),
        ("test_sizes: {A: {n: many, source: x}}", "test_sizes.A.n"),
        ("test_sizes: {B: {n: 5, source: x}}", "test_sizes names 'B', which the table does not have"),
        ("ours: [mine]", "ours names 'mine'"),
        ("whole: joint", "whole names 'joint'"),
        ("metric: {name: accuracy, unit: proportion}", "declared as proportion, but ours, A, acc is 82.8"),
        ("metric: {name: accuracy, unit: points}", "metric.unit"),
        ("spread: {meaning: variance}", "spread.meaning"),
        ("[1, 2]", "must hold keys and values"),
        ("metric: {name: [", "line"),
        ("ours: [ours]\nours: [theirs]", "ours"),
        (
            "sentences: [{id: x, kind: value, document: d, text: t, printed: 82.80, dataset: A, column: acc}]",
            r"printed must be in quotes, '82.8'",
        ),
        ("sentences: [{id: x, kind: rumour, document: d, text: t}]", "sentences.0"),
        ("reference: it holds no results.", "is not a table of results to audit: it holds no results"),
    ],
)
def test_a_defect_of_the_metadata_is_one_sentence_naming_the_key(tmp_path: Path, metadata: str, sentence: str):
    with pytest.raises(TcmaxError, match=sentence):
        load_table(write(tmp_path, GOOD, metadata))


def test_proportions_declared_as_percent_are_caught(tmp_path: Path):
    path = write(tmp_path, HEADER + "ours,A,acc,0.828\n", "metric: {name: accuracy, unit: percent}")
    with pytest.raises(TcmaxError, match="no value exceeds 1; is it a proportion"):
        load_table(path)


def test_percent_above_one_hundred_is_caught(tmp_path: Path):
    path = write(tmp_path, HEADER + "ours,A,acc,828\n", "metric: {name: accuracy, unit: percent}")
    with pytest.raises(TcmaxError, match=r"declared as percent, but ours, A, acc is 828"):
        load_table(path)


def test_one_very_low_accuracy_in_declared_percent_is_fine(tmp_path: Path):
    path = write(tmp_path, HEADER + "ours,A,acc,0.7\ntheirs,A,acc,66.6\n", "metric: {name: accuracy, unit: percent}")
    assert len(load_table(path).cells) == 2


def test_every_shipped_metadata_file_is_valid_and_has_its_table():
    for path in sorted(PUBLISHED.glob("*.yaml")):
        if path.name == "tcmax_figures.yaml":
            continue
        assert load_metadata(path).citation
        assert path.with_suffix(".csv").exists()
    assert {path.stem for path in PUBLISHED.glob("*.csv")} <= {path.stem for path in PUBLISHED.glob("*.yaml")}


def test_test_sizes_agree_with_the_list_of_datasets():
    with (PUBLISHED / "datasets.csv").open(newline="") as stream:
        sizes = {(row["name"], row["source"]): row["n_test"] for row in csv.DictReader(stream)}
    for name, size in load_metadata(PUBLISHED / "tcmax_table1.yaml").test_sizes.items():
        assert str(size.n) in {n for (dataset, source), n in sizes.items() if dataset == name and source in size.source}


def test_quoted_numbers_of_the_metadata_stand_in_the_list_of_headline_numbers():
    with (PUBLISHED / "headline_numbers.csv").open(newline="") as stream:
        quoted = list(csv.DictReader(stream))
    content = yaml.safe_load((PUBLISHED / "tcmax_table1.yaml").read_text())
    checked = 0
    for sentence in content["sentences"]:
        for dataset, value in sentence.get("values", {sentence.get("dataset"): sentence.get("printed")}).items():
            if sentence["kind"] in ("value", "one_row"):
                assert any(
                    row["document"] == sentence["document"]
                    and row["dataset"].startswith(dataset)
                    and row["value"] == value
                    for row in quoted
                )
                checked += 1
        if sentence["kind"] == "gain":
            row = next(
                r for r in quoted if r["document"] == sentence["document"] and r["dataset"] == sentence["dataset"]
            )
            assert row["value"] == sentence["value"]
            assert f"+{sentence['gain']} over {sentence['over_value']} ({sentence['over']})" in row["context"]
            checked += 1
    assert checked == 11
