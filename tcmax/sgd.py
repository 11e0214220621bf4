"""Stochastic gradient descent with momentum and weight decay, the paper's optimiser.

Equal to torch.optim.SGD bit for bit (a test compares them), and written out because constructing that one imports the
compiler stack: seconds of processor time for every training job, more than many a small run takes.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn


class SGD:
    """p <- p - lr * b with b <- momentum * b + (gradient + weight_decay * p); b starts as the first such term.

    A parameter whose gradient is absent (None) is left untouched, its momentum included: absent is not zero.
    param_groups: one group, whose "lr" may be changed between steps. steps: how many were taken. updates: how many of
    them moved each parameter, in order; whoever reads these two may set them back to zero.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, momentum: float, weight_decay: float) -> None:
        self.param_groups: list[dict[str, Any]] = [
            {"params": list(parameters), "lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        ]
        self.momentum_buffers: dict[int, Tensor] = {}  # position of the parameter -> buffer
        self.forget_counts()

    def forget_counts(self) -> None:
        """Count steps and updates from zero."""
        self.steps = 0
        self.updates = [0] * len(self.param_groups[0]["params"])

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
        (group,) = self.param_groups
        chosen = [(i, p) for i, p in enumerate(group["params"]) if p.grad is not None]
        if not chosen:
            return
        self.steps += 1
        for position, _ in chosen:
            self.updates[position] += 1
        parameters = [p for _, p in chosen]
        directions = [p.grad for p in parameters]
        if group["weight_decay"]:
            directions = list(torch._foreach_add(directions, parameters, alpha=group["weight_decay"]))
        if group["momentum"]:
            buffers = []
            fresh = []
            for (position, _), direction in zip(chosen, directions, strict=True):
                buffer = self.momentum_buffers.get(position)
                fresh.append(buffer is None)
                buffers.append(direction.clone() if buffer is None else buffer)
                self.momentum_buffers[position] = buffers[-1]
            old = [i for i, new in enumerate(fresh) if not new]
            if old:
                torch._foreach_mul_([buffers[i] for i in old], group["momentum"])
                torch._foreach_add_([buffers[i] for i in old], [directions[i] for i in old])
            directions = buffers
        torch._foreach_add_(parameters, directions, alpha=-group["lr"])

    def state_dict(self) -> dict[str, Any]:
        """Momentum buffers and settings, for a checkpoint."""
        settings = {name: value for name, value in self.param_groups[0].items() if name != "params"}
        return {"settings": settings, "momentum_buffers": self.momentum_buffers}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self.param_groups[0].update(state["settings"])
        parameters = self.param_groups[0]["params"]
        self.momentum_buffers = {
            position: buffer.to(parameters[position], copy=True)
            for position, buffer in state["momentum_buffers"].items()
        }
