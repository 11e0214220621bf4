"""Seeds that train side by side: each gives what it gives alone, whatever happens to the others."""

import numpy as np
import pytest
import runs
import tiny
import torch

from tcmax.methods import METHODS
from tcmax.methods.joint import Joint
from tcmax.models.encoders import ENCODERS
from tcmax.models.encoders.mlp import MLP
from tcmax.models.fusion import HEADS
from tcmax.registry import Entry
from tcmax.training.loop import Runs, train_side_by_side
from tcmax.training.spec import resolve_run

WEIGHTS = {"modulated": "weights"}
DROPPING = {"probability": 0.6, "warm_up_epochs": 1}
GATED = {"name": "gated", "hidden": 5}
BIGATED = {"name": "bigated", "hidden": 5}
TWO, THREE = {"left": (3,), "right": (2,)}, {"left": (2, 2), "middle": (3,), "right": (2,)}
OWN_SPLIT = runs.OWN_SPLIT


def released(method, **changes):
    return {"method": method, "fidelity": "release", "switches": OWN_SPLIT, **changes}


def original(method, **changes):
    return {"method": method, "fidelity": "original", **changes}


# The paths on which numbers of several seeds could meet: by loss, head, gradient hook, noise and state.
CASES = {
    "joint": {"method": "joint"},
    "joint sum": {"method": "joint", "head": "sum"},
    "joint shared": {"method": "joint", "head": "shared-head"},
    "joint film": {"method": "joint", "head": "film"},
    "joint gated": ({"method": "joint", "head": GATED}, TWO),
    "joint bigated": {"method": "joint", "head": BIGATED},
    "joint bigated release": (released("joint", head=BIGATED), TWO),
    "joint prototype": {"method": "joint", "head": "prototype"},
    "unimodal": {"method": "unimodal"},
    "ogm": {"method": "ogm", "parameters": WEIGHTS},
    "ogm release": released("ogm", parameters=WEIGHTS),
    "ogm-ge": {"method": "ogm-ge", "parameters": WEIGHTS},
    "agm": {"method": "agm"},
    "agm release": released("agm"),
    "agm shared perceptron": {"method": "agm", "head": {"name": "shared-mlp", "hidden": 5}},
    "qmf": {"method": "qmf"},
    "opm": {"method": "opm", "parameters": DROPPING},
    "opm release": released("opm"),
    "ogm-ge-opm": {"method": "ogm-ge-opm", "parameters": {**WEIGHTS, **DROPPING}},
    "mla": {"method": "mla"},
    "mla original": original("mla"),
    "mmpareto": {"method": "mmpareto"},
    "mmpareto encoder": {"method": "mmpareto", "parameters": {"norm_scope": "encoder"}},
    "mmpareto original": original("mmpareto"),
    "mcr": {"method": "mcr", "parameters": {"exchanges": 4}},
    "mcr other label": {"method": "mcr", "parameters": {"exchanges": 4, "partners": "other_label"}},
    "mcr circle": {
        "method": "mcr",
        "head": {"name": "concat-aux", "decoder": 3},
        "parameters": {"exchanges": 2, "partners": "not_itself", "decoding_weight": 1.0, "positives": "item"},
    },
    "mlb": {"method": "mlb"},
    "pmr": {"method": "pmr", "parameters": {"share": 0.1, "entropy_weight": 0.1}},
    "pmr release": released("pmr", parameters={"share": 1.0, "entropy_weight": 0.1}),
    "reconboost": {"method": "reconboost", "parameters": {"phase_epochs": 1}},
    "mmcosine": {"method": "mmcosine"},
    "tcmax": {"method": "tcmax"},
    "tcmax empirical": {"method": "tcmax", "parameters": {"label_reference": "empirical"}},
    "tcmax sampled": {"method": "tcmax", "parameters": {"negatives": 9}},
    "tcmax release": released("tcmax", parameters={"negatives": 9}),
    "tcmax film": ({"method": "tcmax", "head": "film"}, TWO),
    "tcmax film sampled": {"method": "tcmax", "head": "film", "parameters": {"negatives": 20}},
    "tcmax bigated release": (released("tcmax", head=BIGATED), TWO),
}


def make(case, seeds):
    settings, shapes = case if isinstance(case, tuple) else (case, THREE)
    dataset = tiny.dataset(shapes)
    # The shared head, the contrastive term and others need features of one width.
    encoders = {"tiny": {"encoder": {"name": "mlp"}}}
    experiment = tiny.experiment(variants={"v": settings}, datasets=encoders, precision="float64")
    return Runs(resolve_run(experiment, dataset, "tiny", 0, "v"), seeds, dataset, torch.device("cpu"))


def outcome(run, results, seed):
    """Every number that one seed's run keeps, by name."""
    place = run.seeds.index(seed)
    result = results[place]
    tensors = {**run.model.state_dict(), **run.method.state_dict(), "velocity": run.optimizer.velocity}
    kept = {f"{rule} {name}": x for rule, of in result.selected.items() for name, x in of.logits.items()}
    history = {f"{epoch} {quantity}": value for epoch, quantity, value in result.history}
    return {**{name: value[place].double().numpy().copy() for name, value in tensors.items()}, **kept, **history}


def close(one, other, tolerance):
    assert set(one) == set(other)
    for name in one:
        np.testing.assert_allclose(one[name], other[name], rtol=tolerance, atol=tolerance, err_msg=name)


def train(case, seeds):
    run = make(case, seeds)
    results = run.train()
    return {seed: outcome(run, results, seed) for seed in seeds}


@pytest.mark.parametrize("name", CASES)
def test_a_seed_gives_the_same_beside_others_as_alone(name):
    """To rounding: a matrix product may depend on where in memory a matrix starts, and so on its place among others."""
    together = train(CASES[name], [4, 0, 7])
    for seed in (0, 7):
        close(train(CASES[name], [seed])[seed], together[seed], 1e-9)
    assert not np.array_equal(together[0]["last joint"], together[7]["last joint"])


@pytest.mark.parametrize("name", CASES)
def test_a_seed_that_diverges_leaves_the_others_as_they_are(name):
    """Its weights are spoilt at the start, so whatever mixes seeds spoils all of them."""
    sound = train(CASES[name], [4, 0, 7])
    run = make(CASES[name], [4, 0, 7])
    run.optimizer.values[1] = torch.nan
    results = run.train()
    assert [result.diverged_epoch for result in results] == [None, 0, None]
    for seed in (4, 7):
        close(outcome(run, results, seed), sound[seed], 0)
    assert results[1].selected == {}
    assert results[1].nonfinite_losses == 4


def test_when_every_seed_diverged_training_ends():
    run = make(CASES["joint"], [0, 1])
    run.optimizer.values[:] = torch.nan
    over = []
    run.train(lambda current: over.append(current.epoch))
    assert over == [1]


def spec(settings, dataset, **changes):
    return resolve_run(tiny.experiment(variants={"v": settings}, **changes), dataset, "tiny", 0, "v")


def test_every_part_but_what_has_batch_statistics_or_uneven_batches_trains_side_by_side():
    apart = {
        kind: {name for name in table.entries if not vars(table.load(name)).get("side_by_side", False)}
        for kind, table in (("encoder", ENCODERS), ("head", HEADS), ("method", METHODS))
    }
    assert apart == {"encoder": {"cnn", "resnet18"}, "head": set(), "method": {"g-blending"}}


class Unpromised(Joint):
    """Inherits the promise of the method it changes, and does not make it."""


class UnpromisedMLP(MLP):
    """The same for an encoder."""


def test_a_promise_is_not_inherited(monkeypatch):
    monkeypatch.setitem(METHODS.entries, "unpromised", Entry(f"{__name__}:Unpromised"))
    monkeypatch.setitem(ENCODERS.entries, "unpromised", Entry(f"{__name__}:UnpromisedMLP"))
    data = tiny.dataset()
    assert train_side_by_side(spec({"method": "joint"}, data), data)
    assert not train_side_by_side(spec({"method": "unpromised"}, data), data)
    encoders = {"tiny": {"encoder": {"name": "mlp"}, "encoders": {"left": {"name": "unpromised"}}}}
    assert not train_side_by_side(spec({"method": "joint"}, data, datasets=encoders), data)


def test_what_does_not_promise_it_trains_one_seed_at_a_time():
    images = tiny.dataset({"left": (1, 4, 4), "right": (2, 4, 4)})
    encoders = {"tiny": {"encoder": {"name": "cnn", "channels": [2]}}}
    settings = spec({"method": "joint"}, images, datasets=encoders)
    assert np.isfinite(Runs(settings, [0], images, torch.device("cpu")).train()[0].history[-1][2])
    with pytest.raises(ValueError, match="one seed after another"):
        Runs(settings, [0, 1], images, torch.device("cpu"))
