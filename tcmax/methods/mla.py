"""MLA: alternating unimodal steps through one shared classifier (arXiv 2311.10707; methods §3.13).

Per batch and modality in turn, CE(u^m, y) updates encoder m and the classifier; before the update the classifier's
weight gradient G becomes G P, where P takes away the directions of features seen so far:

    P <- P - P r r^T P / (lambda_t + r^T P r),   r = batch mean of z^m,   lambda_t = 0.1^(1 + t/N_t).

P starts as the identity and accumulates over the whole run. In the authors' code and in the release the projection
looks for a parameter by a name that does not exist, so it is never executed (switch `mla.projector_unused`): the method
is then alternating unimodal SGD. At test time modalities are weighted by exp(-entropy).

Overrides `step` and `read_out`. The bias of u^m is the head's: b/M in the paper's ShareHead, b in the release's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor

from tcmax.methods.base import Batch, Method, Progress, Search, cross_entropy
from tcmax.models.classifier import MultimodalClassifier
from tcmax.models.fusion.base import by_modality, total
from tcmax.models.fusion.shared_head import SharedHead
from tcmax.models.sgd import SGD


@dataclass(frozen=True)
class MLAParameters:
    """damping: base of lambda_t, 0.1 in the authors' code."""

    damping: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.damping <= 1:
            raise ValueError("damping must lie in (0, 1]")


class MLA(Method):
    """One step per modality and batch; needs the shared head."""

    Parameters: ClassVar[type] = MLAParameters
    # A decade on either side of the authors' 0.1.
    search: ClassVar[Search] = {"damping": {"low": 0.01, "high": 1.0, "scale": "log"}}
    default_head = "shared-head"
    side_by_side = True
    readout = "joint_entropy_gated"
    projector: Tensor

    def check(self, model: MultimodalClassifier) -> None:
        if not isinstance(model.head, SharedHead):
            raise ValueError("MLA trains one classifier shared by all modalities: use the head shared-head")

    def bind(self, model: MultimodalClassifier) -> None:
        # The projector is as wide as the features, which only the model knows.
        weight = cast(SharedHead, model.head).linear.weight
        identity = torch.eye(weight.shape[-1], dtype=weight.dtype, device=weight.device)
        self.register_buffer("projector", identity)

    def read_out(self, logits: Mapping[str, Tensor]) -> Tensor:
        unimodal = by_modality(logits)
        # Switch mla.batch_gating: the original takes the softmax over the rows it is given and one weight per modality
        # for all of them, so that a prediction depends on its batch mates.
        over, summed = (-2, (-2, -1)) if self.setting.switches["mla.batch_gating"] else (-1, (-1,))
        log_probabilities = [values.log_softmax(over) for values in unimodal.values()]
        certainty = torch.stack([(p.exp() * p).sum(summed, keepdim=True) for p in log_probabilities], dim=-1)
        gates = zip(unimodal.items(), certainty.softmax(-1).unbind(-1), strict=True)
        return total({name: gate * values for (name, values), gate in gates})

    def step(self, model: MultimodalClassifier, batch: Batch, optimizer: SGD, progress: Progress) -> dict[str, Tensor]:
        switches = self.setting.switches
        features = model.encode(batch.inputs)
        optimizer.zero_grad(set_to_none=True)
        terms: dict[str, Tensor] = {}
        calls = 0
        for position, name in enumerate(model.modalities):
            # Through the head as the previous modality left it; encoder m is not changed by the others' steps.
            loss = cross_entropy(model.head(features)[name], batch.labels)
            # Switch mla.zeroed_gradients: the original ran where gradients are zeroed, not removed, so that encoders
            # already visited in this batch take another update of momentum and weight decay.
            if position:
                optimizer.zero_grad(set_to_none=not switches["mla.zeroed_gradients"])
            loss.sum().backward()
            # Switch mla.projector_unused: in both code bases the projection is never reached.
            if not switches["mla.projector_unused"]:
                calls += self._project(cast(SharedHead, model.head))
            optimizer.step()
            if not switches["mla.projector_unused"]:
                self._visit(features[name].detach().mean(-2), progress)
            terms[f"loss.{name}"] = loss.detach()
        return {
            "loss": total(terms),
            **terms,
            "count.backward_passes": torch.tensor(float(len(terms))),
            "count.projector_calls": torch.tensor(float(calls)),
        }

    def _project(self, head: SharedHead) -> int:
        """Replace the classifier's weight gradient G by G P (the first time P is I); returns how often: 0 if frozen."""
        weight = head.linear.weight
        if weight.grad is None:
            return 0
        weight.grad = weight.grad @ self.projector
        return 1

    def _visit(self, direction: Tensor, progress: Progress) -> None:
        """Take a feature direction r (..., d) out of P; P stays symmetric and positive semi-definite."""
        damping = self.hyperparameters.damping ** (1 + progress.step / progress.steps_per_epoch)
        seen = (self.projector * direction.unsqueeze(-2)).sum(-1)
        size = damping + (direction * seen).sum(-1)
        self.projector.sub_(seen.unsqueeze(-1) * seen.unsqueeze(-2) / size[..., None, None])
