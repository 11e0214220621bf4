"""What heads that are not additive share: unimodal logits by zeroed features (methods §2.2, §3.4-3.5).

u^m is the joint head evaluated with the feature of every other modality set to zero. The paper speaks of a zero-valued
input; the released code zeroes the feature, and so does this.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from tcmax.models.fusion.base import Head


class NonAdditive(Head):
    """A head that defines `terms` and `joint`; its unimodal logits are zero-feature read-outs, and do not sum to it."""

    additive = False

    def terms(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        raise NotImplementedError

    def joint(self, terms: Mapping[str, Tensor]) -> Tensor:
        raise NotImplementedError

    def absent(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Terms of features that are zero, each (..., 1, k_m)."""
        return self.terms({name: torch.zeros_like(value[..., :1, :]) for name, value in features.items()})

    def forward(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        present, absent = self.terms(features), self.absent(features)
        # All rows for the joint logits, and again for each read-out: on small batches one long call is much faster.
        rows = {}
        for name, value in present.items():
            missing = absent[name].expand_as(value)
            rows[name] = torch.cat([*(value if kept == name else missing for kept in present), value], dim=-2)
        logits = self.joint(rows).chunk(len(present) + 1, dim=-2)
        return dict(zip((*present, "joint"), logits, strict=True))
