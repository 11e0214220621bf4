"""The compare stage: item scores to EVIDENCE.

For each dataset, with the selection rule of the experiment and for each population (new seeds, new items, both):

- an *estimate* of every metric of every variant in every read-out;
- the *comparison* of every variant with the reference variant (joint prediction, and modality by modality: does joint
  training starve one?) and with its best rival;
- all pairs, for the metrics whose tables show tie groups.

The file's header counts how often halves of one variant's seeds were told apart: a control, for they do not differ.

Comparisons form families, named in each row, and Holm's correction runs within a family. Beside it stand step-down
max-T, where the pairs are fixed beforehand and a population has ten exchangeable units or more (seeds; items or
groups), and for all pairs, an exploratory matrix, the share of false findings after Benjamini and Hochberg. A design
that cannot speak for a population (one or two seeds, fewer than three groups) leaves a row with an estimate, no
interval and the reason.

Ids: dataset|metric|read-out|variant|population, and dataset|metric|read-out|a-vs-b|population for the comparison with
the reference variant, with "|best rival" or "|pair" behind it for the other two families.

A variant with one switch flipped is estimated here, and compared by `tcmax.audit.discrepancies`.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tcmax.evidence.rows import (
    ALPHA,
    BIASED,
    POPULATIONS,
    blank,
    effect_of,
    measured,
    sign_flip_of,
    write_evidence,
)
from tcmax.evidence.scoreboard import Scoreboard
from tcmax.evidence.scores import Compared, Score
from tcmax.evidence.wording import shown
from tcmax.experiment.grid import Experiment
from tcmax.metrics import METRICS
from tcmax.seeding import generator
from tcmax.stats.checks import SelfComparison
from tcmax.stats.crossed import MIN_UNITS as MIN_SEEDS
from tcmax.stats.crossed import Population, interval, refusal
from tcmax.stats.multiplicity import MIN_UNITS, Family, adjust, max_t

# Joint prediction (or whole item) against the reference variant and the best rival.
COMPARED = ("accuracy", "nll", "nll_calibrated", "js", "js_calibrated")
Role = Literal["reference", "best rival", "pair", "switch"]
"""The family that a comparison belongs to."""
# All pairs: what tables with tie groups need.
PAIRED_OFF = ("accuracy", "js", "js_calibrated")
# By what tables rank: resampling thousands of items is worth its time here.
RANKED = ("accuracy", "own")


def compare(experiment: Experiment, results: Path) -> None:
    """Write results/<experiment>/evidence.parquet from the item scores of every dataset.

    Raises TcmaxError naming the file when item scores are missing or do not cover the experiment's variants.
    """
    rows: list[dict[str, Any]] = []
    control: dict[str, dict[str, Any]] = {}
    for dataset in experiment.settings.datasets:
        board = Scoreboard(experiment, dataset, results)
        rows += estimates(board)
        rows += comparisons(board)
        control[dataset] = {variant: asdict(found) for variant, found in self_comparisons(board).items()}
    header = {"experiment": experiment.name, "self_comparisons": control}
    write_evidence(results / experiment.name / "evidence.parquet", rows, header)


def estimates(board: Scoreboard) -> Iterator[dict[str, Any]]:
    """One row per metric, read-out, variant and population."""
    for metric, readout in board.available:
        for variant in filter(board.items.seeds, board.variants):
            try:
                score = board.score((variant,), metric, readout)
            except ValueError:  # a ratio without a denominator has no row
                continue
            c = board.estimate(score, metric)
            for population in POPULATIONS:
                yield blank(
                    id=f"{board.dataset}|{metric}|{readout}|{variant}|{population}",
                    kind="estimate",
                    role="estimate",
                    dataset=board.dataset,
                    selection=board.selection,
                    metric=metric,
                    readout=readout,
                    a=variant,
                    estimator=board.estimator(metric),
                    population=population,
                    pairing="none",
                    unit=METRICS[metric].unit,
                    n_diverged=len(score.diverged),
                    n_groups=c.n_groups if board.groups else None,
                    notes=[refusal(c, population), BIASED.get(metric), *score.notes, *c.notes, *board.notes],
                    **measured(c, population, ALPHA, of=metric),
                )


def comparisons(board: Scoreboard) -> Iterator[dict[str, Any]]:
    """Rows of the three families of comparisons of each metric and read-out, adjusted within each."""
    reference = board.experiment.settings.reference_variant
    for metric, readout in board.available:
        joint = readout in ("own", "all")
        if metric not in COMPARED or not (joint or (metric == "accuracy" and readout in board.items.modalities)):
            continue
        arms = board.experiment.arms_on(board.dataset)
        scores = {variant: board.score((variant,), metric, readout) for variant in arms}
        where = f"{metric} ({readout}) on {board.dataset}"
        if reference in scores:
            chosen = [(variant, str(reference)) for variant in scores if variant != reference]
            yield from family(
                board, metric, readout, scores, chosen, f"each variant with {reference}, {where}", "reference"
            )
        if joint:
            chosen = [(variant, rival) for variant in scores if (rival := _best_rival(board, variant, metric, scores))]
            name = f"each variant with its best rival, {where}"
            yield from family(board, metric, readout, scores, chosen, name, "best rival")
        if metric in PAIRED_OFF:
            chosen = list(itertools.combinations(scores, 2))
            yield from family(board, metric, readout, scores, chosen, f"all pairs, {where}", "pair")


def self_comparisons(board: Scoreboard) -> dict[str, SelfComparison]:
    """Variant -> how often its halves were told apart; without variants of fewer than six finished seeds."""
    if RANKED not in board.available:
        return {}
    scores = {variant: board.score((variant,), *RANKED) for variant in board.variants}
    return {
        variant: board.against_itself(score, variant)
        for variant, score in scores.items()
        if len(score.seeds) >= 2 * MIN_SEEDS
    }


def _best_rival(board: Scoreboard, variant: str, metric: str, scores: Mapping[str, Score]) -> str | None:
    """The best other variant by its mean test score, siblings excluded; None where there is no better and worse."""
    better = METRICS[metric].better
    rivals = [v for v in scores if v != variant and scores[v].seeds and not board.are_siblings(variant, v)]
    if better is None or not rivals:
        return None
    sign = 1.0 if better == "higher" else -1.0
    return max(rivals, key=lambda label: sign * float(scores[label].values.mean()))


def family(
    board: Scoreboard,
    metric: str,
    readout: str,
    scores: Mapping[str, Score],
    pairs: Sequence[tuple[str, str]],
    name: str,
    role: Role,
) -> Iterator[dict[str, Any]]:
    """Rows of one family of comparisons, population by population."""
    rows: list[dict[str, Any]] = []
    differences: dict[str, Compared] = {}
    for a, b in pairs:
        compared = board.difference(scores[a], scores[b])
        stem = f"{board.dataset}|{metric}|{readout}|{a}-vs-{b}"
        if not isinstance(compared, str):
            differences[stem] = compared
        rows += _rows_of_pair(board, metric, readout, (a, b), scores, compared, stem, role)
    for population in POPULATIONS:
        chosen = [row for row in rows if row["population"] == population]
        tested = {row["id"]: row for row in chosen if row["p"] is not None}
        if tested:
            p = {identity: row["p"] for identity, row in tested.items()}
            holm = adjust(p, name)
            q = adjust(p, name, "benjamini-hochberg").adjusted if role == "pair" else [None] * len(p)
            fixed_beforehand = role != "best rival"
            affordable = population == "seeds" or (metric, readout) == RANKED
            shared = max_t_of(board, differences, population, name) if fixed_beforehand and affordable else None
            by_units = shared.adjusted if shared is not None else [None] * len(p)
            named = {"correction": holm.method, "family": f"{name}; tests: {len(p)}"}
            for row, *corrected in zip(tested.values(), holm.adjusted, by_units, q, strict=True):
                row |= {**named, **dict(zip(("p_adjusted", "p_max_t", "q_value"), corrected, strict=True))}
        yield from chosen


def _rows_of_pair(
    board: Scoreboard,
    metric: str,
    readout: str,
    pair: tuple[str, str],
    scores: Mapping[str, Score],
    compared: Compared | str,
    stem: str,
    role: Role,
) -> Iterator[dict[str, Any]]:
    """One row per population; compared: the difference, or why there is none."""
    a, b = pair
    behind = "" if role == "reference" else f"|{role}"
    common: dict[str, Any] = {
        "kind": "comparison",
        "role": role,
        "dataset": board.dataset,
        "selection": board.selection,
        "metric": metric,
        "readout": readout,
        "a": a,
        "b": b,
        "estimator": board.estimator(metric),
        "unit": METRICS[metric].unit,
    }
    rival_note = "the rival was picked by its score on these items" if role == "best rival" else None
    if isinstance(compared, str):
        nothing = {
            "pairing": "none",
            "alpha": ALPHA,
            "n_seeds": 0,
            "n_items": board.n_items,
            "n_diverged": len(scores[a].diverged) + len(scores[b].diverged),
            "notes": [compared, rival_note, *board.notes],
        }
        for population in POPULATIONS:
            yield blank(id=f"{stem}|{population}{behind}", population=population, **common, **nothing)
        return
    c = compared.crossed
    sign_flip = sign_flip_of(compared, stem)
    effect, size, remarks = effect_of(compared, metric)
    at_chance = _at_chance(board, a, b, metric, readout) if compared.n_diverged else None
    for population in POPULATIONS:
        by_seeds = population != "items"
        normality = by_seeds and sign_flip is not None and sign_flip.floor > ALPHA
        yield blank(
            id=f"{stem}|{population}{behind}",
            population=population,
            **common,
            pairing=compared.pairing,
            n_diverged=compared.n_diverged,
            n_groups=c.n_groups if board.groups else None,
            effect=effect,
            effect_size=size,
            sign_flip_p=sign_flip.p_value if by_seeds and sign_flip else None,
            sign_flip_floor=sign_flip.floor if by_seeds and sign_flip else None,
            notes=[
                refusal(c, population),
                rival_note,
                at_chance and at_chance[population],
                f"rests on normality of {c.n_seeds} seed effects" if normality else None,
                *remarks,
                *compared.notes,
                *board.notes,
            ],
            **measured(c, population, ALPHA, margin=0.0, of=metric),
        )


def max_t_of(
    board: Scoreboard, differences: Mapping[str, Compared], population: Population, name: str
) -> Family | None:
    """Step-down max-T over the units that the comparisons of a family share, or None where there are too few.

    New seeds: the seeds' mean differences. New items: the items', or the sums of groups; two groupings have no units in
    common. Seeds and items together are not exchangeable.
    """
    found = list(differences.values())
    seeds = {compared.crossed.n_seeds for compared in found}
    if any(c.crossed.spending for c in found):  # max-T knows of no looks
        return None
    if population == "both" or len(seeds) > 1 or any(c.pairing != "paired" or c.n_diverged for c in found):
        return None
    if population == "seeds":
        units = {stem: (c.a - c.b).mean(axis=1) for stem, c in differences.items()}
    else:
        if len(board.groups) > 1 or any(c.a.shape[1] != board.n_items for c in found):
            return None
        units = {stem: (c.a - c.b).mean(axis=0) for stem, c in differences.items()}
        for labels in board.groups.values():
            codes = np.unique(labels, return_inverse=True)[1]
            units = {stem: np.bincount(codes, weights=values) for stem, values in units.items()}
    if len(next(iter(units.values()))) < MIN_UNITS:
        return None
    return max_t(units, name, generator("max-T", name, population))


def _at_chance(board: Scoreboard, a: str, b: str, metric: str, readout: str) -> dict[Population, str | None]:
    """Population -> the comparison with diverged runs counted at chance, in words."""
    try:
        first, second = (board.score((label,), metric, readout, "at chance") for label in (a, b))
    except ValueError as error:
        return dict.fromkeys(POPULATIONS, f"diverged runs removed; they cannot be counted at chance: {error}")
    compared = board.difference(first, second)
    if isinstance(compared, str):
        return dict.fromkeys(POPULATIONS)
    c, unit = compared.crossed, METRICS[metric].unit
    words: dict[Population, str | None] = {}
    for population in POPULATIONS:
        ends: tuple[float, ...] = ()
        if refusal(c, population) is None:
            found = interval(c, population, ALPHA)
            ends = (found.low, found.high)
        text = f"diverged runs removed; counted at chance: {shown(c.estimate, unit, *ends)}"
        words[population] = text
    return words
