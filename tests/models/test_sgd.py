"""The optimiser against torch's own."""

import pytest
import torch

from tcmax.models.sgd import SGD


@pytest.mark.parametrize(("momentum", "decay"), [(0.9, 1e-4), (0.0, 1e-4), (0.9, 0.0), (0.0, 0.0)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_step_equals_torchs_bit_for_bit(momentum: float, decay: float, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(4)
    start = [torch.randn(shape, generator=generator, dtype=dtype) for shape in ((5, 3), (5,), (2, 2, 3, 3))]
    ours, theirs = ([torch.nn.Parameter(value.clone()) for value in start] for _ in range(2))
    optimizer = SGD(ours, lr=0.1, momentum=momentum, weight_decay=decay)
    oracle = torch.optim.SGD(theirs, lr=0.1, momentum=momentum, weight_decay=decay)
    for step in range(12):
        for index, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
            absent = (step + index) % 4 == 0  # gradients come and go, as in alternating methods
            gradient = torch.randn(mine.shape, generator=generator, dtype=dtype)
            mine.grad = None if absent else gradient.clone()
            other.grad = None if absent else gradient.clone()
        if step == 6:
            optimizer.param_groups[0]["lr"] = oracle.param_groups[0]["lr"] = 0.01
        optimizer.step()
        oracle.step()
        for mine, other in zip(ours, theirs, strict=True):
            assert torch.equal(mine, other)


def test_a_restored_optimiser_continues_as_if_nothing_had_happened() -> None:
    generator = torch.Generator().manual_seed(1)
    value = torch.randn(4, generator=generator)
    gradients = torch.randn(6, 4, generator=generator)
    whole = torch.nn.Parameter(value.clone())
    optimizer = SGD([whole], lr=0.1, momentum=0.9, weight_decay=0.01)
    for gradient in gradients[:3]:
        whole.grad = gradient.clone()
        optimizer.step()
    continued = torch.nn.Parameter(whole.detach().clone())
    second = SGD([continued], lr=0.1, momentum=0.9, weight_decay=0.01)
    second.velocity.copy_(optimizer.velocity)
    for gradient in gradients[3:]:
        whole.grad, continued.grad = gradient.clone(), gradient.clone()
        optimizer.step()
        second.step()
    assert torch.equal(whole, continued)


def test_zeroing_makes_gradients_absent_or_zero() -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = SGD([weight], lr=0.1, momentum=0.9, weight_decay=0.0)
    weight.grad = torch.ones(2)
    optimizer.zero_grad(set_to_none=False)
    assert torch.equal(weight.grad, torch.zeros(2))
    optimizer.zero_grad()
    assert weight.grad is None
    optimizer.step()
    assert torch.equal(weight, torch.ones(2))


def test_a_graph_from_before_an_update_refuses_to_run_backward() -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = SGD([weight], lr=0.1, momentum=0.9, weight_decay=0.0)
    loss = (weight**3).sum()
    loss.backward(retain_graph=True)
    optimizer.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("absent", [False, True])
def test_the_norm_of_all_gradients_of_a_step_is_kept(absent):
    torch.manual_seed(0)
    parameters = [torch.nn.Parameter(torch.randn(3, 2, 4)), torch.nn.Parameter(torch.randn(3, 5))]
    optimizer = SGD(parameters, lr=0.1, momentum=0.9, weight_decay=0.1, seed_axes=1)
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)
    if absent:
        parameters[1].grad = None
    expected = sum(p.grad.flatten(1).double().square().sum(1) for p in parameters if p.grad is not None).sqrt()
    optimizer.step()
    (norm,) = optimizer.gradient_norms
    torch.testing.assert_close(norm.double(), expected, rtol=1e-6, atol=0)
    optimizer.forget_counts()
    assert optimizer.gradient_norms == []
