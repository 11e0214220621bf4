"""One small experiment for tests of the report: made-up runs, scored, compared and judged for real."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from factories import score_runs

from tcmax.audit.claims import audit_claims
from tcmax.audit.multiverse import audit_multiverse
from tcmax.evidence.compare import compare
from tcmax.experiment.grid import Experiment
from tcmax.experiment.settings import ExperimentSettings
from tcmax.records.files import write_json, write_text

DATE = "2026-01-31"
DATASET = "digits-halves"
VARIANTS: dict[str, dict[str, Any]] = {
    "joint": {"method": "joint", "head": "concat", "title": "Joint-Concat"},
    "unimodal": {"method": "unimodal", "title": "Unimodal ensemble"},
    "tcmax": {"method": "tcmax", "head": "concat", "title": "TCMax-Concat"},
}
CLAIMS: list[dict[str, Any]] = [
    {
        "id": "tcmax-beats-joint",
        "text": "TCMax outperforms joint learning.",
        "source": {"document": "A paper", "section": "Abstract"},
        "origin": "published",
        "subject": "tcmax",
        "rivals": "joint",
        "metric": "accuracy",
        "relation": "greater",
    },
    {
        "id": "tcmax-highest",
        "text": "TCMax is the most accurate.",
        "source": {"document": "A paper", "section": "Table 1"},
        "origin": "written before",
        "subject": "tcmax",
        "metric": "accuracy",
        "relation": "largest of",
    },
    {
        "id": "tcmax-is-elegant",
        "text": "TCMax is elegant.",
        "source": {"document": "A paper", "section": "Abstract"},
        "origin": "published",
        "testable": False,
        "reason": "No number can contradict it.",
    },
]
SKILL = {"joint": 1.0, "unimodal": 1.6, "tcmax": 2.6}


def experiment_in(root: Path, **changes: Any) -> Experiment:
    """An experiment whose config would stand in root/config."""
    content: dict[str, Any] = {
        "name": "small",
        "title": "A small experiment",
        "seeds": [0, 1, 2, 3],
        "reference_variant": "unimodal",
        "claims": "small.yaml",
        "training": {"epochs": 3, "batch_size": 8, "learning_rate": 0.1},
        "datasets": {DATASET: {"title": "Halves"}},
        "variants": VARIANTS,
    }
    return Experiment(root / "config" / "small.yaml", ExperimentSettings.model_validate({**content, **changes}))


def write_records(root: Path, experiment: Experiment, claims: list[dict[str, Any]] = CLAIMS, **runs: Any) -> Path:
    """Runs, scores, evidence and verdicts of an experiment under root/results; returns that folder."""
    results = root / "results"
    for dataset in experiment.settings.datasets:
        given: Mapping[str, Any] = {
            "variants": experiment.variants_on(dataset),
            "seeds": experiment.settings.seeds,
            "n_test": 60,
            "n_val": 12,
            "groups": {},
            "skill": SKILL,
            **runs,
        }
        reference = experiment.settings.reference_variant
        score_runs(results, experiment=experiment.name, dataset=dataset, reference_variant=reference, **given)
        write_json(results / experiment.name / dataset / "data.json", facts(dataset))
    compare(experiment, results)
    if experiment.settings.claims is not None:
        path = experiment.path.parent / "claims" / experiment.settings.claims
        write_text(path, yaml.safe_dump({"claims": claims}))
        audit_claims(experiment, results, path)
        audit_multiverse(experiment, results, path)
    return results


def facts(dataset: str) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "id": dataset,
        "title": "Made-up digits",
        "fingerprint": "0123abcd",
        "licence": "CC0",
        "source": "made up",
        "citation": "none",
        "facts": ["0 items of test are identical to a train item"],
        "notes": [],
        "n_items": 72,
        "n_classes": 3,
        "class_names": ["a", "b", "c"],
        "modalities": {"left": [8, 5], "right": [8, 3]},
        "groups": {},
        "folds": [{"train": 10, "val": 12, "test": 60}],
    }
