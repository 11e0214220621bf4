"""Cosine head: logits from normalised features and normalised class weights (arXiv 2303.05338; methods §5.3).

u^m_c = s cos(z^m, W_m,c), f = sum_m u^m, without biases, so that no modality wins by the norm of its features or
weights; |u^m| <= s. W starts as the one of the Concat head would. The CLIP-style head, with s = 1/tau, is the same
function from another start. The authors' evaluation leaves the norms in (switch `cosine.raw_evaluation`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from tcmax.models.fusion.base import Head, total
from tcmax.models.linear import Linear


@dataclass(frozen=True)
class CosineParameters:
    """scale: s, 10 in the authors' code (15 in the BalanceBenchmark toolkit)."""

    scale: float = 10.0

    def __post_init__(self) -> None:
        if self.scale <= 0:
            raise ValueError("scale must be positive")


class Cosine(Head):
    """Additive, but for what the switch evaluates."""

    Parameters: ClassVar[type] = CosineParameters
    side_by_side = True

    def __init__(
        self, widths: Mapping[str, int], n_classes: int, parameters: CosineParameters, switches: Mapping[str, Any]
    ) -> None:
        super().__init__(widths, n_classes, parameters, switches)
        self.widths = dict(widths)
        self.scale = parameters.scale
        self.raw_evaluation = bool(switches["cosine.raw_evaluation"])
        self.additive = not self.raw_evaluation
        # The bias is of use to the raw evaluation alone: no loss reaches it.
        self.linear = Linear(sum(widths.values()), n_classes, bias=self.raw_evaluation)

    def forward(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        slices = self.linear.weight.split(list(self.widths.values()), dim=-1)
        unimodal = {
            name: self.scale * normalize(features[name], dim=-1) @ normalize(part, dim=-1).mT
            for name, part in zip(self.widths, slices, strict=True)
        }
        # Switch cosine.raw_evaluation: the authors train on cosines and evaluate the plain linear layer, bias included.
        if self.raw_evaluation and not self.training:
            joint = self.linear(torch.cat([features[name] for name in self.widths], dim=-1))
        else:
            joint = total(unimodal)
        return {**unimodal, "joint": joint}
