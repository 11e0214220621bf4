"""An experiment and the grid it spans: dataset x fold x variant x seed.

`load` is the only validator, used by the Snakefile and the command line alike. It needs no torch; `check_parts`
additionally imports what the config names and checks each part's own parameters.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tcmax.data import DATASETS
from tcmax.errors import TcmaxError
from tcmax.experiment.settings import ExperimentSettings, PartSettings, TrainingSettings, VariantSettings
from tcmax.experiment.switches import SWITCHES
from tcmax.experiment.yaml import explain, finding, read_yaml
from tcmax.models.encoders import ENCODERS

CONFIG_FOLDER = Path("config")
NO_EXPERIMENTS = ("theory",)  # files in config/ that hold something else


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

    def arms_on(self, dataset: str) -> tuple[str, ...]:
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

    def dataset_id(self, dataset: str) -> str:
        """What seeds and run keys know a dataset by: its id, whichever alias the file writes; the label of a user's own
        feature file, and of a dataset that is lacking."""
        own = self.settings.datasets[dataset].features is not None
        return dataset if own or dataset not in DATASETS else DATASETS.canonical(dataset)

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
            raise explain(error, self.path, f"datasets.{dataset}.training") from None

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
    from tcmax.methods import METHODS
    from tcmax.models.fusion import HEADS

    for dataset, options in settings.datasets.items():
        experiment.training_on(dataset)
        _check_tuned_training(experiment, dataset)
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


def _check_tuned_training(experiment: Experiment, dataset: str) -> None:
    """Raise TcmaxError where a tuned training setting could get a value that it may not have."""
    tuning = experiment.settings.tuning
    given = experiment.training_on(dataset).model_dump()
    for name, searched in tuning.training.items() if tuning else ():
        for end in searched.ends:
            try:
                TrainingSettings.model_validate({**given, name: end})
            except ValidationError as error:
                said = finding(error)[1]
                raise TcmaxError(f"{experiment.path}: tuning.training.{name}: {said}.") from None


def _checked(path: Path, key: str, check: Any, value: str) -> None:
    try:
        check(value)
    except TcmaxError as error:
        raise TcmaxError(f"{path}: {key}: {error}") from None
