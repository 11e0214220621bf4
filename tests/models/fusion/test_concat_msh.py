"""Concat-MSH: a joint layer and separate unimodal ones that share nothing."""

import pytest
import torch

from tcmax.models.fusion.base import NoParameters
from tcmax.models.fusion.concat_msh import ConcatMSH

WIDTHS = {"a": 4, "b": 5, "c": 3}


@pytest.fixture
def head():
    torch.manual_seed(0)
    return ConcatMSH(WIDTHS, 6, NoParameters(), {}).double()


@pytest.fixture
def features():
    generator = torch.Generator().manual_seed(1)
    return {name: torch.randn(7, width, generator=generator, dtype=torch.float64) for name, width in WIDTHS.items()}


def test_the_joint_layer_reads_the_concatenation_in_the_heads_order(head, features):
    logits = head(dict(reversed(features.items())))
    assert list(logits) == ["a", "b", "c", "joint"]
    stacked = torch.cat([features[name] for name in WIDTHS], dim=-1)
    torch.testing.assert_close(logits["joint"], stacked @ head.linear.weight.T + head.linear.bias)
    for name in WIDTHS:
        layer = head.linears[name]
        torch.testing.assert_close(logits[name], features[name] @ layer.weight.T + layer.bias)
    assert not head.additive


@pytest.mark.parametrize("read_out", ["a", "b", "c", "joint"])
def test_each_read_out_teaches_its_own_layer_alone(head, features, read_out):
    head(features)[read_out].sum().backward()
    taught = {name for name, weight in head.named_parameters() if weight.grad is not None}
    layer = "linear" if read_out == "joint" else f"linears.{read_out}"
    assert taught == {f"{layer}.weight", f"{layer}.bias"}
