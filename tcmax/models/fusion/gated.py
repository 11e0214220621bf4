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

from tcmax.models.fusion.base import total
from tcmax.models.fusion.film import target_of
from tcmax.models.fusion.nonadditive import NonAdditive
from tcmax.models.linear import Linear, linear


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
    """Layers for one content feature under one gating feature."""

    def __init__(self, gate_width: int, content_width: int, hidden: int, n_classes: int) -> None:
        super().__init__()
        self.gate = Linear(gate_width, hidden)
        self.content = Linear(content_width, hidden)
        self.classifier = Linear(hidden, n_classes)


class Gated(NonAdditive):
    """Not additive. Exactly two modalities: for more, BiGated gates each by the others."""

    Parameters: ClassVar[type] = GatedParameters
    side_by_side = True

    def __init__(
        self, widths: Mapping[str, int], n_classes: int, parameters: GatedParameters, switches: Mapping[str, Any]
    ) -> None:
        super().__init__(widths, n_classes, parameters, switches)
        if len(widths) != 2:
            raise ValueError(f"the gated head is defined for two modalities, not {len(widths)}; bigated takes more")
        self.target = target_of(widths, parameters.target, switches["gated.first_gates"])
        (self.gating,) = (name for name in widths if name != self.target)
        self.branch = Branch(widths[self.gating], widths[self.target], parameters.hidden, n_classes)

    def terms(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        layers = {self.gating: self.branch.gate, self.target: self.branch.content}
        return {name: layers[name](value) for name, value in features.items()}

    def joint(self, terms: Mapping[str, Tensor]) -> Tensor:
        logits: Tensor = self.branch.classifier(torch.sigmoid(terms[self.gating]) * terms[self.target])
        return logits


class BiGated(NonAdditive):
    """Not additive. One branch per modality, gated by the other one, or by the mean feature of all others."""

    Parameters: ClassVar[type] = BiGatedParameters
    side_by_side = True

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

    def _by_content(self) -> list[tuple[str, Branch]]:
        return [(name, branch) for name, branch in self.branches.items() if isinstance(branch, Branch)]

    def terms(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """For each branch in turn, side by side: what the modality says to its gate, or, in its own, the content."""
        terms = {}
        for name, value in features.items():
            layers = [branch.content if own == name else branch.gate for own, branch in self._by_content()]
            weight = torch.cat([layer.weight for layer in layers], dim=-2)
            bias = torch.cat([layer.bias for layer in layers], dim=-1)
            terms[name] = linear(value, weight, bias)
        return terms

    def _hidden(self, terms: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What the classifier of each branch sees: (..., B, hidden)."""
        n_branches = len(self.branches)
        parts = {name: value.split(value.shape[-1] // n_branches, dim=-1) for name, value in terms.items()}
        hidden = {}
        for place, name in enumerate(self.branches):
            gate = total({other: said[place] for other, said in parts.items() if other != name})
            hidden[name] = torch.sigmoid(gate / (n_branches - 1)) * parts[name][place]
        return hidden

    def joint(self, terms: Mapping[str, Tensor]) -> Tensor:
        classifiers = [branch.classifier for _, branch in self._by_content()]
        weight = torch.cat([classifier.weight for classifier in classifiers], dim=-1)
        bias = total({name: branch.classifier.bias for name, branch in self._by_content()})
        return linear(torch.cat(list(self._hidden(terms).values()), dim=-1), weight, bias)

    def forward(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if not self.content_branch_only:
            return super().forward(features)
        # Switch bigated.content_branch_only: the release leaves the branches that this modality gates out of its
        # read-out; with the others zeroed they would still say G (sigmoid(A z + a) * q) + g.
        present, absent = self.terms(features), self.absent(features)
        logits = {}
        for name, branch in self._by_content():
            logits[name] = branch.classifier(self._hidden({**absent, name: present[name]})[name])
        return {**logits, "joint": self.joint(present)}
