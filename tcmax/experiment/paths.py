"""Where an experiment's files stand, and the claims file it names."""

from pathlib import Path

from tcmax.experiment.grid import Cell, Experiment
from tcmax.records.files import sha256


def run_folder(results: Path, experiment: str, cell: Cell, seed: int) -> Path:
    """Where one run is written."""
    return results / experiment / cell.dataset / f"fold_{cell.fold}" / cell.variant / f"seed_{seed}"


def claims_path(experiment: Experiment) -> Path | None:
    """The claims file an experiment names, under claims/ beside the experiment file."""
    if experiment.settings.claims is None:
        return None
    return experiment.path.parent / "claims" / experiment.settings.claims


def claims_hash(experiment: Experiment) -> str | None:
    """SHA-256 of the claims file as it is now: kept with each run, so that a later change can be told."""
    path = claims_path(experiment)
    return sha256(path) if path is not None and path.is_file() else None
