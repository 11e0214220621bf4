"""OGM and OGM-GE: on-the-fly gradient modulation (arXiv 2203.15332; methods §3.6).

The encoder gradient of the modality that scores higher on the true class is damped by k = 1 - tanh(alpha * rho), rho
the ratio of scores; GE adds Gaussian noise with the standard deviation of the unscaled gradient, to every modality.
k is a two-state switch, not a proportional controller: it jumps from 1 to 1 - tanh(alpha) as rho exceeds 1.

Overrides `modulate`. The published rule touches convolution kernels (4-D gradients) only; for encoders without
convolutions `modulated: weights` extends it to weight matrices, which no source does and a table must say.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from tcmax.methods.base import Batch, Progress, Search, Setting, true_class_scores
from tcmax.methods.joint import Joint
from tcmax.models.axes import entries, per_seed
from tcmax.models.classifier import MultimodalClassifier, Outputs

SMALLEST_SCORE = 1e-8
Ratio = Literal["mean_others", "min", "sum_others"]


@dataclass(frozen=True)
class OGMParameters:
    """alpha: 0.8, the OGM authors' value for CREMA-D and the release default.

    first_epoch: first modulated epoch, 0-based; 0 in both codes.
    last_epoch: last modulated epoch, 0-based and inclusive; by default half of the run, as the original's 0-50 of 100,
        and 50 in the other fidelities, however long the run.
    ratio: score of a modality against the others when there are more than two (methods §3.6); by default their mean,
        in the release the smallest of all.
    modulated: which encoder gradients are scaled; "convolutions" is the published rule.
    """

    alpha: float = 0.8
    first_epoch: int = 0
    last_epoch: int | None = None
    ratio: Ratio | None = None
    modulated: Literal["convolutions", "weights"] = "convolutions"

    def __post_init__(self) -> None:
        if self.alpha < 0:
            raise ValueError("alpha must not be negative")


class OGM(Joint):
    """Joint cross-entropy with damped encoder gradients."""

    Parameters: ClassVar[type] = OGMParameters
    # The authors' 0.8 lies inside; beyond 1 the tanh that damps hardly moves.
    search: ClassVar[Search] = {"alpha": {"low": 0.1, "high": 1.0}}
    side_by_side = True
    adds_noise = False

    def __init__(self, parameters: OGMParameters, setting: Setting) -> None:
        super().__init__(parameters, setting)
        # Switch ogm.last_epoch: both codes end the window at epoch 50 of whatever number.
        last = setting.switches["ogm.last_epoch"] if parameters.last_epoch is None else parameters.last_epoch
        self.last_epoch: int = setting.epochs // 2 if last == "half" else last
        # Switch ogm.min_ratio: of three modalities the release damps all but the weakest.
        smallest = setting.switches["ogm.min_ratio"] and len(setting.modalities) > 2
        self.ratio: Ratio = parameters.ratio or ("min" if smallest else "mean_others")
        self.dimensions = (4,) if parameters.modulated == "convolutions" else (2, 3, 4, 5)

    def check(self, model: MultimodalClassifier) -> None:
        if len(model.modalities) < 2:
            raise ValueError("OGM balances modalities, so it needs at least two")
        for name in model.modalities:
            if not any(weight.ndim - model.seed_axes in self.dimensions for weight in model.parameter_groups()[name]):
                raise ValueError(
                    f"OGM scales convolution kernels, and the encoder of {name!r} has none: "
                    "set the method's parameter `modulated: weights` to scale its weight matrices instead"
                )

    def coefficients(self, scores: dict[str, Tensor]) -> dict[str, Tensor]:
        """k_m of every modality from S_m (methods §3.6 steps 2-3). At a tie the first modality is damped."""
        names = list(scores)
        result = {}
        for position, name in enumerate(names):
            others = torch.stack([scores[other] for other in names if other != name], dim=-1)
            against = {"mean_others": others.mean(-1), "min": others.amin(-1), "sum_others": others.sum(-1)}[self.ratio]
            rho = scores[name] / against.clamp_min(SMALLEST_SCORE)
            ahead = (rho > 1) | ((rho == 1) & (position == 0))
            result[name] = torch.where(ahead, 1 - torch.tanh(self.hyperparameters.alpha * rho), torch.ones_like(rho))
        return result

    def modulate(
        self, model: MultimodalClassifier, outputs: Outputs, batch: Batch, progress: Progress
    ) -> dict[str, Tensor]:
        if not self.hyperparameters.first_epoch <= progress.epoch <= self.last_epoch:
            return {"count.modulated": torch.zeros(())}
        scale = self.coefficients(true_class_scores(outputs, batch.labels))
        groups = model.parameter_groups()
        for name in model.modalities:
            for weight in groups[name]:
                if weight.grad is None or weight.grad.ndim - model.seed_axes not in self.dimensions:
                    continue
                gradient, row = weight.grad, entries(weight.grad, model.seed_axes)
                deviation = _deviation(row) if self.adds_noise and row.shape[-1] > 1 else None
                gradient.mul_(per_seed(scale[name], gradient))
                if deviation is not None:
                    kind: dict[str, Any] = {"device": gradient.device, "dtype": gradient.dtype}
                    noise = progress.draw(partial(torch.randn, gradient.shape[model.seed_axes :], **kind))
                    gradient.add_(noise * per_seed(deviation + 1e-8, gradient))
        return {"count.modulated": torch.ones(())}


def _deviation(values: Tensor) -> Tensor:
    """Standard deviation over the last axis, with n - 1; PyTorch's own rounds by how many rows there are."""
    centred = values - values.mean(-1, keepdim=True)
    return (centred.square().sum(-1) / (values.shape[-1] - 1)).sqrt()


class OGMGE(OGM):
    """OGM with generalisation enhancement: Gaussian noise on every modality's gradient."""

    side_by_side = True
    adds_noise = True
