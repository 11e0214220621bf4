"""MLB: multi-loss balanced gradient modulation (arXiv 2405.07930; methods §4.2).

L = CE(f, y) + w sum_m CE(v^m, y) with v^m from a linear head of its own on z^m. With s_m the mean probability that v^m
gives the true class and rho_m = mean of the others' s / s_m, which exceeds 1 for a modality that is behind, gradients
of encoder m, of its own head and of its slice of the joint weight are multiplied by

    kappa_m = 1 + tanh(alpha (rho_m - 1)),   or 1 + (beta - 1) tanh(alpha (rho_m - 1)) where rho_m > 1.

kappa is continuous and 1 at balance; beta = 2 is the plain rule, beta = 1 never accelerates. Under SGD it acts as a
learning rate, under Adam (the authors' choice) only its variation does. Overrides `loss` and `modulate`. The read-outs
are the slices of the joint layer. The classes of the authors' code cannot be constructed as shipped.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor

from tcmax.methods.base import Batch, Method, Progress, Search, cross_entropy, true_class_scores
from tcmax.models.axes import per_seed
from tcmax.models.classifier import MultimodalClassifier, Outputs
from tcmax.models.fusion.base import total
from tcmax.models.fusion.concat_aux import ConcatAuxiliary

SMALLEST_SCORE = 1e-8


@dataclass(frozen=True)
class MLBParameters:
    """alpha: 0.8, the authors' value on CREMA-D and AVE (1.0 on UCF101).

    beta: 2, the plain rule; 10, 1 and 0.5 in a later study of the same authors.
    unimodal_weight: w, 1 in the authors' code.
    first_epoch, last_epoch: modulated epochs, 0-based and inclusive; by default all, as in the authors' configs.
    """

    alpha: float = 0.8
    beta: float = 2.0
    unimodal_weight: float = 1.0
    first_epoch: int = 0
    last_epoch: int | None = None

    def __post_init__(self) -> None:
        for name in ("alpha", "beta", "unimodal_weight"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative")


class MLB(Method):
    """Joint and unimodal losses; gradients scaled by how far a modality is behind."""

    Parameters: ClassVar[type] = MLBParameters
    # Of alpha, half to one and a half of the authors' 0.8; of beta, the values of their later study.
    search: ClassVar[Search] = {
        "alpha": {"low": 0.4, "high": 1.2},
        "beta": {"choices": [0.5, 1.0, 2.0, 10.0]},
    }
    default_head = "concat-aux"
    side_by_side = True

    def check(self, model: MultimodalClassifier) -> None:
        if len(model.modalities) < 2:
            raise ValueError("MLB balances modalities, so it needs at least two")
        if not isinstance(model.head, ConcatAuxiliary):
            raise ValueError("MLB needs unimodal heads beside a Concat head: use the head concat-aux")

    def bind(self, model: MultimodalClassifier) -> None:
        # A bound method, so that the head does not become a part of this module.
        self.auxiliary_logits = cast(ConcatAuxiliary, model.head).auxiliary_logits

    def loss(self, outputs: Outputs, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        joint = cross_entropy(outputs.logits["joint"], batch.labels)
        auxiliary = self.auxiliary_logits(outputs.features)
        terms = {f"loss.{name}": cross_entropy(v, batch.labels) for name, v in auxiliary.items()}
        loss = joint + self.hyperparameters.unimodal_weight * total(terms)
        return {"loss": loss, "loss.joint": joint, **terms}

    def modulate(
        self, model: MultimodalClassifier, outputs: Outputs, batch: Batch, progress: Progress
    ) -> dict[str, Tensor]:
        hyper, head, groups = self.hyperparameters, model.head, model.parameter_groups()
        if progress.epoch < hyper.first_epoch or (hyper.last_epoch is not None and progress.epoch > hyper.last_epoch):
            return {"count.modulated": torch.zeros(())}
        assert isinstance(head, ConcatAuxiliary)  # as `check` saw to
        with torch.no_grad():
            auxiliary = Outputs(outputs.features, head.auxiliary_logits(outputs.features))
        kappa = self.coefficients(true_class_scores(auxiliary, batch.labels))
        joint = head.linear.weight.grad
        slices = {} if joint is None else head.columns(joint)
        for name in model.modalities:
            weights = (*groups[name], *head.auxiliary[name].parameters())
            for gradient in (*(weight.grad for weight in weights), slices.get(name)):
                if gradient is not None:  # the joint bias is nobody's, and stays
                    gradient.mul_(per_seed(kappa[name], gradient))
        return {"count.modulated": torch.ones(()), **{f"kappa.{name}": value for name, value in kappa.items()}}

    def coefficients(self, sums: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """kappa_m (...) from scores (...), of which only ratios count."""
        scores = torch.stack(list(sums.values()), dim=-1).double().clamp_min(SMALLEST_SCORE)
        others = (scores.sum(-1, keepdim=True) - scores) / (len(sums) - 1)
        slope = (self.hyperparameters.alpha * (others / scores - 1)).tanh()
        # Switch mlb.beta_ignored: in the authors' later code beta's mode is a text compared with a number: never on.
        beta = 2.0 if self.setting.switches["mlb.beta_ignored"] else self.hyperparameters.beta
        kappa = 1 + slope.where(slope <= 0, (beta - 1) * slope)
        return dict(zip(sums, kappa.unbind(-1), strict=True))
