"""What heads that are not additive share: unimodal logits by zeroed features (methods §2.2, §3.4-3.5).

u^m is the joint head evaluated with the feature of every other modality set to zero. The paper speaks of a zero-valued
input; the released code zeroes the feature, and so does this.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from tcmax.fusion.base import Head


def only(features: Mapping[str, Tensor], kept: str) -> dict[str, Tensor]:
    """Features with every modality but one set to zero."""
    return {name: value if name == kept else torch.zeros_like(value) for name, value in features.items()}


class NonAdditive(Head):
    """A head that defines `joint`; the unimodal logits are its zero-feature read-outs, and do not sum to it."""

    additive = False

    def joint(self, features: Mapping[str, Tensor]) -> Tensor:
        """Joint logits (..., B, C) alone: what recombined features are scored with."""
        raise NotImplementedError

    def unimodal(self, features: Mapping[str, Tensor], name: str) -> Tensor:
        """Logits (..., B, C) of one modality."""
        return self.joint(only(features, name))

    def forward(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {**{name: self.unimodal(features, name) for name in features}, "joint": self.joint(features)}
