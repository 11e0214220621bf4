"""Joint learning: one cross-entropy on the fused logits (methods §3.1-3.5, by head).

Overrides `loss` only. The head decides the row of the table: Joint-Concat, Joint-ShareHead, Joint-Sum.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from tcmax.methods.base import Batch, Method, Progress, cross_entropy
from tcmax.models.classifier import Outputs


@dataclass(frozen=True)
class JointParameters:
    """Nothing to set."""


class Joint(Method):
    """L = CE(f, y)."""

    Parameters: ClassVar[type] = JointParameters
    side_by_side = True

    def loss(self, outputs: Outputs, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        return {"loss": cross_entropy(outputs.logits["joint"], batch.labels)}
