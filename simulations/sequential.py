"""Simulate rules that look before the end; write simulations/sequential.csv beside it.

    python simulations/sequential.py [--repetitions 50000] [--experiments 800]

Two parts. *seeds*: sequences of normal seed differences, with the true gain in standard deviations of one; a rule stops
when it decides, or gives up where the far end of the 80 % interval could not be decided at the last look. *both*: whole
experiments of seeds x items with no gain, over ratios of the variance parts, and the interval for new seeds and items.
The error of a rule is its share of decisions for the wrong side (of one given side where there is no gain).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from run import write
from scipy.special import stdtr, stdtrit

from tcmax.stats.crossed import crossed, interval
from tcmax.stats.sequential import SPREAD, Spending, spending_boundaries

Floats = NDArray[np.float64]

ALPHA, HOPE = 0.05, 0.2
MOST = 20
SPARSE, EACH = (4, 8, 12, 16, 20), tuple(range(3, MOST + 1))
GAINS = (0.0, 0.75, 1.0, 1.5, 2.0)
RATIOS = ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0, 1), (1, 1, 1))  # of seeds, items, what both do together
ITEMS = 60


@dataclass(frozen=True)
class Row:
    """One rule in one setting.

    gain    true difference: standard deviations of a seed's difference ("seeds"); 0 otherwise
    ratio   of the variance parts of one experiment ("both"): seeds/items/rest
    right, wrong, futile   shares; wrong is one-sided. seeds: mean number at the end
    """

    population: str
    rule: str
    looks: str
    gain: float
    ratio: str
    repetitions: int
    right: float
    wrong: float
    futile: float
    seeds: float


def evidence(mean: Floats, squares: Floats, n: int) -> Floats:
    """log E of the one-sided e-process of `tcmax.stats.sequential.log_e`, of many samples at once."""
    g = SPREAD**2
    shrunk = squares + n * mean**2 / (1 + n * g)
    argument = math.sqrt(g / (1 + n * g)) * n * mean * np.sqrt(n / shrunk)
    tail = np.maximum(stdtr(n, argument), np.finfo(np.float64).tiny)
    return np.asarray(
        -math.log1p(n * g) / 2 - n / 2 * (np.log(shrunk) - np.log(squares + n * mean**2)) + np.log(2 * tail)
    )


def of_seeds(rule: str, looks: Sequence[int], gain: float, repetitions: int, rng: np.random.Generator) -> Row:
    """A rule ("t", "e-process", "spending", "spending, futility") on sequences of seed differences."""
    values = rng.normal(gain, 1.0, (repetitions, looks[-1]))
    running, right = np.ones(repetitions, dtype=bool), np.zeros(repetitions, dtype=bool)
    wrong, futile, seeds = right.copy(), right.copy(), np.full(repetitions, looks[-1])
    boundaries = spending_boundaries(looks, ALPHA) if rule.startswith("spending") else None
    for n in looks:
        mean, sd = values[:, :n].mean(axis=1), values[:, :n].std(axis=1, ddof=1)
        error = sd / math.sqrt(n)
        if rule == "e-process":
            squares, enough = (n - 1) * sd**2, math.log(2 / ALPHA)
            up, down = evidence(mean, squares, n) >= enough, evidence(-mean, squares, n) >= enough
        else:
            edge = stdtrit(n - 1, 1 - (boundaries.at(n) if boundaries else ALPHA) / 2)
            up, down = mean > edge * error, mean < -edge * error
        right |= running & up & (gain > 0)
        wrong |= running & (down if gain > 0 else up)
        stop = up | down
        if boundaries and rule.endswith("futility") and n < looks[-1]:
            hoped = np.abs(mean) + stdtrit(n - 1, 1 - HOPE / 2) * error
            last = stdtrit(looks[-1] - 1, 1 - boundaries.at(looks[-1]) / 2) * sd / math.sqrt(looks[-1])
            gives_up = running & ~stop & (last >= hoped)
            futile |= gives_up
            stop = stop | gives_up
        seeds[running & stop] = n
        running &= ~stop
    shares = [float(np.mean(x)) for x in (right, wrong, futile, seeds)]
    return Row("seeds", rule, " ".join(map(str, looks)), gain, "", repetitions, *shares)


def of_both(rule: str, ratio: tuple[int, int, int], experiments: int, rng: np.random.Generator) -> Row:
    """Intervals for new seeds and items ("t" or "spending") looked at on the way, where there is no gain."""
    wrong, seeds = 0, 0
    by_seed, by_item, rest = (math.sqrt(part / sum(ratio)) for part in ratio)
    for _ in range(experiments):
        d = (
            by_seed * math.sqrt(MOST) * rng.normal(size=(MOST, 1))
            + by_item * math.sqrt(ITEMS) * rng.normal(size=(1, ITEMS))
            + rest * math.sqrt(MOST * ITEMS) * rng.normal(size=(MOST, ITEMS))
        )
        for n in SPARSE:
            c = crossed(d[:n])
            c = replace(c, spending=Spending(n, SPARSE)) if rule == "spending" else c
            found = interval(c, "both", ALPHA)
            if found.low > 0 or found.high < 0:
                break
        wrong += found.low > 0
        seeds += n
    named = "/".join(map(str, ratio))
    looks = " ".join(map(str, SPARSE))
    return Row("both", rule, looks, 0.0, named, experiments, 0.0, wrong / experiments, 0.0, seeds / experiments)


def simulate(repetitions: int, experiments: int, seed: int = 0) -> list[Row]:
    """All rows; each has its own random stream."""
    settings = [("t", EACH, 0.0)]
    settings += [
        (rule, looks, gain) for rule in ("e-process", "spending") for looks in (EACH, SPARSE) for gain in GAINS
    ]
    settings += [("spending, futility", SPARSE, gain) for gain in GAINS]
    settings += [("t", (MOST,), gain) for gain in GAINS]
    rows = [
        of_seeds(rule, looks, gain, repetitions, np.random.default_rng([seed, k]))
        for k, (rule, looks, gain) in enumerate(settings)
    ]
    cells = [(rule, ratio) for rule in ("t", "spending") for ratio in RATIOS]
    return rows + [
        of_both(rule, ratio, experiments, np.random.default_rng([seed, 1000 + k]))
        for k, (rule, ratio) in enumerate(cells)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=50_000, help="sequences of seeds (50000)")
    parser.add_argument("--experiments", type=int, default=800, help="of seeds x items, for each ratio (800)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "sequential.csv")
    given = parser.parse_args()
    rows = simulate(given.repetitions, given.experiments)
    write(rows, given.out)
    print(f"{len(rows)} rows in {given.out}")


if __name__ == "__main__":
    main()
