"""The mapping file of an import: what the columns of somebody else's files mean (docs/foreign-results.md)."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from tcmax.errors import TcmaxError
from tcmax.experiment.yaml import Strict, explain, read_yaml
from tcmax.metrics import METRICS
from tcmax.metrics.readout import JOINT_READOUTS

PLACEHOLDERS = ("dataset", "fold", "variant", "seed", "split")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_RESERVED = frozenset({"own", "all", *JOINT_READOUTS}) - {"joint"}

Content = Literal["predictions", "items", "scores"]


class Columns(Strict):
    """Their name for each column of ours. What a file's name says (`files`) needs no column."""

    dataset: str | None = None
    fold: str | None = None
    variant: str | None = None
    seed: str | None = None
    split: str | None = None
    item: str | None = None
    label: str | None = None
    prediction: str | None = None
    correct: str | None = None
    n_items: str | None = None


class Variant(Strict):
    """How a variant is called here: its label in files and claims, its title in tables, its family of siblings."""

    label: str | None = None
    title: str | None = None
    family: str | None = None


class Mapping(Strict):
    """One import. Exactly one of `logits`, `columns.correct` or `columns.prediction`, and `values` says what there is.

    files      paths or patterns relative to the mapping file; {variant}, {seed}, {dataset}, {fold} and {split} in a
               file's name stand for its values
    logits     read-out -> NPZ array, list column, or the common beginning of one column per class
    values     metric of SCORES -> column with one number per run
    diverged   variant -> seeds of its runs that ended without finite logits, and so without rows
    """

    name: str
    title: str | None = None
    source: str
    files: tuple[str, ...]
    dataset: str | None = None
    columns: Columns = Columns()
    groups: dict[str, str] = Field(default_factory=dict)
    logits: dict[str, str] = Field(default_factory=dict)
    values: dict[str, str] = Field(default_factory=dict)
    scale: Literal["logits", "probabilities"] = "logits"
    unit: Literal["proportion", "percent"] = "proportion"
    precision: Literal["float16", "float32"] | None = None
    classes: tuple[str, ...] | None = None
    n_items: Annotated[int, Field(ge=1)] | None = None
    selection: Literal["last", "best_val"] = "last"
    missing_seeds: Literal["refused", "allowed"] = "refused"
    diverged: dict[str, tuple[Annotated[int, Field(ge=0)], ...]] = Field(default_factory=dict)
    variants: dict[str, Variant] = Field(default_factory=dict)
    reference_variant: str | None = None
    claims: str | None = None
    licence: str = "not stated"

    @field_validator("files", "classes", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else (value,) if isinstance(value, str) else value

    @field_validator("diverged", mode="before")
    @classmethod
    def _seeds(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {name: tuple(seeds) if isinstance(seeds, list) else seeds for name, seeds in value.items()}

    @property
    def content(self) -> Content:
        """What the files hold."""
        if self.logits:
            return "predictions"
        return "scores" if self.values else "items"

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not _LABEL.fullmatch(self.name):
            raise ValueError(f"name: {self.name!r} becomes a folder, so only letters, digits, '.', '_' and '-'")
        if not self.files:
            raise ValueError("files: at least one file is needed")
        by_item = self.columns.correct is not None or self.columns.prediction is not None
        given = [key for key, there in (("logits", self.logits), ("values", self.values)) if there]
        given += ["columns.correct or columns.prediction"] if by_item else []
        if len(given) != 1:
            found = f"there are {' and '.join(given)}" if given else "there is none of them"
            raise ValueError(f"logits: give `logits`, `values`, or columns.correct or columns.prediction; {found}")
        for pattern in self.files:
            for name in re.findall(r"\{(.*?)\}", pattern):
                if name not in PLACEHOLDERS:
                    raise ValueError(
                        f"files: there is no placeholder {{{name}}}; placeholders: {', '.join(PLACEHOLDERS)}"
                    )
        if self.logits and "joint" not in self.logits:
            raise ValueError("logits: the read-out `joint` is needed; it is the prediction of all modalities together")
        for name in self.logits:
            if name in _RESERVED or not _LABEL.fullmatch(name):
                raise ValueError(f"logits: a modality cannot be called {name!r}")
        for metric in self.values:
            if metric not in METRICS or metric == "diverged":
                raise ValueError(f"values: there is no metric {metric!r}; metrics: {', '.join(METRICS)}")
        needed = {"variant", "seed"} | ({"item", "label"} if self.content != "scores" else set())
        for name in sorted(needed):
            if getattr(self.columns, name) is None and not self._in_every_name(name):
                raise ValueError(f"columns.{name}: which column is it? It is in no file name either")
        if self.dataset is None and self.columns.dataset is None and not self._in_every_name("dataset"):
            raise ValueError("dataset: name it here, in columns.dataset, or by {dataset} in the file names")
        if self.content == "scores" and (self.columns.fold is not None or any("{fold}" in f for f in self.files)):
            raise ValueError("columns.fold: scores of whole runs are given once for each run, over all its folds")
        if self.content == "scores" and (self.n_items is None) == (self.columns.n_items is None):
            raise ValueError("n_items: the number of test items behind each score, here or in columns.n_items")
        return self

    def _in_every_name(self, name: str) -> bool:
        return name in PLACEHOLDERS and all(f"{{{name}}}" in pattern for pattern in self.files)


@dataclass(frozen=True)
class Named:
    """A name in foreign files, the label that stands for it in folders and claims, and what a table prints."""

    name: str
    label: str
    title: str
    family: str | None = None


def load_mapping(path: Path) -> Mapping:
    """Read and validate a mapping file; TcmaxError names the file and the key."""
    path = Path(path)
    raw = read_yaml(path)
    if not isinstance(raw, dict):
        raise TcmaxError(f"{path}: a mapping file holds keys and values (name, source, files, columns, ...).")
    try:
        return Mapping.model_validate(raw)
    except ValidationError as error:
        raise explain(error, path) from None


def named(name: str, given: Variant | None = None) -> Named:
    """The label of a foreign name: the one given, else the name with a '-' for whatever a folder should not have."""
    label = (given.label if given else None) or re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._")
    if not _LABEL.fullmatch(label):
        raise TcmaxError(f"{name!r} gives no label of letters and digits; give it one under `variants`.")
    return Named(name, label, (given.title if given else None) or name, given.family if given else None)
