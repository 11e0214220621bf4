"""MMPareto: joint and unimodal gradients combined without conflict (arXiv 2405.17730; methods §3.14).

With g_0 the gradient of CE(f, y) and g_m that of CE(u^m, y) in the parameters of encoder m, flattened:

    <g_0, g_m> > 0:  a = 1/2;   otherwise a = <g_m - g_0, g_m> / |g_m - g_0|^2, the min-norm weight of g_0;
    per tensor p:    h_p = 2a g_0,p + 2(1 - a) g_m,p;   gradient = gamma max(1, |g_0,p + g_m,p| / |h_p|) h_p.

Without conflict the gradient is gamma (g_0 + g_m), so gamma is always on: encoders see 1.5 times the learning rate of
the heads. h agrees with both gradients (inner products >= 0), but the factors per tensor can break that: counted.
Overrides `step`, with one backward pass per loss; every head learns from its own loss alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from tcmax.methods.base import Batch, Method, Progress, Search, Setting, cross_entropy
from tcmax.models.axes import entries, per_seed
from tcmax.models.classifier import MultimodalClassifier
from tcmax.models.fusion.base import total
from tcmax.models.fusion.concat_msh import ConcatMSH
from tcmax.models.sgd import SGD


@dataclass(frozen=True)
class MMParetoParameters:
    """gamma: 1.5, fixed in the authors' code and the release.

    norm_scope: what the magnitude is restored over; both codes take each tensor, the paper describes the encoder.
    """

    gamma: float = 1.5
    norm_scope: Literal["tensor", "encoder"] = "tensor"

    def __post_init__(self) -> None:
        if self.gamma <= 0:
            raise ValueError("gamma must be positive")


class MMPareto(Method):
    """One two-objective problem per modality; needs separate unimodal heads."""

    Parameters: ClassVar[type] = MMParetoParameters
    # From no extra magnitude to twice what the authors' 1.5 adds.
    search: ClassVar[Search] = {"gamma": {"low": 1.0, "high": 2.0}}
    default_head = "concat-msh"
    side_by_side = True
    trains_separate_heads = True
    learning_rate: Tensor

    def __init__(self, parameters: MMParetoParameters, setting: Setting) -> None:
        super().__init__(parameters, setting)
        self.register_buffer("learning_rate", torch.zeros((), dtype=torch.float64))

    def check(self, model: MultimodalClassifier) -> None:
        if not isinstance(model.head, ConcatMSH):
            raise ValueError("MMPareto needs a joint head and separate unimodal ones: use the head concat-msh")

    def step(self, model: MultimodalClassifier, batch: Batch, optimizer: SGD, progress: Progress) -> dict[str, Tensor]:
        outputs = model(batch.inputs)
        losses = {name: cross_entropy(logits, batch.labels) for name, logits in outputs.logits.items()}
        groups = {
            name: [weight for weight in weights if weight.requires_grad]
            for name, weights in model.parameter_groups().items()
        }
        everywhere = [weight for weights in groups.values() for weight in weights]
        joint = dict(zip(everywhere, _gradients(losses["joint"], everywhere), strict=True))
        head_gradients = {weight: joint[weight] for weight in groups["head"]}
        optimizer.zero_grad(set_to_none=True)
        conflicts, broken = torch.zeros(()), torch.zeros(())
        for name in model.modalities:
            own = _gradients(losses[name], [*groups[name], *groups["head"]])
            for weight, gradient in zip(groups["head"], own[len(groups[name]) :], strict=True):
                head_gradients[weight] = _add(head_gradients[weight], gradient)
            pairs = [
                (weight, joint[weight], unimodal)
                for weight, unimodal in zip(groups[name], own, strict=False)
                if joint[weight] is not None or unimodal is not None
            ]
            if not pairs:
                continue
            # A tensor that only one of the losses reaches has the gradient zero for the other.
            weights = [weight for weight, _, _ in pairs]
            g0 = [torch.zeros_like(weight) if g is None else g for weight, g, _ in pairs]
            gm = [torch.zeros_like(weight) if g is None else g for weight, _, g in pairs]
            combined = self.combine(g0, gm, model.seed_axes)
            for weight, gradient in zip(weights, combined, strict=True):
                weight.grad = gradient
            axes = model.seed_axes
            conflicts = conflicts + (_inner(g0, gm, axes) <= 0)
            broken = broken + (torch.minimum(_inner(combined, g0, axes), _inner(combined, gm, axes)) < 0)
        for weight, gradient in head_gradients.items():
            weight.grad = gradient
        used = self._hold_learning_rate(optimizer, progress)
        optimizer.step()
        return {
            "loss": total(losses).detach(),
            **{f"loss.{name}": loss.detach() for name, loss in losses.items()},
            **used,
            "count.backward_passes": torch.tensor(float(len(losses))),
            "count.conflicts": conflicts,
            "count.broken_guarantees": broken,
        }

    def combine(self, g0: list[Tensor], gm: list[Tensor], seed_axes: int = 0) -> list[Tensor]:
        """Gradients of an encoder's tensors from those of the joint and of the unimodal loss."""
        share = weight_of_joint(g0, gm, seed_axes)
        mixed = [per_seed(2 * share, a) * a + per_seed(2 * (1 - share), b) * b for a, b in zip(g0, gm, strict=True)]
        summed = [a + b for a, b in zip(g0, gm, strict=True)]
        long, short = _norms(summed, seed_axes), _norms(mixed, seed_axes)
        if self.hyperparameters.norm_scope == "tensor":
            scales = list(_restoring(long, short).unbind(-1))
        else:
            scales = [_restoring(long.norm(dim=-1), short.norm(dim=-1))] * len(mixed)
        gamma = self.hyperparameters.gamma
        return [per_seed(gamma * scale, h) * h for scale, h in zip(scales, mixed, strict=True)]

    def _hold_learning_rate(self, optimizer: SGD, progress: Progress) -> dict[str, Tensor]:
        # Switch mmpareto.constant_rate: the original's scheduler is built and never stepped.
        if not self.setting.switches["mmpareto.constant_rate"]:
            return {}
        if progress.epoch == 0:
            self.learning_rate.copy_(torch.as_tensor(optimizer.param_groups[0]["lr"], dtype=torch.float64))
        for group in optimizer.param_groups:
            own = isinstance(group["lr"], Tensor)  # a rate of its own for each seed
            group["lr"] = self.learning_rate.to(group["lr"]) if own else float(self.learning_rate.max())
        return {"learning_rate.used": self.learning_rate.clone()}


def weight_of_joint(g0: list[Tensor], gm: list[Tensor], seed_axes: int = 0) -> Tensor:
    """a (...) of g_0 in a g_0 + (1 - a) g_m: 1/2 when they agree, else the min-norm point; 1/2 when both are zero."""
    difference = [b - a for a, b in zip(g0, gm, strict=True)]
    squared = _inner(difference, difference, seed_axes)
    min_norm = _inner(difference, gm, seed_axes) / squared.where(squared > 0, torch.ones_like(squared))
    return min_norm.where((_inner(g0, gm, seed_axes) <= 0) & (squared > 0), torch.full_like(min_norm, 0.5))


def _gradients(loss: Tensor, weights: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
    return torch.autograd.grad(loss.sum(), weights, retain_graph=True, allow_unused=True)


def _add(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    if first is None or second is None:
        return second if first is None else first
    return first + second


def _inner(left: list[Tensor], right: list[Tensor], seed_axes: int) -> Tensor:
    """(...): of all tensors together."""
    return torch.stack([entries(a * b, seed_axes).sum(-1) for a, b in zip(left, right, strict=True)], dim=-1).sum(-1)


def _norms(tensors: list[Tensor], seed_axes: int) -> Tensor:
    """(..., n): of every tensor."""
    return torch.stack([entries(tensor, seed_axes).norm(dim=-1) for tensor in tensors], dim=-1)


def _restoring(summed: Tensor, mixed: Tensor) -> Tensor:
    """max(1, |g_0 + g_m| / |h|); a vector of length zero cannot be restored and stays."""
    ratio = summed / mixed.where(mixed > 0, torch.ones_like(mixed))
    return ratio.where(mixed > 0, torch.ones_like(mixed)).clamp_min(1)
