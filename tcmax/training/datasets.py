"""Datasets as jobs see them: load one that a config names, check it, and write the facts that later stages need."""

from pathlib import Path
from typing import Any

from tcmax.data import DATASETS, mvsa
from tcmax.data.base import Dataset, data_root
from tcmax.data.media.clips import CLIP_SETS, LEAKAGE, SPLITS, media_folder, store_folder
from tcmax.errors import TcmaxError
from tcmax.experiment.grid import Experiment
from tcmax.experiment.settings import DatasetSettings
from tcmax.records import provenance
from tcmax.records.files import write_json
from tcmax.records.manifests import MANIFEST_VERSION


def load_dataset(experiment: Experiment, name: str) -> Dataset:
    """The dataset a config names: one of ours, an installed one, or a user's own feature file.

    Raises TcmaxError when it has to be prepared first.
    """
    lacking = experiment.lacking(name)
    if lacking is not None:
        raise TcmaxError(f"{experiment.path}: {name} is not available in this installation; it needs {lacking}.")
    features = experiment.settings.datasets[name].features
    if features is not None:
        from tcmax.data.features import load_features

        return load_features(Path(features), name)
    dataset: Dataset = DATASETS.load(name)()
    return dataset


def data_record(dataset: Dataset) -> dict[str, Any]:
    """What later stages know of a dataset without loading it."""
    return {
        "schema_version": MANIFEST_VERSION,
        "id": dataset.id,
        "title": dataset.card.title,
        "fingerprint": dataset.fingerprint(),
        "licence": dataset.card.licence,
        "source": dataset.card.source,
        "citation": dataset.card.citation,
        "notes": list(dataset.card.notes),
        "facts": list(dataset.facts),
        "n_items": len(dataset.labels),
        "n_classes": dataset.n_classes,
        "class_names": list(dataset.class_names),
        "modalities": {name: list(dataset.shape(name)) for name in dataset.modalities},
        "groups": {name: len(set(ids.tolist())) for name, ids in dataset.groups.items()},
        "official_validation": dataset.official_validation,
        "folds": [{part: len(fold.part(part)) for part in ("train", "val", "test")} for fold in dataset.folds],
    }


def prepare(experiment: Experiment, name: str, results: Path) -> Path:
    """Load a dataset, check it, and write its facts to <results>/<experiment>/<dataset>/data.json."""
    dataset = load_dataset(experiment, name)
    expected = experiment.n_folds(name)
    if len(dataset.folds) != expected:
        raise TcmaxError(
            f"{experiment.path}: {name} has {len(dataset.folds)} folds, not {expected}: "
            f"set datasets.{name}.folds to {len(dataset.folds)}."
        )
    for stored in dataset.stored.values():
        stored.verify()
    path = results / experiment.name / name / "data.json"
    write_json(path, data_record(dataset))
    return path


def store_report(experiment: Experiment, dataset: str) -> Path | None:
    """A file that changes when the store of raw media that a dataset reads does: a leakage report, or MVSA's features.

    None when a dataset reads none, or when there is neither the store nor media to make it from ($TCMAX_SOURCES).
    """
    if experiment.settings.datasets[dataset].features is not None or experiment.lacking(dataset) is not None:
        return None
    name = DATASETS.canonical(dataset)
    ours, root = DATASETS.target(name).startswith("tcmax.data."), data_root()
    if not ours or root is None:
        return None
    if name.startswith(f"{mvsa.ID}-"):
        path = mvsa.store_of(name.removeprefix(f"{mvsa.ID}-"), root) / mvsa.FEATURES
        return path if path.is_file() else None
    if name not in (*CLIP_SETS, *SPLITS):
        return None
    path = store_folder(name, root) / LEAKAGE
    return path if path.is_file() or media_folder(name) is not None else None


def module_of(target: str) -> str:
    return target.partition(":")[0]


def module_of_data(options: DatasetSettings, dataset: str) -> str:
    return module_of(DATASETS.target(dataset)) if options.features is None else "tcmax.data.features"


def data_key(experiment: Experiment, dataset: str) -> str:
    """What a dataset's facts depend on besides its files: the code that reads it."""
    options = experiment.settings.datasets[dataset]
    lacking = experiment.lacking(dataset) is not None
    return provenance.digest(
        [options.features, {} if lacking else provenance.data_code(module_of_data(options, dataset))]
    )
