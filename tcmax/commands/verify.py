"""`tcmax verify EXPERIMENT`: are these the results of the committed reference, and if not, how far from them?

A reference (config/reference/EXPERIMENT.json) holds digests of predictions, tables and figures, the estimates with
their intervals, and the verdicts. It is made by `tcmax verify EXPERIMENT --write`.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow.compute as pc

from tcmax.errors import TcmaxError
from tcmax.experiment.grid import Experiment
from tcmax.experiment.looks import manifests_of
from tcmax.records import arithmetic, kinds, parquet, provenance
from tcmax.records.files import read_json, sha256, write_text

VERSION = 1
Outcome = Literal["identical bytes", "equal to rounding", "same verdicts, other numbers", "other verdicts"]
# Exit status of each; 2 is an error, as everywhere.
STATUS: dict[Outcome, int] = {
    "identical bytes": 0,
    "equal to rounding": 0,
    "same verdicts, other numbers": 1,
    "other verdicts": 3,
}
ROUNDING = 1e-6  # largest relative difference of an estimate or a bound that is one of rounding in single precision
HAIR = 0.1  # of the interval's half-width: a bound nearer to the margin decides by a hair
METRICS = ("accuracy", "js")  # whose estimates are kept
_VALUES = ("estimate", "low", "high")
_RENDERED = {"tables": ("*.csv", "*.tex"), "figures": ("*.png",)}


@dataclass(frozen=True)
class Verification:
    """How results compare with their reference: the outcome, its line, and a line for each thing to know beside it."""

    outcome: Outcome
    line: str
    details: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        return "\n".join([self.line, *(f"  {line}" for line in self.details)])

    def status(self, identical: bool = False) -> int:
        """The exit status; with `identical`, anything but identical bytes is at least 1."""
        return max(STATUS[self.outcome], int(identical and self.outcome != "identical bytes"))


def reference_path(experiment: Experiment) -> Path:
    """Where the reference of an experiment stands: reference/ beside its file."""
    return experiment.path.parent / "reference" / f"{experiment.name}.json"


def write_reference(experiment: Experiment, results: Path, reports: Path) -> Path:
    """Make these results the reference; returns the file written. Refuses results of another arithmetic."""
    made = summary(experiment, results, reports)
    if made["arithmetic"] != arithmetic.PORTABLE:
        raise TcmaxError(
            f"{results / experiment.name} was computed in {made['arithmetic']} arithmetic; a reference is made in "
            f"{arithmetic.PORTABLE}, for others to repeat."
        )
    path = reference_path(experiment)
    write_text(path, _one_line_each(made))
    return path


def verify(experiment: Experiment, results: Path, reports: Path) -> Verification:
    """Compare results and report of an experiment with its reference."""
    path = reference_path(experiment)
    if not path.is_file():
        raise TcmaxError(f"{path} does not exist: {experiment.name} has no reference; --write makes these results one.")
    reference = read_json(path)
    if not isinstance(reference, dict) or reference.get("version") != VERSION:
        raise TcmaxError(f"{path} is no reference of version {VERSION}; make it again with --write.")
    return compare(reference, summary(experiment, results, reports), path)


def summary(experiment: Experiment, results: Path, reports: Path) -> dict[str, Any]:
    """What a reference keeps of results, as plain values. TcmaxError names the file that is missing."""
    folder = results / experiment.name
    modes, digests = _predictions(experiment, results)
    verdicts = folder / "verdicts.parquet"
    return {
        "version": VERSION,
        "experiment": experiment.name,
        "arithmetic": " and ".join(sorted(modes)),
        "versions": {
            name: version for name, version in provenance.versions().items() if name not in ("tcmax", "python")
        },
        "predictions": digests,
        "files": _rendered(reports / experiment.name),
        "values": _values(folder / "evidence.parquet"),
        "verdicts": _verdicts(verdicts) if experiment.settings.claims is not None else {},
    }


def _predictions(experiment: Experiment, results: Path) -> tuple[set[str], dict[str, str]]:
    """The arithmetic of all runs, and dataset -> digest of the numbers in all predictions.

    Of the numbers, not of the files: these also name the run's key, which changes with the code.
    """
    modes, digests = set(), {}
    for dataset in experiment.settings.datasets:
        hashed = hashlib.sha256()
        for manifest in sorted(manifests_of(experiment, dataset, results)):
            for run in read_json(manifest)["runs"]:
                modes.add(str(run.get("arithmetic", "unrecorded")))
                hashed.update(f"{manifest.parent.name} {run['seed']} {run['status']} {run['epoch']}".encode())
                for name, described in sorted(run["files"].items()):
                    if name.startswith("predictions_"):
                        hashed.update(name.encode())
                        _add_numbers(hashed, manifest.parent / described["path"])
        digests[dataset] = hashed.hexdigest()
    return modes, digests


def _add_numbers(hashed: Any, path: Path) -> None:
    table = parquet.read(path, kinds.PREDICTIONS)
    for name in table.column_names:
        if name == "label" or name.startswith("logits_"):
            column = table[name].combine_chunks()
            values = column.flatten() if name.startswith("logits_") else column
            hashed.update(name.encode() + values.to_numpy(zero_copy_only=False).tobytes())


def _rendered(report: Path) -> dict[str, str]:
    """File below the report's folder -> SHA-256, of tables and figures."""
    files = [
        path
        for folder, patterns in _RENDERED.items()
        for pattern in patterns
        for path in sorted((report / folder).glob(pattern))
    ]
    if not files:
        raise TcmaxError(f"{report} holds no report; `tcmax report` writes it.")
    return {path.relative_to(report).as_posix(): sha256(path) for path in files}


def _values(path: Path) -> dict[str, list[float | None]]:
    """Id of an estimate -> its value and 95 % bounds, for new seeds and items together."""
    table = parquet.read(path, kinds.EVIDENCE, columns=("id", "kind", "metric", "population", *_VALUES))
    wanted = pc.and_(pc.equal(table["kind"], "estimate"), pc.equal(table["population"], "both"))
    rows = table.filter(wanted).to_pylist()
    return {row["id"]: [row[name] for name in _VALUES] for row in rows if row["metric"] in METRICS}


def _verdicts(path: Path) -> dict[str, dict[str, Any]]:
    columns = ("verdict", "verdict_seeds", *_VALUES, "margin")
    rows = parquet.read(path, kinds.VERDICTS, columns=("claim", *columns)).to_pylist()
    return {row["claim"]: {name: row[name] for name in columns} for row in rows}


def _one_line_each(value: dict[str, Any]) -> str:
    """JSON with a line for each entry of each part: short, and read as a difference of lines."""

    def shown(part: Any) -> str:
        if not isinstance(part, dict):
            return json.dumps(part)
        lines = [f"  {json.dumps(name)}: {json.dumps(part[name], sort_keys=True)}" for name in sorted(part)]
        return "{\n" + ",\n".join(lines) + "\n }"

    return "{\n" + ",\n".join(f" {json.dumps(name)}: {shown(part)}" for name, part in value.items()) + "\n}\n"


def compare(reference: Mapping[str, Any], found: Mapping[str, Any], path: Path) -> Verification:
    """Compare two summaries; `path` is where the first was read."""
    name, changed = found["experiment"], _changed_verdicts(reference["verdicts"], found["verdicts"])
    parts = [part for part in ("predictions", "files") if reference[part] != found[part]]
    unlike = [*_unlike(reference, found), *_differing(reference, found)]
    verdicts = len(found["verdicts"])
    moved = _moved({**reference["values"], **_bounds(reference)}, {**found["values"], **_bounds(found)})
    if changed:
        unlike = [*filter(None, [moved]), *unlike]
        line = (
            f"{len(changed)} of {len(set(reference['verdicts']) | set(found['verdicts']))} verdicts differ from {path}"
        )
        return Verification("other verdicts", f"{name}: other verdicts. {line}:", (*changed, *unlike))
    if moved:
        line = f"All {verdicts} verdicts are those of {path}; {moved}."
        return Verification(
            "same verdicts, other numbers", f"{name}: same verdicts, other numbers. {line}", tuple(unlike)
        )
    if parts or reference["values"] != found["values"]:
        line = (
            f"No estimate or bound is farther than {ROUNDING:g} (relative) from {path}; {verdicts} verdicts are equal."
        )
        return Verification("equal to rounding", f"{name}: equal to rounding. {line}", tuple(unlike))
    counted = f"{len(found['predictions'])} datasets, {len(found['files'])} tables and figures and {verdicts} verdicts"
    return Verification("identical bytes", f"{name}: identical bytes. Predictions of {counted} are those of {path}.")


def _bounds(summary: Mapping[str, Any]) -> dict[str, list[float | None]]:
    """The interval behind each verdict."""
    return {claim: [verdict[name] for name in _VALUES] for claim, verdict in summary["verdicts"].items()}


def _changed_verdicts(reference: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    lines = []
    for claim in dict.fromkeys([*reference, *found]):
        before, after = reference.get(claim), found.get(claim)
        if before is None or after is None:
            lines.append(f"{claim} is {'new' if before is None else 'gone'}")
            continue
        words = [
            f"{after[question]}, was {before[question]}{of}"
            for question, of in (("verdict", ""), ("verdict_seeds", " (new seeds on these items)"))
            if before[question] != after[question]
        ]
        if words:
            lines.append(f"{claim}: {'; '.join(words)}; {_by_a_hair(before, after)}")
    return lines


def _by_a_hair(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """How near to its margin the nearest bound of either interval is, in half-widths."""
    nearest = math.inf
    for verdict in (before, after):
        low, high, margin = (verdict[name] for name in ("low", "high", "margin"))
        if low is not None and high is not None and high > low:
            for target in (margin or 0.0, -(margin or 0.0)):
                nearest = min(nearest, *(abs(bound - target) / ((high - low) / 2) for bound in (low, high)))
    if nearest == math.inf:
        return "it has no interval to tell by how much"
    return f"{'by a hair: ' if nearest < HAIR else ''}a bound is {nearest:.2g} half-widths from what decides"


def _moved(reference: Mapping[str, list[float | None]], found: Mapping[str, list[float | None]]) -> str:
    """How many values are farther apart than rounding, and the farthest against its interval; "" when none is."""
    farthest, told, count = -1.0, "", 0
    for name in dict.fromkeys([*reference, *found]):
        before, after = reference.get(name), found.get(name)
        if before is not None and after is not None and all(map(_close, before, after)):
            continue
        count += 1
        if before is None or after is None or None in (*before, *after):
            share, words = math.inf, f"{name} is there in one of them only"
        else:
            (was, low, high), is_ = before, after[0]
            share = abs(is_ - was) / ((high - low) / 2) if high > low else math.inf  # type: ignore[operator]
            words = f"{name} was {was:.6g} and is {is_:.6g}, {share:.2g} of its interval's half-width"
        if share > farthest:
            farthest, told = share, words
    total = len(set(reference) | set(found))
    return f"{count} of {total} numbers differ, the farthest: {told}" if count else ""


def _close(a: float | None, b: float | None) -> bool:
    if a is None or b is None:
        return a is b
    return a == b or math.isclose(a, b, rel_tol=ROUNDING, abs_tol=ROUNDING)


def _unlike(reference: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """What may be the reason: other arithmetic, other versions."""
    lines = []
    if reference["arithmetic"] != found["arithmetic"]:
        lines.append(f"the arithmetic is {found['arithmetic']}, the reference's is {reference['arithmetic']}")
    return lines + provenance.changes(reference["versions"], found["versions"], "version of")


def _differing(reference: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Which predictions and rendered files are other ones."""
    lines = []
    for part, what in (("predictions", "predictions"), ("files", "tables and figures")):
        before, after = reference[part], found[part]
        names = [name for name in dict.fromkeys([*before, *after]) if before.get(name) != after.get(name)]
        lines.append(f"{what}: {_named(names)} of {len(before)} differ" if names else f"{what}: identical")
    return lines


def _named(names: Iterable[str], most: int = 4) -> str:
    names = list(names)
    return f"{len(names)} ({', '.join(names[:most])}{', ...' if len(names) > most else ''})"
