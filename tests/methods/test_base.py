"""What must hold for every method: seeds do not leak, runs resume to equal bytes, frozen parts stay (28, 35)."""

import numpy as np
import pytest
import steps
import tiny
import torch
from single import Run

from tcmax.training import checkpoint
from tcmax.training.spec import resolve_run

WEIGHTS = {"modulated": "weights"}
DROPPING = {"probability": 1.0, "warm_up_epochs": 0}
VARIANTS = {
    "ogm-ge": {"method": "ogm-ge", "parameters": WEIGHTS},
    "agm": {"method": "agm"},
    "agm original": {"method": "agm", "fidelity": "original", "parameters": {"last_epoch": 1}},
    "agm release": {"method": "agm", "fidelity": "release"},
    "qmf": {"method": "qmf"},
    "opm": {"method": "opm", "parameters": DROPPING},
    "opm release": {"method": "opm", "fidelity": "release"},
    "ogm-ge-opm": {"method": "ogm-ge-opm", "parameters": {**WEIGHTS, **DROPPING}},
    "mla": {"method": "mla"},
    "mla original": {"method": "mla", "fidelity": "original"},
    "mmpareto": {"method": "mmpareto"},
    "mmpareto original": {"method": "mmpareto", "fidelity": "original"},
    "tcmax film": {"method": "tcmax", "head": "film", "parameters": {"negatives": 20}},
    "mcr": {"method": "mcr", "parameters": {"exchanges": 4}},
    "mlb": {"method": "mlb"},
    "pmr": {"method": "pmr", "parameters": {"share": 0.5}},
    "pmr release": {"method": "pmr", "fidelity": "release", "parameters": {"share": 1.0}},
    "reconboost": {"method": "reconboost", "parameters": {"phase_epochs": 1}},
    "reconboost long": {"method": "reconboost", "parameters": {"phase_epochs": 3}},
    "mmcosine": {"method": "mmcosine"},
    "g-blending": {"method": "g-blending", "parameters": {"super_epoch": 3}},
    "g-blending online": {"method": "g-blending", "parameters": {"super_epoch": 1, "schedule": "online"}},
}
variants = pytest.mark.parametrize("name", list(VARIANTS))


def run(name, seed, precision="float32"):
    experiment = tiny.experiment(variants={"v": VARIANTS[name]}, precision=precision)
    data = tiny.dataset()
    return Run(resolve_run(experiment, data, "tiny", 0, "v"), seed, data, torch.device("cpu"))


def outcome(result):
    """Everything a run keeps, as comparable values."""
    weights = {name: value.numpy().tobytes() for name, value in result.model.state_dict().items()}
    state = {name: value.numpy().tobytes() for name, value in result.method.state_dict().items()}
    logits = {rule: {k: v.tobytes() for k, v in kept.logits.items()} for rule, kept in result.selected.items()}
    return result.history, weights, state, logits


@variants
def test_assertion_35_a_seed_gives_the_same_bytes_alone_and_after_another(name):
    alone = outcome(run(name, 1).train())
    first = outcome(run(name, 0).train())
    after = outcome(run(name, 1).train())
    assert after == alone != first


@variants
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_a_run_continued_from_a_checkpoint_gives_the_same_bytes(name, precision, tmp_path):
    saved = tmp_path / "checkpoint.pt"

    def keep(current):
        if current.state.epoch == 2:
            checkpoint.save(saved, current, "key")

    whole = outcome(run(name, 0, precision).train(keep))
    continued = run(name, 0, precision)
    assert checkpoint.restore(saved, continued, "key")
    assert continued.state.epoch == 2
    assert outcome(continued.train()) == whole


@variants
def test_assertion_28_a_frozen_encoder_is_skipped_and_the_others_learn(name):
    def freeze(model):
        model.encoder["left"].requires_grad_(False)

    tunes_all = {"reconboost": 1, "reconboost long": 3}  # its first epochs train the first modality alone
    step = steps.take(VARIANTS[name], prepare=freeze, epoch=tunes_all.get(name, 0))
    moved = {path for path in step.before if not np.array_equal(step.before[path], step.after[path])}
    assert not any(path.startswith("encoder.left") for path in moved)
    assert any(path.startswith("encoder.right") for path in moved)
    assert any(path.startswith("head") for path in moved)
    assert not any(path.startswith("encoder.left") for path in step.gradients)


@variants
def test_assertion_28_a_weight_that_no_loss_reaches_is_absent_and_stays(name):
    """Its gradient is not zero: weight decay would then shrink it, and noise or a hook could move it."""

    def add(model):
        for encoder in model.encoder.values():
            encoder.spare = torch.nn.Linear(3, 3).double()

    step = steps.take(VARIANTS[name], prepare=add)
    spare = {path for path in step.before if ".spare." in path}
    assert len(spare) == 4
    for path in spare:
        assert path not in step.gradients
        assert np.array_equal(step.before[path], step.after[path])


@pytest.mark.parametrize(
    ("method", "parameters", "windows"),
    [
        ("ogm", WEIGHTS, {"reference": 30, "original": 50, "release": 50}),
        ("ogm-ge", WEIGHTS, {"reference": 30, "original": 50, "release": 50}),
        ("agm", {}, {"reference": 30, "original": 19, "release": 50}),
    ],
)
def test_the_modulation_window_follows_the_fidelity(method, parameters, windows):
    for fidelity, last in windows.items():
        variant = {"method": method, "parameters": parameters, "fidelity": fidelity}
        assert steps.parts(variant, epochs=60)[1].last_epoch == last
        given = {**variant, "parameters": {**parameters, "last_epoch": 7}}
        assert steps.parts(given, epochs=60)[1].last_epoch == 7


def test_the_window_of_a_hook_inside_another_method_is_its_own():
    variant = VARIANTS["ogm-ge-opm"]
    for fidelity, last in (("reference", 30), ("release", 50)):
        method = steps.parts({**variant, "fidelity": fidelity}, epochs=60)[1]
        assert method.hook.last_epoch == last
