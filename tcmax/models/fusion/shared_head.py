"""ShareHead: one linear classifier applied to every modality (TCMax paper, appendix B.1).

Paper: u^m = W z^m + b/M and f = sum_m u^m. The released code instead has u^m = W z^m + b and f = (1/M) sum_m u^m
(it is written for M = 2), so its unimodal read-outs are M times what joint training saw: their entropy and divergence
are those of a sharper softmax (methods §2.1). The switch `shared_head.average` selects the release.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from tcmax.models.fusion.base import Head, total
from tcmax.models.linear import Linear, linear


class SharedHead(Head):
    """Additive in the paper's form; all modalities must have features of one width."""

    side_by_side = True

    def __init__(self, widths: Mapping[str, int], n_classes: int, parameters: Any, switches: Mapping[str, Any]) -> None:
        super().__init__(widths, n_classes, parameters, switches)
        if len(set(widths.values())) != 1:
            raise ValueError(
                f"the shared head needs equal feature widths, not {dict(widths)}: the encoder `linear` adapts them"
            )
        self.modalities = tuple(widths)
        self.average = bool(switches["shared_head.average"])
        self.additive = not self.average
        self.linear = Linear(next(iter(widths.values())), n_classes)

    def forward(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        # switch shared_head.average: the release gives each modality the whole bias and averages.
        bias = self.linear.bias if self.average else self.linear.bias / len(self.modalities)
        unimodal = {name: linear(features[name], self.linear.weight, bias) for name in self.modalities}
        joint = total(unimodal)
        return {**unimodal, "joint": joint / len(self.modalities) if self.average else joint}
