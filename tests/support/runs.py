"""Whole runs on the tiny dataset."""

from typing import Any

import tiny
import torch
from single import Run

from tcmax.training.spec import resolve_run

CPU = torch.device("cpu")
OWN_SPLIT = {"protocol.file_order_split": False}  # for a released method on the tiny dataset's own split


def make(
    variant: Any = "joint", seed: int = 0, dataset: Any = None, cls: Any = Run, experiment: Any = None, **changes: Any
) -> Any:
    """A run that has not started; `variant` is a label of tiny.VARIANTS or a variant's settings."""
    dataset = dataset or tiny.dataset()
    settings = tiny.VARIANTS[variant] if isinstance(variant, str) else variant
    experiment = experiment or tiny.experiment(variants={"v": settings}, **changes)
    return cls(resolve_run(experiment, dataset, "tiny", 0, "v"), seed, dataset, CPU)


def digest(result: Any) -> tuple[Any, ...]:
    """Everything a result says, in a form that compares bit for bit."""
    kept = {
        rule: (
            selected.epochs,
            {name: (values.dtype.str, values.tobytes()) for name, values in selected.logits.items()},
        )
        for rule, selected in result.selected.items()
    }
    return kept, result.history, result.diverged_epoch
