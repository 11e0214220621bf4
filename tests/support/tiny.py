"""A tiny synthetic dataset and experiment, so that a test trains a whole run in milliseconds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tcmax.data.base import Card, Dataset, Fold
from tcmax.experiment.grid import Experiment
from tcmax.experiment.settings import ExperimentSettings

SHAPES = {"left": (3,), "right": (2,)}
CARD = Card(title="Tiny", licence="CC0", source="synthetic", citation="none")


def dataset(
    shapes: Mapping[str, tuple[int, ...]] = SHAPES,
    *,
    train: int = 26,
    val: int = 12,
    test: int = 13,
    n_classes: int = 3,
    seed: int = 0,
    noise: float = 1.0,
    **changes: Any,
) -> Dataset:
    """Class means plus noise in every modality; items belong to four speakers; one fold."""
    rng = np.random.default_rng(seed)
    n = train + val + test
    labels = rng.integers(n_classes, size=n)
    inputs = {
        name: (rng.standard_normal((n_classes, *shape))[labels] + noise * rng.standard_normal((n, *shape))).astype("f4")
        for name, shape in shapes.items()
    }
    rows = rng.permutation(n)
    parts = np.split(rows, [train, train + val])
    content: dict[str, Any] = {
        "id": "tiny",
        "inputs": inputs,
        "labels": labels.astype(np.int64),
        "class_names": tuple(f"class {index}" for index in range(n_classes)),
        "items": np.array([f"item-{row:02d}" for row in range(n)]),
        "folds": (Fold(*(np.sort(part) for part in parts)),),
        "card": CARD,
        "groups": {"speaker": np.array([f"speaker-{row % 4}" for row in range(n)])},
    }
    return Dataset(**{**content, **changes})


VARIANTS: dict[str, dict[str, Any]] = {
    "joint": {"method": "joint", "head": "concat"},
    "ogm-ge": {"method": "ogm-ge", "head": "concat", "parameters": {"modulated": "weights"}},
    "unimodal": {"method": "unimodal", "head": "sum"},
    "tcmax": {"method": "tcmax", "head": "shared-head", "parameters": {"negatives": 9}},
}


def raw(**changes: Any) -> dict[str, Any]:
    """What a valid experiment file says, with top-level keys replaced."""
    content = {
        "name": "tiny",
        "title": "Tiny",
        "seeds": [0, 1],
        "seeds_per_job": 2,
        "training": {"epochs": 4, "batch_size": 8, "learning_rate": 0.1, "lr_drop_epochs": [3]},
        "datasets": {"tiny": {"encoder": {"name": "mlp", "hidden": [4]}}},
        "variants": VARIANTS,
    }
    return {**content, **changes}


def experiment(**changes: Any) -> Experiment:
    """A valid experiment, as if read from config/tiny.yaml."""
    return Experiment(Path("config/tiny.yaml"), ExperimentSettings.model_validate(raw(**changes)))


def training(**changes: Any) -> dict[str, Any]:
    """Training settings with some replaced."""
    return {**raw()["training"], **changes}


def three_folds() -> Dataset:
    """The same items in three folds, each tested once."""
    thirds = np.split(np.arange(51), 3)
    folds = tuple(Fold(thirds[k - 2], thirds[k - 1], thirds[k]) for k in range(3))
    return dataset(folds=folds)
