"""Simulate summaries of a whole suite of datasets; write simulations/suite.csv beside it.

    python simulations/suite.py [--suites 500] [--resamples 300]

Run scores are normal. A variant is `gain` standard deviations ahead of another one on every dataset; what each summary
estimates then has a known value, against which its interval is scored.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from run import write
from scipy.special import ndtr

from tcmax.stats.suite import improvement_matrix, interquartile_means, performance_profiles

SEEDS, DATASETS = (6, 12), (1, 3, 5)
THRESHOLDS = (-0.5, 0.0, 0.5, 1.0, 1.5)
GAINS = (0.0, 0.5, 1.0, 2.0)


@dataclass(frozen=True)
class Row:
    """Coverage of one summary; at: the threshold of a profile, or the gain behind an improvement."""

    summary: str
    n_seeds: int
    n_datasets: int
    at: float
    suites: int
    coverage: float
    standard_error: float


def simulate(suites: int, resamples: int, seed: int = 0) -> list[Row]:
    """All rows; each number of seeds and datasets has its own random stream."""
    rows = []
    for k, (n_seeds, n_datasets) in enumerate(product(SEEDS, DATASETS)):
        rng = np.random.default_rng([seed, k])
        hits = Counter(hit for _ in range(suites) for hit in covered(n_seeds, n_datasets, resamples, rng))
        settings = [("interquartile mean", 0.0)]
        settings += [("profile", at) for at in THRESHOLDS] + [("improvement", gain) for gain in GAINS]
        for summary, at in settings:
            share = hits[summary, at] / suites
            error = math.sqrt(share * (1 - share) / suites)
            rows.append(Row(summary, n_seeds, n_datasets, at, suites, share, error))
    return rows


def covered(n_seeds: int, n_datasets: int, resamples: int, rng: np.random.Generator) -> Iterator[tuple[str, float]]:
    """(summary, at) of the intervals of one made-up suite that hold the truth."""
    runs = {"a": list(rng.normal(size=(n_datasets, n_seeds)))}
    (middle,) = interquartile_means(runs, rng, resamples)
    if middle.low is not None and middle.high is not None and middle.low <= 0 <= middle.high:
        yield "interquartile mean", 0.0
    (profile,) = performance_profiles(runs, THRESHOLDS)
    for at, low, high in zip(THRESHOLDS, profile.low or (), profile.high or (), strict=True):
        if low <= ndtr(-at) <= high:
            yield "profile", at
    for gain in GAINS:
        found = improvement_matrix({**runs, "b": list(rng.normal(gain, 1.0, (n_datasets, n_seeds)))})["b", "a"]
        if found.low is not None and found.high is not None and found.low <= ndtr(gain / math.sqrt(2)) <= found.high:
            yield "improvement", gain


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suites", type=int, default=500)
    parser.add_argument("--resamples", type=int, default=300, help="of each interquartile mean (300)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "suite.csv")
    given = parser.parse_args()
    rows = simulate(given.suites, given.resamples)
    write(rows, given.out)
    print(f"{len(rows)} rows in {given.out}")


if __name__ == "__main__":
    main()
