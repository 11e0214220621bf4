"""One linear layer: brings features of any width to a common one, as heads that share weights need (methods §3.2)."""

from dataclasses import dataclass
from math import prod
from typing import ClassVar

from torch import Tensor

from tcmax.models.encoders.base import Encoder
from tcmax.models.linear import Linear as LinearLayer


@dataclass(frozen=True)
class LinearParameters:
    """width: of the feature."""

    width: int = 64

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError("width must be at least 1")


class Linear(Encoder):
    """Flatten, then one linear layer without activation."""

    Parameters: ClassVar[type] = LinearParameters
    side_by_side = True

    def __init__(self, shape: tuple[int, ...], parameters: LinearParameters) -> None:
        super().__init__(shape, parameters)
        self.width, self.dimensions = parameters.width, len(shape)
        self.linear = LinearLayer(prod(shape), parameters.width)

    def forward(self, inputs: Tensor) -> Tensor:
        values: Tensor = self.linear(inputs.flatten(-self.dimensions))
        return values
