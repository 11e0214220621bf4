# What the rules share: the experiment, and named input functions. `tcmax.experiment` is the only validator.

import sys
from functools import cache
from pathlib import Path

from tcmax import errors
from tcmax.experiment import paths, looks, tuning
from tcmax.training import datasets, jobs
from tcmax.commands import analyse
from tcmax.experiment import grid

RESULTS = Path("results")


@cache
def experiment_called(name):
    """A validated experiment; bad input ends Snakemake with the sentence the command line would print."""
    try:
        chosen = analyse.with_import(grid.load(name), RESULTS)
        analyse.check_claims(chosen)
        return chosen
    except errors.TcmaxError as error:
        sys.exit(f"tcmax: error: {error}")


EXPERIMENT = experiment_called(config.get("experiment", "digits"))
NAMES = grid.names()
IMPORTED = analyse.imported(Path("config"), RESULTS)  # name: what was imported
# Imported results come with their data, and with their predictions or their scores: no rule makes these.
TRAINED_HERE = "|".join([name for name in NAMES if name not in IMPORTED] or "-")
SCORED_HERE = "|".join(
    [n for n in NAMES if IMPORTED.get(n, "predictions") == "predictions"] or "-"
)


wildcard_constraints:
    experiment="|".join(NAMES),
    look="[0-9]+",
    dataset="[A-Za-z0-9][A-Za-z0-9._-]*",
    fold="[0-9]+",
    variant="[A-Za-z0-9][A-Za-z0-9._-]*",
    block="[0-9]+",
    search="[0-9]+",
    budget="[0-9]+",


def data_files(wildcards):
    """A user's own feature file, or the store of raw media, when the dataset is or needs one."""
    chosen = experiment_called(wildcards.experiment)
    if wildcards.dataset not in chosen.settings.datasets:
        return []
    features = chosen.settings.datasets[wildcards.dataset].features
    file = features or datasets.store_report(chosen, wildcards.dataset)
    return [file] if file else []


def block_key(wildcards):
    """Hash of the settings, seeds and training-side code of a block."""
    chosen = experiment_called(wildcards.experiment)
    if chosen.settings.tuning is not None:
        checkpoints.tune.get(experiment=wildcards.experiment)
    return jobs.block_key(chosen, cell_of(wildcards), int(wildcards.block), RESULTS)


def cell_of(wildcards):
    """The cell that wildcards name."""
    return analyse.cell_of(wildcards.dataset, wildcards.fold, wildcards.variant)


def choice(wildcards):
    """The sealed choice, where settings are tuned: what a block is trained with is known only then."""
    if experiment_called(wildcards.experiment).settings.tuning is None:
        return []
    # A choice that is sealed again and says the same trains nothing again: its content is in the block's key.
    return ancient(checkpoints.tune.get(experiment=wildcards.experiment).output[0])


def trials_key(wildcards):
    """Hash of the settings, ranges and training-side code of a block of trials."""
    return jobs.trials_key(
        experiment_called(wildcards.experiment),
        cell_of(wildcards),
        int(wildcards.search),
        int(wildcards.block),
    )


def trial_manifests(wildcards):
    """Block manifests of all trials of an experiment."""
    chosen = experiment_called(wildcards.experiment)
    return [
        manifest
        for cell in chosen.cells()
        for manifest in tuning.trial_manifests(chosen, RESULTS, cell)
    ]


def trial_manifests_of_cell(wildcards):
    """Block manifests of the trials of one cell."""
    return tuning.trial_manifests(
        experiment_called(wildcards.experiment), RESULTS, cell_of(wildcards)
    )


def sealed_choice(wildcards):
    """The sealed choice, whose every change is one."""
    return checkpoints.tune.get(experiment=wildcards.experiment).output[0]


def budget_verdicts(wildcards):
    """Verdicts at the smaller budgets that an experiment names."""
    chosen = experiment_called(wildcards.experiment)
    asked = chosen.settings.tuning.budgets if chosen.settings.tuning else ()
    return [
        tuning.budget_results(chosen, RESULTS, budget)
        / chosen.name
        / "verdicts.parquet"
        for budget in asked
    ]


def trials_on_test(wildcards):
    """What the trials of every cell score on test items, where settings are tuned."""
    chosen = experiment_called(wildcards.experiment)
    if chosen.settings.tuning is None:
        return []
    return [
        tuning.cell_folder(RESULTS, chosen.name, cell) / tuning.TEST_MANIFEST
        for cell in chosen.cells()
    ]


def budget_key(wildcards):
    """Hash of what trains and judges an experiment at a smaller budget, besides the choice."""
    chosen = experiment_called(wildcards.experiment)
    return analyse.budget_key(chosen, int(wildcards.budget))


def tune_key(wildcards):
    """Hash of how trials are judged."""
    return analyse.tune_key(experiment_called(wildcards.experiment))


def data_key(wildcards):
    """Hash of the code that reads a dataset."""
    return datasets.data_key(experiment_called(wildcards.experiment), wildcards.dataset)


def asked_for(chosen, dataset, before=None):
    """Block manifests of a dataset; of a sequential experiment those that looks (at fewer seeds) ask for."""
    for look in looks.looks_of(chosen, before):
        # Waits for the look: until it is taken nobody knows which seeds there will be.
        checkpoints.look.get(experiment=chosen.name, look=look)
        if not looks.wanted(chosen, RESULTS, look):
            break
    return looks.manifests_of(chosen, dataset, RESULTS, before)


def manifests(wildcards):
    """Block manifests of a dataset."""
    return asked_for(experiment_called(wildcards.experiment), wildcards.dataset)


def manifests_at_look(wildcards):
    """Block manifests of the datasets that a look is at."""
    chosen, at = experiment_called(wildcards.experiment), int(wildcards.look)
    return [
        manifest
        for dataset in chosen.settings.datasets
        for manifest in asked_for(chosen, dataset, before=at)
    ]


def looks_key(wildcards):
    """Hash of the plan of the looks. A look stays taken when code of the statistics changes."""
    return looks.plan_key(experiment_called(wildcards.experiment))


def stage_key(stage):
    """A parameter function: hash of a stage's code and of the settings it reads."""

    def key(wildcards):
        return analyse.stage_key(stage, experiment_called(wildcards.experiment))

    return key


def of_every_dataset(*names):
    """An input function: files of these names in the folder of every dataset of the experiment."""

    def files(wildcards):
        chosen = experiment_called(wildcards.experiment)
        return [
            RESULTS / chosen.name / dataset / name
            for dataset in chosen.settings.datasets
            for name in names
        ]

    return files


def looks_by_hand(wildcards):
    """The record of looks that were taken by hand: they correct every comparison."""
    chosen = experiment_called(wildcards.experiment)
    path = looks.record_path(chosen, RESULTS)
    return path if chosen.settings.sequential is None and path.is_file() else []


def claims_file(wildcards):
    """The claims file of an experiment."""
    return paths.claims_path(experiment_called(wildcards.experiment)) or []


def verdicts(wildcards):
    """Verdicts, and those under other choices, where the experiment has claims."""
    chosen = experiment_called(wildcards.experiment)
    names = ("verdicts.parquet", "multiverse.parquet")
    return [RESULTS / chosen.name / name for name in names if paths.claims_path(chosen)]


def discrepancies(wildcards):
    """What flipped switches change, where variants have one flipped."""
    chosen = experiment_called(wildcards.experiment)
    names = ("discrepancy_evidence.parquet", "discrepancies.parquet")
    return [RESULTS / chosen.name / name for name in names if chosen.flips]


def gpus(wildcards):
    """GPUs of a training job."""
    return 1 if experiment_called(wildcards.experiment).settings.device == "cuda" else 0
