"""The examples in the pages on datasets run as printed, one after the other."""

import re
from pathlib import Path

import pytest
from projects import ROOT

from tcmax.data.features import load_features
from tcmax.data.fetching.fetch import info
from tcmax.experiment import grid

DOCS = ROOT / "docs"


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), flags=re.DOTALL)


def test_the_page_on_own_features_runs_and_prints_what_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for block in blocks("bring-your-own-features.md", "python"):
        exec(block, {})
    assert blocks("bring-your-own-features.md", "text")[0] in info("my-features.npz")
    (tmp_path / "mine.yaml").write_text(blocks("bring-your-own-features.md", "yaml")[0])
    assert grid.load(tmp_path / "mine.yaml").n_folds("my-data") == 1
    one, two = (load_features(Path(f"my-features.{ending}"), "my-data") for ending in ("npz", "parquet"))
    assert one.fingerprint() == two.fingerprint()


def test_the_page_on_adding_a_dataset_shows_a_dataset_that_loads():
    names: dict[str, object] = {}
    exec(blocks("add-a-dataset.md", "python")[0], names)
    dataset = names["load"]()
    assert dataset.modalities == ("left", "right")
    assert dataset.fingerprint() == names["load"]().fingerprint()
