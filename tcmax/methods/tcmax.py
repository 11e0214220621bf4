"""TCMax: total correlation maximization (TCMax paper, Eq. 14-16; methods §3.15).

The joint logits are the critic of a bound on the total correlation of features and label: true tuples against all
recombinations of the batch with all classes. The loss lives in tcmax.information.total_correlation; here it meets the
model. Overrides `loss` only. No hyper-parameter but the number of sampled negatives, by default all of them.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from tcmax.fusion.base import total
from tcmax.information.release import release_loss
from tcmax.information.total_correlation import TCMaxLoss, decompose
from tcmax.methods.base import Batch, Method, Progress, Setting
from tcmax.model import MultimodalClassifier, Outputs


@dataclass(frozen=True)
class TCMaxParameters:
    """negatives: tuples sampled per step (Eq. 15); by default all B^M of them, which Eq. 16 makes cheap (paper §4.4).

    A batch with fewer tuples than that, such as a short last one, uses all it has.
    """

    negatives: int | None = None

    def __post_init__(self) -> None:
        if self.negatives is not None and self.negatives < 1:
            raise ValueError("negatives must be at least 1; leave it out to use all of them")


class TCMax(Method):
    """L = -(in-batch estimate of total correlation), additive heads."""

    Parameters: ClassVar[type] = TCMaxParameters

    def __init__(self, parameters: TCMaxParameters, setting: Setting) -> None:
        super().__init__(parameters, setting)
        self.negatives = parameters.negatives
        switches = setting.switches
        self.released = {
            name: bool(switches[f"tcmax.{name}"])
            for name in ("release_constant", "sample_with_replacement", "mean_shift")
        }

    def check(self, model: MultimodalClassifier) -> None:
        # The release trains on the sum of unimodal logits even where its shared head then averages them (T6).
        if not model.head.additive and not self.setting.switches.get("shared_head.average", False):
            raise ValueError("TCMax needs an additive head: concat, shared-head or sum")

    def loss(self, outputs: Outputs, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        unimodal = outputs.unimodal
        negatives = self.negatives
        if negatives is not None:
            negatives = min(negatives, len(batch.labels) ** len(unimodal))
        if any(self.released.values()):
            loss, _ = release_loss(
                unimodal,
                batch.labels,
                negatives=negatives,
                generator=progress.noise,
                release_constant=self.released["release_constant"],
                sample_with_replacement=self.released["sample_with_replacement"],
                mean_shift=self.released["mean_shift"],
            )
            return {"loss": loss}
        loss = TCMaxLoss(negatives=negatives)(unimodal, batch.labels, generator=progress.noise)
        parts = decompose(loss.detach(), total(unimodal).detach(), batch.labels)
        return {"loss": loss, "cross_entropy": parts.cross_entropy, "alignment": parts.alignment}
