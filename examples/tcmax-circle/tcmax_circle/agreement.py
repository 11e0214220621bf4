"""Joint cross-entropy with an agreement penalty."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div

from tcmax.methods.base import Batch, Method, Progress
from tcmax.models.classifier import Outputs


@dataclass(frozen=True)
class AgreementParameters:
    """weight: of the penalty; 0.1 in our pilot."""

    weight: float = 0.1


class Agreement(Method):
    """L = CE(f, y) + weight * sum_m KL(sm(f) || sm(u^m))."""

    Parameters: ClassVar[type] = AgreementParameters

    def loss(self, outputs: Outputs, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        joint = outputs.logits["joint"]
        target = joint.log_softmax(-1)
        penalty = sum(
            kl_div(logits.log_softmax(-1), target, reduction="batchmean", log_target=True)
            for logits in outputs.unimodal.values()
        )
        ce = cross_entropy(joint, batch.labels)
        return {"loss": ce + self.hyperparameters.weight * penalty, "cross_entropy": ce, "penalty": penalty}
