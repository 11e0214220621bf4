"""The training loop, shared by every method.

A run is a pure function of (spec, seed, data): order, initialisation and noise come from streams keyed by name and
epoch, so that a run continued from a checkpoint gives the same bytes. Small models train several seeds at once, since
their calls cost more than what they compute (tcmax.models.classifier).
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tcmax.data.base import Dataset
from tcmax.errors import TcmaxError
from tcmax.methods import METHODS
from tcmax.methods.base import Method, Progress
from tcmax.models.classifier import MultimodalClassifier, side_by_side
from tcmax.models.encoders import ENCODERS
from tcmax.models.fusion import HEADS
from tcmax.models.fusion.base import total
from tcmax.models.sgd import SGD
from tcmax.seeding import derive, generator
from tcmax.training.loading import Residence, hold, part_of
from tcmax.training.spec import RunSpec

SPIKE = 5.0  # a loss that rises by more than so many median changes from batch to batch spikes

Logits = dict[str, np.ndarray]  # read-out -> (..., val + test items, C)
Weights = dict[str, Tensor]  # "model." or "method." and the name in its state -> one run's tensor


@dataclass
class Selected:
    """Logits kept by a selection rule, and the epoch each read-out comes from."""

    logits: Logits
    epochs: dict[str, int]


@dataclass
class RunState:
    """Everything a run has produced so far; a checkpoint is this plus model, optimiser and method state.

    history: (epoch, quantity, value). best: rule -> {unit: (accuracy, epoch, logits)}, where a unit is a read-out
    that is selected on its own ("joint" for the whole model). weights: unit -> what model and method consisted of then,
    under the one rule whose weights are kept.
    """

    epoch: int = 0
    history: list[tuple[int, str, float]] = field(default_factory=list)
    best: dict[str, dict[str, tuple[float, int, Logits]]] = field(default_factory=dict)
    diverged: bool = False
    nonfinite_losses: int = 0
    weights: dict[str, Weights] = field(default_factory=dict)


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
    weights: dict[str, Weights] = field(default_factory=dict)


def train_side_by_side(spec: RunSpec, dataset: Dataset) -> bool:
    """Whether seeds of this cell may train together: encoders, head and method promise to keep them apart."""
    parts = [ENCODERS.load(name) for name, _ in spec.encoders.values()]
    parts += [HEADS.load(spec.head[0]), METHODS.load(spec.method[0])]
    # Not by inheritance: what a subclass changes may mix seeds.
    return not dataset.stored and all(vars(part).get("side_by_side", False) for part in parts)


class Runs:
    """Seeds of one cell, trained together: build, train epoch by epoch, hand out what the selection rules kept.

    spec: of all seeds, or of each; several may differ in learning rate, weight decay and random streams
        (`RunSpec.beside`), and then give, beside others, what they give as the only one of a sequence.
    keep_weights: the selection rule under which the results hold weights.
    seeds: several only where they `train_side_by_side`. A seed gives the same alone and beside others: the same bytes
        at widths of whole cache lines, as multiples of 16 are, and to rounding at others, where a matrix product may
        depend on where in memory a matrix starts.
    device: a torch device that exists. residence: where rows are that a dataset has in files, for several runs on it.
    Raises TcmaxError when the method cannot train this model.
    """

    def __init__(
        self,
        spec: RunSpec | Sequence[RunSpec],
        seeds: Sequence[int],
        dataset: Dataset,
        device: torch.device,
        residence: Residence | None = None,
        keep_weights: str | None = None,
    ) -> None:
        specs = [spec] * len(seeds) if isinstance(spec, RunSpec) else list(spec)
        own_settings, spec = not isinstance(spec, RunSpec), specs[0]
        if any(one.beside() != spec.beside() for one in specs if one is not spec):
            raise ValueError(f"{spec.variant} on {spec.dataset}: these settings cannot train side by side")
        self.spec, self.seeds, self.device, self.keep_weights = spec, tuple(seeds), device, keep_weights
        self.roots = [one.root(seed) for one, seed in zip(specs, seeds, strict=True)]
        self.fold = spec.parts(dataset)
        dtype = torch.float64 if spec.precision == "float64" else torch.float32
        self.held_out = np.concatenate([self.fold.val, self.fold.test])
        self.held_out_labels = dataset.labels[self.held_out]
        # The leading axis of seeds, also of a single one where there could be more: the same products give equal bytes.
        self.lead = (len(self.seeds),) if train_side_by_side(spec, dataset) else ()
        if len(self.seeds) > 1 and not self.lead:
            raise ValueError(f"{spec.variant} on {spec.dataset} trains one seed after another, not several together")

        residence = residence or hold(dataset, device)
        settings = (device, dtype, residence, self.roots[0], spec.switches["protocol.flow_never_flipped"])
        self.train_part = part_of(dataset, self.fold.train, *settings)
        self.held_out_part = part_of(dataset, self.held_out, *settings)
        models = [one.build_model(dataset, seed) for one, seed in zip(specs, self.seeds, strict=True)]
        self.model = (side_by_side(models) if self.lead else models[0]).to(device)
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
        self.method.bind(self.model)
        for module in self.method.modules() if self.lead else ():
            for name, buffer in module.named_buffers(recurse=False):
                setattr(module, name, buffer.expand(*self.lead, *buffer.shape).clone())
        self.own_settings = own_settings and bool(self.lead)
        self.base_rates: list[float] = [one.training["learning_rate"] for one in specs]
        decays: list[float] = [one.training["weight_decay"] for one in specs]
        self.optimizer = SGD(
            self.model.parameters(),
            lr=self._of_each(self.base_rates, dtype),
            momentum=spec.training["momentum"],
            weight_decay=self._of_each(decays, dtype),
            seed_axes=self.model.seed_axes,
        )
        self.states = [RunState() for _ in self.seeds]
        self.epochs: int = spec.training["epochs"]

    def _of_each(self, values: list[float], dtype: torch.dtype) -> float | Tensor:
        """One number for all seeds, or (S,) of each where they have settings of their own."""
        return torch.tensor(values, dtype=dtype, device=self.device) if self.own_settings else values[0]

    @property
    def epoch(self) -> int:
        """Epochs that are over; a seed that diverged stays where it did."""
        return max(state.epoch for state in self.states)

    def train(self, after_epoch: Callable[["Runs"], None] | None = None) -> list[RunResult]:
        """Train from the current state to the end; `after_epoch` may write checkpoints or move a progress bar."""
        while self.epoch < self.epochs and (training := [state for state in self.states if not state.diverged]):
            epoch = self.epoch
            with self._layer_stream(epoch), _denormals_flushed():
                self._epoch(epoch)
            for state in training:
                state.epoch = epoch + 1
            if after_epoch:
                after_epoch(self)
        return [self._result(state) for state in self.states]

    def _result(self, state: RunState) -> RunResult:
        diverged = state.epoch - 1 if state.diverged else None
        selected = {} if state.diverged else {rule: self._assemble(state, rule) for rule in state.best}
        weights = {} if state.diverged else state.weights
        return RunResult(state.history, selected, diverged, state.nonfinite_losses, self.model, self.method, weights)

    @contextlib.contextmanager
    def _layer_stream(self, epoch: int) -> Iterator[None]:
        """Seeds the global generator, the only one that layers such as dropout draw from, and puts it back. Parts that
        train seeds side by side have no such layers."""
        seed = derive(*self.roots[0], "layers", epoch)
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            # Not torch.manual_seed: on a machine without them it queues a call, with a stack trace, for each kind of
            # accelerator, which costs a small run a tenth of its time.
            torch.default_generator.manual_seed(seed)
            if self.device.type == "cuda":
                torch.cuda.manual_seed(seed)
            yield

    def _learning_rates(self, epoch: int) -> list[float]:
        """Of each seed."""
        training = self.spec.training
        drops = sum(epoch >= drop for drop in training["lr_drop_epochs"])
        return [rate * training["lr_drop_factor"] ** drops for rate in self.base_rates]

    def _order(self, epoch: int) -> np.ndarray:
        """(..., n_train): it depends on (dataset, fold, seed, epoch) alone, so variants of a seed see equal batches."""
        n_train = len(self.fold.train)
        orders = [generator(*root, "order", epoch).permutation(n_train) for root in self.roots]
        return np.stack(orders) if self.lead else orders[0]

    def _epoch(self, epoch: int) -> None:
        rates = self._learning_rates(epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = self._of_each(rates, self.optimizer.values.dtype)
        n_train, size = len(self.fold.train), self.spec.training["batch_size"]
        roots = tuple((*root, self.spec.method[0]) for root in self.roots)
        progress = Progress(epoch, self.epochs, 0, -(-n_train // size), roots, self.device, bool(self.lead))
        logged: dict[str, list[tuple[float, Tensor]]] = {}
        self.optimizer.forget_counts()
        self.model.forget_passes()
        self.model.train()
        self.method.train()
        train = self.train_part.in_epoch(epoch)
        self.method.begin_epoch(self.model, train, progress)
        for progress.step, batch in enumerate(train.batches(self._order(epoch), size)):
            for name, value in self.method.step(self.model, batch, self.optimizer, progress).items():
                weight = 1.0 if name.startswith("count.") else batch.labels.shape[-1] / n_train
                logged.setdefault(name, []).append((weight, value))
        sums = {name: self._weighted_sums(values) for name, values in logged.items()}
        work = self._work_done()
        losses = self._by_seed([loss for _, loss in logged["loss"]])
        broken = (~np.isfinite(losses)).sum(0)
        unrest = _unrest(losses, self._by_seed(self.optimizer.gradient_norms))
        for place, state in enumerate(self.states):
            if state.diverged:
                continue
            state.nonfinite_losses = int(broken[place])
            if state.nonfinite_losses:
                _diverge(state, epoch)
            else:
                noted = {name: float(values[place]) for name, values in sums.items()}
                restless = {name: float(values[place]) for name, values in unrest.items()}
                _note(state, epoch, {**noted, **work, "learning_rate": rates[place], **restless})
        if not all(state.diverged for state in self.states):
            self._evaluate(epoch)

    def _by_seed(self, values: Sequence[Tensor]) -> np.ndarray:
        """(n, S) numbers of one quantity, (...) each, in one transfer from the device."""
        if not values:
            return np.empty((0, len(self.seeds)))
        stacked = torch.stack([value.expand(self.lead) for value in values]).double()
        return stacked.reshape(len(values), len(self.seeds)).cpu().numpy()

    def _weighted_sums(self, logged: list[tuple[float, Tensor]]) -> np.ndarray:
        # Not one call over the steps, whose order of additions would depend on the number of seeds.
        values = self._by_seed([value for _, value in logged])
        return sum((weight * row for (weight, _), row in zip(logged, values, strict=True)), np.zeros(len(self.seeds)))

    def _work_done(self) -> dict[str, float]:
        """What this epoch's training cost a seed: optimiser steps, and by encoder its updates, its forward passes, and
        how often it saw the train items. A step that leaves an encoder's gradient absent does not update it."""
        counts = {"count.optimizer_steps": float(self.optimizer.steps)}
        updates = dict(zip(self.model.parameters(), self.optimizer.updates, strict=True))
        for name, encoder in self.model.encoder.items():
            moved = (updates[weight] for weight in encoder.parameters())
            counts[f"count.encoder_updates.{name}"] = float(max(moved, default=0))
            counts[f"count.forward_passes.{name}"] = float(self.model.passes[name].calls)
            counts[f"data_passes.{name}"] = self.model.passes[name].rows / len(self.fold.train)
        return counts

    def predicted_with(self, weights: Mapping[str, Weights]) -> Logits:
        """What the selection rule that kept these weights predicts, of a single run: (val + test, C) each.

        The run's own state is lost.
        """
        parts = {"model": self.model.state_dict(), "method": self.method.state_dict()}
        kept: dict[str, tuple[float, int, Logits]] = {}
        for unit, of_unit in weights.items():
            for name, tensor in of_unit.items():
                part, _, key = name.partition(".")
                (parts[part][key][0] if self.lead else parts[part][key]).copy_(tensor)
            kept[unit] = (0.0, 0, {name: values[0].copy() for name, values in self.predict().items()})
        return self._assemble(RunState(best={"last": kept}), "last").logits

    def predict(self) -> Logits:
        """Logits of every read-out for val items, then test items, in evaluation mode: (S, val + test, C) each."""
        pieces: dict[str, list[np.ndarray]] = {}
        self.model.eval()
        with torch.no_grad():
            for inputs in self.held_out_part.in_order():
                outputs = self.model({name: x.expand(*self.lead, *x.shape) for name, x in inputs.items()})
                for name, value in outputs.logits.items():
                    pieces.setdefault(name, []).append(value.cpu().numpy())
        logits = {name: np.concatenate(parts, axis=-2) for name, parts in pieces.items()}
        return {name: values.reshape(len(self.seeds), *values.shape[-2:]) for name, values in logits.items()}

    def _evaluate(self, epoch: int) -> None:
        logits = self.predict()
        finite = np.all([np.isfinite(values).all((-2, -1)) for values in logits.values()], axis=0)
        n_val = len(self.fold.val)
        parts = {"val": slice(0, n_val), "test": slice(n_val, None)}
        if not len(self.fold.test):  # of a trial, which never sees them
            del parts["test"]
        stacked = np.stack([*logits.values(), self._own(logits)])  # (R, S, n, C)
        correct = stacked.argmax(-1) == self.held_out_labels
        with np.errstate(invalid="ignore"):  # of seeds that diverged
            nll = _nll(stacked, self.held_out_labels)
        for place, state in enumerate(self.states):
            if state.diverged:
                continue
            if not finite[place]:
                _diverge(state, epoch)
                continue
            scores: dict[str, float] = {}
            for part, where in parts.items():
                for name, right, cost in zip((*logits, "own"), correct[:, place], nll[:, place], strict=True):
                    scores[f"accuracy.{part}.{name}"] = float(right[where].mean())
                    scores[f"nll.{part}.{name}"] = float(cost[where].mean())
            _note(state, epoch, scores)
            # Never views of live weights, by nature; and copies, since arrays of all seeds would stay for one.
            self._keep_best(place, epoch, {name: values[place].copy() for name, values in logits.items()}, scores)

    def _keep_best(self, place: int, epoch: int, logits: Logits, scores: Mapping[str, float]) -> None:
        state = self.states[place]
        kept = [("last", "joint", _keep(state, "last", "joint", 0.0, epoch, logits, always=True))]
        for unit in self._units(logits):
            judged = "own" if unit == "joint" else unit
            for rule, part in (("best_val", "val"), ("best_test_oracle", "test")):
                if (score := scores.get(f"accuracy.{part}.{judged}")) is not None:
                    kept.append((rule, unit, _keep(state, rule, unit, score, epoch, logits)))
        last = epoch + 1 == self.epochs
        for rule, unit, improved in kept:
            if rule == self.keep_weights and improved and (rule != "last" or last):
                state.weights[unit] = self.weights(place)

    def weights(self, place: int = 0) -> Weights:
        """What one run's model and method consist of now, copied to the CPU."""
        parts = {"model": self.model.state_dict(), "method": self.method.state_dict()}
        return {
            f"{part}.{name}": (tensor[place] if self.lead else tensor).detach().cpu().clone()
            for part, tensors in parts.items()
            for name, tensor in tensors.items()
        }

    def _units(self, logits: Logits) -> list[str]:
        """What best_val selects an epoch for: the whole model, or each modality where they are separate models."""
        if self.method.selects_modalities_separately:
            return [name for name in logits if name != "joint"]
        return ["joint"]

    def _assemble(self, state: RunState, rule: str) -> Selected:
        # Switch protocol.aliased_selection: the release's "best" state shares its tensors with the live model, so that
        # what it loads back and tests is the last epoch, whichever epoch validation chose.
        aliased = rule == "best_val" and self.spec.switches["protocol.aliased_selection"]
        units = state.best["last" if aliased else rule]
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
        """The method's own read-out, shaped as each of the logits (..., val + test, C)."""
        # Val and test apart: a read-out may depend on the items it is given together (switch mla.batch_gating).
        n_val, n = len(self.fold.val), len(self.held_out)
        parts = [slice(0, n_val), slice(n_val, n)] if 0 < n_val < n else [slice(0, n)]
        given = ({k: torch.from_numpy(v[..., part, :]) for k, v in logits.items()} for part in parts)
        return np.concatenate([self.method.read_out(part).numpy() for part in given], axis=-2)


def _unrest(losses: np.ndarray, norms: np.ndarray) -> dict[str, np.ndarray]:
    """What tells unstable training from noise in an epoch, (S,) each, of losses (batches, S) and gradients (steps, S).

    A batch's loss spikes where it rises above that of the batch before by more than SPIKE times the median change from
    batch to batch: losses have no common scale, and some are negative. The largest gradient norm stands against the
    median.
    """
    found = {}
    with np.errstate(invalid="ignore", divide="ignore"):  # of seeds that diverge
        if len(losses) > 2:
            changes = np.diff(losses, axis=0)
            found["unrest.loss_spikes"] = (changes > SPIKE * np.median(np.abs(changes), axis=0)).mean(axis=0)
        if len(norms):
            found["unrest.gradient_norm"] = norms.max(axis=0) / np.median(norms, axis=0)
    return found


def _note(state: RunState, epoch: int, values: Mapping[str, float]) -> None:
    for quantity, value in values.items():
        # A side quantity may be non-finite (a reported ratio, say) while the run is sound; it is then left out.
        if np.isfinite(value):
            state.history.append((epoch, quantity, value))


def _diverge(state: RunState, epoch: int) -> None:
    state.diverged = True
    _note(state, epoch, {"diverged": 1.0, "count.nonfinite_losses": float(state.nonfinite_losses)})


def _keep(
    state: RunState, rule: str, unit: str, score: float, epoch: int, logits: Logits, always: bool = False
) -> bool:
    """Remember logits when the score improves (the earliest best epoch wins ties), and whether it did."""
    units = state.best.setdefault(rule, {})
    improved = always or unit not in units or score > units[unit][0]
    if improved:
        units[unit] = (score, epoch, logits)
    return improved


@contextlib.contextmanager
def _denormals_flushed() -> Iterator[None]:
    """Numbers below 1e-38 are zero. Softmax weights of confident models underflow to such, and a processor computes
    with them up to a hundred times as slowly: a quarter of a small run's time with the TCMax loss."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def _nll(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(..., B) negative log-likelihood of the labels (B,) under logits (..., B, C)."""
    wide = logits.astype(np.float64)
    wide -= wide.max(-1, keepdims=True)
    nll: np.ndarray = np.log(np.exp(wide).sum(-1)) - wide[..., np.arange(len(labels)), labels]
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
