"""Linear layers of several seeds at once against one layer after another."""

import pytest
import torch

from tcmax.models.linear import Linear, linear


def layers(seeds, rows, into, out, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    shapes = (seeds, rows, into), (seeds, out, into), (seeds, out)
    return [torch.randn(shape, generator=generator, dtype=dtype).requires_grad_() for shape in shapes]


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("biased", [True, False])
def test_values_and_gradients_are_those_of_each_seed(rows, biased):
    x, weight, bias = layers(3, rows, 4, 2)
    linear(x, weight, bias if biased else None).square().sum().backward()
    for seed in range(3):
        own = [tensor.detach()[seed].clone().requires_grad_() for tensor in (x, weight, bias)]
        value = torch.einsum("bi,oi->bo", own[0], own[1]) + (own[2] if biased else 0.0)
        value.square().sum().backward()
        torch.testing.assert_close(linear(x, weight, bias if biased else None)[seed], value)
        for together, alone in zip((x, weight, bias)[: 3 if biased else 2], own, strict=False):
            torch.testing.assert_close(together.grad[seed], alone.grad)


@pytest.mark.parametrize(("into", "out"), [(16, 64), (40, 64), (64, 10)])
def test_a_row_by_itself_is_computed_as_a_row_among_others(into, out):
    """Another routine is taken for it, which may round it otherwise."""
    x, weight, bias = layers(3, 1, into, out, torch.float32)
    assert torch.equal(linear(x, weight, bias), linear(torch.cat([x, x], dim=1), weight, bias)[:, :1])


def test_the_layer_is_pytorchs_for_one_seed():
    torch.manual_seed(3)
    ours = Linear(4, 2)
    torch.manual_seed(3)
    theirs = torch.nn.Linear(4, 2)
    x = torch.randn(5, 4)
    assert torch.equal(ours(x), theirs(x))
