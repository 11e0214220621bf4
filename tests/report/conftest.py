"""The small experiment's records and its report, built once."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from small_report import CLAIMS, DATE, experiment_in, write_records

from tcmax.experiment.grid import Experiment
from tcmax.report.build import build_report


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="session")
def experiment(root: Path) -> Experiment:
    return experiment_in(root)


@pytest.fixture(scope="session")
def results(root: Path, experiment: Experiment) -> Path:
    return write_records(root, experiment)


@pytest.fixture(scope="session")
def report(root: Path, experiment: Experiment, results: Path) -> Path:
    """The folder of the built report."""
    out = root / "reports" / "small"
    build_report(experiment, results, out, DATE)
    return out


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Build the report of a changed experiment; returns its folder. runs: arguments of the made-up runs."""

    def built(claims: list[dict[str, Any]] = CLAIMS, runs: Mapping[str, Any] | None = None, **changes: Any) -> Path:
        root = tmp_path_factory.mktemp("changed")
        experiment = experiment_in(root, **changes)
        results = write_records(root, experiment, claims, **(runs or {}))
        out = root / "report"
        build_report(experiment, results, out, None)
        return out

    return built
