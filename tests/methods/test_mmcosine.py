"""MMCosine: a step of joint learning on cosines, written out in NumPy (assertion 26)."""

import math

import longhand
import numpy as np
import pytest
import steps
import tiny
import torch

MMCOSINE = {"method": "mmcosine"}
THREE = {"a": (3,), "b": (2,), "c": (2, 2)}


def gradients_by_hand(w, x, y, scale):
    """d cos(z, v) / dz = (v/|v| - cos z/|z|) / |z|, and the same the other way round."""
    encoded = {name: longhand.encode(w, name, values) for name, values in x.items()}
    matrix, start, parts, joint = w["head.linear.weight"], 0, {}, 0.0
    for name, (z, _) in encoded.items():
        v = matrix[:, start : start + z.shape[1]]
        start += z.shape[1]
        parts[name] = (np.linalg.norm(z, axis=1, keepdims=True), np.linalg.norm(v, axis=1, keepdims=True), v)
        joint = joint + scale * (z / parts[name][0]) @ (v / parts[name][1]).T
    d, gradients, d_matrix = scale * longhand.cross_entropy_gradient(joint, y), {}, []
    for name, (z, memory) in encoded.items():
        z_norm, v_norm, v = parts[name]
        unit_z, unit_v = z / z_norm, v / v_norm
        cosine = unit_z @ unit_v.T
        d_z = (d @ unit_v - (d * cosine).sum(axis=1, keepdims=True) * unit_z) / z_norm
        d_matrix.append((d.T @ unit_z - (d * cosine).sum(axis=0)[:, None] * unit_v) / v_norm)
        gradients |= longhand.encode_backward(w, name, memory, d_z)
    return {**gradients, "head.linear.weight": np.concatenate(d_matrix, axis=1)}


@pytest.mark.parametrize("shapes", [tiny.SHAPES, THREE], ids=["two", "three"])
@pytest.mark.parametrize("scale", [10.0, 2.5])
def test_a_step_equals_the_one_written_out_by_hand(scale, shapes):
    variant = {**MMCOSINE, "head": {"name": "cosine", "scale": scale}}
    # Features of zeros have no direction, so that the oracle's division is defined for wide layers only.
    step = steps.take(variant, dataset=tiny.dataset(shapes), encoder={"name": "mlp", "hidden": [8, 9]})
    expected = gradients_by_hand(step.before, step.x, step.y, scale)
    steps.close(step.gradients, expected)
    steps.close(step.after, longhand.sgd(step.before, expected, steps.RATE, steps.DECAY))


def test_the_loss_stays_above_the_floor_that_the_scale_sets():
    step = steps.take({**MMCOSINE, "head": {"name": "cosine", "scale": 0.5}})
    assert step.logged["loss"] > math.log(1 + 2 * math.exp(-2 * 2 * 0.5))


def test_the_authors_evaluation_changes_predictions_and_not_training():
    """Switch cosine.raw_evaluation: the same weights after a step, other joint logits in evaluation mode."""
    ours, theirs = (steps.take({**MMCOSINE, "fidelity": fidelity}) for fidelity in ("reference", "original"))
    for name, value in ours.after.items():
        assert np.array_equal(value, theirs.after[name])
    assert set(theirs.after) - set(ours.after) == {"head.linear.bias"}
    inputs = {name: torch.from_numpy(x) for name, x in ours.x.items()}
    one, other = (step.model.eval()(inputs).logits for step in (ours, theirs))
    assert torch.equal(one["left"], other["left"])
    assert not torch.allclose(one["joint"], other["joint"])


def test_another_head_is_refused():
    with pytest.raises(ValueError, match="use the head cosine"):
        steps.parts({**MMCOSINE, "head": "concat"})
