"""The typed settings of an experiment file, and what is checked of them without importing what they name."""

import re
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from tcmax.experiment.yaml import Listed, Strict

SELECTIONS = ("last", "best_val", "best_test_oracle")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
Count = Annotated[int, Field(ge=1)]


class PartSettings(Strict):
    """A named part (encoder, head) and its own parameters, which the part itself checks."""

    model_config = ConfigDict(extra="allow")
    name: str

    @property
    def parameters(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class TrainingSettings(Strict):
    """Optimisation: the paper's optimiser (SGD, momentum 0.9, weight decay 1e-4) unless a config says otherwise."""

    epochs: Count
    batch_size: Annotated[int, Field(ge=2)]
    learning_rate: Annotated[float, Field(gt=0)]
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    lr_drop_epochs: Annotated[tuple[Count, ...], Listed] = ()
    lr_drop_factor: Annotated[float, Field(gt=0, le=1)] = 0.1


class DatasetSettings(Strict):
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
    variants: Annotated[tuple[str, ...], Listed] | None = None
    needs: str | None = None
    title: str | None = None

    @property
    def all_encoders(self) -> list[PartSettings]:
        return [encoder for encoder in (self.encoder, *self.encoders.values()) if encoder is not None]


class VariantSettings(Strict):
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


class SequentialSettings(Strict):
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


class ExperimentSettings(Strict):
    """One experiment file, config/<name>.yaml.

    sequential: looks after which seeds are added, in place of all seeds at once.
    inert_switches: switches (switches.py) that cannot act in this experiment, and why, for a study of switches.
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
