"""The line that says what a number is: metric, what was compared, population, level, sizes, selection, correction."""

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from tcmax import __version__


def signature(row: Mapping[Hashable, Any] | pd.Series) -> str:
    """One row of EVIDENCE as "metric:accuracy | read-out:own | ...", for a reader who finds the number alone.

    An estimate without interval says so, and a comparison names its correction with the family, or "none".
    """

    def known(name: str) -> bool:
        return row[name] is not None and pd.notna(row[name]) and row[name] != ""

    interval = f"{100 * (1 - float(row['level'])):g}%" if known("low") else "none"
    fields = [
        f"metric:{row['metric']}",
        f"read-out:{row['readout']}",
        f"of:{row['a']}" + (f" - {row['b']}" if known("b") else ""),
        f"dataset:{row['dataset']}",
        f"interval:{interval}",
        f"population:{str(row['population']).replace('both', 'seeds+items')}",
        f"estimator:{row['estimator']}",
        f"seeds:{int(row['n_seeds'])}",
        *([f"diverged:{int(row['n_diverged'])}"] if row["n_diverged"] else []),
        f"items:{int(row['n_items'])}",
        *([f"groups:{int(row['n_groups'])}"] if known("n_groups") else []),
        f"selection:{row['selection']}",
        *([f"pairing:{row['pairing']}"] if known("b") else []),
        f"correction:{row['correction']} ({row['family']})" if known("correction") else "correction:none",
        f"version:{__version__}",
    ]
    return " | ".join(fields)
