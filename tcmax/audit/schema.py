"""A claims file: sentences of a paper, written down so that data can decide them.

One YAML file holds a list of claims (docs/add-a-claim.md). Each says what is compared with what, on which data, in
which metric, by how much, and for which population, before anything is computed; `load_claims` rejects whatever leaves
one of these open or names something that the experiment does not have.
"""

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, Self, TypeVar

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from tcmax.errors import TcmaxError
from tcmax.evidence.scores import Arm
from tcmax.experiment.grid import Experiment
from tcmax.experiment.yaml import Strict, explain, read_yaml
from tcmax.metrics import METRICS
from tcmax.records.files import sha256

TAU_RANGE = 1.0  # a rank correlation lies between -1 and 1, and a margin of it must be beaten
_UNITS = {"pp": 0.01, "%": 0.01, "nats": 1.0, "bits": 1.0}
_WITH_UNIT = re.compile(r"\s*([-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)\s*(pp|%|nats|bits)\s*")
_ID = re.compile(r"[a-z0-9][a-z0-9-]*")

Relation = Literal["greater", "less", "equal", "largest of", "smallest of", "monotone", "association"]
Quantifier = Literal[
    "each dataset", "some dataset", "some pair", "average over the named datasets", "datasets in general"
]

# Keys that say what to compute; a claim that is not testable has none of them.
_STRUCTURE = frozenset(
    {
        "datasets",
        "subject",
        "rivals",
        "variants",
        "metric",
        "readout",
        "rival_readout",
        "associated_with",
        "direction",
        "relation",
        "margin",
        "margin_reason",
        "quantifier",
        "selection",
        "population",
        "alpha",
        "seed_pairing",
        "smallest_gain",
    }
)


class Source(Strict):
    """Where the sentence stands, and whether the words are the document's own."""

    document: str
    section: str
    wording: Literal["quoted", "paraphrased"] = "quoted"


class Quantity(Strict):
    """A metric and the read-out it is taken from; no read-out means the variant's own joint prediction."""

    metric: str
    readout: str | None = None


class Claim(Strict):
    """One claim. The meaning of every key is in docs/add-a-claim.md.

    subject, rivals: variants; a list inside `rivals`, or a list as `subject`, is one arm, the best of these on
    validation within each seed. variants: the ordered steps of *monotone*, what *association* ranges over, or what
    *some pair* searches.
    margin: signed, in the metric's unit; negative is non-inferiority, and for *equal* it is the half-width.
    """

    id: str
    text: str
    source: Source
    origin: Literal["published", "written before", "written after"]
    proxy_for: str | None = None
    printed_table: str | None = None

    testable: bool = True
    reason: str | None = None
    data_needed: str | None = None

    datasets: Literal["all"] | tuple[str, ...] = "all"
    subject: Arm | None = None
    rivals: Literal["all others"] | tuple[Arm, ...] | None = None
    variants: Literal["all"] | tuple[str, ...] | None = None
    metric: str | None = None
    readout: str | None = None
    rival_readout: str | None = None
    associated_with: Quantity | None = None
    direction: Literal["positive", "negative"] | None = None
    relation: Relation | None = None
    margin: float = 0.0
    margin_reason: str | None = None
    quantifier: Quantifier = "each dataset"
    selection: Literal["last", "best_val"] | None = None
    population: Literal["seeds", "items", "both"] = "both"
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    seed_pairing: Literal["paired", "independent"] = "paired"
    smallest_gain: Annotated[float, Field(gt=0)] | None = None

    @field_validator("datasets", "variants", "subject", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        if isinstance(value, list):
            return tuple(value)
        return (value,) if isinstance(value, str) and value != "all" else value

    @field_validator("rivals", mode="before")
    @classmethod
    def _contenders(cls, value: Any) -> Any:
        if isinstance(value, str) and value != "all others":
            return ((value,),)
        if isinstance(value, list):
            return tuple(tuple(rival) if isinstance(rival, list) else (rival,) for rival in value)
        return value

    @field_validator("margin", "smallest_gain", mode="before")
    @classmethod
    def _in_the_metrics_unit(cls, value: Any, info: ValidationInfo) -> Any:
        """A number in the metric's unit, or one with its unit written: "1 pp", "0.1 nats"."""
        if not isinstance(value, str):
            return value
        found = _WITH_UNIT.fullmatch(value)
        metric = METRICS.get(str(info.data.get("metric")))
        if found is None:
            raise ValueError("a number in the metric's unit, or with its unit written, such as 1 pp")
        unit = {"pp": "proportion", "%": "proportion"}.get(found[2], found[2])
        if metric is not None and metric.unit != unit:
            raise ValueError(f"{info.data['metric']} is counted in {metric.unit or 'no unit'}, not in {found[2]}")
        return float(found[1]) * _UNITS[found[2]]

    @field_validator("selection", mode="before")
    @classmethod
    def _never_on_test(cls, value: Any) -> Any:
        if value == "best_test_oracle":
            raise ValueError("best_test_oracle chooses by the test labels and can never feed a claim")
        return value

    @field_validator("population", mode="before")
    @classmethod
    def _not_from_print(cls, value: Any) -> Any:
        if value == "printed table":
            raise ValueError(
                "claims about a printed table are judged from the table; a claim on runs is about seeds, items or both"
            )
        return value

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not _ID.fullmatch(self.id):
            raise ValueError(f"id: {self.id!r} is not lower-case letters, digits and '-'")
        for key in ("datasets", "variants", "subject", "rivals"):
            value = getattr(self, key)
            if value == ():
                raise ValueError(f"{key}: the list is empty")
            if isinstance(value, tuple) and len(set(value)) != len(value):
                raise ValueError(f"{key}: something is listed twice")
        if not self.testable:
            return self._untestable()
        if self.reason is not None or self.data_needed is not None:
            raise ValueError("reason and data_needed belong to a claim with `testable: false`")
        for key in ("metric", "relation"):
            if getattr(self, key) is None:
                raise ValueError(f"{key}: a testable claim needs it")
        if self.relation == "association":
            self._only("association", needed={"associated_with", "direction"}, barred={"subject", "rivals"})
        elif self.relation == "monotone":
            self._only("monotone", needed={"variants"}, barred={"subject", "rivals", "associated_with", "direction"})
            if self.variants == "all" or len(self.variants or ()) < 2:
                raise ValueError("variants: monotone needs the steps in order, two at least")
        elif self.quantifier == "some pair" and self.variants is not None:
            barred = {"subject", "rivals", "associated_with", "direction"}
            self._only(str(self.relation), needed={"variants"}, barred=barred)
            if len(self.variants) < 2:
                raise ValueError("variants: a pair needs two of them")
        else:
            barred = {"variants", "associated_with", "direction"}
            self._only(str(self.relation), needed={"subject"}, barred=barred)
            self._rivals()
        if self.quantifier == "some pair" and self.relation not in ("greater", "less", "equal"):
            raise ValueError("quantifier: 'some pair' belongs to the relations greater, less and equal")
        self._margin()
        return self

    def _untestable(self) -> Self:
        if not self.reason:
            raise ValueError("reason: a claim with `testable: false` says why")
        structured = sorted(_STRUCTURE & self.model_fields_set)
        if structured:
            raise ValueError(f"{structured[0]}: a claim with `testable: false` computes nothing")
        return self

    def _only(self, relation: str, needed: set[str], barred: set[str]) -> None:
        for key in sorted(needed):
            if getattr(self, key) is None:
                raise ValueError(f"{key}: the relation {relation!r} needs it")
        for key in sorted(barred):
            if getattr(self, key) is not None:
                raise ValueError(f"{key}: the relation {relation!r} does not use it")

    def _rivals(self) -> None:
        superlative = self.relation in ("largest of", "smallest of")
        if self.rivals is None and not superlative:
            raise ValueError(f"rivals: the relation {self.relation!r} needs it")
        if self.rivals == "all others" and not superlative and self.quantifier != "some pair":
            raise ValueError(
                f"rivals: 'all others' belongs to 'largest of', 'smallest of' and 'some pair', not {self.relation!r}"
            )
        if isinstance(self.rivals, tuple) and self.rival_readout in (None, self.readout):
            own = set(self.subject or ())
            for rival in self.rivals:
                if own & set(rival):
                    raise ValueError(f"rivals: {', '.join(sorted(own & set(rival)))} is the subject too")

    def _margin(self) -> None:
        if self.relation == "equal":
            if self.margin <= 0:
                raise ValueError("margin: 'equal' needs a margin above 0: no data can show a difference of exactly 0")
            if not self.margin_reason:
                raise ValueError("margin_reason: the margin of 'equal' needs a reason that was fixed beforehand")
            if self.smallest_gain is not None:
                raise ValueError("smallest_gain: 'equal' is planned by its margin")
        elif self.margin < 0 and not self.margin_reason:
            raise ValueError("margin_reason: a negative margin (non-inferiority) needs a reason fixed beforehand")
        if self.smallest_gain is not None and self.smallest_gain <= self.margin:
            raise ValueError("smallest_gain: a gain of interest lies above the margin")


@dataclass(frozen=True)
class Claims:
    """The claims of a file in their order, and the SHA-256 of the file."""

    path: Path
    sha256: str
    claims: tuple[Claim, ...]


def load_claims(path: Path, experiment: Experiment) -> Claims:
    """Read and validate a claims file against the experiment that is to judge it.

    Raises TcmaxError naming the file, the claim and the key: unknown datasets, variants or metrics, an incomplete or
    contradictory claim, a repeated id. Read-outs are checked when the item scores are at hand.
    """
    path = Path(path)
    raw = read_yaml(path)
    if not isinstance(raw, dict) or set(raw) != {"claims"} or not isinstance(raw["claims"], list):
        raise TcmaxError(f"{path}: a claims file has one key, `claims`, with a list.")
    return Claims(path, sha256(path), validated(raw["claims"], path, Claim, lambda claim: _unknown(claim, experiment)))


class Identified(Protocol):
    """What has an id."""

    @property
    def id(self) -> str: ...


C = TypeVar("C", bound=Identified)


def validated(
    entries: Sequence[object], path: Path, model: Callable[..., C], problem: Callable[[C], str | None]
) -> tuple[C, ...]:
    """The entries of a claims file as claims of one kind, in order.

    problem: what is wrong with a claim that is complete in itself, as "key: sentence". Raises TcmaxError naming the
    file, the claim and the key: an incomplete or contradictory claim, a repeated id, a problem.
    """
    found: list[C] = []
    for position, entry in enumerate(entries):
        if not isinstance(entry, Mapping):
            raise TcmaxError(f"{path}: claims.{position}: a claim is a mapping of keys to values.")
        where = f"claims.{entry.get('id', position)}"
        try:
            claim = model(**{str(key): value for key, value in entry.items()})
        except ValidationError as error:
            raise explain(error, path, where) from None
        if any(claim.id == other.id for other in found):
            raise TcmaxError(f"{path}: {where}: this id occurs twice.")
        wrong = problem(claim)
        if wrong:
            raise TcmaxError(f"{path}: {where}.{wrong}")
        found.append(claim)
    return tuple(found)


def datasets_of(claim: Claim, experiment: Experiment) -> tuple[str, ...]:
    """The datasets a claim is about, in its order."""
    return tuple(experiment.settings.datasets) if claim.datasets == "all" else claim.datasets


def variants_of(claim: Claim, experiment: Experiment, dataset: str) -> tuple[str, ...]:
    """The variants a *monotone*, *association* or *some pair* claim ranges over on a dataset."""
    if isinstance(claim.variants, tuple):
        return claim.variants
    return experiment.variants_on(dataset)


def contrasts_of(claim: Claim, experiment: Experiment, dataset: str) -> tuple[tuple[Arm, Arm], ...]:
    """The comparisons (A, B) that a claim is made of on one dataset; none for an association.

    "All others" leaves out the subject's siblings (variants of the same `family`), and where the subject is the best of
    several, rivals of one family are one rival with the same right. A search over variants meets each pair in both
    directions, but for *equal*, which has none.
    """
    if claim.relation == "association":
        return ()
    if claim.relation == "monotone":
        steps = variants_of(claim, experiment, dataset)
        return tuple(((after,), (before,)) for before, after in itertools.pairwise(steps))
    if claim.variants is not None:
        pairs = itertools.combinations if claim.relation == "equal" else itertools.permutations
        return tuple(((a,), (b,)) for a, b in pairs(variants_of(claim, experiment, dataset), 2))
    subject = claim.subject or ()
    rivals = claim.rivals if isinstance(claim.rivals, tuple) else _all_others(subject, experiment, dataset)
    return tuple((subject, rival) for rival in rivals)


def _all_others(subject: Arm, experiment: Experiment, dataset: str) -> tuple[Arm, ...]:
    variants = experiment.settings.variants
    families = {variants[label].family for label in subject} - {None}
    others = [
        label
        for label in experiment.variants_on(dataset)
        if label not in subject and (variants[label].family is None or variants[label].family not in families)
    ]
    if len(subject) == 1:
        return tuple((label,) for label in others)
    grouped: dict[str, list[str]] = {}
    for label in others:
        grouped.setdefault(variants[label].family or f"={label}", []).append(label)
    return tuple(tuple(members) for members in grouped.values())


def _beyond(claim: Claim, value: float) -> str | None:
    """Why a margin means nothing for its metric: no two values lie that far apart."""
    metric = METRICS[str(claim.metric)]
    largest = TAU_RANGE if claim.relation == "association" else metric.largest_difference
    if abs(value) < largest:
        return None
    hint = "; 0.01 is one percentage point, and may be written 1 pp" if metric.unit == "proportion" else ""
    return f"{value:g} is out of reach: two values of {claim.metric} differ by less than {largest:g}{hint}."


def _unknown(claim: Claim, experiment: Experiment) -> str | None:
    """The first thing a claim names that the experiment does not have, as "key: sentence", or None."""
    if not claim.testable:
        return None
    known = tuple(experiment.settings.datasets)
    for dataset in () if claim.datasets == "all" else claim.datasets:
        if dataset not in known:
            return f"datasets: there is no dataset {dataset!r} in {experiment.name}; it has {', '.join(known)}."
    named = {"metric": claim.metric, "associated_with.metric": claim.associated_with and claim.associated_with.metric}
    for key, metric in named.items():
        if metric is not None and metric not in METRICS:
            return f"{key}: there is no metric {metric!r}; metrics: {', '.join(METRICS)}."
    for key, value in {"margin": claim.margin, "smallest_gain": claim.smallest_gain}.items():
        problem = claim.metric and value is not None and _beyond(claim, value)
        if problem:
            return f"{key}: {problem}"
    labels = {
        "subject": claim.subject or (),
        "rivals": [label for rival in claim.rivals for label in rival] if isinstance(claim.rivals, tuple) else (),
        "variants": claim.variants if isinstance(claim.variants, tuple) else (),
    }
    for key, members in labels.items():
        for label in members:
            if label not in experiment.settings.variants:
                return f"{key}: there is no variant {label!r}; variants: {', '.join(experiment.settings.variants)}."
            for dataset in datasets_of(claim, experiment):
                if label not in experiment.variants_on(dataset):
                    return f"{key}: the variant {label!r} does not run on {dataset}."
    for dataset in datasets_of(claim, experiment):
        if claim.relation == "association" and len(variants_of(claim, experiment, dataset)) < 3:
            return f"variants: an association needs three variants on {dataset}."
        if claim.relation != "association" and not contrasts_of(claim, experiment, dataset):
            return f"rivals: no other variant runs on {dataset}."
    if claim.quantifier in ("average over the named datasets", "datasets in general"):
        everywhere = {contrasts_of(claim, experiment, dataset) for dataset in datasets_of(claim, experiment)}
        if len(everywhere) > 1:
            return f"rivals: {claim.quantifier!r} needs the same rivals on every dataset; name them."
    return None
