"""The model: modality names are data, and equal parts of two models start equal."""

import hashlib

import pytest
import tiny
import torch
from torch import nn

from tcmax.models.classifier import MultimodalClassifier, initialise
from tcmax.models.encoders.cnn import CNN, CNNParameters
from tcmax.models.encoders.mlp import MLP, MLPParameters
from tcmax.models.fusion.base import NoParameters
from tcmax.models.fusion.concat import Concat
from tcmax.models.fusion.shared_head import SharedHead
from tcmax.models.fusion.sum import Sum

SHAPES = {"left": (3,), "right": (2,)}


def build(head=Concat, names=("left", "right"), hidden=(4,)):
    encoders = {name: MLP(SHAPES.get(name, (2,)), MLPParameters(hidden)) for name in names}
    widths = {name: encoder.width for name, encoder in encoders.items()}
    return MultimodalClassifier(encoders, head(widths, 3, NoParameters(), {"shared_head.average": False}))


def started(model, *root):
    initialise(model, *root)
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(one, other):
    return set(one) == set(other) and all(torch.equal(value, other[name]) for name, value in one.items())


def part(state, prefix):
    return {name: value for name, value in state.items() if name.startswith(prefix)}


def test_inputs_are_looked_up_by_name_not_by_position():
    model = build()
    x = {"left": torch.randn(5, 3), "right": torch.randn(5, 2)}
    outputs, swapped = model(x), model(dict(reversed(x.items())))
    assert list(outputs.features) == ["left", "right"]
    assert list(outputs.logits) == ["left", "right", "joint"]
    assert list(outputs.unimodal) == ["left", "right"]
    assert all(torch.equal(outputs.logits[name], swapped.logits[name]) for name in outputs.logits)


def test_every_parameter_belongs_to_exactly_one_group():
    # Names that contain one another, or the head's, must not be confused.
    model = build(names=("visual", "visual2", "audio"))
    groups = model.parameter_groups()
    assert list(groups) == ["visual", "visual2", "audio", "head"]
    members = [id(weight) for weights in groups.values() for weight in weights]
    assert sorted(members) == sorted(id(weight) for weight in model.parameters())
    assert {id(weight) for weight in groups["visual2"]} == {id(w) for w in model.encoder["visual2"].parameters()}


def test_equal_parts_of_two_variants_start_equal():
    concat, shared, summed = (started(build(head), "d", 0, 7) for head in (Concat, SharedHead, Sum))
    assert same(part(concat, "encoder."), part(shared, "encoder."))
    assert same(part(concat, "encoder."), part(summed, "encoder."))


def test_a_modality_starts_the_same_beside_others_and_in_any_order():
    three = started(build(names=("left", "middle", "right")), "d", 0, 7)
    two = started(build(names=("right", "left")), "d", 0, 7)
    assert same(part(three, "encoder.left."), part(two, "encoder.left."))
    assert same(part(three, "encoder.right."), part(two, "encoder.right."))


def test_parts_of_one_model_start_different():
    state = started(build(names=("a", "b")), "d", 0, 7)
    assert not torch.equal(state["encoder.a.layers.1.weight"], state["encoder.b.layers.1.weight"])


@pytest.mark.parametrize("other", [("d", 0, 8), ("d", 1, 7), ("e", 0, 7)])
def test_seed_fold_and_dataset_each_change_the_start(other):
    one, two = started(build(), "d", 0, 7), started(build(), *other)
    assert not any(torch.equal(value, two[name]) for name, value in one.items())


def test_the_start_does_not_depend_on_the_global_generator_and_leaves_it_untouched():
    torch.manual_seed(1)
    first = started(build(), "d", 0, 7)
    torch.manual_seed(2)
    torch.randn(5)
    model = build()
    before = torch.get_rng_state()
    initialise(model, "d", 0, 7)
    assert torch.equal(torch.get_rng_state(), before)
    assert same(first, model.state_dict())


def test_a_layer_starts_as_if_built_alone_under_the_seed_of_its_path():
    state = started(build(), "d", 0, 7)
    text = '["d",0,7,"init","encoder.left.layers.1"]'
    seed = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        alone = nn.Linear(3, 4)
    assert torch.equal(state["encoder.left.layers.1.weight"], alone.weight)
    assert torch.equal(state["encoder.left.layers.1.bias"], alone.bias)


def test_every_parameter_and_statistic_is_set_whatever_it_was():
    encoders = {"left": CNN((1, 8, 8), CNNParameters((2, 3)))}
    model = MultimodalClassifier(encoders, Concat({"left": 3}, 2, NoParameters(), {}))
    clean = started(model, "d", 0, 0)
    with torch.no_grad():
        for value in model.state_dict().values():
            value.fill_(77)
    assert same(clean, started(model, "d", 0, 0))


def test_weights_follow_the_layers_own_rule():
    model = build(hidden=(2000,))
    weight = started(model, "d", 0, 0)["encoder.left.layers.1.weight"]
    bound = 3**-0.5  # nn.Linear: uniform in +-1/sqrt(fan in)
    assert weight.abs().max() <= bound
    assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.03)


def test_a_module_without_a_rule_of_its_own_is_refused_rather_than_left_to_chance():
    class Gate(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(3))

    with pytest.raises(ValueError, match="Gate at 'gate' has parameters and no method `reset_parameters`"):
        initialise(nn.ModuleDict({"gate": Gate()}), "d", 0, 0)


def test_a_spec_builds_the_same_model_in_float32_and_float64():
    from tcmax.training.spec import resolve_run

    dataset = tiny.dataset()
    models = [
        resolve_run(tiny.experiment(precision=precision), dataset, "tiny", 0, "joint").build_model(dataset, 5)
        for precision in ("float32", "float64")
    ]
    for narrow, wide in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert wide.dtype == torch.float64
        assert torch.equal(narrow.double(), wide)
