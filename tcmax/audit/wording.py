"""The sentences of verdicts: rows of VERDICTS and EVIDENCE in, words out, with the names that a reader is to see."""

from collections.abc import Mapping
from typing import Any

from tcmax.evidence.wording import PLAIN, Names, Remark, shown
from tcmax.experiment.looks import in_words

Row = Mapping[str, Any]
MOST_SHOWN = 6  # flips that are named
POPULATIONS: dict[str, str] = {
    "seeds": "new seeds on this test set",
    "items": "new items for these trained models",
    "both": "new seeds and new items",
}


def source(verdict: Row) -> str:
    """Document and section of a claim, and whether the words are its own."""
    return f"{verdict['document']}, {verdict['section']}{' (paraphrased)' if verdict['paraphrased'] else ''}"


def contrast(row: Row, names: Names = PLAIN) -> str:
    """ "a minus b" of a comparison; read-outs where the two sides differ in it."""
    a = names.arm(row["a"], row["a_variants"])
    b = names.arm(row["b"], row["b_variants"])
    if row["b_readout"] is not None:
        a, b = f"{a} ({row['readout']})", f"{b} ({row['b_readout']})"
    return f"{a}{names.minus}{b}"


def component(verdict: Row, row: Row, names: Names = PLAIN) -> str:
    """A component of a claim by its row of EVIDENCE: what was compared, and where."""
    if row["b_metric"] is not None:
        sign = names.sign if row["direction"] == "negative" else ""
        what = f"{sign}tau({row['metric']}, {row['b_metric']}) over {len(row['a_variants'])} variants"
    else:
        what = contrast(row, names)
    if row["dataset"] is not None:
        return f"{what} on {names.dataset(row['dataset'])}"
    if verdict["quantifier"] == "datasets in general":
        return f"{what}, {row['n_datasets']} datasets in general"
    return f"{what}, average of {row['n_datasets']} datasets"


def reason(verdict: Row, deciding: Row | None, names: Names = PLAIN) -> str:
    """Why the verdict is what it is, in sentences; deciding: the row of EVIDENCE that decided, if there is one."""
    if deciding is None:
        return str(verdict["refusal"] or "")
    found = [_deciding(verdict, component(verdict, deciding, names))]
    n = verdict["n_components"]
    if verdict["alone_contradicted"]:
        found.append(f"by itself it would be contradicted, after Holm's correction over {n} components it is not")
    removed, at_chance = verdict["verdict_removed"], verdict["verdict_at_chance"]
    if at_chance is not None:
        found.append(f"diverged runs: {removed} with them removed, {at_chance} with them at chance")
    if verdict["population"] != "both":
        found.append(f"for {POPULATIONS['both']}: {verdict['verdict_both']}")
    if verdict["verdict_seeds"] != verdict["verdict_both"]:
        found.append(
            f"for {POPULATIONS['seeds']}: {verdict['verdict_seeds']}; the difference is what the test items leave open"
        )
    if verdict["looks"]:
        found.append(f"corrected for looks at {in_words(verdict['looks'])} seeds")
    n_seeds = deciding["n_seeds"]
    about_seeds = deciding["pairing"] == "paired" and verdict["population"] != "items"
    if about_seeds and 2.0 ** (1 - n_seeds) > verdict["alpha"]:
        found.append(f"rests on normality of {n_seeds} seed effects")
    return "; ".join([*found, *(Remark(**remark).in_words(names) for remark in verdict["remarks"])])


def _deciding(verdict: Row, name: str) -> str:
    """What the deciding component did, of one or of several, under the claim's quantifier."""
    n, word = verdict["n_components"], verdict["verdict_removed"]
    if word == "not testable":
        return f"{name}: {verdict['refusal']}"
    if n == 1:
        return {
            "supported": "the interval lies beyond the margin",
            "contradicted": "the interval excludes the claim",
            "undetermined": "the interval holds both answers",
        }[word]
    if verdict["quantifier"] in ("some dataset", "some pair"):
        return {
            "supported": f"{name} holds, after Holm's correction",
            "contradicted": f"no component holds, the nearest is {name}",
            "undetermined": f"no component holds after Holm's correction, the nearest is {name}",
        }[word]
    return {
        "supported": f"all {n} components hold, the weakest is {name}",
        "contradicted": f"{name} speaks against it",
        "undetermined": f"{name} blocks",
    }[word]


def needed(verdict: Row, names: Names = PLAIN) -> str:
    """What would decide an open claim; empty where nothing is known, or nothing needed."""
    if verdict["verdict_at_chance"] not in (None, verdict["verdict_removed"]):
        return "finished runs in place of the diverged ones"
    return "; ".join(_need(need, verdict["unit"], names) for need in verdict["needed"])


def _need(need: Row, unit: str, names: Names) -> str:
    def number(value: float) -> str:
        return names.number(shown(value, unit).lstrip("+"))

    n = need["n"]
    if need["of"] == "variants":
        return "more variants, or more seeds and items; a rank correlation has no closed form"
    if need["of"] == "datasets":
        return f"{'no number of' if n is None else n} datasets at this mean and spread"
    where = "at the observed difference" if need["at"] is None else f"at a difference of {number(need['at'])}"
    if need["of"] == "items":
        what = f"more test items, for ±{number(need['floor'])} is more than the {number(need['gap'])} to the margin"
    elif n is not None:
        what = f"{need['outcome']} with {n} seeds"
    elif need["floor"] == 0:
        what = "no number of seeds"
    else:
        left = f"the test items leave ±{number(need['floor'])}, the margin is {number(need['gap'])} away"
        what = f"no number of seeds ({left})"
    return f"{what} {where}"


def influence(verdict: Row, names: Names = PLAIN) -> str:
    """Which seed, group or dataset turns the verdict by leaving, as the end of a sentence; empty where none was left
    out because nothing could be tested."""
    if verdict["left_out_seeds"] is None:
        return ""
    counted = [f"{verdict[f'left_out_{kind}']} {kind}" for kind in ("seeds", "groups", "datasets")]
    counted = [text for text in counted if not text.startswith("0 ")]
    tried = " or ".join(filter(None, (", ".join(counted[:-1]), *counted[-1:])))
    if not tried:
        return "too few seeds, groups and datasets to leave one out"
    flips = verdict["flips"]
    if not len(flips):
        return f"stays whichever of {tried} leaves"
    told = [f"when {left(flip, names)} leaves ({flip['verdict']})" for flip in flips[:MOST_SHOWN]]
    if len(flips) > MOST_SHOWN:
        told.append(f"and with {len(flips) - MOST_SHOWN} more")
    return f"flips {', '.join(told)}; left out in turn: {', '.join(counted)}"


def left(flip: Row, names: Names = PLAIN) -> str:
    """What left: "seed 3", "dataset digits", "speaker s1", "speaker s1 on digits"."""
    if flip["kind"] == "group":
        return flip["name"] if flip["dataset"] is None else f"{flip['name']} on {names.dataset(flip['dataset'])}"
    return f"{flip['kind']} {names.dataset(flip['name']) if flip['kind'] == 'dataset' else flip['name']}"


def line(verdict: Row, deciding: Row | None) -> str:
    """Claim, verdict, deciding number, sizes, population, what would decide it."""
    if deciding is None:
        by = f" Would be tested by: {verdict['data_needed']}" if verdict["data_needed"] else ""
        return f"{verdict['claim']}: not testable{' here' if by else ''}; {verdict['refusal']}{by}"
    unit, population = verdict["unit"], verdict["population"]
    pieces = [f"{verdict['claim']}: {verdict['verdict']}"]
    if verdict["estimate"] is not None:
        number = shown(verdict["estimate"], unit, verdict["low"], verdict["high"])
        if verdict["low"] is not None:
            within = "within" if verdict["relation"] == "equal" else "margin"
            number += f", {within} {shown(verdict['margin'], unit)}"
        pieces.append(f"{component(verdict, deciding)}: {number}")
    else:
        pieces.append(reason(verdict, deciding))
    groups = "no groups" if verdict["n_groups"] is None else f"{verdict['n_groups']} groups"
    pieces.append(f"{verdict['n_seeds']} seeds / {verdict['n_items']} items / {groups}")
    other = "seeds" if population != "seeds" else "both"
    pieces.append(f"{POPULATIONS[population]} ({POPULATIONS[other]}: {verdict[f'verdict_{other}']})")
    decided = "decided" if verdict["verdict"] in ("supported", "contradicted") else "other data"
    pieces.append(needed(verdict) or decided)
    return "; ".join(pieces)
