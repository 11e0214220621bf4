"""Forward and backward passes of a small model written out in NumPy float64, as an oracle for training steps.

The model: per modality a two-layer perceptron z = relu(W2 relu(W1 x + b1) + b2), then a linear head. Nothing here is
imported from the package; a model enters as its dictionary of weights.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

Array = Any  # of NumPy, float64
Arrays = dict[str, Any]  # by the name of a weight or a modality


def weights(model: Any) -> Arrays:
    return {name: value.detach().double().numpy().copy() for name, value in model.state_dict().items()}


def softmax(logits: Array) -> Array:
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def one_hot(labels: Array, n_classes: int) -> Array:
    return np.eye(n_classes)[labels]


def encode(w: Arrays, name: str, x: Array) -> tuple[Array, tuple[Array, ...]]:
    """Features and what backward needs."""
    path = f"encoder.{name}.layers"
    x = x.reshape(len(x), -1)
    first = x @ w[f"{path}.1.weight"].T + w[f"{path}.1.bias"]
    hidden = np.maximum(first, 0)
    second = hidden @ w[f"{path}.3.weight"].T + w[f"{path}.3.bias"]
    return np.maximum(second, 0), (x, first, hidden, second)


def encode_backward(w: Arrays, name: str, memory: tuple[Array, ...], d_features: Array) -> Arrays:
    """Gradients of an encoder's weights from the gradient of its features."""
    path = f"encoder.{name}.layers"
    x, first, hidden, second = memory
    d_second = d_features * (second > 0)
    d_first = (d_second @ w[f"{path}.3.weight"]) * (first > 0)
    return {
        f"{path}.1.weight": d_first.T @ x,
        f"{path}.1.bias": d_first.sum(axis=0),
        f"{path}.3.weight": d_second.T @ hidden,
        f"{path}.3.bias": d_second.sum(axis=0),
    }


def concat_head(w: Arrays, features: Arrays) -> tuple[Arrays, dict[str, slice]]:
    """Unimodal logits W_m z_m + b/M, and the slice of columns of each modality."""
    slices, start = {}, 0
    for name, z in features.items():
        slices[name] = slice(start, start + z.shape[1])
        start += z.shape[1]
    matrix, bias = w["head.linear.weight"], w["head.linear.bias"] / len(features)
    return {name: z @ matrix[:, slices[name]].T + bias for name, z in features.items()}, slices


def concat_backward(
    w: Arrays, features: Arrays, slices: Mapping[str, slice], d_logits: Arrays
) -> tuple[Arrays, Arrays]:
    """Gradients of the head and of the features from the gradient of each unimodal logit."""
    d_matrix = np.concatenate([d_logits[name].T @ features[name] for name in features], axis=1)
    d_bias = sum(d_logits[name].sum(axis=0) for name in features) / len(features)
    d_features = {name: d_logits[name] @ w["head.linear.weight"][:, slices[name]] for name in features}
    return {"head.linear.weight": d_matrix, "head.linear.bias": d_bias}, d_features


def concat_gradients(w: Arrays, inputs: Arrays, d_unimodal: Callable[[Arrays], Arrays]) -> tuple[Arrays, Arrays]:
    """Gradient of every weight of a Concat model; `d_unimodal` maps unimodal logits to their gradients."""
    encoded = {name: encode(w, name, x) for name, x in inputs.items()}
    features = {name: z for name, (z, _) in encoded.items()}
    unimodal, slices = concat_head(w, features)
    head, d_features = concat_backward(w, features, slices, d_unimodal(unimodal))
    gradients = dict(head)
    for name in inputs:
        gradients |= encode_backward(w, name, encoded[name][1], d_features[name])
    return gradients, unimodal


def cross_entropy_gradient(logits: Array, labels: Array) -> Array:
    return (softmax(logits) - one_hot(labels, logits.shape[1])) / len(labels)


def total_correlation(
    unimodal: Arrays, labels: Array, tuples: Sequence[Sequence[int]] | None = None
) -> tuple[float, Arrays]:
    """Eq. 14 / 15 by enumeration: value, and its gradient in every unimodal logit."""
    names = list(unimodal)
    batch, n_classes = unimodal[names[0]].shape
    if tuples is None:
        tuples = list(itertools.product(range(batch), repeat=len(names)))
    scores = np.array(
        [
            [sum(unimodal[m][k, c] for m, k in zip(names, rows, strict=True)) for c in range(n_classes)]
            for rows in tuples
        ]
    )
    share = np.exp(scores) / np.exp(scores).sum()
    matched = np.mean([sum(unimodal[m][i, labels[i]] for m in names) for i in range(batch)])
    value = np.log(np.exp(scores).sum()) - np.log(len(tuples)) - np.log(n_classes) - matched
    gradients = {}
    for position, name in enumerate(names):
        gradient = -one_hot(labels, n_classes) / batch
        for rows, row_share in zip(tuples, share, strict=True):
            gradient[rows[position]] += row_share
        gradients[name] = gradient
    return value, gradients


def sgd(w: Arrays, gradients: Arrays, learning_rate: float, weight_decay: float) -> Arrays:
    """First step of SGD with momentum, where the buffer is the decayed gradient itself."""
    return {name: value - learning_rate * (gradients[name] + weight_decay * value) for name, value in w.items()}
