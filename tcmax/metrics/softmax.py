"""Log-probabilities from logits, in double precision."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def checked(logits: ArrayLike) -> NDArray[np.float64]:
    """Logits (..., classes) as float64. Raises ValueError for NaN, infinite or missing ones and for no classes."""
    values = np.asarray(logits, dtype=np.float64)
    if values.ndim < 1 or values.shape[-1] < 1:
        raise ValueError(f"logits have classes as their last axis, got the shape {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError("logits hold NaN or infinite values")
    return values


def checked_labels(labels: ArrayLike, n_items: int, n_classes: int) -> NDArray[np.intp]:
    """Labels (items,) as indices of classes. Raises ValueError when their number or their range does not fit."""
    values = np.asarray(labels)
    if values.shape != (n_items,):
        raise ValueError(f"{n_items} items need as many labels, got the shape {values.shape}")
    if not np.issubdtype(values.dtype, np.integer):
        raise ValueError(f"labels are integers, not {values.dtype}")
    if n_items and not (values.min() >= 0 and values.max() < n_classes):
        raise ValueError(f"labels lie in {values.min()}..{values.max()}, the logits have {n_classes} classes")
    return values.astype(np.intp)


def log_sum_exp(logits: ArrayLike) -> NDArray[np.float64]:
    """log Σ_c exp(u_c), with the maximum subtracted; logits (..., classes) to (...), in nats.

    Finite for every finite logit up to 1e308. Raises ValueError as `checked` does. Oracle: scipy.special.logsumexp.
    """
    values = checked(logits)
    highest = values.max(axis=-1, keepdims=True)
    shifted = np.exp(values - highest)
    result: NDArray[np.float64] = np.log(shifted.sum(axis=-1)) + highest[..., 0]
    return result


def log_softmax(logits: ArrayLike) -> NDArray[np.float64]:
    """log p_c = u_c − log Σ_k exp(u_k); logits (..., classes) to log-probabilities (..., classes), in nats.

    Finite even where p underflows to 0, which is why metrics are computed from it and never from log(p).
    Raises ValueError as `checked` does. Oracle: scipy.special.log_softmax, mpmath.
    """
    values = checked(logits)
    shifted = values - values.max(axis=-1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return shifted
