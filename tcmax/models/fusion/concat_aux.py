"""Concat with auxiliary heads: the Concat head, and a linear layer per modality beside it (methods §4.1-4.2).

f = W [z^1; ...; z^M] + b = sum_m u^m as in Concat, and the read-outs are its slices u^m. The auxiliary logits v^m =
V_m z^m + e_m share no parameter with f; methods that add unimodal losses to the joint one train and score them (MLB,
MCR).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from tcmax.models.fusion.concat import Concat
from tcmax.models.linear import Linear


@dataclass(frozen=True)
class ConcatAuxiliaryParameters:
    """decoder: width of the hidden layer of a map from joint logits back to all features; by default there is none."""

    decoder: int | None = None

    def __post_init__(self) -> None:
        if self.decoder is not None and self.decoder < 1:
            raise ValueError("decoder is a width and must be positive")


class ConcatAuxiliary(Concat):
    """Additive; `forward` knows nothing of the auxiliary layers."""

    Parameters: ClassVar[type] = ConcatAuxiliaryParameters
    side_by_side = True

    def __init__(
        self,
        widths: Mapping[str, int],
        n_classes: int,
        parameters: ConcatAuxiliaryParameters,
        switches: Mapping[str, Any],
    ) -> None:
        super().__init__(widths, n_classes, parameters, switches)
        self.auxiliary = nn.ModuleDict({name: Linear(width, n_classes) for name, width in widths.items()})
        self.decoder: nn.Module | None = None
        if parameters.decoder is not None:
            # Bias-free in two layers, as in MCR's code; the source names no nonlinearity, ReLU is the usual one.
            self.decoder = nn.Sequential(
                Linear(n_classes, parameters.decoder, bias=False),
                nn.ReLU(),
                Linear(parameters.decoder, sum(widths.values()), bias=False),
            )

    def auxiliary_logits(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """v^m (..., B, C) by modality."""
        return {name: classifier(features[name]) for name, classifier in self.auxiliary.items()}

    def columns(self, matrix: Tensor) -> dict[str, Tensor]:
        """Views of the columns of a (..., C, sum_m d_m) matrix by modality: W, or its gradient, as slices W_m."""
        parts = torch.split(matrix, list(self.widths.values()), dim=-1)
        return dict(zip(self.widths, parts, strict=True))
