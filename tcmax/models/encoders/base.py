"""The contract of an encoder."""

from typing import Any, ClassVar

from torch import Tensor, nn


class Encoder(nn.Module):
    """Maps a batch (B, *shape) of one modality to features (B, width).

    Parameters: a frozen dataclass of the architecture's own settings, the only thing a config may set.
    side_by_side: promises to take a leading axis of seeds, of inputs and parameters, and to keep the seeds apart
        (tcmax.models.classifier); else they train one after another. A subclass has to promise anew.
    width: length of the feature vector, known after construction.
    """

    Parameters: ClassVar[type]
    side_by_side: ClassVar[bool] = False
    width: int

    def __init__(self, shape: tuple[int, ...], parameters: Any) -> None:
        super().__init__()

    def forward(self, inputs: Tensor) -> Tensor:
        raise NotImplementedError
