"""The typed settings of an experiment file, and what is checked of them without importing what they name."""

import math
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


class RangeSettings(Strict):
    """Where a tuned value is looked for: between two bounds, both included, or among choices.

    scale: log for what acts by factors; integer for whole numbers.
    steps: points of a grid between the bounds; the sampler `grid` alone asks for them. Choices are their own points.
    """

    low: float | None = None
    high: float | None = None
    scale: Literal["linear", "log", "integer"] = "linear"
    steps: Annotated[int, Field(ge=2)] | None = None
    choices: Annotated[tuple[Any, ...], Listed] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.choices is not None:
            if self.model_fields_set != {"choices"}:
                raise ValueError("a range has choices, or bounds and a scale, not both")
            if not self.choices:
                raise ValueError("the range is empty: it has no choices")
            if any(one == other for k, one in enumerate(self.choices) for other in self.choices[:k]):
                raise ValueError("a choice is listed twice")
            return self
        if self.low is None or self.high is None:
            raise ValueError("the range is empty: it needs low and high, or choices")
        if self.low == self.high:
            raise ValueError(f"the range is empty: low and high are both {self.low:g}")
        if self.low > self.high:
            raise ValueError(f"the range is reversed: low is {self.low:g} and high {self.high:g}")
        if self.scale == "log" and self.low <= 0:
            raise ValueError(f"a log range goes through zero: low is {self.low:g}")
        if self.scale == "integer" and not (self.low.is_integer() and self.high.is_integer()):
            raise ValueError("an integer range has whole bounds")
        return self

    @property
    def ends(self) -> tuple[Any, ...]:
        """The values at its bounds, or all choices: where what takes them has to be valid."""
        return self.choices if self.choices is not None else (self.value(0.0), self.value(1.0))

    def value(self, position: float) -> Any:
        """The value at a position in [0, 1]; real ones have three digits, so that a printed value is the one used."""
        if self.choices is not None:
            return self.choices[min(int(position * len(self.choices)), len(self.choices) - 1)]
        assert self.low is not None
        assert self.high is not None
        if self.scale == "integer":
            n_values = int(self.high - self.low) + 1
            return int(self.low) + min(int(position * n_values), n_values - 1)
        if self.scale == "log":
            value = math.exp(math.log(self.low) + position * (math.log(self.high) - math.log(self.low)))
        else:
            value = self.low + position * (self.high - self.low)
        return min(max(float(f"{value:.3g}"), self.low), self.high)

    def points(self) -> tuple[Any, ...]:
        """The points of a grid. Raises ValueError where bounds have no steps."""
        if self.choices is not None:
            return self.choices
        if self.steps is None:
            raise ValueError("a grid needs its number of steps")
        if self.scale == "integer":
            assert self.low is not None
            assert self.high is not None
            return tuple(
                dict.fromkeys(
                    round(self.low + k * (self.high - self.low) / (self.steps - 1)) for k in range(self.steps)
                )
            )
        return tuple(self.value(k / (self.steps - 1)) for k in range(self.steps))


TUNABLE = ("learning_rate", "weight_decay", "momentum", "batch_size", "epochs")
# What every variant tunes unless an experiment says otherwise. The rate: values below 1 and above 1e-6 are usual with
# inputs of unit scale (Bengio 2012, Practical recommendations, 3.1); two decades below the paper's 1e-3 train nothing
# in as many epochs. Weight decay: 1e-6 to 1e-2 (Gulrajani and Lopez-Paz 2021, DomainBed, appendix D.2).
TUNED = {
    "learning_rate": RangeSettings(low=1e-4, high=1.0, scale="log"),
    "weight_decay": RangeSettings(low=1e-6, high=1e-2, scale="log"),
}
TUNING_METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "nll", "brier")  # of the validation items of a trial


class TuningSettings(Strict):
    """How the settings of every variant are chosen on validation items, with equally many trials each.

    trials: for each variant, dataset, fold and search. The first n of a sampler never change when there are more.
    searches: independent ones; the experiment's seeds are dealt out among what they choose. Their spread takes three.
    metric, readout: what trials are judged by, on validation items under the experiment's selection rule; `own` is each
        variant's own prediction.
    training: what all variants tune, TUNED when not given. methods: a method's own parameters, what its file declares
        when not given. A parameter that a variant sets itself is not tuned.
    trials_per_job: one job trains so many, side by side where they can.
    budgets: smaller numbers of trials at which the seeds are trained and the claims judged as well, to see whether the
        ranking depends on the budget; 0 is the settings as given.
    """

    trials: Count
    sampler: Literal["grid", "random", "sobol"] = "random"
    seeds_per_trial: Count = 1
    searches: Count = 1
    metric: str = "accuracy"
    readout: str = "own"
    training: dict[str, RangeSettings] = Field(default_factory=lambda: dict(TUNED))
    methods: dict[str, dict[str, RangeSettings]] = Field(default_factory=dict)
    trials_per_job: Count = 64
    budgets: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Listed] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in self.training:
            if name not in TUNABLE:
                raise ValueError(f"training: there is no {name!r} to tune; known: {', '.join(TUNABLE)}")
        if self.metric not in TUNING_METRICS:
            raise ValueError(
                f"metric: validation items have no {self.metric!r} to tune by; known: {', '.join(TUNING_METRICS)}"
            )
        if any(b <= a for a, b in pairwise(self.budgets)) or any(budget >= self.trials for budget in self.budgets):
            raise ValueError(f"budgets: increasing numbers of trials below {self.trials}")
        if self.budgets and self.sampler == "grid":
            raise ValueError("budgets: a part of a grid is no smaller search; draw trials with random or sobol")
        if self.searches == 2:
            raise ValueError("searches: one, or at least three, whose spread can be estimated")
        if self.searches > 1 and self.sampler == "grid":
            raise ValueError("searches: a grid is the same in every search; draw trials with random or sobol")
        return self


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

    tuning_trials: how many settings were tried on validation items to arrive at these parameters, before this
        experiment. Comparisons are fair when it is the same for every variant; the report prints it.
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
    tuning: a search for each variant's settings before its seeds are trained; without it they are as given.
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
    tuning: TuningSettings | None = None
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
        if self.tuning is not None and self.imported is not None:
            raise ValueError("tuning: imported results are not trained")
        if self.tuning is not None and self.tuning.budgets and self.sequential is not None:
            raise ValueError("tuning.budgets: looks decide which seeds there are, and they are taken at one budget")
        if self.tuning is not None and self.tuning.budgets and self.claims is None:
            raise ValueError("tuning.budgets: there are no claims to judge at them")
        if self.tuning is not None and self.tuning.searches > len(self.seeds):
            raise ValueError(f"tuning.searches: {self.tuning.searches} searches share {len(self.seeds)} seeds")
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
