"""OPM: features of the dominant modality are dropped in the forward pass (arXiv 2410.11582; methods §3.10-3.11).

With S_m the true-class score and rho_m = S_m / mean of the others, q_m = q_0 (1 + lambda tanh(rho_m - 1)) if rho_m > 1,
else 0. After a warm-up, with probability p_exe per batch, every sample keeps its feature of modality m with probability
1 - q_m; all features are divided by 1 - theta, theta the width-weighted mean of q. That keeps the expected size of all
features together, not that of each modality: with theta = q/2 the dropped one shrinks to (1-q)/(1-q/2).

Overrides `step`. OGM-GE+OPM adds OGM-GE's gradient hook, with scores of the undropped features.
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import torch
from torch import Tensor

from tcmax.methods.base import Batch, Method, Progress, Search, Setting, cross_entropy, true_class_scores
from tcmax.methods.ogm import OGMGE, SMALLEST_SCORE, OGMParameters, Ratio
from tcmax.models.classifier import MultimodalClassifier, Outputs
from tcmax.models.sgd import SGD

SMALLEST_KEPT_SHARE = 1e-5


@dataclass(frozen=True)
class OPMParameters:
    """By default as the fidelity says (methods §6): the authors' script, or the release's arguments in parentheses.

    base_rate: q_0, 0.5 (0.25). strength: lambda, 0.5 (1.0). probability: p_exe, 0.7 (1). warm_up_epochs: 6 (0).
    """

    base_rate: float | None = None
    strength: float | None = None
    probability: float | None = None
    warm_up_epochs: int | None = None

    def __post_init__(self) -> None:
        for name in ("base_rate", "probability"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{name} is a probability")
        if self.strength is not None and self.strength < 0:
            raise ValueError("strength must not be negative")


class OPM(Method):
    """Cross-entropy of the joint logits of dropped features."""

    Parameters: ClassVar[type] = OPMParameters
    # The script's and the release's values lie inside.
    search: ClassVar[Search] = {
        "base_rate": {"low": 0.1, "high": 0.7},
        "strength": {"low": 0.25, "high": 1.5},
    }
    side_by_side = True
    rates: Tensor

    def __init__(self, parameters: OPMParameters, setting: Setting) -> None:
        super().__init__(parameters, setting)
        switches = setting.switches
        # Switch opm.release_rates: the release drops at most half as often.
        rates = (0.25, 1.0) if switches["opm.release_rates"] else (0.5, 0.5)
        # Switch opm.every_batch: the release has neither a warm-up nor a probability per batch.
        schedule = (1.0, 0) if switches["opm.every_batch"] else (0.7, 6)
        given = (parameters.base_rate, parameters.strength, parameters.probability, parameters.warm_up_epochs)
        self.base_rate, self.strength, self.probability, self.warm_up_epochs = (
            default if value is None else value for value, default in zip(given, rates + schedule, strict=True)
        )
        self.register_buffer("rates", torch.zeros(len(setting.modalities), dtype=torch.float64))

    def check(self, model: MultimodalClassifier) -> None:
        if len(model.modalities) < 2:
            raise ValueError("OPM drops the modality that is ahead of the others, so it needs at least two")

    def step(self, model: MultimodalClassifier, batch: Batch, optimizer: SGD, progress: Progress) -> dict[str, Tensor]:
        features = model.encode(batch.inputs)
        with torch.no_grad():
            whole = Outputs(features, model.head(features))  # scores and gradient hook see no dropping
        rates = self.drop_rates(true_class_scores(whole, batch.labels))
        warm = progress.epoch >= self.warm_up_epochs
        active = torch.zeros(rates.shape[:-1], dtype=torch.bool, device=rates.device)
        if warm:
            active = progress.draw(partial(torch.rand, (), device=rates.device)) < self.probability
        kept = self.drop(features, rates, active, progress) if warm else features
        loss = cross_entropy(model.head(kept)["joint"], batch.labels)
        optimizer.zero_grad(set_to_none=True)
        loss.sum().backward()
        hooked = self.modulate(model, whole, batch, progress) or {}
        optimizer.step()
        return {
            "loss": loss.detach(),
            **{f"drop_rate.{name}": rate * active for name, rate in zip(features, rates.unbind(-1), strict=True)},
            "count.backward_passes": torch.ones(()),
            "count.dropping_steps": active,
            **hooked,
        }

    def drop_rates(self, scores: dict[str, Tensor]) -> Tensor:
        """q_m of every modality, (..., M), to use in this batch."""
        stacked = torch.stack(list(scores.values()), dim=-1)
        others = (stacked.sum(-1, keepdim=True) - stacked) / (len(scores) - 1)
        ratio = stacked / others.clamp_min(SMALLEST_SCORE)
        # Switch opm.tanh_of_ratio: the release has tanh(rho), which is 0.76 at balance, for tanh(rho - 1).
        lead = ratio if self.setting.switches["opm.tanh_of_ratio"] else ratio - 1
        # Equal scores can all exceed their rounded mean; the weakest is never ahead.
        ahead = (ratio > 1) & (stacked > stacked.amin(-1, keepdim=True))
        rates = (self.base_rate * (1 + self.strength * lead.tanh())).clamp(0, 1) * ahead
        # Switch opm.late_rates: the release drops by the rates of the previous batch, so its first batch drops nothing.
        used = self.rates.clone() if self.setting.switches["opm.late_rates"] else rates
        self.rates = rates.to(self.rates)
        return used

    def drop(self, features: dict[str, Tensor], rates: Tensor, active: Tensor, progress: Progress) -> dict[str, Tensor]:
        """Features after dropping, in the batches that are `active` (...). The weakest modality is never ahead, so no
        sample loses all of them."""
        widths = torch.tensor([z.shape[-1] for z in features.values()], device=rates.device, dtype=rates.dtype)
        share = 1 - (widths * rates).sum(-1) / widths.sum()
        # Switch opm.no_rescaling: the release does not divide by the expected kept share.
        whole = self.setting.switches["opm.no_rescaling"]
        scale = torch.ones_like(share) if whole else share.clamp_min(SMALLEST_KEPT_SHARE).reciprocal()
        n_rows = next(iter(features.values())).shape[-2]
        draws = progress.draw(partial(torch.rand, (len(features), n_rows), device=rates.device))
        factors = (draws >= rates.unsqueeze(-1)) * scale[..., None, None]
        factors = factors.where(active[..., None, None], torch.ones_like(factors)).unsqueeze(-1)
        return {name: z * factor.to(z) for (name, z), factor in zip(features.items(), factors.unbind(-3), strict=True)}


@dataclass(frozen=True)
class OGMGEOPMParameters(OPMParameters):
    """Those of OPM, and those of OGM-GE.

    alpha, first_epoch, last_epoch, ratio, modulated: of OGM-GE, with its defaults (tcmax.methods.ogm).
    """

    alpha: float = 0.8
    first_epoch: int = 0
    last_epoch: int | None = None
    ratio: Ratio | None = None
    modulated: Literal["convolutions", "weights"] = "convolutions"


class OGMGEOPM(OPM):
    """OPM's forward pass and OGM-GE's gradients."""

    Parameters: ClassVar[type] = OGMGEOPMParameters
    search: ClassVar[Search] = {**OPM.search, **OGMGE.search}
    side_by_side = True

    def __init__(self, parameters: OGMGEOPMParameters, setting: Setting) -> None:
        super().__init__(parameters, setting)
        self.hook = OGMGE(
            OGMParameters(
                alpha=parameters.alpha,
                first_epoch=parameters.first_epoch,
                last_epoch=parameters.last_epoch,
                ratio=parameters.ratio,
                modulated=parameters.modulated,
            ),
            setting,
        )

    def check(self, model: MultimodalClassifier) -> None:
        super().check(model)
        self.hook.check(model)

    def bind(self, model: MultimodalClassifier) -> None:
        super().bind(model)
        self.hook.bind(model)

    def modulate(
        self, model: MultimodalClassifier, outputs: Outputs, batch: Batch, progress: Progress
    ) -> dict[str, Tensor]:
        return self.hook.modulate(model, outputs, batch, progress)
