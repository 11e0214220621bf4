"""The shared perceptron: one classifier for all modalities, summed and scaled by a trained number."""

import pytest
import torch

from tcmax.models.classifier import MultimodalClassifier, initialise
from tcmax.models.fusion.shared_mlp import SharedMLP, SharedMLPParameters


def build(names="abc", hidden=5, widths=None):
    torch.manual_seed(0)
    return SharedMLP(widths or dict.fromkeys(names, 4), 6, SharedMLPParameters(hidden=hidden), {}).double()


def features():
    generator = torch.Generator().manual_seed(1)
    return {name: torch.randn(7, 4, generator=generator, dtype=torch.float64) for name in "abc"}


def test_every_modality_meets_the_same_two_layers_and_the_joint_logits_are_the_scaled_sum():
    head, z = build(), features()
    with torch.no_grad():
        head.rate.fill_(1.7)
    logits = head(z)
    first, _, second = head.layers
    for name, value in z.items():
        hidden = (value @ first.weight.T + first.bias).clamp_min(0)
        torch.testing.assert_close(logits[name], hidden @ second.weight.T + second.bias)
    torch.testing.assert_close(logits["joint"], 1.7 * (logits["a"] + logits["b"] + logits["c"]))
    torch.testing.assert_close(head.ensemble({"b": logits["b"]}), 1.7 * logits["b"])
    assert not head.additive


def test_the_rate_starts_at_one_whatever_was_drawn_and_is_trained():
    head = build()
    with torch.no_grad():
        head.rate.fill_(3.0)
    initialise(MultimodalClassifier({}, head), "digits", 0, 5)
    assert head.rate == 1
    head(features())["joint"].square().sum().backward()
    assert head.rate.grad.abs() > 0


def test_unequal_widths_and_an_empty_layer_are_refused():
    with pytest.raises(ValueError, match="needs equal feature widths"):
        build(widths={"a": 4, "b": 5})
    with pytest.raises(ValueError, match="hidden must be positive"):
        SharedMLPParameters(hidden=0)
