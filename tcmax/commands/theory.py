"""`tcmax theory`: known laws in place of datasets. Compute what the loss reaches on them, keep it, and show it.

config/theory.yaml -> results/theory/theory.parquet -> reports/theory/. Nothing is trained that a run key would have to
tell apart: all of it takes seconds and is computed again when the settings or the code change.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from tcmax.experiment.settings import Count
from tcmax.experiment.yaml import Strict, explain, read_yaml
from tcmax.records import kinds, parquet, provenance
from tcmax.seeding import derive, generator

Counts = list[list[int]]
CONFIG = Path("config/theory.yaml")
REFERENCES = ("uniform", "empirical")


class OptimumSettings(Strict):
    """Ascent of the loss on whole laws. laws: title -> counts[audio][video][label]."""

    steps: Count
    laws: dict[str, list[Counts]]


class BatchSize(Strict):
    batch_size: Count
    classes: Count


class BatchSettings(Strict):
    """What batches allow; labels are drawn uniformly, `repetitions` times."""

    repetitions: Count
    datasets: dict[str, BatchSize]


class PriorSettings(Strict):
    """Rules of prediction where classes are unequal. of_20: rows of the first class among 20."""

    steps: Count
    of_20: list[int]


class WorldSettings(Strict):
    """A world to sample from: tables with the likelihoods of `world`, or normal features where `separations` say."""

    prior: list[float] | None = None
    separations: list[float] | None = None
    classes: Count | None = None
    stratified: bool = False


class SampleSettings(Strict):
    """Additive TCMax against the unimodal ensemble; the keys are explained in config/theory.yaml."""

    sizes: list[Count]
    repetitions: Count
    pseudo_rows: float = Field(gt=0)
    trained_repetitions: Count
    steps: Count
    weight_decay: float = Field(ge=0)
    test_rows: Count
    worlds: dict[str, WorldSettings]


class TheorySettings(Strict):
    """config/theory.yaml. world: modality -> counts[label][value], independent given the label."""

    name: str
    title: str
    seed: int
    optimum: OptimumSettings
    batch: BatchSettings
    world: dict[str, Counts]
    prior: PriorSettings
    sample: SampleSettings


def load(path: Path = CONFIG) -> TheorySettings:
    """Read and validate the laws. Raises TcmaxError naming the file and the key."""
    raw = read_yaml(path)
    try:
        return TheorySettings.model_validate(raw)
    except ValidationError as error:
        raise explain(error, path) from None


def run_theory(config: Path, results: Path, reports: Path) -> Path:
    """Compute, write the record, and render the report; returns its page."""
    from tcmax.report.theory_page import build_theory_report

    settings = load(config)
    record = results / settings.name / "theory.parquet"
    rows = list(compute(settings))
    columns = {name: [row.get(name) for row in rows] for name in kinds.THEORY.columns}
    parquet.write(record, kinds.THEORY, columns, {"settings": settings.model_dump(mode="json")})
    provenance.write_stage(record, "theory", "tcmax.information.optima", [config], settings.model_dump(mode="json"))
    page = reports / settings.name / "report.html"
    build_theory_report(record, page.parent, provenance.now()[:10])
    provenance.write_stage(page, "report", "tcmax.report.theory_page", [record], {})
    return page


def compute(settings: TheorySettings) -> Iterator[dict[str, Any]]:
    """Rows of THEORY, part by part. Equal settings give equal rows."""
    yield from _optima(settings)
    yield from _batches(settings)
    yield from _priors(settings)
    yield from _samples(settings)


def _optima(settings: TheorySettings) -> Iterator[dict[str, Any]]:
    import torch

    from tcmax.information.laws import best_critic_value
    from tcmax.information.optima import fit_critic

    for title, counts in settings.optimum.laws.items():
        for reference in REFERENCES:
            for additive in (True, False):
                found = fit_critic(
                    counts,
                    additive=additive,
                    label_reference=reference,  # type: ignore[arg-type]
                    steps=settings.optimum.steps,
                    generator=torch.Generator().manual_seed(derive("theory", title, settings.seed)),
                )
                quantity = f"{'additive' if additive else 'any'} head, {reference} reference"
                best = best_critic_value(counts, reference, additive=additive)  # type: ignore[arg-type]
                for step, value in enumerate(found.values):
                    yield _row("optimum", title, quantity, step, value, expected=best)


def _batches(settings: TheorySettings) -> Iterator[dict[str, Any]]:
    import math

    import torch

    from tcmax.information.optima import batch_bounds

    for name, size in settings.batch.datasets.items():
        b, c = size.batch_size, size.classes
        draws = torch.Generator().manual_seed(derive("theory", name, settings.seed))
        for repetition in range(settings.batch.repetitions):
            found = batch_bounds(b, c, draws)
            expected = {
                "any head": (found.any_reached, -math.log(b * c)),
                "additive head": (found.additive_reached, found.additive_head),
                "additive head, released": (found.additive_released, found.additive_head + math.log(b * c)),
                "offset": (found.offset, math.log(b * c)),
            }
            for quantity, (value, formula) in expected.items():
                yield _row("batch", name, quantity, b, value, repetition, formula)


def _priors(settings: TheorySettings) -> Iterator[dict[str, Any]]:
    import torch

    from tcmax.information.laws import decision_accuracies
    from tcmax.information.optima import accuracy, fit_critic, fit_ensemble

    for of_20 in settings.prior.of_20:
        counts = _joint(settings.world, of_20)
        known = decision_accuracies(counts)
        fitted = {
            reference: fit_critic(
                counts,
                additive=True,
                label_reference=reference,  # type: ignore[arg-type]
                steps=settings.prior.steps,
                generator=torch.Generator().manual_seed(derive("theory", "prior", settings.seed)),
            )
            for reference in REFERENCES
        }
        rules = {
            "uniform reference": (fitted["uniform"].prediction, known.naive_bayes),
            "empirical reference, log P(c) added": (fitted["empirical"].prediction, known.naive_bayes),
            "empirical reference, Eq. 13 as printed": (fitted["empirical"].logits, known.naive_bayes_uniform_prior),
            "unimodal ensemble": (fit_ensemble(counts, steps=settings.prior.steps), known.summed_posteriors),
        }
        for quantity, (prediction, expected) in rules.items():
            value = accuracy(counts, prediction)
            yield _row("prior", "the world of tables", quantity, of_20 / 20, value, expected=expected)


def _joint(world: dict[str, Counts], of_20: int) -> NDArray[np.int64]:
    """Counts of the law with `of_20` in 20 rows of the first of two classes."""
    shares = np.array([of_20, 20 - of_20])
    result = shares
    for m, likelihood in enumerate(world.values()):
        table = np.asarray(likelihood).T  # (values, labels)
        result = result[..., None, :] * table.reshape([1] * m + list(table.shape))
    return np.asarray(result // np.gcd.reduce(result, axis=None), dtype=np.int64)


def _samples(settings: TheorySettings) -> Iterator[dict[str, Any]]:
    from tcmax.information.optima import Tables, population_separation, separation

    chosen = settings.sample
    for title in chosen.worlds:
        world = _world(settings, title)
        tables = isinstance(world, Tables)
        limit = population_separation(world) if isinstance(world, Tables) else None
        for size in chosen.sizes:
            found = separation(
                world,
                size,
                chosen.repetitions if tables else chosen.trained_repetitions,
                rng=generator("theory", title, size, settings.seed),
                pseudo_rows=chosen.pseudo_rows,
                weight_decay=chosen.weight_decay,
                steps=chosen.steps,
                test_rows=chosen.test_rows,
            )
            for quantity in ("accuracy", "cross_entropy"):
                expected = None if limit is None else float(getattr(limit, quantity)[0])
                for repetition, value in enumerate(getattr(found, quantity)):
                    yield _row("sample", title, quantity, size, value, repetition, expected)


def _world(settings: TheorySettings, title: str):  # type: ignore[no-untyped-def]
    from tcmax.errors import TcmaxError
    from tcmax.information.optima import Normals, Tables

    chosen = settings.sample.worlds[title]
    if chosen.prior is not None and chosen.separations is None:
        counts = [np.asarray(table, dtype=np.float64) for table in settings.world.values()]
        likelihoods = tuple(table / table.sum(axis=1, keepdims=True) for table in counts)
        return Tables(likelihoods, np.array(chosen.prior), chosen.stratified)
    if chosen.prior is None and chosen.separations is not None and chosen.classes is not None:
        return Normals(tuple(chosen.separations), np.full(chosen.classes, 1 / chosen.classes), chosen.stratified)
    raise TcmaxError(f"sample.worlds.{title}: a world has either `prior`, or `separations` and `classes`.")


def _row(
    part: str,
    setting: str,
    quantity: str,
    x: float,
    value: float,
    repetition: int | None = None,
    expected: float | None = None,
) -> dict[str, Any]:
    return {
        "part": part,
        "setting": setting,
        "quantity": quantity,
        "x": float(x),
        "repetition": repetition,
        "value": float(value),
        "expected": expected,
    }
