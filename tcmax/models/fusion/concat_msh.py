"""Concat-MSH: a linear layer on concatenated features, and a separate linear head per modality (methods §2.1).

f = W [z^1; ...; z^M] + b and u^m = V_m z^m + e_m share no parameter, so each head learns from its own loss alone and f
says nothing about the u^m. For methods that train joint and unimodal losses together, such as MMPareto.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tcmax.models.fusion.base import Head
from tcmax.models.linear import Linear


class ConcatMSH(Head):
    """Not additive: joint and unimodal logits come from different layers."""

    additive = False
    side_by_side = True
    separate = True

    def __init__(self, widths: Mapping[str, int], n_classes: int, parameters: Any, switches: Mapping[str, Any]) -> None:
        super().__init__(widths, n_classes, parameters, switches)
        self.linear = Linear(sum(widths.values()), n_classes)
        self.linears = nn.ModuleDict({name: Linear(width, n_classes) for name, width in widths.items()})

    def forward(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        unimodal = {name: classifier(features[name]) for name, classifier in self.linears.items()}
        concatenated = torch.cat([features[name] for name in self.linears], dim=-1)
        return {**unimodal, "joint": self.linear(concatenated)}
