"""The command line. A command parses its arguments, calls one public function and prints what it returns.

Imports stand inside the commands, so that `tcmax --help` is quick and no command loads torch without need.
"""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from tcmax import __version__
from tcmax.errors import TcmaxError
from tcmax.records import arithmetic

app = typer.Typer(
    name="tcmax",
    help="Is a claimed gain in multimodal learning real? Train the grid, compare with honest intervals, judge claims.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
data_app = typer.Typer(help="Datasets: list, describe, download, verify.", no_args_is_help=True)
audit_app = typer.Typer(help="Judge claims: from this project's runs, or from published tables.", no_args_is_help=True)
app.add_typer(data_app, name="data")
app.add_typer(audit_app, name="audit")

ExperimentName = Annotated[
    str, typer.Argument(metavar="EXPERIMENT", help="Name of a file in config/ without .yaml, or a path to one.")
]
Results = Annotated[Path, typer.Option(help="Folder of results; every experiment has a folder in it.")]
Reports = Annotated[Path, typer.Option(help="Folder of reports; every experiment has a folder in it.")]


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command()
def plan(
    experiment: ExperimentName,
    power: Annotated[
        bool, typer.Option("--power", help="How many seeds and test items would decide, from runs that are scored.")
    ] = False,
    gain: Annotated[
        float, typer.Option(help="With --power: smallest gain of interest, in the metric's unit (0.01: one point).")
    ] = 0.01,
    metric: Annotated[str, typer.Option(help="With --power: which metric.")] = "accuracy",
    chance: Annotated[
        float, typer.Option(help="With --power: the power to plan for, the chance of a supported verdict.")
    ] = 0.8,
    results: Results = Path("results"),
) -> None:
    """Print runs, jobs, estimated hours and disk before training. With --power: what would decide."""
    if power:
        from tcmax.commands.power import power_plan, power_text

        rows = power_plan(_experiment(experiment), results, gain, metric, chance)
        typer.echo(power_text(rows, gain, metric, chance))
        return
    from tcmax.commands.plan import plan_text

    typer.echo(plan_text(_experiment(experiment, parts=True), results))


@app.command()
def looks(
    experiment: ExperimentName,
    at: Annotated[
        str | None, typer.Option(help="By hand: numbers of seeds at which to look, fixed beforehand, as 4,8,12,16,20.")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(help="In an experiment with `sequential`: take the look at so many seeds.")
    ] = None,
    metric: Annotated[str, typer.Option(help="With --at: which metric.")] = "accuracy",
    results: Results = Path("results"),
) -> None:
    """Look at the seeds so far: which pairs need more?

    The looks are recorded and bind: from then on every comparison is corrected for them, and only at these numbers of
    seeds (docs/statistics.md, Looking before the end).
    """
    from tcmax.commands.looks import looks, looks_text, take_look

    loaded = _experiment(experiment)
    if (at is None) == (seeds is None):
        raise TcmaxError("give --at with the looks planned by hand, or --seeds in an experiment with `sequential`.")
    if seeds is not None:
        found = take_look(loaded, results, seeds)
        metric = loaded.settings.sequential.metric
    else:
        numbers = str(at).split(",")
        if not all(part.strip().isdigit() for part in numbers):
            raise TcmaxError(f"--at takes numbers of seeds with commas between them, not {at!r}.")
        found = looks(loaded, results, [int(part) for part in numbers], metric)
    typer.echo(looks_text(found, metric))


@app.command()
def splits(
    experiment: ExperimentName,
    a: Annotated[str, typer.Argument(help="A variant.")],
    b: Annotated[str, typer.Argument(help="The variant it is compared with.")],
    metric: Annotated[str, typer.Option(help="Which metric.")] = "accuracy",
    readout: Annotated[str | None, typer.Option(help="Which prediction; the variant's own when not given.")] = None,
    results: Results = Path("results"),
) -> None:
    """Compare two variants over repeated random splits. Each split is a dataset: for new training and test sets."""
    from tcmax.commands.splits import compare_splits, splits_text

    typer.echo(splits_text(compare_splits(_experiment(experiment), results, a, b, metric, readout)))


@app.command()
def prepare(
    context: typer.Context,
    dataset: Annotated[
        str, typer.Argument(help="A dataset of the experiment; with --source, crema-d ... or mvsa-single.")
    ],
    experiment: Annotated[str, typer.Option(help="Experiment that uses it.")] = "digits",
    results: Results = Path("results"),
    source: Annotated[
        Path | None, typer.Option(help="Prepare a tensor store from the raw media in this folder.")
    ] = None,
    store: Annotated[Path | None, typer.Option(help="Where the store goes; $TCMAX_DATA/stores/DATASET else.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the random crop of sound, one a clip.")] = 0,
    size: Annotated[int, typer.Option(help="Side of stored frames, in pixels.")] = 224,
    fidelity: Annotated[str, typer.Option(help="reference, or release for the released quirks.")] = "reference",
    switch: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Set one quirk (docs/raw-media.md); repeatable.")
    ] = None,
    processes: Annotated[int | None, typer.Option(min=1, help="How many processes decode; one a core else.")] = None,
    failed_share: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Stop when more than this share of the clips cannot be prepared.")
    ] = 0.01,
    weights: Annotated[Path | None, typer.Option(help="mvsa-single: file with the weights of the CLIP model.")] = None,
    model: Annotated[str, typer.Option(help="mvsa-single: rn50 or vit-b-32.")] = "rn50",
    labels: Annotated[str, typer.Option(help="mvsa-single: agree or merged (docs/raw-media.md).")] = "agree",
) -> None:
    """Check a dataset and write its facts. With --source: make its store from raw media (docs/raw-media.md)."""
    if source is not None:
        from tcmax.commands.prepare_media import Choices, prepare_media, prepare_tweets
        from tcmax.data.media.store import Effort

        effort = Effort(processes or os.cpu_count() or 1, failed_share)
        tweets = dataset == "mvsa-single"
        others = ("size", "seed", "fidelity", "switch") if tweets else ("weights", "model", "labels")
        sources = {f"--{name}": context.get_parameter_source(name) for name in others}
        ignored = [option for option, source in sources.items() if source and source.name == "COMMANDLINE"]
        if ignored:
            raise TcmaxError(f"{dataset} does not take {', '.join(ignored)}.")
        if tweets:
            if weights is None:
                raise TcmaxError("mvsa-single needs a CLIP model: give the file of its weights with --weights.")
            typer.echo(prepare_tweets(source, weights, model, labels, store, effort=effort))
            return
        choices = Choices(size, seed, fidelity, _pairs(switch))
        typer.echo(prepare_media(dataset, source, store, choices=choices, effort=effort))
        return
    from tcmax.training import datasets

    loaded = _experiment(experiment)
    if dataset not in loaded.settings.datasets:
        known = ", ".join(loaded.settings.datasets)
        raise TcmaxError(f"{loaded.path}: there is no dataset {dataset!r}; it names {known}.")
    typer.echo(datasets.prepare(loaded, dataset, results))


@app.command()
def train(
    experiment: ExperimentName,
    dataset: Annotated[str, typer.Option(help="Dataset of the cell.")],
    variant: Annotated[str, typer.Option(help="Variant of the cell.")],
    fold: Annotated[int, typer.Option(min=0, help="Fold of the cell.")] = 0,
    block: Annotated[int, typer.Option(min=0, help="Which slice of the seed list.")] = 0,
    results: Results = Path("results"),
) -> None:
    """Train one block of seeds. Finished runs are kept; an interrupted one continues from its checkpoint."""
    from tcmax.experiment.grid import Cell
    from tcmax.training import jobs

    loaded = _experiment(experiment, parts=True)
    typer.echo(jobs.train_block(loaded, Cell(dataset, fold, variant), block, results))


@app.command()
def trials(
    experiment: ExperimentName,
    dataset: Annotated[str, typer.Option(help="Dataset of the cell.")],
    variant: Annotated[str, typer.Option(help="Variant of the cell.")],
    fold: Annotated[int, typer.Option(min=0, help="Fold of the cell.")] = 0,
    search: Annotated[int, typer.Option(min=0, help="Which of its independent searches.")] = 0,
    block: Annotated[int, typer.Option(min=0, help="Which slice of the trials.")] = 0,
    test: Annotated[
        bool, typer.Option("--test", help="Once the choice is sealed: predict test items with all trials of the cell.")
    ] = False,
    results: Results = Path("results"),
) -> None:
    """Train a block of trials of a search. They never see a test item; finished ones are kept."""
    from tcmax.experiment.grid import Cell
    from tcmax.training import trials

    loaded = _experiment(experiment, parts=True)
    cell = Cell(dataset, fold, variant)
    if test:
        typer.echo(trials.score_trials(loaded, cell, results))
    else:
        typer.echo(trials.train_trials(loaded, cell, search, block, results))


@app.command()
def tune(experiment: ExperimentName, results: Results = Path("results")) -> None:
    """Choose every variant's settings from its trials, on validation items, and seal the choice."""
    from tcmax.commands.tune import seal, seal_text

    loaded = _experiment(experiment)
    seal(loaded, results)
    typer.echo(seal_text(loaded, results))


@app.command()
def budgets(
    experiment: ExperimentName,
    trials: Annotated[
        int | None, typer.Option(min=0, help="Train and judge at this budget; without it, print all verdicts.")
    ] = None,
    results: Results = Path("results"),
) -> None:
    """Does the ranking depend on the tuning budget? Judges the claims after fewer trials, or none."""
    from tcmax.commands.budgets import budgets_text, run_budget

    loaded = _experiment(experiment, parts=trials is not None)
    typer.echo(budgets_text(loaded, results) if trials is None else run_budget(loaded, results, trials))


@app.command()
def score(
    experiment: ExperimentName,
    dataset: Annotated[str, typer.Option(help="Dataset to score.")],
    results: Results = Path("results"),
) -> None:
    """Turn predictions into scores. Writes the item scores, scores and histories of all runs on a dataset."""
    from tcmax.commands.analyse import score_dataset

    for path in score_dataset(_experiment(experiment), dataset, results):
        typer.echo(path)


@app.command()
def compare(experiment: ExperimentName, results: Results = Path("results")) -> None:
    """Turn scores into estimates, intervals and tests. Tests are corrected within families, which are named."""
    from tcmax.commands.analyse import compare_experiment

    typer.echo(compare_experiment(_experiment(experiment), results))


@app.command()
def report(
    experiment: ExperimentName,
    results: Results = Path("results"),
    reports: Reports = Path("reports"),
    processes: Annotated[int, typer.Option(min=1, help="How many processes draw figures.")] = 1,
) -> None:
    """Render the page, the article, tables and figures. Reads what the earlier stages wrote."""
    from tcmax.commands.analyse import report_experiment

    typer.echo(report_experiment(_experiment(experiment), results, reports, processes))


@app.command()
def verify(
    experiment: ExperimentName,
    write: Annotated[bool, typer.Option("--write", help="Make these results the reference instead.")] = False,
    identical: Annotated[
        bool, typer.Option("--identical", help="Exit with status 1 unless the bytes are identical.")
    ] = False,
    results: Results = Path("results"),
    reports: Reports = Path("reports"),
) -> None:
    """Compare results with the committed reference, config/reference/EXPERIMENT.json.

    Exit status 0: identical bytes, or equal to rounding; 1: same verdicts, other numbers; 3: other verdicts.
    """
    from tcmax.commands import verify

    loaded = _experiment(experiment)
    if write:
        typer.echo(verify.write_reference(loaded, results, reports))
        return
    found = verify.verify(loaded, results, reports)
    typer.echo(found.text)
    if found.status(identical):
        raise typer.Exit(found.status(identical))


@app.command()
def theory(
    laws: Annotated[Path, typer.Argument(help="Laws to compute on.")] = Path("config/theory.yaml"),
    results: Results = Path("results"),
    reports: Reports = Path("reports"),
) -> None:
    """Compute on known laws what the loss can reach. Writes a report on heads, batches, priors and samples."""
    from tcmax.commands.theory import run_theory

    typer.echo(run_theory(laws, results, reports))


@app.command("import")
def import_results(
    mapping: Annotated[Path, typer.Argument(help="Mapping file (YAML) that says what the columns of the files mean.")],
    results: Results = Path("results"),
    config: Annotated[Path, typer.Option(help="Folder for the experiment file.")] = Path("config"),
) -> None:
    """Take in predictions or scores made elsewhere. CSV, Parquet or NPZ, with a mapping (docs/foreign-results.md)."""
    from tcmax.commands.imports.write import import_results

    for line in import_results(mapping, results, config):
        typer.echo(line)


@app.command()
def why(
    file: Annotated[Path, typer.Argument(help="A file under results/ or reports/.")],
    results: Results = Path("results"),
) -> None:
    """Say what produced a file, and why it would be rebuilt."""
    from tcmax.commands.why import why_text

    typer.echo(why_text(file, results))


@app.command()
def doctor() -> None:
    """Print versions, devices, and what is missing for which task."""
    from tcmax.commands.doctor import doctor_text

    typer.echo(doctor_text())


@data_app.command("list")
def data_list() -> None:
    """List datasets and whether their files are here."""
    from tcmax.data.fetching.fetch import listing

    typer.echo(listing())


@data_app.command("info")
def data_info(name: Annotated[str, typer.Argument(help="Dataset, or a feature file of yours.")]) -> None:
    """Print a dataset's licence, source, citation and caveats."""
    from tcmax.data.fetching.fetch import info

    typer.echo(info(name))


@data_app.command("fetch")
def data_fetch(
    name: Annotated[str, typer.Argument(help="Dataset.")],
    root: Annotated[Path | None, typer.Option(help="Where to put it; $TCMAX_DATA when not given.")] = None,
) -> None:
    """Download a dataset's public originals and rebuild it. The decoded content is verified."""
    from tcmax.data.fetching.fetch import fetch

    typer.echo(fetch(name, root))


@data_app.command("verify")
def data_verify(
    name: Annotated[str, typer.Argument(help="Dataset.")],
    root: Annotated[Path | None, typer.Option(help="Where it is; $TCMAX_DATA when not given.")] = None,
) -> None:
    """Verify the decoded content of a dataset against its checksums."""
    from tcmax.data.fetching.fetch import verify

    typer.echo(verify(name, root))


@audit_app.command("claims")
def audit_claims(
    experiment: ExperimentName,
    claims: Annotated[Path | None, typer.Option(help="Claims file; the experiment's own when not given.")] = None,
    fail_on: Annotated[
        str | None, typer.Option(help="Exit with status 3 when a claim gets this verdict, e.g. contradicted.")
    ] = None,
    influence: Annotated[
        bool, typer.Option("--influence", help="Also say which single seed, group or dataset would turn a verdict.")
    ] = False,
    results: Results = Path("results"),
) -> None:
    """Judge the claims of an experiment from its item scores."""
    from tcmax.commands.analyse import audit_experiment

    lines, failed = audit_experiment(_experiment(experiment), results, claims, fail_on, influence)
    for line in lines:
        typer.echo(line)
    if failed:
        raise typer.Exit(3)


@audit_app.command("discrepancies")
def audit_discrepancies(experiment: ExperimentName, results: Results = Path("results")) -> None:
    """Say what each deviation of released code changes. Lists the conclusions that it would have changed."""
    from tcmax.commands.analyse import discrepancies_experiment

    for line in discrepancies_experiment(_experiment(experiment), results):
        typer.echo(line)


@audit_app.command("multiverse")
def audit_multiverse(
    experiment: ExperimentName,
    claims: Annotated[Path | None, typer.Option(help="Claims file; the experiment's own when not given.")] = None,
    results: Results = Path("results"),
) -> None:
    """Say which verdicts hold under other choices. Varies epoch, population, alpha, metric, read-out, datasets."""
    from tcmax.commands.analyse import multiverse_experiment

    for line in multiverse_experiment(_experiment(experiment), results, claims):
        typer.echo(line)


@audit_app.command("published")
def audit_published(
    table: Annotated[Path, typer.Argument(help="A published table as CSV.")],
    metadata: Annotated[Path | None, typer.Option(help="Its metadata; TABLE.yaml beside it when not given.")] = None,
    out: Annotated[Path | None, typer.Option(help="Also write the findings as JSON here.")] = None,
) -> None:
    """Audit a published table from its printed numbers. Checks rounding, GRIM, noise, emphasis, claims."""
    from tcmax.audit import published

    typer.echo(published.to_text(published.run(table, metadata, out)))


@audit_app.command("paper")
def audit_paper(
    claims: Annotated[Path, typer.Argument(help="Claims about printed tables.")] = Path(
        "config/claims/tcmax-paper.yaml"
    ),
    out: Annotated[
        Path | None, typer.Option(help="Also write the audit here: JSON for a .json name, else text.")
    ] = None,
    fail_on: Annotated[
        str | None, typer.Option(help="Exit with status 3 when a claim gets this answer, e.g. fails or contradicted.")
    ] = None,
) -> None:
    """Judge a paper's sentences from its printed tables. Needs no runs (docs/audit.md)."""
    from tcmax.audit import paper_verdicts

    audit, failed = paper_verdicts.audit_paper(claims, out, fail_on)
    typer.echo(paper_verdicts.to_text(audit), nl=False)
    if failed:
        raise typer.Exit(3)


@audit_app.command("diff")
def audit_diff(
    a: Annotated[Path, typer.Argument(help="Earlier audit: verdicts.parquet, results/EXPERIMENT, or JSON.")],
    b: Annotated[Path, typer.Argument(help="Later audit.")],
) -> None:
    """Show which verdicts changed between two audits. Exit status 0: none did; 1: some did, came or went."""
    from tcmax.audit.diff import diff, to_text

    comparison = diff(a, b)
    typer.echo(to_text(comparison), nl=False)
    if comparison.differences:
        raise typer.Exit(1)


def _pairs(switches: list[str] | None) -> dict[str, str]:
    """NAME=VALUE options as a mapping."""
    pairs = {}
    for text in switches or []:
        name, equals, value = text.partition("=")
        if not equals:
            raise TcmaxError(f"--switch {text}: give NAME=VALUE.")
        pairs[name] = value
    return pairs


def _experiment(name: str, parts: bool = False):  # type: ignore[no-untyped-def]
    """Load an experiment; `parts` also checks the parameters of methods, heads and encoders (imports torch)."""
    from tcmax.experiment import grid

    loaded = grid.load(name)
    if parts:
        if loaded.settings.imported is not None:
            raise TcmaxError(f"{loaded.path}: {loaded.name} holds imported results; there is nothing to train.")
        from tcmax.commands.memory import import_for_good

        import_for_good("torch")
        from tcmax.training.spec import check_parts
        from tcmax.training.trials import check_tuning

        check_parts(loaded)
        check_tuning(loaded)
    return loaded


def main() -> None:
    """Entry point: a TcmaxError becomes one sentence and exit status 2."""
    try:
        arithmetic.fix()  # before any command loads torch or numpy
        app()
    except TcmaxError as error:
        print(f"tcmax: error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("tcmax: interrupted; finished runs are kept.", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output left, as `tcmax ... | head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)


if __name__ == "__main__":
    main()
