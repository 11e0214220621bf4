"""Batches from a prepared store against a loader as the papers' code has it, and preparation by two processes.

    python benchmarks/loading.py [--items 96] [--clips 64] [--repeats 7] [--out FILE]

The baseline does for each item what the released loaders do: it lists the clip's folder, decodes three JPEGs (480 x 360
pixels, quality 95, about 60 kB) with Pillow, applies torchvision's RandomResizedCrop, flip, ToTensor and Normalize to
each, unpickles a spectrogram, and stacks 32 items. The store holds the same items, as `clip_maker` would
make them. Rates are items a second of one core's processor time, with files in the page cache: alternatives are
interleaved, and the least time of each is compared, since whatever else the machine does only adds to it. Ratios are
what to read. Not one to one: the store's frames were squeezed to 224 x 224 once.

Then: how far pixels are from torchvision's transforms of equal parameters, and how much faster two processes prepare
made-up clips than one, by the clock, which says something on an idle machine alone.
"""

import argparse
import json
import os
import pickle
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

import numpy as np
import torch
from PIL import Image
from rehearsal import write_clip
from torch import Tensor
from torchvision.transforms import functional, transforms

from tcmax.data.base import Card, Dataset, Fold
from tcmax.data.media.clip_maker import ClipMaker
from tcmax.data.media.clips import CLIP_SETS
from tcmax.data.media.prepared import stored_modalities
from tcmax.data.media.store import SHARDS, Array, Effort, Layout, build
from tcmax.data.views import DRAWS_PER_CROP, crop_boxes
from tcmax.training.augment import resized_crops, resized_together
from tcmax.training.loading import Rows, hold, part_of

HEIGHT, WIDTH, SIDE, FRAMES, BATCH = 360, 480, 224, 3, 32
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
CPU = torch.device("cpu")


def photo(number: int) -> Image.Image:
    """An image that JPEG finds as hard as a photograph: soft shapes under grain."""
    rng = np.random.default_rng(number)
    soft = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    soft = soft.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    grain = rng.normal(0, 3, (HEIGHT, WIDTH, 1))
    return Image.fromarray((np.asarray(soft) + grain).clip(0, 255).astype(np.uint8))


def write_items(folder: Path, n_items: int) -> None:
    """Item k: three JPEGs in the folder k, and a pickled spectrogram beside it."""
    for item in range(n_items):
        (folder / str(item)).mkdir()
        for frame in range(FRAMES):
            photo(FRAMES * item + frame).save(folder / str(item) / f"{frame:05d}.jpg", quality=95)
        spectrogram = np.random.default_rng(item).standard_normal((129, 862)).astype(np.float32)
        (folder / f"{item}.pkl").write_bytes(pickle.dumps(spectrogram))


def per_item(folder: Path) -> Callable[[np.ndarray], None]:
    """The baseline: batches of items that are read and transformed one by one."""
    transform = transforms.Compose(
        [
            transforms.RandomResizedCrop(SIDE),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )

    def load(item: int) -> tuple[Tensor, Tensor]:
        names = sorted(os.listdir(folder / str(item)))
        images = [transform(Image.open(folder / str(item) / name).convert("RGB")) for name in names]
        # Unpickling runs whatever code a file holds. These are this benchmark's own, written a moment ago in a folder
        # of its own; the papers' code unpickles, so that the comparison has to.
        with (folder / f"{item}.pkl").open("rb") as stream:
            spectrogram = pickle.load(stream)
        return torch.stack(images, 1), torch.from_numpy(spectrogram)[None]

    def epoch(order: np.ndarray) -> None:
        for start in range(0, len(order), BATCH):
            images, spectrograms = zip(*(load(item) for item in order[start : start + BATCH].tolist()), strict=True)
            torch.stack(images), torch.stack(spectrograms)

    return epoch


@dataclass(frozen=True)
class FromFiles:
    """Rows of the store from the baseline's files."""

    folder: Path

    def sources(self, row: int) -> Mapping[str, Path]:
        return {f"{row}.pkl": self.folder / f"{row}.pkl"}

    def __call__(self, row: int) -> tuple[Mapping[str, np.ndarray], Mapping[str, Any]]:
        with Image.open(self.folder / str(row) / "00000.jpg") as image:
            width, height = image.size
        frames = [Image.open(self.folder / str(row) / f"{frame:05d}.jpg") for frame in range(FRAMES)]
        squeezed = [np.asarray(frame.resize((SIDE, SIDE), Image.Resampling.BILINEAR)) for frame in frames]
        spectrogram = pickle.loads((self.folder / f"{row}.pkl").read_bytes())  # our own, as above
        return {"visual": np.stack(squeezed), "audio": spectrogram[None]}, {"width": width, "height": height}


def stored_dataset(folder: Path, n_items: int) -> Dataset:
    """A dataset on a store of the baseline's files, as `tcmax.data.media.prepared` opens one."""
    layout = Layout(
        arrays={"visual": Array((FRAMES, SIDE, SIDE, 3), "uint8"), "audio": Array((1, 129, 862), "float32")},
        items=tuple(f"item-{row}" for row in range(n_items)),
        settings={"size": SIDE, "quirks": {"sound.crop": "once"}},
        shard_items=16,
    )
    store = build(folder / "store", layout, FromFiles(folder))
    rows = np.arange(n_items)
    return Dataset(
        id="benchmark",
        inputs={},
        labels=rows % 2,
        class_names=("one", "other"),
        items=np.array(store.items),
        folds=(Fold(rows[:-2], rows[-2:-1], rows[-1:]),),
        card=Card(title="Benchmark", licence="none", source="generated", citation="none"),
        stored=stored_modalities(CLIP_SETS["crema-d"], store),
    )


def batches(part: Rows, until: str) -> Callable[[np.ndarray], None]:
    """An epoch of a part, up to what a processor does while a GPU trains ("read"), to bytes that are cropped and
    flipped ("augmented"), or to the floats that a model gets ("normalised")."""

    def epoch(order: np.ndarray) -> None:
        if until == "normalised":
            for _ in part.batches(order, BATCH):
                pass
            return
        for start in range(0, len(order), BATCH):
            _, raw, drawn = part._start(order[start : start + BATCH])
            if until == "augmented":
                boxes, mirrored = drawn.boxes["visual"].flatten(0, 1), drawn.mirrored["visual"].flatten()
                resized_crops(raw["visual"].flatten(0, 1), boxes, mirrored, SIDE)

    return epoch


def rates(epochs: dict[str, Callable[[np.ndarray], None]], n_items: int, repeats: int) -> dict[str, float]:
    """Items a second of processor time of each way to go through an epoch.

    An epoch is timed after one that is not, as in training, where epochs follow each other: memory that another way
    has given back would have to be fetched from the system first.
    """
    seconds: dict[str, list[float]] = {name: [] for name in epochs}
    for repeat in range(repeats):
        order = np.random.default_rng(repeat).permutation(n_items)
        for name, epoch in epochs.items():
            epoch(order)
            start = time.process_time()
            epoch(order)
            seconds[name].append(time.process_time() - start)
    return {name: n_items / min(taken) for name, taken in seconds.items()}


def largest_difference(resize: Callable[[Tensor, Tensor, Tensor, int], Tensor]) -> int:
    """Grey levels by which a pixel is at most away from torchvision's crop, resize and flip, over 64 crops."""
    frames = torch.from_numpy(np.stack([np.asarray(photo(k).resize((SIDE, SIDE))) for k in range(64)]))
    rng = np.random.default_rng(0)
    boxes = crop_boxes(rng.random((64, DRAWS_PER_CROP)), np.ones(64), SIDE)
    mirrored = rng.random(64) < 0.5
    ours = resize(frames, torch.from_numpy(boxes), torch.from_numpy(mirrored), SIDE).numpy().astype(int)
    largest = 0
    for frame, box, flip, found in zip(frames.numpy(), boxes.tolist(), mirrored, ours, strict=True):
        expected = functional.resized_crop(Image.fromarray(frame), *box, [SIDE, SIDE])
        expected = np.asarray(functional.hflip(expected) if flip else expected).astype(int)
        largest = max(largest, int(np.abs(found - expected).max()))
    return largest


def preparation_rate(folder: Path, n_clips: int, processes: int) -> float:
    """Shards a second, by the clock, at which the made-up clips below `folder`/media are prepared.

    Counted from when every process has finished a shard: each takes seconds to start, which a full set does not notice.
    """
    media, names = folder / "media", tuple(f"clip-{number}" for number in range(n_clips))
    make = ClipMaker(
        dataset="benchmark",
        source=media,
        clips=names,
        sound=tuple((media / "AudioWAV" / f"{name}.wav",) for name in names),
        picture=tuple((media / "VideoFlash" / f"{name}.flv",) for name in names),
        audio="spectrogram",
        frames=FRAMES,
        flow=0,
    )
    arrays = {name: Array(shape, dtype) for name, (shape, dtype) in make.arrays().items()}
    store = folder / f"store-{processes}"
    build(store, Layout(arrays, names, {}, shard_items=2), make, Effort(processes))
    finished = sorted(path.stat().st_mtime for path in (store / SHARDS).glob("*.json"))[processes - 1 :]
    return (len(finished) - 1) / (finished[-1] - finished[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=96, help="in an epoch, at least 64")
    parser.add_argument("--clips", type=int, default=64, help="prepared by one process, and by two; 0 leaves this out")
    parser.add_argument("--repeats", type=int, default=9, help="interleaved repeats, at least 5")
    parser.add_argument("--out", type=Path, help="also write the rows to this JSON file")
    arguments = parser.parse_args()
    if arguments.repeats < 5 or arguments.items < 64:
        parser.error("--repeats is at least 5, --items at least 64")
    torch.set_num_threads(1)
    rows: list[dict[str, object]] = []

    def report(what: str, value: float, unit: str, sign: str, line: float | None, detail: str) -> None:
        met = None if line is None else value <= line if sign == "<=" else value >= line
        rows.append({"what": what, "value": value, "unit": unit, "line": line, "met": met, "detail": detail})
        goal = f"{sign} {line:<4g} {'met' if met else 'MISSED':7s}" if line is not None else " " * 15
        print(f"{what:66s} {value:7.2f}{unit:2s} {goal} {detail}", flush=True)

    with tempfile.TemporaryDirectory(prefix="tcmax-loading-") as name:
        folder = Path(name)
        write_items(folder, arguments.items)
        dataset = stored_dataset(folder, arguments.items)
        everything = np.arange(arguments.items)
        epochs = {"baseline": per_item(folder)}
        for place, until in (("ram", "read"), ("ram", "augmented"), ("ram", "normalised"), ("mapped", "normalised")):
            held = hold(dataset, CPU, place)
            part = part_of(dataset, everything, CPU, torch.float32, held, ("benchmark", 0, 0), False).in_epoch(0)
            assert isinstance(part, Rows)
            epochs[f"{place}, {until}"] = batches(part, until)
        found = rates(epochs, arguments.items, arguments.repeats)
        size = sum(path.stat().st_size for path in folder.rglob("*.jpg")) / (FRAMES * arguments.items)
        print(f"{arguments.items} items of {FRAMES} JPEGs ({size / 1e3:.0f} kB) and a spectrogram; one core\n")
        lines = {
            "ram, read": ("items/s, read and drawn for a GPU / baseline", None),
            "ram, augmented": ("items/s, cropped and flipped, as bytes / baseline", 6.0),
            "ram, normalised": ("items/s, as floats for a model / baseline", 6.0),
            "mapped, normalised": ("items/s, as floats from memory maps / baseline", None),
        }
        for way, (what, line) in lines.items():
            detail = f"{found[way]:.0f} against {found['baseline']:.0f} items/s"
            report(what, found[way] / found["baseline"], "x", ">=", line, detail)
        for resize, where in ((resized_crops, "on a processor"), (resized_together, "by products, as on a GPU")):
            levels = largest_difference(resize)
            report(f"largest difference from torchvision, {where}", levels, "", "<=", 1, "grey levels")
        if arguments.clips:
            for kind in ("AudioWAV", "VideoFlash"):
                (folder / "media" / kind).mkdir(parents=True)
            for number in range(arguments.clips):
                write_clip(folder / "media", f"clip-{number}", number)
            one, two = (preparation_rate(folder, arguments.clips, processes) for processes in (1, 2))
            detail = f"{2 * two:.1f} against {2 * one:.1f} clips a second by the clock"
            report("preparation by two processes / by one", two / one, "x", ">=", 1.5, detail)
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
