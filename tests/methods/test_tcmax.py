"""TCMax as a method: the loss through the model equals explicit enumeration, and released deviations arrive."""

import math

import longhand
import numpy as np
import pytest
import steps
import tiny

from tcmax.errors import TcmaxError

SHAPES = {1: {"a": (3,)}, 2: {"a": (3,), "b": (2,)}, 3: {"a": (3,), "b": (2,), "c": (2, 2)}}
TCMAX = {"method": "tcmax", "head": "concat"}


@pytest.mark.parametrize("m", [1, 2, 3])
def test_a_step_equals_explicit_enumeration(m):
    step = steps.take(TCMAX, dataset=tiny.dataset(SHAPES[m]), size=5)
    gradients, unimodal = longhand.concat_gradients(
        step.before, step.x, lambda u: longhand.total_correlation(u, step.y)[1]
    )
    value, _ = longhand.total_correlation(unimodal, step.y)
    assert step.logged["loss"] == pytest.approx(value, rel=1e-12)
    steps.close(step.gradients, gradients)
    steps.close(step.after, longhand.sgd(step.before, gradients, steps.RATE, steps.DECAY))


def test_the_loss_is_logged_with_its_two_parts():
    step = steps.take(TCMAX)
    _, unimodal = longhand.concat_gradients(step.before, step.x, lambda u: u)
    joint = sum(unimodal.values())
    log_sum = np.log(np.exp(joint).sum(axis=1))
    cross_entropy = (log_sum - joint[np.arange(7), step.y]).mean()
    assert step.logged["cross_entropy"] == pytest.approx(cross_entropy, rel=1e-12)
    parts = step.logged["cross_entropy"] + step.logged["alignment"] - math.log(3)
    assert step.logged["loss"] == pytest.approx(parts, rel=1e-12)


@pytest.mark.parametrize("head", ["concat", "shared-head", "sum"])
def test_every_tuple_sampled_is_the_exact_loss_and_a_short_batch_uses_all_it_has(head):
    exact = steps.take({"method": "tcmax", "head": head}, size=5)
    for negatives in (25, 1000):
        sampled = steps.take({"method": "tcmax", "head": head, "parameters": {"negatives": negatives}}, size=5)
        assert sampled.logged["loss"] == pytest.approx(exact.logged["loss"], rel=1e-12)
        steps.close(sampled.gradients, exact.gradients)


def test_a_few_sampled_negatives_are_a_subset_of_the_tuples():
    step = steps.take({**TCMAX, "parameters": {"negatives": 1}}, size=4)
    _, unimodal = longhand.concat_gradients(step.before, step.x, lambda u: u)
    possible = [longhand.total_correlation(unimodal, step.y, [(i, j)])[0] for i in range(4) for j in range(4)]
    assert min(abs(value - step.logged["loss"]) for value in possible) < 1e-12
    again = steps.take({**TCMAX, "parameters": {"negatives": 1}}, size=4)
    assert again.logged["loss"] == step.logged["loss"]
    others = {steps.take({**TCMAX, "parameters": {"negatives": 1}}, size=4, epoch=e).logged["loss"] for e in range(12)}
    assert len(others) > 3


@pytest.mark.parametrize("m", [2, 3])
def test_the_released_constant_shifts_the_value_and_no_gradient(m):
    data = tiny.dataset(SHAPES[m])
    paper = steps.take(TCMAX, dataset=data, size=5)
    release = steps.take({**TCMAX, "switches": {"tcmax.release_constant": True}}, dataset=data, size=5)
    shift = (m - 1) * math.log(5) + math.log(3)
    assert release.logged["loss"] - paper.logged["loss"] == pytest.approx(shift, rel=1e-12)
    steps.close(release.gradients, paper.gradients)


def test_the_released_mean_shift_fails_where_the_reference_is_finite():
    def enlarge(model):
        model.head.linear.weight.data.mul_(1e7)

    paper = steps.take(TCMAX, prepare=enlarge)
    release = steps.take({**TCMAX, "switches": {"tcmax.mean_shift": True}}, prepare=enlarge)
    assert math.isfinite(paper.logged["loss"])
    assert not math.isfinite(release.logged["loss"])
    small = steps.take({**TCMAX, "switches": {"tcmax.mean_shift": True}})
    assert small.logged["loss"] == pytest.approx(steps.take(TCMAX).logged["loss"], rel=1e-12)


def test_the_release_draws_with_replacement():
    exact = steps.take(TCMAX, size=4).logged["loss"]
    all_of_them = {"parameters": {"negatives": 16}}
    without = steps.take({**TCMAX, **all_of_them}, size=4).logged["loss"]
    with_replacement = steps.take(
        {**TCMAX, **all_of_them, "switches": {"tcmax.sample_with_replacement": True}}, size=4
    ).logged["loss"]
    assert without == pytest.approx(exact, rel=1e-12)
    assert with_replacement != pytest.approx(exact, rel=1e-3)
    # And has no maximum: a thousand draws from sixteen tuples are closer to all of them than sixteen are.
    many = steps.take(
        {**TCMAX, "parameters": {"negatives": 10_000}, "switches": {"tcmax.sample_with_replacement": True}}, size=4
    ).logged["loss"]
    assert 0 < abs(many - exact) < 0.2 * abs(with_replacement - exact)


def test_the_released_shared_head_trains_on_twice_what_it_tests_on():
    step = steps.take({"method": "tcmax", "head": "shared-head", "fidelity": "release"}, size=5)
    w = step.before
    matrix, bias = w["head.linear.weight"], w["head.linear.bias"]
    unimodal = {name: longhand.encode(w, name, x)[0] @ matrix.T + bias for name, x in step.x.items()}
    value, _ = longhand.total_correlation(unimodal, step.y)
    assert step.logged["loss"] == pytest.approx(value + math.log(5 * 3), rel=1e-11)
    model, _, data = steps.parts({"method": "tcmax", "head": "shared-head", "fidelity": "release"})
    outputs = model(steps.batch_of(data).inputs).logits
    ratio = (outputs["left"] + outputs["right"]) / outputs["joint"]
    np.testing.assert_allclose(ratio.detach().numpy(), 2, rtol=1e-12)


@pytest.mark.parametrize("negatives", [0, -3])
def test_the_number_of_negatives_is_positive(negatives):
    with pytest.raises(TcmaxError, match="negatives must be at least 1"):
        steps.parts({**TCMAX, "parameters": {"negatives": negatives}})
