"""Where the default interval is at its edge. Writes simulations/edges.csv.

Unequal groups, accuracies near 1, few items that tell, skewed seeds, heavy losses, calibration errors, and metrics that
are no item means.

    python simulations/edges.py [--repetitions 2000]

takes about five minutes on one core. Every case has its own random stream. Nominal coverage 95 %.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from run import write
from scipy.special import ndtr, stdtrit
from scipy.stats import norm

from tcmax.stats.calibration_error import squared_calibration_error
from tcmax.stats.crossed import (
    Crossed,
    Interval,
    Population,
    crossed,
    crossed_paired,
    crossed_proportion,
    crossed_unpaired,
    interval,
    verdict_of,
)
from tcmax.stats.jackknife import auroc, average_precision, cohen_kappa, macro_f1
from tcmax.stats.shape import seed_shape, skewness_corrected, tail_shape
from tcmax.stats.simulate import Probit, draw

Floats = NDArray[np.float64]
Bounds = tuple[float, float]
Case = Callable[[np.random.Generator], dict[str, Bounds | float]]  # procedure -> errors (low, high) about 0, or a rate


@dataclass(frozen=True)
class Row:
    """coverage of an interval with both tails (wholly above, wholly below the truth), or the rate of an event."""

    topic: str
    case: str
    procedure: str
    repetitions: int
    coverage: float | None
    above: float | None
    below: float | None
    rate: float | None


def about(found: Interval, truth: float) -> Bounds:
    return found.low - truth, found.high - truth


# Unequal groups: probit scores of two methods, n_seeds runs, groups of given sizes.

SIZES = {
    "20 equal groups of 20": np.full(20, 20),
    "20 groups, one holds 40 %": np.array([267, *[21] * 19]),
    "20 groups, sizes 1/k (Zipf)": np.maximum(1, np.rint(111 / np.arange(1, 21))).astype(int),
    "50 groups, sizes 1/k (Zipf)": np.maximum(1, np.rint(178 / np.arange(1, 51))).astype(int),
    "8 groups, one holds 40 %": np.array([160, *[34] * 7]),
}


def unequal(sizes: NDArray[np.intp], n_seeds: int) -> Case:
    groups = np.repeat(np.arange(len(sizes)), sizes)
    n = len(groups)

    def once(rng: np.random.Generator) -> dict[str, Bounds | float]:
        effects = 0.25 * rng.standard_normal(len(sizes))[groups] + 0.3 * rng.standard_normal(n)
        d = effects + 0.03 * rng.standard_normal((n_seeds, 1)) + 0.4 * rng.standard_normal((n_seeds, n))
        c = crossed(d, groups)
        return {
            "both": about(interval(c, "both"), 0.0),
            "both, G/(G−1) and G−1": about(interval(unweighted(d, groups, c), "both"), 0.0),
        }

    return once


def unweighted(d: Floats, groups: NDArray[np.intp], c: Crossed) -> Crossed:
    """The parts without weights of groups, as they would be for equal ones."""
    n_seeds, n = d.shape
    n_groups = c.n_groups
    factor = n_groups / (n_groups - 1)
    residuals = d - d.mean(axis=1, keepdims=True) - d.mean(axis=0) + d.mean()
    sums = np.array([np.bincount(groups, weights=row) for row in residuals])
    by_group = np.bincount(groups, weights=d.mean(axis=0) - d.mean())
    e = n_seeds / (n_seeds - 1) * factor * float((sums**2).sum()) / (n_seeds * n) ** 2
    b = factor * float(by_group @ by_group) / n**2
    return Crossed(c.estimate, c.a, b, e, n_seeds, n, n_groups, n_seeds - 1.0, n_groups - 1.0)


# The accuracy of one method.


def accuracy(design: Probit) -> Case:
    def once(rng: np.random.Generator) -> dict[str, Bounds | float]:
        found = draw(design, rng)
        scores, truth = found.scores[0].astype(np.float64), float(found.truth_both[0])
        plain = interval(crossed(scores, found.groups), "both")
        return {
            "Wilson's form": about(interval(crossed_proportion(scores, found.groups), "both"), truth),
            "symmetric": about(plain, truth),
            "symmetric beyond 1": float(plain.high > 1),
        }

    return once


# Few items that tell: a share of hard items on which A gains; the true difference is the margin.


def few(n_items: int, share: float, n_seeds: int, paired: bool) -> Case:
    def once(rng: np.random.Generator) -> dict[str, Bounds | float]:
        hard = rng.random(n_items) < share
        a = ~hard | (rng.random((n_seeds, n_items)) < 0.9)
        b = ~hard | (rng.random((n_seeds, n_items)) < 0.1)
        c = crossed_paired(a, b) if paired else crossed_unpaired(a, b)
        truth = 0.8 * share
        return {
            "both": about(interval(c, "both"), truth),
            "contradicted": float(verdict_of(c, truth, "both") == "contradicted"),
            "smoothed": float(c.smoothed),
            "not smoothed, tail flagged": float(not c.smoothed and bool(tail_shape(a.mean(0) - b.mean(0)).flags)),
        }

    return once


# Seeds of another shape: paired differences with mean 0.

SEEDS: dict[str, Callable[[np.random.Generator, int], Floats]] = {
    "normal": lambda rng, n: rng.standard_normal(n),
    "exponential": lambda rng, n: 1 - rng.standard_exponential(n),
    "a tenth collapse": lambda rng, n: 0.05 - 0.5 * (rng.random(n) < 0.1) + 0.01 * rng.standard_normal(n),
}


def seeds(family: str, n_seeds: int) -> Case:
    def once(rng: np.random.Generator) -> dict[str, Bounds | float]:
        values = SEEDS[family](rng, n_seeds)
        c = crossed(values[:, np.newaxis])
        return {
            "seeds": about(interval(c, "seeds"), 0.0),
            "seed shape flagged": float(bool(seed_shape(values).flags)),
        }

    return once


# Items of another shape: losses of one run.

LOSSES: dict[str, tuple[Callable[[np.random.Generator, int], Floats], float]] = {
    "normal": (lambda rng, n: rng.standard_normal(n), 0.0),
    "exponential": (lambda rng, n: rng.standard_exponential(n), 1.0),
    "log-normal, sd 1": (lambda rng, n: rng.lognormal(0, 1, n), math.exp(0.5)),
    "log-normal, sd 1.5": (lambda rng, n: rng.lognormal(0, 1.5, n), math.exp(1.125)),
}


def losses(family: str, n_items: int) -> Case:
    generate, truth = LOSSES[family]

    def once(rng: np.random.Generator) -> dict[str, Bounds | float]:
        values = generate(rng, n_items)
        half = float(stdtrit(n_items - 1, 0.975)) * values.std(ddof=1) / math.sqrt(n_items)
        own = skewness_corrected(values)
        return {
            "t": (values.mean() - half - truth, values.mean() + half - truth),
            "corrected for skewness": (own.low - truth, own.high - truth),
            "tail flagged": float(bool(tail_shape(values).flags)),
        }

    return once


# Calibration error of runs that share the luck of their items.


def calibration(shift: float, n_items: int, n_runs: int) -> Case:
    def runs(rng: np.random.Generator) -> tuple[Floats, Floats]:
        confidence = np.clip(rng.beta(4, 1.5, n_items) + 0.03 * rng.standard_normal((n_runs, n_items)), 0.01, 0.9)
        luck = math.sqrt(0.6) * rng.standard_normal(n_items) + math.sqrt(0.4) * rng.standard_normal((n_runs, n_items))
        return confidence, (ndtr(luck) < confidence + shift).astype(np.float64)

    def once(rng: np.random.Generator) -> dict[str, Bounds | float]:
        (confidence, right), other = runs(rng), runs(rng)
        values = squared_calibration_error(confidence, right)
        population: Population = "items" if n_runs == 1 else "both"
        gap = crossed(values - squared_calibration_error(*other))
        return {
            "squared error": about(interval(crossed(values), population), shift**2),
            "usual error": about(interval(crossed(usual(confidence, right)), population), abs(shift)),
            "difference of squared errors": about(interval(gap, population), 0.0),
        }

    return once


def usual(confidence: Floats, right: Floats, n_bins: int = 15) -> Floats:
    """Pseudo-values of Σ|T_b|/I."""
    made = []
    for row, gap in zip(confidence, confidence - right, strict=True):
        bins = np.ceil(row * n_bins).astype(int) - 1
        total, n = np.bincount(bins, gap, n_bins), len(row)
        left = (np.abs(total).sum() - np.abs(total[bins]) + np.abs(total[bins] - gap)) / (n - 1)
        made.append(np.abs(total).sum() / n - (n - 1) * (left - left.mean()))
    return np.array(made)


# Metrics that are no item means: three runs of a binormal score; the truth in closed form or by a large sample.


def ranking(n_items: int, share: float, separation: float, grouped: bool = False) -> Case:
    groups = np.arange(n_items) // 10 if grouped else None
    spread = 0.7 if grouped else 0.0

    def sample(rng: np.random.Generator, n: int, runs: int) -> tuple[Floats, NDArray[np.bool_], NDArray[np.intp]]:
        yes = rng.random(n) < share
        shared = spread * rng.standard_normal(n // 10 + 1)[np.arange(n) // 10]
        item = separation * yes + shared + math.sqrt(0.5 - spread**2) * rng.standard_normal(n)
        scores = item + math.sqrt(0.5) * rng.standard_normal((runs, n))
        answers = (scores > separation / 2).astype(np.intp)
        return scores, yes, answers

    big_scores, big_yes, big_answers = sample(np.random.default_rng(0), 400_000, 1)
    truth = {
        "AUROC": float(norm.cdf(separation / math.sqrt(2))),
        "average precision": float(average_precision(big_scores, big_yes).mean()),
        "macro F1": float(macro_f1(big_answers, big_yes.astype(int)).mean()),
        "Cohen's kappa": float(cohen_kappa(big_answers, big_yes.astype(int)).mean()),
    }

    def once(rng: np.random.Generator) -> dict[str, Bounds | float]:
        scores, yes, answers = sample(rng, n_items, 3)
        truly = yes.astype(int)
        values = {
            "AUROC": auroc(scores, yes),
            "average precision": average_precision(scores, yes),
            "macro F1": macro_f1(answers, truly),
            "Cohen's kappa": cohen_kappa(answers, truly),
        }
        return {name: about(interval(crossed(v, groups), "items"), truth[name]) for name, v in values.items()}

    return once


def cases() -> Iterator[tuple[str, str, Case]]:
    for name, sizes in SIZES.items():
        for n_seeds in (5, 20):
            yield "unequal groups", f"{name}, {n_seeds} seeds", unequal(sizes, n_seeds)
    for right in (0.76, 0.95, 0.988):
        for n_seeds in (3, 5, 10):
            for n_items in (50, 400):
                design = Probit(n_seeds, n_items, accuracies=(right,))
                yield "accuracy", f"{right:g}, {n_seeds} seeds, {n_items} items", accuracy(design)
    for right, n_groups, size in ((0.99, 10, 40), (0.95, 10, 40), (0.99, 20, 20), (0.95, 20, 20)):
        design = Probit(5, n_groups * size, (right,), sd_item=0.6, sd_group=0.8, n_groups=n_groups)
        yield "accuracy", f"{right:g}, 5 seeds, {n_groups} groups of {size}", accuracy(design)
    for n_items, share, n_seeds in ((200, 0.02, 5), (200, 0.05, 5), (200, 0.05, 20), (400, 0.05, 5), (50, 0.05, 5)):
        for paired in (True, False):
            how = "paired" if paired else "independent"
            what = f"{n_items} items, {share:.0%} carry a gain, {n_seeds} seeds, {how}"
            yield "few items that tell", what, few(n_items, share, n_seeds, paired)
    for family in SEEDS:
        for n_seeds in (5, 10, 20):
            yield "seeds", f"{family}, {n_seeds}", seeds(family, n_seeds)
    for family in LOSSES:
        for n_items in (20, 50, 200, 800):
            yield "losses", f"{family}, {n_items} items", losses(family, n_items)
    for shift in (0.0, -0.03, -0.1):
        for n_items in (200, 1000):
            for n_runs in (1, 10):
                what = f"off by {shift:g}, {n_items} items, {n_runs} runs"
                yield "calibration error", what, calibration(shift, n_items, n_runs)
    for n_items, share, separation in (
        (60, 0.5, 1.0),
        (200, 0.5, 1.0),
        (200, 0.1, 1.0),
        (1000, 0.1, 1.0),
        (200, 0.3, 2.5),
    ):
        what = f"{n_items} items, {share:.0%} positive, {separation:g} sd apart"
        yield "metrics of a run", what, ranking(n_items, share, separation)
    yield "metrics of a run", "400 items in 40 groups, 30% positive, 1 sd apart", ranking(400, 0.3, 1.0, True)


def simulate(topic: str, name: str, case: Case, repetitions: int, rng: np.random.Generator) -> list[Row]:
    bounds: dict[str, list[Bounds]] = {}
    events: dict[str, list[float]] = {}
    for _ in range(repetitions):
        for procedure, found in case(rng).items():
            if isinstance(found, tuple):
                bounds.setdefault(procedure, []).append(found)
            else:
                events.setdefault(procedure, []).append(found)
    rows = []
    for procedure, values in bounds.items():
        low, high = np.array(values).T
        above, below = float(np.mean(low > 0)), float(np.mean(high < 0))
        rows.append(Row(topic, name, procedure, repetitions, 1 - above - below, above, below, None))
    rows += [Row(topic, name, event, repetitions, None, None, None, float(np.mean(x))) for event, x in events.items()]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=2000)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "edges.csv")
    given = parser.parse_args()
    rows = []
    for index, (topic, name, case) in enumerate(cases()):
        rows += simulate(topic, name, case, given.repetitions, np.random.default_rng([13, index]))
    write(rows, given.out)
    print(f"{len(rows)} rows in {given.out}")


if __name__ == "__main__":
    main()
