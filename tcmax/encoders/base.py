"""The contract of an encoder."""

from typing import Any, ClassVar

from torch import Tensor, nn


class Encoder(nn.Module):
    """Maps a batch (B, *shape) of one modality to features (B, width).

    Parameters: a frozen dataclass of the architecture's own settings, the only thing a config may set.
    width: length of the feature vector, known after construction.
    """

    Parameters: ClassVar[type]
    width: int

    def __init__(self, shape: tuple[int, ...], parameters: Any) -> None:
        super().__init__()

    def forward(self, inputs: Tensor) -> Tensor:
        raise NotImplementedError
