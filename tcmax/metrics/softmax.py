"""Log-probabilities from logits, in double precision."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Forecast:
    """Logits with what metrics make of them, computed once for all: every metric takes one in place of its logits.

    logits, log_p   (..., classes): as given; log_p_c = u_c − log Σ_k exp(u_k)
    log_z           (...): log Σ_c exp(u_c)
    """

    logits: NDArray[np.float64]
    log_p: NDArray[np.float64]
    log_z: NDArray[np.float64]

    @cached_property
    def p(self) -> NDArray[np.float64]:
        """(..., classes) probabilities."""
        return np.exp(self.log_p)


Logits = ArrayLike | Forecast


def forecast_of(logits: Logits) -> Forecast:
    """The forecast of logits (..., classes); one that was made before as it is.

    Their maximum is subtracted first, so that log_z is finite for every finite logit up to 1e308 and log_p even where p
    underflows to 0, which is why metrics are computed from it and never from log(p).
    Raises ValueError as `checked` does. Oracle: scipy.special.log_softmax and logsumexp, mpmath.
    """
    if isinstance(logits, Forecast):
        return logits
    values = checked(logits)
    highest = values.max(axis=-1, keepdims=True)
    shifted = values - highest
    log_sum = np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    shifted -= log_sum
    return Forecast(values, shifted, (log_sum + highest)[..., 0])


def by_modality(logits: Logits) -> Forecast:
    """The forecasts of several modalities, one per entry of the first axis; ValueError for none."""
    forecast = forecast_of(logits)
    if forecast.logits.ndim < 2 or not len(forecast.logits):
        raise ValueError(
            f"logits are (modalities, ..., classes) with at least one modality, got {forecast.logits.shape}"
        )
    return forecast


def checked(logits: Logits) -> NDArray[np.float64]:
    """Logits (..., classes) as float64. Raises ValueError for NaN, infinite or missing ones and for no classes."""
    if isinstance(logits, Forecast):
        return logits.logits
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
