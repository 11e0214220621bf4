"""Judging a claims file: from item scores to claim evidence and verdicts.

A claim becomes comparisons, each of which reads d > margin (*less* and *smallest* swap the sides), and the comparisons
become a verdict by `verdicts`. Every claim is judged for its own population and, side by side, for new seeds on this
test set and for new seeds and items; with diverged runs removed and, if there are any, counted at chance.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tcmax.audit.components import Component
from tcmax.audit.influence import ClaimInfluence, influence_of
from tcmax.audit.judging import Judged, RememberingBoard, populations_of, readings_of, tree_of, word_of
from tcmax.audit.schema import Claim, Claims, datasets_of, load_claims
from tcmax.audit.verdicts import Difference, FamilySizes, Leaf, Need, Node, holm, needed
from tcmax.audit.wording import influence as influence_in_words
from tcmax.audit.wording import line
from tcmax.errors import TcmaxError
from tcmax.evidence.rows import blank, measured, range_of, sign_flip_of, write_evidence
from tcmax.evidence.scoreboard import Scoreboard
from tcmax.evidence.scores import Treatment
from tcmax.experiment import tuning
from tcmax.experiment.grid import Experiment
from tcmax.experiment.looks import seeds_asked
from tcmax.metrics import METRICS
from tcmax.records import kinds, parquet
from tcmax.records.files import read_json
from tcmax.stats.crossed import Population, clipped

TAU = "Kendall's tau"


def audit_claims(
    experiment: Experiment, results: Path, claims_path: Path, fail_on: str | None = None, influence: bool = False
) -> tuple[list[str], bool]:
    """Judge a claims file and write claim_evidence.parquet and verdicts.parquet.

    Returns the lines to print, `influence` beneath the verdicts where it is asked for, and whether any claim has the
    verdict `fail_on`. Raises TcmaxError for a bad claims
    file, an unknown verdict word, and missing or incomplete item scores.
    """
    if fail_on is not None and fail_on not in kinds.VERDICT_WORDS:
        raise TcmaxError(f"there is no verdict {fail_on!r}; verdicts: {', '.join(kinds.VERDICT_WORDS)}.")
    claims = load_claims(claims_path, experiment)
    evidence, verdicts = judge(claims, experiment, results)
    changed = changed_after_training(experiment, results, claims.sha256)
    for verdict in verdicts:
        verdict |= {"claims_sha256": claims.sha256, "claims_changed_after_training": changed}
    folder = results / experiment.name
    expected = expected_false_supports(claims, verdicts)
    head = {"experiment": experiment.name, "expected_false_supported": expected}
    write_evidence(folder / "claim_evidence.parquet", evidence, {"experiment": experiment.name})
    columns = {name: [verdict[name] for verdict in verdicts] for name in kinds.VERDICTS.columns}
    parquet.write(folder / "verdicts.parquet", kinds.VERDICTS, columns, head)
    testable = sum(verdict["verdict"] != "not testable" for verdict in verdicts)
    by_id = {row["id"]: row for row in evidence}
    lines = [line(verdict, by_id.get(verdict["deciding"])) for verdict in verdicts]
    if experiment.settings.tuning is not None:
        lines = [f"{text}; {tuning.in_words(experiment)}" for text in lines]
    lines.append(
        f"{testable} of {len(verdicts)} claims are testable here; false 'supported' to expect if none were true: "
        f"at most {expected:.3g}."
    )
    if influence:
        told = ((verdict, influence_in_words(verdict)) for verdict in verdicts)
        lines += ["", *(f"{verdict['claim']}: {verdict['verdict']}, {words}" for verdict, words in told if words)]
    if changed:
        lines.append(f"{claims_path} changed after training: some runs were trained while it said something else.")
    return lines, any(verdict["verdict"] == fail_on for verdict in verdicts)


def expected_false_supports(claims: Claims, verdicts: Sequence[Mapping[str, Any]]) -> float:
    """Number of testable claims x alpha/2, the most false *supported* to expect were no claim true."""
    testable = {verdict["claim"] for verdict in verdicts if verdict["verdict"] != "not testable"}
    return sum(claim.alpha / 2 for claim in claims.claims if claim.id in testable)


def changed_after_training(experiment: Experiment, results: Path, sha256: str) -> bool | None:
    """Whether any run was trained under another claims file; None where that is not known of every run."""
    hashes = []
    asked = {dataset: seeds_asked(experiment, results, dataset) for dataset in experiment.settings.datasets}
    for cell in experiment.cells():
        for seed in asked[cell.dataset][cell.variant]:
            folder = results / experiment.name / cell.dataset / f"fold_{cell.fold}" / cell.variant / f"seed_{seed}"
            path = folder / "sidecar.json"
            hashes.append(read_json(path).get("claims_sha256") if path.is_file() else None)
    if any(known is not None and known != sha256 for known in hashes):
        return True
    return None if None in hashes or not hashes else False


def judge(claims: Claims, experiment: Experiment, results: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of EVIDENCE and of VERDICTS (without the file's hash) for every claim, in file order."""
    boards: dict[tuple[str, str], Scoreboard] = {}

    def board_of(dataset: str, selection: str) -> Scoreboard:
        key = dataset, selection
        if key not in boards:
            boards[key] = RememberingBoard(experiment, dataset, results, selection)
        return boards[key]

    evidence: list[dict[str, Any]] = []
    verdicts: list[dict[str, Any]] = []
    for claim in claims.claims:
        if not claim.testable:
            verdicts.append(_not_testable(claim))
            continue
        selection = claim.selection or experiment.settings.selection
        on = {dataset: board_of(dataset, selection) for dataset in datasets_of(claim, experiment)}
        try:
            judged = readings_of(claim, experiment, on, populations_of(claim))
        except TcmaxError as error:
            raise TcmaxError(f"{claims.path}: claims.{claim.id}: {error}") from error
        rows = [row for treatment in judged for row in _rows(claim, treatment, selection)]
        evidence += rows
        influence = influence_of(claim, experiment, on, word_of(judged, claim.population))
        verdicts.append(_verdict(claim, judged, influence) | {"evidence": [row["id"] for row in rows]})
    return evidence, verdicts


def evidence_id(claim: Claim, component: Component, population: Population, treatment: Treatment = "removed") -> str:
    """The id of a component's row of EVIDENCE."""
    return f"{claim.id}|{component.key}|{population}{'' if treatment == 'removed' else f'|{treatment}'}"


def _rows(claim: Claim, judged: Judged, selection: str) -> Iterator[dict[str, Any]]:
    """EVIDENCE of one treatment of a claim: every component for every population."""
    for population in populations_of(claim):
        leaves = [tree_of(claim, {"": [component]}, population) for component in judged.components]
        adjusted = _adjusted(claim, leaves)
        for position, component in enumerate(judged.components):
            columns = _measured(claim, component, population)
            sign_flip = (
                sign_flip_of(component.compared, component.key)
                if component.compared and population != "items"
                else None
            )
            family = {}
            if adjusted is not None and columns.get("p_greater") is not None:
                p, what = adjusted
                family = {"p_adjusted": p[position], "correction": "holm", "family": what}
            yield blank(
                id=evidence_id(claim, component, population, judged.treatment),
                kind="comparison" if component.b is not None else "estimate",
                role="component",
                dataset=component.dataset,
                n_datasets=component.n_datasets,
                selection=selection,
                metric=claim.metric,
                readout=component.readout,
                a=component.a,
                b=component.b,
                b_readout=component.b_readout,
                a_variants=component.a_variants,
                b_variants=component.b_variants,
                b_metric=component.b_metric,
                direction=component.direction,
                treatment=judged.treatment,
                estimator=component.estimator,
                population=population,
                pairing=component.compared.pairing if component.compared else "none",
                unit=_unit(claim),
                n_diverged=component.n_diverged,
                n_groups=component.n_groups,
                sign_flip_p=sign_flip.p_value if sign_flip else None,
                sign_flip_floor=sign_flip.floor if sign_flip else None,
                notes=[
                    _refusal(component, population),
                    judged.treatment if judged.n_diverged else None,
                    *component.notes,
                ],
                **columns,
                **family,
            )


def _measured(claim: Claim, component: Component, population: Population) -> dict[str, Any]:
    """Estimate, interval and p of a component; for *equal*, p_greater is against -margin and p_less against +margin."""
    columns: dict[str, Any] = {
        "alpha": claim.alpha,
        "margin": claim.margin,
        "n_seeds": component.n_seeds,
        "n_items": component.n_items,
    }
    estimand = component.estimand
    if estimand is None:
        return columns
    if isinstance(estimand, Difference):
        columns |= measured(estimand.crossed, population, claim.alpha, claim.margin, claim.metric)
        columns["n_items"] = component.n_items
    else:
        columns["estimate"] = estimand.estimate
        if estimand.refusal(population) is None:
            found = estimand.interval(population, claim.alpha)
            greater, less = (estimand.p(claim.margin, population, side) for side in ("greater", "less"))
            columns |= {"low": found.low, "high": found.high, "df": None if math.isnan(found.df) else found.df}
            columns |= {"p_greater": greater, "p_less": less, "p": min(1.0, 2 * min(greater, less))}
    if claim.relation == "equal" and columns.get("p_greater") is not None:
        greater = estimand.p(-claim.margin, population, "greater")
        columns |= {"p_greater": greater, "p": max(greater, columns["p_less"])}
    return columns


def _adjusted(claim: Claim, leaves: Sequence[Node]) -> tuple[list[float], str] | None:
    """Holm-adjusted p of what needs it, and the family in words; None for a single component or a nested family."""
    found = [_only_leaf(node) for node in leaves]
    if len(found) < 2:
        return None
    if claim.quantifier == "some pair":
        return holm(
            [each.support for each in found]
        ), f"p of the statement, {len(found)} components of claim {claim.id}"
    if claim.quantifier != "some dataset":
        return holm([each.against for each in found]), f"p of the contrary, {len(found)} components of claim {claim.id}"
    per_dataset = claim.relation not in ("largest of", "smallest of", "monotone") and len(claim.rivals or ()) <= 1
    if not per_dataset:
        return None
    return holm([each.support for each in found]), f"p of the statement, {len(found)} datasets of claim {claim.id}"


def _only_leaf(node: Node) -> Leaf:
    while not isinstance(node, Leaf):
        (node,) = node.children
    return node


def _refusal(component: Component, population: Population) -> str | None:
    return component.reason if component.estimand is None else component.estimand.refusal(population)


def _unit(claim: Claim) -> str:
    return TAU if claim.relation == "association" else METRICS[str(claim.metric)].unit


def _verdict(claim: Claim, judged: Sequence[Judged], influence: ClaimInfluence | None) -> dict[str, Any]:
    """The VERDICTS row of a testable claim, without its evidence."""
    words = {population: word_of(judged, population) for population in populations_of(claim)}
    first = judged[0]
    decision = first.decisions[claim.population]
    component = next(component for component in first.components if component.key == decision.leaf.name)
    verdict, estimand = words[claim.population], component.estimand
    of_treatments = [treatment.decisions[claim.population].verdict for treatment in judged]
    number: dict[str, float | None] = {"estimate": None, "low": None, "high": None}
    if estimand is not None:
        number["estimate"] = estimand.estimate
        if estimand.refusal(claim.population) is None:
            found = estimand.interval(claim.population, claim.alpha)
            if claim.metric is not None and isinstance(estimand, Difference):
                found = clipped(found, *range_of(claim.metric, difference=True))
            number |= {"low": found.low, "high": found.high}
    spending = estimand.spending if estimand is not None else None
    several = len(first.components) > 1
    refused_by_holm = decision.verdict == "undetermined" and several and decision.leaf.against <= claim.alpha / 2
    return {
        **_sentence(claim),
        "quantifier": claim.quantifier,
        "relation": claim.relation,
        "population": claim.population,
        "verdict": verdict,
        "verdict_seeds": words["seeds"],
        "verdict_both": words["both"],
        "verdict_removed": of_treatments[0],
        "verdict_at_chance": of_treatments[1] if len(judged) > 1 else None,
        "refusal": decision.leaf.refusal,
        "alone_contradicted": refused_by_holm,
        "deciding": evidence_id(claim, component, claim.population),
        "n_components": len(first.components),
        **number,
        "margin": claim.margin,
        "unit": _unit(claim),
        "n_seeds": component.n_seeds,
        "n_items": component.n_items,
        "n_groups": component.n_groups,
        "remarks": [asdict(remark) for remark in component.remarks],
        "looks": list(spending.looks) if spending is not None else [],
        "needed": [asdict(need) for need in _needed(claim, first, component)] if verdict == "undetermined" else [],
        **(influence.columns if influence is not None else {"flips": []}),
    }


def _sentence(claim: Claim) -> dict[str, Any]:
    """The columns of VERDICTS that a claim brings along, whatever is found."""
    return dict.fromkeys(kinds.VERDICTS.columns) | {
        "claim": claim.id,
        "text": " ".join(claim.text.split()),
        "document": claim.source.document,
        "section": claim.source.section,
        "paraphrased": claim.source.wording == "paraphrased",
        "proxy_for": claim.proxy_for,
        "printed_table": claim.printed_table,
        "origin": claim.origin,
        "alpha": claim.alpha,
    }


def _needed(claim: Claim, judged: Judged, component: Component) -> tuple[Need, ...]:
    if component.estimand is None or component.estimand.refusal(claim.population) is not None:
        return ()
    n, datasets = len(judged.components), len({each.dataset for each in judged.components})
    families = {"some dataset": FamilySizes(datasets, n // datasets), "some pair": FamilySizes(n, 1)}.get(
        claim.quantifier, FamilySizes(1, n)
    )
    return needed(
        component.estimand,
        claim.margin,
        claim.population,
        claim.alpha,
        gain=claim.smallest_gain,
        equal=claim.relation == "equal",
        families=families,
    )


def _not_testable(claim: Claim) -> dict[str, Any]:
    """The VERDICTS row of a claim that says itself that it cannot be tested here."""
    return {
        **_sentence(claim),
        "quantifier": "none",
        "relation": "none",
        "population": "none",
        "verdict": "not testable",
        "refusal": claim.reason,
        "alone_contradicted": False,
        "n_components": 0,
        "unit": "",
        "remarks": [],
        "looks": [],
        "needed": [],
        "data_needed": claim.data_needed,
        "flips": [],
        "evidence": [],
    }
