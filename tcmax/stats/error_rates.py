"""Does each procedure do what it says? Coverage, both tails, widths and error rates on simulated experiments.

A row holds one procedure in one cell (a simulated design). Procedures known to fail, such as an interval
over seeds read as one for new seeds and new items, stay in the table and are labelled. The tails are the
error rates of verdicts: an interval that lies wholly above the truth would have supported the false claim "d
> truth".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, stdtrit

from tcmax.stats.crossed import Population, crossed, crossed_paired, crossed_unpaired, interval, one_sided_p, verdict_of
from tcmax.stats.intervals import bootstrap, two_level_bootstrap, wilson
from tcmax.stats.multiplicity import adjust, max_t
from tcmax.stats.paired import mcnemar, sign_flip_items, sign_flip_seeds
from tcmax.stats.simulate import Draw, Probit, draw

__all__ = ["CELLS", "Row", "SimulatedDesign", "calibrate", "calibrate_families", "calibrate_tests"]

Floats = NDArray[np.float64]

ALPHA = 0.05
RESAMPLES = 1_000
RIVALS = 13  # the largest table this was written for has 14 variants


@dataclass(frozen=True)
class SimulatedDesign:
    """A named design of two methods, whose runs that do not collapse differ by two points (0.5 near 99 %)."""

    regime: str
    design: Probit


@dataclass(frozen=True)
class Row:
    """One procedure in one cell.

    question     "coverage" of an interval, "error" rate of a test or family, or "rate" of a correct verdict
    population   what the truth was: seeds, items, both (crossed.py)
    above        share of intervals wholly above the truth, below wholly below; None for tests
    half_width   mean, in accuracy; None for tests
    label        "holds", or "fails" when worse than nominal by three standard errors and one point; "rate" has
                 none
    """

    question: Literal["coverage", "error", "rate"]
    procedure: str
    population: Population
    regime: str
    n_seeds: int
    n_items: int
    n_groups: int
    repetitions: int
    nominal: float | None
    value: float
    standard_error: float
    above: float | None
    below: float | None
    half_width: float | None
    label: Literal["holds", "fails", ""]


def _cells() -> Iterator[SimulatedDesign]:
    two_points = Probit(3, 400, accuracies=(0.77, 0.75))
    seeds = replace(two_points, sd_seed=0.2, item_correlation=0.95)
    items = replace(two_points, sd_seed=0.03, item_correlation=0.5)
    for n_seeds, n_items in product((3, 5, 10, 20), (400, 4000)):
        yield SimulatedDesign("seed-dominated", replace(seeds, n_seeds=n_seeds, n_items=n_items))
        yield SimulatedDesign("item-dominated", replace(items, n_seeds=n_seeds, n_items=n_items))
    speakers = replace(items, sd_group=0.8, sd_item=0.6)
    yield SimulatedDesign("91 speakers", replace(speakers, n_seeds=5, n_items=744, n_groups=91))
    yield SimulatedDesign("8 speakers", replace(speakers, n_seeds=5, n_items=400, n_groups=8))
    for n_seeds, n_items in ((5, 400), (10, 4000)):
        yield SimulatedDesign("collapsing seeds", replace(items, n_seeds=n_seeds, n_items=n_items, collapse=0.1))
        sometimes = replace(items, n_seeds=n_seeds, n_items=n_items, collapse=(0.0, 0.1))
        yield SimulatedDesign("one method collapses", sometimes)
    yield SimulatedDesign(
        "few discordant items",
        replace(items, n_seeds=5, accuracies=(0.99, 0.985), sd_seed=0.02, sd_item=8.0, item_correlation=0.999),
    )


CELLS: tuple[SimulatedDesign, ...] = tuple(_cells())


@dataclass
class _Count:
    """Running totals of one interval procedure."""

    repetitions: int = 0
    above: int = 0
    below: int = 0
    width: float = 0.0

    def add(self, low: float, high: float, truth: float) -> None:
        self.repetitions += 1
        self.above += low > truth
        self.below += high < truth
        self.width += (high - low) / 2


def calibrate(cell: SimulatedDesign, repetitions: int, resampled: int, rng: np.random.Generator) -> list[Row]:
    """Coverage of every interval for the difference of two methods in one cell.

    repetitions   simulated experiments; the first `resampled` of them also run the bootstraps (1,000
                  resamples)
    """
    counts: dict[tuple[str, Population], _Count] = {}
    supported = 0
    for repetition in range(repetitions):
        experiment = draw(cell.design, rng)
        truth = _truths(experiment)
        a, b = experiment.scores
        found = crossed_paired(a, b, experiment.groups)
        supported += verdict_of(found, 0.0, "both") == "supported"
        limits = {p: interval(found, p) for p in truth}
        for population, own in limits.items():
            _count(counts, f"default {population}", population).add(own.low, own.high, truth[population])
            if population != "both":
                misread = _count(counts, f"default {population} read as both", "both")
                misread.add(own.low, own.high, truth["both"])
        unpaired = interval(crossed_unpaired(a, b, experiment.groups), "both")
        _count(counts, "default both with independent seeds", "both").add(unpaired.low, unpaired.high, truth["both"])
        if experiment.groups is not None:
            for population in ("items", "both"):
                naive = interval(crossed_paired(a, b), population)
                _count(counts, f"default {population} without groups", population).add(
                    naive.low, naive.high, truth[population]
                )
        if repetition < resampled:
            for name, population, low, high in _bootstraps(a, b, experiment.groups, rng):
                _count(counts, name, population).add(low, high, truth[population])
    rows = [_coverage_row(cell, name, population, c) for (name, population), c in counts.items()]
    rate = supported / repetitions
    claim = f"default both supports d > 0 at true d {100 * truth['both']:.2g} points"
    return [*rows, _row("rate", claim, "both", cell.regime, cell.design, repetitions, rate)]


def calibrate_tests(repetitions: int, rng: np.random.Generator) -> list[Row]:
    """Error rates, two-sided at 5 %, of the tests of `paired` where their null hypothesis is true, and of
    two misuses.
    """
    rows = []
    same_items = Probit(10, 400, sd_seed=0.1, item_correlation=1.0)
    same_runs = Probit(5, 400, sd_seed=0.1, sd_item=1.5, item_correlation=0.5, seed_correlation=1.0)

    def rate(name: str, population: Population, design: Probit, rejects: Callable[[Floats, Floats], bool]) -> None:
        hits = 0
        for _ in range(repetitions):
            a, b = draw(design, rng).scores.astype(np.float64)
            hits += rejects(a, b)
        rows.append(_row("error", name, population, "true null", design, repetitions, hits / repetitions, ALPHA))

    for n_seeds in (5, 10):
        design = replace(same_items, n_seeds=n_seeds)
        rate("sign flip over seeds", "seeds", design, lambda a, b: sign_flip_seeds(a - b).p_value <= ALPHA)
    rate("sign flip over items", "items", same_runs, lambda a, b: sign_flip_items(a - b).p_value <= ALPHA)
    one_run = replace(same_runs, n_seeds=1)
    rate("McNemar of one run", "items", one_run, lambda a, b: bool(mcnemar(a, b).p_value[0] <= ALPHA))

    def pooled(a: Floats, b: Floats) -> bool:
        wins, losses = np.count_nonzero(a > b), np.count_nonzero(a < b)
        return bool(2 * bdtr(float(min(wins, losses)), wins + losses, 0.5) <= ALPHA)

    rate("McNemar pooled over 5 seeds", "items", same_runs, pooled)
    hits = sum(_peeking(rng.standard_normal(10)) for _ in range(repetitions))
    design = replace(same_items, n_seeds=10)
    name = "t over seeds looked at after each of 3 to 10"
    rows.append(_row("error", name, "seeds", "true null", design, repetitions, hits / repetitions, ALPHA))
    covered = _Count()
    for _ in range(repetitions):
        experiment = draw(one_run, rng)
        found = wilson(int(experiment.scores[0, 0].sum()), one_run.n_items)
        covered.add(found.low, found.high, float(experiment.truth_items[0]))
    rows.append(_coverage_row(SimulatedDesign("one run", one_run), "Wilson accuracy of one run", "items", covered))
    return rows


def calibrate_families(repetitions: int, rng: np.random.Generator) -> list[Row]:
    """Error rates of families: one variant against 13 rivals, all 14 equally good (the hardest true "largest
    of").
    """
    design = Probit(10, 400, accuracies=(0.75,) * (RIVALS + 1), sd_seed=0.1, item_correlation=0.8)
    plain = holm = max_t_errors = 0
    for _ in range(repetitions):
        scores = draw(design, rng).scores.astype(np.float64)
        less = {str(k): one_sided_p(crossed(scores[0] - scores[k]), 0.0, "both", "less") for k in range(1, RIVALS + 1)}
        plain += min(less.values()) <= ALPHA / 2
        holm += bool(adjust(less, "rivals").rejected(ALPHA / 2))
    seeds = replace(design, item_correlation=1.0)
    for _ in range(repetitions):
        means = draw(seeds, rng).scores.mean(axis=2)
        family = max_t({str(k): means[0] - means[k] for k in range(1, RIVALS + 1)}, "rivals", rng, resamples=RESAMPLES)
        max_t_errors += bool(family.rejected(ALPHA))
    claim = f"largest of {RIVALS + 1} contradicted"
    found: list[tuple[str, Population, Probit, int, float]] = [
        (f"{claim} after Holm", "both", design, holm, ALPHA / 2),
        (f"{claim} without Holm", "both", design, plain, ALPHA / 2),
        (f"step-down max-T over seeds with {RIVALS} rivals", "seeds", seeds, max_t_errors, ALPHA),
    ]
    return [
        _row("error", name, population, "true null", cell, repetitions, hits / repetitions, nominal)
        for name, population, cell, hits, nominal in found
    ]


def _truths(experiment: Draw) -> dict[Population, float]:
    pairs: dict[Population, Floats] = {
        "seeds": experiment.truth_seeds,
        "items": experiment.truth_items,
        "both": experiment.truth_both,
    }
    return {population: float(values[0] - values[1]) for population, values in pairs.items()}


def _count(counts: dict[tuple[str, Population], _Count], name: str, population: Population) -> _Count:
    return counts.setdefault((name, population), _Count())


def _bootstraps(
    a: NDArray[np.bool_], b: NDArray[np.bool_], groups: NDArray[np.intp] | None, rng: np.random.Generator
) -> Iterator[tuple[str, Population, float, float]]:
    d = a.astype(np.float64) - b
    units = d.mean(axis=0)
    sizes = np.ones(units.size)
    if groups is not None:
        units, sizes = np.bincount(groups, weights=units), np.bincount(groups).astype(np.float64)
    if units.size < 10:
        return
    both = two_level_bootstrap(d, rng, groups, RESAMPLES)
    yield "two-level bootstrap", "both", both.low, both.high
    parts = np.column_stack([units, sizes])
    for method in ("percentile", "bca"):
        found = bootstrap(lambda t: t[..., 0] / t[..., 1], parts, rng, method, RESAMPLES)
        yield f"{method} bootstrap of items", "items", found.low, found.high


def _peeking(values: Floats) -> bool:
    """Whether a t interval excludes zero after any of 3 .. n values."""
    for n in range(3, values.size + 1):
        first = values[:n]
        if abs(first.mean()) > stdtrit(n - 1, 1 - ALPHA / 2) * first.std(ddof=1) / math.sqrt(n):
            return True
    return False


def _coverage_row(cell: SimulatedDesign, name: str, population: Population, c: _Count) -> Row:
    n = c.repetitions
    covered = 1 - (c.above + c.below) / n
    row = _row("coverage", name, population, cell.regime, cell.design, n, covered, 1 - ALPHA)
    return replace(row, above=c.above / n, below=c.below / n, half_width=c.width / n)


def _row(
    question: Literal["coverage", "error", "rate"],
    procedure: str,
    population: Population,
    regime: str,
    design: Probit,
    repetitions: int,
    value: float,
    nominal: float | None = None,
) -> Row:
    error = math.sqrt(value * (1 - value) / repetitions)
    label: Literal["holds", "fails", ""] = ""
    if nominal is not None:
        short = nominal - value if question == "coverage" else value - nominal
        label = "fails" if short > max(3 * error, 0.01) else "holds"
    return Row(
        question=question,
        procedure=procedure,
        population=population,
        regime=regime,
        n_seeds=design.n_seeds,
        n_items=design.n_items,
        n_groups=design.n_items if design.n_groups is None else design.n_groups,
        repetitions=repetitions,
        nominal=nominal,
        value=value,
        standard_error=error,
        above=None,
        below=None,
        half_width=None,
        label=label,
    )
