"""TCMax: total correlation maximization (TCMax paper, Eq. 14-16; methods §3.15).

The joint logits are the critic of a bound on the total correlation of features and label: true tuples against all
recombinations of the batch with all classes. The loss lives in tcmax.information.total_correlation; here it meets the
model. No hyper-parameter but the number of sampled negatives, by default all of them. Overrides `loss`; `step`, to
keep at hand the head that recombined features are scored with where it is not additive; and `read_out`.

The bound holds for any reference law P of the label, and the critic estimates p(z, c) / (p(z^1) ... p(z^M) P(c)), so
log P(c) has to be added to predict. The paper's Eq. 13 leaves it out, which is right for the uniform P of its Eq. 14.
With `label_reference: empirical` P is the class law of the train part. Both have the same optimum once log P is added,
since that only moves a head's bias where it has one; they differ on the way there.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from tcmax.information.arguments import Head
from tcmax.information.release import release_loss
from tcmax.information.total_correlation import TCMaxLoss, decompose
from tcmax.methods.base import Batch, Method, Progress, Setting
from tcmax.models.classifier import MultimodalClassifier, Outputs
from tcmax.models.fusion.base import total
from tcmax.models.sgd import SGD


@dataclass(frozen=True)
class TCMaxParameters:
    """negatives: tuples sampled per step (Eq. 15); by default all B^M of them, which Eq. 16 makes cheap (paper §4.4).

    A head that is not additive has to be evaluated on every tuple: with more than two modalities its default is 1024,
    the best number in the paper's sweep on CREMA-D. A batch with fewer tuples, such as a short last one, uses all.

    label_reference: law of the label that the bound compares with; uniform in the paper's Eq. 14 and the release.
    """

    negatives: int | None = None
    label_reference: Literal["uniform", "empirical"] = "uniform"

    def __post_init__(self) -> None:
        if self.negatives is not None and self.negatives < 1:
            raise ValueError("negatives must be at least 1; leave it out to use all of them")


DEFAULT_NEGATIVES = 1024  # beyond two modalities, for heads that are not additive


class TCMax(Method):
    """L = -(in-batch estimate of total correlation)."""

    Parameters: ClassVar[type] = TCMaxParameters
    side_by_side = True

    def __init__(self, parameters: TCMaxParameters, setting: Setting) -> None:
        super().__init__(parameters, setting)
        self.negatives = parameters.negatives
        self.scorer: Head | None = None
        self.terms: Callable[[Mapping[str, Tensor]], dict[str, Tensor]] = dict
        switches = setting.switches
        self.released = {
            name: bool(switches[f"tcmax.{name}"])
            for name in ("release_constant", "sample_with_replacement", "mean_shift")
        }
        self.class_log_prior: Tensor | None = None
        if parameters.label_reference == "empirical":
            if any(self.released.values()):
                raise ValueError("the released TCMax knows the uniform label_reference only")
            counts = setting.class_counts.double()
            if not counts.all():
                raise ValueError("label_reference: empirical needs every class among the train items")
            self.class_log_prior = (counts / counts.sum()).log()
            self.readout = "own"

    def read_out(self, logits: Mapping[str, Tensor]) -> Tensor:
        joint = logits["joint"]
        return joint if self.class_log_prior is None else joint + self.class_log_prior.to(joint)

    def check(self, model: MultimodalClassifier) -> None:
        if self._separable(model) or not any(self.released.values()):
            return
        # The released code indexes what a head returns as if it were a tensor where it samples (T3).
        if self._negatives(model) is not None:
            raise ValueError(
                "the released TCMax fails with sampled negatives and a head that is not additive (methods §3.15 T3): "
                "use an additive head, all negatives of two modalities, or reference fidelity"
            )

    def _separable(self, model: MultimodalClassifier) -> bool:
        """Whether joint logits are sums of unimodal ones for this loss."""
        # The release trains on the sum of unimodal logits even where its shared head then averages them (T6).
        return model.head.additive or bool(self.setting.switches.get("shared_head.average", False))

    def _negatives(self, model: MultimodalClassifier) -> int | None:
        if self.negatives is None and len(model.modalities) > 2 and not self._separable(model):
            return DEFAULT_NEGATIVES
        return self.negatives

    def step(self, model: MultimodalClassifier, batch: Batch, optimizer: SGD, progress: Progress) -> dict[str, Tensor]:
        if not self._separable(model):
            # Bound methods, so that the head does not become a part of this module.
            self.terms, self.scorer = model.head.terms, model.head.joint
            self.negatives = self._negatives(model)
        return super().step(model, batch, optimizer, progress)

    def loss(self, outputs: Outputs, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        scored = outputs.unimodal if self.scorer is None else self.terms(outputs.features)
        negatives = self.negatives
        # Switch tcmax.sample_with_replacement: such a sample has no largest size.
        if negatives is not None and not self.released["sample_with_replacement"]:
            negatives = min(negatives, batch.labels.shape[-1] ** len(scored))
        if any(self.released.values()):
            loss, _ = release_loss(
                scored,
                batch.labels,
                head=self.scorer,
                negatives=negatives,
                generator=progress.noise,
                release_constant=self.released["release_constant"],
                sample_with_replacement=self.released["sample_with_replacement"],
                mean_shift=self.released["mean_shift"],
            )
            return {"loss": loss}
        bound = TCMaxLoss(
            negatives=negatives,
            label_reference=self.hyperparameters.label_reference,
            class_log_prior=self.class_log_prior,
        )
        loss = bound(scored, batch.labels, head=self.scorer, generator=progress.noise)
        joint = total(scored) if self.scorer is None else outputs.logits["joint"]
        parts = decompose(loss.detach(), joint.detach(), batch.labels, self.class_log_prior)
        return {"loss": loss, "cross_entropy": parts.cross_entropy, "alignment": parts.alignment}
