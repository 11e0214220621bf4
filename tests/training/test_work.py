"""What an epoch of training costs, counted beside every method rather than by it (assertion 38)."""

import dataclasses

import numpy as np
import pytest
import runs
import tiny

from tcmax.data import DATASETS
from tcmax.experiment.grid import Cell
from tcmax.records.files import read_json
from tcmax.registry import Entry
from tcmax.training import jobs

STEPS, ITEMS = 4, 26  # of the tiny dataset in batches of 8
WEIGHTS = {"modulated": "weights"}
# variant -> optimiser steps, updates of left and right, forward passes, items encoded, backward passes; per epoch.
WORK = {
    "joint": ({"method": "joint"}, 4, (4, 4), 4, 26, 4),
    "ogm-ge": ({"method": "ogm-ge", "parameters": WEIGHTS}, 4, (4, 4), 4, 26, 4),
    "unimodal": ({"method": "unimodal"}, 4, (4, 4), 4, 26, 4),
    # The reference sees every batch again in evaluation mode, and one row of zeros, while its window lasts.
    "agm": ({"method": "agm", "parameters": {"last_epoch": 9}}, 4, (4, 4), 12, 2 * 26 + 4, 4),
    "agm release": ({"method": "agm", "fidelity": "release", "switches": runs.OWN_SPLIT}, 4, (4, 4), 4, 26, 4),
    "qmf": ({"method": "qmf"}, 4, (4, 4), 4, 26, 4),
    "opm": ({"method": "opm", "parameters": {"warm_up_epochs": 0}}, 4, (4, 4), 4, 26, 4),
    # One step per modality, which moves that modality's encoder alone; where gradients are zeroed, the first one too.
    "mla": ({"method": "mla"}, 8, (4, 4), 4, 26, 8),
    "mla original": ({"method": "mla", "fidelity": "original"}, 8, (8, 4), 4, 26, 8),
    "mmpareto": ({"method": "mmpareto"}, 4, (4, 4), 4, 26, 12),
    "mcr": ({"method": "mcr"}, 4, (4, 4), 4, 26, 4),
    "mlb": ({"method": "mlb"}, 4, (4, 4), 4, 26, 4),
    "tcmax": ({"method": "tcmax"}, 4, (4, 4), 4, 26, 4),
    "tcmax film": ({"method": "tcmax", "head": "film"}, 4, (4, 4), 4, 26, 4),
}


@pytest.mark.parametrize("name", list(WORK))
def test_assertion_38_steps_updates_and_passes_of_every_method(name):
    variant, steps, (left, right), passes, encoded, backward = WORK[name]
    history = runs.make(variant, training=tiny.training(epochs=2)).train().history
    for epoch in (0, 1):
        counts = {quantity: value for at, quantity, value in history if at == epoch}
        assert counts["count.optimizer_steps"] == steps
        assert (counts["count.encoder_updates.left"], counts["count.encoder_updates.right"]) == (left, right)
        for modality in ("left", "right"):
            assert counts[f"count.forward_passes.{modality}"] == passes
            assert counts[f"data_passes.{modality}"] == encoded / ITEMS
        assert counts["count.backward_passes"] == backward


def test_copies_that_g_blending_trains_are_its_work():
    variant = {"method": "g-blending", "parameters": {"super_epoch": 1}}
    history = runs.make(variant, training=tiny.training(epochs=2)).train().history
    calls, data = (
        [value for _, name, value in history if name == f"{quantity}.left"]
        for quantity in ("count.forward_passes", "data_passes")
    )
    # In the first epoch each of two copies is trained and measured on two parts, in the second measured again.
    assert calls == [STEPS + 2 * (STEPS + 2), STEPS + 2 * 2]
    assert 1 + 2 * (0.5 + 1) < data[0] < 1 + 2 * (1 + 1)  # some items are held out of their training
    assert data[1] == 1 + 2


def test_a_frozen_encoder_is_encoded_but_not_updated():
    run = runs.make("joint", training=tiny.training(epochs=1))
    run.model.encoder["left"].requires_grad_(False)
    counts = {quantity: value for _, quantity, value in run.train().history}
    assert (counts["count.encoder_updates.left"], counts["count.encoder_updates.right"]) == (0, STEPS)
    assert counts["data_passes.left"] == 1


@pytest.mark.parametrize(
    ("variant", "quantity", "calls"),
    [
        ({"method": "ogm", "parameters": {**WEIGHTS, "last_epoch": 0}}, "count.modulated", [STEPS, 0]),
        (
            {"method": "ogm-ge-opm", "parameters": {**WEIGHTS, "first_epoch": 1, "last_epoch": 1}},
            "count.modulated",
            [0, STEPS],
        ),
        ({"method": "agm", "parameters": {"last_epoch": 0}}, "count.modulated", [STEPS, 0]),
        ({"method": "mla"}, "count.projector_calls", [2 * STEPS, 2 * STEPS]),
        ({"method": "mla", "fidelity": "release"}, "count.projector_calls", [0, 0]),
    ],
)
def test_every_gradient_hook_counts_its_calls(variant, quantity, calls):
    history = runs.make(variant, training=tiny.training(epochs=2)).train().history
    assert [value for _, name, value in history if name == quantity] == calls


def test_assertion_38_wall_time_and_peak_memory_stand_in_the_sidecar(installed_tiny, tmp_path):
    experiment = tiny.experiment(variants={"joint": tiny.VARIANTS["joint"]}, seeds=[0])
    manifest = jobs.train_block(experiment, Cell("tiny", 0, "joint"), 0, tmp_path)
    sidecar = read_json(manifest.parent / "seed_0" / "sidecar.json")
    assert sidecar["seconds"] > 0
    assert sidecar["peak_memory_mib"] > 10
    assert sidecar["resumed_from_epoch"] == 0


def loud():
    """The tiny dataset with inputs so large that logits differ by thousands."""
    data = tiny.dataset()
    return dataclasses.replace(data, inputs={name: np.float32(3e4) * x for name, x in data.inputs.items()})


def test_assertion_11_an_overflowing_run_is_counted_and_flagged_in_its_record(monkeypatch, tmp_path):
    monkeypatch.setitem(DATASETS.entries, "tiny", Entry(f"{__name__}:loud"))
    release = {"method": "tcmax", "head": "concat", "switches": {"tcmax.mean_shift": True}}
    variants = {"release": release, "reference": {"method": "tcmax", "head": "concat"}}
    experiment = tiny.experiment(variants=variants, seeds=[0], training=tiny.training(learning_rate=1e-12))
    found = {}
    for variant in variants:
        manifest = jobs.train_block(experiment, Cell("tiny", 0, variant), 0, tmp_path)
        found[variant] = read_json(manifest.parent / "seed_0" / "run.json")
    assert (found["reference"]["status"], found["reference"]["nonfinite_losses"]) == ("finished", 0)
    assert (found["release"]["status"], found["release"]["diverged_epoch"]) == ("diverged", 0)
    assert found["release"]["nonfinite_losses"] == STEPS
