"""Gated and BiGated heads: a sigmoid gate of one modality multiplies a projection of another (methods §3.5).

One branch is h = sigmoid(A z^s + a) * (R z^r + q), f = G h + g, with content r and gate s. Gated is one branch: content
from the first modality in the paper, from the second in the released code (switch `gated.first_gates`). BiGated, the
head of the paper's tables, adds one independent branch per modality.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from tcmax.fusion.film import target_of
from tcmax.fusion.nonadditive import NonAdditive, only


@dataclass(frozen=True)
class BiGatedParameters:
    """hidden: width of gate and content, 512 in the released code."""

    hidden: int = 512

    def __post_init__(self) -> None:
        if self.hidden < 1:
            raise ValueError("hidden must be at least 1")


@dataclass(frozen=True)
class GatedParameters(BiGatedParameters):
    """hidden: width of gate and content, 512 in the released code. target: the content modality, by fidelity."""

    target: str | None = None


class Branch(nn.Module):
    """Logits of one content feature under one gating feature."""

    def __init__(self, gate_width: int, content_width: int, hidden: int, n_classes: int) -> None:
        super().__init__()
        self.gate = nn.Linear(gate_width, hidden)
        self.content = nn.Linear(content_width, hidden)
        self.classifier = nn.Linear(hidden, n_classes)

    def forward(self, gate: Tensor, content: Tensor) -> Tensor:
        return self.classifier(torch.sigmoid(self.gate(gate)) * self.content(content))


class Gated(NonAdditive):
    """Not additive. Exactly two modalities: for more, BiGated gates each by the others."""

    Parameters: ClassVar[type] = GatedParameters

    def __init__(
        self, widths: Mapping[str, int], n_classes: int, parameters: GatedParameters, switches: Mapping[str, Any]
    ) -> None:
        super().__init__(widths, n_classes, parameters, switches)
        if len(widths) != 2:
            raise ValueError(f"the gated head is defined for two modalities, not {len(widths)}; bigated takes more")
        self.target = target_of(widths, parameters.target, switches["gated.first_gates"])
        (self.gating,) = (name for name in widths if name != self.target)
        self.branch = Branch(widths[self.gating], widths[self.target], parameters.hidden, n_classes)

    def joint(self, features: Mapping[str, Tensor]) -> Tensor:
        return self.branch(features[self.gating], features[self.target])


class BiGated(NonAdditive):
    """Not additive. One branch per modality, gated by the other one, or by the mean feature of all others."""

    Parameters: ClassVar[type] = BiGatedParameters

    def __init__(
        self, widths: Mapping[str, int], n_classes: int, parameters: BiGatedParameters, switches: Mapping[str, Any]
    ) -> None:
        super().__init__(widths, n_classes, parameters, switches)
        if len(widths) < 2:
            raise ValueError("the bigated head needs at least two modalities")
        if len(widths) > 2 and len(set(widths.values())) != 1:
            raise ValueError(f"bigated averages the features of the others, so they need equal widths: {dict(widths)}")
        self.content_branch_only = bool(switches["bigated.content_branch_only"])
        gate_widths = {name: next(widths[other] for other in widths if other != name) for name in widths}
        self.branches = nn.ModuleDict(
            {name: Branch(gate_widths[name], width, parameters.hidden, n_classes) for name, width in widths.items()}
        )

    def _branch(self, features: Mapping[str, Tensor], name: str) -> Tensor:
        """Logits of the branch whose content is this modality."""
        others = torch.stack([features[other] for other in self.branches if other != name])
        logits: Tensor = self.branches[name](others.mean(dim=0), features[name])
        return logits

    def joint(self, features: Mapping[str, Tensor]) -> Tensor:
        first, *rest = (self._branch(features, name) for name in self.branches)
        for logits in rest:
            first = first + logits
        return first

    def unimodal(self, features: Mapping[str, Tensor], name: str) -> Tensor:
        # Switch bigated.content_branch_only: the release leaves the branches that this modality gates out of its
        # read-out; with the others zeroed they would still say G (sigmoid(A z + a) * q) + g.
        if self.content_branch_only:
            return self._branch(only(features, name), name)
        return self.joint(only(features, name))
