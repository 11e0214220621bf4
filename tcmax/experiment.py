"""The typed experiment config, and the one place that knows the grid: dataset x fold x variant x seed.

`load` is the only validator, used by the Snakefile and the command line alike. It needs no torch; `check_parts`
additionally imports what the config names and checks each part's own parameters.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from tcmax.data import DATASETS
from tcmax.encoders import ENCODERS
from tcmax.errors import TcmaxError
from tcmax.files import explained
from tcmax.switches import SWITCHES

CONFIG_FOLDER = Path("config")
NO_EXPERIMENTS = ("theory",)  # files in config/ that hold something else
SELECTIONS = ("last", "best_val", "best_test_oracle")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

Count = Annotated[int, Field(ge=1)]


class _Settings(BaseModel):
    """Unknown keys and silent type conversions are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class PartSettings(_Settings):
    """A named part (encoder, head) and its own parameters, which the part itself checks."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True, allow_inf_nan=False)
    name: str

    @property
    def parameters(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class TrainingSettings(_Settings):
    """Optimisation: the paper's optimiser (SGD, momentum 0.9, weight decay 1e-4) unless a config says otherwise."""

    epochs: Count
    batch_size: Annotated[int, Field(ge=2)]
    learning_rate: Annotated[float, Field(gt=0)]
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    lr_drop_epochs: tuple[Count, ...] = ()
    lr_drop_factor: Annotated[float, Field(gt=0, le=1)] = 0.1

    @field_validator("lr_drop_epochs", mode="before")
    @classmethod
    def _from_yaml_list(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @field_validator("learning_rate", "momentum", "weight_decay", "lr_drop_factor", mode="before")
    @classmethod
    def _integers_are_numbers(cls, value: Any) -> Any:
        return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


class DatasetSettings(_Settings):
    """How one dataset is trained on.

    features: a user's own feature file instead of a named dataset (docs/bring-your-own-features.md).
    encoder: the encoder of every modality that `encoders` does not name.
    folds: of a named dataset's protocol; `tcmax prepare` refuses another number than the data has.
    training: overrides of the experiment's training settings.
    variants: labels to run here; all of them when not given.
    needs: what has to be prepared where nothing installed provides this dataset or its encoders. It is then planned and
        drawn in the DAG, and its jobs end with this sentence; without `needs`, an unknown name is a mistake.
    """

    features: str | None = None
    encoder: PartSettings | None = None
    encoders: dict[str, PartSettings] = Field(default_factory=dict)
    folds: Count = 1
    training: dict[str, Any] = Field(default_factory=dict)
    variants: tuple[str, ...] | None = None
    needs: str | None = None
    title: str | None = None

    @field_validator("variants", mode="before")
    @classmethod
    def _from_yaml_list(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @property
    def all_encoders(self) -> list[PartSettings]:
        return [encoder for encoder in (self.encoder, *self.encoders.values()) if encoder is not None]


class VariantSettings(_Settings):
    """A row of a table: method + head + fidelity + named switches + the method's own parameters.

    tuning_trials: how many settings were tried on validation items to arrive at these parameters. Comparisons are fair
        when it is the same for every variant; the report prints it.
    """

    method: str
    head: PartSettings | None = None
    fidelity: Literal["reference", "original", "release"] = "reference"
    switches: dict[str, Any] = Field(default_factory=dict)
    parameters: dict[str, Any] = Field(default_factory=dict)
    tuning_trials: Annotated[int, Field(ge=0)] = 0
    title: str | None = None
    family: str | None = None

    @field_validator("head", mode="before")
    @classmethod
    def _head_by_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value


class SequentialSettings(_Settings):
    """Seeds are added look by look, and only for variants of pairs that are still open (docs/statistics.md).

    looks: numbers of seeds at which pairs are looked at, fixed beforehand; the last one is the whole seed list.
    metric: what a pair is compared by, in its own read-out.
    pairs: which pairs are looked at; every variant against the reference variant when not given, or all pairs without
        one.
    """

    looks: tuple[Count, ...]
    metric: Literal["accuracy", "balanced_accuracy", "nll", "brier", "js"] = "accuracy"
    pairs: tuple[tuple[str, str], ...] | None = None

    @field_validator("looks", "pairs", mode="before")
    @classmethod
    def _from_yaml_list(cls, value: Any) -> Any:
        return tuple(tuple(v) if isinstance(v, list) else v for v in value) if isinstance(value, list) else value

    @field_validator("looks")
    @classmethod
    def _increasing(cls, looks: tuple[int, ...]) -> tuple[int, ...]:
        if len(looks) < 2 or looks[0] < 3 or any(b <= a for a, b in pairwise(looks)):
            raise ValueError("looks are two or more increasing numbers of seeds, the first one 3 or more")
        return looks


class ExperimentSettings(_Settings):
    """One experiment file, config/<name>.yaml.

    sequential: looks after which seeds are added, in place of all seeds at once.
    inert_switches: switches of tcmax/switches.py that cannot act in this experiment, and why, for a study of switches.
    residence: where the rows of a dataset in files are held while training (docs/raw-media.md); it changes no number.
    imported: where results come from that were not trained here (docs/foreign-results.md). Such an experiment has no
    training settings, and its datasets and methods are names only.
    """

    name: str
    title: str
    seeds: tuple[Annotated[int, Field(ge=0)], ...]
    seeds_per_job: Count = 12
    selection: Literal["last", "best_val"] = "last"
    precision: Literal["float32", "float64"] = "float32"
    device: Literal["cpu", "cuda"] = "cpu"
    residence: Literal["auto", "gpu", "ram", "mapped"] = "auto"
    checkpoint_seconds: Annotated[float, Field(ge=0)] = 60.0
    half_precision_logits: bool = False
    reference_variant: str | None = None
    claims: str | None = None
    pin_code: str | None = None
    sequential: SequentialSettings | None = None
    inert_switches: dict[str, str] = Field(default_factory=dict)
    imported: str | None = None
    training: TrainingSettings | None = None
    datasets: dict[str, DatasetSettings]
    variants: dict[str, VariantSettings]

    @field_validator("seeds", mode="before")
    @classmethod
    def _seeds(cls, value: Any) -> Any:
        """A list of seeds, or the text "0-11"."""
        if isinstance(value, list | tuple):
            return tuple(value)
        match = re.fullmatch(r"(\d+)-(\d+)", value) if isinstance(value, str) else None
        if not match:
            raise ValueError('seeds are a list of non-negative integers or a range such as "0-11"')
        return tuple(range(int(match[1]), int(match[2]) + 1))

    @field_validator("checkpoint_seconds", mode="before")
    @classmethod
    def _integers_are_numbers(cls, value: Any) -> Any:
        return float(value) if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("datasets", mode="before")
    @classmethod
    def _datasets_without_settings(cls, value: Any) -> Any:
        return {name: settings or {} for name, settings in value.items()} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.training is None) != (self.imported is not None):
            raise ValueError(
                "training: this key is missing"
                if self.training is None
                else "training: imported results are not trained"
            )
        if not self.seeds:
            raise ValueError("seeds: at least one seed is needed")
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError("seeds: a seed is listed twice")
        if self.sequential is not None:
            self._sequential(self.sequential)
        if not self.datasets:
            raise ValueError("datasets: at least one dataset is needed")
        if not self.variants:
            raise ValueError("variants: at least one variant is needed")
        for label in (*self.datasets, *self.variants):
            if not _LABEL.fullmatch(label):
                raise ValueError(f"{label!r}: names become folders, so only letters, digits, '.', '_' and '-'")
        if self.reference_variant is not None and self.reference_variant not in self.variants:
            raise ValueError(f"reference_variant: there is no variant {self.reference_variant!r}")
        for name, dataset in self.datasets.items():
            if dataset.variants is None:
                continue
            if not dataset.variants:
                raise ValueError(f"datasets.{name}.variants: at least one variant is needed")
            if len(set(dataset.variants)) != len(dataset.variants):
                raise ValueError(f"datasets.{name}.variants: a variant is listed twice")
            for label in dataset.variants:
                if label not in self.variants:
                    raise ValueError(f"datasets.{name}.variants: there is no variant {label!r}")
        return self

    def _sequential(self, sequential: SequentialSettings) -> None:
        if self.imported is not None:
            raise ValueError("sequential: imported results have the seeds that they have")
        if sequential.looks[-1] != len(self.seeds):
            raise ValueError(
                f"sequential.looks: the last look is at the whole seed list, {len(self.seeds)} seeds, not at "
                f"{sequential.looks[-1]}"
            )
        for pair in sequential.pairs or ():
            unknown = [label for label in pair if label not in self.variants]
            if unknown or pair[0] == pair[1]:
                what = f"there is no variant {unknown[0]!r}" if unknown else f"{pair[0]!r} is paired with itself"
                raise ValueError(f"sequential.pairs: {what}")


class _UniqueKeys(yaml.SafeLoader):
    """YAML in which a repeated key is an error instead of silently winning."""


def _mapping(loader: _UniqueKeys, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
    # Before `<<` is merged in, whose keys may be overridden.
    keys = [loader.construct_object(key, deep=True) for key, _ in node.value if not key.tag.endswith(":merge")]
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if twice is not None:
        raise yaml.constructor.ConstructorError(None, None, f"the key {twice!r} occurs twice", node.start_mark)
    return loader.construct_mapping(node, deep=True)


_UniqueKeys.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read_yaml(path: Path) -> Any:
    """A YAML file's content; a missing, unreadable or ill-formed file is a TcmaxError naming it and the line."""
    with explained("read", path):
        raw = Path(path).read_bytes()
    try:
        return yaml.load(raw.decode("utf-8-sig"), Loader=_UniqueKeys)
    except UnicodeDecodeError as error:
        raise TcmaxError(f"{path} is not UTF-8 text.") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        raise TcmaxError(f"{path}: {where}{getattr(error, 'problem', None) or error}.") from error


def explain(error: ValidationError, path: Path) -> TcmaxError:
    """The first finding of a validation error as one sentence with file and key path."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = "unknown key"
    elif first["type"] == "missing":
        message = "this key is missing"
    given = first.get("input")
    shown = f" (got {given!r})" if isinstance(given, str | int | float | bool) and "key" not in message else ""
    return TcmaxError(f"{path}: {where + ': ' if where else ''}{message[0].lower() + message[1:]}{shown}.")


@dataclass(frozen=True)
class Cell:
    """One (dataset, fold, variant) of the grid: what a block of seeds is trained for."""

    dataset: str
    fold: int
    variant: str


@dataclass(frozen=True)
class Flip:
    """A variant that is another one, `base`, with a single switch at `value`: compared with that one alone."""

    switch: str
    value: Any
    base: str
    variant: str


@dataclass(frozen=True)
class Experiment:
    """A validated experiment and the grid it spans."""

    path: Path
    settings: ExperimentSettings

    @property
    def name(self) -> str:
        return self.settings.name

    @cached_property
    def blocks(self) -> tuple[tuple[int, ...], ...]:
        """The seed list cut at looks, if there are any, and into slices of `seeds_per_job`; block k is `blocks[k]`."""
        seeds, size = self.settings.seeds, self.settings.seeds_per_job
        looks = self.settings.sequential.looks if self.settings.sequential else (len(seeds),)
        return tuple(
            seeds[start : min(start + size, end)]
            for begin, end in pairwise((0, *looks))
            for start in range(begin, end, size)
        )

    @cached_property
    def flips(self) -> tuple[Flip, ...]:
        """Every variant that differs from an earlier one in one switch only; the first such is its base."""

        def alike(settings: VariantSettings) -> dict[str, Any]:
            return settings.model_dump(exclude={"switches", "title", "family"})

        found: list[Flip] = []
        for label, settings in self.settings.variants.items():
            for base, other in self.settings.variants.items():
                if base == label:
                    break
                added = settings.switches.keys() - other.switches.keys()
                same = all(settings.switches.get(name) == value for name, value in other.switches.items())
                if len(added) == 1 and same and alike(settings) == alike(other):
                    (switch,) = added
                    found.append(Flip(switch, settings.switches[switch], base, label))
                    break
        return tuple(found)

    def contenders_on(self, dataset: str) -> tuple[str, ...]:
        """Variants that are compared with each other on a dataset: all but those with a switch flipped."""
        flipped = {flip.variant for flip in self.flips}
        return tuple(label for label in self.variants_on(dataset) if label not in flipped)

    def variants_on(self, dataset: str) -> tuple[str, ...]:
        """Labels of the variants that run on a dataset, in config order."""
        chosen = self.settings.datasets[dataset].variants
        return tuple(self.settings.variants) if chosen is None else chosen

    def cuts_train_list(self, variant: str) -> bool:
        """Whether a variant validates on a part of the train list and so trains on fewer items, as the release does.

        Not on a dataset whose source names the validation items.
        """
        settings, name = self.settings.variants[variant], "protocol.file_order_split"
        return bool(settings.switches.get(name, getattr(SWITCHES[name], settings.fidelity)))

    def lacking(self, dataset: str) -> str | None:
        """What has to be prepared before a dataset can be used in this installation; None when nothing has."""
        options = self.settings.datasets[dataset]
        known = options.features is not None or dataset in DATASETS
        return None if known and all(encoder.name in ENCODERS for encoder in options.all_encoders) else options.needs

    def n_folds(self, dataset: str) -> int:
        """Folds of a dataset, known without its data: from the config, or counted in a feature file."""
        if self.settings.datasets[dataset].features is not None:
            from tcmax.data.features import count_folds

            return count_folds(Path(self.settings.datasets[dataset].features or ""))
        return self.settings.datasets[dataset].folds

    def cells(self) -> Iterator[Cell]:
        """Every (dataset, fold, variant) in config order."""
        for dataset in self.settings.datasets:
            for fold in range(self.n_folds(dataset)):
                for variant in self.variants_on(dataset):
                    yield Cell(dataset, fold, variant)

    def training_on(self, dataset: str) -> TrainingSettings:
        """Training settings with the dataset's overrides applied."""
        if self.settings.training is None:
            raise TcmaxError(f"{self.path}: {self.name} holds imported results; there is nothing to train.")
        merged = {**self.settings.training.model_dump(), **self.settings.datasets[dataset].training}
        try:
            return TrainingSettings.model_validate(merged)
        except ValidationError as error:
            raise TcmaxError(
                str(explain(error, self.path)).replace(
                    f"{self.path}: ", f"{self.path}: datasets.{dataset}.training.", 1
                )
            ) from None

    def encoder_of(self, dataset: str, modality: str) -> PartSettings:
        """The encoder of one modality."""
        settings = self.settings.datasets[dataset]
        encoder = settings.encoders.get(modality, settings.encoder)
        if encoder is None:
            raise TcmaxError(
                f"{self.path}: datasets.{dataset}: the modality {modality!r} has no encoder; set `encoder` for all "
                f"modalities or `encoders.{modality}`."
            )
        return encoder

    def title(self, variant: str) -> str:
        """How a table calls a variant."""
        return self.settings.variants[variant].title or variant

    def dataset_title(self, dataset: str) -> str:
        """How a table calls a dataset."""
        return self.settings.datasets[dataset].title or dataset


def names() -> list[str]:
    """Experiments in config/, by name."""
    return sorted(path.stem for path in CONFIG_FOLDER.glob("*.yaml") if path.stem not in NO_EXPERIMENTS)


def load(name_or_path: str | Path) -> Experiment:
    """Read and validate an experiment by name (config/<name>.yaml) or path.

    Raises TcmaxError naming the file and the key.
    """
    text = str(name_or_path)
    path = Path(text) if text.endswith((".yaml", ".yml")) else CONFIG_FOLDER / f"{text}.yaml"
    if not path.is_file():
        raise TcmaxError(f"there is no experiment file {path}; experiments here: {', '.join(names()) or 'none'}.")
    raw = read_yaml(path)
    if not isinstance(raw, dict):
        raise TcmaxError(f"{path}: an experiment file is a mapping of keys to values.")
    try:
        settings = ExperimentSettings.model_validate(raw)
    except ValidationError as error:
        raise explain(error, path) from None
    if settings.name != path.stem:
        raise TcmaxError(f"{path}: name: the file is called {path.stem!r}, the experiment {settings.name!r}.")
    experiment = Experiment(path, settings)
    if settings.imported is not None:
        return experiment
    from tcmax.fusion import HEADS
    from tcmax.methods import METHODS

    for dataset, options in settings.datasets.items():
        experiment.training_on(dataset)
        if experiment.lacking(dataset):
            continue
        if options.features is None:
            _checked(path, f"datasets.{dataset}", DATASETS.canonical, dataset)
        if options.encoder is not None:
            _checked(path, f"datasets.{dataset}.encoder", ENCODERS.canonical, options.encoder.name)
        for modality, encoder in options.encoders.items():
            _checked(path, f"datasets.{dataset}.encoders.{modality}", ENCODERS.canonical, encoder.name)
    for label, variant in settings.variants.items():
        _checked(path, f"variants.{label}.method", METHODS.canonical, variant.method)
        if variant.head is not None:
            _checked(path, f"variants.{label}.head", HEADS.canonical, variant.head.name)
    return experiment


def _checked(path: Path, key: str, check: Any, value: str) -> None:
    try:
        check(value)
    except TcmaxError as error:
        raise TcmaxError(f"{path}: {key}: {error}") from None
