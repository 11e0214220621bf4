"""Seeds that spread far more than those of rivals: a sign of unstable training, not of a noisier method.

A variant is flagged where the standard deviation of its seeds is more than FACTOR times the median of its rivals'. With
normal seeds of equal spread one of six variants is flagged falsely in 4.3 % of tables of 5 seeds, 0.3 % of 8 and 0.01 %
of 12; one that truly spreads 4 times as far is missed in 16, 9 and 4 % (simulations/unrest.csv).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

FACTOR = 2.5
MIN_SEEDS = 5  # below so many a standard deviation says too little of the spread
MIN_RIVALS = 2


def restless(scores: Mapping[str, ArrayLike], factor: float = FACTOR) -> dict[str, float]:
    """Variant -> how many times as far as its rivals' median its seeds spread, of those beyond `factor`.

    scores: variant -> (S,) scores of its runs, in one unit. Variants with fewer than MIN_SEEDS runs are left out, and
    with fewer than MIN_RIVALS rivals left nobody is flagged; nor is anybody where no rival varies at all.
    """
    runs = {name: np.asarray(values, dtype=float) for name, values in scores.items()}
    spread = {name: float(values.std(ddof=1)) for name, values in runs.items() if values.size >= MIN_SEEDS}
    found = {}
    for name, own in spread.items():
        rivals = [value for other, value in spread.items() if other != name]
        usual = float(np.median(rivals)) if len(rivals) >= MIN_RIVALS else 0.0
        if usual > 0 and own > factor * usual:
            found[name] = own / usual
    return found
