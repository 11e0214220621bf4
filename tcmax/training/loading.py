"""Parts of a dataset, handed out in batches on the device that trains.

Arrays are moved to the device as a whole. Modalities in files are held on the GPU, in memory, or behind memory maps
(`hold`), and reach the device as they are stored: all arithmetic is done there, so that where they are held changes no
byte. What is drawn for an item (crops, flips, the start of its sound) is a pure function of dataset, fold, seed, epoch
and item: whatever the batch, wherever a run is resumed, and the same for every variant of a seed.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import torch
from torch import Tensor

from tcmax.data.base import Dataset
from tcmax.data.media.sound_crop import N_STARTS
from tcmax.data.views import DRAWS_PER_CROP, Feature, Flow, Frames, Sound, Stored, crop_boxes
from tcmax.errors import TcmaxError
from tcmax.methods.base import Batch
from tcmax.seeding import generator
from tcmax.training.augment import fields, log_spectrograms, normalised, resized_crops

PASS_ITEMS = 512  # in a pass without gradients, of a dataset in arrays: a few seeds' worth stays in a cache
STORED_PASS_ITEMS = 64  # and of one in files, whose items are large; the papers test on as many
SHARE = 0.5  # of the memory that is free, which a dataset may take
AHEAD = 2  # batches that are read before they are asked for
READ_ROWS = 256  # rows that are read at once when a dataset is taken into memory

Place = Literal["gpu", "ram", "mapped"]
Read = Callable[[np.ndarray], Tensor]
_T = TypeVar("_T")
_U = TypeVar("_U")


@dataclass(frozen=True)
class Arrays:
    """Items that are on the device as a whole (a `tcmax.methods.base.TrainPart`).

    inputs: modality -> (n, ...). labels: (n,) int64.
    """

    inputs: dict[str, Tensor]
    labels: Tensor

    @property
    def pass_items(self) -> int:
        return PASS_ITEMS

    def in_epoch(self, epoch: int) -> "Arrays":
        """The items as an epoch sees them: always alike."""
        return self

    def batch(self, positions: Tensor) -> Batch:
        """The items at these positions, (..., B) int64 in 0..n-1."""
        flat = positions.flatten()
        inputs = {name: x.index_select(0, flat).unflatten(0, positions.shape) for name, x in self.inputs.items()}
        return Batch(inputs, self.labels.index_select(0, flat).view(positions.shape), positions)

    def batches(self, order: np.ndarray, size: int) -> Iterator[Batch]:
        """All items in this order (..., n), `size` at a time; the last, shorter batch is kept."""
        for positions in _pieces(order, size):
            yield self.batch(torch.from_numpy(positions).to(self.labels.device))

    def in_order(self) -> Iterator[dict[str, Tensor]]:
        """Inputs of all items, for a pass without gradients."""
        for start in range(0, len(self.labels), self.pass_items):
            yield {name: x[start : start + self.pass_items] for name, x in self.inputs.items()}


@dataclass(frozen=True)
class Residence:
    """Where modalities in files are held. read: modality -> row numbers to rows as stored, on the GPU or off it."""

    place: Place
    read: Mapping[str, Read]


def hold(dataset: Dataset, device: torch.device, place: Literal["auto"] | Place = "auto") -> Residence:
    """Take the modalities that a dataset has in files to where batches are made from them.

    auto: onto the GPU that trains if they take at most SHARE of its free memory, else into memory under the same rule,
    else behind memory maps. Raises TcmaxError when a GPU is asked for that does not train, or a file cannot be read.
    """
    if place == "gpu" and device.type != "cuda":
        raise TcmaxError("residence: gpu needs device: cuda; without it choose auto, ram or mapped.")
    if place == "auto":
        n_bytes = sum(stored.n_bytes for stored in dataset.stored.values())
        if device.type == "cuda" and n_bytes <= SHARE * torch.cuda.mem_get_info(device)[0]:
            place = "gpu"
        else:
            place = "ram" if n_bytes <= SHARE * free_memory() else "mapped"
    take: dict[str, Callable[[Stored], Read]]
    take = {"gpu": partial(_on_gpu, device), "ram": _in_memory, "mapped": _mapped}
    return Residence(place, {name: take[place](stored) for name, stored in dataset.stored.items()})


def _on_gpu(device: torch.device, stored: Stored) -> Read:
    one = torch.from_numpy(np.empty((), stored.dtype))
    whole = one.new_empty((stored.n_items, *stored.row_shape), device=device)
    for rows in _pieces(np.arange(stored.n_items), READ_ROWS):
        whole[rows[0] : rows[-1] + 1] = torch.from_numpy(stored.rows(rows))
    return lambda rows: whole.index_select(0, torch.from_numpy(rows).to(device))


def _in_memory(stored: Stored) -> Read:
    whole = np.empty((stored.n_items, *stored.row_shape), stored.dtype)
    for rows in _pieces(np.arange(stored.n_items), READ_ROWS):
        whole[rows] = stored.rows(rows)
    return lambda rows: torch.from_numpy(whole[rows])


def _mapped(stored: Stored) -> Read:
    return lambda rows: torch.from_numpy(stored.rows(rows))


def free_memory() -> int:
    """Bytes that this process may still take: what the system has available, or what its control groups leave."""
    meminfo, groups = Path("/proc/meminfo"), Path("/proc/self/cgroup")
    if not meminfo.is_file():  # not Linux
        return 0
    lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
    free = [int(lines["MemAvailable"].split()[0]) * 1024]
    for line in groups.read_text().splitlines() if groups.is_file() else ():
        root = Path("/sys/fs/cgroup")
        folder = root / line.split(":", 2)[2].lstrip("/")
        while line.startswith("0::") and folder.is_relative_to(root):
            limit, used = (_number(folder / name) for name in ("memory.max", "memory.current"))
            if limit is not None and used is not None:
                free.append(limit - used)
            folder = folder.parent
    return max(0, min(free))


def _number(path: Path) -> int | None:
    """The number in a file; None when there is no file, or a word such as "max" in it."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


@dataclass(frozen=True)
class Draw:
    """What is drawn for the items of a batch, by modality, on the CPU.

    boxes: (B, F, 4) int64 for frames. mirrored: (B, F) bool for frames, (B,) for flow. starts: (B,) int64 for sound.
    """

    boxes: dict[str, Tensor] = field(default_factory=dict)
    mirrored: dict[str, Tensor] = field(default_factory=dict)
    starts: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Rows:
    """Items whose modalities are in files (a `tcmax.methods.base.TrainPart`).

    rows: (n,) int64 row numbers in the dataset. labels: (n,) int64, on the device.
    root: of the run's random streams. epoch: whose draws are applied; None for items that are seen as they are.
    flow_never_flipped: value of the switch protocol.flow_never_flipped.
    """

    dataset: Dataset
    residence: Residence
    rows: np.ndarray
    labels: Tensor
    dtype: torch.dtype
    root: tuple[str | int, ...]
    flow_never_flipped: bool
    epoch: int | None = None

    @property
    def pass_items(self) -> int:
        return STORED_PASS_ITEMS

    def in_epoch(self, epoch: int) -> "Rows":
        """The items as an epoch sees them: cropped and flipped, the same way each time that they are looked at."""
        return replace(self, epoch=epoch)

    def batch(self, positions: Tensor) -> Batch:
        """The items at these positions, (B,) int64 in 0..n-1."""
        return self._finish(self._start(positions.cpu().numpy()))

    def batches(self, order: np.ndarray, size: int) -> Iterator[Batch]:
        """All items in this order, `size` at a time; the last, shorter batch is kept. A thread reads ahead."""
        for started in _ahead(self._start, _pieces(order, size)):
            yield self._finish(started)

    def in_order(self) -> Iterator[dict[str, Tensor]]:
        """Inputs of all items, for a pass without gradients."""
        for batch in self.batches(np.arange(len(self.rows)), self.pass_items):
            yield batch.inputs

    def draw(self, rows: np.ndarray) -> Draw:
        """What is drawn for these rows of the dataset; where nothing is, frames are whole and nothing is mirrored."""
        views = {name: stored.view for name, stored in self.dataset.stored.items()}
        # Switch protocol.flow_never_flipped: without it a clip that has flow is mirrored as a whole, or not at all.
        together = any(isinstance(view, Flow) for view in views.values()) and not self.flow_never_flipped
        clip = self._uniform("clip", rows, 1)[:, 0] < 0.5 if together else np.zeros(len(rows), dtype=bool)
        drawn = Draw()
        for name, view in views.items():
            match view:
                case Frames():
                    uniform = self._uniform(name, rows, view.n_frames * (DRAWS_PER_CROP + 1))
                    uniform = uniform.reshape(len(rows), view.n_frames, -1)
                    aspect = np.broadcast_to(view.aspect[rows, None], uniform.shape[:2])
                    boxes = crop_boxes(uniform[..., :DRAWS_PER_CROP], aspect, view.stored_side)
                    if self.epoch is None:
                        boxes[...] = 0, 0, view.stored_side, view.stored_side
                    mirrored = np.repeat(clip[:, None], view.n_frames, 1) if together else uniform[..., -1] < 0.5
                    drawn.boxes[name], drawn.mirrored[name] = torch.from_numpy(boxes), torch.from_numpy(mirrored)
                case Flow():
                    drawn.mirrored[name] = torch.from_numpy(clip)
                case Sound():
                    starts = view.starts[rows]
                    if self.epoch is not None:
                        starts = (self._uniform(name, rows, 1)[:, 0] * N_STARTS).astype(np.int64)
                    drawn.starts[name] = torch.from_numpy(starts)
        return drawn

    def _uniform(self, what: str, rows: np.ndarray, n_draws: int) -> np.ndarray:
        """(k, n_draws) on [0, 1), a stream for each item; all 0.5, which mirrors nothing, where nothing is drawn."""
        if self.epoch is None:
            return np.full((len(rows), n_draws), 0.5)
        items = self.dataset.items[rows].tolist()
        return np.stack([generator(*self.root, "augment", what, self.epoch, item).random(n_draws) for item in items])

    def _start(self, positions: np.ndarray) -> tuple[np.ndarray, dict[str, Tensor], Draw]:
        """What another thread can do of a batch: read, and draw."""
        rows = self.rows[positions]
        raw = {name: read(rows) for name, read in self.residence.read.items()}
        if self.labels.device.type == "cuda" and self.residence.place != "gpu":
            raw = {name: values.pin_memory() for name, values in raw.items()}
        return positions, raw, self.draw(rows)

    def _finish(self, started: tuple[np.ndarray, dict[str, Tensor], Draw]) -> Batch:
        positions, raw, drawn = started
        device = self.labels.device
        inputs = {}
        for name, array in self.dataset.inputs.items():
            inputs[name] = torch.from_numpy(array[self.rows[positions]]).to(device, self.dtype)
        for name, values in raw.items():
            inputs[name] = self._seen(name, values.to(device, non_blocking=True), drawn)
        chosen = torch.from_numpy(positions).to(device)
        return Batch(inputs, self.labels.index_select(0, chosen), chosen)

    def _seen(self, name: str, values: Tensor, drawn: Draw) -> Tensor:
        """What a model gets of rows (B, ...) as they are stored."""
        view = self.dataset.stored[name].view
        match view:
            case Frames():
                frames = values.flatten(0, 1)
                if self.epoch is not None or view.side != view.stored_side:
                    boxes, mirrored = drawn.boxes[name].flatten(0, 1), drawn.mirrored[name].flatten()
                    frames = resized_crops(frames, boxes, mirrored, view.side)
                result: Tensor = normalised(frames, self.dtype).unflatten(0, values.shape[:2])
                return result
            case Flow():
                return fields(values, drawn.mirrored[name], view.side, view.transposed, self.dtype)
            case Sound():
                return log_spectrograms(values, drawn.starts[name], self.dtype)
            case Feature():
                return values.to(self.dtype)


def part_of(
    dataset: Dataset,
    rows: np.ndarray,
    device: torch.device,
    dtype: torch.dtype,
    residence: Residence,
    root: tuple[str | int, ...],
    flow_never_flipped: bool,
) -> Arrays | Rows:
    """The items in these rows of a dataset, in this order, as they are seen outside training.

    residence: of `hold`, without effect on a dataset in arrays. root, flow_never_flipped: as of `Rows`.
    """
    labels = torch.from_numpy(dataset.labels[rows]).to(device)
    if dataset.stored:
        return Rows(dataset, residence, rows, labels, dtype, root, flow_never_flipped)
    return Arrays({name: torch.from_numpy(x[rows]).to(device, dtype) for name, x in dataset.inputs.items()}, labels)


def _pieces(order: np.ndarray, size: int) -> Iterator[np.ndarray]:
    return (order[..., start : start + size] for start in range(0, order.shape[-1], size))


def _ahead(make: Callable[[_T], _U], of: Iterable[_T]) -> Iterator[_U]:
    """make(one) for each, in order, made by a thread that is AHEAD of what is asked for."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")
    pending: deque[Future[_U]] = deque()
    try:
        for one in of:
            pending.append(pool.submit(make, one))
            if len(pending) > AHEAD:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
