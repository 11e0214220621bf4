"""CLIP-style head: cosine similarity to trainable class prototypes, per modality (methods §2.1).

u^m_c = cos(z^m, p^m_c) / tau, f = sum_m u^m. Features and prototypes are normalised at every use; prototypes start as
normalised Gaussians. The paper takes CLIP's own temperature, 0.01 in the released CLIP weights; its code fixes CLIP's
initial one, 0.07 (switch `prototype.initial_temperature`). Frozen encoders, as in the paper, are the encoders' part.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from tcmax.models.fusion.base import Head, total


@dataclass(frozen=True)
class PrototypeParameters:
    """temperature: tau, by default as the fidelity says: 0.01, or 0.07 in the release."""

    temperature: float | None = None

    def __post_init__(self) -> None:
        if self.temperature is not None and self.temperature <= 0:
            raise ValueError("temperature must be positive")


class Prototypes(nn.Module):
    """One vector per class; yields cosines (..., B, C)."""

    def __init__(self, width: int, n_classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_classes, width))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        with torch.no_grad():
            self.weight.copy_(normalize(torch.randn_like(self.weight), dim=-1))

    def forward(self, features: Tensor) -> Tensor:
        return normalize(features, dim=-1) @ normalize(self.weight, dim=-1).mT


class Prototype(Head):
    """Additive, without biases; unimodal logits lie within 1/tau of zero."""

    Parameters: ClassVar[type] = PrototypeParameters
    additive = True
    side_by_side = True

    def __init__(
        self, widths: Mapping[str, int], n_classes: int, parameters: PrototypeParameters, switches: Mapping[str, Any]
    ) -> None:
        super().__init__(widths, n_classes, parameters, switches)
        # Switch prototype.initial_temperature: the release fixes CLIP's initial temperature, not its trained one.
        default = 0.07 if switches["prototype.initial_temperature"] else 0.01
        self.temperature = default if parameters.temperature is None else parameters.temperature
        self.prototypes = nn.ModuleDict({name: Prototypes(width, n_classes) for name, width in widths.items()})

    def forward(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        unimodal = {name: cosine(features[name]) / self.temperature for name, cosine in self.prototypes.items()}
        return {**unimodal, "joint": total(unimodal)}
