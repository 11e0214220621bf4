"""Verdicts at smaller tuning budgets: does the ranking depend on how long every variant was tuned?"""

from collections.abc import Mapping
from pathlib import Path

from tcmax.experiment import tuning
from tcmax.experiment.grid import Experiment
from tcmax.records import kinds, parquet

VERDICTS = "verdicts.parquet"


def verdicts_by_budget(experiment: Experiment, results: Path) -> dict[str, dict[int, str]]:
    """Claim -> {number of trials: verdict}, of the budgets that were judged and of the whole search."""
    folders = {b: tuning.budget_results(experiment, results, b) for b in tuning.tuning_of(experiment).budgets}
    folders[tuning.tuning_of(experiment).trials] = results
    found: dict[str, dict[int, str]] = {}
    for budget, folder in folders.items():
        path = folder / experiment.name / VERDICTS
        if path.is_file():
            table = parquet.read(path, kinds.VERDICTS, columns=["claim", "verdict"])
            for claim, verdict in zip(table["claim"].to_pylist(), table["verdict"].to_pylist(), strict=True):
                found.setdefault(claim, {})[budget] = verdict
    return found


def stays_from(verdicts: Mapping[int, str]) -> int | None:
    """The smallest budget from which a verdict stays what it is at the largest one; None without budgets."""
    stays = None
    last = verdicts[max(verdicts)] if verdicts else None
    for budget in sorted(verdicts, reverse=True):
        if verdicts[budget] != last:
            break
        stays = budget
    return stays
