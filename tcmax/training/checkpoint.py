"""Checkpoints: what an interrupted run needs to continue to identical bytes.

Random streams are derived per epoch (seeding.py), so a checkpoint taken between epochs needs no generator state: model,
optimiser, method buffers and the run's own record of its past are everything.
"""

import hashlib
import io
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tcmax.records.files import explained, write_bytes
from tcmax.training.loop import Runs, RunState

# A change of layout changes the number. A checksum follows, since torch loads altered weights without complaint.
MAGIC = b"tcmax checkpoint 4\n"


def save(path: Path, runs: Runs, run_key: str, place: int = 0) -> None:
    """Write a checkpoint of the run at this place among those that train together, atomically."""
    state = runs.states[place]
    best = {
        rule: {
            unit: (score, epoch, {name: torch.from_numpy(values) for name, values in logits.items()})
            for unit, (score, epoch, logits) in units.items()
        }
        for rule, units in state.best.items()
    }
    content = {
        "run_key": run_key,
        "epoch": state.epoch,
        "diverged": state.diverged,
        "history": state.history,
        "best": best,
        "weights": state.weights,
        "tensors": {part: {k: v.clone() for k, v in of.items()} for part, of in _tensors(runs, place).items()},
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    payload = buffer.getvalue()
    write_bytes(path, MAGIC + hashlib.sha256(payload).digest() + payload)


def _tensors(runs: Runs, place: int) -> dict[str, dict[str, Tensor]]:
    """What one run's model, optimiser and method consist of, as views that may be written to."""
    parts = {
        "model": runs.model.state_dict(),
        "optimizer": {"velocity": runs.optimizer.velocity},
        "method": runs.method.state_dict(),
    }
    if not runs.lead:
        return parts
    return {part: {name: tensor[place] for name, tensor in tensors.items()} for part, tensors in parts.items()}


def epoch_of(path: Path, run_key: str) -> int:
    """How many epochs a checkpoint of this key holds; 0 when there is none."""
    content = _load(path)
    return 0 if content is None or content["run_key"] != run_key else content["epoch"]


def restore(path: Path, runs: Runs, run_key: str, place: int = 0) -> bool:
    """Continue the run at this place from a checkpoint. False, leaving it untouched, when there is none of this key.

    Runs that train together have to be at one epoch (`epoch_of`).
    """
    content = _load(path)
    if content is None or content["run_key"] != run_key:
        return False
    for part, tensors in _tensors(runs, place).items():
        for name, tensor in tensors.items():
            tensor.copy_(content["tensors"][part][name])
    best = {
        rule: {
            unit: (score, epoch, {name: values.numpy() for name, values in logits.items()})
            for unit, (score, epoch, logits) in units.items()
        }
        for rule, units in content["best"].items()
    }
    history = [tuple(entry) for entry in content["history"]]
    runs.states[place] = RunState(content["epoch"], history, best, content["diverged"], weights=content["weights"])
    return True


def _load(path: Path) -> dict[str, Any] | None:
    """A checkpoint's content; None when it is missing, damaged or not a checkpoint (it is then simply not used)."""
    if not path.is_file():
        return None
    with explained("read", path):
        raw = path.read_bytes()
    start = len(MAGIC) + hashlib.sha256().digest_size
    digest, payload = raw[len(MAGIC) : start], raw[start:]
    if not raw.startswith(MAGIC) or hashlib.sha256(payload).digest() != digest:
        return None
    content: dict[str, Any] = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    return content


def every(seconds: float, paths: Sequence[Path], run_keys: Sequence[str]) -> Callable[[Runs], None]:
    """An `after_epoch` that saves all runs when `seconds` have passed since the last save; 0 does after every epoch.

    paths, run_keys: by place. A run that diverged is over and is not saved.
    """
    last = time.monotonic()

    def after_epoch(runs: Runs) -> None:
        nonlocal last
        if time.monotonic() - last < seconds or runs.epoch == runs.epochs:
            return
        for place, (path, run_key) in enumerate(zip(paths, run_keys, strict=True)):
            if not runs.states[place].diverged:
                save(path, runs, run_key, place)
        last = time.monotonic()

    return after_epoch
