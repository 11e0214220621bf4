"""One score of a run's predictions, as a search for settings judges trials by."""

from typing import Any

import numpy as np
import pyarrow as pa

from tcmax.errors import TcmaxError
from tcmax.metrics.accuracy import accuracy, balanced_accuracy, macro_f1, predict
from tcmax.metrics.calibration import brier, nll
from tcmax.metrics.readout import energy_weighted, entropy_gated
from tcmax.metrics.softmax import Logits, forecast_of
from tcmax.records import parquet


def logits_of(table: pa.Table, header: dict[str, Any], readout: str, where: str) -> Logits:
    """(items, classes) logits of a read-out of PREDICTIONS; "own" is the one its header names.

    Raises TcmaxError starting with `where` when there is no such read-out.
    """
    named = header.get("readout", "joint") if readout == "own" else readout
    stored = parquet.readouts(table)
    if named in stored:
        return parquet.logits(table, named).astype(np.float64)
    modalities = [name for name in stored if name not in ("joint", "own")]
    derived = {"joint_entropy_gated": entropy_gated, "joint_energy_weighted": energy_weighted}
    if named not in derived:
        raise TcmaxError(f"{where}: there is no read-out {named!r}; known: {', '.join(['own', *stored, *derived])}.")
    single = forecast_of(np.stack([parquet.logits(table, name) for name in modalities]))
    return derived[named](single)


def score_of(table: pa.Table, header: dict[str, Any], metric: str, readout: str, where: str) -> float:
    """A metric over all rows of PREDICTIONS, in its own unit. Raises TcmaxError as `logits_of` does."""
    logits, labels = logits_of(table, header, readout, where), table["label"].to_numpy()
    match metric:
        case "accuracy":
            return float(accuracy(predict(logits), labels))
        case "balanced_accuracy":
            return float(balanced_accuracy(predict(logits), labels))
        case "macro_f1":
            return float(macro_f1(predict(logits), labels))
        case "nll":
            return float(np.mean(nll(logits, labels)))
        case "brier":
            return float(np.mean(brier(logits, labels)))
    raise TcmaxError(f"{where}: trials cannot be judged by {metric!r}.")
