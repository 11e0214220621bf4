"""How each variant's settings were chosen: equal trials, their cost, what they chose, and where a range was short."""

from statistics import fmean
from typing import Any

import pandas as pd

from tcmax.audit.budgets import stays_from, verdicts_by_budget
from tcmax.experiment import tuning
from tcmax.metrics import METRICS
from tcmax.records.files import read_json
from tcmax.report.numbers import joined
from tcmax.report.report_records import DatasetRecords, ReportRecords
from tcmax.report.tables import Block, Column, Row, Table, TableCell

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
