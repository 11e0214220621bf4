"""Whether a comparison was fair: what every variant was allowed, and what its training cost.

What is counted (trials, epochs, items, steps, passes) is equal in equal runs and is a table with CSV and LaTeX. What is
measured (time, memory) differs from run to run, so it stands on the page alone.
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd

from tcmax.errors import TcmaxError
from tcmax.experiment.grid import Experiment
from tcmax.methods import METHODS
from tcmax.models.fusion import HEADS
from tcmax.records.files import read_json
from tcmax.report.numbers import count, joined, places_for
from tcmax.report.report_records import DatasetRecords, ReportRecords
from tcmax.report.signature import signed
from tcmax.report.tables import Block, Column, Row, Table, TableCell, macros_of
from tcmax.report.tuning import seconds_of


@dataclass(frozen=True)
class Counted:
    """A column: its title, the quantity of HISTORY it averages ("" for none), and whether each modality has one."""

    title: str
    quantity: str = ""
    by_modality: bool = False


COUNTED: dict[str, Counted] = {
    "tuning_trials": Counted("trials"),
    "epochs": Counted("epochs"),
    "train_items": Counted("train"),
    "validation_items": Counted("validation"),
    "optimizer_steps": Counted("steps", "count.optimizer_steps"),
    "encoder_updates": Counted("updates", "count.encoder_updates", True),
    "forward_passes": Counted("forward", "count.forward_passes", True),
    "backward_passes": Counted("backward", "count.backward_passes"),
    "data_passes": Counted("data", "data_passes", True),
    "logit_scale": Counted("logits"),
}
# What variants of a fair comparison have alike; the other columns tell what a method does.
ALIKE = {
    "tuning_trials": "tuning trials",
    "epochs": "epochs",
    "train_items": "train items",
    "validation_items": "validation items",
}


def costs(records: ReportRecords) -> Table:
    """What each variant was allowed and what its training consisted of; counts are means over epochs and runs."""
    blocks, data, notes = [], [], []
    for dataset in records.datasets:
        found = counted(records, dataset)
        rows = [
            Row(records.experiment.title(variant), tuple(_cell(name, values[name]) for name in COUNTED), variant)
            for variant, values in found.items()
            if any(values[name] for name in COUNTED if name != "tuning_trials")
        ]
        if rows:
            columns = tuple(Column(column.title) for column in COUNTED.values())
            blocks.append(Block("Method", ((dataset.title, len(columns)),), columns, tuple(rows)))
        notes += _unlike(dataset, found)
        data += [
            {
                "dataset": dataset.id,
                "variant": variant,
                "quantity": name,
                "of": of,
                "value": value,
                "signature": _signature(records, dataset, variant, name, of),
            }
            for variant, values in found.items()
            for name, by_part in values.items()
            for of, value in by_part.items()
        ]
    caption = (
        "What each variant was allowed: trials spent on tuning, epochs, train and validation items. What an epoch of "
        "its training consists of: optimiser steps; updates and forward passes of an encoder; backward passes; how "
        "often an encoder sees the train items (data). Means over epochs and runs; where modalities differ, the least "
        "and the most. Logits: mean norm of a modality's logits of test items, which sets the scale of entropies."
    )
    frame = pd.DataFrame(data)
    return Table("costs", "Fair comparison", caption, tuple(blocks), frame, tuple(notes), macros_of(frame, _macros))


def _macros(record: Mapping[Hashable, Any]) -> dict[str, str]:
    stem = "/".join(str(record[key]) for key in ("quantity", "dataset", "variant", "of") if record[key])
    return {f"costs/{stem}": f"{record['value']:.6g}"}


def _signature(records: ReportRecords, dataset: DatasetRecords, variant: str, name: str, of: str) -> str:
    rule = records.experiment.settings.selection if name == "logit_scale" else None
    return signed(
        metric=name,
        read_out=of or None,
        of=variant,
        dataset=dataset.id,
        interval="none",
        estimator="as set" if name in ALIKE else "mean over epochs and runs" if rule is None else "mean over runs",
        seeds=len(records.seeds[dataset.id][variant]),
        selection=rule,
        correction="none",
    )


def counted(records: ReportRecords, dataset: DatasetRecords) -> dict[str, dict[str, dict[str, float]]]:
    """Variant -> quantity of `COUNTED` -> {modality, or "" for the whole: value}; empty where no record says it."""
    settings = records.experiment.settings
    history = _history_means(dataset)
    scales = {
        modality: dataset.values("logit_scale", modality, settings.selection).groupby("variant")["value"]
        for modality in dataset.modalities
    }
    norms = {modality: {variant: float(of.mean()) for variant, of in runs} for modality, runs in scales.items()}
    by_variant = {}
    for variant in dataset.variants:
        found: dict[str, dict[str, float]] = {name: {} for name in COUNTED}
        here = settings.tuning.trials * settings.tuning.searches if settings.tuning else 0
        found["tuning_trials"][""] = float(settings.variants[variant].tuning_trials + here)
        for name, items in (("train_items", "train"), ("validation_items", "val")):
            sizes = [facts["items"][items] for facts in _facts(records, dataset, variant) if "items" in facts]
            if sizes:
                found[name][""] = float(np.mean(sizes))
        means = history.get(variant, {})
        if "epochs" in means:
            found["epochs"][""] = means["epochs"]
        for name, column in COUNTED.items():
            for of in dataset.modalities if column.by_modality else ("",):
                key = f"{column.quantity}.{of}" if of else column.quantity
                if key in means:
                    found[name][of] = means[key]
        found["logit_scale"] |= {modality: of[variant] for modality, of in norms.items() if variant in of}
        by_variant[variant] = found
    return by_variant


def _history_means(dataset: DatasetRecords) -> dict[str, dict[str, float]]:
    """Variant -> {quantity of HISTORY: mean over epochs and runs}, and the length of its longest run as "epochs"."""
    if dataset.history is None:
        return {}
    wanted = {
        f"{column.quantity}.{modality}" if column.by_modality else column.quantity
        for column in COUNTED.values()
        for modality in dataset.modalities
    }
    h = dataset.history
    lengths = (h.groupby("variant", sort=False)["epoch"].max() + 1).to_dict()
    means = h[h["quantity"].isin(wanted)].groupby(["variant", "quantity"], sort=False)["value"].mean()
    found = {str(variant): {"epochs": float(length)} for variant, length in lengths.items()}
    for (variant, quantity), value in zip(means.index.to_list(), means.to_list(), strict=True):
        found[str(variant)][str(quantity)] = float(value)
    return found


def _facts(records: ReportRecords, dataset: DatasetRecords, variant: str) -> list[dict[str, Any]]:
    """What one run of each fold recorded of its model and data; none where runs left no folder."""
    found = []
    for fold in sorted((records.folder / dataset.id).glob("fold_*")):
        runs = sorted((fold / variant).glob("seed_*/run.json"))
        found += [read_json(path).get("facts", {}) for path in runs[:1]]
    return found


def _cell(name: str, values: Mapping[str, float]) -> TableCell:
    if not values:
        return TableCell(note="not recorded")
    low, high = min(values.values()), max(values.values())
    if name == "logit_scale":
        mean = float(np.mean(list(values.values())))
        note = ", ".join(f"{modality} {_number(value)}" for modality, value in values.items())
        return TableCell(_number(mean), order=mean, note=note)
    text = _number(low) if _number(low) == _number(high) else f"{_number(low)} to {_number(high)}"
    note = ", ".join(f"{of} {_number(value)}" for of, value in values.items() if of)
    return TableCell(text, order=high, note=note)


def _number(value: float) -> str:
    """Whole numbers as they are, others to three significant digits."""
    return f"{value:,.0f}" if value == round(value) else f"{value:,.{places_for([value])}f}"


def _unlike(dataset: DatasetRecords, found: Mapping[str, Mapping[str, Mapping[str, float]]]) -> list[str]:
    """A sentence for each thing that variants of this dataset did not have alike."""
    sentences = []
    for name, noun in ALIKE.items():
        by_value: dict[float, list[str]] = {}
        for variant, values in found.items():
            if values[name]:
                by_value.setdefault(values[name][""], []).append(variant)
        if len(by_value) > 1:
            parts = (f"{_number(value)} for {joined(variants)}" for value, variants in sorted(by_value.items()))
            sentences.append(f"{dataset.title}: not alike in {noun}: {'; '.join(parts)}.")
    return sentences


# --- measured ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Timing:
    """Time and memory of one variant: title, label, and cells as text. together: seeds that trained side by side.
    timings: how many the time is the median of. tuning: seconds that all its trials took, "" where it has none."""

    title: str
    variant: str
    overhead: str
    seconds: str
    together: str
    memory: str
    timings: str
    tuning: str = ""


@dataclass(frozen=True)
class Timings:
    """Time and memory of the variants on one dataset. baseline: title of the variant that overheads are relative to."""

    dataset: str
    baseline: str
    machines: int
    rows: tuple[Timing, ...]


def timings(records: ReportRecords) -> tuple[Timings, ...]:
    """Median wall time and peak memory of the runs trained in one piece, from their sidecars; none without sidecars.

    Seeds that train side by side are timed once and share that time equally. It is compared with that of a baseline
    whose seeds trained as many at a time, and with no other.
    """
    found = []
    for dataset in records.datasets:
        sidecars = {variant: _sidecars(records, dataset, variant) for variant in dataset.variants}
        seconds = {v: float(np.median([run["seconds"] for run in runs])) for v, runs in sidecars.items() if runs}
        if not seconds:
            continue
        together = {v: sorted({int(run["seeds_together"]) for run in sidecars[v]}) for v in seconds}
        baseline = _baseline(records.experiment, [variant for variant in dataset.variants if variant in seconds])
        machines = {str((run.get("device"), run.get("hardware"))) for runs in sidecars.values() for run in runs}
        rows = []
        for variant, median in seconds.items():
            runs = sidecars[variant]
            memory = max(float(run["peak_memory_mib"]) for run in runs)
            comparable = baseline is not None and seconds[baseline] > 0 and together[variant] == together[baseline]
            overhead = f"{median / seconds[baseline]:.2f}" if baseline and comparable else "–"
            at_once = ", ".join(map(str, together[variant]))
            title, measured = records.experiment.title(variant), count(_n_timings(runs), "timing")
            tuned = seconds_of(records, dataset.id, variant)
            tuning = "" if tuned is None else f"{tuned:,.1f}"
            rows.append(Timing(title, variant, overhead, f"{median:.2f}", at_once, f"{memory:,.0f}", measured, tuning))
        title = records.experiment.title(baseline) if baseline else ""
        found.append(Timings(dataset.title, title, len(machines), tuple(rows)))
    return tuple(found)


def _n_timings(runs: Sequence[Mapping[str, Any]]) -> int:
    """How often the clock was read: once for seeds that trained side by side."""
    return math.ceil(sum(Fraction(1, int(run["seeds_together"])) for run in runs))


def _sidecars(records: ReportRecords, dataset: DatasetRecords, variant: str) -> list[dict[str, Any]]:
    paths = sorted((records.folder / dataset.id).glob(f"fold_*/{variant}/seed_*/sidecar.json"))
    sidecars = [read_json(path) for path in paths]
    return [run for run in sidecars if run.get("resumed_from_epoch") == 0 and "seeds_together" in run]


def _baseline(experiment: Experiment, variants: Sequence[str]) -> str | None:
    """Joint learning with the Concat head, else the first joint variant, else none."""
    joint = [v for v in variants if _called(METHODS, experiment.settings.variants[v].method, "joint")]
    heads = {v: experiment.settings.variants[v].head for v in joint}
    concat = [v for v, head in heads.items() if head is None or _called(HEADS, head.name, "concat")]
    return next(iter([*concat, *joint]), None)


def _called(table: Any, name: str, known: str) -> bool:
    """Whether a config's spelling means an id; names of imported results mean none of ours."""
    try:
        return bool(table.canonical(name) == known)
    except TcmaxError:
        return False
