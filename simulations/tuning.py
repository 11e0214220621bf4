"""Simulate searches for settings, and flags of unstable training; write tuning.csv and unrest.csv beside it.

    python simulations/tuning.py [--repetitions 2000]

Two methods with equal best settings are each tuned by R independent random searches of n trials on noisy validation
scores; both try the same settings, as the harness does. The seeds are divided among the searches, and their item scores
are normal around what the chosen setting is worth. *smooth*: that falls with the square of the distance to the best
setting. *needle*: good settings are rare, a twentieth of the range. The truth is the mean difference over searches,
which favours the method whose good settings are wider. Beside it: as many seeds that were all trained with the choice
of one search, and an interval that holds it fixed. Half a minute on one core.

Flags: a table of variants with normal seeds, of equal spread or with one that spreads `times` as far.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from run import write

from tcmax.stats.crossed import crossed, interval
from tcmax.stats.tuning import search_interval
from tcmax.stats.unrest import FACTOR

Floats = NDArray[np.float64]
SEARCHES, TRIALS = (3, 4, 8), (4, 16, 64)
ITEMS, SEEDS_EACH = 60, 2
SD_VALIDATION, SD_SEED, SD_ITEM, SD_REST = 0.02, 0.01, 0.1, 0.2  # of accuracies, and of an item's difference
DROP = 0.4
WIDTHS = {"smooth": (1.0, 0.7), "needle": (0.05, 0.035)}  # of the two methods, as shares of the range


@dataclass(frozen=True)
class Row:
    """Coverage of 95 % intervals for the difference of two tuned methods, in %; widths are means of half-widths."""

    surface: str
    searches: int
    trials: int
    repetitions: int
    new_searches: float
    one_search: float
    width_new: float
    width_one: float


def worth(surface: str, method: int, place: Floats) -> Floats:
    """Accuracy that settings at these places of the range reach, over their best."""
    distance = (place - 0.5) / WIDTHS[surface][method]
    return -DROP * (distance**2 if surface == "smooth" else 1 - np.exp(-(distance**2)))


def searched(surface: str, trials: int, size: int, rng: np.random.Generator) -> Floats:
    """(size,) true difference of the settings that searches of both methods choose."""
    place = rng.random((size, trials))
    found = []
    for method in (0, 1):
        true = worth(surface, method, place)
        best = (true + rng.normal(0, SD_VALIDATION, true.shape)).argmax(axis=1)
        found.append(true[np.arange(size), best])
    return found[0] - found[1]


def simulate(repetitions: int, seed: int = 0) -> list[Row]:
    rows = []
    for surface in WIDTHS:
        for trials in TRIALS:
            rng = np.random.default_rng([seed, trials, list(WIDTHS).index(surface)])
            truth = float(np.mean([searched(surface, trials, 4000, rng).mean() for _ in range(25)]))
            for n in SEARCHES:
                searches = np.arange(n * SEEDS_EACH) % n
                hits, widths = np.zeros(2), np.zeros(2)
                for _ in range(repetitions):
                    gains = searched(surface, trials, n, rng)
                    size = (len(searches), ITEMS)
                    noise = rng.normal(0, SD_SEED, (len(searches), 1)) + rng.normal(0, SD_ITEM, ITEMS)
                    noise = noise + rng.normal(0, SD_REST, size)
                    found = (
                        search_interval(gains[searches][:, None] + noise, searches),
                        interval(crossed(gains[0] + noise), "both"),
                    )
                    hits += [one.low <= truth <= one.high for one in found]
                    widths += [one.half_width for one in found]
                new, one = (100 * hits / repetitions).round(1).tolist()
                means = (widths / repetitions).round(4).tolist()
                rows.append(Row(surface, n, trials, repetitions, new, one, *means))
    return rows


@dataclass(frozen=True)
class Flags:
    """Share of tables in %: with no unusual variant, that any is flagged; with one, that it is missed."""

    seeds: int
    variants: int
    times: float
    repetitions: int
    false: float
    missed: float


def flags(repetitions: int, seed: int = 0) -> list[Flags]:
    rows = []
    for n_seeds in (5, 8, 12, 20):
        for n_variants in (3, 6, 26):
            rng = np.random.default_rng([seed, n_seeds, n_variants])
            spread = rng.standard_normal((repetitions, n_variants, n_seeds)).std(axis=-1, ddof=1)
            false = np.any([_beyond(spread, k) for k in range(n_variants)], axis=0).mean()
            for times in (3.0, 4.0, 5.0):
                wide = spread.copy()
                wide[:, 0] *= times
                missed = 1 - _beyond(wide, 0).mean()
                rates = [round(100 * float(rate), 2) for rate in (false, missed)]
                rows.append(Flags(n_seeds, n_variants, times, repetitions, *rates))
    return rows


def _beyond(spread: Floats, k: int) -> NDArray[np.bool_]:
    """The rule of tcmax.stats.unrest, of many tables at once."""
    flagged: NDArray[np.bool_] = spread[:, k] > FACTOR * np.median(np.delete(spread, k, axis=1), axis=1)
    return flagged


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=2000)
    found = simulate(parser.parse_args().repetitions)
    write(found, Path(__file__).with_suffix(".csv"))
    write(flags(20_000), Path(__file__).with_name("unrest.csv"))
    for row in found:
        print(row)
