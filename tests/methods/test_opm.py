"""OPM and OGM-GE+OPM: drop rates, masks and steps against longhand NumPy (assertion 21)."""

import math

import longhand
import numpy as np
import pytest
import steps
import tiny
import torch

from tcmax.errors import TcmaxError
from tcmax.seeding import derive

OPM = {"method": "opm", "head": "concat"}
ALWAYS = {"probability": 1.0, "warm_up_epochs": 0}
DROPPING = {**OPM, "parameters": ALWAYS}
RELEASE = {**OPM, "fidelity": "release"}
SHAPES = {"a": (3,), "b": (2,), "c": (2, 2)}


IN_USE = torch.tensor(True)


def noise():
    """The stream that a first step of `steps.take` draws from."""
    return torch.Generator().manual_seed(derive("tiny", 0, 0, "m", "noise", 0))


def method_of(variant, m=2):
    return steps.parts(variant, dataset=tiny.dataset({f"m{k}": (2,) for k in range(m)}))[1]


def rates(method, *scores):
    return method.drop_rates({f"m{k}": torch.tensor(s, dtype=torch.float64) for k, s in enumerate(scores)}).tolist()


@pytest.mark.parametrize(
    ("switches", "base", "strength", "shift"),
    [
        ({}, 0.5, 0.5, 1),
        ({"opm.tanh_of_ratio": True}, 0.5, 0.5, 0),
        ({"opm.release_rates": True}, 0.25, 1.0, 1),
    ],
)
@pytest.mark.parametrize("ratio", [1 + 1e-9, 1.5, 40.0])
def test_assertion_21_the_drop_rate_starts_at_its_base_in_reference_and_above_it_in_the_release(
    ratio, switches, base, strength, shift
):
    got = rates(method_of({**DROPPING, "switches": switches}), ratio, 1.0)
    assert got == pytest.approx([base * (1 + strength * math.tanh(ratio - shift)), 0], rel=1e-7)


def test_assertion_21_values_at_balance():
    assert rates(method_of(DROPPING), 1 + 1e-9, 1.0)[0] == pytest.approx(0.5)
    late = method_of(RELEASE)
    rates(late, 1 + 1e-9, 1.0)
    assert late.rates[0].item() == pytest.approx(0.25 * (1 + math.tanh(1)))


def test_nobody_is_dropped_at_a_tie_and_the_weakest_never():
    assert rates(method_of(DROPPING), 2.0, 2.0) == [0, 0]
    four = method_of(DROPPING, m=4)
    for scores in np.random.default_rng(0).uniform(0.1, 3, size=(200, 4)):
        got = rates(four, *scores)
        others = (scores.sum() - scores) / 3
        expected = np.where(scores > others, 0.5 * (1 + 0.5 * np.tanh(scores / others - 1)), 0)
        assert got == pytest.approx(expected.tolist())
        assert got[int(scores.argmin())] == 0


@pytest.mark.parametrize("m", [3, 5])
def test_equal_scores_drop_nobody_whatever_their_sum_is_rounded_to(m):
    method = method_of(DROPPING, m=m)
    for score in torch.rand(200, generator=torch.Generator().manual_seed(0)):
        assert method.drop_rates({f"m{k}": score for k in range(m)}).tolist() == [0] * m


def test_rates_are_probabilities_whatever_the_parameters():
    strong = method_of({**OPM, "parameters": {"base_rate": 0.9, "strength": 3.0}})
    assert rates(strong, 5.0, 1.0) == [1, 0]


def by_hand(step, *, drop_rates, draws, rescale=True):
    """Gradient of a Concat model on dropped features."""
    kept = draws >= np.array(drop_rates)[:, None]
    theta = np.mean(drop_rates) if rescale else 0.0
    encoded = {name: longhand.encode(step.before, name, values) for name, values in step.x.items()}
    factor = {name: keep[:, None] / (1 - theta) for name, keep in zip(step.x, kept, strict=True)}
    features = {name: z * factor[name] for name, (z, _) in encoded.items()}
    unimodal, slices = longhand.concat_head(step.before, features)
    joint = sum(unimodal.values())
    d = dict.fromkeys(step.x, longhand.cross_entropy_gradient(joint, step.y))
    gradients, d_features = longhand.concat_backward(step.before, features, slices, d)
    for name in step.x:
        d_z = d_features[name] * factor[name]
        gradients |= longhand.encode_backward(step.before, name, encoded[name][1], d_z)
    loss = -np.log(longhand.softmax(joint)[np.arange(len(step.y)), step.y]).mean()
    return gradients, loss


def scores_by_hand(step):
    unimodal = longhand.concat_gradients(step.before, step.x, lambda u: u)[1]
    scores = {n: longhand.softmax(u)[np.arange(len(step.y)), step.y].sum() for n, u in unimodal.items()}
    others = {n: (sum(scores.values()) - s) / (len(scores) - 1) for n, s in scores.items()}
    return {n: scores[n] / others[n] for n in scores}


@pytest.mark.parametrize("shapes", [tiny.SHAPES, SHAPES], ids=["two", "three"])
@pytest.mark.parametrize(
    ("switches", "base", "strength", "shift", "rescale"),
    [
        ({}, 0.5, 0.5, 1, True),
        ({"opm.no_rescaling": True}, 0.5, 0.5, 1, False),
        ({"opm.tanh_of_ratio": True}, 0.5, 0.5, 0, True),
        ({"opm.release_rates": True}, 0.25, 1.0, 1, True),
    ],
)
def test_a_step_equals_the_one_written_out_by_hand(switches, base, strength, shift, rescale, shapes):
    step = steps.take({**DROPPING, "switches": switches}, dataset=tiny.dataset(shapes), size=14)
    ratios = scores_by_hand(step)
    q = [base * (1 + strength * math.tanh(r - shift)) if r > 1 else 0.0 for r in ratios.values()]
    stream = noise()
    torch.rand((), generator=stream)
    draws = torch.rand((len(shapes), 14), generator=stream).numpy()
    gradients, loss = by_hand(step, drop_rates=q, draws=draws, rescale=rescale)
    assert step.logged["loss"] == pytest.approx(loss, rel=1e-6)
    assert [step.logged[f"drop_rate.{name}"] for name in shapes] == pytest.approx(q)
    assert 0 < (draws < np.array(q)[:, None]).sum() < draws.size
    steps.close(step.gradients, gradients, 1e-6)


def test_warm_up_and_skipped_batches_are_plain_joint_steps():
    plain = steps.take({"method": "joint", "head": "concat"})
    for variant, epoch in ((OPM, 5), ({**OPM, "parameters": {**ALWAYS, "probability": 0.0}}, 6)):
        step = steps.take(variant, epoch=epoch)
        steps.close(step.gradients, plain.gradients)
        assert step.logged["count.dropping_steps"] == 0
    assert steps.take({**OPM, "parameters": {"probability": 1.0}}, epoch=6).logged["count.dropping_steps"] == 1


@pytest.mark.parametrize(("switches", "share"), [({}, 0.7), ({"opm.every_batch": True}, 1.0)])
def test_seven_in_ten_batches_drop_in_reference_and_all_in_the_release(switches, share):
    model, method, dataset = steps.parts({**OPM, "switches": switches})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    batch, progress = steps.batch_of(dataset), steps.progress(6)
    active = [method.step(model, batch, optimizer, progress)["count.dropping_steps"].item() for _ in range(200)]
    assert np.mean(active) == pytest.approx(share, abs=0.1)  # three standard errors


def test_assertion_21_rescaling_keeps_the_size_of_all_features_together_not_of_each_modality():
    method, q = method_of(DROPPING), 0.6
    ones = {name: torch.ones(40_000, 4) for name in ("m0", "m1")}
    dropped = method.drop(ones, torch.tensor([q, 0.0]), IN_USE, steps.progress())
    means = [z.mean().item() for z in dropped.values()]
    assert means == pytest.approx([(1 - q) / (1 - q / 2), 1 / (1 - q / 2)], rel=0.02)
    assert np.mean(means) == pytest.approx(1, rel=0.02)
    assert means[0] < 0.6


def test_modalities_of_unequal_width_are_weighted_by_it():
    method = method_of(DROPPING)
    dropped = method.drop(
        {"m0": torch.ones(5, 6), "m1": torch.ones(5, 2)}, torch.tensor([0.4, 0.0]), IN_USE, steps.progress()
    )
    assert dropped["m1"][0, 0].item() == pytest.approx(1 / (1 - 0.4 * 6 / 8))


def test_assertion_21_the_release_drops_by_the_rates_of_the_batch_before_so_its_first_batch_never_drops():
    method = method_of(RELEASE)
    first, second = rates(method, 2.0, 1.0), rates(method, 1.0, 3.0)
    assert first == [0, 0]
    assert second == pytest.approx([0.25 * (1 + math.tanh(2.0)), 0])
    step = steps.take(RELEASE)
    steps.close(step.gradients, steps.take({"method": "joint", "head": "concat"}).gradients)
    assert step.logged["count.dropping_steps"] == 1


def test_assertion_21_the_leak_between_seeds_of_the_release_would_change_a_first_batch_and_cannot_happen_here():
    """The released rates live on a function and outlast a run; here they are a buffer that every run starts anew."""
    losses = []
    for leaked in (None, torch.tensor([0.5, 0.0], dtype=torch.float64)):
        model, method, dataset = steps.parts(RELEASE, seed=1)
        assert not method.rates.any()
        if leaked is not None:
            method.rates.copy_(leaked)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        losses.append(method.step(model, steps.batch_of(dataset), optimizer, steps.progress())["loss"].item())
    assert losses[0] != losses[1]


def test_ogm_ge_opm_damps_the_gradients_of_dropped_features_by_scores_of_whole_ones():
    variant = {"method": "ogm-ge-opm", "head": "concat", "parameters": {**ALWAYS, "modulated": "weights"}}
    step, opm = steps.take(variant), steps.take(DROPPING)
    ratios = scores_by_hand(opm)
    stream = noise()
    torch.rand((), generator=stream)
    torch.rand((2, 7), generator=stream)
    expected = dict(opm.gradients)
    for name, ratio in ratios.items():
        k = 1 - math.tanh(0.8 * ratio) if ratio > 1 else 1.0
        for layer in (1, 3):
            path = f"encoder.{name}.layers.{layer}.weight"
            g = opm.gradients[path]
            added = torch.randn(g.shape, generator=stream, dtype=torch.float64).numpy()
            expected[path] = k * g + (g.std(ddof=1) + 1e-8) * added
    steps.close(step.gradients, expected)
    assert step.logged["loss"] == opm.logged["loss"]


def test_ogm_ge_opm_needs_what_both_need():
    with pytest.raises(ValueError, match="modulated: weights"):
        steps.parts({"method": "ogm-ge-opm", "head": "concat"})
    for variant in (OPM, {"method": "ogm-ge-opm"}):
        with pytest.raises(ValueError, match="at least two"):
            steps.parts(variant, dataset=tiny.dataset({"a": (3,)}))


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"base_rate": 1.5}, "base_rate is a probability"),
        ({"probability": -0.1}, "probability is a probability"),
        ({"strength": -1}, "strength must not be negative"),
    ],
)
def test_impossible_parameters_are_refused(parameters, sentence):
    with pytest.raises(TcmaxError, match=sentence):
        steps.parts({**OPM, "parameters": parameters})
