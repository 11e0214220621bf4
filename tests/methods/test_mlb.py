"""MLB: coefficients and a step against longhand NumPy (assertion 25), and the switch of its beta."""

import math

import longhand
import numpy as np
import pytest
import steps
import tiny
import torch

from tcmax.errors import TcmaxError

MLB = {"method": "mlb"}
THREE = {"a": (3,), "b": (2,), "c": (2, 2)}


def lean(model):
    """Auxiliary heads of which the first is confident, so that coefficients differ from 1."""
    with torch.no_grad():
        for position, layer in enumerate(model.head.auxiliary.values()):
            layer.weight.mul_(3 - position)


def kappa_by_hand(scores, alpha, beta=2.0):
    result = {}
    for name, own in scores.items():
        others = [value for other, value in scores.items() if other != name]
        rho = sum(others) / len(others) / own
        slope = math.tanh(alpha * (rho - 1))
        result[name] = 1 + (beta - 1) * slope if rho > 1 else 1 + slope
    return result


def step_by_hand(w, x, y, *, alpha=0.8, beta=2.0, weight=1.0, modulated=True):
    """Gradients of every weight, and kappa."""
    encoded = {name: longhand.encode(w, name, values) for name, values in x.items()}
    features = {name: z for name, (z, _) in encoded.items()}
    unimodal, slices = longhand.concat_head(w, features)
    auxiliary = {
        name: z @ w[f"head.auxiliary.{name}.weight"].T + w[f"head.auxiliary.{name}.bias"]
        for name, z in features.items()
    }
    scores = {name: longhand.softmax(v)[np.arange(len(y)), y].mean() for name, v in auxiliary.items()}
    k = kappa_by_hand(scores, alpha, beta) if modulated else dict.fromkeys(x, 1.0)
    d_joint = longhand.cross_entropy_gradient(sum(unimodal.values()), y)
    head, d_features = longhand.concat_backward(w, features, slices, dict.fromkeys(x, d_joint))
    gradients = {"head.linear.bias": head["head.linear.bias"]}  # nobody's
    columns = [k[name] * head["head.linear.weight"][:, slices[name]] for name in x]
    gradients["head.linear.weight"] = np.concatenate(columns, axis=1)
    for name, z in features.items():
        d = weight * longhand.cross_entropy_gradient(auxiliary[name], y)
        own = {f"head.auxiliary.{name}.weight": d.T @ z, f"head.auxiliary.{name}.bias": d.sum(axis=0)}
        d_z = d_features[name] + d @ w[f"head.auxiliary.{name}.weight"]
        own |= longhand.encode_backward(w, name, encoded[name][1], d_z)
        gradients |= {path: k[name] * gradient for path, gradient in own.items()}
    return gradients, k


@pytest.mark.parametrize("shapes", [tiny.SHAPES, THREE], ids=["two", "three"])
@pytest.mark.parametrize(
    ("parameters", "options"),
    [
        ({}, {}),
        ({"alpha": 2.0, "beta": 0.5}, {"alpha": 2.0, "beta": 0.5}),
        ({"beta": 10.0, "unimodal_weight": 0.3}, {"beta": 10.0, "weight": 0.3}),
        ({"first_epoch": 1}, {"modulated": False}),
    ],
)
def test_a_step_equals_the_one_written_out_by_hand(parameters, options, shapes):
    step = steps.take({**MLB, "parameters": parameters}, prepare=lean, dataset=tiny.dataset(shapes))
    expected, k = step_by_hand(step.before, step.x, step.y, **options)
    if options.get("modulated", True):
        assert {name: step.logged[f"kappa.{name}"] for name in k} == pytest.approx(k, rel=1e-12)
        assert max(abs(value - 1) for value in k.values()) > 0.01
    assert step.logged["count.modulated"] == options.get("modulated", True)
    steps.close(step.gradients, expected)
    steps.close(step.after, longhand.sgd(step.before, expected, steps.RATE, steps.DECAY))


def coefficients(scores, m=2, **variant):
    shapes = {f"m{k}": (2,) for k in range(m)}
    method = steps.parts({**MLB, **variant}, dataset=tiny.dataset(shapes))[1]
    sums = {f"m{k}": torch.tensor(value, dtype=torch.float64) for k, value in enumerate(scores)}
    return [float(value) for value in method.coefficients(sums).values()]


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0, 2.0, 10.0])
def test_assertion_25_kappa_is_one_at_balance_and_continuous_there(beta):
    variant = {"parameters": {"beta": beta}}
    assert coefficients([3.0, 3.0], **variant) == [1, 1]
    assert coefficients([3.0, 3.0, 3.0], m=3, **variant) == pytest.approx([1, 1, 1])
    for shift in (1e-7, -1e-7):
        assert coefficients([3.0, 3.0 * (1 + shift)], **variant) == pytest.approx([1, 1], abs=1e-5)


def test_assertion_25_with_beta_one_nothing_is_accelerated_and_with_two_the_rule_is_plain():
    rng = np.random.default_rng(0)
    for scores in rng.uniform(0.05, 1, size=(20, 2)).tolist():
        slowed = coefficients(scores, parameters={"beta": 1.0})
        assert max(slowed) == 1
        plain = coefficients(scores, parameters={"beta": 2.0, "alpha": 0.8})
        rho = scores[1] / scores[0]
        assert plain == pytest.approx([1 + math.tanh(0.8 * (r - 1)) for r in (rho, 1 / rho)])
        assert 1 - math.tanh(0.8) < min(plain) <= 1 <= max(plain) < 2
        assert min(slowed) == pytest.approx(min(plain))


def test_a_beta_below_one_slows_the_modality_that_is_behind_too():
    ahead, behind = coefficients([0.8, 0.2], parameters={"beta": 0.5})
    assert 0 < behind < 1
    assert 0 < ahead < 1


def test_the_original_ignores_beta():
    """Switch mlb.beta_ignored: inert at the default beta of 2, which is the plain rule already."""
    scores, parameters = [0.8, 0.2], {"beta": 10.0}
    plain = coefficients(scores)
    assert coefficients(scores, parameters=parameters)[1] > 4 > plain[1]
    assert coefficients(scores, parameters=parameters, fidelity="original") == plain
    assert coefficients(scores, fidelity="original") == plain


def test_modalities_that_are_never_right_stay_finite():
    assert coefficients([0.0, 0.5]) == pytest.approx([2, 1 - math.tanh(0.8)])
    assert coefficients([0.0, 0.0]) == [1, 1]


def test_the_window_is_inclusive():
    for epoch, active in ((0, False), (1, True), (2, True), (3, False)):
        step = steps.take({**MLB, "parameters": {"first_epoch": 1, "last_epoch": 2}}, epoch=epoch)
        assert step.logged["count.modulated"] == active


def test_what_it_cannot_train_is_refused():
    with pytest.raises(ValueError, match="at least two"):
        steps.parts(MLB, dataset=tiny.dataset({"a": (3,)}))
    with pytest.raises(ValueError, match="use the head concat-aux"):
        steps.parts({**MLB, "head": "concat"})
    with pytest.raises(TcmaxError, match="beta must not be negative"):
        steps.parts({**MLB, "parameters": {"beta": -1}})
