"""`tcmax budgets`: the same claims, had the search been smaller, or had there been none.

At each smaller budget every variant gets what the first so many of its trials would have chosen; the experiment's
seeds are trained with that and judged as ever, under results/<experiment>/budgets/<n>/. Runs that a budget shares with
another one, because they chose alike, are not trained again.
"""

import os
import shutil
from pathlib import Path

from tcmax.audit.budgets import stays_from, verdicts_by_budget
from tcmax.commands import analyse
from tcmax.commands.tune import seal_budget
from tcmax.errors import TcmaxError
from tcmax.experiment import tuning
from tcmax.experiment.grid import Cell, Experiment
from tcmax.records.files import read_json


def run_budget(experiment: Experiment, results: Path, budget: int) -> Path:
    """Train, score and judge an experiment at one of its smaller budgets; returns the file of verdicts.

    Raises TcmaxError for another budget, before the choice is sealed, and without claims.
    """
    from tcmax.training import datasets
    from tcmax.training.jobs import train_block

    budgets = tuning.tuning_of(experiment).budgets
    if budget not in budgets:
        known = ", ".join(map(str, budgets)) or "none"
        raise TcmaxError(f"{experiment.path}: tuning.budgets: {budget} is none of them; known: {known}.")
    tuning.read_choices(experiment, results)
    smaller, folder = tuning.at_budget(experiment, budget), tuning.budget_results(experiment, results, budget)
    if budget:
        seal_budget(experiment, results, budget)
    for dataset in smaller.settings.datasets:
        datasets.prepare(smaller, dataset, folder)
        for cell in smaller.cells():
            if cell.dataset == dataset:
                adopt(experiment, results, cell, budget)
                for block in range(len(smaller.blocks)):
                    train_block(smaller, cell, block, folder)
        analyse.score_dataset(smaller, dataset, folder)
    analyse.audit_experiment(smaller, folder, None, None)
    return folder / experiment.name / "verdicts.parquet"


def adopt(experiment: Experiment, results: Path, cell: Cell, budget: int) -> None:
    """Link runs of a cell that other budgets, or the whole search, have under the key that this budget asks for."""
    from tcmax.training.datasets import load_dataset
    from tcmax.training.jobs import planned_runs

    smaller, folder = tuning.at_budget(experiment, budget), tuning.budget_results(experiment, results, budget)
    others = [results, *(tuning.budget_results(experiment, results, b) for b in tuning.tuning_of(experiment).budgets)]
    dataset = load_dataset(smaller, cell.dataset)
    for run in planned_runs(smaller, cell, smaller.settings.seeds, dataset, dataset.fingerprint(), folder):
        for other in others:
            found = other / run.folder.relative_to(folder)
            record = found / "run.json"
            if (
                other == folder
                or run.folder.is_dir()
                or not record.is_file()
                or read_json(record)["run_key"] != run.key
            ):
                continue
            # Hard links: these files are replaced as a whole and never written into.
            shutil.copytree(found, run.folder, copy_function=os.link, ignore=shutil.ignore_patterns(".*"))


def budgets_text(experiment: Experiment, results: Path) -> str:
    """A line for each claim: its verdict at every budget, and from which on it stays."""
    found = verdicts_by_budget(experiment, results)
    lines = []
    for claim, verdicts in found.items():
        words = ", ".join(f"{b or 'untuned'} {word}" for b, word in sorted(verdicts.items()))
        stays = stays_from(verdicts)
        lines.append(f"{claim}: {words}; the same from {'untuned' if stays == 0 else stays} on")
    return "\n".join(lines)
