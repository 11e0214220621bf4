"""The contract of a fusion head."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn


@dataclass(frozen=True)
class NoParameters:
    """For heads that have nothing to set."""


class Head(nn.Module):
    """Maps features {modality: (..., B, d_m)} to logits {modality: (..., B, C), "joint": (..., B, C)}.

    Parameters: a frozen dataclass of the head's own settings.
    additive: promises joint == sum of the unimodal logits, which the decoupled TCMax loss (Eq. 16) relies on.
    separate: joint and unimodal logits come from different layers, so that a method has to train both.
    side_by_side: promises to take features with a leading axis of seeds, and parameters that have it too, and to keep
        the seeds apart (tcmax.models.classifier); else they train one after another. A subclass has to promise anew.
    switches: named deviations that act in this head (tcmax/experiment/switches.py); the table gives their values.
    """

    Parameters: ClassVar[type] = NoParameters
    additive: bool
    separate: ClassVar[bool] = False
    side_by_side: ClassVar[bool] = False

    def __init__(self, widths: Mapping[str, int], n_classes: int, parameters: Any, switches: Mapping[str, Any]) -> None:
        super().__init__()

    def forward(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        raise NotImplementedError

    def terms(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What joint logits take from each modality by itself, {modality: (..., B, k_m)}: by default the features.

        A loss that recombines rows asks for them once per row, and for `joint` once per combination.
        """
        return dict(features)

    def joint(self, terms: Mapping[str, Tensor]) -> Tensor:
        """Joint logits (..., B, C) from `terms`, which may come from different rows for different modalities."""
        result: Tensor = self(terms)["joint"]
        return result


def by_modality(logits: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Logits of the modalities, without the joint ones."""
    return {name: values for name, values in logits.items() if name != "joint"}


def total(unimodal: Mapping[str, Tensor]) -> Tensor:
    """Sum of unimodal logits, in modality order so that equal runs give equal bytes."""
    first, *rest = unimodal.values()
    for logits in rest:
        first = first + logits
    return first
