"""The analysis stages as the DAG and the command line call them: where each reads and writes, and its provenance.

The work is done by one function per stage; here are only paths. No stage imports torch.
"""

from pathlib import Path

from tcmax.commands.memory import keep_freed
from tcmax.errors import TcmaxError
from tcmax.experiment import paths, tuning
from tcmax.experiment.grid import Cell, Experiment
from tcmax.experiment.looks import manifests_of
from tcmax.experiment.yaml import read_yaml
from tcmax.records import arithmetic, provenance
from tcmax.records.files import read_json


def score_dataset(experiment: Experiment, dataset: str, results: Path) -> list[Path]:
    """PREDICTIONS of every run on a dataset to ITEM SCORES, SCORES and HISTORY; returns the files written."""
    from tcmax.metrics.scoring import score

    _known(experiment, dataset)
    folder = results / experiment.name / dataset
    manifests = manifests_of(experiment, dataset, results)
    outputs = [folder / "items.parquet", folder / "scores.parquet", folder / "history.parquet"]
    reference = experiment.settings.reference_variant
    score(manifests, reference if reference in experiment.variants_on(dataset) else None, *outputs)
    provenance.write_stage(outputs, "score", "tcmax.metrics.scoring", manifests, {"reference_variant": reference})
    return outputs


def compare_experiment(experiment: Experiment, results: Path) -> Path:
    """ITEM SCORES and SCORES of every dataset to EVIDENCE; returns the file written."""
    from tcmax.evidence.compare import compare

    keep_freed()
    compare(experiment, results)
    output = results / experiment.name / "evidence.parquet"
    provenance.write_stage(
        output, "compare", "tcmax.evidence.compare", _scored(experiment, results), _labels(experiment)
    )
    return output


def audit_experiment(
    experiment: Experiment, results: Path, claims: Path | None, fail_on: str | None, influence: bool = False
) -> tuple[list[str], bool]:
    """Judge the claims; returns the verdict lines, with `influence` also what would turn each verdict by leaving, and
    whether one has the verdict `fail_on`."""
    from tcmax.audit.claims import audit_claims

    keep_freed()
    path = _claims_file(experiment, claims)
    lines, failed = audit_claims(experiment, results, path, fail_on, influence)
    histories = [results / experiment.name / name / "history.parquet" for name in experiment.settings.datasets]
    outputs = [results / experiment.name / name for name in ("claim_evidence.parquet", "verdicts.parquet")]
    inputs = [path, *_scored(experiment, results), *(file for file in histories if file.is_file())]
    provenance.write_stage(outputs, "audit", "tcmax.audit.claims", inputs, _labels(experiment))
    return lines, failed


def multiverse_experiment(experiment: Experiment, results: Path, claims: Path | None) -> list[str]:
    """Judge the claims under all defensible choices; returns a line for each."""
    from tcmax.audit.multiverse import audit_multiverse

    keep_freed()
    path = _claims_file(experiment, claims)
    lines = audit_multiverse(experiment, results, path)
    output = results / experiment.name / "multiverse.parquet"
    inputs = [path, *_scored(experiment, results)]
    provenance.write_stage(output, "multiverse", "tcmax.audit.multiverse", inputs, _labels(experiment))
    return lines


def _claims_file(experiment: Experiment, claims: Path | None) -> Path:
    path = claims or paths.claims_path(experiment)
    if path is None:
        raise TcmaxError(f"{experiment.path} names no claims file; give one with --claims.")
    return path


def discrepancies_experiment(experiment: Experiment, results: Path) -> list[str]:
    """Say what each flipped switch changes; returns a line for each conclusion that it would have changed."""
    from tcmax.audit.discrepancies import audit_discrepancies

    keep_freed()
    claims = paths.claims_path(experiment)
    lines = audit_discrepancies(experiment, results, claims)
    inputs = [*([claims] if claims else []), *_scored(experiment, results)]
    outputs = [results / experiment.name / f"{name}.parquet" for name in ("discrepancy_evidence", "discrepancies")]
    provenance.write_stage(outputs, "discrepancies", "tcmax.audit.discrepancies", inputs, _labels(experiment))
    return lines


def report_experiment(experiment: Experiment, results: Path, reports: Path, processes: int = 1) -> Path:
    """Render everything a reader meets; returns the HTML page. processes: how many draw figures."""
    from tcmax.report.build import build_report

    out = reports / experiment.name
    build_report(experiment, results, out, provenance.now()[:10], processes)
    page = out / "report.html"
    folder = results / experiment.name
    names = ("evidence.parquet", "verdicts.parquet", "multiverse.parquet")
    inputs = [*(folder / name for name in names), *_scored(experiment, results)]
    inputs = [path for path in inputs if path.is_file()]
    provenance.write_stage(page, "report", "tcmax.report.build", inputs, _labels(experiment))
    return page


def _scored(experiment: Experiment, results: Path) -> list[Path]:
    return [
        results / experiment.name / dataset / name
        for dataset in experiment.settings.datasets
        for name in ("items.parquet", "scores.parquet")
    ]


def _labels(experiment: Experiment) -> dict[str, object]:
    """Settings that analysis stages read, as they were."""
    settings = experiment.settings
    looks = {"sequential": settings.sequential.model_dump()} if settings.sequential else {}
    tuned = {"tuning": tuning.as_recorded(settings.tuning)} if settings.tuning else {}
    return {
        **looks,
        **tuned,
        "selection": settings.selection,
        "reference_variant": settings.reference_variant,
        "seeds": list(settings.seeds),
        "flips": [[flip.base, flip.variant] for flip in experiment.flips],
        "variants": {
            label: [variant.title or label, variant.family, variant.tuning_trials]
            for label, variant in settings.variants.items()
        },
    }


def _known(experiment: Experiment, dataset: str) -> None:
    if dataset not in experiment.settings.datasets:
        known = ", ".join(experiment.settings.datasets)
        raise TcmaxError(f"{experiment.path}: there is no dataset {dataset!r}; it names {known}.")


def stage_key(stage: str, experiment: Experiment) -> str:
    """What an analysis stage depends on besides its input files: its code, and the settings it reads."""
    modules = {
        "score": "tcmax.metrics.scoring",
        "compare": "tcmax.evidence.compare",
        "audit": "tcmax.audit.claims",
        "multiverse": "tcmax.audit.multiverse",
        "discrepancies": "tcmax.audit.discrepancies",
        "report": "tcmax.report.build",
    }
    return provenance.digest([provenance.stage_code(modules[stage]), _labels(experiment), arithmetic.asked()])


def tune_key(experiment: Experiment) -> str:
    """What a choice of settings depends on besides its trials: how they are judged."""
    recorded = tuning.as_recorded(tuning.tuning_of(experiment))
    return provenance.digest([recorded, experiment.settings.selection, provenance.stage_code("tcmax.commands.tune")])


def budget_key(experiment: Experiment, budget: int) -> str:
    """What an experiment at a smaller tuning budget depends on besides its data and the sealed choice."""
    from tcmax.training.jobs import block_key

    given = tuning.at_budget(experiment, 0)
    keys = [block_key(given, cell, block) for cell in given.cells() for block in range(len(given.blocks))]
    return provenance.digest([budget, keys, *(stage_key(stage, experiment) for stage in ("score", "audit"))])


def theory_key() -> str:
    """What `tcmax theory` depends on besides its laws: the code that computes, and the code that shows."""
    return provenance.digest(
        [provenance.data_code("tcmax.information.optima"), provenance.stage_code("tcmax.commands.theory")]
    )


def imported(config: Path, results: Path) -> dict[str, str]:
    """Experiments of a folder that were trained elsewhere: name -> what was imported (`foreign.mapping.Content`), or
    "" where the import is gone."""
    found = {}
    for path in sorted(config.glob("*.yaml")):
        settings = read_yaml(path)
        if isinstance(settings, dict) and "imported" in settings:
            record = results / path.stem / "import.json"
            found[path.stem] = str(read_json(record)["content"]) if record.is_file() else ""
    return found


def check_claims(experiment: Experiment) -> None:
    """Read the claims file that an experiment names, so that a mistake in it is met before anything is trained.

    Raises TcmaxError naming the file, the claim and the key.
    """
    path = paths.claims_path(experiment)
    if path is not None:
        from tcmax.audit.schema import load_claims

        load_claims(path, experiment)


def with_import(experiment: Experiment, results: Path) -> Experiment:
    """The experiment; TcmaxError where it was imported and its results are gone."""
    record = results / experiment.name / "import.json"
    if experiment.settings.imported is not None and not record.is_file():
        raise TcmaxError(f"{record} does not exist: what {experiment.path} names is to be imported again.")
    return experiment


def cell_of(dataset: str, fold: str, variant: str) -> Cell:
    """A grid cell from the text of a path."""
    return Cell(dataset, int(fold), variant)
