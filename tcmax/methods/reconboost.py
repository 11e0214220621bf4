"""ReconBoost: modalities are boosted in turn, then tuned together (arXiv 2405.09321; methods §5.2).

Stage s trains modality m = s mod M in two phases of N epochs each. Phase 1 updates encoder m and the shared head by

    (1/C) mean_i [ -(w_1 - w_2 p_i(y_i)) log sm(u_i^m)_{y_i} ] + alpha_r MSE(sm(u^m), sm(u^prev)),

p = sm(beta sum_{n != m} u^n) what the others already explain (detached) and u^prev the modality of the stage before
(the first stage has none). Phase 2 updates everything by CE(f, y), f = beta sum_m u^m. Momentum restarts each phase.

The authors' code detaches both sides of the agreement term, which then has no gradient, and lets running statistics of
frozen encoders move. It starts from unimodally trained encoders; here all start untrained, and are summed from the
start. Overrides `loss` and `step`. An encoder is updated in N (M + 1) of every 2 N M epochs: compare at equal updates.
"""

from dataclasses import dataclass
from typing import ClassVar, cast

from torch import Tensor

from tcmax.methods.base import Batch, Method, Progress, Search, cross_entropy, item_costs
from tcmax.models.classifier import MultimodalClassifier, Outputs
from tcmax.models.fusion.shared_mlp import SharedMLP
from tcmax.models.sgd import SGD


@dataclass(frozen=True)
class ReconBoostParameters:
    """fit_weight: w_1, 5 on CREMA-D and 4 on AVE in the authors' code.

    residual_weight: w_2, 1 in the authors' code.
    agreement: alpha_r, 0.5 in the authors' code, where it has no effect.
    phase_epochs: N, 4 in the authors' code, over up to 1001 stages; a run has epochs / (2 N) of them.
    """

    fit_weight: float = 5.0
    residual_weight: float = 1.0
    agreement: float = 0.5
    phase_epochs: int = 4

    def __post_init__(self) -> None:
        if self.phase_epochs < 1:
            raise ValueError("phase_epochs must be at least 1")
        if self.agreement < 0:
            raise ValueError("agreement must not be negative")
        if not 0 <= self.residual_weight <= self.fit_weight:
            raise ValueError(
                "residual_weight must lie between 0 and fit_weight, or what is explained would be unlearnt"
            )


class ReconBoost(Method):
    """Alternates boosting one modality and tuning all; needs the shared perceptron head."""

    Parameters: ClassVar[type] = ReconBoostParameters
    # The authors' 4 and 5 lie inside; less than residual_weight is refused.
    search: ClassVar[Search] = {"fit_weight": {"low": 1.0, "high": 10.0, "scale": "log"}}
    default_head = "shared-mlp"
    side_by_side = True

    def check(self, model: MultimodalClassifier) -> None:
        if len(model.modalities) < 2:
            raise ValueError("ReconBoost boosts a modality against the others, so it needs at least two")
        if not isinstance(model.head, SharedMLP):
            raise ValueError("ReconBoost shares one perceptron among the modalities: use the head shared-mlp")

    def bind(self, model: MultimodalClassifier) -> None:
        # A bound method, so that the head does not become a part of this module.
        self.ensemble = cast(SharedMLP, model.head).ensemble

    def boosted(self, epoch: int) -> tuple[str | None, str | None]:
        """(modality of phase 1, the one of the stage before) in an epoch; the first is None in phase 2."""
        phase, names = epoch // self.hyperparameters.phase_epochs, self.setting.modalities
        stage = phase // 2
        current = None if phase % 2 else names[stage % len(names)]
        return current, names[(stage - 1) % len(names)] if stage else None

    def step(self, model: MultimodalClassifier, batch: Batch, optimizer: SGD, progress: Progress) -> dict[str, Tensor]:
        if progress.step == 0 and progress.epoch % self.hyperparameters.phase_epochs == 0:
            optimizer.velocity.zero_()
        current, _ = self.boosted(progress.epoch)
        # Switch reconboost.moving_statistics: the authors keep frozen encoders in training mode, so that they change.
        if current is not None and not self.setting.switches["reconboost.moving_statistics"]:
            for name, encoder in model.encoder.items():
                encoder.train(name == current)
        terms = super().step(model, batch, optimizer, progress)
        model.train()
        return terms

    def loss(self, outputs: Outputs, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        current, previous = self.boosted(progress.epoch)
        if current is None:
            return {"loss": cross_entropy(outputs.logits["joint"], batch.labels)}
        # Gradients reach encoder `current` and the head's layers alone. Others are absent, not zero: they do not decay.
        logits, hyper = outputs.unimodal[current], self.hyperparameters
        explained = self._explained(outputs, current).gather(-1, batch.labels.unsqueeze(-1)).squeeze(-1)
        costs = item_costs(logits, batch.labels)
        # 1/C: the authors average over classes where a cross-entropy sums.
        residual = ((hyper.fit_weight - hyper.residual_weight * explained) * costs).mean(-1) / self.setting.n_classes
        if previous is None:
            return {"loss": residual, "residual": residual}
        # Switch reconboost.detached_agreement: the authors detach this side too, which leaves no gradient.
        own = logits.detach() if self.setting.switches["reconboost.detached_agreement"] else logits
        agreement = (own.softmax(-1) - outputs.unimodal[previous].detach().softmax(-1)).square().mean((-2, -1))
        return {"loss": residual + hyper.agreement * agreement, "residual": residual, "agreement": agreement}

    def _explained(self, outputs: Outputs, current: str) -> Tensor:
        """p (..., B, C): what the other modalities predict together, a constant."""
        others = {name: u for name, u in outputs.unimodal.items() if name != current}
        return self.ensemble(others).detach().softmax(-1)
