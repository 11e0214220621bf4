"""Imported runs as records, as if they had been trained here, and the experiment file that makes every stage find them.

Predictions become PREDICTIONS with block manifests, to be scored; correctness per item becomes ITEM SCORES with SCORES;
scores of whole runs become SCORES, with ITEM SCORES that hold no score and only say which runs and items there are.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tcmax.commands.imports.mapping import Mapping, Named, load_mapping
from tcmax.commands.imports.runs import Foreign, Key, Run, describe, read_runs
from tcmax.errors import TcmaxError
from tcmax.evidence.scoreboard import VALIDATION
from tcmax.experiment.grid import Cell, load
from tcmax.experiment.paths import run_folder
from tcmax.experiment.yaml import read_yaml
from tcmax.metrics import METRICS
from tcmax.metrics.accuracy import macro_f1
from tcmax.records import kinds, parquet, provenance
from tcmax.records.files import sha256, write_json, write_text
from tcmax.records.manifests import MANIFEST_VERSION

_DERIVED = ("evidence.parquet", "claim_evidence.parquet", "verdicts.parquet")
_SCORED = ("items.parquet", "scores.parquet", "history.parquet")


def import_results(path: Path, results: Path, config: Path) -> list[str]:
    """Read what a mapping file describes, check it, and write records under `results` and an experiment under `config`.

    Returns lines for the user: what was read, what a reader should know, and the commands that follow. Nothing is
    written unless everything is in order. Raises TcmaxError with one sentence otherwise.
    """
    path = Path(path)
    mapping = load_mapping(path)
    try:
        found = read_runs(mapping, path.parent)
        target = _target(mapping, found, results, config)
    except TcmaxError as error:
        raise TcmaxError(f"{path}: {error}") from None
    folder = results / mapping.name
    for stale in [*_DERIVED, *(f"{dataset.label}/{name}" for dataset in found.datasets for name in _SCORED)]:
        (folder / stale).unlink(missing_ok=True)
    fingerprint = provenance.digest([sha256(path), *(sha256(file) for file in found.files)])
    for dataset in found.datasets:
        write_json(folder / dataset.label / "data.json", _facts(mapping, found, dataset, fingerprint))
        if mapping.content == "predictions":
            _write_predictions(mapping, found, dataset.label, results, fingerprint)
        else:
            _write_scores(mapping, found, dataset.label, folder / dataset.label)
    write_json(
        folder / "import.json",
        {
            "schema_version": MANIFEST_VERSION,
            "source": mapping.source,
            "content": mapping.content,
            "mapping": str(path),
            "mapping_sha256": sha256(path),
            "files": {str(file.relative_to(path.parent)): sha256(file) for file in found.files},
            "notes": list(found.notes),
        },
    )
    write_text(target, _experiment_text(mapping, found, path))
    load(target)
    return _summary(mapping, found, target)


def _target(mapping: Mapping, found: Foreign, results: Path, config: Path) -> Path:
    """Where the experiment file goes; nothing that was not imported is overwritten."""
    target = config / f"{mapping.name}.yaml"
    if target.is_file():
        present = read_yaml(target)
        if not isinstance(present, dict) or "imported" not in present:
            raise TcmaxError(f"{target} is an experiment that was not imported; choose another `name`.")
    folder = results / mapping.name
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "import.json").is_file():
        raise TcmaxError(f"{folder} holds results that were not imported; choose another `name`.")
    _reference(mapping, found)
    return target


def _reference(mapping: Mapping, found: Foreign) -> str | None:
    """The label of the reference variant, which the mapping may call by its label or by its own name."""
    if mapping.reference_variant is None:
        return None
    for variant in found.variants:
        if mapping.reference_variant in (variant.name, variant.label):
            return variant.label
    known = ", ".join(variant.name for variant in found.variants)
    raise TcmaxError(f"reference_variant: there is no variant {mapping.reference_variant!r}; variants: {known}.")


def _facts(mapping: Mapping, found: Foreign, dataset: Named, fingerprint: str) -> dict[str, Any]:
    """What reports say of a dataset."""
    keys = found.keys_on(dataset.label)
    folds = sorted({key[1] for key in keys})
    runs = {fold: next(found.runs[key] for key in keys if key[1] == fold) for fold in folds}
    sizes = [(_rows(runs[fold], "val"), _rows(runs[fold], "test")) for fold in folds]
    first = runs[folds[0]]
    return {
        "schema_version": MANIFEST_VERSION,
        "id": dataset.label,
        "title": dataset.title,
        "fingerprint": fingerprint,
        "licence": mapping.licence,
        "source": mapping.source,
        "citation": "imported results",
        "notes": [],
        "facts": list(found.notes),
        "n_items": sum(val + test for val, test in sizes),
        "n_classes": len(found.classes),
        "class_names": list(found.classes),
        "modalities": {name: [] for name in mapping.logits if name != "joint"},
        "groups": {name: len(np.unique(values)) for name, values in first.groups.items()},
        "folds": [{"train": "not stated", "val": val, "test": test} for val, test in sizes],
    }


def _rows(run: Run, split: str) -> int:
    if len(run.sizes):
        return int(run.sizes[0]) if split == "test" else 0
    return int(np.count_nonzero(run.split == split))


# --- predictions -----------------------------------------------------------------------------------------------------


def _write_predictions(mapping: Mapping, found: Foreign, dataset: str, results: Path, fingerprint: str) -> None:
    """PREDICTIONS, HISTORY and one block manifest per (fold, variant)."""
    entries: dict[Cell, list[dict[str, Any]]] = {}
    for key in found.keys_on(dataset):
        _, fold, variant, seed = key
        run, cell = found.runs[key], Cell(dataset, fold, variant)
        folder = run_folder(results, mapping.name, cell, seed)
        run_key = provenance.digest([fingerprint, *key])
        common = {"dataset": dataset, "fold": fold, "variant": variant, "seed": seed}
        columns: dict[str, Any] = {"split": run.split.tolist(), "item": run.items.tolist(), "label": run.labels}
        columns |= {f"group_{name}": values.tolist() for name, values in run.groups.items()}
        order = [*(name for name in run.logits if name != "joint"), "joint"]
        columns |= {f"logits_{name}": run.logits[name] for name in order}
        predictions = folder / f"predictions_{mapping.selection}.parquet"
        header = {"selection": mapping.selection, "readout": "joint", "classes": list(found.classes)}
        parquet.write(predictions, kinds.PREDICTIONS, {**common, "run_key": run_key, **columns}, header)
        history = folder / "history.parquet"
        parquet.write(history, kinds.HISTORY, {**common, **_validation(run)}, {"run_key": run_key})
        files = {predictions.stem: predictions, "history": history}
        entries.setdefault(cell, []).append(
            {
                "seed": seed,
                "run_key": run_key,
                "status": "finished",
                "epoch": None,
                "files": {
                    name: {"path": f"{folder.name}/{file.name}", "sha256": sha256(file)} for name, file in files.items()
                },
            }
        )
    for key in found.diverged_on(dataset):
        _, fold, variant, seed = key
        cell, run_key = Cell(dataset, fold, variant), provenance.digest([fingerprint, *key])
        history = run_folder(results, mapping.name, cell, seed) / "history.parquet"
        parquet.write(history, kinds.HISTORY, {name: [] for name in kinds.HISTORY.columns}, {"run_key": run_key})
        file = {"path": f"{history.parent.name}/{history.name}", "sha256": sha256(history)}
        entry = {"seed": seed, "run_key": run_key, "status": "diverged", "epoch": None, "files": {"history": file}}
        entries[cell] = sorted([*entries[cell], entry], key=lambda entry: entry["seed"])
    for cell, runs in entries.items():
        manifest = run_folder(results, mapping.name, cell, 0).parent / "block_0.json"
        facts = {"experiment": mapping.name, "dataset": dataset, "fold": cell.fold, "variant": cell.variant, "block": 0}
        write_json(manifest, {"schema_version": MANIFEST_VERSION, **facts, "runs": runs})


def _validation(run: Run) -> dict[str, list[Any]]:
    """A history of one line: the validation accuracy, by which the better of several variants is chosen."""
    rows = run.split == "val"
    if not rows.any():
        return {"epoch": [], "quantity": [], "value": []}
    accuracy = float(np.mean(run.logits["joint"][rows].argmax(axis=1) == run.labels[rows]))
    return {"epoch": [0], "quantity": [VALIDATION], "value": [accuracy]}


# --- scores ----------------------------------------------------------------------------------------------------------


def _write_scores(mapping: Mapping, found: Foreign, dataset: str, folder: Path) -> None:
    """ITEM SCORES, SCORES and an empty HISTORY of results without logits."""
    keys = found.keys_on(dataset)
    by_run: dict[tuple[str, int], list[Key]] = {}
    for key in keys:
        by_run.setdefault((key[2], key[3]), []).append(key)
    items: dict[str, list[Any]] = {}
    scores: list[dict[str, Any]] = []
    for (variant, seed), of_run in by_run.items():
        columns = _pooled([(key, found.runs[key]) for key in of_run])
        columns |= {"variant": [variant] * len(columns["item"]), "seed": [seed] * len(columns["item"])}
        for name, values in columns.items():
            items.setdefault(name, []).extend(values)
        for (metric, readout), value in _run_scores(found.runs, of_run).items():
            scores.append(
                {"variant": variant, "seed": seed, "metric": metric, "readout": readout, "value": value}
                | {"n_items": len(columns["item"])}
            )
    labels = list(dict.fromkeys(key[2] for key in keys))
    diverged = {label: sorted({k[3] for k in found.diverged_on(dataset) if k[2] == label}) for label in labels}
    for variant, of_variant in diverged.items():
        row = {"variant": variant, "metric": "diverged", "readout": "joint", "value": 1.0}
        scores += [row | {"seed": seed, "n_items": scores[0]["n_items"]} for seed in of_variant]
    header = {
        "variants": labels,
        "selections": [mapping.selection],
        "modalities": [],
        "classes": list(found.classes) or ["not stated"],
        "diverged": diverged,
        "own": dict.fromkeys(labels, "joint"),
    }
    common = {"dataset": dataset, "selection": mapping.selection}
    parquet.write(folder / "items.parquet", kinds.ITEM_SCORES, {**common, **items}, header)
    table = {name: [row[name] for row in scores] for name in scores[0]}
    head: dict[str, Any] = {"reference_variant": _reference(mapping, found), "weak_and_strong": {}}
    parquet.write(folder / "scores.parquet", kinds.SCORES, {**common, "fold": None, **table}, head)
    parquet.write(folder / "history.parquet", kinds.HISTORY, {name: [] for name in kinds.HISTORY.columns})


def _pooled(runs: Sequence[tuple[Key, Run]]) -> dict[str, list[Any]]:
    """Test items of one seed over its folds, each item once."""
    if len(runs[0][1].sizes):
        n = int(runs[0][1].sizes[0])
        return {"fold": [0] * n, "item": [f"item {k}" for k in range(n)], "label": [0] * n}
    columns: dict[str, list[Any]] = {"fold": [], "item": [], "label": []}
    for key, run in runs:
        rows = run.split == "test"
        assert run.correct is not None
        found = {"fold": np.full(int(rows.sum()), key[1]), "item": run.items[rows], "label": run.labels[rows]}
        found |= {f"group_{name}": values[rows] for name, values in run.groups.items()}
        found |= {f"score_correct.{readout}": run.correct[rows] for readout in ("joint", "own")}
        for name, values in found.items():
            columns.setdefault(name, []).extend(values.tolist())
    return columns


def _run_scores(runs: dict[Key, Run], keys: Sequence[Key]) -> dict[tuple[str, str], float]:
    """(metric, read-out) -> value of one seed over its folds."""
    of_run = [runs[key] for key in keys]
    found: dict[tuple[str, str], float] = {("diverged", "joint"): 0.0}
    if len(of_run[0].sizes):
        for metric, column in of_run[0].values.items():
            for readout in ("all",) if METRICS[metric].whole_item else ("joint", "own"):
                found[metric, readout] = float(column[0])
        return found
    tests = [run.split == "test" for run in of_run]
    labels = np.concatenate([run.labels[rows] for run, rows in zip(of_run, tests, strict=True)])
    correct = np.concatenate(
        [run.correct[rows] for run, rows in zip(of_run, tests, strict=True) if run.correct is not None]
    )
    by_class = [float(correct[labels == c].mean()) for c in np.unique(labels)]
    values = {"accuracy": float(correct.mean()), "balanced_accuracy": float(np.mean(by_class))}
    predicted = [run.predicted[rows] for run, rows in zip(of_run, tests, strict=True) if run.predicted is not None]
    if predicted:
        values["macro_f1"] = float(macro_f1(np.concatenate(predicted), labels))
    return found | {(metric, readout): value for metric, value in values.items() for readout in ("joint", "own")}


# --- the experiment --------------------------------------------------------------------------------------------------


def _experiment_text(mapping: Mapping, found: Foreign, path: Path) -> str:
    """The experiment file of an import."""
    everywhere = [variant.label for variant in found.variants]
    datasets: dict[str, Any] = {}
    for dataset in found.datasets:
        keys = found.keys_on(dataset.label)
        here = [label for label in everywhere if any(key[2] == label for key in keys)]
        datasets[dataset.label] = {"title": dataset.title, "folds": len({key[1] for key in keys})}
        datasets[dataset.label] |= {"variants": here} if here != everywhere else {}
    seeds = sorted({key[3] for key in (*found.runs, *found.diverged)})
    content: dict[str, Any] = {
        "name": mapping.name,
        "title": mapping.title or mapping.name,
        "imported": mapping.source,
        "seeds": seeds,
        "seeds_per_job": len(seeds),
        "selection": mapping.selection,
        "reference_variant": _reference(mapping, found),
        "claims": mapping.claims,
        "datasets": datasets,
        "variants": {
            variant.label: {"method": variant.name, "title": variant.title}
            | ({"family": variant.family} if variant.family else {})
            for variant in found.variants
        },
    }
    kept = {key: value for key, value in content.items() if value is not None}
    head = (
        f"# Written by `tcmax import {path.name}`: results that were not trained here. Importing again replaces it.\n"
    )
    return head + yaml.safe_dump(kept, sort_keys=False, allow_unicode=True)


def _summary(mapping: Mapping, found: Foreign, target: Path) -> list[str]:
    """What was imported, what a reader should know, and what to run next."""
    what = {"predictions": "predictions", "items": "correctness of each item", "scores": "scores of whole runs"}
    lines = [
        f"{what[mapping.content]}: {len(found.runs)} runs of {len(found.variants)} variants on "
        f"{', '.join(dataset.title for dataset in found.datasets)}; experiment {target}"
    ]
    lines += [f"diverged: {describe(key)}" for dataset in found.datasets for key in found.diverged_on(dataset.label)]
    lines += [f"note: {note}" for note in found.notes]
    name = str(target) if target.parent != Path("config") else mapping.name
    score = [f"tcmax score {name} --dataset {dataset.label}" for dataset in found.datasets]
    steps = [*(score if mapping.content == "predictions" else []), f"tcmax compare {name}"]
    steps += [f"tcmax audit claims {name}"] if mapping.claims else []
    steps += [f"tcmax report {name}"]
    lines += ["next:", *(f"  {step}" for step in steps)]
    if target.parent == Path("config"):
        lines += ["or all of them:", f"  snakemake --cores all --config experiment={name}"]
    return lines
