"""Fully connected encoder for small images and feature vectors."""

from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import ClassVar

from torch import Tensor, nn

from tcmax.models.encoders.base import Encoder
from tcmax.models.linear import Linear, linear


@dataclass(frozen=True)
class MLPParameters:
    """hidden: widths of the hidden layers; the last one is the feature."""

    hidden: tuple[int, ...] = (64, 64)

    def __post_init__(self) -> None:
        if not self.hidden or min(self.hidden) < 1:
            raise ValueError("hidden must list at least one positive width")


class MLP(Encoder):
    """Flatten, then (linear, ReLU) for each width."""

    Parameters: ClassVar[type] = MLPParameters
    side_by_side = True

    def __init__(self, shape: tuple[int, ...], parameters: MLPParameters) -> None:
        super().__init__(shape, parameters)
        widths = (prod(shape), *parameters.hidden)
        layers: list[nn.Module] = [nn.Flatten(-len(shape))]
        for narrow, wide in pairwise(widths):
            layers += [Linear(narrow, wide), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.width, self.dimensions = widths[-1], len(shape)

    def forward(self, inputs: Tensor) -> Tensor:
        # As `self.layers(inputs)`, without a module's call for every layer: a seventh of a small step's time.
        values = inputs.flatten(-self.dimensions)
        for layer in self.layers:
            if isinstance(layer, Linear):
                values = linear(values, layer.weight, layer.bias).relu_()
        return values
