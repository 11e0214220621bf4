"""What a reader needs to trust a report: splits, missing runs, calibration, deviations, software, how to repeat it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pandas as pd

from tcmax.evidence.rows import ALPHA
from tcmax.experiment.grid import Experiment
from tcmax.experiment.looks import in_words, record_path
from tcmax.experiment.paths import claims_path
from tcmax.experiment.switches import SWITCHES
from tcmax.records import arithmetic, parquet, provenance
from tcmax.records.files import read_json, sha256
from tcmax.report.costs import Timings, timings
from tcmax.report.numbers import count, joined
from tcmax.report.report_records import DatasetRecords, ReportRecords
from tcmax.report.signature import signature
from tcmax.report.tables import POPULATIONS

CALIBRATION = Path("simulations/coverage.csv")


@dataclass(frozen=True)
class Runs:
    """What became of the runs of one dataset; missing and diverged ones by name."""

    dataset: str
    expected: int
    finished: int
    diverged: tuple[str, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Deviation:
    """A documented deviation that is switched on."""

    variant: str
    switch: str
    what: str
    section: str
    value: str


@dataclass(frozen=True)
class Trust:
    """Everything of the trust section that is not a table or a figure."""

    runs: tuple[Runs, ...]
    timings: tuple[Timings, ...]
    splits: tuple[DatasetRecords, ...]
    looks: tuple[str, ...]
    self_control: tuple[str, ...]
    calibration: tuple[str, ...]
    deviations: tuple[Deviation, ...]
    variants: tuple[tuple[str, str, str, str, str], ...]
    software: tuple[str, ...]
    hardware: tuple[str, ...]
    arithmetic: tuple[str, ...]
    signatures: tuple[str, ...]
    claims_sha256: str
    claims_changed: bool | None
    claims_outdated: bool
    commands: tuple[str, ...]


def trust(records: ReportRecords) -> Trust:
    """Collect it from the records, the run folders and the experiment."""
    experiment = records.experiment
    software, hardware, used = _machines(records)
    verdicts, claims = records.verdicts, claims_path(experiment)
    judged = verdicts is not None and not verdicts.empty
    changed = verdicts["claims_changed_after_training"].iloc[0] if verdicts is not None and judged else None
    judged_sha256 = str(verdicts["claims_sha256"].iloc[0]) if verdicts is not None and judged else ""
    return Trust(
        runs=tuple(_runs(records, dataset) for dataset in records.datasets),
        timings=timings(records),
        splits=records.datasets,
        looks=_looks(records),
        self_control=_self_control(records),
        calibration=_calibration(records),
        deviations=_deviations(records),
        variants=tuple(_variant(experiment, label) for label in experiment.settings.variants),
        software=software,
        hardware=hardware,
        arithmetic=used,
        signatures=_signatures(records),
        claims_sha256=judged_sha256,
        claims_changed=None if changed is None or pd.isna(changed) else bool(changed),
        claims_outdated=claims is not None and claims.is_file() and sha256(claims) != judged_sha256,
        commands=(f"snakemake --cores all --config experiment={experiment.name}", f"tcmax report {experiment.name}"),
    )


def _runs(records: ReportRecords, dataset: DatasetRecords) -> Runs:
    experiment = records.experiment
    expected = [(variant, seed) for variant, seeds in records.seeds[dataset.id].items() for seed in seeds]
    state: dict[tuple[str, int], bool] = {}
    if dataset.scores is not None:
        rows = dataset.scores[dataset.scores["metric"] == "diverged"]
        by_run = rows.groupby(["variant", "seed"])["value"].max()
        state = {cast(tuple[str, int], run): bool(value > 0) for run, value in by_run.items()}

    def named(runs: list[tuple[str, int]]) -> tuple[str, ...]:
        by_variant: dict[str, list[str]] = {}
        for variant, seed in runs:
            by_variant.setdefault(variant, []).append(str(seed))
        return tuple(
            f"{experiment.title(variant)}: seed{'s' if len(seeds) > 1 else ''} {joined(seeds)}"
            for variant, seeds in by_variant.items()
        )

    return Runs(
        dataset=dataset.title,
        expected=len(expected),
        finished=sum(1 for run in expected if state.get(run) is False),
        diverged=named([run for run in expected if state.get(run)]),
        missing=named([run for run in expected if run not in state]),
    )


def _variant(experiment: Experiment, label: str) -> tuple[str, str, str, str, str]:
    settings = experiment.settings.variants[label]
    head = settings.head.name if settings.head else "default"
    parameters = ", ".join(f"{name} = {value}" for name, value in settings.parameters.items())
    return experiment.title(label), settings.method, head, settings.fidelity, parameters or "defaults"


def _deviations(records: ReportRecords) -> tuple[Deviation, ...]:
    """Switches whose value is not the reference one, as the runs recorded them."""
    experiment, found = records.experiment, []
    for label in experiment.settings.variants:
        record = _first_run(records, label)
        resolved: dict[str, Any] = record.get("settings", {}).get("switches", {}) if record else {}
        for name, value in resolved.items():
            switch = SWITCHES.get(name)
            if switch is not None and value != switch.reference:
                found.append(Deviation(experiment.title(label), name, switch.what, switch.section, str(value)))
    return tuple(found)


def _first_run(records: ReportRecords, variant: str) -> dict[str, Any] | None:
    for dataset in records.datasets:
        for path in sorted((records.folder / dataset.id).glob(f"fold_*/{variant}/seed_*/run.json")):
            record: dict[str, Any] = read_json(path)
            return record
    return None


def _machines(records: ReportRecords) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Distinct software versions, machines and arithmetic of the runs (empty where runs left no sidecar), the last also
    of the evidence."""
    software: dict[str, int] = {}
    hardware: dict[str, int] = {}
    used: dict[str, int] = {}
    for dataset in records.datasets:
        for path in sorted((records.folder / dataset.id).glob("fold_*/*/seed_*/sidecar.json")):
            sidecar = read_json(path)
            versions = ", ".join(f"{name} {version}" for name, version in sidecar.get("versions", {}).items())
            machine = sidecar.get("hardware", {})
            where = (
                f"{machine.get('processor', 'unknown')}, {machine.get('cores', '?')} cores, {machine.get('system', '')}"
            )
            device = f"{sidecar.get('device', 'cpu')} on {where}"
            software[versions] = software.get(versions, 0) + 1
            hardware[device] = hardware.get(device, 0) + 1
            computed = f"Arithmetic of the runs: {arithmetic.described(sidecar.get('arithmetic'))}"
            used[computed] = used.get(computed, 0) + 1

    def counted(found: dict[str, int]) -> tuple[str, ...]:
        if len(found) == 1:
            return tuple(found)
        return tuple(f"{text} ({count(n, 'run')})" for text, n in found.items())

    evidence = provenance.read_sidecar(records.folder / "evidence.parquet") or {}
    analysed = f"Arithmetic of the analysis: {arithmetic.described(evidence.get('arithmetic'))}"
    return counted(software), counted(hardware), (*counted(used), analysed)


def _calibration(records: ReportRecords) -> tuple[str, ...]:
    """Simulated coverage of the intervals used, at the simulated design closest to this one."""
    if records.evidence is None or not CALIBRATION.is_file():
        return ()
    table = pd.read_csv(CALIBRATION)
    table = table[
        (table["question"] == "coverage") & (table["procedure"] == "default both") & (table["population"] == "both")
    ]
    rows = records.evidence[records.evidence["kind"] == "estimate"]
    if table.empty or rows.empty:
        return ()
    seeds, items = int(rows["n_seeds"].max()), int(rows["n_items"].max())
    distance = (table["n_seeds"] - seeds).abs()
    near = table[distance == distance.min()]
    gap = (near["n_items"] - items).abs()
    near = near[gap == gap.min()]
    low, high = 100 * near["value"].min(), 100 * near["value"].max()
    regimes = joined(str(regime) for regime in dict.fromkeys(near["regime"]))
    return (
        f"Intervals for {POPULATIONS['both']}: nominal 95 %, simulated coverage {low:.1f} to {high:.1f} % with "
        f"{count(near['n_seeds'].iloc[0], 'seed')} and {count(near['n_items'].iloc[0], 'item')} ({regimes}; "
        f"{int(near['repetitions'].min())} repetitions each), the simulated design closest to this one "
        f"({count(seeds, 'seed')}, {count(items, 'item')}).",
    )


def _looks(records: ReportRecords) -> tuple[str, ...]:
    """How seeds were added, which correction the verdicts therefore carry, and what each look found and spent."""
    plan = records.plan
    if plan is None:
        return ()
    path = record_path(records.experiment, records.folder.parent)
    kept = read_json(path) if path.is_file() else {"taken": {}}
    lines = [
        f"The number of seeds was not fixed: pairs were looked at with {in_words(plan.looks)} seeds, to stop once they "
        "are decided. Every verdict, and every interval and p of a comparison, is that of all these looks together "
        f"({100 * (1 - ALPHA):g} % over the whole design; spending boundaries calibrated for t). The ± of a single "
        "variant is not corrected."
    ]
    for n, taken in kept["taken"].items():
        states = [pair["state"] for pair in taken["pairs"]]
        found = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
        lines.append(f"Look at {n} seeds, t at {100 * (1 - taken['alpha']):.2f} %: {found or 'no pair was open'}.")
    if kept.get("superseded"):
        lines.append(
            f"Looks were taken again after runs had changed, {len(kept['superseded'])} times: what the earlier runs "
            "showed is on record as superseded, and no alpha accounts for it."
        )
    return tuple(lines)


def _self_control(records: ReportRecords) -> tuple[str, ...]:
    """How often halves of one method's seeds were told apart, over all methods and datasets, and where most often."""
    if records.evidence is None:
        return ()
    found = parquet.header(records.folder / "evidence.parquet").get("self_comparisons", {})
    tried = {
        (dataset, variant): counts
        for dataset, of_dataset in found.items()
        for variant, counts in of_dataset.items()
        if counts["halvings"]
    }
    if not tried:
        return ()
    halvings = sum(counts["halvings"] for counts in tried.values())
    apart = sum(counts["told_apart"] for counts in tried.values())
    (dataset, variant), worst = max(tried.items(), key=lambda item: item[1]["told_apart"] / item[1]["halvings"])
    alpha = 100 * worst["alpha"]
    lines = [
        f"Halves of one method's seeds against each other, whose true difference is zero: told apart in {apart} of "
        f"{halvings:,} halvings ({100 * apart / halvings:.1f} %, {alpha:g} % allowed; accuracy, {POPULATIONS['both']})."
    ]
    if worst["told_apart"]:
        lines.append(
            f"Most often {records.experiment.title(variant)} on {records.experiment.dataset_title(dataset)}: "
            f"{worst['told_apart']} of {worst['halvings']}; halvings of one method share its runs."
        )
    return tuple(lines)


def _signatures(records: ReportRecords) -> tuple[str, ...]:
    """The line of one number of each kind."""
    if records.evidence is None:
        return ()
    e = records.evidence
    rows = e[
        (e["population"] == "both") & (e["metric"].isin(("accuracy", "js"))) & e["role"].isin(("estimate", "pair"))
    ]
    return tuple(signature(part.iloc[0]) for _, part in rows.groupby(["metric", "role"], sort=False))
