"""Stochastic gradient descent with momentum and weight decay, the paper's optimiser.

Equal to torch.optim.SGD bit for bit (a test compares them), and written out because constructing that one imports the
compiler stack: seconds of processor time for every training job, more than many a small run takes.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import increment_version


class SGD:
    """p <- p - lr * b with b <- momentum * b + (gradient + weight_decay * p), where b starts at zero.

    A parameter whose gradient is absent (None) is left untouched, its momentum included: absent is not zero. The
    parameters, of one type and device, become views of one vector: small models take as long as there are tensors. They
    must not be moved to another type or device afterwards.
    seed_axes: 1 where parameters have a leading axis of seeds (classifier.py); vectors then are rows of a matrix.
    lr, weight_decay: a number, or with seeds (S,) of each seed, in the type of the parameters.
    param_groups: one group, whose "lr" may be changed between steps. values, velocity: of all parameters, one after
    another on the last axis, and b, which may be changed in place. places: where each parameter lies in them. steps:
    how many were taken. updates: how many of them moved each parameter, in order. gradient_norms: of each step, the
    norm of all gradients together, before decay and momentum: (), or (S,) with seeds. Whoever reads these three may set
    them back to zero.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float | Tensor,
        momentum: float,
        weight_decay: float | Tensor,
        seed_axes: int = 0,
    ) -> None:
        parameters = list(parameters)
        self.seed_axes = seed_axes
        self.param_groups: list[dict[str, Any]] = [
            {"params": parameters, "lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        ]
        self.values = torch.cat([self._vector(parameter.detach()) for parameter in parameters], dim=-1)
        self.velocity = torch.zeros_like(self.values)
        self.places: list[slice] = []
        start = 0
        for parameter in parameters:
            self.places.append(slice(start, start := start + parameter.shape[seed_axes:].numel()))
            parameter.data = self.values[..., self.places[-1]].view(parameter.shape)
        self.forget_counts()

    def _vector(self, tensor: Tensor) -> Tensor:
        """(n,) of a parameter's shape, or (S, n) with seeds."""
        return tensor.reshape(*tensor.shape[: self.seed_axes], -1)

    def forget_counts(self) -> None:
        """Count steps and updates from zero."""
        self.steps = 0
        self.updates = [0] * len(self.places)
        self.gradient_norms: list[Tensor] = []

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Make every gradient absent (or zero)."""
        for parameter in self.param_groups[0]["params"]:
            if set_to_none:
                parameter.grad = None
            elif parameter.grad is not None:
                parameter.grad.zero_()

    @torch.no_grad()
    def step(self) -> None:
        """Update every parameter that has a gradient."""
        parameters = self.param_groups[0]["params"]
        chosen = [position for position, parameter in enumerate(parameters) if parameter.grad is not None]
        if not chosen:
            return
        self.steps += 1
        for position in chosen:
            self.updates[position] += 1
        gradients = [self._vector(parameters[position].grad) for position in chosen]
        if len(chosen) == len(parameters):
            whole = torch.cat(gradients, dim=-1)
            self.gradient_norms.append(torch.linalg.vector_norm(whole, dim=-1))
            self._move(slice(None), whole)
        else:
            norms = torch.stack([torch.linalg.vector_norm(gradient, dim=-1) for gradient in gradients])
            self.gradient_norms.append(torch.linalg.vector_norm(norms, dim=0))
            for position, gradient in zip(chosen, gradients, strict=True):
                self._move(self.places[position], gradient)
        # The parameters changed behind autograd's back: an older graph must still refuse to run backward.
        increment_version([parameters[position] for position in chosen])

    def _move(self, where: slice, direction: Tensor) -> None:
        (group,) = self.param_groups
        values, rate, decay = self.values[..., where], group["lr"], group["weight_decay"]
        if isinstance(decay, Tensor):
            direction = direction.addcmul(values, decay.unsqueeze(-1))
        elif decay:
            direction = direction.add(values, alpha=decay)
        if group["momentum"]:
            direction = self.velocity[..., where].mul_(group["momentum"]).add_(direction)
        if isinstance(rate, Tensor):
            values.addcmul_(direction, rate.unsqueeze(-1), value=-1)
        else:
            values.add_(direction, alpha=-rate)
