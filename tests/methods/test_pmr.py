"""PMR: prototypes, boosts and a step against longhand NumPy (assertions 27 and 35), and what code does instead."""

import dataclasses
import math

import longhand
import numpy as np
import pytest
import steps
import tiny
import torch
from single import Run

from tcmax.errors import TcmaxError
from tcmax.methods.base import Batch
from tcmax.methods.pmr import distances
from tcmax.models.sgd import SGD
from tcmax.training.loading import Arrays
from tcmax.training.spec import resolve_run

PMR = {"method": "pmr", "head": "concat"}
THREE = {"a": (3,), "b": (2,), "c": (2, 2)}
ALL = {"share": 1.0}


def switched(*names, **parameters):
    return {**PMR, "parameters": parameters, "switches": {f"pmr.{name}": True for name in names}}


def entropy_gradient(e, axis):
    """Mean over rows (axis -1) or columns (axis 0) of the softmax entropy along the axis, and its gradient in e."""
    p = np.exp(e - e.max(axis=axis, keepdims=True))
    p = p / p.sum(axis=axis, keepdims=True)
    entropy = -(p * np.log(p)).sum(axis=axis, keepdims=True)
    return entropy.mean(), -p * (np.log(p) + entropy) / entropy.size


def step_by_hand(w, x, y, prototypes, *, alpha=1.0, hard=False, strong=False, mu=0.0, axis=-1, largest=np.inf):
    """Loss, boosts and gradient of every weight."""
    encoded = {name: longhand.encode(w, name, values) for name, values in x.items()}
    features = {name: z for name, (z, _) in encoded.items()}
    unimodal, slices = longhand.concat_head(w, features)
    d = longhand.cross_entropy_gradient(sum(unimodal.values()), y)
    loss = -np.log(longhand.softmax(sum(unimodal.values()))[np.arange(len(y)), y]).mean()
    gradients, d_features = longhand.concat_backward(w, features, slices, dict.fromkeys(x, d))
    e, scores, costs = {}, {}, {}
    for name, z in features.items():
        e[name] = -np.sqrt(((z[:, None, :] - prototypes[name][None]) ** 2).sum(axis=2) + 1e-12)
        true = longhand.softmax(e[name])[np.arange(len(y)), y]
        scores[name], costs[name] = true.sum(), -np.log(true).mean()
    top, low = max(scores.values()), min(scores.values())
    boosts = {name: (s / low if strong else top / s) - 1 for name, s in scores.items()}
    boosts = {name: float(b > 0) if hard else min(b, 1.0) for name, b in boosts.items()}
    for name, z in features.items():
        used = boosts[name] if costs[name] <= largest else 0.0
        loss += alpha * used * costs[name]
        d_e = alpha * used * longhand.cross_entropy_gradient(e[name], y)
        if scores[name] == top:
            entropy, d_entropy = entropy_gradient(e[name], axis)
            loss -= mu * max(boosts.values()) * entropy
            d_e = d_e - mu * max(boosts.values()) * d_entropy
        # d|z - mu| / dz = (z - mu) / |z - mu|, and e is its negative.
        d_z = (d_e[:, :, None] * (z[:, None, :] - prototypes[name][None]) / e[name][:, :, None]).sum(axis=1)
        gradients |= longhand.encode_backward(w, name, encoded[name][1], d_features[name] + d_z)
    return loss, boosts, gradients


def lean(model):
    """Features of which the first modality's lie apart, so that scores differ."""
    with torch.no_grad():
        for position, encoder in enumerate(model.encoder.values()):
            for weight in encoder.parameters():
                weight.mul_(2.0 - 0.7 * position)


def one_step(variant, dataset=None, scale=1.0, epoch=0):
    """A step after a refresh: weights before and after, gradients, log, method, batch and prototypes."""
    model, method, dataset = steps.parts(variant, dataset=dataset)
    lean(model)
    batch, rows = steps.batch_of(dataset), dataset.folds[0].train
    whole = steps.batch_of(dataset, size=len(rows))
    method.begin_epoch(model, Arrays(whole.inputs, whole.labels), steps.progress(epoch))
    for name in model.modalities:
        method.prototypes(name).mul_(scale)
    before = longhand.weights(model)
    optimizer = SGD(model.parameters(), lr=steps.RATE, momentum=0.9, weight_decay=steps.DECAY)
    logged = {name: value.item() for name, value in method.step(model, batch, optimizer, steps.progress(epoch)).items()}
    gradients = {name: weight.grad.numpy() for name, weight in model.named_parameters()}
    prototypes = {name: method.prototypes(name).numpy() for name in model.modalities}
    x = {name: value.numpy() for name, value in batch.inputs.items()}
    return before, longhand.weights(model), gradients, logged, prototypes, x, batch.labels.numpy()


@pytest.mark.parametrize("shapes", [tiny.SHAPES, THREE], ids=["two", "three"])
@pytest.mark.parametrize(
    ("variant", "options", "scale"),
    [
        (switched(**ALL), {}, 1),
        (switched(alpha=0.6, entropy_weight=0.5, **ALL), {"alpha": 0.6, "mu": 0.5}, 1),
        (switched("hard_coefficient", alpha=2.0, **ALL), {"alpha": 2.0, "hard": True}, 1),
        (switched("entropy_over_batch", entropy_weight=0.5, **ALL), {"mu": 0.5, "axis": 0}, 1),
        (switched("drop_large", **ALL), {"largest": 10.0}, 40),
        (switched("drop_large", **ALL), {}, 1),  # inert below 10
        ({**switched(**ALL), "fidelity": "original"}, {"hard": True}, 1),
    ],
)
def test_a_step_equals_the_one_written_out_by_hand(variant, options, scale, shapes):
    before, after, gradients, logged, prototypes, x, y = one_step(variant, tiny.dataset(shapes), scale)
    loss, boosts, expected = step_by_hand(before, x, y, prototypes, **options)
    assert {name: logged[f"boost.{name}"] for name in x} == pytest.approx(boosts, rel=1e-9, abs=1e-12)
    assert max(boosts.values()) > 0.01
    assert logged["loss"] == pytest.approx(loss, rel=1e-11)
    steps.close(gradients, expected)
    steps.close(after, longhand.sgd(before, expected, steps.RATE, steps.DECAY))


@pytest.mark.parametrize(("shapes", "strong"), [(tiny.SHAPES, False), (THREE, True)], ids=["two", "three"])
def test_a_step_of_the_release_boosts_the_strong_of_three(shapes, strong):
    """Switch pmr.strong_boost within the whole release."""
    variant = {**switched(entropy_weight=0.5, **ALL), "fidelity": "release"}
    before, _, gradients, logged, prototypes, x, y = one_step(variant, tiny.dataset(shapes))
    loss, _, expected = step_by_hand(before, x, y, prototypes, strong=strong, mu=0.5, axis=0, largest=10.0)
    assert logged["loss"] == pytest.approx(loss, rel=1e-11)
    steps.close(gradients, expected)


def test_the_release_drops_a_prototype_loss_above_ten():
    """Switch pmr.drop_large."""
    kept, dropped = (one_step(switched(*names, **ALL), scale=40)[3] for names in ((), ("drop_large",)))
    boosted = max(tiny.SHAPES, key=lambda name: kept[f"boost.{name}"])
    assert kept[f"prototype_loss.{boosted}"] > 10
    assert kept["loss"] > kept["cross_entropy"] + 1
    assert dropped["loss"] == dropped["cross_entropy"] == kept["cross_entropy"]


def boosts(scores, *names):
    shapes = {f"m{k}": (2,) for k in range(len(scores))}
    method = steps.parts(switched(*names), dataset=tiny.dataset(shapes))[1]
    return method.boosts(torch.tensor(scores, dtype=torch.float64)).tolist()


def test_weaker_modalities_are_boosted_by_their_lag_up_to_one():
    assert boosts([3.0, 2.0]) == pytest.approx([0, 0.5])
    assert boosts([1.0, 3.0]) == [1, 0]
    assert boosts([2.0, 2.0]) == [0, 0]
    assert boosts([3.0, 2.0, 2.5]) == pytest.approx([0, 0.5, 0.2])


def test_the_authors_boost_is_all_or_nothing_and_the_releases_beyond_two_goes_to_the_strong():
    """Switches pmr.hard_coefficient and pmr.strong_boost; the latter is inert for two modalities."""
    assert boosts([3.0, 2.9], "hard_coefficient") == [0, 1]
    assert boosts([3.0, 2.9, 3.0], "hard_coefficient") == [0, 1, 0]
    assert boosts([2.0, 2.0], "hard_coefficient") == [0, 0]
    assert boosts([3.0, 2.0], "strong_boost") == boosts([3.0, 2.0])
    assert boosts([3.0, 2.0, 2.5], "strong_boost") == pytest.approx([0.5, 0, 0.25])


def refresh(method, model, x, y, epoch=0):
    part = Arrays({name: torch.from_numpy(v) for name, v in x.items()}, torch.from_numpy(y))
    method.begin_epoch(model, part, steps.progress(epoch))
    return {name: method.prototypes(name).numpy().copy() for name in x}


def means_by_hand(model, x, y, n_classes=3):
    w = longhand.weights(model)
    return {
        name: np.stack([longhand.encode(w, name, values)[0][y == c].mean(axis=0) for c in range(n_classes)])
        for name, values in x.items()
    }


def moving(variant, refreshes=4):
    """Prototypes and means after each of several refreshes, the model changing between them."""
    model, method, dataset = steps.parts(variant)
    whole = steps.batch_of(dataset, size=26)
    x, y, series = {name: v.numpy() for name, v in whole.inputs.items()}, whole.labels.numpy(), []
    for epoch in range(refreshes):
        series.append((refresh(method, model, x, y, epoch)["left"], means_by_hand(model, x, y)["left"]))
        with torch.no_grad():
            for weight in model.parameters():
                weight.mul_(1.3)
    return series


@pytest.mark.parametrize(("names", "first"), [((), 1), (("late_average",), 2), (("no_average",), 99)])
def test_refreshes_average_class_means_from_the_one_that_fidelity_says(names, first):
    """Switches pmr.late_average (the original) and pmr.no_average (the release)."""
    kept = None
    for number, (prototypes, means) in enumerate(moving(switched(*names, momentum=0.3, **ALL))):
        kept = means if number < first else 0.7 * means + 0.3 * kept
        np.testing.assert_allclose(prototypes, kept, rtol=1e-12)


def test_a_refresh_reads_a_tenth_of_the_train_part_and_other_items_each_epoch(monkeypatch):
    read = []
    monkeypatch.setattr(
        "tcmax.methods.pmr.outputs_of",
        lambda model, train, chosen: read.append(chosen.tolist()) or model(train.batch(chosen).inputs),
    )
    model, method, dataset = steps.parts(PMR)
    whole = steps.batch_of(dataset, size=26)
    for epoch in (0, 1, 0):
        method.begin_epoch(model, Arrays(whole.inputs, whole.labels), steps.progress(epoch))
    assert [len(set(chosen)) for chosen in read] == [3, 3, 3]  # of 26, rounded up
    assert read[0] == read[2] != read[1]


def without_class_2(epochs=1):
    """A method whose refreshes have met no item of class 2, with its model and a batch that has some."""
    model, method, dataset = steps.parts({**PMR, "parameters": ALL})
    whole = steps.batch_of(dataset, size=26)
    x, y = {name: v.numpy() for name, v in whole.inputs.items()}, whole.labels.numpy()
    known = y != 2
    for epoch in range(epochs):
        refresh(method, model, {name: v[known] for name, v in x.items()}, y[known], epoch)
    return model, method, x, y


def test_assertion_27_a_class_that_was_never_met_is_left_out_and_nothing_is_nan():
    model, method, x, y = without_class_2()
    batch = Batch({name: torch.from_numpy(v) for name, v in x.items()}, torch.from_numpy(y), torch.arange(26))
    terms = method.loss(model(batch.inputs), batch, steps.progress())
    terms["loss"].backward()
    assert all(bool(weight.grad.isfinite().all()) for weight in model.parameters())
    # The prototype terms are those of the two-class problem on the other items.
    w, rows = longhand.weights(model), y != 2
    for name in x:
        z, means = longhand.encode(w, name, x[name][rows])[0], means_by_hand(model, x, y)[name][:2]
        e = -np.linalg.norm(z[:, None] - means[None], axis=2)
        cost = -np.log(longhand.softmax(e)[np.arange(rows.sum()), y[rows]]).mean()
        assert terms[f"prototype_loss.{name}"].item() == pytest.approx(cost, rel=1e-9)


def test_assertion_27_a_class_absent_from_one_refresh_keeps_its_prototype():
    model, method, x, y = without_class_2(epochs=0)
    first = refresh(method, model, x, y)
    known = y != 2
    with torch.no_grad():
        model.encoder["left"].layers[1].weight.mul_(1.5)
    second = refresh(method, model, {name: v[known] for name, v in x.items()}, y[known], 1)
    assert np.array_equal(second["left"][2], first["left"][2])
    assert not np.allclose(second["left"][:2], first["left"][:2])


@pytest.mark.parametrize("fidelity", ["original", "release"])
def test_assertion_27_both_codes_divide_by_zero_for_an_absent_class(fidelity):
    """Switch pmr.absent_class_nan."""
    model, method, dataset = steps.parts({**PMR, "fidelity": fidelity, "parameters": ALL})
    whole = steps.batch_of(dataset, size=26)
    x, y = {name: v.numpy() for name, v in whole.inputs.items()}, whole.labels.numpy()
    assert not any(np.isnan(p).any() for p in refresh(method, model, x, y).values())
    known = y != 2
    later = refresh(method, model, {name: v[known] for name, v in x.items()}, y[known], 1)
    assert np.isnan(later["left"][2]).all()
    assert math.isnan(method.loss(model(whole.inputs), whole, steps.progress())["loss"].item())


def trained(dataset):
    experiment = tiny.experiment(variants={"v": PMR})
    return Run(resolve_run(experiment, dataset, "tiny", 0, "v"), 0, dataset, torch.device("cpu")).train()


def test_assertion_27_validation_and_test_items_never_reach_a_prototype():
    plain = tiny.dataset()
    held_out = np.concatenate([plain.folds[0].val, plain.folds[0].test])
    inputs = {name: x.copy() for name, x in plain.inputs.items()}
    for x in inputs.values():
        x[held_out] = 100.0
    other = dataclasses.replace(plain, inputs=inputs)
    one, two = (trained(dataset).method.state_dict() for dataset in (plain, other))
    assert any(name.startswith("prototypes_") for name in one)
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_before_any_refresh_and_outside_the_window_it_is_joint_learning():
    joint = steps.take({"method": "joint", "head": "concat"})
    steps.close(steps.take(PMR).gradients, joint.gradients)
    for epoch, active in ((1, False), (2, True), (3, True), (4, False)):
        logged = one_step(switched(first_epoch=2, last_epoch=3, **ALL), epoch=epoch)[3]
        assert ("boost.left" in logged) is active


def test_the_release_has_no_window():
    """Switch pmr.no_window: inert in runs of up to 101 epochs, and where the parameter is given."""
    for fidelity, last in (("reference", 100), ("original", 100), ("release", 150)):
        assert steps.parts({**PMR, "fidelity": fidelity}, epochs=150)[1].last_epoch == last
        given = {**PMR, "fidelity": fidelity, "parameters": {"last_epoch": 7}}
        assert steps.parts(given, epochs=150)[1].last_epoch == 7


def test_a_feature_on_its_prototype_has_a_finite_gradient():
    z = torch.zeros(1, 3, requires_grad=True)
    distances(z, torch.zeros(2, 3)).sum().backward()
    assert bool(z.grad.isfinite().all())


def test_what_it_cannot_train_is_refused():
    with pytest.raises(ValueError, match="at least two"):
        steps.parts(PMR, dataset=tiny.dataset({"a": (3,)}))
    for parameters, sentence in (
        ({"share": 0.0}, r"share must lie in \(0, 1\]"),
        ({"momentum": 1.0}, r"momentum must lie in \[0, 1\)"),
        ({"alpha": -1.0}, "alpha must not be negative"),
    ):
        with pytest.raises(TcmaxError, match=sentence):
            steps.parts({**PMR, "parameters": parameters})
