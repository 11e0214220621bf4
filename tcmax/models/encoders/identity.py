"""No encoder: the input is the feature, as where frozen networks extracted it beforehand (methods §5.3)."""

from dataclasses import dataclass
from math import prod
from typing import ClassVar

from torch import Tensor

from tcmax.models.encoders.base import Encoder


@dataclass(frozen=True)
class IdentityParameters:
    """None."""


class Identity(Encoder):
    """Flatten; nothing is learned."""

    Parameters: ClassVar[type] = IdentityParameters
    side_by_side = True

    def __init__(self, shape: tuple[int, ...], parameters: IdentityParameters) -> None:
        super().__init__(shape, parameters)
        self.width, self.dimensions = prod(shape), len(shape)

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.flatten(-self.dimensions)
