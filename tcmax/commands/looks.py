"""`tcmax looks`: which pairs are decided, which need more seeds, and for which more seeds are futile.

The numbers of seeds at which one will look are fixed at the first look and recorded with what every look found
(`tcmax.experiment.looks`). In an experiment with `sequential:` the DAG takes the looks and trains what they ask for; in
any other one looks by hand, and more seeds are then a longer seed list. Runs that exist are kept.
"""

import itertools
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from tcmax.errors import TcmaxError
from tcmax.evidence.rows import ALPHA
from tcmax.evidence.scoreboard import Scoreboard
from tcmax.evidence.wording import shown
from tcmax.experiment.grid import Experiment
from tcmax.experiment.looks import LookPlan, Pairs, asked_path, in_words, manifests_of, plan_of, record, wanted
from tcmax.metrics import METRICS
from tcmax.metrics.scoring import score
from tcmax.records.files import write_json
from tcmax.stats.crossed import interval, refusal, what_decides
from tcmax.stats.sequential import SHAPE, Boundaries, anytime_interval, spending_boundaries

HOPE = 0.2  # a pair is given up where not even the far end of its 80 % interval could be decided
State = Literal["decided", "needs more seeds", "more seeds are futile", "cannot be looked at"]


@dataclass(frozen=True)
class Look:
    """One pair, a - b, at one look, with a margin of 0.

    estimate, low, high     for new seeds and new test items, at 95 % for all looks together
    seeds_low, seeds_high   for new seeds on this test set, at 95 % for all looks at once; None without a finite bound
    state, why              what to do about it
    """

    dataset: str
    a: str
    b: str
    n_seeds: int
    state: State
    why: str
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    seeds_low: float | None = None
    seeds_high: float | None = None


def looks(experiment: Experiment, results: Path, planned: Sequence[int], metric: str = "accuracy") -> list[Look]:
    """Look by hand at each variant against the reference variant, or at each pair where the experiment names none.

    planned: the numbers of seeds at which to look, fixed beforehand; the last one is the most that will be run. The
    number of seeds of the experiment must be one of them. A pair that both boundaries of its look leave open needs more
    seeds, unless no seeds are left, or the test items or the seeds left could not even decide a difference at the far
    end of its 80 % interval.

    Raises TcmaxError for other looks or another metric than those on record, another number of seeds, missing scores,
    and an experiment whose looks the DAG takes.
    """
    if experiment.settings.sequential is not None:
        raise TcmaxError(f"{experiment.path} fixes its looks under `sequential`; `tcmax looks --seeds N` takes one.")
    plan = LookPlan(tuple(planned), metric)
    boundaries = _boundaries(plan)
    n = len(experiment.settings.seeds)
    if n not in boundaries.looks:
        listed = ", ".join(map(str, boundaries.looks))
        raise TcmaxError(f"{experiment.path} lists {n} seeds, which is no look; looks are at {listed} seeds.")
    plan_of(experiment, results, plan)
    boards = [Scoreboard(experiment, dataset, results, plan=plan) for dataset in experiment.settings.datasets]
    return _taken(experiment, results, plan, n, {board: _pairs(board, plan) for board in boards})


def take_look(experiment: Experiment, results: Path, n: int) -> list[Look]:
    """The look at n seeds of a sequential experiment, at the pairs that the look before asked more seeds for.

    Scores the runs it needs; those scores are thrown away, since the score stage makes them of all runs. Writes what
    the look asks for, and records it. Raises TcmaxError as `looks` does, and where the look before was not taken.
    """
    plan = plan_of(experiment, results)
    if experiment.settings.sequential is None or plan is None:
        raise TcmaxError(f"{experiment.path} has no `sequential`; looks by hand take --at.")
    if n not in plan.looks:
        raise TcmaxError(f"{experiment.path}: {n} seeds are no look; looks are at {in_words(plan.looks)} seeds.")
    earlier = [look for look in plan.looks if look < n]
    before = wanted(experiment, results, earlier[-1]) if earlier else None
    if earlier and before is None:
        raise TcmaxError(f"{asked_path(experiment, results, earlier[-1])} does not exist: that look comes first.")
    datasets = list(experiment.settings.datasets) if before is None else [name for name in before if before[name]]
    folder = results / experiment.name
    with tempfile.TemporaryDirectory(prefix=".look-", dir=folder) as scratch:
        boards = []
        for dataset in datasets:
            at = Path(scratch) / dataset
            outputs = [at / f"{name}.parquet" for name in ("items", "scores", "history")]
            score(manifests_of(experiment, dataset, results, before=n), None, *outputs)
            boards.append(Scoreboard(experiment, dataset, results, folder=at))
        pairs = {board: before[board.dataset] if before else _pairs(board, plan) for board in boards}
        found = _taken(experiment, results, plan, n, pairs)
    more: dict[str, list[tuple[str, str]]] = {}
    for look in found:
        if look.state == "needs more seeds":
            more.setdefault(look.dataset, []).append((look.a, look.b))
    write_json(asked_path(experiment, results, n), {"look": n, "more": more})
    return found


def _boundaries(plan: LookPlan) -> Boundaries:
    try:
        return spending_boundaries(plan.looks, ALPHA)
    except ValueError as error:
        raise TcmaxError(f"{error}.") from error


def _pairs(board: Scoreboard, plan: LookPlan) -> Pairs:
    """The pairs of a dataset that are looked at first."""
    if plan.pairs is not None:
        return tuple(pair for pair in plan.pairs if set(pair) <= set(board.variants))
    if board.reference is None:
        return tuple(itertools.combinations(board.variants, 2))
    return tuple((variant, board.reference) for variant in board.variants if variant != board.reference)


def _taken(
    experiment: Experiment, results: Path, plan: LookPlan, n: int, pairs: Mapping[Scoreboard, Pairs]
) -> list[Look]:
    """Look at the pairs of each dataset and record it."""
    boundaries = _boundaries(plan)
    found = []
    for board, of_dataset in pairs.items():
        readout = board.readout(plan.metric, None)
        if (plan.metric, readout) not in board.available:
            raise TcmaxError(f"{board.items.path} has no scores of {plan.metric}.")
        found += [_look(board, a, b, plan.metric, readout, boundaries, n) for a, b in of_dataset]
    taken = {"alpha": boundaries.at(n), "pairs": [asdict(look) for look in found]}
    record(experiment, results, plan, n, taken, {"alpha": ALPHA, "shape": SHAPE})
    return found


def _look(board: Scoreboard, a: str, b: str, metric: str, readout: str, boundaries: Boundaries, n: int) -> Look:
    compared = board.difference(board.score((a,), metric, readout), board.score((b,), metric, readout))
    if isinstance(compared, str):
        return Look(board.dataset, a, b, 0, "cannot be looked at", compared)
    c, unit = compared.crossed, METRICS[metric].unit
    reason = refusal(c, "both")
    if compared.pairing != "paired":
        reason = "the variants ran different seeds"
    elif compared.n_diverged:
        reason = "runs diverged, so that it has fewer seeds than the look"
    if reason is not None:
        return Look(board.dataset, a, b, c.n_seeds, "cannot be looked at", reason)
    both = interval(c, "both", ALPHA)
    anytime = anytime_interval((compared.a - compared.b).mean(axis=1), ALPHA, scale=c.scale)
    bounds = [bound if math.isfinite(bound) else None for bound in (anytime.low, anytime.high)]
    state: State = "needs more seeds"
    left = [look for look in boundaries.looks if look > n]
    hoped = interval(replace(c, spending=None), "both", HOPE)
    needed = what_decides(c, 0.0, ALPHA, "both", max(abs(hoped.low), abs(hoped.high)))
    if both.low > 0 or both.high < 0:
        state, why = "decided", f"{a if c.estimate > 0 else b} is ahead"
    elif needed.n_seeds is None:
        state, why = "more seeds are futile", f"the test items leave ± {shown(needed.floor, unit).lstrip('+')}"
    elif not left:
        state, why = "more seeds are futile", "this was the last look"
    elif needed.n_seeds > left[-1]:
        state, why = "more seeds are futile", f"it would take {needed.n_seeds:,} seeds"
    else:
        why = f"next look at {left[0]}"
    return Look(board.dataset, a, b, c.n_seeds, state, why, c.estimate, both.low, both.high, *bounds)


def looks_text(found: Sequence[Look], metric: str = "accuracy") -> str:
    """The looks as text: a block for each dataset, then which datasets and variants need more seeds."""
    unit = METRICS[metric].unit
    lines = [f"{METRICS[metric].title}: difference, new seeds and test items at these looks, new seeds at all looks"]
    for dataset, group in itertools.groupby(found, key=lambda look: look.dataset):
        of_dataset = list(group)
        lines += ["", dataset]
        width = max(len(f"{look.a} - {look.b}") for look in of_dataset)
        for look in of_dataset:
            numbers = ""
            if look.estimate is not None:
                seeds = "no bound yet"
                if look.seeds_low is not None:
                    seeds = shown(look.estimate, unit, look.seeds_low, look.seeds_high).partition(" ")[2]
                numbers = f"{shown(look.estimate, unit, look.low, look.high)}  {seeds}  "
            lines.append(f"  {f'{look.a} - {look.b}':<{width}}  {numbers}{look.state}: {look.why}")
    wanting = [look for look in found if look.state == "needs more seeds"]
    lines += ["", f"{len(wanting)} of {len(found)} pairs need more seeds" + (":" if wanting else ".")]
    for dataset, group in itertools.groupby(wanting, key=lambda look: look.dataset):
        variants = dict.fromkeys(name for look in group for name in (look.a, look.b))
        lines.append(f"  {dataset}: {', '.join(variants)}")
    return "\n".join(lines)
