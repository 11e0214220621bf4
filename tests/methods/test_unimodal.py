"""Unimodal ensemble: one loss, separate models (assertion 19)."""

import longhand
import pytest
import steps
import tiny

from tcmax.errors import TcmaxError


def alone(w, name, x, y):
    """Gradients of one modality trained by itself, with its own linear head."""
    features, memory = longhand.encode(w, name, x)
    path = f"head.linears.{name}"
    matrix = w[f"{path}.weight"]
    d_logits = longhand.cross_entropy_gradient(features @ matrix.T + w[f"{path}.bias"], y)
    head = {f"{path}.weight": d_logits.T @ features, f"{path}.bias": d_logits.sum(axis=0)}
    return {**head, **longhand.encode_backward(w, name, memory, d_logits @ matrix)}


@pytest.mark.parametrize("names", [("left",), ("left", "right"), ("left", "right", "top", "low")])
def test_assertion_19_a_step_equals_separate_steps_of_separate_models(names):
    step = steps.take({"method": "unimodal"}, dataset=tiny.dataset(dict.fromkeys(names, (2,))))
    gradients = {}
    for name in names:
        gradients |= alone(step.before, name, step.x[name], step.y)
    steps.close(step.gradients, gradients)
    steps.close(step.after, longhand.sgd(step.before, gradients, steps.RATE, steps.DECAY))


def test_assertion_19_with_a_shared_classifier_encoder_gradients_still_equal_those_of_separate_models():
    step = steps.take({"method": "unimodal", "head": "shared-head", "fidelity": "release"})
    w = step.before
    for name in ("left", "right"):
        features, memory = longhand.encode(w, name, step.x[name])
        d_logits = longhand.cross_entropy_gradient(features @ w["head.linear.weight"].T + w["head.linear.bias"], step.y)
        expected = longhand.encode_backward(w, name, memory, d_logits @ w["head.linear.weight"])
        steps.close({key: step.gradients[key] for key in expected}, expected)


def test_the_loss_of_each_modality_is_logged_and_they_add_up():
    logged = steps.take({"method": "unimodal"}).logged
    assert logged["loss"] == pytest.approx(logged["loss.left"] + logged["loss.right"])


@pytest.mark.parametrize(("fidelity", "separate"), [("reference", True), ("original", True), ("release", False)])
def test_only_the_release_selects_on_joint_accuracy(fidelity, separate):
    _, method, _ = steps.parts({"method": "unimodal", "fidelity": fidelity})
    assert method.selects_modalities_separately is separate


def test_separate_selection_refuses_a_head_that_averages():
    switches = {"shared_head.average": True}
    with pytest.raises(ValueError, match="separate selection adds unimodal logits"):
        steps.parts({"method": "unimodal", "head": "shared-head", "switches": switches})
    steps.parts(
        {"method": "unimodal", "head": "shared-head", "switches": {**switches, "unimodal.joint_selection": True}}
    )


def test_a_method_has_only_its_own_parameters():
    with pytest.raises(TcmaxError, match=r"variants\.v\.parameters: unknown parameter 'alpha'; known: none"):
        steps.parts({"method": "unimodal", "parameters": {"alpha": 1}})
