"""TCMax with heads that are not additive, against enumeration of every tuple in NumPy (assertion 13)."""

import itertools
import math

import longhand
import numpy as np
import pytest
import steps
import tiny
import torch

HEADS = {"film": {"name": "film"}, "gated": {"name": "gated", "hidden": 5}, "bigated": {"name": "bigated", "hidden": 5}}
SHAPES = {"a": (3,), "b": (2,), "c": (2, 2)}


def variant(head, **changes):
    return {"method": "tcmax", "head": HEADS.get(head, head), **changes}


def joint_by_hand(head, w, z):
    """Joint logits of features by modality, in modality order."""

    def affine(path, x):
        return x @ w[f"head.{path}.weight"].T + w[f"head.{path}.bias"]

    def branch(path, gate, content):
        hidden = affine(f"{path}.content", content) / (1 + np.exp(-affine(f"{path}.gate", gate)))
        return affine(f"{path}.classifier", hidden)

    first, *others = z.values()
    if head == "film":
        both = affine("modulation", np.concatenate(others, axis=1))
        width = first.shape[1]
        return affine("classifier", both[:, :width] * first + both[:, width:])
    if head == "gated":
        return branch("branch", others[0], first)
    if head == "concat-msh":
        return affine("linear", np.concatenate(list(z.values()), axis=1))
    gates = {name: np.mean([x for other, x in z.items() if other != name], axis=0) for name in z}
    return sum(branch(f"branches.{name}", gates[name], x) for name, x in z.items())


def loss_by_hand(head, w, x, y):
    z = {name: longhand.encode(w, name, values)[0] for name, values in x.items()}
    tuples = np.array(list(itertools.product(range(len(y)), repeat=len(z))))
    scores = joint_by_hand(
        head, w, {name: value[rows] for (name, value), rows in zip(z.items(), tuples.T, strict=True)}
    )
    matched = joint_by_hand(head, w, z)[np.arange(len(y)), y].mean()
    return np.log(np.exp(scores).sum()) - math.log(len(tuples)) - math.log(scores.shape[1]) - matched


@pytest.mark.parametrize(
    ("head", "m"), [("film", 2), ("film", 3), ("gated", 2), ("bigated", 2), ("bigated", 3), ("concat-msh", 3)]
)
def test_loss_and_gradient_are_those_of_all_tuples(head, m):
    """Of three modalities 4 rows have 64 tuples, fewer than the default sample, so all are used there, too."""
    shapes = dict(itertools.islice(SHAPES.items(), m))
    step = steps.take(variant(head), dataset=tiny.dataset(shapes), size=4)
    w, x, y = step.before, step.x, step.y
    assert step.logged["loss"] == pytest.approx(loss_by_hand(head, w, x, y), rel=1e-10)
    rng = np.random.default_rng(0)
    for name, gradient in step.gradients.items():
        direction = rng.normal(size=gradient.shape)
        sides = [loss_by_hand(head, {**w, name: w[name] + h * direction}, x, y) for h in (1e-6, -1e-6)]
        assert (gradient * direction).sum() == pytest.approx((sides[0] - sides[1]) / 2e-6, rel=1e-4, abs=1e-8), name


def test_the_two_parts_of_the_loss_are_logged():
    step = steps.take(variant("bigated"))
    parts = step.logged["cross_entropy"] + step.logged["alignment"] - math.log(3)
    assert step.logged["loss"] == pytest.approx(parts, rel=1e-12)
    z = {name: longhand.encode(step.before, name, values)[0] for name, values in step.x.items()}
    p = longhand.softmax(joint_by_hand("bigated", step.before, z))
    assert step.logged["cross_entropy"] == pytest.approx(-np.log(p[np.arange(7), step.y]).mean(), rel=1e-12)


def test_assertion_13_a_sample_of_negatives_works_in_reference():
    exact = steps.take(variant("film"), size=6)
    every = steps.take(variant("film", parameters={"negatives": 36}), size=6)
    steps.close(every.gradients, exact.gradients)
    few = steps.take(variant("film", parameters={"negatives": 9}), size=6)
    assert few.logged["loss"] != pytest.approx(exact.logged["loss"], rel=1e-6)
    assert np.isfinite(few.logged["loss"])


def test_beyond_two_modalities_1024_tuples_are_drawn_by_default():
    data = tiny.dataset(SHAPES)
    default = steps.take(variant("bigated"), dataset=data, size=12)
    named = steps.take(variant("bigated", parameters={"negatives": 1024}), dataset=data, size=12)
    other = steps.take(variant("bigated", parameters={"negatives": 1023}), dataset=data, size=12)
    assert default.logged["loss"] == named.logged["loss"] != other.logged["loss"]


def test_additive_heads_enumerate_by_eq_16_whatever_the_number_of_modalities():
    step = steps.take(variant("concat"), dataset=tiny.dataset(SHAPES), size=12)
    _, unimodal = longhand.concat_gradients(step.before, step.x, lambda u: u)
    assert step.logged["loss"] == pytest.approx(longhand.total_correlation(unimodal, step.y)[0], rel=1e-10)


@pytest.mark.parametrize(("parameters", "m"), [({"negatives": 9}, 2), ({}, 3)], ids=["asked for", "by default"])
def test_assertion_13_the_release_fails_where_it_samples_for_such_a_head(parameters, m):
    data = tiny.dataset(dict(itertools.islice(SHAPES.items(), m)))
    with pytest.raises(ValueError, match="the released TCMax fails with sampled negatives"):
        steps.parts(variant("bigated", fidelity="release", parameters=parameters), dataset=data)
    steps.parts(variant("bigated", parameters=parameters), dataset=data)
    steps.parts(variant("concat", fidelity="release", parameters=parameters), dataset=data)


def test_the_released_constant_arrives_with_such_a_head():
    one = steps.take(variant("bigated"), size=5)
    other = steps.take(variant("bigated", switches={"tcmax.release_constant": True}), size=5)
    assert other.logged["loss"] - one.logged["loss"] == pytest.approx(math.log(5 * 3))
    steps.close(one.gradients, other.gradients)


def test_the_head_does_not_become_a_part_of_the_method():
    model, method, dataset = steps.parts(variant("film"))
    method.step(model, steps.batch_of(dataset), torch.optim.SGD(model.parameters(), lr=0.1), steps.progress())
    assert not method.state_dict()
    assert not list(method.parameters())
