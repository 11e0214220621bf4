"""One training step of a method on a tiny model in float64, with weights before and after."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import longhand
import numpy as np
import tiny
import torch

from tcmax.methods.base import Batch, Progress
from tcmax.models.sgd import SGD
from tcmax.training.spec import resolve_run

RATE, DECAY = 0.3, 1e-2


@dataclass
class Step:
    """before, after, gradients: weights by name. x, y: the batch. logged: what the method reported."""

    before: longhand.Arrays
    after: longhand.Arrays
    gradients: longhand.Arrays
    x: longhand.Arrays
    y: longhand.Array
    logged: dict[str, float]
    model: torch.nn.Module


def parts(
    variant: Any, dataset: Any = None, encoder: Any = None, seed: int = 0, **changes: Any
) -> tuple[Any, Any, Any]:
    """Model, method and dataset of a variant."""
    dataset = dataset or tiny.dataset()
    experiment = tiny.experiment(
        variants={"v": variant},
        precision=changes.pop("precision", "float64"),
        datasets={"tiny": {"encoder": encoder or {"name": "mlp", "hidden": [5, 4]}}},
        training=tiny.training(**changes),
    )
    spec = resolve_run(experiment, dataset, "tiny", 0, "v")
    model, method = spec.build_model(dataset, seed), spec.build_method(dataset)
    method.check(model)
    method.bind(model)
    return model, method, dataset


def batch_of(dataset: Any, size: int = 7, scale: float = 1.0, dtype: torch.dtype = torch.float64) -> Batch:
    rows = dataset.folds[0].train[:size]
    inputs = {name: torch.from_numpy(x[rows]).to(dtype) * scale for name, x in dataset.inputs.items()}
    return Batch(inputs, torch.from_numpy(dataset.labels[rows]), torch.arange(size))


def progress(epoch: int = 0, epochs: int = 4, seed: int = 0) -> Progress:
    return Progress(epoch, epochs, 0, 1, (("tiny", 0, seed, "m"),), torch.device("cpu"))


def take(
    variant: Any,
    *,
    epoch: int = 0,
    size: int = 7,
    scale: float = 1.0,
    prepare: Callable[[Any], object] | None = None,
    **options: Any,
) -> Step:
    """One SGD step (momentum 0.9, decay) from the initial weights; `prepare(model)` may change them first."""
    model, method, dataset = parts(variant, **options)
    if prepare:
        prepare(model)
    batch = batch_of(dataset, size, scale)
    optimizer = SGD(model.parameters(), lr=RATE, momentum=0.9, weight_decay=DECAY)
    before = longhand.weights(model)
    logged = method.step(model, batch, optimizer, progress(epoch))
    gradients = {
        name: weight.grad.numpy().copy() for name, weight in model.named_parameters() if weight.grad is not None
    }
    x = {name: value.numpy() for name, value in batch.inputs.items()}
    y = batch.labels.numpy()
    logged = {name: value.item() for name, value in logged.items()}
    return Step(before, longhand.weights(model), gradients, x, y, logged, model)


def close(one: Mapping[str, Any], other: Mapping[str, Any], tolerance: float = 1e-11) -> None:
    assert set(one) == set(other)
    for name in one:
        np.testing.assert_allclose(one[name], other[name], rtol=tolerance, atol=tolerance, err_msg=name)
