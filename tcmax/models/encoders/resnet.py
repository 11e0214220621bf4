"""ResNet-18 from scratch, the encoder of the paper's audio-visual experiments (arXiv 1512.03385; methods §1.6)."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from tcmax.models.encoders.base import Encoder


@dataclass(frozen=True)
class ResNet18Parameters:
    """Nothing to set."""


class ResNet18(Encoder):
    """Torchvision's ResNet-18 without its classifier: standard stem for any number of channels, 512 features.

    Input (B, channels, height, width) for images, spectrograms and stacks of flow fields, or (B, frames, channels,
    height, width) for clips: every frame is encoded by itself, and the feature is the average over time and space.
    Kernels start Kaiming-normal by fan-out, as in the architecture's paper and in every code base compared here.
    """

    Parameters: ClassVar[type] = ResNet18Parameters

    def __init__(self, shape: tuple[int, ...], parameters: ResNet18Parameters) -> None:
        super().__init__(shape, parameters)
        if len(shape) not in (3, 4):
            raise ValueError(
                f"needs inputs (channels, height, width) or (frames, channels, height, width), not {shape}"
            )
        from torchvision.models import resnet18  # takes as long to import as torch itself

        network = resnet18(weights=None)
        network.conv1 = nn.Conv2d(shape[-3], 64, kernel_size=7, stride=2, padding=3, bias=False)
        for module in network.modules():
            if isinstance(module, nn.Conv2d):  # by the architecture's own rule, which is not that of a layer by itself
                start = partial(nn.init.kaiming_normal_, module.weight, mode="fan_out", nonlinearity="relu")
                module.reset_parameters = start  # type: ignore[assignment]
        self.width = network.fc.in_features
        # Up to the last residual stage: the average is taken here, over time as well as over space.
        self.layers = nn.Sequential(*list(network.children())[:-2])

    def forward(self, inputs: Tensor) -> Tensor:
        frames = inputs.flatten(0, 1) if inputs.ndim == 5 else inputs
        maps: Tensor = self.layers(frames).mean(dim=(-2, -1))
        return torch.unflatten(maps, 0, inputs.shape[:2]).mean(dim=1) if inputs.ndim == 5 else maps
