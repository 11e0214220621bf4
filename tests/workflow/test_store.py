"""The DAG makes the store of a set whose raw media are here: once, and not again when nothing changed."""

import json
import re
from pathlib import Path

import pytest
import soundfile
from media_files import grey_clock, tone, write_media
from projects import copy_project, run

from tcmax.data.media.store import Store

EXPERIMENT = """
name: clips
title: Clips
seeds: [0]
training: {epochs: 1, batch_size: 2, learning_rate: 0.1}
datasets:
  crema-d: {encoder: {name: identity}}
variants:
  joint: {method: joint, head: concat}
"""
CLIPS = {"train": ["1001_IEO_HAP_LO", "1002_IEO_SAD_LO"], "test": ["1003_IEO_ANG_LO"]}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project beside a data root with short lists of CREMA-D, and its media."""
    project = copy_project(tmp_path_factory.mktemp("project"))
    (project / "config" / "clips.yaml").write_text(EXPERIMENT)
    lists = project / "data" / "splits" / "CREMAD"
    lists.mkdir(parents=True)
    (project / "my media" / "crema-d").mkdir(parents=True)
    for part, names in CLIPS.items():
        (lists / f"{part}.csv").write_text("".join(f"{name},{name.split('_')[2]}\n" for name in names))
        for name in names:
            write_media(project / "my media" / "crema-d" / f"{name}.flv", grey_clock(1.2))
            soundfile.write(project / "my media" / "crema-d" / f"{name}.wav", tone(1.2, rate_hz=16_000), 16_000)
    return project


def prepare(project: Path, *arguments: str) -> str:
    """What Snakemake says when it is asked for the facts of the dataset, before which the store has to be."""
    target = "results/clips/crema-d/data.json"
    done = run(project, "snakemake", target, "--cores", "1", *arguments, "--config", "experiment=clips", check=False)
    return done.stdout + done.stderr


def test_a_missing_store_is_made_once_from_the_media_at_hand(project: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TCMAX_DATA", str(project / "data"))
    monkeypatch.setenv("TCMAX_SOURCES", str(project / "my media"))
    prepare(project)
    store = Store(project / "data" / "stores" / "crema-d")
    assert store.items == (*CLIPS["train"], *CLIPS["test"])
    assert store.ready.all()
    assert "prepared 3 of 3 rows" in (project / "data" / "stores" / "crema-d.log").read_text()
    facts = json.loads((project / "results" / "clips" / "crema-d" / "data.json").read_text())
    assert facts["folds"] == [{"train": 1, "val": 1, "test": 1}]
    (project / "my media").rename(project / "moved")
    monkeypatch.setenv("TCMAX_SOURCES", str(project / "moved"))
    assert "Nothing to be done" in prepare(project, "--dry-run")

    # The lists are its input, and other code makes it due again; without media it is taken as it is.
    code = project / "tcmax" / "data" / "media" / "clip_maker.py"
    code.write_text(code.read_text() + "\n_EDITED = 1\n")
    rule = r"rule store:\s+input: (.*?)\n.*?reason: (.*?)\n"
    ((lists, reason),) = re.findall(rule, prepare(project, "--dry-run"), flags=re.DOTALL)
    assert [Path(path).name for path in lists.split(", ")] == ["train.csv", "test.csv"]
    assert reason.startswith("Params have changed")
    monkeypatch.delenv("TCMAX_SOURCES")
    assert "rule store" not in prepare(project, "--dry-run")
