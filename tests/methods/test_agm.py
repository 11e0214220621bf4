"""AGM: responses, coefficients and steps against longhand NumPy (assertion 18), in every fidelity."""

import itertools
import math

import longhand
import numpy as np
import pytest
import steps
import tiny
import torch

from tcmax.errors import TcmaxError

AGM = {"method": "agm", "head": "concat"}
IMAGES = {"a": (1, 6, 6), "b": (2, 4, 4), "c": (1, 4, 4), "d": (1, 4, 4)}
CNN = {"name": "cnn", "channels": [3, 4]}


def with_statistics(m, variant=AGM):
    """A model with batch norm whose running statistics have moved, its method and a batch."""
    shapes = dict(itertools.islice(IMAGES.items(), m))
    model, method, dataset = steps.parts(variant, dataset=tiny.dataset(shapes), encoder=CNN)
    batch = steps.batch_of(dataset)
    for _ in range(3):
        model({name: 2 * x + 1 for name, x in batch.inputs.items()})
    return model, method, batch


def value_in_evaluation(model, batch, present):
    model.eval()
    shown = {name: x if name in present else torch.zeros_like(x) for name, x in batch.inputs.items()}
    joint = model(shown).logits["joint"].detach()
    model.train()
    return joint


@pytest.mark.parametrize("m", [2, 3, 4])
@pytest.mark.parametrize("head", ["concat", "bigated"])
def test_assertion_18_responses_are_shapley_values_and_sum_to_the_joint_logits(m, head):
    """Shapley value as the mean marginal contribution over all orders of arrival."""
    model, method, batch = with_statistics(m, {**AGM, "head": head})
    outputs = model(batch.inputs)
    responses = method.responses(model, batch, outputs)
    joint = outputs.logits["joint"].detach()
    torch.testing.assert_close(sum(responses.values()).detach(), joint)
    names = list(batch.inputs)
    orders = list(itertools.permutations(names))
    for name in names:
        expected = torch.zeros_like(joint)
        for order in orders:
            before = order[: order.index(name)]
            after = (*before, name)
            gained = joint if len(after) == m else value_in_evaluation(model, batch, after)
            expected += gained - (value_in_evaluation(model, batch, before) if before else 0)
        torch.testing.assert_close(responses[name].detach(), expected / len(orders))


def test_assertion_18_of_two_modalities_the_responses_are_the_authors_two_terms():
    model, method, batch = with_statistics(2)
    outputs = model(batch.inputs)
    a, b = method.responses(model, batch, outputs).values()
    joint = outputs.logits["joint"].detach()
    only_a, only_b = (value_in_evaluation(model, batch, (name,)) for name in "ab")
    torch.testing.assert_close(a.detach(), (joint - only_b + only_a) / 2)
    torch.testing.assert_close(b.detach(), (joint - only_a + only_b) / 2)


def test_zero_inputs_do_not_move_running_statistics():
    model, method, batch = with_statistics(2)
    plain, _, _ = with_statistics(2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    method.step(model, batch, optimizer, steps.progress())
    plain(batch.inputs)
    statistics = {name: value for name, value in model.named_buffers() if "running" in name}
    assert statistics
    for name, value in plain.named_buffers():
        if "running" in name:
            torch.testing.assert_close(statistics[name], value)
    assert model.training
    assert all(module.training for module in model.modules())


def kappas(costs, record, *, alpha=1.0, against_smallest=False):
    def rho(q):
        if against_smallest:
            return [math.exp(min(q) - own) for own in q]
        others = [sum(q[:m] + q[m + 1 :]) / (len(q) - 1) for m in range(len(q))]
        return [math.exp(other - own) for other, own in zip(others, q, strict=True)]

    return [math.exp(alpha * min(old - new, 10)) for old, new in zip(rho(record), rho(costs), strict=True)]


def cost(logits, y):
    return -np.log(np.maximum(longhand.softmax(logits)[np.arange(len(y)), y], 1e-8)).mean()


def responses_by_hand(w, x):
    """Of a Concat model without batch norm: features, features of zeros, and r^m = W_m (z - z_0 / 2 + ...)."""
    encoded = {name: longhand.encode(w, name, values) for name, values in x.items()}
    blank = {name: longhand.encode(w, name, np.zeros_like(values)) for name, values in x.items()}
    features = {name: z for name, (z, _) in encoded.items()}
    unimodal, slices = longhand.concat_head(w, features)
    absent, _ = longhand.concat_head(w, {name: z for name, (z, _) in blank.items()})
    return encoded, blank, features, unimodal, absent, slices


def step_by_hand(w, x, y):
    """First reference step: gradients of every weight and kappa."""
    encoded, blank, features, u, u0, slices = responses_by_hand(w, x)
    (a, b), joint = x, sum(u.values())
    responses = {
        a: (joint - (u0[a] + u[b]) + (u[a] + u0[b])) / 2,
        b: (joint - (u[a] + u0[b]) + (u0[a] + u[b])) / 2,
    }
    k = dict(zip(x, kappas([cost(r, y) for r in responses.values()], [0.0, 0.0]), strict=True))
    d = longhand.cross_entropy_gradient(joint, y)
    half = (k[a] - k[b]) / 2
    # Gradient of each pass: all inputs, a alone, b alone.
    full, only_a, only_b = (k[a] + k[b]) / 2 * d, half * d, -half * d
    shown = {a: full + only_a, b: full + only_b}
    hidden = {a: only_b, b: only_a}
    gradients, d_features = longhand.concat_backward(w, features, slices, shown)
    zeros = {name: z for name, (z, _) in blank.items()}
    more, d_zeros = longhand.concat_backward(w, zeros, slices, hidden)
    gradients = {name: gradients[name] + more[name] for name in gradients}
    for name in x:
        shown_part = longhand.encode_backward(w, name, encoded[name][1], d_features[name])
        hidden_part = longhand.encode_backward(w, name, blank[name][1], d_zeros[name])
        gradients |= {path: shown_part[path] + hidden_part[path] for path in shown_part}
    return gradients, k


def joint_gradients(w, x, y):
    """Of a Concat model under joint cross-entropy."""

    def d_unimodal(u):
        return dict.fromkeys(u, longhand.cross_entropy_gradient(sum(u.values()), y))

    return longhand.concat_gradients(w, x, d_unimodal)[0]


def lean(model):
    """A head that reads one modality better, so that coefficients differ from 1."""
    with torch.no_grad():
        model.head.linear.weight[:, 4:].mul_(0.2)


def test_a_step_equals_the_one_written_out_by_hand():
    step = steps.take(AGM, prepare=lean)
    gradients, k = step_by_hand(step.before, step.x, step.y)
    assert {name: step.logged[f"kappa.{name}"] for name in k} == pytest.approx(k, rel=1e-12)
    assert max(abs(value - 1) for value in k.values()) > 1e-3
    steps.close(step.gradients, gradients)
    steps.close(step.after, longhand.sgd(step.before, gradients, steps.RATE, steps.DECAY))


def test_assertion_18_the_heads_gradient_is_scaled_in_reference_and_left_alone_in_the_release():
    reference, release = (steps.take({**AGM, "fidelity": name}, prepare=lean) for name in ("reference", "release"))
    plain = steps.take({"method": "joint", "head": "concat"}, prepare=lean)
    for name in ("head.linear.weight", "head.linear.bias"):
        np.testing.assert_allclose(release.gradients[name], plain.gradients[name], rtol=1e-12)
    assert np.abs(reference.gradients["head.linear.weight"] - plain.gradients["head.linear.weight"]).max() > 1e-4
    u, y = longhand.concat_gradients(plain.before, plain.x, lambda u: u)[1], plain.y
    k = dict(zip(u, kappas([cost(logits, y) for logits in u.values()], [0.0, 0.0]), strict=True))
    scaled = {
        name: gradient * (k[name.split(".")[1]] if name.startswith("encoder") else 1)
        for name, gradient in plain.gradients.items()
    }
    steps.close(release.gradients, scaled)


def test_head_scores_stand_for_responses_where_the_head_is_additive():
    """Switch agm.head_scores alone: every modality's encoder and head slice see its kappa, as methods §3.7 derives."""
    variant = {**AGM, "switches": {"agm.head_scores": True}}
    step = steps.take(variant, prepare=lean)
    k = {name: step.logged[f"kappa.{name}"] for name in step.x}

    def d_unimodal(u):
        d = longhand.cross_entropy_gradient(sum(u.values()), step.y)
        return {name: k[name] * d for name in u}

    steps.close(step.gradients, longhand.concat_gradients(step.before, step.x, d_unimodal)[0])
    with pytest.raises(ValueError, match="only where they sum to the joint ones"):
        steps.parts({**variant, "head": "bigated"})
    steps.parts({**AGM, "head": "bigated", "fidelity": "release"})


def update(method, costs):
    """kappa after a batch whose responses have these cross-entropies (two classes, label 0)."""
    gaps = [math.log(math.exp(value) - 1) for value in costs]
    responses = {f"m{k}": torch.tensor([[0.0, gap]], dtype=torch.float64) for k, gap in enumerate(gaps)}
    method._update(responses, torch.tensor([0]))
    return method.kappa.tolist()


def method_of(m, **variant):
    shapes = {f"m{k}": (2,) for k in range(m)}
    return steps.parts({**AGM, **variant}, dataset=tiny.dataset(shapes))[1]


@pytest.mark.parametrize("m", [2, 3, 4])
def test_assertion_18_kappa_compares_a_batch_with_the_running_mean(m):
    method = method_of(m, parameters={"alpha": 0.7})
    batches = np.random.default_rng(0).uniform(0.2, 2, size=(5, m)).tolist()
    record = [0.0] * m
    for n, costs in enumerate(batches, start=1):
        assert update(method, costs) == pytest.approx(kappas(costs, record, alpha=0.7), rel=1e-9)
        record = [old + (new - old) / n for old, new in zip(record, costs, strict=True)]
    assert method.record.tolist() == pytest.approx(np.mean(batches, axis=0), rel=1e-9)


def test_assertion_18_the_first_coefficient_is_exp_of_alpha_times_one_minus_rho():
    first, second = update(method_of(2), [0.4, 0.9])
    assert first == pytest.approx(math.exp(1 - math.exp(0.9 - 0.4)))
    assert second == pytest.approx(math.exp(1 - math.exp(0.4 - 0.9)))


def test_the_release_compares_with_the_smallest_cost_beyond_two_modalities_only():
    for m, differs in ((2, False), (3, True)):
        costs = [0.4, 0.9, 1.3][:m]
        reference = update(method_of(m), costs)
        release = update(method_of(m, switches={"agm.min_reference": True}), costs)
        assert (release != pytest.approx(reference)) is differs
    assert release == pytest.approx(kappas(costs, [0.0] * 3, against_smallest=True))


def test_the_lead_is_capped_and_probabilities_are_floored():
    method = method_of(2)
    update(method, [1e-4, 18.0])
    method.record = torch.tensor([1e-4, 18.0], dtype=torch.float64)
    assert max(update(method, [18.0, 1e-4])) == pytest.approx(math.exp(10))
    method = method_of(2)
    method._update({"m0": torch.tensor([[0.0, 500.0]]), "m1": torch.tensor([[0.0, 0.0]])}, torch.tensor([0]))
    assert method.record[0].item() == pytest.approx(-math.log(1e-8), rel=1e-6)


def test_assertion_18_after_the_window_the_original_keeps_its_last_scale_and_reference_has_none():
    outcome = {}
    for switch in (False, True):
        variant = {**AGM, "parameters": {"last_epoch": 0}, "switches": {"agm.stale_scale": switch}}
        model, method, dataset = steps.parts(variant)
        lean(model)
        batch, optimizer = steps.batch_of(dataset), torch.optim.SGD(model.parameters(), lr=0.1)
        inside = method.step(model, batch, optimizer, steps.progress(0))
        state = method.record.clone()
        model.zero_grad()
        before = longhand.weights(model)
        outside = method.step(model, batch, optimizer, steps.progress(1))
        assert torch.equal(method.record, state)
        x = {name: value.numpy() for name, value in batch.inputs.items()}
        plain = joint_gradients(before, x, batch.labels.numpy())
        got = {name: weight.grad.numpy() for name, weight in model.named_parameters()}
        same = all(np.allclose(got[name], plain[name], rtol=1e-10) for name in got)
        kappa = [[float(terms[f"kappa.{name}"]) for name in x] for terms in (inside, outside)]
        outcome[switch] = (same, kappa[1] == kappa[0], kappa[1] == [1, 1], float(outside["count.modulated"]))
    assert outcome == {False: (True, False, True, 0), True: (False, True, False, 1)}


@pytest.mark.parametrize(("fidelity", "clips"), [("reference", True), ("original", True), ("release", False)])
def test_a_large_head_gradient_clips_the_whole_gradient_to_norm_one(fidelity, clips):
    # alpha 0 leaves every coefficient at 1, so that only clipping differs.
    variant = {**AGM, "fidelity": fidelity, "parameters": {"alpha": 0.0}}
    for scale, large in ((1.0, False), (50.0, True)):
        step = steps.take(variant, scale=scale)
        plain = steps.take({"method": "joint", "head": "concat"}, scale=scale)
        weight = plain.gradients["head.linear.weight"]
        assert bool(np.abs(weight).max() > 1) is large
        norm = math.sqrt(sum((g**2).sum() for g in plain.gradients.values()))
        clipped = clips and large
        factor = 1 / norm if clipped else 1
        assert step.logged["count.clipped"] == clipped
        for name, gradient in step.gradients.items():
            np.testing.assert_allclose(gradient, factor * plain.gradients[name], rtol=1e-5)


def test_one_modality_is_refused_and_so_is_a_negative_alpha():
    with pytest.raises(ValueError, match="at least two"):
        steps.parts(AGM, dataset=tiny.dataset({"a": (3,)}))
    with pytest.raises(TcmaxError, match="alpha must not be negative"):
        steps.parts({**AGM, "parameters": {"alpha": -1}})
