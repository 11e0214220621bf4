"""QMF: late fusion weighted by free energy, ranked by training history (arXiv 2306.02050; methods §3.9).

w_i^m = LSE_c(u_i^m) / 10; f_i = sum_m sg(w_i^m) u_i^m. A regulariser asks the sample with the larger cumulated loss for
the smaller weight, by at least the difference of the normalised histories, between circular neighbours of the batch:

    R^m = mean_i max(0, g (w_i - w_i+) + D),  g = sign(h_i - h_i+),  D = |h_i - h_i+|;
    L = CE(f, y) + sum_m CE(u^m, y) + rank_weight sum_m R^m.

All known code subtracts D instead (switch `qmf.inverted_margin`): it then penalises violations larger than D only.
Overrides `loss` and `read_out`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tcmax.methods.base import Batch, Method, Progress, Search, Setting, cross_entropy, item_costs
from tcmax.models.classifier import Outputs
from tcmax.models.fusion.base import by_modality, total

ENERGY_DIVISOR = 10.0  # the temperature of the weights in every known code


@dataclass(frozen=True)
class QMFParameters:
    """rank_weight: 1 in the authors' text-image code and the release (0.1 in their NYU-D script).

    clamp: take negative weights as 0 in training. The scored read-out is the published one and is never clamped.
    """

    rank_weight: float = 1.0
    clamp: bool = False

    def __post_init__(self) -> None:
        if self.rank_weight < 0:
            raise ValueError("rank_weight must not be negative")


class QMF(Method):
    """Joint, unimodal and ranking losses; by default a classifier per modality, as in the authors' code."""

    Parameters: ClassVar[type] = QMFParameters
    # From the authors' NYU-D script to their text-image code.
    search: ClassVar[Search] = {"rank_weight": {"low": 0.1, "high": 1.0, "scale": "log"}}
    default_head = "sum"
    side_by_side = True
    readout = "joint_energy_weighted"
    history: Tensor

    def __init__(self, parameters: QMFParameters, setting: Setting) -> None:
        super().__init__(parameters, setting)
        self.register_buffer("history", torch.zeros(len(setting.modalities), setting.n_train, dtype=torch.float64))

    def read_out(self, logits: Mapping[str, Tensor]) -> Tensor:
        unimodal = by_modality(logits)
        return total({name: energy_weights(values).unsqueeze(-1) * values for name, values in unimodal.items()})

    def loss(self, outputs: Outputs, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        switches = self.setting.switches
        unimodal = torch.stack(list(outputs.unimodal.values()), dim=-3)  # (..., M, B, C)
        costs = torch.stack([item_costs(u, batch.labels) for u in unimodal.unbind(-3)], dim=-2)
        weights = energy_weights(unimodal)
        negative = (weights < 0).sum((-2, -1))
        if self.hyperparameters.clamp:
            weights = weights.clamp_min(0)
        # Switch qmf.attached_weights: the authors' RGB-D code lets gradients through the weights of the fused logits.
        fused = ((weights if switches["qmf.attached_weights"] else weights.detach()).unsqueeze(-1) * unimodal).sum(-3)
        # Switch qmf.late_history: the authors' RGB-D code ranks first, so its first batch is 0/0.
        if switches["qmf.late_history"]:
            standing = self._standing(batch.rows, guarded=False)
            self._remember(batch.rows, costs)
        else:
            self._remember(batch.rows, costs)
            standing = self._standing(batch.rows)
        ranking = rank_loss(weights, standing.to(weights), inverted=switches["qmf.inverted_margin"]).sum(-1)
        joint = cross_entropy(fused, batch.labels)
        return {
            "loss": joint + costs.mean(-1).sum(-1) + self.hyperparameters.rank_weight * ranking,
            "loss.joint": joint,
            "ranking": ranking,
            "count.negative_weights": negative,
        }

    def _remember(self, rows: Tensor, costs: Tensor) -> None:
        self.history.scatter_add_(-1, rows.unsqueeze(-2).expand_as(costs), costs.detach().to(self.history))

    def _standing(self, rows: Tensor, guarded: bool = True) -> Tensor:
        """Histories of these rows, (..., M, B), scaled to [0, 1] over all training items; 0 while all are equal."""
        low, high = self.history.amin(-1, keepdim=True), self.history.amax(-1, keepdim=True)
        spread = high - low
        if guarded:
            spread = spread.where(spread > 0, torch.ones_like(spread))
        index = rows.unsqueeze(-2).expand(*self.history.shape[:-1], rows.shape[-1])
        return (self.history.gather(-1, index) - low) / spread


def energy_weights(unimodal: Tensor) -> Tensor:
    """w = LSE_c(u) / 10, (..., C) to (...); negative where all logits are below -log C, which turns the vote round."""
    return unimodal.logsumexp(-1) / ENERGY_DIVISOR


def rank_loss(weights: Tensor, standing: Tensor, inverted: bool) -> Tensor:
    """Mean hinge over circular neighbours (i, i + 1 mod B); weights and standing (..., B) to (...)."""
    gap = standing - standing.roll(-1, -1)
    # Switch qmf.inverted_margin: the code of QMF, MLA and the release subtracts the margin.
    margin = -gap.abs() if inverted else gap.abs()
    return (gap.sign() * (weights - weights.roll(-1, -1)) + margin).clamp_min(0).mean(-1)
