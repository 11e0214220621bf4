"""OGM and OGM-GE: which gradients are damped, by how much, and what the noise looks like (assertions 16 and 17)."""

import math

import longhand
import numpy as np
import pytest
import steps
import tiny
import torch

from tcmax.errors import TcmaxError
from tcmax.methods.base import true_class_scores

WEIGHTS = {"modulated": "weights"}
MLP_MATRICES = ("layers.1.weight", "layers.3.weight")


def scores(unimodal, y):
    """S_m: sum over the batch of the probability of the true class."""
    return {name: longhand.softmax(u)[np.arange(len(y)), y].sum() for name, u in unimodal.items()}


def coefficients(values, **parameters):
    """What the method computes from these scores."""
    _, method, _ = steps.parts(
        {"method": "ogm", "parameters": {**WEIGHTS, **parameters}},
        dataset=tiny.dataset(dict.fromkeys(values, (2,))),
    )
    exact = {name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()}
    return {name: k.item() for name, k in method.coefficients(exact).items()}


def joint_gradients(step):
    def d_unimodal(unimodal):
        joint = longhand.cross_entropy_gradient(sum(unimodal.values()), step.y)
        return dict.fromkeys(unimodal, joint)

    return longhand.concat_gradients(step.before, step.x, d_unimodal)


def test_a_step_equals_the_one_written_out_by_hand():
    step = steps.take({"method": "ogm", "parameters": WEIGHTS})
    gradients, unimodal = joint_gradients(step)
    s = scores(unimodal, step.y)
    rho = {"left": s["left"] / s["right"], "right": s["right"] / s["left"]}
    k = {name: 1 - math.tanh(0.8 * ratio) if ratio > 1 else 1.0 for name, ratio in rho.items()}
    assert sorted(value < 1 for value in k.values()) == [False, True]
    for name, gradient in gradients.items():
        if name.endswith(MLP_MATRICES):
            gradient *= k[name.split(".")[1]]
    steps.close(step.gradients, gradients)
    steps.close(step.after, longhand.sgd(step.before, gradients, steps.RATE, steps.DECAY))


def test_a_modalitys_score_is_the_sum_of_the_probabilities_of_the_true_classes():
    model, _, dataset = steps.parts({"method": "ogm", "parameters": WEIGHTS})
    batch = steps.batch_of(dataset)
    outputs = model(batch.inputs)
    found = true_class_scores(outputs, batch.labels)
    unimodal = {name: logits.detach().numpy() for name, logits in outputs.unimodal.items()}
    assert {name: s.item() for name, s in found.items()} == pytest.approx(scores(unimodal, batch.labels.numpy()))
    assert not any(s.requires_grad for s in found.values())


def test_assertion_16_at_a_tie_only_the_first_modality_is_damped():
    k = coefficients({"a": 2.0, "b": 2.0})
    assert k["a"] == pytest.approx(1 - math.tanh(0.8))
    assert k["b"] == 1


def test_assertion_16_the_coefficient_jumps_as_the_ratio_passes_one():
    for alpha, jump in ((0.8, 0.336), (0.1, 0.900)):
        k = coefficients({"a": 1.0, "b": 1.0 + 1e-6}, alpha=alpha)
        assert k["a"] == 1
        assert k["b"] == pytest.approx(jump, abs=5e-4)


def test_the_coefficient_falls_with_the_ratio_and_with_alpha():
    assert coefficients({"a": 3.0, "b": 1.0})["a"] == pytest.approx(1 - math.tanh(2.4))
    assert coefficients({"a": 3.0, "b": 1.0}, alpha=0.1)["a"] == pytest.approx(1 - math.tanh(0.3))
    assert coefficients({"a": 3.0, "b": 1.0}, alpha=0.0)["a"] == 1
    assert coefficients({"a": 1.0, "b": 3.0})["a"] == 1


def test_a_score_of_zero_on_the_other_side_gives_a_finite_coefficient():
    k = coefficients({"a": 1e-3, "b": 0.0})
    assert k == {"a": pytest.approx(0, abs=1e-12), "b": 1}


@pytest.mark.parametrize(
    ("values", "ratio", "rho"),
    [
        ({"a": 3.0, "b": 1.5, "c": 1.5}, "mean_others", {"a": 2.0}),  # equals S_1 / S_2 with two modalities
        ({"a": 3.0, "b": 2.0, "c": 1.0}, "mean_others", {"a": 2.0}),
        ({"a": 3.0, "b": 2.6, "c": 1.0}, "mean_others", {"a": 3 / 1.8, "b": 2.6 / 2}),
        ({"a": 3.0, "b": 2.0, "c": 1.0}, "min", {"a": 3.0, "b": 2.0}),
        ({"a": 1.0, "b": 2.0, "c": 3.0}, "min", {"b": 2.0, "c": 3.0}),
        ({"a": 3.0, "b": 2.0, "c": 1.5}, "sum_others", {}),
        ({"a": 5.0, "b": 2.0, "c": 1.5}, "sum_others", {"a": 5 / 3.5}),
    ],
)
def test_assertion_17_the_rules_for_three_modalities(values, ratio, rho):
    expected = {name: pytest.approx(1 - math.tanh(0.8 * rho[name])) if name in rho else 1 for name in values}
    assert coefficients(values, ratio=ratio) == expected


@pytest.mark.parametrize(("fidelity", "damped"), [("reference", {"a"}), ("original", {"a"}), ("release", {"a", "b"})])
def test_of_three_modalities_the_release_damps_all_but_the_weakest(fidelity, damped):
    """Switch ogm.min_ratio, which a ratio that is named and two modalities make inert."""
    scores = {name: torch.tensor(value) for name, value in {"a": 3.0, "b": 1.2, "c": 1.0}.items()}
    data = tiny.dataset({"a": (3,), "b": (2,), "c": (2,)})
    for method in ("ogm", "ogm-ge"):
        variant = {"method": method, "fidelity": fidelity, "parameters": {"modulated": "weights"}}
        k = steps.parts(variant, dataset=data)[1].coefficients(scores)
        assert {name for name, value in k.items() if value < 1} == damped
        if "b" in damped:
            assert k["b"] == pytest.approx(1 - math.tanh(0.8 * 1.2))
        named = {**variant, "parameters": {"modulated": "weights", "ratio": "mean_others"}}
        assert steps.parts(named, dataset=data)[1].coefficients(scores)["b"] == 1
    two = steps.parts({**variant, "fidelity": fidelity}, dataset=tiny.dataset({"a": (3,), "b": (2,)}))[1]
    assert two.ratio == "mean_others"


CNN = {"name": "cnn", "channels": [2, 3]}
IMAGES = {"left": (1, 8, 8), "right": (2, 4, 4)}


def test_assertion_16_the_published_rule_touches_convolution_kernels_only():
    data = tiny.dataset(IMAGES)
    plain, damped = (
        steps.take({"method": method, "head": "concat"}, dataset=data, encoder=CNN) for method in ("joint", "ogm")
    )
    changed = {name for name in plain.gradients if not np.array_equal(plain.gradients[name], damped.gradients[name])}
    kernels = {name for name, gradient in plain.gradients.items() if gradient.ndim == 4}
    sides = {name.split(".")[1] for name in changed}
    assert len(sides) == 1
    assert changed == {name for name in kernels if name.split(".")[1] in sides}
    factors = [np.unique((damped.gradients[name] / plain.gradients[name]).round(9)) for name in changed]
    assert all(len(factor) == 1 for factor in factors)
    assert len({factor.item() for factor in factors}) == 1


def test_assertion_16_noise_reaches_the_kernels_of_every_modality_and_nothing_else():
    data = tiny.dataset(IMAGES)
    plain, noisy = (
        steps.take({"method": method, "head": "concat"}, dataset=data, encoder=CNN) for method in ("joint", "ogm-ge")
    )
    changed = {name for name in plain.gradients if not np.array_equal(plain.gradients[name], noisy.gradients[name])}
    assert changed == {name for name, gradient in plain.gradients.items() if gradient.ndim == 4}


def test_assertion_16_the_noise_has_the_standard_deviation_of_the_unscaled_gradient():
    wide = {"name": "mlp", "hidden": [40, 60]}
    options = {"encoder": wide, "dataset": tiny.dataset({"left": (50,), "right": (50,)})}
    plain = steps.take({"method": "joint", "head": "concat"}, **options)
    damped = steps.take({"method": "ogm", "parameters": WEIGHTS}, **options)
    noisy = steps.take({"method": "ogm-ge", "parameters": WEIGHTS}, **options)
    seen = []
    for name, gradient in plain.gradients.items():
        noise = noisy.gradients[name] - damped.gradients[name]
        if not name.endswith(MLP_MATRICES):
            assert not noise.any(), name
            continue
        n = noise.size
        spread = np.sqrt(((gradient - gradient.mean()) ** 2).sum() / (n - 1))
        standard = noise / spread
        assert abs(standard.mean()) < 5 / math.sqrt(n), name
        assert abs(standard.var() - 1) < 5 * math.sqrt(2 / n), name
        seen.append(standard.ravel())
    assert len(seen) == 4
    # Tensors of one step draw different noise.
    assert abs(np.corrcoef(seen[0], seen[2])[0, 1]) < 5 / math.sqrt(seen[0].size)


def test_noise_is_repeated_for_equal_seeds_and_differs_between_seeds_epochs_and_steps():
    def noise(epoch, seed, draw=0):
        progress = steps.progress(epoch, seed=seed)
        drawn = [torch.randn(3, generator=progress.noise).tolist() for _ in range(draw + 1)]
        return tuple(drawn[-1])

    assert noise(0, 1) == noise(0, 1)
    assert len({noise(0, 1), noise(1, 1), noise(0, 2), noise(0, 1, draw=1)}) == 4


@pytest.mark.parametrize(("epoch", "inside"), [(0, False), (1, True), (2, True), (3, False)])
def test_assertion_16_outside_the_window_gradients_are_untouched(epoch, inside):
    window = {"first_epoch": 1, "last_epoch": 2, **WEIGHTS}
    plain = steps.take({"method": "joint", "head": "concat"}, epoch=epoch)
    for method in ("ogm", "ogm-ge"):
        step = steps.take({"method": method, "parameters": window}, epoch=epoch)
        equal = all(np.array_equal(plain.gradients[name], gradient) for name, gradient in step.gradients.items())
        assert equal is not inside


@pytest.mark.parametrize(("epochs", "last"), [(100, 50), (5, 2), (1, 0)])
def test_by_default_the_first_half_of_the_run_is_modulated(epochs, last):
    _, method, _ = steps.parts({"method": "ogm", "parameters": WEIGHTS}, epochs=epochs)
    assert method.last_epoch == last


def test_frozen_weights_are_skipped():
    def freeze(model):
        model.encoder["left"].layers[1].weight.requires_grad_(False)

    step = steps.take({"method": "ogm-ge", "parameters": WEIGHTS}, prepare=freeze)
    assert "encoder.left.layers.1.weight" not in step.gradients
    np.testing.assert_array_equal(
        step.after["encoder.left.layers.1.weight"], step.before["encoder.left.layers.1.weight"]
    )


def test_a_gradient_of_one_element_gets_no_noise():
    encoder = {"name": "mlp", "hidden": [1, 1]}
    data = tiny.dataset({"left": (1,), "right": (1,)})
    step = steps.take({"method": "ogm-ge", "parameters": WEIGHTS}, encoder=encoder, dataset=data)
    assert all(np.isfinite(gradient).all() for gradient in step.gradients.values())


def test_encoders_without_kernels_are_refused_with_the_way_out():
    with pytest.raises(ValueError, match=r"encoder of 'left' has none: .* `modulated: weights`"):
        steps.parts({"method": "ogm"})


def test_one_modality_cannot_be_balanced():
    with pytest.raises(ValueError, match="at least two"):
        steps.parts({"method": "ogm", "parameters": WEIGHTS}, dataset=tiny.dataset({"left": (2,)}))


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"alpha": -0.1}, "alpha must not be negative"),
        ({"alpha": "big"}, r"parameters\.alpha: input should be a valid number \(got 'big'\)"),
        ({"ratio": "median"}, r"parameters\.ratio: input should be 'mean_others', .* \(got 'median'\)"),
        ({"last_epoch": 1.5}, r"parameters\.last_epoch: input should be a valid integer \(got 1\.5\)"),
    ],
)
def test_parameters_are_checked(parameters, sentence):
    with pytest.raises(TcmaxError, match=sentence):
        steps.parts({"method": "ogm", "parameters": parameters})
