"""Made-up runs for tests of everything right of PREDICTIONS: files as training writes them, without training.

    write_runs(results, *, experiment="made-up", dataset="toy", variants=("a", "b"), seeds=(0, 1, 2), n_test=40,
               n_val=30, n_classes=3, modalities=("left", "right"), n_folds=1, groups={"speaker": 5}, skill=2.0,
               diverged=(), readouts={}, selections=("last", "best_val", "best_test_oracle"), epochs=3,
               seeds_per_job=12, random_seed=0) -> list[Path]

        Writes PREDICTIONS, HISTORY and block manifests under results/experiment/dataset and returns the manifests in
        grid order. n_test and n_val count items per fold; test items of different folds differ. skill: how far the
        true class is raised, for all, or {variant: number}, or {(variant, modality): number}. diverged:
        {(variant, seed)} or {(variant, seed, fold)}. readouts: {variant: its own joint read-out}.

    score_runs(results, *, reference_variant=None, **as_above) -> Path

        The same, then scored: returns the dataset's folder with items.parquet, scores.parquet and history.parquet.

    edit_predictions(manifest, seed, selection, change) -> None

        Rewrites one predictions file with `change(columns, header)` applied in place and seals it in the manifest
        again, as if training had written it so.

Logits are additive: joint = sum over modalities. Items share their difficulty over variants and seeds, so that pairing
matters. Equal arguments give equal bytes.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tcmax.records import kinds, parquet
from tcmax.records.files import read_json, sha256, write_json

Skill = float | Mapping[Any, float]
Columns = dict[str, Any]


def write_runs(
    results: Path,
    *,
    experiment: str = "made-up",
    dataset: str = "toy",
    variants: Sequence[str] = ("a", "b"),
    seeds: Sequence[int] = (0, 1, 2),
    n_test: int = 40,
    n_val: int = 30,
    n_classes: int = 3,
    modalities: Sequence[str] = ("left", "right"),
    n_folds: int = 1,
    groups: Mapping[str, int] | None = None,
    skill: Skill = 2.0,
    diverged: Collection[tuple[Any, ...]] = (),
    readouts: Mapping[str, str] | None = None,
    selections: Sequence[str] = ("last", "best_val", "best_test_oracle"),
    epochs: int = 3,
    seeds_per_job: int = 12,
    random_seed: int = 0,
) -> list[Path]:
    groups = {"speaker": 5} if groups is None else groups
    blocks = [seeds[start : start + seeds_per_job] for start in range(0, len(seeds), seeds_per_job)]
    manifests = []
    for fold in range(n_folds):
        items = _items(fold, n_val, n_test, n_classes, modalities, groups, random_seed)
        for variant in variants:
            folder = Path(results) / experiment / dataset / f"fold_{fold}" / variant
            for block, block_seeds in enumerate(blocks):
                runs = []
                for seed in block_seeds:
                    common = {"dataset": dataset, "fold": fold, "variant": variant, "seed": seed}
                    key = f"key-{variant}-{seed}-{fold}"
                    failed = (variant, seed) in diverged or (variant, seed, fold) in diverged
                    written = [_write_history(folder / f"seed_{seed}", common, key, epochs, modalities)]
                    for selection in () if failed else selections:
                        rng = np.random.default_rng([random_seed, fold, seed, *f"{variant} {selection}".encode()])
                        logits = {
                            name: _logits(items, name, _skill(skill, variant, name), rng, n_classes)
                            for name in modalities
                        }
                        path = folder / f"seed_{seed}" / f"predictions_{selection}.parquet"
                        columns = {**common, "run_key": key, **items["columns"]}
                        columns |= {f"logits_{name}": values for name, values in logits.items()}
                        columns["logits_joint"] = np.sum(list(logits.values()), axis=0, dtype=np.float32)
                        header = {
                            "selection": selection,
                            "readout": (readouts or {}).get(variant, "joint"),
                            "classes": [f"class {c}" for c in range(n_classes)],
                        }
                        parquet.write(path, kinds.PREDICTIONS, columns, header)
                        written.append(path)
                    runs.append(
                        {
                            "seed": seed,
                            "run_key": key,
                            "status": "diverged" if failed else "finished",
                            "epoch": 1 if failed else None,
                            "files": {path.stem: _sealed(path, folder) for path in written},
                        }
                    )
                manifest = folder / f"block_{block}.json"
                facts = {"experiment": experiment, "dataset": dataset, "fold": fold, "variant": variant, "block": block}
                write_json(manifest, {"schema_version": 1, **facts, "runs": runs})
                manifests.append(manifest)
    return manifests


def score_runs(results: Path, *, reference_variant: str | None = None, **runs: Any) -> Path:
    from tcmax.metrics.scoring import score

    manifests = write_runs(results, **runs)
    folder = manifests[0].parent.parent.parent
    score(
        manifests,
        reference_variant,
        folder / "items.parquet",
        folder / "scores.parquet",
        folder / "history.parquet",
    )
    return folder


def edit_predictions(
    manifest: Path, seed: int, selection: str, change: Callable[[Columns, dict[str, Any]], None]
) -> None:
    content = read_json(manifest)
    run = next(run for run in content["runs"] if run["seed"] == seed)
    path = manifest.parent / run["files"][f"predictions_{selection}"]["path"]
    table, header = parquet.read(path, kinds.PREDICTIONS), parquet.header(path)
    columns: Columns = {
        name: parquet.logits(table, name.removeprefix("logits_")) if name.startswith("logits_") else column.to_pylist()
        for name, column in zip(table.column_names, table.columns, strict=True)
    }
    change(columns, header)
    parquet.write(path, kinds.PREDICTIONS, columns, header)
    run["files"][path.stem] = _sealed(path, manifest.parent)
    write_json(manifest, content)


def _sealed(path: Path, folder: Path) -> dict[str, str]:
    return {"path": str(path.relative_to(folder)), "sha256": sha256(path)}


def _items(
    fold: int,
    n_val: int,
    n_test: int,
    n_classes: int,
    modalities: Sequence[str],
    groups: Mapping[str, int],
    random_seed: int,
) -> dict[str, Any]:
    """What all runs of a fold share: ids, labels, groups, and how hard each item is in each modality."""
    rng = np.random.default_rng([random_seed, fold])
    n = n_val + n_test
    labels = np.r_[np.arange(n_val) % n_classes, np.arange(n_test) % n_classes]
    columns: dict[str, Any] = {
        "split": ["val"] * n_val + ["test"] * n_test,
        "item": [f"val-{fold}-{i:04d}" for i in range(n_val)] + [f"item-{fold}-{i:04d}" for i in range(n_test)],
        "label": labels,
    }
    for name, count in groups.items():
        columns[f"group_{name}"] = [f"{name} {i}" for i in rng.integers(count, size=n)]
    difficulty = {name: rng.normal(size=(n, n_classes)) for name in modalities}
    return {"columns": columns, "difficulty": difficulty}


def _skill(skill: Skill, variant: str, modality: str) -> float:
    if isinstance(skill, Mapping):
        return float(skill.get((variant, modality), skill.get(variant, 2.0)))
    return float(skill)


def _logits(items: dict[str, Any], modality: str, skill: float, rng: np.random.Generator, n_classes: int) -> np.ndarray:
    labels = items["columns"]["label"]
    noise = items["difficulty"][modality] + 0.5 * rng.normal(size=(len(labels), n_classes))
    values: np.ndarray = (skill * np.eye(n_classes)[labels] + noise).astype(np.float32)
    return values


def _write_history(folder: Path, common: dict[str, Any], key: str, epochs: int, modalities: Sequence[str]) -> Path:
    readouts = (*modalities, "joint", "own")
    rows = [
        (epoch, quantity, value)
        for epoch in range(epochs)
        for quantity, value in (
            ("loss", 1.0 / (1 + epoch)),
            *((f"accuracy.val.{name}", 0.5 + 0.1 * epoch) for name in readouts),
            *((f"accuracy.test.{name}", 0.4 + 0.1 * epoch) for name in readouts),
        )
    ]
    path = folder / "history.parquet"
    columns = dict(zip(("epoch", "quantity", "value"), map(list, zip(*rows, strict=True)), strict=True))
    parquet.write(path, kinds.HISTORY, {**common, **columns}, {"run_key": key})
    return path
