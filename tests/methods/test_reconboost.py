"""ReconBoost: stages, and a step of each phase against longhand NumPy (assertions 26 and 28), and its switches."""

import longhand
import numpy as np
import pytest
import steps
import tiny
import torch

from tcmax.errors import TcmaxError
from tcmax.models.sgd import SGD

RECONBOOST = {"method": "reconboost", "head": {"name": "shared-mlp", "hidden": 6}}
SHORT = {**RECONBOOST, "parameters": {"phase_epochs": 1}}
THREE = {"a": (3,), "b": (2,), "c": (2, 2)}
IMAGES = {"a": (1, 6, 6), "b": (2, 4, 4)}
CNN = {"name": "cnn", "channels": [3, 4]}


def forward(w, x):
    """Per modality: logits, and what backward needs."""
    result = {}
    for name, values in x.items():
        z, memory = longhand.encode(w, name, values)
        first = z @ w["head.layers.0.weight"].T + w["head.layers.0.bias"]
        hidden = np.maximum(first, 0)
        logits = hidden @ w["head.layers.2.weight"].T + w["head.layers.2.bias"]
        result[name] = (logits, (z, memory, first, hidden))
    return result


def backward(w, passes, d_logits):
    """Gradients of the layers and of the encoders of the modalities in `d_logits`."""
    gradients = {}
    for name, d in d_logits.items():
        z, memory, first, hidden = passes[name][1]
        d_first = (d @ w["head.layers.2.weight"]) * (first > 0)
        own = {
            "head.layers.2.weight": d.T @ hidden,
            "head.layers.2.bias": d.sum(axis=0),
            "head.layers.0.weight": d_first.T @ z,
            "head.layers.0.bias": d_first.sum(axis=0),
        }
        for path, gradient in own.items():
            gradients[path] = gradients.get(path, 0.0) + gradient
        gradients |= longhand.encode_backward(w, name, memory, d_first @ w["head.layers.0.weight"])
    return gradients


def boosting_by_hand(w, x, y, current, previous, w1=5.0, w2=1.0, alpha=0.5):
    """Phase 1: loss, agreement and gradients of what may move."""
    passes, rows, n, c = forward(w, x), np.arange(len(y)), len(y), 3
    others = w["head.rate"] * sum(logits for name, (logits, _) in passes.items() if name != current)
    p = longhand.softmax(others)[rows, y]
    own = longhand.softmax(passes[current][0])
    loss = ((w1 - w2 * p) * -np.log(own[rows, y])).mean() / c
    d = (w1 - w2 * p)[:, None] * (own - longhand.one_hot(y, c)) / n / c
    agreement = 0.0
    if previous:
        gap = own - longhand.softmax(passes[previous][0])
        agreement = (gap**2).mean()
        d_own = 2 * alpha * gap / gap.size
        d = d + own * (d_own - (d_own * own).sum(axis=1, keepdims=True))
    return loss + alpha * agreement, agreement, backward(w, passes, {current: d})


def stir(model):
    with torch.no_grad():
        model.head.rate.fill_(1.4)


@pytest.mark.parametrize(
    ("shapes", "epoch", "current", "previous"),
    [
        (tiny.SHAPES, 0, "left", None),
        (tiny.SHAPES, 2, "right", "left"),
        (tiny.SHAPES, 4, "left", "right"),
        (THREE, 4, "c", "b"),
        (THREE, 6, "a", "c"),
    ],
)
def test_a_boosting_step_equals_the_one_written_out_by_hand(shapes, epoch, current, previous):
    step = steps.take(SHORT, epoch=epoch, prepare=stir, dataset=tiny.dataset(shapes))
    loss, agreement, expected = boosting_by_hand(step.before, step.x, step.y, current, previous)
    assert step.logged["loss"] == pytest.approx(loss, rel=1e-11)
    assert step.logged.get("agreement", 0.0) == pytest.approx(agreement, rel=1e-11)
    steps.close(step.gradients, expected)
    after = longhand.sgd({path: step.before[path] for path in expected}, expected, steps.RATE, steps.DECAY)
    steps.close(step.after, step.before | after)  # the others rest, weight decay included


@pytest.mark.parametrize("shapes", [tiny.SHAPES, THREE], ids=["two", "three"])
def test_a_tuning_step_equals_the_one_written_out_by_hand(shapes):
    step = steps.take(SHORT, epoch=1, prepare=stir, dataset=tiny.dataset(shapes))
    passes, rate = forward(step.before, step.x), step.before["head.rate"]
    total = sum(logits for logits, _ in passes.values())
    d = longhand.cross_entropy_gradient(rate * total, step.y)
    expected = backward(step.before, passes, dict.fromkeys(shapes, rate * d)) | {"head.rate": (d * total).sum()}
    steps.close(step.gradients, expected)
    steps.close(step.after, longhand.sgd(step.before, expected, steps.RATE, steps.DECAY))


def test_modalities_take_turns_and_every_stage_ends_in_tuning_all():
    method = steps.parts({**RECONBOOST, "parameters": {"phase_epochs": 2}}, dataset=tiny.dataset(THREE))[1]
    turns = [method.boosted(epoch) for epoch in range(0, 16, 2)]
    assert turns == [method.boosted(epoch) for epoch in range(1, 16, 2)]
    assert turns[::2] == [("a", None), ("b", "a"), ("c", "b"), ("a", "c")]
    assert [current for current, _ in turns[1::2]] == [None] * 4


def test_the_parameters_of_phase_one():
    parameters = {"phase_epochs": 1, "fit_weight": 4.0, "residual_weight": 0.5, "agreement": 0.2}
    step = steps.take({**RECONBOOST, "parameters": parameters}, epoch=2, prepare=stir)
    _, _, expected = boosting_by_hand(step.before, step.x, step.y, "right", "left", 4.0, 0.5, 0.2)
    steps.close(step.gradients, expected)


def test_assertion_26_the_agreement_term_has_a_gradient_and_none_in_the_authors_code():
    """Switch reconboost.detached_agreement: same loss value, gradients as without the term."""
    taken = {
        (switch, weight): steps.take(
            {
                **RECONBOOST,
                "parameters": {"phase_epochs": 1, "agreement": weight},
                "switches": {"reconboost.detached_agreement": switch},
            },
            epoch=2,
        )
        for switch in (False, True)
        for weight in (0.0, 5.0)
    }
    without = taken[False, 0.0].gradients
    steps.close(taken[True, 5.0].gradients, without)
    assert any(not np.allclose(taken[False, 5.0].gradients[path], without[path]) for path in without)
    assert taken[True, 5.0].logged["loss"] == taken[False, 5.0].logged["loss"] > taken[True, 0.0].logged["loss"]


@pytest.mark.parametrize("switch", [False, True])
def test_assertion_28_a_frozen_encoder_rests_but_its_statistics_move_in_the_authors_code(switch):
    """Switch reconboost.moving_statistics: inert for encoders without batch norm."""
    variant = {**SHORT, "switches": {"reconboost.moving_statistics": switch}}
    step = steps.take(variant, epoch=0, dataset=tiny.dataset(IMAGES), encoder=CNN)
    for path, value in step.before.items():
        moved = not np.array_equal(value, step.after[path])
        if path.startswith("encoder.b"):
            assert moved is (switch and ("running" in path or "num_batches" in path)), path
        elif path.startswith("encoder.a"):
            assert moved, path
    assert all(module.training for module in step.model.modules())
    mlp = [steps.take({**SHORT, "switches": {"reconboost.moving_statistics": s}}, epoch=0) for s in (False, True)]
    steps.close(mlp[0].after, mlp[1].after)


def test_the_original_is_both_switches():
    step = steps.take({**SHORT, "fidelity": "original"}, epoch=2, dataset=tiny.dataset(IMAGES), encoder=CNN)
    both = {"reconboost.moving_statistics": True, "reconboost.detached_agreement": True}
    same = steps.take({**SHORT, "switches": both}, epoch=2, dataset=tiny.dataset(IMAGES), encoder=CNN)
    steps.close(step.after, same.after)


def test_momentum_restarts_with_every_phase():
    model, method, dataset = steps.parts({**RECONBOOST, "parameters": {"phase_epochs": 2}})
    optimizer, batch = SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.0), steps.batch_of(dataset)

    def velocity(epoch, step):
        progress = steps.progress(epoch)
        progress.step = step
        method.step(model, batch, optimizer, progress)
        path = "head.layers.2.weight"
        position = [name for name, _ in model.named_parameters()].index(path)
        gradient = dict(model.named_parameters())[path].grad
        return torch.equal(optimizer.velocity[optimizer.places[position]], gradient.flatten())

    fresh = [velocity(epoch, step) for epoch, step in ((0, 0), (0, 1), (1, 0), (2, 0), (2, 1), (3, 0), (4, 0))]
    assert fresh == [True, False, False, True, False, False, True]


def test_what_it_cannot_train_is_refused():
    with pytest.raises(ValueError, match="at least two"):
        steps.parts(RECONBOOST, dataset=tiny.dataset({"a": (3,)}))
    with pytest.raises(ValueError, match="use the head shared-mlp"):
        steps.parts({**RECONBOOST, "head": "sum"})
    for parameters, sentence in (
        ({"phase_epochs": 0}, "phase_epochs must be at least 1"),
        ({"residual_weight": 6.0}, "residual_weight must lie between 0 and fit_weight"),
        ({"agreement": -0.1}, "agreement must not be negative"),
    ):
        with pytest.raises(TcmaxError, match=sentence):
            steps.parts({**RECONBOOST, "parameters": parameters})
