"""Modalities whose rows stay in files, and how a stored row becomes what a model gets.

Descriptions and draws only, in NumPy: `tcmax.training.loading` reads the rows, and `tcmax.training.augment` computes on
the device that trains.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

SIDE = 224  # pixels of a frame as a model gets it; stored frames that are smaller stay as they are
CROP_AREA, CROP_RATIO = (0.08, 1.0), (3 / 4, 4 / 3)  # share of the frame; width over height (methods §1.4)
CROP_TRIES = 10  # boxes drawn before the largest central one is taken, as in torchvision
DRAWS_PER_CROP = 2 * CROP_TRIES + 2  # area and ratio of each try, two for the place


@dataclass(frozen=True)
class Frames:
    """Stored as (F, S, S, 3) uint8; a model gets (F, 3, side, side), normalised.

    While training, every frame has a random resized crop of its own.

    stored_side: S. aspect: (N,) float64, width over height of each clip before its frames were squeezed to a square.
    """

    n_frames: int
    stored_side: int
    aspect: np.ndarray

    @property
    def side(self) -> int:
        return min(self.stored_side, SIDE)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of an item as a model gets it."""
        return (self.n_frames, 3, self.side, self.side)


@dataclass(frozen=True)
class Flow:
    """Stored as (2 n, S, S), n fields of motion to the right, then n downwards; a model gets (2 n, side, side).

    transposed: a field's rows are the clip's columns, as the released preparation leaves them.
    """

    n_fields: int
    stored_side: int
    transposed: bool

    @property
    def side(self) -> int:
        return min(self.stored_side, SIDE)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of an item as a model gets it."""
        return (2 * self.n_fields, self.side, self.side)


@dataclass(frozen=True)
class Sound:
    """Stored as ten seconds of samples; a model gets the log spectrogram of five, from elsewhere in each epoch.

    starts: (N,) int64, where the crop of an item starts when it does not train. shape: of a spectrogram.
    """

    starts: np.ndarray
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Feature:
    """Stored as a model gets it."""

    shape: tuple[int, ...]


@dataclass(frozen=True)
class Stored:
    """One modality of a dataset that stays in files.

    rows: (k,) int64 row numbers -> (k, *row_shape) of `dtype`, as stored, in that order. view: what becomes of a row.
    digest: checksum of the content of all rows, and of what else the view depends on.
    verify: compares all rows with their checksums; raises TcmaxError when they are not what was written.
    """

    n_items: int
    row_shape: tuple[int, ...]
    dtype: np.dtype
    rows: Callable[[np.ndarray], np.ndarray]
    view: Frames | Flow | Sound | Feature
    digest: str
    verify: Callable[[], None]

    @property
    def n_bytes(self) -> int:
        """Of all rows."""
        return self.n_items * math.prod(self.row_shape) * self.dtype.itemsize


def crop_boxes(uniform: np.ndarray, aspect: np.ndarray, side: int) -> np.ndarray:
    """Boxes of random resized crops: (..., 4) int64, top, left, height, width in pixels of a square frame.

    Area and ratio are those of the clip before it was squeezed: a share of it within CROP_AREA, uniform, and a ratio
    within CROP_RATIO, log-uniform. The first of CROP_TRIES that fits is taken, at a uniform place; when none fits, the
    largest central box with the nearest ratio. For a square clip this is the law of torchvision's RandomResizedCrop.

    uniform: (..., DRAWS_PER_CROP) on [0, 1). aspect: (...) width over height of the clip. side: of the stored frame.
    """
    tries = uniform[..., : 2 * CROP_TRIES].reshape(*uniform.shape[:-1], CROP_TRIES, 2)
    area = CROP_AREA[0] + (CROP_AREA[1] - CROP_AREA[0]) * tries[..., 0]
    low, high = np.log(CROP_RATIO)
    ratio = np.exp(low + (high - low) * tries[..., 1]) / aspect[..., None]  # in pixels of the squeezed frame
    drawn = side * np.sqrt(np.stack([area / ratio, area * ratio], axis=-1))  # height and width of each try
    central = np.clip(aspect, *CROP_RATIO) / aspect
    largest = side * np.minimum(np.stack([1 / central, central], axis=-1), 1)
    sizes = np.rint(np.concatenate([drawn, largest[..., None, :]], axis=-2)).astype(np.int64)
    chosen = ((sizes >= 1) & (sizes <= side)).all(-1).argmax(-1)  # the first that fits; the central one always does
    size = np.take_along_axis(sizes, chosen[..., None, None], axis=-2)[..., 0, :]
    room = side - size
    place = np.floor(uniform[..., 2 * CROP_TRIES :] * (room + 1)).astype(np.int64)
    corner = np.where((chosen == CROP_TRIES)[..., None], room // 2, place)
    return np.concatenate([corner, size], axis=-1)
