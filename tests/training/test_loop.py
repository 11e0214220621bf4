"""The training loop: a run is a pure function of settings, seed and data; selection rules keep what they say."""

import copy
import os
from dataclasses import dataclass

import numpy as np
import pytest
import runs
import tiny
import torch
from single import Run
from torch import nn

from tcmax.errors import TcmaxError
from tcmax.models.encoders import ENCODERS
from tcmax.models.encoders.base import Encoder
from tcmax.registry import Entry
from tcmax.training import loading, loop
from tcmax.training.loop import pick_device

every_variant = pytest.mark.parametrize("variant", sorted(tiny.VARIANTS))

WORK = ("count.encoder_updates", "count.forward_passes", "data_passes")  # by modality


def values(result, quantity):
    return [value for _, name, value in result.history if name == quantity]


def spied(run):
    """The rows of every batch that a run trains on, by epoch."""
    seen = {}
    step = run.method.step

    def record(model, batch, optimizer, progress):
        seen.setdefault(progress.epoch, []).append(batch.rows.flatten().tolist())
        return step(model, batch, optimizer, progress)

    run.method.step = record
    run.train()
    return seen


@every_variant
def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(variant):
    torch.manual_seed(1)
    first = runs.digest(runs.make(variant).train())
    torch.manual_seed(2)
    torch.randn(3)
    assert runs.digest(runs.make(variant).train()) == first
    assert runs.digest(runs.make(variant, seed=1).train())[0] != first[0]


def test_training_leaves_the_global_generator_untouched():
    run = runs.make("ogm-ge")
    before = torch.get_rng_state()
    run.train()
    assert torch.equal(torch.get_rng_state(), before)


def test_denormal_numbers_are_zero_while_training_and_only_then():
    tiny_number = torch.tensor(1e-40)
    run, inside = runs.make("joint"), []
    step = run.method.step

    def look(*arguments):
        inside.append(float(tiny_number * 1.0))
        return step(*arguments)

    run.method.step = look
    run.train()
    assert set(inside) == {0.0}
    assert float(tiny_number * 1.0) > 0


@dataclass(frozen=True)
class NoParameters:
    """Nothing to set."""


class Dropping(Encoder):
    """An encoder whose layers draw random numbers of their own."""

    Parameters = NoParameters
    width = 3

    def __init__(self, shape, parameters):
        super().__init__(shape, parameters)
        self.layers = nn.Sequential(nn.Linear(shape[0], 3), nn.Dropout(0.5))

    def forward(self, inputs):
        return self.layers(inputs)


def test_layers_that_draw_random_numbers_repeat_too(monkeypatch):
    monkeypatch.setitem(ENCODERS.entries, "dropping", Entry(f"{__name__}:Dropping"))
    datasets = {"tiny": {"encoder": {"name": "dropping"}}}
    torch.manual_seed(1)
    first = runs.digest(runs.make(datasets=datasets).train())
    torch.manual_seed(2)
    assert runs.digest(runs.make(datasets=datasets).train()) == first


def test_variants_of_one_seed_see_the_same_batches():
    seen = {variant: spied(runs.make(variant, seed=5)) for variant in tiny.VARIANTS}
    assert all(batches == seen["joint"] for batches in seen.values())
    assert spied(runs.make("joint", seed=6)) != seen["joint"]


def test_every_train_item_is_used_once_an_epoch_in_a_new_order_and_the_short_last_batch_is_kept():
    seen = spied(runs.make())
    assert sorted(seen) == [0, 1, 2, 3]
    for batches in seen.values():
        assert [len(rows) for rows in batches] == [8, 8, 8, 2]
        assert sorted(row for rows in batches for row in rows) == list(range(26))
    assert len({str(batches) for batches in seen.values()}) == 4


def test_batches_hold_the_items_of_the_train_part():
    dataset = tiny.dataset()
    run = runs.make(dataset=dataset, precision="float64")
    train = dataset.folds[0].train
    checked = []

    def check(model, batch, optimizer, progress):
        for name, x in batch.inputs.items():
            np.testing.assert_array_equal(x.numpy(), dataset.inputs[name][train[batch.rows]].astype(np.float64))
        np.testing.assert_array_equal(batch.labels.numpy(), dataset.labels[train[batch.rows]])
        checked.append(progress.step)
        return {"loss": torch.zeros(())}

    run.method.step = check
    run.train()
    assert checked == [0, 1, 2, 3] * 4


def test_the_learning_rate_drops_at_each_named_epoch():
    training = tiny.training(epochs=6, lr_drop_epochs=[2, 5], lr_drop_factor=0.5)
    run = runs.make(training=training)
    used = []
    step = run.method.step

    def record(model, batch, optimizer, progress):
        if progress.step == 0:
            used.append(optimizer.param_groups[0]["lr"])
        return step(model, batch, optimizer, progress)

    run.method.step = record
    result = run.train()
    assert used == [0.1, 0.1, 0.05, 0.05, 0.05, 0.025]
    assert values(result, "learning_rate") == used


def test_the_loss_of_an_epoch_is_the_mean_over_items_and_counts_are_sums():
    run = runs.make()
    run.method.step = lambda model, batch, optimizer, progress: {
        "loss": torch.tensor(float(batch.labels.numel())),
        "count.batches": torch.ones(()),
    }
    result = run.train()
    assert values(result, "loss")[0] == pytest.approx((3 * 8 * 8 + 2 * 2) / 26)
    assert values(result, "count.batches") == [4.0] * 4


def test_a_run_in_float64_is_float64_throughout():
    run = runs.make(precision="float64")
    result = run.train()
    assert {weight.dtype for weight in run.model.parameters()} == {torch.float64}
    assert {logits.dtype for logits in result.selected["last"].logits.values()} == {np.dtype("f8")}
    narrow = runs.make().train()
    assert {logits.dtype for logits in narrow.selected["last"].logits.values()} == {np.dtype("f4")}
    np.testing.assert_allclose(
        narrow.selected["last"].logits["joint"], result.selected["last"].logits["joint"], atol=1e-4
    )


def test_predictions_are_the_models_outputs_in_evaluation_mode_for_val_then_test():
    data = tiny.dataset({"left": (1, 8, 8)})
    run = runs.make("joint", dataset=data, datasets={"tiny": {"encoder": {"name": "cnn", "channels": [2]}}})
    kept = run.train().selected["last"].logits
    fold = data.folds[0]
    run.model.eval()
    with torch.no_grad():
        expected = run.model({"left": torch.from_numpy(data.inputs["left"][np.concatenate([fold.val, fold.test])])})
    assert kept["joint"].shape == (25, 3)
    np.testing.assert_array_equal(kept["joint"], expected.logits["joint"].numpy())
    np.testing.assert_array_equal(kept["left"], expected.logits["left"].numpy())


def test_evaluation_in_pieces_changes_nothing(monkeypatch):
    whole = runs.digest(runs.make(precision="float64").train())
    monkeypatch.setattr(loading, "PASS_ITEMS", 4)
    pieces = runs.make(precision="float64").train()
    for name, (_, expected) in whole[0]["last"][1].items():
        np.testing.assert_allclose(pieces.selected["last"].logits[name].ravel(), np.frombuffer(expected), rtol=1e-12)


def test_the_history_holds_accuracy_and_log_loss_of_every_part_and_read_out():
    data = tiny.dataset()
    result = runs.make(dataset=data, precision="float64").train()
    quantities = {name for epoch, name, _ in result.history if epoch == 3}
    readouts = ("left", "right", "joint", "own")
    expected = {f"{m}.{part}.{r}" for m in ("accuracy", "nll") for part in ("val", "test") for r in readouts}
    work = {f"{kind}.{m}" for kind in WORK for m in ("left", "right")}
    unrest = {"unrest.loss_spikes", "unrest.gradient_norm"}
    named = {"loss", "learning_rate", "count.backward_passes", "count.optimizer_steps"}
    assert quantities == {*expected, *work, *unrest, *named}
    keys = [(epoch, name) for epoch, name, _ in result.history]
    assert len(keys) == len(set(keys)) == 4 * len(quantities)
    logits, fold = result.selected["last"].logits["joint"], data.folds[0]
    for part, where in (("val", slice(0, 12)), ("test", slice(12, None))):
        truth = data.labels[fold.part(part)]
        share = np.exp(logits[where]) / np.exp(logits[where]).sum(1, keepdims=True)
        assert values(result, f"accuracy.{part}.joint")[-1] == np.mean(share.argmax(1) == truth)
        nll = -np.log(share[np.arange(len(truth)), truth]).mean()
        assert values(result, f"nll.{part}.joint")[-1] == pytest.approx(nll, rel=1e-12)


class Scripted(Run):
    """A run whose accuracies per epoch are given: {read-out: {part: [correct items per epoch]}}."""

    script: dict

    def predict(self):
        fold, labels = self.fold, {"val": 12, "test": 13}
        truth = np.concatenate([fold.val, fold.test])
        logits = {}
        for name in (*self.model.modalities, "joint"):
            values = np.zeros((len(truth), 3), np.float32)
            start = 0
            for part, n in labels.items():
                correct = self.script[name][part][self.state.epoch]
                for row in range(n):
                    label = self.held_out_labels[start + row]
                    values[start + row, label if row < correct else (label + 1) % 3] = 1 + self.state.epoch
                start += n
            logits[name] = values[None]
        return logits


def scripted(variant, **script):
    flat = {"val": [6] * 4, "test": [6] * 4}
    run = runs.make(variant, cls=Scripted)
    run.script = {name: {**flat, **script.get(name, {})} for name in ("left", "right", "joint")}
    return run.train()


def epoch_of(logits):
    """The epoch that scripted logits were made in."""
    return int(logits.max()) - 1


def test_best_val_keeps_the_earliest_best_epoch_and_the_oracle_looks_at_test():
    result = scripted("joint", joint={"val": [5, 9, 9, 8], "test": [3, 4, 5, 5]})
    epochs = {rule: set(kept.epochs.values()) for rule, kept in result.selected.items()}
    assert epochs == {"last": {3}, "best_val": {1}, "best_test_oracle": {2}}
    for rule, kept in result.selected.items():
        assert {epoch_of(logits) for logits in kept.logits.values()} == epochs[rule]
        assert set(kept.epochs) == {"left", "right", "joint"}


def test_separate_models_are_selected_separately_and_their_sum_is_the_joint_read_out():
    result = scripted(
        "unimodal",
        left={"val": [5, 9, 9, 8], "test": [1, 1, 1, 2]},
        right={"val": [1, 2, 3, 4], "test": [9, 1, 1, 1]},
        joint={"val": [12, 1, 1, 1], "test": [13, 1, 1, 1]},
    )
    assert result.selected["best_val"].epochs == {"left": 1, "right": 3}
    assert result.selected["best_test_oracle"].epochs == {"left": 3, "right": 0}
    assert set(result.selected["last"].epochs.values()) == {3}
    kept = result.selected["best_val"].logits
    assert (epoch_of(kept["left"]), epoch_of(kept["right"])) == (1, 3)
    np.testing.assert_array_equal(kept["joint"], kept["left"] + kept["right"])


def test_the_released_unimodal_run_is_selected_as_a_whole():
    joint = {"val": [1, 12, 1, 1], "test": [1, 1, 1, 1]}
    result = scripted({"method": "unimodal", "switches": {"unimodal.joint_selection": True}}, joint=joint)
    assert set(result.selected["best_val"].epochs.values()) == {1}


def test_a_method_with_its_own_read_out_is_selected_by_it():
    run = runs.make("joint", cls=Scripted)
    script = {"val": [6] * 4, "test": [6] * 4}
    run.script = {"joint": {**script, "val": [9, 1, 1, 1]}, "left": {**script, "val": [1, 1, 9, 1]}, "right": script}
    run.method.read_out = lambda logits: logits["left"]
    result = run.train()
    assert set(result.selected["best_val"].epochs.values()) == {2}


def test_kept_logits_do_not_follow_the_live_model():
    copies = {}
    run = runs.make(training=tiny.training(epochs=8))
    result = run.train(lambda run: copies.update({run.state.epoch - 1: copy.deepcopy(run.state.best["last"])}))
    best = result.selected["best_val"]
    epoch = best.epochs["joint"]
    assert epoch < 7, "the example must have its best epoch before the last one"
    then = copies[epoch]["joint"][2]
    for name, logits in best.logits.items():
        np.testing.assert_array_equal(logits, then[name])
        assert not np.array_equal(logits, result.selected["last"].logits[name])


def test_a_learning_rate_that_explodes_ends_as_a_diverged_run():
    result = runs.make(training=tiny.training(learning_rate=1e30)).train()
    assert result.diverged_epoch == 0
    assert result.selected == {}
    assert result.history[0] == (0, "diverged", 1.0)
    assert {name for _, name, _ in result.history} == {"diverged", "count.nonfinite_losses"}


def test_a_single_batch_with_a_nan_loss_ends_the_run_in_its_epoch():
    run = runs.make()
    loss = run.method.loss

    def spoiled(outputs, batch, progress):
        terms = loss(outputs, batch, progress)
        if (progress.epoch, progress.step) == (2, 1):
            terms["loss"] = terms["loss"] * float("nan")
        return terms

    run.method.loss = spoiled
    result = run.train()
    assert result.diverged_epoch == 2
    assert run.state.epoch == 3
    assert {epoch for epoch, _, _ in result.history} == {0, 1, 2}
    # Its gradient spoils the weights, so the three batches from it to the end of the epoch fail.
    last = [entry for entry in result.history if entry[0] == 2]
    assert last == [(2, "diverged", 1.0), (2, "count.nonfinite_losses", 3.0)]
    assert result.nonfinite_losses == 3


def test_logits_that_are_not_finite_end_the_run_though_the_loss_is():
    class Broken(Run):
        def predict(self):
            logits = super().predict()
            if self.state.epoch == 1:
                logits["left"][0, 3, 0] = np.inf
            return logits

    result = runs.make(cls=Broken).train()
    assert (result.diverged_epoch, result.selected) == (1, {})


def test_a_side_quantity_that_is_not_finite_is_left_out_of_the_history():
    run = runs.make()
    step = run.method.step
    run.method.step = lambda *arguments: {**step(*arguments), "ratio": torch.tensor(float("inf"))}
    result = run.train()
    assert result.diverged_epoch is None
    assert values(result, "ratio") == []


def test_a_method_that_cannot_train_the_model_says_so_before_training():
    with pytest.raises(TcmaxError, match=r"variant 'v' on tiny: OGM scales convolution kernels"):
        runs.make({"method": "ogm"})


@pytest.mark.parametrize("method", ["joint", "opm", "qmf", "tcmax", "unimodal"])
def test_a_head_with_layers_of_its_own_for_each_loss_needs_a_method_that_has_them(method):
    variant = {"method": method, "head": "concat-msh"}
    with pytest.raises(TcmaxError, match=rf"variant 'v' on tiny: the head concat-msh has layers .* {method} does not"):
        runs.make(variant)
    runs.make({**variant, "method": "mmpareto"})


def test_a_modality_name_that_pytorch_cannot_hold_is_one_sentence():
    with pytest.raises(TcmaxError, match=r"tiny: PyTorch refuses a name of a modality: .*values"):
        runs.make(dataset=tiny.dataset({"values": (3,), "right": (2,)}))


def test_validation_scores_do_not_depend_on_test_items_where_a_read_out_looks_at_its_batch():
    plain = tiny.dataset()
    test = plain.folds[0].test
    louder = {name: np.where(np.isin(np.arange(len(x)), test)[:, None], 3 * x, x) for name, x in plain.inputs.items()}
    variant = {"method": "mla", "switches": {"mla.batch_gating": True}}
    one, other = (runs.make(variant, dataset=tiny.dataset(inputs=inputs)).train() for inputs in (plain.inputs, louder))
    for quantity in ("nll.val.own", "accuracy.val.own"):
        assert values(one, quantity) == values(other, quantity)
    assert values(one, "nll.test.own") != values(other, "nll.test.own")


def test_on_a_gpu_only_deterministic_kernels_are_asked_for(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    try:
        assert pick_device("cuda").type == "cuda"
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.backends.cudnn.benchmark
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    finally:
        torch.use_deterministic_algorithms(False)
        monkeypatch.undo()
        os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)


def test_a_gpu_that_is_asked_for_and_absent_is_one_sentence(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(TcmaxError, match="no CUDA device is visible; set `device: cpu`"):
        pick_device("cuda")


def test_training_on_the_cpu_uses_one_thread():
    torch.set_num_threads(2)
    assert pick_device("cpu").type == "cpu"
    assert torch.get_num_threads() == 1


def test_unrest_is_spikes_of_the_loss_and_the_largest_gradient_against_the_median():
    calm, spiky = [1.0, 0.9, 1.0, 0.9, 1.0, 0.9], [-1.0, -0.9, -1.0, 0.5, -1.0, -0.9]
    found = loop._unrest(np.array([calm, spiky]).T, np.array([[1.0, 2.0, 3.0], [1.0, 1.0, 40.0]]).T)
    assert found["unrest.loss_spikes"].tolist() == [0.0, 0.2]  # one of five changes
    assert found["unrest.gradient_norm"].tolist() == [1.5, 40.0]
    shifted = loop._unrest(7 + 100 * np.array([calm, spiky]).T, np.empty((0, 2)))
    assert shifted["unrest.loss_spikes"].tolist() == [0.0, 0.2]  # whatever its scale
    assert "unrest.gradient_norm" not in shifted


def test_a_run_records_its_unrest_by_epoch_and_high_rates_show_more_of_it():
    def unrest(rate):
        result = runs.make("joint", training=tiny.training(learning_rate=rate, epochs=12, lr_drop_epochs=[])).train()
        values = {
            name: [v for _, q, v in result.history if q == f"unrest.{name}"]
            for name in ("loss_spikes", "gradient_norm")
        }
        assert {len(of) for of in values.values()} == {12}
        return np.mean(values["gradient_norm"])

    assert unrest(5.0) > 2 * unrest(0.05)
