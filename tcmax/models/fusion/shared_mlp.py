"""Shared perceptron: one two-layer classifier for every modality, summed and scaled (arXiv 2405.09321; methods §5.2).

u^m = H relu(A z^m + a) + h and f = beta sum_m u^m with a trainable beta that starts at 1: ReconBoost's ensemble.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from tcmax.models.fusion.base import Head, total
from tcmax.models.linear import Linear


@dataclass(frozen=True)
class SharedMLPParameters:
    """hidden: width of the hidden layer, 256 in ReconBoost's code."""

    hidden: int = 256

    def __post_init__(self) -> None:
        if self.hidden < 1:
            raise ValueError("hidden must be positive")


class SharedMLP(Head):
    """Not additive, as beta leaves 1; all modalities must have features of one width."""

    Parameters: ClassVar[type] = SharedMLPParameters
    additive = False
    side_by_side = True

    def __init__(
        self, widths: Mapping[str, int], n_classes: int, parameters: SharedMLPParameters, switches: Mapping[str, Any]
    ) -> None:
        super().__init__(widths, n_classes, parameters, switches)
        if len(set(widths.values())) != 1:
            raise ValueError(
                f"the shared perceptron needs equal feature widths, not {dict(widths)}: "
                "the encoder `linear` adapts them"
            )
        self.modalities = tuple(widths)
        width = next(iter(widths.values()))
        self.layers = nn.Sequential(Linear(width, parameters.hidden), nn.ReLU(), Linear(parameters.hidden, n_classes))
        self.rate = nn.Parameter(torch.empty(()))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """beta = 1; the layers draw by their own rule."""
        with torch.no_grad():
            self.rate.fill_(1.0)

    def forward(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        unimodal = {name: self.layers(features[name]) for name in self.modalities}
        return {**unimodal, "joint": self.ensemble(unimodal)}

    def ensemble(self, unimodal: Mapping[str, Tensor]) -> Tensor:
        """beta times the sum of these modalities' logits."""
        return self.rate[..., None, None] * total(unimodal)
