"""Item scores written straight from matrices, so that a test can compute every number by hand.

    write_items(folder, {variant: {"correct.own": (S, I) matrix, "js.all": ...}}, seeds=..., labels=..., groups=...,
        diverged={variant: [seeds]}, validation={(variant, seed): accuracy}, runs={(variant, metric): [values]})

writes items.parquet, scores.parquet and history.parquet of one dataset. Rows of a matrix are the finished seeds of the
variant in order: the given seeds without its diverged ones.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tcmax.experiment.grid import Experiment
from tcmax.experiment.settings import ExperimentSettings
from tcmax.records import kinds, parquet


def one_claim(folder: Path, **claim: Any) -> Path:
    """A claims file that says: a is larger than b. Keys may be replaced, or added."""
    whole = {
        "id": "c",
        "text": "A is larger.",
        "source": {"document": "d", "section": "s"},
        "origin": "written before",
        "subject": "a",
        "rivals": "b",
        "metric": "nll",
        "relation": "greater",
        **claim,
    }
    path = folder / "claims.yaml"
    path.write_text(yaml.safe_dump({"claims": [whole]}), encoding="utf-8")
    return path


def write_items(
    folder: Path,
    scores: Mapping[str, Mapping[str, Any]],
    *,
    seeds: Sequence[int] | Mapping[str, Sequence[int]] = (0, 1, 2),
    labels: Sequence[int] | None = None,
    groups: Mapping[str, Sequence[Any]] | None = None,
    diverged: Mapping[str, Sequence[int]] | None = None,
    validation: Mapping[tuple[str, int], float] | None = None,
    runs: Mapping[tuple[str, str], Sequence[float]] | None = None,
    selection: str = "last",
    items: Sequence[str] | None = None,
) -> Path:
    diverged = diverged or {}
    columns: dict[str, list[Any]] = {"variant": [], "seed": [], "item": [], "label": []}
    names = sorted({name for of_variant in scores.values() for name in of_variant})
    columns |= {f"group_{name}": [] for name in groups or {}} | {f"score_{name}": [] for name in names}
    run_scores: dict[str, list[Any]] = {"variant": [], "seed": [], "metric": [], "readout": [], "value": []}
    for variant, of_variant in scores.items():
        ran = seeds[variant] if isinstance(seeds, Mapping) else seeds
        finished = [seed for seed in ran if seed not in diverged.get(variant, ())]
        matrices = {name: np.asarray(matrix, dtype=float) for name, matrix in of_variant.items()}
        n_items = next(iter(matrices.values())).shape[1]
        for row, seed in enumerate(finished):
            columns["variant"] += [variant] * n_items
            columns["seed"] += [seed] * n_items
            columns["item"] += items or [f"item-{i:05d}" for i in range(n_items)]
            columns["label"] += list(labels) if labels is not None else [i % 2 for i in range(n_items)]
            for name, of_item in (groups or {}).items():
                columns[f"group_{name}"] += [str(group) for group in of_item]
            for name in names:
                columns[f"score_{name}"] += matrices[name][row].tolist()
            for (label, metric), values in (runs or {}).items():
                if label == variant:
                    for key, value in zip(run_scores, (variant, seed, metric, "own", values[row]), strict=True):
                        run_scores[key].append(value)
    readouts = dict.fromkeys(name.partition(".")[2] for name in names)
    header = {
        "variants": list(scores),
        "selections": [selection],
        "own": dict.fromkeys(scores, "joint"),
        "modalities": [name for name in readouts if name not in ("own", "joint", "all")],
        "classes": [f"class {c}" for c in range(max(columns["label"], default=0) + 1)],
        "diverged": {variant: list(of_variant) for variant, of_variant in diverged.items()},
    }
    common = {"dataset": folder.name, "fold": 0, "selection": selection}
    parquet.write(folder / "items.parquet", kinds.ITEM_SCORES, {**common, **columns}, header)
    n = len(run_scores["seed"])
    facts = {"dataset": [folder.name] * n, "fold": [None] * n, "selection": [selection] * n, "n_items": [1] * n}
    parquet.write(folder / "scores.parquet", kinds.SCORES, {**facts, **run_scores})
    # an early epoch, and the last one with the accuracy that is meant
    history = [
        (v, s, e, value) for (v, s), last in (validation or {}).items() for e, value in ((0, 1 - last), (4, last))
    ]
    parquet.write(
        folder / "history.parquet",
        kinds.HISTORY,
        {
            "dataset": [folder.name] * len(history),
            "fold": [0] * len(history),
            "variant": [row[0] for row in history],
            "seed": [row[1] for row in history],
            "epoch": [row[2] for row in history],
            "quantity": ["accuracy.val.own"] * len(history),
            "value": [row[3] for row in history],
        },
    )
    return folder


def made_up(
    variants: Sequence[str] = ("a", "b"),
    datasets: Sequence[str] = ("toy",),
    seeds: Sequence[int] = (0, 1, 2),
    families: Mapping[str, str] | None = None,
    reference: str | None = None,
    n_folds: int = 1,
) -> Experiment:
    """An experiment with these labels, as if read from config/made-up.yaml."""
    settings = {
        "name": "made-up",
        "title": "Made up",
        "seeds": list(seeds),
        "reference_variant": reference,
        "training": {"epochs": 5, "batch_size": 8, "learning_rate": 0.1},
        "datasets": {dataset: {"folds": n_folds} for dataset in datasets},
        "variants": {label: {"method": "joint", "family": (families or {}).get(label)} for label in variants},
    }
    return Experiment(Path("config/made-up.yaml"), ExperimentSettings.model_validate(settings))
