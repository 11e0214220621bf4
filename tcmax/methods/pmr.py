"""PMR: a prototype loss for the modality whose features are aligned worse (arXiv 2211.07089; methods §5.1).

With mu^m_c the mean feature of class c, refreshed before every epoch from a tenth of the train part and averaged over
refreshes with momentum, e_i^m(c) = -|z_i^m - mu^m_c| and S_m = sum_i sm(e_i^m)_{y_i}, the loss is

    L = CE(f, y) + alpha sum_m c_m CE(e^m, y) - entropy_weight c H(sm(e^strong)),   c_m = min(S_max / S_m - 1, 1),

c the largest c_m and `strong` the modality of S_max. Prototypes are constants in backward and come from train items
only: the authors' scripts take the validation items of AVE and the test items of CG-MNIST, which no setting here
repeats. Overrides `begin_epoch` and `loss`. A class that no refresh has met yet is left out, with its items.
"""

from dataclasses import dataclass
from functools import partial
from math import ceil
from typing import ClassVar, cast

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from tcmax.methods.base import Batch, Method, Progress, Search, Setting, TrainPart, cross_entropy
from tcmax.methods.passes import outputs_of
from tcmax.models.classifier import MultimodalClassifier, Outputs
from tcmax.models.encoders.base import Encoder

SMALLEST_SCORE = 1e-8
INSIDE_ROOT = 1e-12  # keeps the gradient of a distance of 0 finite
LARGE_LOSS = 10.0


@dataclass(frozen=True)
class PMRParameters:
    """alpha: 1.0 in the authors' code and the release (1.75 in MLB's configs, 0.6 in the BalanceBenchmark toolkit).

    momentum: weight of the old prototype at a refresh, 0.2 in the authors' code.
    share: of the train part that a refresh reads, 0.1 in both codes (all of AVE in the release).
    entropy_weight: of the entropy term on the strong modality, described in the paper and 0 in both codes.
    first_epoch, last_epoch: epochs with the extra terms, 0-based and inclusive; 0-100 of 150 in the authors' code, and
        without end in the release.
    """

    alpha: float = 1.0
    momentum: float = 0.2
    share: float = 0.1
    entropy_weight: float = 0.0
    first_epoch: int = 0
    last_epoch: int | None = None

    def __post_init__(self) -> None:
        for name in ("alpha", "entropy_weight"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative")
        if not 0 <= self.momentum < 1:
            raise ValueError("momentum must lie in [0, 1)")
        if not 0 < self.share <= 1:
            raise ValueError("share must lie in (0, 1]")


class PMR(Method):
    """Joint cross-entropy and prototype cross-entropies; any head, as only features count."""

    Parameters: ClassVar[type] = PMRParameters
    # From the BalanceBenchmark toolkit's value to the one in MLB's configs.
    search: ClassVar[Search] = {"alpha": {"low": 0.6, "high": 1.75}}
    side_by_side = True
    known: Tensor
    refreshes: Tensor

    def __init__(self, parameters: PMRParameters, setting: Setting) -> None:
        super().__init__(parameters, setting)
        # Switch pmr.no_window: the release's extra terms never end.
        ends = setting.epochs if setting.switches["pmr.no_window"] else 100
        self.last_epoch: int = ends if parameters.last_epoch is None else parameters.last_epoch
        self.register_buffer("known", torch.zeros(setting.n_classes, dtype=torch.bool))
        self.register_buffer("refreshes", torch.zeros((), dtype=torch.int64))

    def check(self, model: MultimodalClassifier) -> None:
        if len(model.modalities) < 2:
            raise ValueError("PMR compares modalities, so it needs at least two")

    def bind(self, model: MultimodalClassifier) -> None:
        # As wide as the features, which only the model knows.
        weight = next(model.parameters())
        for name, encoder in model.encoder.items():
            width = cast(Encoder, encoder).width
            blank = torch.zeros(self.setting.n_classes, width, dtype=weight.dtype, device=weight.device)
            self.register_buffer(f"prototypes_{name}", blank)

    def prototypes(self, name: str) -> Tensor:
        """mu^m (..., C, d_m); rows of classes that are not `known` mean nothing."""
        return self.get_buffer(f"prototypes_{name}")

    def begin_epoch(self, model: MultimodalClassifier, train: TrainPart, progress: Progress) -> None:
        switches, n_train = self.setting.switches, len(train.labels)
        order = progress.draw(partial(torch.randperm, n_train, device=progress.device))
        chosen = order[..., : ceil(self.hyperparameters.share * n_train)]
        members = one_hot(train.labels[chosen], self.setting.n_classes)  # (..., n, C)
        counts = members.sum(-2)
        # Switch pmr.absent_class_nan: both codes divide by the count of a class that the subset lacks.
        met = torch.ones_like(self.known) if switches["pmr.absent_class_nan"] else counts > 0
        # Switch pmr.late_average: the authors overwrite at the refresh after the first epoch as well.
        averages = self.refreshes.max() >= (2 if switches["pmr.late_average"] else 1)  # equal for all seeds
        # Switch pmr.no_average: the release never leaves its first time, which overwrites.
        old_share = 0.0 if switches["pmr.no_average"] or not averages else self.hyperparameters.momentum
        for name, features in outputs_of(model, train, chosen).features.items():
            sums = members.mT.to(features) @ features
            means = sums / counts.where(counts > 0, counts if switches["pmr.absent_class_nan"] else 1).unsqueeze(-1)
            old = self.prototypes(name)
            mixed = (1 - old_share) * means + old_share * old if old_share else means
            fresh = torch.where(self.known.unsqueeze(-1), mixed, means)
            old.copy_(torch.where(met.unsqueeze(-1), fresh, old))
        self.known |= met
        self.refreshes += 1

    def loss(self, outputs: Outputs, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        switches, hyper = self.setting.switches, self.hyperparameters
        joint = cross_entropy(outputs.logits["joint"], batch.labels)
        rows = self.known.gather(-1, batch.labels)  # (..., B): items of classes that are known
        if not hyper.first_epoch <= progress.epoch <= self.last_epoch or not rows.any():
            return {"loss": joint, "cross_entropy": joint}
        # (..., M, B, C), where unknown classes have the probability zero.
        similarities = torch.stack(
            [-distances(z, self.prototypes(name)) for name, z in outputs.features.items()], dim=-3
        ).masked_fill(~self.known[..., None, None, :], -torch.inf)
        index = batch.labels[..., None, :, None].expand(*similarities.shape[:-1], 1)
        log_probability = similarities.log_softmax(-1).gather(-1, index).squeeze(-1)
        log_probability = log_probability.masked_fill(~rows.unsqueeze(-2), 0)
        costs = -log_probability.sum(-1) / rows.sum(-1, keepdim=True).clamp_min(1)
        scores = (log_probability.detach().exp() * rows.unsqueeze(-2)).sum(-1)
        boosts = self.boosts(scores)
        # Switch pmr.drop_large: the release leaves out a prototype loss above 10.
        used = boosts * (costs.detach() <= LARGE_LOSS) if switches["pmr.drop_large"] else boosts
        loss = joint + hyper.alpha * (used * costs).sum(-1)
        if hyper.entropy_weight:
            strong = similarities.take_along_dim(scores.argmax(-1)[..., None, None, None], -3).squeeze(-3)
            loss = loss - hyper.entropy_weight * boosts.amax(-1) * self.entropy(strong, rows)
        names = outputs.features
        return {
            "loss": loss,
            "cross_entropy": joint,
            **{f"prototype_loss.{name}": cost for name, cost in zip(names, costs.unbind(-1), strict=True)},
            **{f"boost.{name}": boost for name, boost in zip(names, boosts.unbind(-1), strict=True)},
        }

    def boosts(self, scores: Tensor) -> Tensor:
        """c_m (..., M) from S_m (..., M); 0 for the strongest modality."""
        switches, kept = self.setting.switches, scores.clamp_min(SMALLEST_SCORE)
        # Switch pmr.strong_boost: beyond two modalities the release compares with the weakest, which boosts the strong.
        against_weakest = switches["pmr.strong_boost"] and scores.shape[-1] > 2
        lead = (kept / kept.amin(-1, keepdim=True) if against_weakest else kept.amax(-1, keepdim=True) / kept) - 1
        # Switch pmr.hard_coefficient: the authors' code adds alpha times the loss of a weaker modality, however close.
        return (lead > 0).to(lead) if switches["pmr.hard_coefficient"] else lead.clamp(0, 1)

    def entropy(self, similarities: Tensor, rows: Tensor) -> Tensor:
        """H (...) of one modality's similarities (..., B, C), averaged over the items `rows` (..., B)."""
        # Switch pmr.entropy_over_batch: the release takes the softmax over the items, and averages over the classes.
        over, average = (-2, self.known) if self.setting.switches["pmr.entropy_over_batch"] else (-1, rows)
        nothing = ~(rows.unsqueeze(-1) & self.known.unsqueeze(-2))
        log_probability = similarities.masked_fill(nothing, -torch.inf).log_softmax(over).masked_fill(nothing, 0)
        return -(log_probability.exp() * log_probability).sum((-2, -1)) / average.sum(-1).clamp_min(1)


def distances(features: Tensor, prototypes: Tensor) -> Tensor:
    """Euclidean distances, (..., n, d) and (..., C, d) to (..., n, C)."""
    return ((features.unsqueeze(-2) - prototypes.unsqueeze(-3)).square().sum(-1) + INSIDE_ROOT).sqrt()
