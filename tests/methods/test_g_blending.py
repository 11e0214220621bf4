"""G-Blending: weights, losses and copies against longhand NumPy (assertions 26 and 35), and its switches."""

import longhand
import numpy as np
import pytest
import steps
import tiny
import torch
from single import Run

from tcmax.errors import TcmaxError
from tcmax.models.sgd import SGD
from tcmax.training.loading import Arrays
from tcmax.training.spec import resolve_run

BLEND = {"method": "g-blending", "head": "concat-msh"}
THREE = {"a": (3,), "b": (2,), "c": (2, 2)}


def blending(*names, **parameters):
    switches = {f"g_blending.{name}": True for name in names}
    return {**BLEND, "parameters": {"super_epoch": 2, **parameters}, "switches": switches}


def forward(w, x):
    """Logits of every head, and what backward needs."""
    encoded = {name: longhand.encode(w, name, values) for name, values in x.items()}
    stacked = np.concatenate([z for z, _ in encoded.values()], axis=1)
    logits = {
        name: z @ w[f"head.linears.{name}.weight"].T + w[f"head.linears.{name}.bias"]
        for name, (z, _) in encoded.items()
    }
    return {**logits, "joint": stacked @ w["head.linear.weight"].T + w["head.linear.bias"]}, encoded, stacked


def gradients_by_hand(w, x, y, weights):
    """Of sum_k w_k CE(head k), for every weight."""
    logits, encoded, stacked = forward(w, x)
    d = {name: weights[name] * longhand.cross_entropy_gradient(values, y) for name, values in logits.items()}
    gradients = {"head.linear.weight": d["joint"].T @ stacked, "head.linear.bias": d["joint"].sum(axis=0)}
    d_stacked, start = d["joint"] @ w["head.linear.weight"], 0
    for name, (z, memory) in encoded.items():
        path = f"head.linears.{name}"
        gradients |= {f"{path}.weight": d[name].T @ z, f"{path}.bias": d[name].sum(axis=0)}
        d_z = d_stacked[:, start : start + z.shape[1]] + d[name] @ w[f"{path}.weight"]
        start += z.shape[1]
        gradients |= longhand.encode_backward(w, name, memory, d_z)
    return gradients


def losses_by_hand(w, x, y):
    logits = forward(w, x)[0]
    return {name: -np.log(longhand.softmax(u)[np.arange(len(y)), y]).mean() for name, u in logits.items()}


def setup(variant, dataset=None):
    model, method, dataset = steps.parts(variant, dataset=dataset)
    whole = steps.batch_of(dataset, size=26)
    return model, method, Arrays(whole.inputs, whole.labels), dataset


@pytest.mark.parametrize("shapes", [tiny.SHAPES, THREE], ids=["two", "three"])
def test_a_step_equals_the_one_written_out_by_hand(shapes):
    model, method, _, dataset = setup(blending(), tiny.dataset(shapes))
    batch, before = steps.batch_of(dataset), longhand.weights(model)
    weights = dict(zip([*shapes, "joint"], np.linspace(0.1, 0.7, len(shapes) + 1), strict=True))
    method.weights.copy_(torch.tensor(list(weights.values())))
    optimizer = SGD(model.parameters(), lr=steps.RATE, momentum=0.9, weight_decay=steps.DECAY)
    logged = method.step(model, batch, optimizer, steps.progress())
    x, y = {name: value.numpy() for name, value in batch.inputs.items()}, batch.labels.numpy()
    expected, costs = gradients_by_hand(before, x, y, weights), losses_by_hand(before, x, y)
    assert logged["loss"].item() == pytest.approx(sum(weights[name] * costs[name] for name in weights), rel=1e-11)
    assert {name: logged[f"weight.{name}"].item() for name in weights} == pytest.approx(weights)
    steps.close({name: weight.grad.numpy() for name, weight in model.named_parameters()}, expected)
    steps.close(longhand.weights(model), longhand.sgd(before, expected, steps.RATE, steps.DECAY))


def test_copies_follow_each_loss_alone_with_the_models_settings_on_the_same_batches():
    """Two steps with momentum, decay and a changed rate, without the held-out items."""
    model, method, part, _ = setup(blending(held_out=0.3))
    method.begin_epoch(model, part, steps.progress())
    optimizer = SGD(model.parameters(), lr=0.3, momentum=0.9, weight_decay=0.01)
    names = [name for name, _ in model.named_parameters()]
    alone, joint = {"left": 1, "right": 1, "joint": 0}, {"left": 0, "right": 0, "joint": 1}
    copies = {"alone": (alone, longhand.weights(model), {}), "together": (joint, longhand.weights(model), {})}
    kept = []
    for rate, positions in ((0.3, range(8)), (0.1, range(8, 20))):
        optimizer.param_groups[0]["lr"] = rate
        batch = part.batch(torch.tensor(list(positions)))
        method.step(model, batch, optimizer, steps.progress())
        rows = ~method.held_out[batch.rows].numpy()
        kept.append(rows.mean())
        x, y = {name: value.numpy()[rows] for name, value in batch.inputs.items()}, batch.labels.numpy()[rows]
        for losses, w, velocity in copies.values():
            layers = ("linear",) if losses["joint"] else ("left", "right")
            reached = [name for name in names if name.startswith("encoder") or name.split(".")[-2] in layers]
            gradients = gradients_by_hand(w, x, y, losses)
            for name in reached:
                velocity[name] = 0.9 * velocity.get(name, 0.0) + gradients[name] + 0.01 * w[name]
                w[name] = w[name] - rate * velocity[name]
    assert 0 < min(kept) < 1
    for copy, (_, w, _) in copies.items():
        steps.close(longhand.weights(getattr(method, copy)), w)


def blend(before, after, *names, **parameters):
    method = setup(blending(*names, **parameters))[1]
    return method.blend(*(torch.tensor(part, dtype=torch.float64) for part in (before, after))).tolist()


BEFORE = [[2.0, 2.0, 2.0], [2.1, 2.2, 2.0]]  # train, then held out, of left, right and joint
AFTER = [[1.0, 1.5, 0.4], [1.4, 1.9, 1.0]]


def test_weights_are_gains_over_squared_overfitting():
    gains, overfitting = [0.7, 0.3, 1.0], [0.4 - 0.1, 0.4 - 0.2, 0.6 - 0.0]
    raw = np.array(gains) / np.square(overfitting)
    assert blend(BEFORE, AFTER) == pytest.approx(raw / raw.sum())
    assert blend(BEFORE, AFTER, cap=0.4) == pytest.approx(np.minimum(raw / raw.sum(), 0.4))
    level = [[1.0] * 3, [1.5, 2.0, 1.9]]  # no overfitting at all for the first: its square is floored
    flat = blend([[1.6, 2.0, 2.0], [2.1, 2.2, 2.0]], level)
    raw = np.array([0.6 / 1e-6, 0.2 / 0.8**2, 0.1 / 0.9**2])
    assert flat == pytest.approx(raw / raw.sum())


def test_a_loss_that_got_worse_has_no_weight_unless_the_gain_is_taken_absolute():
    """Switch g_blending.absolute_gain: inert while every loss improves."""
    worse = [AFTER[0], [1.4, 2.6, 1.0]]
    reference, absolute = blend(BEFORE, worse), blend(BEFORE, worse, "absolute_gain")
    assert reference[1] == 0
    assert sum(reference) == pytest.approx(1)
    raw = np.array([0.7 / 0.3**2, 0.4 / 0.9**2, 1.0 / 0.6**2])
    assert absolute == pytest.approx(raw / raw.sum())
    assert blend(BEFORE, AFTER, "absolute_gain") == blend(BEFORE, AFTER)


def test_where_no_loss_improved_the_weights_stay():
    assert blend(BEFORE, [AFTER[0], [2.2, 2.2, 2.1]]) == pytest.approx([1 / 3] * 3)


@pytest.mark.parametrize("names", [(), ("summed_losses",)])
def test_assertion_26_weights_do_not_see_how_many_items_are_held_out(names):
    """Every held-out item twice: the same weights, but where losses are summed (switch g_blending.summed_losses)."""
    model, method, part, _ = setup(blending(*names, held_out=0.5))
    method.begin_epoch(model, part, steps.progress())
    held_out = method.held_out.clone()
    again = {name: torch.cat([x, x[held_out]]) for name, x in part.inputs.items()}
    doubled = Arrays(again, torch.cat([part.labels, part.labels[held_out]]))
    parts = [(part, held_out), (doubled, torch.cat([held_out, torch.ones(int(held_out.sum()), dtype=torch.bool)]))]

    def losses():
        found = []
        for items, method.held_out in parts:
            found.append(method.part_losses(items))
        method.held_out = held_out
        return found

    before = losses()
    optimizer = SGD(model.parameters(), lr=0.1, momentum=0.0, weight_decay=0.0)
    for _ in range(5):
        method.step(model, part.batch(torch.arange(26)), optimizer, steps.progress())
    weights = [method.blend(start, end).tolist() for start, end in zip(before, losses(), strict=True)]
    assert len({round(weight, 3) for weight in weights[0]}) > 1
    assert (weights[0] == pytest.approx(weights[1])) is not bool(names)


def test_losses_are_measured_in_evaluation_mode_on_the_two_parts():
    model, method, part, _ = setup(blending())
    method.begin_epoch(model, part, steps.progress())
    for row, mask in enumerate((~method.held_out, method.held_out)):
        x, y = {name: value[mask].numpy() for name, value in part.inputs.items()}, part.labels[mask].numpy()
        assert method.before[row].tolist() == pytest.approx(
            list(losses_by_hand(longhand.weights(model), x, y).values())
        )
    assert int(method.held_out.sum()) == round(0.2 * 26)
    assert method.alone.training
    assert method.together.training


def trained(variant, dataset=None):
    dataset = dataset or tiny.dataset()
    experiment = tiny.experiment(variants={"v": variant})
    return Run(resolve_run(experiment, dataset, "tiny", 0, "v"), 0, dataset, torch.device("cpu"))


def history(run, quantity):
    return [value for _, name, value in run.train().history if name == quantity]


def test_a_super_epoch_uses_what_the_one_before_measured_and_the_first_equal_weights():
    online, offline = (
        history(trained(blending(super_epoch=1, schedule=schedule)), "weight.joint")
        for schedule in ("online", "offline")
    )
    assert online[0] == offline[0] == pytest.approx(1 / 3)
    assert len(set(online)) == 4
    assert offline[1] == offline[2] == offline[3] != offline[0]


def test_every_super_epoch_measures_from_the_model_as_it_stands_and_from_rest():
    model, method, part, _ = setup(blending(super_epoch=1, schedule="online"))
    optimizer = SGD(model.parameters(), lr=0.3, momentum=0.9, weight_decay=0.0)
    method.begin_epoch(model, part, steps.progress(0))
    method.step(model, part.batch(torch.arange(26)), optimizer, steps.progress(0))
    weights = longhand.weights(model)
    for copy in (method.alone, method.together):
        assert any(not np.array_equal(value, weights[name]) for name, value in longhand.weights(copy).items())
    assert method.velocity.any()
    method.begin_epoch(model, part, steps.progress(1))
    for copy in (method.alone, method.together):
        steps.close(longhand.weights(copy), weights, tolerance=0)
    assert not method.velocity.any()
    torch.testing.assert_close(method.before, method.part_losses(part))


def test_copies_are_trained_where_a_later_super_epoch_can_use_them():
    for schedule, epochs, expected in (
        ("online", 6, [True] * 4 + [False] * 2),
        ("online", 5, [True] * 4 + [False]),
        ("offline", 6, [True] * 2 + [False] * 4),
    ):
        method = steps.parts(blending(schedule=schedule), epochs=epochs)[1]
        assert [method.measures(epoch) for epoch in range(epochs)] == expected
    passes = history(trained(blending(schedule="offline")), "count.backward_passes")
    assert passes == [3 * 4] * 2 + [4] * 2  # four batches an epoch


@pytest.mark.parametrize(("schedule", "learns"), [("online", False), ("offline", True)])
def test_held_out_items_teach_the_model_offline_alone_and_the_copies_never(schedule, learns):
    model, method, part, _ = setup(blending(schedule=schedule))
    method.begin_epoch(model, part, steps.progress())
    optimizer = SGD(model.parameters(), lr=0.3, momentum=0.9, weight_decay=0.0)
    before, copies = longhand.weights(model), [longhand.weights(copy) for copy in (method.alone, method.together)]
    held_out = method.held_out.nonzero().squeeze(-1)
    terms = method.step(model, part.batch(held_out), optimizer, steps.progress())
    moved = any(not np.array_equal(value, before[name]) for name, value in longhand.weights(model).items())
    assert moved is learns
    assert terms["count.backward_passes"] == learns
    assert terms["loss"].isfinite()
    for copy, weights in zip((method.alone, method.together), copies, strict=True):
        steps.close(longhand.weights(copy), weights)


def test_what_it_cannot_train_is_refused():
    with pytest.raises(ValueError, match="use the head concat-msh"):
        steps.parts({**blending(), "head": "concat"})
    for parameters, sentence in (
        ({"super_epoch": 4}, "first weighs its losses after super_epoch = 4 epochs, and the run has 4"),
        ({"super_epoch": 0}, "super_epoch must be at least 1"),
        ({"held_out": 1.0}, r"held_out must lie in \(0, 1\)"),
        ({"cap": 0.0}, r"cap must lie in \(0, 1\]"),
    ):
        with pytest.raises(TcmaxError, match=sentence):
            steps.parts(blending(**parameters))
