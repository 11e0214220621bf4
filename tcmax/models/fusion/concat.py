"""Concat head: one linear layer on concatenated features (TCMax paper, appendix B.1).

f = W [z^1; ...; z^M] + b = sum_m u^m with u^m = W_m z^m + b/M, where W_m is the slice of W that meets modality m.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from tcmax.models.fusion.base import Head, total
from tcmax.models.linear import Linear, linear


class Concat(Head):
    """Additive; every modality carries an equal share of the bias."""

    additive = True
    side_by_side = True

    def __init__(self, widths: Mapping[str, int], n_classes: int, parameters: Any, switches: Mapping[str, Any]) -> None:
        super().__init__(widths, n_classes, parameters, switches)
        self.widths = dict(widths)
        self.linear = Linear(sum(widths.values()), n_classes)

    def forward(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        slices = self.linear.weight.split(list(self.widths.values()), dim=-1)
        bias = self.linear.bias / len(self.widths)
        unimodal = {name: linear(features[name], part, bias) for name, part in zip(self.widths, slices, strict=True)}
        return {**unimodal, "joint": total(unimodal)}
