"""MLA: alternating steps, the projector, gating, and what released code does instead (assertions 5, 22, 28)."""

import longhand
import numpy as np
import pytest
import steps
import tiny
import torch

from tcmax.errors import TcmaxError
from tcmax.methods.base import Progress
from tcmax.metrics.readout import entropy_gated

MLA = {"method": "mla", "head": "shared-head"}
SHAPES = {"a": (3,), "b": (2,), "c": (2, 2)}
BATCHES = 3


def train(variant, shapes=tiny.SHAPES, prepare=None, batches=BATCHES):
    """Weights before and after some steps on one batch, the method, and what it logged."""
    model, method, dataset = steps.parts(variant, dataset=tiny.dataset(shapes))
    if prepare:
        prepare(model)
    batch = steps.batch_of(dataset)
    before = longhand.weights(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=steps.RATE, momentum=0.9, weight_decay=steps.DECAY)
    logged = []
    for step in range(batches):
        progress = Progress(0, 4, step, BATCHES, (("tiny", 0, 0, "m"),), torch.device("cpu"))
        logged.append({name: value.item() for name, value in method.step(model, batch, optimizer, progress).items()})
    x = {name: value.numpy() for name, value in batch.inputs.items()}
    return before, longhand.weights(model), model, method, logged, x, batch.labels.numpy()


def by_hand(before, x, y, *, project=True, zeroed=False, whole_bias=False, batches=BATCHES):
    """The same steps written out: w, and the momentum of every weight that was ever updated."""
    w = {name: value.copy() for name, value in before.items()}
    momentum, projector, losses = {}, np.eye(w["head.linear.weight"].shape[1]), []
    share = 1 if whole_bias else 1 / len(x)
    for step in range(batches):
        encoded = {name: longhand.encode(w, name, values) for name, values in x.items()}
        damping = 0.1 ** (1 + step / BATCHES)
        visited, total = set(), 0.0
        for name in x:
            z, memory = encoded[name]
            logits = z @ w["head.linear.weight"].T + share * w["head.linear.bias"]
            total -= np.log(longhand.softmax(logits)[np.arange(len(y)), y]).mean()
            d = longhand.cross_entropy_gradient(logits, y)
            gradients = longhand.encode_backward(w, name, memory, d @ w["head.linear.weight"])
            gradients["head.linear.weight"] = d.T @ z @ (projector if project else np.eye(len(projector)))
            gradients["head.linear.bias"] = share * d.sum(axis=0)
            if zeroed:
                gradients |= {path: np.zeros_like(w[path]) for path in visited}
            for path, gradient in gradients.items():
                decayed = gradient + steps.DECAY * w[path]
                momentum[path] = 0.9 * momentum[path] + decayed if path in momentum else decayed
                w[path] = w[path] - steps.RATE * momentum[path]
            visited |= {path for path in gradients if path.startswith("encoder")}
            r = z.mean(axis=0)
            seen = projector @ r
            projector = projector - np.outer(seen, seen) / (damping + r @ seen)
        losses.append(total)
    return w, projector, losses


@pytest.mark.parametrize("shapes", [tiny.SHAPES, SHAPES], ids=["two", "three"])
@pytest.mark.parametrize(
    ("variant", "options"),
    [
        ({}, {}),
        ({"switches": {"mla.projector_unused": True}}, {"project": False}),
        ({"switches": {"mla.zeroed_gradients": True}}, {"zeroed": True}),
        ({"fidelity": "original"}, {"project": False, "zeroed": True}),
        ({"fidelity": "release"}, {"project": False, "whole_bias": True}),
    ],
)
def test_steps_equal_those_written_out_by_hand(variant, options, shapes):
    before, after, _, method, logged, x, y = train({**MLA, **variant}, shapes)
    expected, projector, losses = by_hand(before, x, y, **options)
    steps.close(after, expected)
    assert [entry["loss"] for entry in logged] == pytest.approx(losses, rel=1e-12)
    if options.get("project", True):
        np.testing.assert_allclose(method.projector.numpy(), projector, rtol=1e-11, atol=1e-12)


def test_assertion_22_the_projector_is_called_in_reference_and_in_no_code():
    for fidelity, calls in (("reference", 2), ("original", 0), ("release", 0)):
        *_, method, logged, _, _ = train({**MLA, "fidelity": fidelity})
        assert [entry["count.projector_calls"] for entry in logged] == [calls] * BATCHES
        assert [entry["count.backward_passes"] for entry in logged] == [2] * BATCHES
        moved = not torch.equal(method.projector, torch.eye(4, dtype=torch.float64))
        assert moved is (fidelity == "reference")


def test_assertion_22_the_projector_stays_symmetric_and_positive_semi_definite():
    *_, method, _, _, _ = train(MLA, batches=40)
    projector = method.projector.numpy()
    np.testing.assert_allclose(projector, projector.T, atol=1e-14)
    eigenvalues = np.linalg.eigvalsh(projector)
    assert eigenvalues.min() >= -1e-12
    assert eigenvalues.max() <= 1 + 1e-12
    assert eigenvalues.min() < 0.1


def test_assertion_22_a_seen_direction_is_removed_as_the_damping_vanishes():
    left = []
    for damping in (1.0, 1e-3, 1e-6):
        _, method, _ = steps.parts({**MLA, "parameters": {"damping": damping}})
        direction = torch.tensor([1.0, -2.0, 0.5, 0.0], dtype=torch.float64)
        method._visit(direction, steps.progress())
        left.append((method.projector @ direction).norm().item())
        unseen = torch.tensor([2.0, 1.0, 0.0, 3.0], dtype=torch.float64)  # orthogonal to it
        torch.testing.assert_close(method.projector @ unseen, unseen)
    assert left[0] == pytest.approx(direction.norm().item() / (1 + 5.25))
    assert left[0] > 100 * left[1] > 100 * left[2]


def test_the_first_step_is_not_projected():
    steps_of = [train({**MLA, "switches": switch}, {"only": (3,)}, batches=1)[1] for switch in ({}, off())]
    steps.close(*steps_of)


def off():
    return {"mla.projector_unused": True}


def test_assertions_22_and_28_the_drift_of_an_encoder_whose_gradients_are_zeroed_instead_of_absent():
    """Absent: the first encoder moves in its own step only. Zeroed: momentum moves it in the second one's, too."""
    _, absent, *_ = train({**MLA, "switches": off()}, batches=1)
    _, zeroed, *_ = train({**MLA, "switches": {**off(), "mla.zeroed_gradients": True}}, batches=1)
    drift = {name: np.abs(absent[name] - zeroed[name]).max() for name in absent}
    assert max(value for name, value in drift.items() if "left" not in name) == 0
    assert min(value for name, value in drift.items() if "left" in name) > 1e-4


def test_assertion_28_a_frozen_classifier_is_not_projected_and_a_frozen_encoder_does_not_move():
    def freeze(*paths):
        def prepare(model):
            for path in paths:
                model.get_submodule(path).requires_grad_(False)

        return prepare

    before, after, *_, logged, _, _ = train(MLA, prepare=freeze("head"))
    assert [entry["count.projector_calls"] for entry in logged] == [0] * BATCHES
    assert np.array_equal(before["head.linear.weight"], after["head.linear.weight"])
    before, after, *_ = train(MLA, prepare=freeze("encoder.left"))
    moved = {name for name in before if not np.array_equal(before[name], after[name])}
    assert {name.split(".")[1] for name in moved} == {"right", "linear"}


def logits_of(seed, rows=6, m=3, scale=2.0):
    rng = np.random.default_rng(seed)
    return {name: scale * rng.normal(size=(rows, 4)) for name in "abc"[:m]}


def gated(method, logits):
    return method.read_out({name: torch.from_numpy(u) for name, u in {**logits, "joint": logits["a"]}.items()}).numpy()


@pytest.mark.parametrize("fidelity", ["reference", "release"])
def test_the_read_out_of_model_selection_is_the_one_that_is_scored(fidelity):
    _, method, _ = steps.parts({**MLA, "fidelity": fidelity})
    logits = logits_of(0)
    assert method.readout == "joint_entropy_gated"
    np.testing.assert_allclose(gated(method, logits), entropy_gated(np.stack(list(logits.values()))), rtol=1e-12)


def test_assertion_22_only_in_the_original_a_prediction_depends_on_its_batch_mates():
    one, other = logits_of(0), logits_of(1)
    other = {name: np.concatenate([one[name][:1], other[name][1:]]) for name in one}
    for fidelity, depends in (("reference", False), ("release", False), ("original", True)):
        _, method, _ = steps.parts({**MLA, "fidelity": fidelity})
        same = np.array_equal(gated(method, one)[0], gated(method, other)[0])
        assert same is not depends


def test_the_original_gates_by_the_entropy_over_rows():
    _, method, _ = steps.parts({**MLA, "switches": {"mla.batch_gating": True}})
    logits = logits_of(3)
    entropies = []
    for u in logits.values():
        p = longhand.softmax(u.T).T
        entropies.append(-(p * np.log(p)).sum())
    weights = np.exp(-np.array(entropies)) / np.exp(-np.array(entropies)).sum()
    expected = sum(weight * u for weight, u in zip(weights, logits.values(), strict=True))
    np.testing.assert_allclose(gated(method, logits), expected, rtol=1e-12)


@pytest.mark.parametrize("fidelity", ["reference", "original"])
def test_assertion_5_gating_is_finite_for_logits_of_200(fidelity):
    _, method, _ = steps.parts({**MLA, "fidelity": fidelity})
    extreme = {"a": [[200.0, -200, 0]] * 2, "b": [[-200.0, 200, 200]] * 2}  # in single precision, where exp underflows
    logits = {name: np.array(u, dtype=np.float32) for name, u in extreme.items()}
    assert np.isfinite(gated(method, logits)).all()


def test_a_head_without_a_shared_classifier_is_refused():
    with pytest.raises(ValueError, match="use the head shared-head"):
        steps.parts({**MLA, "head": "concat"})
    with pytest.raises(TcmaxError, match="damping must lie in"):
        steps.parts({**MLA, "parameters": {"damping": 0}})
