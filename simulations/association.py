"""Simulate rank correlations over a handful of variants; write simulations/association.csv beside it.

    python simulations/association.py [--experiments 400] [--resamples 600]

Six variants have two scores with known true means, `gap` apart; item scores are normal with parts of seed, item and
both. The truth is Kendall's tau of the true means. Where gaps are small against the noise, the estimated order is in
part chance, which pulls tau toward 0: the interval then misses a strong truth, but seldom says the wrong sign.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from run import write

from tcmax.stats.association import kendall_tau, resampled_tau

N_SEEDS, N_ITEMS = 12, 300
GAPS = (0.02, 0.005, 0.002)
ORDERS = {"equal": (0, 1, 2, 3, 4, 5), "similar": (1, 0, 3, 2, 5, 4), "unrelated": (3, 5, 0, 4, 1, 2)}
SD_SEED, SD_ITEM, SD_VARIANT_ITEM, SD_REST = 0.01, 0.3, 0.1, 0.3
ALPHA = 0.05


@dataclass(frozen=True)
class Row:
    """gap: between true means; 0.008 is about the standard error of a variant's mean beside what all share.

    mean: of the estimated tau. coverage: of the 95 % interval. wrong_sign: share of experiments whose interval lies
    above 0 where the true tau does not, or the other way round.
    """

    population: str
    gap: float
    order: str
    true_tau: float
    experiments: int
    mean: float
    coverage: float
    wrong_sign: float
    standard_error: float


def scores(means: Sequence[float], rng: np.random.Generator) -> np.ndarray:
    """(variants, seeds, items) with these true means."""
    n = len(means)
    seeds = rng.normal(0, SD_SEED, (n, N_SEEDS, 1))
    items = rng.normal(0, SD_ITEM, (1, 1, N_ITEMS)) + rng.normal(0, SD_VARIANT_ITEM, (n, 1, N_ITEMS))
    return np.asarray(means)[:, None, None] + seeds + items + rng.normal(0, SD_REST, (n, N_SEEDS, N_ITEMS))


def simulate(experiments: int, resamples: int, seed: int = 0) -> list[Row]:
    """All rows; each setting has its own random stream."""
    rows = []
    settings = [(gap, order) for gap in GAPS for order in ORDERS]
    for k, (gap, order) in enumerate(settings):
        rng = np.random.default_rng([seed, k])
        first, second = gap * np.arange(6.0), gap * np.array(ORDERS[order], dtype=float)
        truth = float(kendall_tau(first, second))
        found = [resampled_tau(scores(first, rng), scores(second, rng), {}, rng, resamples) for _ in range(experiments)]
        for population in ("seeds", "items", "both"):
            intervals = [each.interval(population, ALPHA) for each in found]
            coverage = float(np.mean([i.low - 1e-9 <= truth <= i.high + 1e-9 for i in intervals]))
            wrong = float(np.mean([(i.low > 0 >= truth) or (i.high <= 0 < truth) for i in intervals]))
            mean = float(np.mean([each.estimate for each in found]))
            error = math.sqrt(coverage * (1 - coverage) / experiments)
            rows.append(Row(population, gap, order, truth, experiments, mean, coverage, wrong, error))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", type=int, default=400)
    parser.add_argument("--resamples", type=int, default=600)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "association.csv")
    given = parser.parse_args()
    rows = simulate(given.experiments, given.resamples)
    write(rows, given.out)
    print(f"{len(rows)} rows in {given.out}")


if __name__ == "__main__":
    main()
