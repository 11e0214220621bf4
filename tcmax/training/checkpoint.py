"""Checkpoints: what an interrupted run needs to continue to identical bytes.

Random streams are derived per epoch (seeding.py), so a checkpoint taken between epochs needs no generator state: model,
optimiser, method buffers and the run's own record of its past are everything.
"""

import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tcmax.files import atomic_path
from tcmax.training.loop import Run, RunState


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
    with atomic_path(path) as temporary:
        torch.save(content, temporary)


def restore(path: Path, run: Run, run_key: str) -> bool:
    """Continue `run` from a checkpoint. False, leaving the run untouched, when there is none of this key."""
    content = _load(path)
    if content is None or content.get("run_key") != run_key:
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
    """A checkpoint's content; None when it is missing or cannot be read (it is then simply not used)."""
    if not path.is_file():
        return None
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, OSError, EOFError, ValueError, KeyError, pickle.UnpicklingError):
        return None
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
