"""How each variant's settings were chosen: equal trials, their cost, what they chose, and where a range was short."""

from statistics import fmean
from typing import Any

import pandas as pd

from tcmax.audit.budgets import stays_from, verdicts_by_budget
from tcmax.experiment import tuning
from tcmax.experiment.grid import Cell
from tcmax.metrics import METRICS
from tcmax.metrics.item_scores import ItemScores
from tcmax.records.files import read_json
from tcmax.report.numbers import joined, show
from tcmax.report.report_records import DatasetRecords, ReportRecords
from tcmax.report.tables import Block, Column, Row, Table, TableCell
from tcmax.stats.crossed import crossed, interval
from tcmax.stats.tuning import choice_optimism, expected_best, search_interval

WIDER = {"lowest": "downwards", "highest": "upwards"}


def choices_of(records: ReportRecords, dataset: str) -> dict[str, list[dict[str, Any]]]:
    """Variant -> what each of its searches chose, folds after each other; empty where nothing is tuned or sealed."""
    experiment, results = records.experiment, records.folder.parent
    if experiment.settings.tuning is None or not tuning.is_sealed(experiment, results):
        return {}
    found: dict[str, list[dict[str, Any]]] = {}
    for entry in tuning.read_choices(experiment, results)["cells"]:
        if entry["dataset"] == dataset:
            found.setdefault(entry["variant"], []).extend({**one, "fold": entry["fold"]} for one in entry["searches"])
    return found


def searches(records: ReportRecords) -> Table | None:
    """Trials, their cost in steps, chosen values and validation score of every variant; edges and divergences noted."""
    blocks, data, notes = [], [], []
    settings = records.experiment.settings.tuning
    if settings is None:
        return None
    metric = METRICS[settings.metric]
    for dataset in records.datasets:
        rows = []
        for variant, chosen in choices_of(records, dataset.id).items():
            title = records.experiment.title(variant)
            scores = [one["score"] for one in chosen if one["score"] is not None]
            rows.append(
                Row(
                    title,
                    (
                        TableCell(f"{sum(len(one['trials']) for one in chosen):,}"),
                        TableCell(f"{sum(one['steps'] for one in chosen):,}"),
                        TableCell(_score(fmean(scores), metric.unit) if scores else "every trial diverged"),
                        TableCell(_values(chosen)),
                    ),
                    variant,
                )
            )
            notes += _notes(dataset, title, chosen)
            data += [
                {
                    "dataset": dataset.id,
                    "variant": variant,
                    "fold": one["fold"],
                    "search": one["search"],
                    "trials": len(one["trials"]),
                    "diverged": len(one["diverged"]),
                    "steps": one["steps"],
                    "metric": settings.metric,
                    "validation_score": one["score"],
                    "parameter": name.removeprefix(tuning.OWN),
                    "chosen": value,
                    "at_edge": one["at_edge"].get(name, ""),
                }
                for one in chosen
                for name, value in one["values"].items()
            ]
        if rows:
            columns = (Column("trials"), Column("steps"), Column(metric.title.lower()), Column("chosen", width=0.4))
            blocks.append(Block("Method", ((dataset.title, len(columns)),), columns, tuple(rows)))
    caption = (
        f"How settings were chosen: {tuning.in_words(records.experiment)}. Steps: optimiser steps of all trials. "
        f"{metric.title}: of the chosen trial on the items that chose it, which is more than new items would show."
    )
    return Table("tuning", "Tuning", caption, tuple(blocks), pd.DataFrame(data), tuple(notes))


def curves(records: ReportRecords) -> Table | None:
    """What searches of k trials find on average, on validation and then on test items, and how the choice flatters."""
    experiment = records.experiment
    settings = experiment.settings.tuning
    if settings is None:
        return None
    metric = METRICS[settings.metric]
    better = metric.better or "higher"
    asked = [k for k in (2**j for j in range(20)) if k < settings.trials] + [settings.trials]
    random = settings.sampler == "random"  # a part of a grid or of a Sobol sequence is no smaller search
    blocks, data = [], []
    for dataset in records.datasets:
        rows = []
        for variant, chosen in choices_of(records, dataset.id).items():
            pairs = [pair for one in chosen if (pair := _scores(records, dataset.id, variant, one, better)) is not None]
            if not pairs:
                continue
            optimism = fmean(choice_optimism(*pair, better) for pair in pairs)
            found = [expected_best(*pair, better) for pair in pairs]
            cells = []
            for k in asked if random else ():
                validation, test = (fmean(getattr(e[k - 1], part) for e in found) for part in ("validation", "test"))
                cells.append(TableCell(_score(test, metric.unit), note=f"validation {_score(validation, metric.unit)}"))
                data.append(
                    {"dataset": dataset.id, "variant": variant, "trials": k, "validation": validation, "test": test}
                    | {"optimism": optimism, "searches": len(pairs)}
                )
            text = f"{100 * optimism:+.1f} pp" if metric.unit == "proportion" else f"{optimism:+.3g}"
            rows.append(Row(experiment.title(variant), (*cells, TableCell(text, order=optimism)), variant))
        if rows:
            columns = (*(Column(f"{k} trial{'s' if k > 1 else ''}") for k in asked if random), Column("optimism"))
            blocks.append(Block("Method", ((dataset.title, len(columns)),), columns, tuple(rows)))
    caption = (
        f"{metric.title} on test items of what a random search of so many trials chooses on validation items: mean "
        "over all sets of so many of the trials that were run; one that diverged counts as the worst. "
        "Optimism: validation minus test score of the chosen trial, beyond what it is for trials on average. Trials "
        "met the test items after the choice was sealed; descriptions of searches that were run, without intervals."
    )
    return Table("search_curves", "What more trials find", caption, tuple(blocks), pd.DataFrame(data))


def _scores(
    records: ReportRecords, dataset: str, variant: str, search: dict[str, Any], better: str
) -> tuple[list[float], list[float]] | None:
    """(validation, test) scores of the trials of a search, means over their seeds; None where none met test items."""
    cell = Cell(dataset, search["fold"], variant)
    path = tuning.cell_folder(records.folder.parent, records.experiment.name, cell) / tuning.TEST_MANIFEST
    if not path.is_file():
        return None
    tested: dict[int, list[float]] = {}
    for run in read_json(path)["runs"]:
        if run["search"] == search["search"]:
            tested.setdefault(run["trial"], []).append(run["score"])
    sound = {
        trial["trial"]: (fmean(trial["scores"]), fmean(tested[trial["trial"]]))
        for trial in search["trials"]
        if None not in trial["scores"] and trial["trial"] in tested
    }
    if not sound:
        return None
    worst = (min if better == "higher" else max)(sound.values())
    pairs = [sound.get(trial["trial"], worst) for trial in search["trials"]]
    return [v for v, _ in pairs], [t for _, t in pairs]


def new_searches(records: ReportRecords) -> Table | None:
    """Accuracy of each variant minus that of the reference variant, for new searches, seeds and test items; None
    without several searches."""
    experiment = records.experiment
    if experiment.settings.tuning is None or experiment.settings.tuning.searches == 1:
        return None
    settings, reference = experiment.settings, experiment.settings.reference_variant
    blocks, data = [], []
    for dataset in records.datasets:
        if dataset.items is None or reference not in dataset.variants:
            continue
        items, rows = ItemScores.read(dataset.items), []
        groups = next(iter(items.groups.values()), None)
        for variant in dataset.variants:
            common = [seed for seed in items.seeds(variant) if seed in items.seeds(reference)]
            searched = [tuning.search_of(experiment, seed) for seed in common]
            if variant == reference or len(set(searched)) < 3:
                continue
            a, b = (
                items.matrix(v, "correct", "own", settings.selection)[[list(items.seeds(v)).index(s) for s in common]]
                for v in (variant, reference)
            )
            found, held = search_interval(a - b, searched, groups), interval(crossed(a - b, groups), "both")
            number = show(found.estimate, found.low, found.high, "proportion", difference=True)
            beside = show(held.estimate, held.low, held.high, "proportion", difference=True)
            cells = TableCell(number.value, number.spread, order=found.estimate), TableCell(beside.value, beside.spread)
            rows.append(Row(experiment.title(variant), cells, variant))
            sizes = {"searches": len(set(searched)), "n_seeds": len(common), "n_items": len(items.items)}
            bounds = {"estimate": found.estimate, "low": found.low, "high": found.high}
            data.append({"dataset": dataset.id, "variant": variant, "reference": reference, **bounds, **sizes})
        if rows:
            columns = (Column("new searches", "pp"), Column("held fixed", "pp"))
            blocks.append(Block("Method", ((dataset.title, len(columns)),), columns, tuple(rows)))
    caption = (
        "Accuracy minus that of the reference variant, with 95 % intervals for new searches, new seeds and new test "
        "items: the means over the seeds of each search are the observations. Beside it the interval that takes all "
        "seeds alike and holds the searches fixed, as every other table and verdict does."
    )
    return Table("new_searches", "Had one searched again", caption, tuple(blocks), pd.DataFrame(data))


def budgets(records: ReportRecords) -> Table | None:
    """The verdict of each claim untuned and after fewer trials, and the smallest budget from which it stays."""
    experiment = records.experiment
    if experiment.settings.tuning is None or not experiment.settings.tuning.budgets:
        return None
    found = verdicts_by_budget(experiment, records.folder.parent)
    asked = sorted({budget for verdicts in found.values() for budget in verdicts})
    stated = (
        {} if records.verdicts is None else dict(zip(records.verdicts["claim"], records.verdicts["text"], strict=True))
    )
    rows, data = [], []
    for claim, verdicts in found.items():
        stays = stays_from(verdicts)
        cells = [TableCell(verdicts.get(budget, "–"), tone=verdicts.get(budget, "")) for budget in asked]
        cells.append(TableCell(_budget(stays), order=stays))
        rows.append(Row(stated.get(claim, claim), tuple(cells), note=claim))
        data += [{"claim": claim, "trials": b, "verdict": word, "stays_from": stays} for b, word in verdicts.items()]
    columns = (*(Column(_budget(budget)) for budget in asked), Column("stays from"))
    caption = (
        "The verdict of each claim with the settings as given (untuned), and with what the first so many trials of "
        "every variant would have chosen. Stays from: the smallest budget from which the verdict is the same up to the "
        "largest."
    )
    block = Block("Claim", (), columns, tuple(rows), stub_width=0.36)
    return Table("budgets", "Verdicts by tuning budget", caption, (block,) if rows else (), pd.DataFrame(data))


def _budget(trials: int | None) -> str:
    return "–" if trials is None else "untuned" if trials == 0 else f"{trials} trial{'s' if trials > 1 else ''}"


def _score(value: float, unit: str) -> str:
    return f"{100 * value:.1f} %" if unit == "proportion" else f"{value:.3g}"


def _values(chosen: list[dict[str, Any]]) -> str:
    """What was chosen, by parameter; where searches or folds differ, from the least to the most."""
    parts = []
    for name in chosen[0]["values"]:
        values = [one["values"][name] for one in chosen]
        if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
            low, high = min(values), max(values)
            text = f"{low:g}" if low == high else f"{low:g} to {high:g}"
        else:
            text = " or ".join(dict.fromkeys(map(str, values)))
        parts.append(f"{name.removeprefix(tuning.OWN)} {text}")
    return ", ".join(parts) or "nothing to tune"


def _notes(dataset: DatasetRecords, title: str, chosen: list[dict[str, Any]]) -> list[str]:
    found = []
    for name in chosen[0]["values"]:
        for end, way in WIDER.items():
            times = sum(one["at_edge"].get(name) == end for one in chosen)
            if times:
                often = f" in {times} of {len(chosen)} searches" if len(chosen) > 1 else ""
                found.append(
                    f"{dataset.title}: {title} chose the {end} {name.removeprefix(tuning.OWN)} tried{often}: its range "
                    f"may be too short, widen it {way}."
                )
    diverged = [f"{len(one['diverged'])} of {len(one['trials'])}" for one in chosen if one["diverged"]]
    if diverged:
        found.append(f"{dataset.title}: {joined(diverged)} trials of {title} diverged; they count as trials.")
    return found


def seconds_of(records: ReportRecords, dataset: str, variant: str) -> float | None:
    """Seconds that all trials of a variant took on a dataset, from their sidecars; None where there are none."""
    paths = (records.folder / dataset).glob(f"fold_*/{variant}/tuning/search_*/trial_*/seed_*/sidecar.json")
    seconds = [float(read_json(path)["seconds"]) for path in paths]
    return sum(seconds) if seconds else None
