"""The training loop, shared by every method.

A run is a pure function of (spec, seed, data): order, initialisation and noise come from streams keyed by name and
epoch, so a run continued from a checkpoint, or trained beside other seeds, gives the same bytes.
"""

import contextlib
import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tcmax.data.base import Dataset
from tcmax.errors import TcmaxError
from tcmax.fusion.base import total
from tcmax.methods.base import Method, Progress
from tcmax.model import MultimodalClassifier
from tcmax.seeding import derive, generator
from tcmax.sgd import SGD
from tcmax.training.loading import Held, hold, part_of
from tcmax.training.spec import RunSpec

Logits = dict[str, np.ndarray]  # read-out -> (val + test items, C)


@dataclass
class Selected:
    """Logits kept by a selection rule, and the epoch each read-out comes from."""

    logits: Logits
    epochs: dict[str, int]


@dataclass
class RunState:
    """Everything a run has produced so far; a checkpoint is this plus model, optimiser and method state.

    history: (epoch, quantity, value). best: rule -> {unit: (accuracy, epoch, logits)}, where a unit is a read-out
    that is selected on its own ("joint" for the whole model).
    """

    epoch: int = 0
    history: list[tuple[int, str, float]] = field(default_factory=list)
    best: dict[str, dict[str, tuple[float, int, Logits]]] = field(default_factory=dict)
    diverged: bool = False
    nonfinite_losses: int = 0


@dataclass(frozen=True)
class RunResult:
    """diverged_epoch: of the first non-finite loss or logit, or None. selected: rule -> logits of val, then test.

    nonfinite_losses: how many batches of that epoch had one. The first of them spoils the weights, so it was the one
    that many steps before the epoch's end.
    """

    history: list[tuple[int, str, float]]
    selected: dict[str, Selected]
    diverged_epoch: int | None
    nonfinite_losses: int
    model: MultimodalClassifier
    method: Method


class Run:
    """One seed of one cell: build, train epoch by epoch, hand out what the selection rules kept.

    device: a torch device that exists. held: where rows are that a dataset has in files, for several runs on it.
    Raises TcmaxError when the method cannot train this model.
    """

    def __init__(
        self, spec: RunSpec, seed: int, dataset: Dataset, device: torch.device, held: Held | None = None
    ) -> None:
        self.spec, self.seed, self.device = spec, seed, device
        self.fold = spec.parts(dataset)
        dtype = torch.float64 if spec.precision == "float64" else torch.float32
        self.held_out = np.concatenate([self.fold.val, self.fold.test])
        self.held_out_labels = dataset.labels[self.held_out]

        held = held or hold(dataset, device)
        settings = (device, dtype, held, spec.root(seed), spec.switches["protocol.flow_never_flipped"])
        self.train_part = part_of(dataset, self.fold.train, *settings)
        self.held_out_part = part_of(dataset, self.held_out, *settings)
        self.model = spec.build_model(dataset, seed).to(device)
        self.method = spec.build_method(dataset).to(device)
        try:
            if self.model.head.separate and not self.method.trains_separate_heads:
                raise ValueError(
                    f"the head {spec.head[0]} has layers of their own for joint and for unimodal logits, and "
                    f"{spec.method[0]} does not train both"
                )
            self.method.check(self.model)
        except ValueError as error:
            raise TcmaxError(f"variant {spec.variant!r} on {spec.dataset}: {error}.") from error
        training = spec.training
        self.optimizer = SGD(
            self.model.parameters(),
            lr=training["learning_rate"],
            momentum=training["momentum"],
            weight_decay=training["weight_decay"],
        )
        self.state = RunState()
        self.epochs: int = training["epochs"]

    def train(self, after_epoch: Callable[["Run"], None] | None = None) -> RunResult:
        """Train from the current state to the end; `after_epoch` may write a checkpoint or move a progress bar."""
        while self.state.epoch < self.epochs and not self.state.diverged:
            with self._layer_stream(self.state.epoch), _denormals_flushed():
                self._epoch(self.state.epoch)
            self.state.epoch += 1
            if after_epoch:
                after_epoch(self)
        diverged = self.state.epoch - 1 if self.state.diverged else None
        selected = {} if self.state.diverged else {rule: self._assemble(rule) for rule in self.state.best}
        return RunResult(self.state.history, selected, diverged, self.state.nonfinite_losses, self.model, self.method)

    @contextlib.contextmanager
    def _layer_stream(self, epoch: int) -> Iterator[None]:
        """Seeds the global generator, the only one that layers such as dropout draw from, and puts it back."""
        seed = derive(*self.spec.root(self.seed), "layers", epoch)
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            # Not torch.manual_seed: on a machine without them it queues a call, with a stack trace, for each kind of
            # accelerator, which costs a small run a tenth of its time.
            torch.default_generator.manual_seed(seed)
            if self.device.type == "cuda":
                torch.cuda.manual_seed(seed)
            yield

    def _learning_rate(self, epoch: int) -> float:
        training = self.spec.training
        drops = sum(epoch >= drop for drop in training["lr_drop_epochs"])
        rate: float = training["learning_rate"] * training["lr_drop_factor"] ** drops
        return rate

    def _epoch(self, epoch: int) -> None:
        rate = self._learning_rate(epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        n_train = len(self.fold.train)
        # The order depends on (dataset, fold, seed, epoch) alone, so that variants of one seed see the same batches.
        order = generator(*self.spec.root(self.seed), "order", epoch).permutation(n_train)
        size = self.spec.training["batch_size"]
        progress = Progress(
            epoch, self.epochs, 0, -(-n_train // size), (*self.spec.root(self.seed), self.spec.method[0]), self.device
        )
        logged: dict[str, list[tuple[float, Tensor]]] = {}
        self.optimizer.forget_counts()
        self.model.forget_passes()
        self.model.train()
        self.method.train()
        train = self.train_part.in_epoch(epoch)
        self.method.begin_epoch(self.model, train, progress)
        for progress.step, batch in enumerate(train.batches(order, size)):
            for name, value in self.method.step(self.model, batch, self.optimizer, progress).items():
                weight = 1.0 if name.startswith("count.") else len(batch.labels) / n_train
                logged.setdefault(name, []).append((weight, value))
        self.state.nonfinite_losses = sum(not math.isfinite(loss) for loss in _values(logged["loss"]))
        if self.state.nonfinite_losses:
            self._diverge(epoch)
            return
        sums = {name: _weighted_sum(values) for name, values in logged.items()}
        self._note(epoch, {**sums, **self._work_done(), "learning_rate": rate})
        self._evaluate(epoch)

    def _diverge(self, epoch: int) -> None:
        self.state.diverged = True
        self._note(epoch, {"diverged": 1.0, "count.nonfinite_losses": float(self.state.nonfinite_losses)})

    def _work_done(self) -> dict[str, float]:
        """What this epoch's training cost: optimiser steps, and by encoder its updates, its forward passes, and how
        often it saw the train items. A step that leaves an encoder's gradient absent does not update it."""
        counts = {"count.optimizer_steps": float(self.optimizer.steps)}
        updates = dict(zip(self.model.parameters(), self.optimizer.updates, strict=True))
        for name, encoder in self.model.encoder.items():
            moved = (updates[weight] for weight in encoder.parameters())
            counts[f"count.encoder_updates.{name}"] = float(max(moved, default=0))
            counts[f"count.forward_passes.{name}"] = float(self.model.passes[name].calls)
            counts[f"data_passes.{name}"] = self.model.passes[name].rows / len(self.fold.train)
        return counts

    def _note(self, epoch: int, values: Mapping[str, float]) -> None:
        for quantity, value in values.items():
            # A side quantity may be non-finite (a reported ratio, say) while the run is sound; it is then left out.
            if np.isfinite(value):
                self.state.history.append((epoch, quantity, value))

    def predict(self) -> Logits:
        """Logits of every read-out for val items, then test items, in evaluation mode."""
        pieces: dict[str, list[np.ndarray]] = {}
        self.model.eval()
        with torch.no_grad():
            for inputs in self.held_out_part.in_order():
                outputs = self.model(inputs)
                for name, value in outputs.logits.items():
                    pieces.setdefault(name, []).append(value.cpu().numpy())
        return {name: np.concatenate(parts) for name, parts in pieces.items()}

    def _evaluate(self, epoch: int) -> None:
        logits = self.predict()
        if not all(np.isfinite(values).all() for values in logits.values()):
            self._diverge(epoch)
            return
        n_val = len(self.fold.val)
        parts = {"val": slice(0, n_val), "test": slice(n_val, None)}
        own = self._own(logits)
        stacked = np.stack([*logits.values(), own])
        correct, nll = stacked.argmax(-1) == self.held_out_labels, _nll(stacked, self.held_out_labels)
        scores: dict[str, float] = {}
        for part, where in parts.items():
            for name, right, cost in zip((*logits, "own"), correct, nll, strict=True):
                scores[f"accuracy.{part}.{name}"] = float(right[where].mean())
                scores[f"nll.{part}.{name}"] = float(cost[where].mean())
        self._note(epoch, scores)
        self._keep("last", "joint", 0.0, epoch, logits, always=True)
        units = self._units(logits)
        for unit in units:
            judged = "own" if unit == "joint" else unit
            self._keep("best_val", unit, scores[f"accuracy.val.{judged}"], epoch, logits)
            self._keep("best_test_oracle", unit, scores[f"accuracy.test.{judged}"], epoch, logits)

    def _units(self, logits: Logits) -> list[str]:
        """What best_val selects an epoch for: the whole model, or each modality where they are separate models."""
        if self.method.selects_modalities_separately:
            return [name for name in logits if name != "joint"]
        return ["joint"]

    def _keep(self, rule: str, unit: str, score: float, epoch: int, logits: Logits, always: bool = False) -> None:
        """Remember logits when the score improves (the earliest best epoch wins ties). Logits are copies by nature:
        they are arrays of this evaluation, never views of live weights."""
        units = self.state.best.setdefault(rule, {})
        if always or unit not in units or score > units[unit][0]:
            units[unit] = (score, epoch, logits)

    def _assemble(self, rule: str) -> Selected:
        # Switch protocol.aliased_selection: the release's "best" state shares its tensors with the live model, so that
        # what it loads back and tests is the last epoch, whichever epoch validation chose.
        aliased = rule == "best_val" and self.spec.switches["protocol.aliased_selection"]
        units = self.state.best["last" if aliased else rule]
        if set(units) == {"joint"}:
            logits = units["joint"][2]
        else:
            unimodal = {name: torch.from_numpy(kept[name]) for name, (_, _, kept) in units.items()}
            logits = {**{name: value.numpy() for name, value in unimodal.items()}, "joint": total(unimodal).numpy()}
        if self.method.readout == "own":  # no later stage can derive it from the other logits
            logits = {**logits, "own": self._own(logits)}
        epochs = {name: epoch for name, (_, epoch, _) in units.items()}
        return Selected(logits, dict.fromkeys(logits, epochs["joint"]) if "joint" in epochs else epochs)

    def _own(self, logits: Logits) -> np.ndarray:
        # Val and test apart: a read-out may depend on the items it is given together (switch mla.batch_gating).
        n_val, n = len(self.fold.val), len(self.held_out)
        parts = [slice(0, n_val), slice(n_val, n)] if n_val else [slice(0, n)]
        given = ({k: torch.from_numpy(v[part]) for k, v in logits.items()} for part in parts)
        return np.concatenate([self.method.read_out(part).numpy() for part in given])


@contextlib.contextmanager
def _denormals_flushed() -> Iterator[None]:
    """Numbers below 1e-38 are zero. Softmax weights of confident models underflow to such, and a processor computes
    with them up to a hundred times as slowly: a quarter of a small run's time with the TCMax loss."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def _values(logged: list[tuple[float, Tensor]]) -> list[float]:
    """Numbers of one quantity, in one transfer from the device."""
    values: list[float] = torch.stack([value for _, value in logged]).tolist()
    return values


def _weighted_sum(logged: list[tuple[float, Tensor]]) -> float:
    return sum(weight * value for (weight, _), value in zip(logged, _values(logged), strict=True))


def _nll(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(R, B) negative log-likelihood of the labels (B,) under logits (R, B, C)."""
    wide = logits.astype(np.float64)
    wide -= wide.max(-1, keepdims=True)
    nll: np.ndarray = np.log(np.exp(wide).sum(-1)) - wide[:, np.arange(len(labels)), labels]
    return nll


def pick_device(name: str) -> torch.device:
    """The device a config asks for. Raises TcmaxError when it is absent; sets what determinism needs."""
    if name == "cuda":
        if not torch.cuda.is_available():
            raise TcmaxError(
                "device: cuda is asked for and no CUDA device is visible; set `device: cpu` to train here."
            )
        # Read when the first kernel starts. What has no such kernel warns and repeats to rounding only.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.benchmark = False
    else:
        torch.set_num_threads(1)  # one thread per job: bytes do not depend on the machine's core count
    return torch.device(name)


def describe(spec: RunSpec, dataset: Dataset) -> dict[str, Any]:
    """Facts a record keeps of a spec: sizes, not numbers that training changes."""
    model, fold = spec.build_model(dataset, seed=0), spec.parts(dataset)
    groups = model.parameter_groups()
    return {
        "items": {part: len(fold.part(part)) for part in ("train", "val", "test")},
        "parameters": {name: sum(weight.numel() for weight in weights) for name, weights in groups.items()},
        "modalities": {name: list(dataset.shape(name)) for name in dataset.modalities},
    }
