"""MMPareto against longhand gradients, a grid search and SciPy (assertions 23, 24, 28)."""

import longhand
import numpy as np
import pytest
import steps
import tiny
import torch
from scipy.optimize import minimize_scalar
from single import Run

from tcmax.methods.mmpareto import weight_of_joint
from tcmax.training.spec import resolve_run

MMPARETO = {"method": "mmpareto", "head": "concat-msh"}


def oppose(model):
    """Unimodal heads that want the opposite of the joint one, so that gradients conflict."""
    with torch.no_grad():
        start = 0
        for layer in model.head.linears.values():
            width = layer.weight.shape[1]
            layer.weight.copy_(-2 * model.head.linear.weight[:, start : start + width])
            start += width


def gradients_by_hand(w, x, y):
    """Per loss, the gradient of every weight it reaches."""
    encoded = {name: longhand.encode(w, name, values) for name, values in x.items()}
    features = {name: z for name, (z, _) in encoded.items()}
    stacked = np.concatenate(list(features.values()), axis=1)
    d = longhand.cross_entropy_gradient(stacked @ w["head.linear.weight"].T + w["head.linear.bias"], y)
    joint = {"head.linear.weight": d.T @ stacked, "head.linear.bias": d.sum(axis=0)}
    d_stacked, start, unimodal = d @ w["head.linear.weight"], 0, {}
    for name, z in features.items():
        joint |= longhand.encode_backward(w, name, encoded[name][1], d_stacked[:, start : start + z.shape[1]])
        start += z.shape[1]
        path = f"head.linears.{name}"
        d = longhand.cross_entropy_gradient(z @ w[f"{path}.weight"].T + w[f"{path}.bias"], y)
        own = {f"{path}.weight": d.T @ z, f"{path}.bias": d.sum(axis=0)}
        unimodal[name] = own | longhand.encode_backward(w, name, encoded[name][1], d @ w[f"{path}.weight"])
    return joint, unimodal


def combined_by_hand(joint, own, paths, gamma=1.5, per_tensor=True):
    g0, gm = (np.concatenate([g[path].ravel() for path in paths]) for g in (joint, own))
    a = 0.5 if g0 @ gm > 0 else (gm - g0) @ gm / ((gm - g0) @ (gm - g0))
    h = {path: 2 * a * joint[path] + 2 * (1 - a) * own[path] for path in paths}
    whole = np.linalg.norm(g0 + gm) / np.linalg.norm(2 * a * g0 + 2 * (1 - a) * gm)
    result = {}
    for path in paths:
        scale = np.linalg.norm(joint[path] + own[path]) / np.linalg.norm(h[path]) if per_tensor else whole
        result[path] = gamma * max(1.0, scale) * h[path]
    return result, g0 @ gm


@pytest.mark.parametrize("shapes", [tiny.SHAPES, {"a": (3,), "b": (2,), "c": (2, 2)}], ids=["two", "three"])
@pytest.mark.parametrize("scope", ["tensor", "encoder"])
@pytest.mark.parametrize("prepare", [None, oppose], ids=["agreeing", "conflicting"])
def test_a_step_equals_the_one_written_out_by_hand(prepare, scope, shapes):
    variant = {**MMPARETO, "parameters": {"norm_scope": scope}}
    step = steps.take(variant, prepare=prepare, dataset=tiny.dataset(shapes))
    joint, unimodal = gradients_by_hand(step.before, step.x, step.y)
    expected, conflicts = {path: g for path, g in joint.items() if path.startswith("head")}, 0
    for name in shapes:
        expected |= {path: g for path, g in unimodal[name].items() if path.startswith("head")}
        paths = [path for path in joint if path.startswith(f"encoder.{name}.")]
        gradients, inner = combined_by_hand(joint, unimodal[name], paths, per_tensor=scope == "tensor")
        expected |= gradients
        conflicts += int(inner <= 0)
    steps.close(step.gradients, expected)
    steps.close(step.after, longhand.sgd(step.before, expected, steps.RATE, steps.DECAY))
    assert step.logged["count.conflicts"] == conflicts
    assert (conflicts == len(shapes)) is (prepare is oppose)
    assert step.logged["count.backward_passes"] == len(shapes) + 1


def random_pair(seed, tensors=3):
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.randint(1, 5, (tensors,), generator=generator).tolist()
    return [[torch.randn(size, generator=generator, dtype=torch.float64) for size in sizes] for _ in range(2)]


def test_assertion_23_the_weight_of_a_conflict_is_the_min_norm_point():
    grid = np.linspace(0, 1, 2001)
    conflicts = 0
    for seed in range(60):
        pair = random_pair(seed)
        g0, gm = (torch.cat(g).numpy() for g in pair)
        a = weight_of_joint(*pair).item()
        if g0 @ gm > 0:
            assert a == 0.5
            continue
        conflicts += 1

        def norm(share, g0=g0, gm=gm):
            return float(np.linalg.norm(share * g0 + (1 - share) * gm))

        assert 0 < a < 1
        norms = np.linalg.norm(np.outer(grid, g0) + np.outer(1 - grid, gm), axis=1)
        assert a == pytest.approx(grid[norms.argmin()], abs=3e-4)
        found = minimize_scalar(norm, bounds=(0, 1), method="bounded", options={"xatol": 1e-9})
        assert a == pytest.approx(found.x, abs=1e-6)
        assert norm(a) <= found.fun + 1e-12
    assert conflicts > 20


def agreement(scope, g0, gm):
    """Smaller inner product of the combined gradient with the two it comes from."""
    _, method, _ = steps.parts({**MMPARETO, "parameters": {"norm_scope": scope}})
    h = torch.cat(method.combine(g0, gm))
    return min((h @ torch.cat(g)).item() for g in (g0, gm))


def test_assertion_23_one_factor_for_the_encoder_keeps_the_guarantee():
    assert min(agreement("encoder", *random_pair(seed)) for seed in range(40)) >= 0


def test_assertion_23_factors_per_tensor_can_break_the_guarantee():
    """The second tensor's h nearly cancels and points against g_0; its factor blows it up to the length of the sum."""
    g0 = [torch.tensor([0.5, 0.0]).double(), torch.tensor([1.0]).double()]
    gm = [torch.tensor([0.0, 0.75**0.5]).double(), torch.tensor([-3.03]).double()]
    assert weight_of_joint(g0, gm).item() == pytest.approx(0.75, abs=0.01)
    assert agreement("encoder", g0, gm) > 0
    assert agreement("tensor", g0, gm) < -1


def test_broken_guarantees_are_counted_per_encoder(monkeypatch):
    assert steps.take(MMPARETO, prepare=oppose).logged["count.broken_guarantees"] == 0
    monkeypatch.setattr("tcmax.methods.mmpareto.MMPareto.combine", lambda self, g0, gm, seed_axes: [-g for g in gm])
    assert steps.take(MMPARETO).logged["count.broken_guarantees"] == 2


def test_assertion_23_without_conflict_and_with_gamma_one_it_is_the_plain_sum_of_losses():
    step = steps.take({**MMPARETO, "parameters": {"gamma": 1.0}})
    joint, unimodal = gradients_by_hand(step.before, step.x, step.y)
    assert step.logged["count.conflicts"] == 0
    plain = {path: joint.get(path, 0) + sum(own.get(path, 0) for own in unimodal.values()) for path in step.before}
    steps.close(step.gradients, plain)


def test_gamma_multiplies_the_gradient_of_encoders_alone():
    one, other = (steps.take({**MMPARETO, "parameters": {"gamma": gamma}}).gradients for gamma in (1.0, 1.5))
    steps.close({name: g * (1.5 if name.startswith("encoder") else 1) for name, g in one.items()}, other)


def test_a_tensor_whose_gradients_cancel_stays_finite():
    _, method, _ = steps.parts(MMPARETO)
    g = torch.tensor([1.0, -2.0], dtype=torch.float64)
    for g0, gm in (([g], [-g]), ([0 * g], [0 * g]), ([g, g], [g, -g]), ([0 * g], [g])):
        for gradient in method.combine(g0, gm):
            assert gradient.isfinite().all()


def test_assertion_24_the_original_keeps_the_first_learning_rate():
    rates = {}
    for fidelity in ("reference", "original"):
        experiment = tiny.experiment(variants={"v": {**MMPARETO, "fidelity": fidelity}})
        data = tiny.dataset()
        run = Run(resolve_run(experiment, data, "tiny", 0, "v"), 0, data, torch.device("cpu"))
        history = run.train().history
        rates[fidelity] = [group["lr"] for group in run.optimizer.param_groups]
        used = [value for _, quantity, value in history if quantity == "learning_rate.used"]
        assert used == pytest.approx([0.1] * 4 if fidelity == "original" else [])
    assert rates == {"reference": [pytest.approx(0.01)], "original": [0.1]}


def test_assertion_28_frozen_encoders_are_skipped():
    def freeze(model):
        model.encoder["left"].requires_grad_(False)

    step = steps.take(MMPARETO, prepare=freeze)
    free = steps.take(MMPARETO)
    assert not any("left" in name and name.startswith("encoder") for name in step.gradients)
    steps.close(step.gradients, {name: free.gradients[name] for name in step.gradients})
    for name in step.before:
        assert np.array_equal(step.before[name], step.after[name]) is name.startswith("encoder.left")


def test_a_head_without_unimodal_layers_is_refused():
    with pytest.raises(ValueError, match="use the head concat-msh"):
        steps.parts({**MMPARETO, "head": "concat"})
