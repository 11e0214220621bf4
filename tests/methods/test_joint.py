"""Joint learning: one step equals the step written out by hand."""

import longhand
import numpy as np
import pytest
import steps
import tiny

SHAPES = {1: {"a": (3,)}, 2: {"a": (3,), "b": (2,)}, 4: {"a": (3,), "b": (2,), "c": (2, 2), "d": (1,)}}


@pytest.mark.parametrize("m", [1, 2, 4])
def test_a_step_equals_the_one_written_out_by_hand(m):
    step = steps.take({"method": "joint", "head": "concat"}, dataset=tiny.dataset(SHAPES[m]))

    def d_unimodal(unimodal):
        joint = longhand.cross_entropy_gradient(sum(unimodal.values()), step.y)
        return dict.fromkeys(unimodal, joint)

    gradients, unimodal = longhand.concat_gradients(step.before, step.x, d_unimodal)
    steps.close(step.gradients, gradients)
    steps.close(step.after, longhand.sgd(step.before, gradients, steps.RATE, steps.DECAY))
    picked = longhand.softmax(sum(unimodal.values()))[np.arange(7), step.y]
    assert step.logged["loss"] == pytest.approx(-np.log(picked).mean(), rel=1e-12)


def test_every_step_counts_its_backward_pass():
    assert steps.take({"method": "joint", "head": "concat"}).logged["count.backward_passes"] == 1


def test_the_released_shared_head_trains_on_the_average():
    release = steps.take({"method": "joint", "head": "shared-head", "fidelity": "release"})
    w = release.before
    encoded = {name: longhand.encode(w, name, x)[0] for name, x in release.x.items()}
    joint = sum(z @ w["head.linear.weight"].T + w["head.linear.bias"] for z in encoded.values()) / 2
    picked = longhand.softmax(joint)[np.arange(7), release.y]
    assert release.logged["loss"] == pytest.approx(-np.log(picked).mean(), rel=1e-12)
