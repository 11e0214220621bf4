"""G-Blending: joint and unimodal losses weighted by how well they generalise (arXiv 1905.12681; methods §5.4).

L = sum_k w_k L_k over k = each modality and "joint". Per super-epoch of N epochs, with G_k the held-out loss gained by
training on L_k alone and O_k the overfitting that came with it,

    G_k = V_k(before) - V_k(after),   O_k = (V_k - T_k)(after) - (V_k - T_k)(before),   w_k = (G_k / O_k^2) / sum,

V_k and T_k mean losses of a held-out and of the remaining part of the train items; a loss that got worse has weight 0.
Copies of the model trained on one loss each measure this beside the model, on the same batches: a super-epoch uses the
weights that the one before measured, and the first uses equal ones. (In the paper the copies run ahead of the model.)

`offline` measures once, from the initial weights, and trains on all items; `online` measures in every super-epoch and
never trains on the held-out ones. No code of the authors estimates weights; two ways of the BalanceBenchmark toolkit to
do it are switches. Overrides `begin_epoch`, `loss` and `step`.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from tcmax.methods.base import Batch, Method, Progress, Search, Setting, TrainPart
from tcmax.methods.passes import outputs_of
from tcmax.models.classifier import MultimodalClassifier, Outputs
from tcmax.models.fusion.base import total
from tcmax.models.fusion.concat_msh import ConcatMSH
from tcmax.models.sgd import SGD

SMALLEST_OVERFITTING = 1e-6  # of O_k^2


@dataclass(frozen=True)
class GBlendingParameters:
    """super_epoch: N, 10 in the BalanceBenchmark toolkit.

    held_out: share of the train items that losses are measured on; our choice, as no source states one. O_k^2 divides:
        on a few dozen items it is mostly noise, and one weight can take nearly everything.
    schedule: "offline" or "online", the paper's two variants. Offline by default, because the model then learns from as
        many items as any other method's; and late in a run, where G_k is mostly noise, online weights jump.
    cap: largest weight; what it takes off is given to no other loss.
    """

    super_epoch: int = 10
    held_out: float = 0.2
    schedule: Literal["offline", "online"] = "offline"
    cap: float = 1.0

    def __post_init__(self) -> None:
        if self.super_epoch < 1:
            raise ValueError("super_epoch must be at least 1")
        if not 0 < self.held_out < 1:
            raise ValueError("held_out must lie in (0, 1)")
        if not 0 < self.cap <= 1:
            raise ValueError("cap must lie in (0, 1]")


class GBlending(Method):
    """A weighted sum of the losses of separate heads; needs Concat-MSH."""

    Parameters: ClassVar[type] = GBlendingParameters
    # Half and twice our default; no source searches one.
    search: ClassVar[Search] = {"held_out": {"low": 0.1, "high": 0.4}}
    default_head = "concat-msh"
    trains_separate_heads = True
    weights: Tensor
    before: Tensor
    held_out: Tensor
    velocity: Tensor

    def __init__(self, parameters: GBlendingParameters, setting: Setting) -> None:
        super().__init__(parameters, setting)
        if setting.epochs <= parameters.super_epoch:
            raise ValueError(
                f"G-Blending first weighs its losses after super_epoch = {parameters.super_epoch} epochs, "
                f"and the run has {setting.epochs}"
            )
        self.losses = (*setting.modalities, "joint")
        self.register_buffer("weights", torch.full((len(self.losses),), 1 / len(self.losses), dtype=torch.float64))
        self.register_buffer("before", torch.zeros(2, len(self.losses), dtype=torch.float64))
        self.register_buffer("held_out", torch.zeros(setting.n_train, dtype=torch.bool))

    def check(self, model: MultimodalClassifier) -> None:
        if not isinstance(model.head, ConcatMSH):
            raise ValueError("G-Blending needs a joint head and separate unimodal ones: use the head concat-msh")

    def bind(self, model: MultimodalClassifier) -> None:
        # Two copies stand for all: with Concat-MSH the unimodal losses share no parameter, so that one copy trained on
        # their sum holds every modality trained alone.
        self.alone, self.together = deepcopy(model), deepcopy(model)
        copied = [*self.alone.parameters(), *self.together.parameters()]
        self.probe_optimizer = SGD(copied, lr=0.0, momentum=0.0, weight_decay=0.0)  # set at each step to the model's
        self.register_buffer("velocity", self.probe_optimizer.velocity)  # so that checkpoints carry it

    def measures(self, epoch: int) -> bool:
        """Whether the copies are trained in this epoch: not where no later super-epoch could use what they find."""
        start = epoch - epoch % self.hyperparameters.super_epoch
        useful = start + self.hyperparameters.super_epoch < self.setting.epochs
        result: bool = useful and (start == 0 or self.hyperparameters.schedule == "online")
        return result

    def begin_epoch(self, model: MultimodalClassifier, train: TrainPart, progress: Progress) -> None:
        self.alone.passes = self.together.passes = model.passes  # the copies' work is the method's
        if progress.epoch == 0:
            n_train = len(train.labels)
            order = progress.draw(partial(torch.randperm, n_train, device=progress.device))
            self.held_out[order[: max(1, round(self.hyperparameters.held_out * n_train))]] = True
        if progress.epoch % self.hyperparameters.super_epoch:
            return
        if progress.epoch and self.measures(progress.epoch - 1):
            self.weights = self.blend(self.before, self.part_losses(train))
        if self.measures(progress.epoch):
            for probe in (self.alone, self.together):
                probe.load_state_dict(model.state_dict())
            self.velocity.zero_()
            self.before = self.part_losses(train)

    def part_losses(self, train: TrainPart) -> Tensor:
        """(2, M + 1) float64: mean losses of the copies on the remaining and on the held-out items."""
        rows = []
        for part in (~self.held_out, self.held_out):
            positions = part.nonzero().squeeze(-1)
            labels = train.labels[positions]
            alone = outputs_of(self.alone, train, positions).unimodal
            joint = outputs_of(self.together, train, positions).logits["joint"]
            means = torch.stack([cross_entropy(u.double(), labels) for u in (*alone.values(), joint)])
            # Switch g_blending.summed_losses: the toolkit adds up losses of parts that differ in size.
            rows.append(means * len(labels) if self.setting.switches["g_blending.summed_losses"] else means)
        return torch.stack(rows)

    def blend(self, before: Tensor, after: Tensor) -> Tensor:
        """w_k (M + 1,) from losses (2, M + 1) before and after; as they were when no loss improved."""
        gain = before[1] - after[1]
        overfitting = (after[1] - after[0]) - (before[1] - before[0])
        # Switch g_blending.absolute_gain: the toolkit takes |G_k|, which rewards a loss for getting worse.
        gain = gain.abs() if self.setting.switches["g_blending.absolute_gain"] else gain.clamp_min(0)
        raw = gain / overfitting.square().clamp_min(SMALLEST_OVERFITTING)
        if not raw.sum() > 0:
            return self.weights
        return (raw / raw.sum()).clamp_max(self.hyperparameters.cap)

    def step(self, model: MultimodalClassifier, batch: Batch, optimizer: SGD, progress: Progress) -> dict[str, Tensor]:
        rest = _without(batch, self.held_out[batch.rows])
        measuring = self.measures(progress.epoch) and len(rest.labels) > 0
        if measuring:
            self._train_copies(rest, optimizer)
        used = rest if self.hyperparameters.schedule == "online" else batch
        if not len(used.labels):  # a short last batch of held-out items alone
            return {"loss": torch.zeros((), device=progress.device), "count.backward_passes": torch.zeros(())}
        terms = super().step(model, used, optimizer, progress)
        # Through the model, and through two copies.
        return {**terms, "count.backward_passes": torch.tensor(3.0 if measuring else 1.0)}

    def _train_copies(self, batch: Batch, optimizer: SGD) -> None:
        """One update of each copy on its own losses, with the model's current settings."""
        (group,) = optimizer.param_groups
        self.probe_optimizer.param_groups[0].update({name: value for name, value in group.items() if name != "params"})
        alone, together = self.alone(batch.inputs).unimodal, self.together(batch.inputs).logits["joint"]
        self.probe_optimizer.zero_grad()
        (total(_costs(alone, batch.labels)) + cross_entropy(together, batch.labels)).backward()
        self.probe_optimizer.step()

    def loss(self, outputs: Outputs, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        costs = _costs(outputs.logits, batch.labels)
        weights = dict(zip(self.losses, self.weights.clone(), strict=True))
        return {
            "loss": total({name: weights[name].to(cost) * cost for name, cost in costs.items()}),
            **{f"loss.{name}": cost for name, cost in costs.items()},
            **{f"weight.{name}": weight for name, weight in weights.items()},
        }


def _costs(logits: Mapping[str, Tensor], labels: Tensor) -> dict[str, Tensor]:
    return {name: cross_entropy(values, labels) for name, values in logits.items()}


def _without(batch: Batch, left_out: Tensor) -> Batch:
    """The batch without the marked items (B,)."""
    kept = ~left_out
    return Batch({name: x[kept] for name, x in batch.inputs.items()}, batch.labels[kept], batch.rows[kept])
