"""Unimodal ensemble: every modality is trained alone, logits are added at test time (methods §3.8).

Overrides `loss` only. With the Sum head no parameter is shared, so SGD on the sum of the losses trains separate models;
each is selected on its own validation accuracy. The release trains one model instead and selects on joint accuracy
(switch `unimodal.joint_selection`; its shared bias or classifier is a choice of head).
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from tcmax.methods.base import Batch, Method, Progress, cross_entropy
from tcmax.models.classifier import MultimodalClassifier, Outputs
from tcmax.models.fusion.base import total


@dataclass(frozen=True)
class UnimodalParameters:
    """Nothing to set."""


class UnimodalEnsemble(Method):
    """L = sum_m CE(u^m, y); the joint logits are used for evaluation only."""

    Parameters: ClassVar[type] = UnimodalParameters
    side_by_side = True
    default_head = "sum"

    @property
    def selects_modalities_separately(self) -> bool:
        # switch unimodal.joint_selection: the release selects one epoch for the whole model.
        return not self.setting.switches["unimodal.joint_selection"]

    def check(self, model: MultimodalClassifier) -> None:
        # The joint logits of epochs selected apart are a sum, which is not what a head that averages would give.
        if self.selects_modalities_separately and not model.head.additive:
            raise ValueError("separate selection adds unimodal logits, so it needs an additive head")

    def loss(self, outputs: Outputs, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        terms = {f"loss.{name}": cross_entropy(u, batch.labels) for name, u in outputs.unimodal.items()}
        return {"loss": total(terms), **terms}
