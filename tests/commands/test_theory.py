"""`tcmax theory`: from a file of laws to a record and its report."""

import math

import pytest
from projects import ROOT

from tcmax.commands.theory import compute, load, run_theory
from tcmax.errors import TcmaxError
from tcmax.records import kinds, parquet, provenance

SMALL = """
name: theory
title: A small page
seed: 0
optimum: {steps: 20, laws: {Exclusive or: [[[1, 0], [0, 1]], [[0, 1], [1, 0]]]}}
batch: {repetitions: 2, datasets: {Small: {batch_size: 8, classes: 3}}}
world: {audio: [[6, 3, 1], [1, 4, 5]], video: [[5, 3, 2], [2, 2, 6]]}
prior: {steps: 150, of_20: [10, 16]}
sample:
  sizes: [20, 40]
  repetitions: 20
  pseudo_rows: 1.0
  trained_repetitions: 3
  steps: 20
  weight_decay: 0.0001
  test_rows: 50
  worlds:
    Tables: {prior: [0.8, 0.2]}
    Normal: {separations: [1.0, 1.0], classes: 2}
    Equal: {prior: [0.5, 0.5], stratified: true}
    Drawn: {prior: [0.5, 0.5]}
"""


@pytest.fixture
def laws(tmp_path):
    path = tmp_path / "theory.yaml"
    path.write_text(SMALL, encoding="utf-8")
    return path


def test_the_shipped_laws_are_valid_and_hold_the_law_of_the_method_specification():
    settings = load(ROOT / "config" / "theory.yaml")
    assert settings.optimum.laws["3 × 3 × 2"][2] == [[1, 2], [0, 6], [1, 6]]
    assert {name: (d.batch_size, d.classes) for name, d in settings.batch.datasets.items()}["VGGSound"] == (64, 309)


def test_laws_become_a_record_and_a_page_with_tables_and_figures(laws, tmp_path):
    page = run_theory(laws, tmp_path / "results", tmp_path / "reports")
    table = parquet.read(tmp_path / "results" / "theory" / "theory.parquet", kinds.THEORY).to_pandas()
    assert set(table["part"].astype(str)) == {"optimum", "batch", "prior", "sample"}
    offset = table[table["quantity"].astype(str) == "offset"]
    assert offset["value"].tolist() == pytest.approx([math.log(24)] * 2)
    batches = table[table["part"].astype(str) == "batch"]
    assert batches["value"].tolist() == pytest.approx(batches["expected"].tolist())
    priors = table[table["part"].astype(str) == "prior"]
    assert priors["value"].tolist() == pytest.approx(priors["expected"].tolist())
    for output in (tmp_path / "results" / "theory" / "theory.parquet", page):
        assert provenance.sidecar_of(output).is_file()
    text = page.read_text(encoding="utf-8")
    for word in ("Proposition 3", "Figure 4", "Eq. 13", "Table 1", "Exclusive or", "without end"):
        assert word in text
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "https://" not in text
    folder = page.parent
    assert {path.stem for path in (folder / "tables").glob("*.csv")} == {"optimum", "batch", "prior", "sample"}
    assert {path.stem for path in (folder / "tables").glob("*.tex")} == {"optimum", "batch", "prior", "sample"}
    for kind in ("pdf", "png", "svg", "csv"):
        names = {path.stem for path in (folder / "figures").glob(f"*.{kind}")}
        assert names == {"ascent_0", "floors", "prior", "sample_accuracy", "sample_cross_entropy"}
    reached = (folder / "tables" / "prior.csv").read_text(encoding="utf-8").splitlines()[2].split(",")
    assert float(reached[2]) == pytest.approx(0.844)  # 0.8: naive Bayes, cell by cell by hand
    assert float(reached[5]) == pytest.approx(0.8)  # the ensemble answers the first class for everything


def test_equal_laws_give_equal_rows_and_another_seed_other_draws(laws):
    one, other = (list(compute(load(laws))) for _ in range(2))
    assert one == other
    laws.write_text(SMALL.replace("seed: 0", "seed: 1"), encoding="utf-8")
    reseeded = list(compute(load(laws)))
    for part in ("optimum", "sample"):
        assert [row for row in reseeded if row["part"] == part] != [row for row in one if row["part"] == part]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("seed: 0", "sed: 0", "theory.yaml: (seed: this key is missing|sed: unknown key)"),
        ("steps: 20, laws", "steps: 0, laws", "optimum.steps"),
        ("{separations: [1.0, 1.0], classes: 2}", "{separations: [1.0, 1.0]}", "sample.worlds.Normal"),
    ],
)
def test_a_mistake_in_the_laws_is_one_sentence(laws, before, after, said):
    laws.write_text(SMALL.replace(before, after), encoding="utf-8")
    with pytest.raises(TcmaxError, match=said):
        list(compute(load(laws)))
