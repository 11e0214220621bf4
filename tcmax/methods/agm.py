"""AGM: adaptive gradient modulation by Shapley-style responses (arXiv 2308.07686; methods §3.7).

The joint logits are split into a response r^m per modality; the gradient through r^m is multiplied by

    kappa_m = exp(alpha min(rho*_m - rho_m, 10)),   rho_m = exp(M/(M-1) (mean_n q_n - q_m)),

q_m the cross-entropy of r^m in the batch and rho*_m the same of its running mean: a modality ahead of its record is
slowed. r^m = sum over coalitions S without m of |S|! (M-|S|-1)!/M! (F(S + m) - F(S)), where F sees zero inputs outside
S in evaluation mode, and F(no modality) = 0: so the responses sum to F, and for M = 2 are the authors'
(F(x^a, x^v) - F(0, x^v) + F(x^a, 0)) / 2.

Overrides `step`. The release instead scores the head's unimodal logits and scales encoder gradients only. Unimodal
read-outs are the head's; the authors' code reports the responses, which need zero-input passes at test time.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from itertools import combinations
from math import factorial
from typing import ClassVar

import torch
from torch import Tensor

from tcmax.methods.base import Batch, Method, Progress, Search, Setting, cross_entropy
from tcmax.models.axes import entries, per_seed
from tcmax.models.classifier import MultimodalClassifier, Outputs
from tcmax.models.fusion.base import total
from tcmax.models.sgd import SGD

CAP = 10.0
SMALLEST_NORM = 1e-6  # added to a norm, as PyTorch does where it clips
SMALLEST_PROBABILITY = 1e-8


@dataclass(frozen=True)
class AGMParameters:
    """alpha: 1.0, default of the authors and of the release (2.5 in an example).

    last_epoch: last modulated epoch, 0-based and inclusive; by default half of the run in reference,
        otherwise what the code says, however long the run.
    """

    alpha: float = 1.0
    last_epoch: int | None = None

    def __post_init__(self) -> None:
        if self.alpha < 0:
            raise ValueError("alpha must not be negative")


class AGM(Method):
    """Joint cross-entropy whose gradient is rebalanced between modalities."""

    Parameters: ClassVar[type] = AGMParameters
    # The authors' 1.0 and the 2.5 of their example lie inside.
    search: ClassVar[Search] = {"alpha": {"low": 0.1, "high": 3.0, "scale": "log"}}
    side_by_side = True
    record: Tensor
    steps: Tensor
    kappa: Tensor

    def __init__(self, parameters: AGMParameters, setting: Setting) -> None:
        super().__init__(parameters, setting)
        # Switch agm.last_epoch: the original's argument is 20 epochs, the release's window ends at epoch 50.
        last = setting.switches["agm.last_epoch"] if parameters.last_epoch is None else parameters.last_epoch
        self.last_epoch: int = setting.epochs // 2 if last == "half" else last
        self.register_buffer("record", torch.zeros(len(setting.modalities), dtype=torch.float64))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("kappa", torch.ones(len(setting.modalities), dtype=torch.float64))

    def check(self, model: MultimodalClassifier) -> None:
        if len(model.modalities) < 2:
            raise ValueError("AGM balances modalities, so it needs at least two")
        switches = self.setting.switches
        if switches["agm.head_scores"] and not switches["agm.encoder_only"] and not model.head.additive:
            raise ValueError("unimodal logits can stand for responses only where they sum to the joint ones")

    def step(self, model: MultimodalClassifier, batch: Batch, optimizer: SGD, progress: Progress) -> dict[str, Tensor]:
        switches = self.setting.switches
        outputs = model(batch.inputs)
        inside = progress.epoch <= self.last_epoch
        # Switch agm.stale_scale: the original never resets its scale, so the last one stays until the run ends.
        scaling = inside or switches["agm.stale_scale"]
        joint = outputs.logits["joint"]
        if scaling:
            # Switch agm.head_scores: the release takes the head's unimodal logits for responses.
            responses = outputs.unimodal if switches["agm.head_scores"] else self.responses(model, batch, outputs)
            if inside:
                self._update(responses, batch.labels)
            if not switches["agm.encoder_only"]:
                kappas = self.kappa.unbind(-1)
                joint = total({name: _scaled(r, k) for (name, r), k in zip(responses.items(), kappas, strict=True)})
        loss = cross_entropy(joint, batch.labels)
        optimizer.zero_grad(set_to_none=True)
        loss.sum().backward()
        groups = model.parameter_groups()
        # Switch agm.encoder_only: the release scales encoder gradients after backward and leaves the head's alone.
        if scaling and switches["agm.encoder_only"]:
            for name, kappa in self._named(self.kappa):
                for weight in groups[name]:
                    if weight.grad is not None:
                        weight.grad.mul_(per_seed(kappa, weight.grad))
        # Switch agm.no_clipping: the release never clips. The authors do when an entry of the head's weight exceeds 1.
        clipped = torch.zeros_like(loss, dtype=torch.bool)
        if not switches["agm.no_clipping"]:
            clipped = _large(model, loss)
            if clipped.any():
                _clip(model, clipped)
        optimizer.step()
        return {
            "loss": loss.detach(),
            **{f"kappa.{name}": (k if scaling else torch.ones_like(k)) for name, k in self._named(self.kappa.clone())},
            "count.backward_passes": torch.ones(()),
            "count.modulated": torch.tensor(float(scaling)),
            "count.clipped": clipped,
        }

    def responses(self, model: MultimodalClassifier, batch: Batch, outputs: Outputs) -> dict[str, Tensor]:
        """r^m (B, C) by modality; they sum to the joint logits of `outputs`, which is the training-mode pass."""
        names = model.modalities
        model.eval()  # running statistics for coalitions: zero inputs must not move them
        present = model.encode(batch.inputs)
        absent = model.encode({n: torch.zeros_like(x.narrow(model.seed_axes, 0, 1)) for n, x in batch.inputs.items()})
        value: dict[frozenset[str], Tensor] = {frozenset(): torch.zeros_like(outputs.logits["joint"])}
        for size in range(1, len(names)):
            for coalition in map(frozenset, combinations(names, size)):
                value[coalition] = model.head(_with(coalition, present, absent))["joint"]
        model.train()
        value[frozenset(names)] = outputs.logits["joint"]
        return {name: shapley(name, names, value) for name in names}

    def _update(self, responses: Mapping[str, Tensor], labels: Tensor) -> None:
        """kappa from this batch against the record, then the record from this batch."""
        costs = torch.stack([_cost(response.detach(), labels) for response in responses.values()], dim=-1).double()
        self.steps += 1
        lead = self._ratio(self.record) - self._ratio(costs)
        self.kappa = (self.hyperparameters.alpha * lead.clamp_max(CAP)).exp()
        self.record = self.record + (costs - self.record) / self.steps.unsqueeze(-1)

    def _ratio(self, costs: Tensor) -> Tensor:
        """rho_m from (..., M) costs; 1 for all when they are equal."""
        n_modalities = costs.shape[-1]
        # Switch agm.min_reference: beyond two modalities the release compares with the smallest cost.
        if self.setting.switches["agm.min_reference"] and n_modalities > 2:
            return (costs.amin(-1, keepdim=True) - costs).exp()
        return (n_modalities / (n_modalities - 1) * (costs.mean(-1, keepdim=True) - costs)).exp()

    def _named(self, values: Tensor) -> list[tuple[str, Tensor]]:
        return list(zip(self.setting.modalities, values.unbind(-1), strict=True))


def shapley(name: str, names: tuple[str, ...], value: Mapping[frozenset[str], Tensor]) -> Tensor:
    """Shapley value of one modality, from the value of every coalition."""
    others = [other for other in names if other != name]
    terms = [
        factorial(size) * factorial(len(others) - size) / factorial(len(names)) * (value[s | {name}] - value[s])
        for size in range(len(names))
        for s in map(frozenset, combinations(others, size))
    ]
    return reduce(torch.add, terms)


def _with(coalition: frozenset[str], present: Mapping[str, Tensor], absent: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: z if name in coalition else absent[name].expand_as(z) for name, z in present.items()}


def _cost(response: Tensor, labels: Tensor) -> Tensor:
    log_probability = response.log_softmax(-1).gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    return -log_probability.clamp_min(torch.tensor(SMALLEST_PROBABILITY).log().item()).mean(-1)


def _scaled(response: Tensor, factor: Tensor) -> Tensor:
    """The same value, with its gradient multiplied."""
    kept = response.detach()
    return kept + per_seed(factor, response) * (response - kept)


def _large(model: MultimodalClassifier, like: Tensor) -> Tensor:
    """Shaped as `like`, (...): whether the gradient of a weight matrix of the head has an entry beyond 1."""
    found = torch.zeros_like(like, dtype=torch.bool)
    for weight in model.head.parameters():
        if weight.grad is not None and weight.ndim > model.seed_axes + 1:
            found = found | (entries(weight.grad, model.seed_axes).abs() > 1).any(-1)
    return found


def _clip(model: MultimodalClassifier, chosen: Tensor) -> None:
    """Scale all gradients, of the `chosen` (...) seeds, to a norm of at most 1."""
    gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
    norms = torch.stack([entries(gradient, model.seed_axes).norm(dim=-1) for gradient in gradients], dim=-1)
    factor = (1 / (norms.norm(dim=-1) + SMALLEST_NORM)).clamp_max(1)
    for gradient in gradients:
        gradient.mul_(per_seed(factor.where(chosen, torch.ones_like(factor)), gradient))
