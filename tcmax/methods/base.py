"""The contract of a training method, and the step that most of them share.

A method overrides the least it needs: most override `loss`, gradient-balancing ones `modulate`, alternating ones
the whole `step`. What it remembers between steps lives in buffers, so that checkpoints carry it.

Shapes are those of one seed. A method that promises to train seeds `side_by_side` takes a leading axis of seeds before
each of them (tcmax.models.classifier): parameters, gradients, batches, its buffers, and what it logs.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy as cross_entropy_of_rows

from tcmax.models.axes import Generators, drawn
from tcmax.models.classifier import MultimodalClassifier, Outputs
from tcmax.models.sgd import SGD
from tcmax.seeding import derive

Search = Mapping[str, Mapping[str, Any]]  # parameter -> the range that a search looks in


@dataclass(frozen=True)
class Setting:
    """What a method may know of the task before training.

    modalities: names in dataset order. n_classes: C. class_counts: (C,) int64 counts in the train part.
    n_train: number of train items. epochs: length of the run.
    switches: value of each named deviation that acts in this method (tcmax/experiment/switches.py).
    """

    modalities: tuple[str, ...]
    n_classes: int
    class_counts: Tensor
    n_train: int
    epochs: int
    switches: Mapping[str, Any]


@dataclass(frozen=True)
class Batch:
    """inputs: modality -> (..., B, *shape). labels: (..., B) int64. rows: (..., B) positions in the train part,
    0..n_train-1."""

    inputs: dict[str, Tensor]
    labels: Tensor
    rows: Tensor


class TrainPart(Protocol):
    """The train part of a fold as an epoch sees it, for methods that look at it outside a step (prototypes, held-out
    losses). labels: (n_train,) int64. pass_items: how many a pass without gradients may take.
    """

    @property
    def labels(self) -> Tensor: ...

    @property
    def pass_items(self) -> int: ...

    def batch(self, positions: Tensor) -> Batch:
        """The items at these positions, (..., B) int64 in 0..n_train-1."""
        ...


@dataclass
class Progress:
    """Where in the run a step is, and the method's own random streams.

    epoch, step: 0-based; step counts within the epoch. roots: of the run of each seed, with the method's name.
    side_by_side: whether tensors have the leading axis of seeds.
    """

    epoch: int
    epochs: int
    step: int
    steps_per_epoch: int
    roots: tuple[tuple[str | int, ...], ...]
    device: torch.device
    side_by_side: bool = False

    @cached_property
    def noise(self) -> Generators:
        """Generator of the method's own noise in this epoch, independent of every other stream and of a restart; one
        for each seed where they train side by side."""
        seeds = (derive(*root, "noise", self.epoch) for root in self.roots)
        generators = [torch.Generator(self.device).manual_seed(seed) for seed in seeds]
        return generators if self.side_by_side else generators[0]

    def draw(self, one: Callable[..., Tensor]) -> Tensor:
        """What one(generator=...) draws from the noise, (...)."""
        return drawn(one, self.noise)


class Method(nn.Module):
    """One training method.

    Parameters: a frozen dataclass of hyper-parameters with defaults and their source.
    search: where a search looks for which of them by default, each a range as in an experiment's `tuning`; the comment
        beside it names its source. Empty where there is nothing to tune.
    default_head: id of the head used when a variant names none.
    side_by_side: promises to keep apart seeds that train together; else they train one after another. A subclass has to
        promise anew.
    trains_separate_heads: whether joint and unimodal logits both have a loss, as `Head.separate` ones need.
    readout: the joint read-out that is the method's own prediction: "joint", a derived one of tcmax.metrics.readout, or
        "own", which stores what `read_out` returns beside the other predictions.
    """

    Parameters: ClassVar[type]
    search: ClassVar[Search] = {}
    default_head: ClassVar[str] = "concat"
    side_by_side: ClassVar[bool] = False
    trains_separate_heads: ClassVar[bool] = False
    readout: str = "joint"

    def __init__(self, parameters: Any, setting: Setting) -> None:
        super().__init__()
        self.hyperparameters = parameters
        self.setting = setting

    @property
    def selects_modalities_separately(self) -> bool:
        """Whether best_val keeps, for each modality, its own best epoch (separately trained models)."""
        return False

    def check(self, model: MultimodalClassifier) -> None:
        """Raise ValueError when this method cannot train this model. Changes nothing."""

    def bind(self, model: MultimodalClassifier) -> None:
        """Take from the model, which passed `check`, what the method keeps of it: buffers as wide as its features,
        copies, a bound method of its head. Called once, before the first step and before a checkpoint is restored."""

    def begin_epoch(self, model: MultimodalClassifier, train: TrainPart, progress: Progress) -> None:
        """Refresh what the method keeps between epochs; the model comes and stays in training mode."""

    def read_out(self, logits: Mapping[str, Tensor]) -> Tensor:
        """(..., B, C): the method's own joint prediction from all logits, as `readout` names it."""
        return logits["joint"]

    def loss(self, outputs: Outputs, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        """Scalars to log, (...); the one under "loss" is differentiated."""
        raise NotImplementedError

    def modulate(
        self, model: MultimodalClassifier, outputs: Outputs, batch: Batch, progress: Progress
    ) -> Mapping[str, Tensor] | None:
        """Change gradients in place between backward and the optimiser step; may return scalars to log."""
        return None

    def step(self, model: MultimodalClassifier, batch: Batch, optimizer: SGD, progress: Progress) -> dict[str, Tensor]:
        """Forward, loss, backward, modulate, update. Returns detached scalars (...) to log.

        A quantity named "count.*" is summed over the epoch, every other one averaged over its items.
        """
        outputs = model(batch.inputs)
        terms = self.loss(outputs, batch, progress)
        optimizer.zero_grad(set_to_none=True)
        terms["loss"].sum().backward()  # over seeds, whose gradients are their own
        hooked = self.modulate(model, outputs, batch, progress) or {}
        optimizer.step()
        logged = {name: value.detach() for name, value in terms.items()}
        return {"count.backward_passes": torch.ones(()), **logged, **hooked}


def item_costs(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of every item: (..., B, C) and (..., B) to (..., B)."""
    flat = cross_entropy_of_rows(logits.flatten(0, -2), labels.flatten(), reduction="none")
    result: Tensor = flat.unflatten(0, labels.shape)
    return result


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over the batch: (..., B, C) and (..., B) to (...)."""
    return item_costs(logits, labels).mean(-1)


def true_class_scores(outputs: Outputs, labels: Tensor) -> dict[str, Tensor]:
    """S_m (...) = sum over the batch of the softmax probability of the true class, detached (methods §2.3)."""
    scores = {}
    for name, logits in outputs.unimodal.items():
        log_probability = logits.detach().log_softmax(dim=-1)
        scores[name] = log_probability.gather(-1, labels.unsqueeze(-1)).squeeze(-1).exp().sum(-1)
    return scores
