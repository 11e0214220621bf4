"""What happens around every method, as published and as released: the split, the start, the chosen epoch."""

import dataclasses
import math

import numpy as np
import pytest
import runs
import tiny
import torch

from tcmax.data.base import Fold, file_order_cut
from tcmax.experiment.grid import Cell
from tcmax.experiment.switches import PROTOCOL, SWITCHES
from tcmax.records import kinds, parquet
from tcmax.training import jobs
from tcmax.training.spec import resolve_run

JOINT = tiny.VARIANTS["joint"]
SPLIT, START, ALIASED = (
    {**JOINT, "switches": {f"protocol.{name}": True}}
    for name in ("file_order_split", "released_start", "aliased_selection")
)
IMAGES = {"left": (1, 8, 8), "right": (2,)}
ENCODERS = {"tiny": {"encoders": {"left": {"name": "cnn", "channels": [16, 32]}, "right": {"name": "mlp"}}}}


def test_a_fidelity_picks_the_protocol_of_every_variant():
    names = {name for name, switch in SWITCHES.items() if PROTOCOL in switch.scope}
    assert len(names) == 4
    for fidelity, expected in (("reference", False), ("original", False), ("release", True)):
        for label, variant in tiny.VARIANTS.items():
            experiment = tiny.experiment(variants={label: {**variant, "fidelity": fidelity}})
            spec = resolve_run(experiment, tiny.dataset(), "tiny", 0, label)
            assert {name: spec.switches[name] for name in names} == dict.fromkeys(names, expected)


# --- the split


@pytest.mark.parametrize(
    ("listed", "train", "val"), [(6698, 5358, 1340), (14675, 11740, 2935), (9537, 7629, 1908), (2, 1, 1)]
)
def test_the_released_cut_leaves_the_papers_sizes(listed, train, val):
    """CREMA-D, Kinetics-Sounds and UCF101 as the method specification counts them (§1.2)."""
    rows = np.random.default_rng(0).permutation(listed)
    whole = Fold(np.sort(rows[: listed // 2]), np.sort(rows[listed // 2 :]), np.arange(listed, listed + 5))
    cut = file_order_cut(whole)
    assert (len(cut.train), len(cut.val)) == (train, val)
    np.testing.assert_array_equal(np.concatenate([cut.train, cut.val]), np.arange(listed))
    np.testing.assert_array_equal(cut.test, whole.test)


def test_a_released_run_trains_on_the_first_rows_and_validates_on_the_last():
    data = tiny.dataset()
    own, released = runs.make(JOINT, dataset=data), runs.make(SPLIT, dataset=data)
    listed = sorted([*data.folds[0].train, *data.folds[0].val])
    assert own.fold is data.folds[0]
    assert released.fold.train.tolist() == listed[:30]
    assert released.fold.val.tolist() == listed[30:]
    assert len(released.train_part.labels) == 30
    assert released.method.setting.n_train == 30
    counts = np.bincount(data.labels[listed[:30]], minlength=3)
    assert released.method.setting.class_counts.tolist() == counts.tolist()


def test_an_official_validation_list_is_kept():
    data = tiny.dataset(official_validation=True)
    assert runs.make(SPLIT, dataset=data).fold is data.folds[0]
    assert data.fingerprint() != tiny.dataset().fingerprint()


def test_predictions_name_the_items_of_the_cut(installed_tiny, tmp_path):
    experiment = tiny.experiment(variants={"own": JOINT, "released": SPLIT}, seeds=[0])
    data = tiny.dataset()
    for variant, fold in (("own", data.folds[0]), ("released", file_order_cut(data.folds[0]))):
        jobs.train_block(experiment, Cell("tiny", 0, variant), 0, tmp_path)
        path = tmp_path / "tiny" / "tiny" / "fold_0" / variant / "seed_0" / "predictions_last.parquet"
        table = parquet.read(path, kinds.PREDICTIONS).to_pandas()
        for part in ("val", "test"):
            rows = table[table["split"] == part]
            assert rows["item"].tolist() == data.items[fold.part(part)].tolist()
            assert rows["label"].tolist() == data.labels[fold.part(part)].tolist()


# --- the start


def test_the_released_start_redraws_kernels_and_batch_norms_and_nothing_else():
    data = tiny.dataset(IMAGES)
    spec = runs.make(JOINT, dataset=data, datasets=ENCODERS).spec
    released = dataclasses.replace(spec, switches={**spec.switches, "protocol.released_start": True})
    plain = spec.build_model(data, seed=3).state_dict()
    drawn = released.build_model(data, seed=3).state_dict()
    images = {name: value for name, value in plain.items() if name.startswith("encoder.left") and "weight" in name}
    kernels = [name for name, value in images.items() if value.ndim == 4]
    norms = [name for name, value in images.items() if value.ndim == 1]
    changed = {name for name in plain if not torch.equal(plain[name], drawn[name])}
    assert changed == {*kernels, *norms}
    for name, fan_out in zip(kernels, (16 * 9, 32 * 9), strict=True):
        values = drawn[name].double()
        expected, n = math.sqrt(2 / fan_out), values.numel()
        assert values.std().item() == pytest.approx(expected, rel=4 / math.sqrt(2 * n))
        assert abs(values.mean().item()) < 4 * expected / math.sqrt(n)
        assert values.abs().max() > 2 * expected  # normal, not uniform on (-1.73, 1.73) of them
    scales = torch.cat([drawn[name] for name in norms]).double()
    assert scales.mean().item() == pytest.approx(1, abs=4 * 0.02 / math.sqrt(48))
    assert scales.std().item() == pytest.approx(0.02, rel=0.45)
    again = released.build_model(data, seed=3).state_dict()
    assert all(torch.equal(drawn[name], again[name]) for name in drawn)


def test_the_released_start_is_inert_without_convolutions():
    plain, released = runs.make(JOINT).model.state_dict(), runs.make(START).model.state_dict()
    assert all(torch.equal(plain[name], released[name]) for name in plain)


# --- the chosen epoch


@pytest.mark.parametrize("variant", [JOINT, ALIASED], ids=["reference", "release"])
def test_assertion_29_the_kept_best_model_is_a_copy_and_an_alias_in_the_release(variant):
    run = runs.make(variant, training=tiny.training(epochs=8))
    result = run.train()
    accuracies = {
        part: [value for _, name, value in result.history if name == f"accuracy.{part}.own"] for part in ("val", "test")
    }
    chosen = int(np.argmax(accuracies["val"]))
    assert chosen < 6, "the example must train on for two epochs after its best one"
    live, aliased = {name: own[0] for name, own in run.predict().items()}, variant is ALIASED
    best = result.selected["best_val"]
    assert set(best.epochs.values()) == {7 if aliased else chosen}
    for name, logits in best.logits.items():
        assert np.array_equal(logits, live[name]) is aliased
    # The diagnostic stays what it is: the release has no such rule.
    assert set(result.selected["best_test_oracle"].epochs.values()) == {int(np.argmax(accuracies["test"]))}


def test_assertion_30_every_run_reports_all_three_rules_of_selection():
    for label in tiny.VARIANTS:
        result = runs.make(label).train()
        assert set(result.selected) == {"last", "best_val", "best_test_oracle"}
        shapes = {rule: {k: v.shape for k, v in kept.logits.items()} for rule, kept in result.selected.items()}
        assert shapes["last"] == shapes["best_val"] == shapes["best_test_oracle"]
