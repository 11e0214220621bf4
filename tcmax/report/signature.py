"""The line that says what a number is: metric, what was compared, population, alpha, sizes, selection, correction."""

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from tcmax import __version__


def signed(**facts: object) -> str:
    """Facts of one number as "metric:accuracy | read-out:own | ...", those that are None left out, and the version."""
    named = {name.replace("_", "-"): value for name, value in {**facts, "version": __version__}.items()}
    return " | ".join(f"{name}:{value}" for name, value in named.items() if value is not None)


def signature(row: Mapping[str, Any] | Mapping[Hashable, Any] | pd.Series) -> str:
    """One row of EVIDENCE in one line, for a reader who finds the number alone.

    An estimate without interval says so, and a comparison names its correction with the family, or "none".
    """

    def known(name: str) -> bool:
        return row[name] is not None and pd.notna(row[name]) and row[name] != ""

    return signed(
        metric=row["metric"],
        read_out=row["readout"],
        of=row["a"] + (f" - {row['b']}" if known("b") else ""),
        dataset=row["dataset"] if known("dataset") else "several",
        interval=f"{100 * (1 - float(row['alpha'])):g}%" if known("low") else "none",
        population=str(row["population"]).replace("both", "seeds+items"),
        estimator=row["estimator"],
        seeds=int(row["n_seeds"]),
        diverged=int(row["n_diverged"]) if row["n_diverged"] else None,
        items=int(row["n_items"]),
        groups=int(row["n_groups"]) if known("n_groups") else None,
        selection=row["selection"],
        pairing=row["pairing"] if known("b") else None,
        correction=f"{row['correction']} ({row['family']})" if known("correction") else "none",
    )
