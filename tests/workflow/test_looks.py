"""A sequential experiment through the DAG: after the first look only the variants of open pairs get more seeds."""

import json
import re
from pathlib import Path

import pytest
from projects import copy_project, snakemake

from tcmax.experiment import grid
from tcmax.experiment.grid import Cell
from tcmax.training import datasets, jobs

STEPWISE = """
name: tiny
title: Tiny
seeds: 0-3
seeds_per_job: 3
checkpoint_seconds: 0
reference_variant: unimodal
sequential: {looks: [3, 4], pairs: [[tcmax, unimodal]]}
training: {epochs: 2, batch_size: 64, learning_rate: 0.1}
datasets:
  digits-halves: {encoder: {name: mlp, hidden: [16]}}
variants:
  unimodal: {method: unimodal, head: sum}
  ogm: {method: ogm, head: concat, parameters: {modulated: weights}}
  tcmax: {method: tcmax, head: concat}
"""
SCORES = "results/tiny/digits-halves/items.parquet"


@pytest.fixture
def looked(tmp_path: Path) -> Path:
    """A project in which the first three seeds are trained, and all of the reference variant."""
    project = copy_project(tmp_path)
    config = project / "config" / "tiny.yaml"
    config.write_text(STEPWISE)
    loaded, results = grid.load(config), project / "results"
    datasets.prepare(loaded, "digits-halves", results)
    for variant in loaded.settings.variants:
        for block in range(2 if variant == "unimodal" else 1):
            jobs.train_block(loaded, Cell("digits-halves", 0, variant), block, results)
    return project


def test_seeds_are_added_look_by_look_for_open_pairs_only(looked: Path) -> None:
    output = snakemake(looked, SCORES)
    rules = re.findall(r"^local(?:rule|checkpoint) (\w+):", output, re.M)
    assert sorted(rules) == ["look", "look", "score", "train"]  # of tcmax
    runs = looked / "results" / "tiny" / "digits-halves" / "fold_0"
    assert {path.name: len(list(path.glob("seed_*"))) for path in runs.iterdir()} == {
        "unimodal": 4,
        "ogm": 3,
        "tcmax": 4,
    }
    record = json.loads((looked / "results" / "tiny" / "looks.json").read_text())
    assert [taken["pairs"][0]["n_seeds"] for taken in record["taken"].values()] == [3, 4]
    assert record["taken"]["3"]["pairs"][0]["state"] == "needs more seeds"
    assert record["taken"]["3"]["alpha"] < record["taken"]["4"]["alpha"] < 0.05
    assert "Nothing to be done" in snakemake(looked, SCORES)
