"""FiLM head: one modality is scaled and shifted, channel by channel, by what the others say (methods §3.4).

[gamma; beta] = A z^s + a, f = G (gamma * z^r + beta) + g, with target r and conditioner s. In the paper (appendix B.1)
the first modality is the target and the second conditions it; the released code has it the other way round (switch
`film.first_conditions`). Layers start by their default rule, so gamma starts near 0, not near 1, and early logits
depend mostly on the conditioner; neither source does otherwise.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from tcmax.models.fusion.base import total
from tcmax.models.fusion.nonadditive import NonAdditive
from tcmax.models.linear import Linear, linear


@dataclass(frozen=True)
class FiLMParameters:
    """target: name of the modality that is modulated, by default as the fidelity says.

    With more than two modalities, which no source defines, the target is modulated by all others, concatenated.
    """

    target: str | None = None


class FiLM(NonAdditive):
    """Not additive. At least two modalities."""

    Parameters: ClassVar[type] = FiLMParameters
    side_by_side = True

    def __init__(
        self, widths: Mapping[str, int], n_classes: int, parameters: FiLMParameters, switches: Mapping[str, Any]
    ) -> None:
        super().__init__(widths, n_classes, parameters, switches)
        self.target = target_of(widths, parameters.target, switches["film.first_conditions"])
        self.conditioners = tuple(name for name in widths if name != self.target)
        width = widths[self.target]
        self.modulation = Linear(sum(widths[name] for name in self.conditioners), 2 * width)
        self.classifier = Linear(width, n_classes)

    def terms(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The target's feature, and every other modality's share of scale and shift."""
        slices = self.modulation.weight.split([features[name].shape[-1] for name in self.conditioners], dim=-1)
        bias = self.modulation.bias / len(self.conditioners)
        shares = {name: linear(features[name], w, bias) for name, w in zip(self.conditioners, slices, strict=True)}
        return {name: shares.get(name, value) for name, value in features.items()}

    def joint(self, terms: Mapping[str, Tensor]) -> Tensor:
        modulation = total({name: terms[name] for name in self.conditioners})
        scale, shift = modulation.chunk(2, dim=-1)
        result: Tensor = self.classifier(scale * terms[self.target] + shift)
        return result


def target_of(widths: Mapping[str, int], named: str | None, first_conditions: bool) -> str:
    """The modality that is modulated: the named one, else the first in the paper and the second in the release.

    Raises ValueError for one modality, an unknown name, or the release's rule with more than two modalities.
    """
    names = tuple(widths)
    if len(names) < 2:
        raise ValueError("a head in which one modality conditions another needs at least two modalities")
    if named is not None:
        if named not in widths:
            raise ValueError(f"the head's target {named!r} is not a modality; there are {', '.join(names)}")
        return named
    # Switch film.first_conditions: the release conditions on the first modality and modulates the second.
    # Switch gated.first_gates: likewise for the gate.
    if first_conditions and len(names) > 2:
        raise ValueError(f"the release conditions one of two modalities: with {len(names)}, name the head's target")
    return names[1] if first_conditions else names[0]
