"""The seeds of a sequential experiment: which a cell has been asked for so far, and the record of the looks.

    results/<experiment>/looks.json         the looks as fixed at the first one, and what each found and spent
    results/<experiment>/looks/<n>.json     what the look at n seeds asks for: the pairs that need more, by dataset

The record is no output of the DAG, which deletes outputs before it makes them again: spending that can be deleted is
spending that nobody can check.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from tcmax.errors import TcmaxError
from tcmax.experiment.grid import Experiment
from tcmax.records.files import read_json, write_json
from tcmax.records.provenance import digest

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class LookPlan:
    """What was fixed beforehand: numbers of seeds, the metric, and the pairs (None: those of the reference variant)."""

    looks: tuple[int, ...]
    metric: str
    pairs: Pairs | None = None

    def as_json(self) -> dict[str, Any]:
        pairs = {} if self.pairs is None else {"pairs": [list(pair) for pair in self.pairs]}
        return {"looks": list(self.looks), "metric": self.metric, **pairs}


def record_path(experiment: Experiment, results: Path) -> Path:
    """Where the looks of an experiment are recorded."""
    return results / experiment.name / "looks.json"


def asked_path(experiment: Experiment, results: Path, look: int) -> Path:
    """Where the look at so many seeds says what it asks for."""
    return results / experiment.name / "looks" / f"{look}.json"


def plan_of(experiment: Experiment, results: Path, asked: LookPlan | None = None) -> LookPlan | None:
    """The looks of an experiment: those it names (or `asked`), or those on record; None where nobody looks.

    Raises TcmaxError where they are not those on record: other looks would spend the alpha a second time.
    """
    chosen = experiment.settings.sequential
    plan = asked if chosen is None else LookPlan(chosen.looks, chosen.metric, chosen.pairs)
    path = record_path(experiment, results)
    if not path.is_file():
        return plan
    kept = read_json(path)
    pairs = tuple((a, b) for a, b in kept["pairs"]) if "pairs" in kept else None
    recorded = LookPlan(tuple(kept["looks"]), kept["metric"], pairs)
    if plan is not None and plan != recorded:
        raise TcmaxError(
            f"{path} fixed looks at {kept['looks']} seeds for {kept['metric']}; they, and the pairs, cannot change now."
        )
    return recorded


def plan_key(experiment: Experiment) -> str:
    """Hash of the looks that an experiment names."""
    chosen = experiment.settings.sequential
    return digest(chosen.model_dump() if chosen else None)


def looks_of(experiment: Experiment, before: int | None = None) -> tuple[int, ...]:
    """The looks that a sequential experiment names, or those at fewer seeds; none in any other."""
    chosen = experiment.settings.sequential
    return tuple(look for look in chosen.looks if before is None or look < before) if chosen else ()


def record(
    experiment: Experiment, results: Path, plan: LookPlan, look: int, found: dict[str, Any], facts: dict[str, Any]
) -> None:
    """Keep what a look found. Runs that were trained again can make it find something else: the earlier findings of
    this look and of later ones then stay on record as superseded."""
    path = record_path(experiment, results)
    kept = read_json(path) if path.is_file() else {"taken": {}}
    taken, superseded = kept["taken"], kept.get("superseded", [])
    if str(look) in taken and taken[str(look)] != found:
        superseded.append({n: taken[n] for n in taken if int(n) >= look})
        taken = {n: taken[n] for n in taken if int(n) < look}
    content = {**plan.as_json(), **facts, "taken": {**taken, str(look): found}}
    write_json(path, content | ({"superseded": superseded} if superseded else {}))


def wanted(experiment: Experiment, results: Path, look: int) -> dict[str, Pairs] | None:
    """Dataset -> the pairs that a look asks more seeds for; None where it was not taken."""
    path = asked_path(experiment, results, look)
    if not path.is_file():
        return None
    return {dataset: tuple((a, b) for a, b in pairs) for dataset, pairs in read_json(path)["more"].items()}


def seeds_asked(experiment: Experiment, results: Path, dataset: str, before: int | None = None) -> dict[str, list[int]]:
    """Variant -> the seeds it has been asked for on a dataset: all of them, or in a sequential experiment those of the
    first look and what the looks that were taken ask for. before: only looks at fewer seeds than this count."""
    seeds, looks = list(experiment.settings.seeds), looks_of(experiment)
    counts = dict.fromkeys(experiment.variants_on(dataset), looks[0] if looks else len(seeds))
    for look, following in pairwise(looks):
        more = wanted(experiment, results, look) if before is None or look < before else None
        if not more:
            break
        counts |= {variant: following for pair in more.get(dataset, ()) for variant in pair}
    return {variant: seeds[:n] for variant, n in counts.items()}


def in_words(numbers: Sequence[int]) -> str:
    """Numbers of seeds, "4, 8 or 12"."""
    *most, last = map(str, numbers)
    return f"{', '.join(most)} or {last}" if most else last


def manifests_of(experiment: Experiment, dataset: str, results: Path, before: int | None = None) -> list[Path]:
    """Block manifests of the seeds that were asked for on a dataset, in grid order; `before` as in `seeds_asked`."""
    asked = seeds_asked(experiment, results, dataset, before)
    return [
        results / experiment.name / cell.dataset / f"fold_{cell.fold}" / cell.variant / f"block_{block}.json"
        for cell in experiment.cells()
        if cell.dataset == dataset
        for block, seeds in enumerate(experiment.blocks)
        if set(seeds) <= set(asked[cell.variant])
    ]
