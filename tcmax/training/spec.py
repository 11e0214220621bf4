"""A run with nothing left to look up: what the loop builds from, and what the run key hashes."""

import dataclasses
import json
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any

import torch
from pydantic import ValidationError, create_model

from tcmax.data.base import Dataset, Fold, file_order_cut
from tcmax.errors import TcmaxError
from tcmax.experiment.grid import Experiment
from tcmax.experiment.settings import PartSettings, TrainingSettings
from tcmax.experiment.switches import PROTOCOL, resolve
from tcmax.experiment.tuning import NOTHING_TUNED, Tuned
from tcmax.experiment.yaml import Listed, Strict, finding
from tcmax.methods import METHODS
from tcmax.methods.base import Method, Setting
from tcmax.models.classifier import MultimodalClassifier, initialise
from tcmax.models.encoders import ENCODERS
from tcmax.models.encoders.base import Encoder
from tcmax.models.fusion import HEADS

OWN_SETTINGS = ("learning_rate", "weight_decay")  # of a run beside others; the rest of `training` they share


@dataclass(frozen=True)
class RunSpec:
    """One (dataset, fold, variant) with all defaults filled in; a seed makes it a run.

    dataset: the id, whatever alias the experiment writes. encoders: modality -> (id, parameters). head, method: (id,
    parameters), parameters as dataclass instances. stage: names before the root of the run's random streams; none for
    the runs that a table is about, so that no trial of a search shares a stream with one of them.
    """

    dataset: str
    fold: int
    variant: str
    method: tuple[str, Any]
    head: tuple[str, Any]
    encoders: Mapping[str, tuple[str, Any]]
    switches: Mapping[str, Any]
    training: Mapping[str, Any]
    precision: str
    stage: tuple[str | int, ...] = ()

    def resolved(self) -> dict[str, Any]:
        """Settings as plain values, every default included: what enters the run key."""

        def part(pair: tuple[str, Any]) -> dict[str, Any]:
            return {"name": pair[0], **dataclasses.asdict(pair[1])}

        return {
            "dataset": self.dataset,
            "fold": self.fold,
            "method": part(self.method),
            "head": part(self.head),
            "encoders": {name: part(pair) for name, pair in self.encoders.items()},
            "switches": dict(self.switches),
            "training": dict(self.training),
            "precision": self.precision,
            **({"stage": list(self.stage)} if self.stage else {}),
        }

    def beside(self) -> str:
        """Equal for specs whose runs may train side by side: all but what may differ along the axis of seeds."""
        own = {"training": {name: v for name, v in self.training.items() if name not in OWN_SETTINGS}, "stage": []}
        return json.dumps(self.resolved() | own, sort_keys=True, default=str)

    def root(self, seed: int) -> tuple[str | int, ...]:
        """Root of the run's random streams. Variants of one seed share it (paired design)."""
        return (*self.stage, self.dataset, self.fold, seed)

    def parts(self, dataset: Dataset) -> Fold:
        """Rows that train, validate and test: the dataset's own fold, unless the protocol cuts its train list."""
        fold = dataset.folds[self.fold]
        # Switch protocol.file_order_split: the release cuts every train list but one that has a validation list.
        if self.switches["protocol.file_order_split"] and not dataset.official_validation:
            return file_order_cut(fold)
        return fold

    def build_model(self, dataset: Dataset, seed: int) -> MultimodalClassifier:
        """The model with its initial weights, on the CPU."""
        with torch.random.fork_rng(devices=[]):  # constructors draw; `initialise` then sets every parameter
            encoders: dict[str, Encoder] = {}
            for name in dataset.modalities:
                kind, parameters = self.encoders[name]
                try:
                    encoders[name] = ENCODERS.load(kind)(dataset.shape(name), parameters)
                except ValueError as error:
                    raise TcmaxError(f"{self.dataset}: encoder {kind!r} of {name!r} {error}.") from error
            kind, parameters = self.head
            widths = {name: encoder.width for name, encoder in encoders.items()}
            try:
                head = HEADS.load(kind)(widths, dataset.n_classes, parameters, self.switches)
            except ValueError as error:
                raise TcmaxError(f"variant {self.variant!r} on {self.dataset}: {error}.") from error
            try:
                model = MultimodalClassifier(encoders, head)
            except KeyError as error:  # a few names are taken by PyTorch's containers of modules
                raise TcmaxError(f"{self.dataset}: PyTorch refuses a name of a modality: {error.args[0]}.") from error
        # Switch protocol.released_start: acts on convolutions and batch norms, so not at all in an MLP.
        initialise(model, *self.root(seed), released=self.switches["protocol.released_start"])
        return model.to(torch.float64 if self.precision == "float64" else torch.float32)

    def build_method(self, dataset: Dataset) -> Method:
        """The method in its initial state."""
        labels = torch.from_numpy(dataset.labels[self.parts(dataset).train])
        setting = Setting(
            modalities=dataset.modalities,
            n_classes=dataset.n_classes,
            class_counts=torch.bincount(labels, minlength=dataset.n_classes),
            n_train=len(labels),
            epochs=self.training["epochs"],
            switches=self.switches,
        )
        kind, parameters = self.method
        try:
            method: Method = METHODS.load(kind)(parameters, setting)
        except ValueError as error:
            raise TcmaxError(f"variant {self.variant!r} on {self.dataset}: {error}.") from error
        return method


def resolve_run(
    experiment: Experiment,
    dataset: Dataset,
    name: str,
    fold: int,
    variant: str,
    tuned: Tuned = NOTHING_TUNED,
    stage: tuple[str | int, ...] = (),
) -> RunSpec:
    """Fill in every default of one cell of the grid, with tuned values in place of the experiment's.

    Raises TcmaxError naming file and key.
    """
    method, head, switches = _variant_parts(experiment, variant, tuned)
    if not 0 <= fold < len(dataset.folds):
        raise TcmaxError(f"{name} has folds 0..{len(dataset.folds) - 1}, not {fold}.")
    for modality in experiment.settings.datasets[name].encoders:
        if modality not in dataset.modalities:
            raise TcmaxError(
                f"{experiment.path}: datasets.{name}.encoders: there is no modality {modality!r}; "
                f"{name} has {', '.join(dataset.modalities)}."
            )
    return RunSpec(
        dataset=experiment.dataset_id(name),
        fold=fold,
        variant=variant,
        method=method,
        head=head,
        encoders={
            modality: _encoder(experiment, name, experiment.encoder_of(name, modality))
            for modality in dataset.modalities
        },
        switches=switches,
        training=_training(experiment, name, tuned).model_dump(mode="json"),
        precision=experiment.settings.precision,
        stage=stage,
    )


def _training(experiment: Experiment, name: str, tuned: Tuned) -> TrainingSettings:
    given = experiment.training_on(name)
    return TrainingSettings.model_validate({**given.model_dump(), **tuned.training}) if tuned.training else given


def check_parts(experiment: Experiment) -> None:
    """Check every part's own parameters, switches and head before any job starts. Raises TcmaxError."""
    for variant in experiment.settings.variants:
        _variant_parts(experiment, variant)
    for name, dataset in experiment.settings.datasets.items():
        for encoder in dataset.all_encoders if experiment.lacking(name) is None else ():
            _encoder(experiment, name, encoder)


def _variant_parts(
    experiment: Experiment, variant: str, tuned: Tuned = NOTHING_TUNED
) -> tuple[tuple[str, Any], tuple[str, Any], dict[str, Any]]:
    settings = experiment.settings.variants[variant]
    where = f"{experiment.path}: variants.{variant}"
    method_id = METHODS.canonical(settings.method)
    method_class = METHODS.load(method_id)
    method = (method_id, fill(method_class.Parameters, {**settings.parameters, **tuned.method}, f"{where}.parameters"))
    head = _part(HEADS, settings.head or PartSettings(name=method_class.default_head), f"{where}.head")
    try:
        switches = resolve((PROTOCOL, method_id, head[0]), settings.fidelity, settings.switches)
    except TcmaxError as error:
        raise TcmaxError(f"{where}.switches: {error}") from None
    return method, head, switches


def _encoder(experiment: Experiment, dataset: str, settings: PartSettings) -> tuple[str, Any]:
    return _part(ENCODERS, settings, f"{experiment.path}: datasets.{dataset}.encoder")


def _part(table: Any, settings: PartSettings, where: str) -> tuple[str, Any]:
    try:
        name = table.canonical(settings.name)
    except TcmaxError as error:
        raise TcmaxError(f"{where}: {error}") from None
    return name, fill(table.load(name).Parameters, settings.parameters, where)


def fill(parameters: type, given: Mapping[str, Any], where: str) -> Any:
    """An instance of a parameter dataclass from config values, checked against its annotations (`yaml.Strict`).

    Raises TcmaxError naming the key for an unknown parameter, another type, NaN or infinity, and what the dataclass
    itself refuses.
    """
    declared = _declared(parameters)
    unknown = [name for name in given if name not in declared.model_fields]
    if unknown:
        known = ", ".join(declared.model_fields) or "none"
        raise TcmaxError(f"{where}: unknown parameter {unknown[0]!r}; known: {known}.")
    try:
        checked = declared.model_validate(dict(given))
        return parameters(**{name: getattr(checked, name) for name in given})
    except ValidationError as error:
        key, message = finding(error)
        raise TcmaxError(f"{where}.{key}: {message}.") from None
    except (TypeError, ValueError) as error:
        raise TcmaxError(f"{where}: {error}.") from None


@cache
def _declared(parameters: type) -> type[Strict]:
    """The fields of a parameter dataclass as a model that checks them."""
    hints = typing.get_type_hints(parameters, include_extras=True)
    fields: dict[str, Any] = {}
    for field in dataclasses.fields(parameters):
        hint = hints[field.name]
        # Defaults are the dataclass's own; here a missing parameter is merely not checked.
        fields[field.name] = (Annotated[hint, Listed] if typing.get_origin(hint) is tuple else hint, None)
    return create_model(parameters.__name__, __base__=Strict, **fields)
