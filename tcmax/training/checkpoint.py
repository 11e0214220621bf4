"""Checkpoints: what an interrupted run needs to continue to identical bytes.

Random streams are derived per epoch (seeding.py), so a checkpoint taken between epochs needs no generator state: model,
optimiser, method buffers and the run's own record of its past are everything.
"""

import hashlib
import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tcmax.files import explained, write_bytes
from tcmax.training.loop import Run, RunState

# A change of layout changes the number. A checksum follows, since torch loads altered weights without complaint.
MAGIC = b"tcmax checkpoint 2\n"


def save(path: Path, run: Run, run_key: str) -> None:
    """Write a checkpoint atomically."""
    state = run.state
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
        "model": run.model.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "method": run.method.state_dict(),
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    payload = buffer.getvalue()
    write_bytes(path, MAGIC + hashlib.sha256(payload).digest() + payload)


def restore(path: Path, run: Run, run_key: str) -> bool:
    """Continue `run` from a checkpoint. False, leaving the run untouched, when there is none of this key."""
    content = _load(path)
    if content is None or content["run_key"] != run_key:
        return False
    run.model.load_state_dict(content["model"])
    run.optimizer.load_state_dict(content["optimizer"])
    run.method.load_state_dict(content["method"])
    best = {
        rule: {
            unit: (score, epoch, {name: values.numpy() for name, values in logits.items()})
            for unit, (score, epoch, logits) in units.items()
        }
        for rule, units in content["best"].items()
    }
    history = [tuple(entry) for entry in content["history"]]
    run.state = RunState(content["epoch"], history, best, content["diverged"])
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


def every(seconds: float, path: Path, run_key: str) -> Callable[[Run], None]:
    """An `after_epoch` that saves when `seconds` have passed since the last save; 0 saves after every epoch."""
    last = time.monotonic()

    def after_epoch(run: Run) -> None:
        nonlocal last
        if time.monotonic() - last >= seconds and run.state.epoch < run.epochs and not run.state.diverged:
            save(path, run, run_key)
            last = time.monotonic()

    return after_epoch
