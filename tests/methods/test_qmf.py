"""QMF: hinge, history and weights against longhand NumPy (assertion 20), and what released code does instead."""

import longhand
import numpy as np
import pytest
import steps
import tiny
import torch

from tcmax.errors import TcmaxError
from tcmax.methods.qmf import rank_loss
from tcmax.metrics.readout import energy_weighted

QMF = {"method": "qmf", "head": "sum"}


def hinge(w, standing, inverted):
    """Mean over circular neighbours, and its gradient in the weights."""
    n, value, gradient = len(w), 0.0, np.zeros(len(w))
    for i in range(n):
        j = (i + 1) % n
        g, margin = np.sign(standing[i] - standing[j]), abs(standing[i] - standing[j])
        cost = g * (w[i] - w[j]) + (-margin if inverted else margin)
        if cost > 0:
            value += cost / n
            gradient[i] += g / n
            gradient[j] -= g / n
    return value, gradient


def loss_by_hand(unimodal, y, history, *, rank_weight=1.0, inverted=False, attached=False, clamp=False):
    """Value, ranking term and gradient in every unimodal logit; `history` already holds this batch."""
    n, rows = len(y), np.arange(len(y))
    w = {name: np.log(np.exp(u).sum(axis=1)) / 10 for name, u in unimodal.items()}
    d_w = {name: longhand.softmax(u) / 10 for name, u in unimodal.items()}
    if clamp:
        d_w = {name: d * (w[name] > 0)[:, None] for name, d in d_w.items()}
        w = {name: np.maximum(value, 0) for name, value in w.items()}
    fused = sum(w[name][:, None] * u for name, u in unimodal.items())
    value = -np.log(longhand.softmax(fused)[rows, y]).mean()
    d_fused = longhand.cross_entropy_gradient(fused, y)
    gradients, ranking = {}, 0.0
    for row, (name, u) in enumerate(unimodal.items()):
        value -= np.log(longhand.softmax(u)[rows, y]).mean()
        gradients[name] = longhand.cross_entropy_gradient(u, y) + w[name][:, None] * d_fused
        standing = (history[row] - history[row].min()) / (history[row].max() - history[row].min())
        cost, d = hinge(w[name], standing[:n], inverted)
        if attached:
            d = d + (d_fused * u).sum(axis=1) / rank_weight
        ranking += cost
        gradients[name] = gradients[name] + rank_weight * d[:, None] * d_w[name]
    return value + rank_weight * ranking, ranking, gradients


def sum_gradients(w, x, d_unimodal):
    """Gradient of every weight of a Sum model; also the unimodal logits."""
    encoded = {name: longhand.encode(w, name, values) for name, values in x.items()}
    unimodal = {
        name: z @ w[f"head.linears.{name}.weight"].T + w[f"head.linears.{name}.bias"]
        for name, (z, _) in encoded.items()
    }
    gradients = {}
    for name, d in d_unimodal(unimodal).items():
        z, memory = encoded[name]
        gradients |= {f"head.linears.{name}.weight": d.T @ z, f"head.linears.{name}.bias": d.sum(axis=0)}
        gradients |= longhand.encode_backward(w, name, memory, d @ w[f"head.linears.{name}.weight"])
    return gradients, unimodal


def one_step(variant, history=None, shift=0.0, size=7, dataset=None):
    """A step from a given history: what steps.take gives, with the method."""
    model, method, dataset = steps.parts(variant, dataset=dataset)
    if history is not None:
        method.history.copy_(torch.from_numpy(history))
    with torch.no_grad():
        for name, weight in model.head.named_parameters():
            if name.endswith("bias"):
                weight.add_(shift)
    batch, before = steps.batch_of(dataset, size), longhand.weights(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=steps.RATE, momentum=0.9, weight_decay=steps.DECAY)
    logged = {name: v.item() for name, v in method.step(model, batch, optimizer, steps.progress()).items()}
    x = {name: value.numpy() for name, value in batch.inputs.items()}
    gradients = {name: weight.grad.numpy() for name, weight in model.named_parameters()}
    return before, gradients, logged, method, x, batch.labels.numpy()


@pytest.mark.parametrize("shapes", [tiny.SHAPES, {"a": (3,), "b": (2,), "c": (2, 2)}], ids=["two", "three"])
@pytest.mark.parametrize(
    ("variant", "options", "shift"),
    [
        ({}, {}, 0),
        ({"parameters": {"rank_weight": 0.1}}, {"rank_weight": 0.1}, 0),
        ({"switches": {"qmf.inverted_margin": True}}, {"inverted": True}, 0),
        ({"switches": {"qmf.attached_weights": True}}, {"attached": True}, 0),
        ({"fidelity": "release", "switches": {"protocol.file_order_split": False}}, {"inverted": True}, 0),
        ({"fidelity": "original"}, {"inverted": True}, 0),
        ({}, {}, -1.2),
        ({"parameters": {"clamp": True}}, {"clamp": True}, -1.2),
    ],
)
def test_a_step_equals_the_one_written_out_by_hand(variant, options, shift, shapes):
    # Histories small enough for margins to be exceeded by differences of weights.
    history = 8 * np.random.default_rng(0).random((len(shapes), 26))
    history[:, 7:] *= 40
    before, gradients, logged, method, x, y = one_step({**QMF, **variant}, history, shift, dataset=tiny.dataset(shapes))
    values = {}

    def d_unimodal(unimodal):
        updated = history.copy()
        for row, u in enumerate(unimodal.values()):
            updated[row, :7] -= np.log(longhand.softmax(u)[np.arange(7), y])
        np.testing.assert_allclose(method.history.numpy(), updated, rtol=1e-12)
        values["loss"], values["ranking"], d = loss_by_hand(unimodal, y, updated, **options)
        return d

    expected, _ = sum_gradients(before, x, d_unimodal)
    assert {name: logged[name] for name in values} == pytest.approx(values, rel=1e-11)
    assert values["ranking"] > 0
    steps.close(gradients, expected)


@pytest.mark.parametrize(
    ("weights", "reference", "release"), [((0.5, 0.4), 0.5, 0.0), ((0.4, 0.5), 0.7, 0.0)], ids=["right", "swapped"]
)
def test_assertion_20_the_hinge_on_two_samples(weights, reference, release):
    """Histories 0.2 and 0.8. The right order with a gap of 0.1 < 0.6 costs 0.5; known code lets both orders pass."""
    standing, weights = torch.tensor([0.2, 0.8]).double(), torch.tensor(weights).double()
    for inverted, expected in ((False, reference), (True, release)):
        assert rank_loss(weights, standing, inverted).item() == pytest.approx(expected)
    assert rank_loss(torch.tensor([0.2, 0.9]), torch.tensor([0.2, 0.8]), inverted=True) == pytest.approx(0.1)
    assert rank_loss(weights, torch.tensor([0.5, 0.5]).double(), inverted=False) == 0


def test_assertion_20_negative_weights_are_counted():
    *_, logged, _, _, _ = one_step(QMF)
    assert logged["count.negative_weights"] == 0
    *_, logged, _, _, _ = one_step(QMF, shift=-5)
    assert logged["count.negative_weights"] == 2 * 7


def test_assertion_20_the_first_batch_is_finite_unless_history_comes_late():
    _, gradients, logged, _, _, _ = one_step(QMF, size=26)
    assert np.isfinite(logged["loss"])
    assert all(np.isfinite(g).all() for g in gradients.values())
    *_, logged, _, _, _ = one_step({**QMF, "switches": {"qmf.late_history": True}})
    assert np.isnan(logged["loss"])


def test_late_history_ranks_by_what_was_known_before_the_batch():
    history = np.random.default_rng(1).random((2, 26))
    before, gradients, logged, _, x, y = one_step({**QMF, "switches": {"qmf.late_history": True}}, history)
    expected, unimodal = sum_gradients(before, x, lambda u: loss_by_hand(u, y, history)[2])
    steps.close(gradients, expected)
    assert logged["loss"] == pytest.approx(loss_by_hand(unimodal, y, history)[0], rel=1e-11)


def test_history_cumulates_over_visits_and_unseen_items_stay_at_zero():
    model, method, dataset = steps.parts(QMF)
    batch = steps.batch_of(dataset)
    outputs = model(batch.inputs)
    for visit in (1, 2, 3):
        method.loss(outputs, batch, steps.progress())
        for row, u in enumerate(outputs.unimodal.values()):
            cost = -np.log(longhand.softmax(u.detach().numpy())[np.arange(7), batch.labels.numpy()])
            np.testing.assert_allclose(method.history[row, :7].numpy(), visit * cost)
    assert not method.history[:, 7:].any()


def test_equal_histories_rank_nothing():
    model, method, dataset = steps.parts(QMF)
    assert not method._standing(torch.arange(7)).any()
    assert method.loss(model(steps.batch_of(dataset).inputs), steps.batch_of(dataset), steps.progress())["loss"] > 0


def test_the_read_out_of_model_selection_is_the_one_that_is_scored():
    _, method, _ = steps.parts(QMF)
    logits = {name: np.random.default_rng(k).normal(size=(5, 3)) for k, name in enumerate(("left", "right", "joint"))}
    got = method.read_out({name: torch.from_numpy(u) for name, u in logits.items()}).numpy()
    assert method.readout == "joint_energy_weighted"
    np.testing.assert_allclose(got, energy_weighted(np.stack([logits["left"], logits["right"]])), rtol=1e-12)


@pytest.mark.parametrize("scale", [-200.0, 200.0])
def test_assertion_5_weighting_is_finite_for_logits_of_200(scale):
    _, method, _ = steps.parts(QMF)
    assert method.read_out({"left": torch.full((2, 3), scale), "joint": torch.zeros(2, 3)}).isfinite().all()


def test_a_negative_ranking_weight_is_refused():
    with pytest.raises(TcmaxError, match="rank_weight must not be negative"):
        steps.parts({**QMF, "parameters": {"rank_weight": -1}})
