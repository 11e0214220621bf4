"""Which deviations of released code change a result, and which would have changed a conclusion.

Every variant with one switch flipped is compared with the same variant as published: paired over seeds and items, with
Holm's correction over all flips of a metric on a dataset. A conclusion is a claim of the experiment, or that a variant
is more accurate than the reference variant, each on one dataset: a switch may act on one and not on another. It is
judged twice: as published, and with every variant that has the switch flipped in the place of its own (a protocol
switch: only where all sides have it). A deviation would have changed it where the two verdicts differ in their word.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tcmax.audit.judging import RememberingBoard, populations_of, readings_of, word_of
from tcmax.audit.schema import Claim, Source, datasets_of, load_claims
from tcmax.errors import TcmaxError
from tcmax.evidence.compare import family
from tcmax.evidence.rows import write_evidence
from tcmax.evidence.scores import Arm
from tcmax.experiment.grid import Experiment, Flip
from tcmax.experiment.switches import PROTOCOL, SWITCHES
from tcmax.records import kinds, parquet

# What a flip may move: the joint prediction, how far modalities disagree, and how sure the prediction is.
MEASURED = (("accuracy", "own"), ("js", "all"), ("entropy", "own"))


def audit_discrepancies(experiment: Experiment, results: Path, claims_path: Path | None) -> list[str]:
    """Write discrepancy_evidence.parquet and discrepancies.parquet; returns a line for each conclusion that changes.

    Raises TcmaxError where no variant has a switch flipped, for a claim that does not name its variants, and for
    missing item scores.
    """
    if not experiment.flips:
        raise TcmaxError(f"{experiment.path}: no variant equals another one but for a single switch.")
    boards = {dataset: RememberingBoard(experiment, dataset, results) for dataset in experiment.settings.datasets}
    evidence = [row for board in boards.values() for row in effects(board, experiment.flips)]
    rows = list(changes(experiment, conclusions(experiment, claims_path), boards))
    folder = results / experiment.name
    write_evidence(folder / "discrepancy_evidence.parquet", evidence, {"experiment": experiment.name})
    columns = {name: [row[name] for row in rows] for name in kinds.DISCREPANCIES.columns}
    parquet.write(folder / "discrepancies.parquet", kinds.DISCREPANCIES, columns, {"experiment": experiment.name})
    changed = [row for row in rows if row["before"] != row["after"]]
    lines = [
        f"{row['switch']} = {row['value']}, {row['dataset']}: {row['text']} {row['before']} -> {row['after']}"
        for row in changed
    ]
    tried = len(deviations(experiment.flips))
    switches = len({(row["switch"], row["value"]) for row in changed})
    return [*lines, f"{switches} of {tried} deviations would have changed a conclusion ({len(rows)} judged again)."]


def deviations(flips: Sequence[Flip]) -> dict[tuple[str, str], dict[str, str]]:
    """(switch, value as text) -> base -> the variant that takes its place."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for flip in flips:
        found.setdefault((flip.switch, str(flip.value).lower()), {})[flip.base] = flip.variant
    return found


def effects(board: RememberingBoard, flips: Sequence[Flip]) -> Iterator[dict[str, Any]]:
    """EVIDENCE of every flip on a dataset: the variant with the switch minus the one without."""
    here = [flip for flip in flips if {flip.base, flip.variant} <= set(board.variants)]
    for metric, readout in MEASURED:
        if here and (metric, readout) in board.available:
            labels = dict.fromkeys(label for flip in here for label in (flip.variant, flip.base))
            scores = {label: board.score((label,), metric, readout) for label in labels}
            name = f"each switch flipped alone, {metric} ({readout}) on {board.dataset}"
            pairs = [(flip.variant, flip.base) for flip in here]
            yield from family(board, metric, readout, scores, pairs, name, "switch")


def conclusions(experiment: Experiment, claims_path: Path | None) -> list[Claim]:
    """On each dataset the testable claims, and of every variant as published that it beats the reference variant.

    Raises TcmaxError for a claim about "all others": which these are would change with what is flipped.
    """
    claims = [] if claims_path is None else list(load_claims(claims_path, experiment).claims)
    found = [claim for claim in claims if claim.testable]
    for claim in found:
        superlative = claim.relation in ("largest of", "smallest of") and claim.rivals is None
        if superlative or claim.rivals == "all others" or claim.variants == "all":
            raise TcmaxError(f"{claims_path}: claims.{claim.id}: name the variants, since switches are flipped here.")
    reference = experiment.settings.reference_variant
    flipped = {flip.variant for flip in experiment.flips}
    for label in experiment.settings.variants:
        if reference is None or label == reference or label in flipped:
            continue
        datasets = tuple(
            d for d in experiment.settings.datasets if {label, reference} <= set(experiment.variants_on(d))
        )
        if not datasets:
            continue
        found.append(
            Claim(
                id=re.sub(r"[^a-z0-9-]", "-", f"{label}-beats-{reference}".lower()),
                text=f"{experiment.title(label)} is more accurate than {experiment.title(reference)}.",
                source=Source(document=experiment.name, section="comparison with the reference variant"),
                origin="written before",
                datasets=datasets,
                subject=(label,),
                rivals=((reference,),),
                metric="accuracy",
                relation="greater",
            )
        )
    return [claim.model_copy(update={"datasets": (d,)}) for claim in found for d in datasets_of(claim, experiment)]


def changes(
    experiment: Experiment, claims: Sequence[Claim], boards: dict[str, RememberingBoard]
) -> Iterator[dict[str, str]]:
    """DISCREPANCIES: every conclusion that names a variant with a flip, before and after."""

    def verdict(claim: Claim) -> str:
        on = {dataset: boards[dataset] for dataset in datasets_of(claim, experiment)}
        return word_of(readings_of(claim, experiment, on, populations_of(claim)), claim.population)

    before = [verdict(claim) for claim in claims]
    for (switch, value), places in deviations(experiment.flips).items():
        for claim, word in zip(claims, before, strict=True):
            (dataset,) = datasets_of(claim, experiment)
            here = {base: flipped for base, flipped in places.items() if flipped in experiment.variants_on(dataset)}
            named = {label for arm in (claim.subject, *(claim.rivals or ()), claim.variants) for label in arm or ()}
            # What happens around every method is flipped on both sides of a comparison, or its sides differ in it.
            around = switch in SWITCHES and PROTOCOL in SWITCHES[switch].scope
            if named <= set(here) if around else named & set(here):
                yield {
                    "dataset": dataset,
                    "switch": switch,
                    "value": value,
                    "claim": claim.id,
                    "text": " ".join(claim.text.split()),
                    "before": word,
                    "after": verdict(_switched(claim, here, f"{claim.id}|{switch}={value}")),
                }


def _switched(claim: Claim, places: dict[str, str], identity: str) -> Claim:
    """The claim with flipped variants in the place of their own."""

    def of(arm: Arm) -> Arm:
        return tuple(places.get(label, label) for label in arm)

    update: dict[str, Any] = {"id": identity}
    if claim.subject is not None:
        update["subject"] = of(claim.subject)
    if isinstance(claim.rivals, tuple):
        update["rivals"] = tuple(of(rival) for rival in claim.rivals)
    if isinstance(claim.variants, tuple):
        update["variants"] = of(claim.variants)
    return claim.model_copy(update=update)
