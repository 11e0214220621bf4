"""Sum head: a linear classifier per modality, logits summed (methods §3.3).

u^m = W_m z^m + b_m, f = sum_m u^m. No parameter is shared, so with a sum of unimodal losses the modalities are
trained as separate models.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from tcmax.models.fusion.base import Head, total
from tcmax.models.linear import Linear


class Sum(Head):
    """Additive; each modality has its own weights and bias."""

    additive = True
    side_by_side = True

    def __init__(self, widths: Mapping[str, int], n_classes: int, parameters: Any, switches: Mapping[str, Any]) -> None:
        super().__init__(widths, n_classes, parameters, switches)
        self.linears = nn.ModuleDict({name: Linear(width, n_classes) for name, width in widths.items()})

    def forward(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        unimodal = {name: classifier(features[name]) for name, classifier in self.linears.items()}
        return {**unimodal, "joint": total(unimodal)}
