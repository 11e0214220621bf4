"""Rows of EVIDENCE: from estimates and differences to columns."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tcmax.evidence.scores import Compared
from tcmax.metrics import METRICS
from tcmax.records import kinds, parquet
from tcmax.seeding import generator
from tcmax.stats.crossed import Crossed, Population, clipped, interval, one_sided_p, refusal
from tcmax.stats.effects import hedges_g_paired
from tcmax.stats.paired import SignFlip, mcnemar, sign_flip_seeds

POPULATIONS: tuple[Population, ...] = ("seeds", "items", "both")
ALPHA = 0.05
# Metrics that chance alone makes larger, so that an interval would hardly ever hold their true value.
_BIASED = "chance alone makes a calibration error positive, so that it has no interval"
BIASED = {"ece": _BIASED, "ece_calibrated": _BIASED}


def blank(**given: Any) -> dict[str, Any]:
    """One row of EVIDENCE with the given columns; the others are missing. Notes are joined with "; ".

    Where nothing else is said, it is about one dataset, with diverged runs removed.
    """
    row: dict[str, Any] = dict.fromkeys(kinds.EVIDENCE.columns) | {"treatment": "removed", "n_datasets": 1}
    unknown = set(given) - set(row)
    if unknown:
        raise ValueError(f"EVIDENCE has no column {sorted(unknown)}")
    row.update(given)
    row["notes"] = "; ".join(dict.fromkeys(str(note) for note in row["notes"] or () if note))
    return row


def measured(
    c: Crossed, population: Population, alpha: float, margin: float | None = None, of: str | None = None
) -> dict[str, Any]:
    """The columns of EVIDENCE that follow from a Crossed: interval, p against the margin, variance parts, sizes.

    of: the metric, whose range bounds are printed within, a difference where there is a margin; p is not affected.
    Where the design cannot speak for the population, and for a metric in `BIASED`, the interval and p are missing; the
    caller notes why.
    """
    columns: dict[str, Any] = {
        "estimate": c.estimate,
        "alpha": alpha,
        "margin": margin,
        "n_seeds": c.n_seeds,
        "n_items": c.n_items,
        "variance_seeds": _known(c.a),
        "variance_items": _known(c.b),
        "variance_residual": _known(c.e),
    }
    if refusal(c, population) is None and of not in BIASED:
        found = interval(c, population, alpha)
        if of is not None:
            found = clipped(found, *range_of(of, difference=margin is not None))
        columns |= {"low": found.low, "high": found.high, "df": found.df}
        if margin is not None:
            greater, less = (one_sided_p(c, margin, population, side) for side in ("greater", "less"))
            columns |= {"p_greater": greater, "p_less": less, "p": min(1.0, 2 * min(greater, less))}
    return columns


def write_evidence(path: Path, rows: Sequence[dict[str, Any]], metadata: dict[str, Any]) -> None:
    """Write rows of `blank` as an EVIDENCE record."""
    columns = {name: [row[name] for row in rows] for name in kinds.EVIDENCE.columns}
    parquet.write(path, kinds.EVIDENCE, columns, metadata)


def sign_flip_of(compared: Compared, name: str) -> SignFlip | None:
    """Sign-flip test over seeds of a paired comparison; None for one seed or independent ones."""
    if compared.pairing != "paired" or len(compared.a) < 2:
        return None
    return sign_flip_seeds(compared.a - compared.b, rng=generator("sign-flip", name))


def effect_of(compared: Compared, metric: str) -> tuple[str | None, float | None, list[str]]:
    """An effect size and notes: net items won per run for accuracy, else Hedges g over paired seeds."""
    notes: list[str] = []
    size: float | None = None
    if compared.pairing == "paired" and len(compared.a) >= 3:
        g = hedges_g_paired((compared.a - compared.b).mean(axis=1), compared.crossed.scale)
        size = g if np.isfinite(g) else None
    if METRICS[metric].item_column != "correct" or compared.a.shape[1] == 1:
        return ("Hedges g of paired seeds", size, notes) if size is not None else (None, None, notes)
    if size is not None:
        notes.append(f"Hedges g of paired seeds {size:.2f}")
    if compared.pairing == "paired":
        runs = mcnemar(compared.a, compared.b)
        below = int(np.count_nonzero(runs.p_value <= ALPHA))
        notes.append(
            f"McNemar of each run: p <= {ALPHA:g} in {below} of {len(runs.p_value)}, median p "
            f"{float(np.median(runs.p_value)):.2g}"
        )
    net = (compared.a.mean() - compared.b.mean()) * compared.a.shape[1]
    return "net items won per run", float(net), notes


def range_of(metric: str, difference: bool) -> tuple[float, float]:
    """What values of a metric, or differences of two, can be."""
    described = METRICS[metric]
    if difference:
        return -described.largest_difference, described.largest_difference
    low, high = described.low, described.high
    return -np.inf if low is None else low, np.inf if high is None else high


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value
