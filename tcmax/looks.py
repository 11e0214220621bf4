"""`tcmax looks`: which pairs are decided, which need more seeds, and for which more seeds are futile.

The numbers of seeds at which one will look are fixed at the first look and kept, with what every look found, in
results/<experiment>/looks.json: spending that is not recorded is spending that nobody can check. More seeds are then a
longer seed list in the experiment; runs that exist are kept.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from tcmax.errors import TcmaxError
from tcmax.evidence import Board, shown
from tcmax.experiment import Experiment
from tcmax.files import read_json, write_json
from tcmax.metrics import METRICS
from tcmax.stats.crossed import interval, refusal, what_decides
from tcmax.stats.sequential import SHAPE, Boundaries, anytime_interval, spending_boundaries

LEVEL = 0.05
State = Literal["decided", "needs more seeds", "more seeds are futile", "cannot be looked at"]


@dataclass(frozen=True)
class Look:
    """One pair, a - b, at one look, with a margin of 0.

    estimate, low, high     for new seeds and new test items, at the level that this look may spend
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
    """Look at each variant against the reference variant, or at each pair where the experiment names none.

    planned: the numbers of seeds at which to look, fixed beforehand; the last one is the most that will be run. The
    number of seeds of the experiment must be one of them. A pair that both boundaries of its look leave open needs more
    seeds, unless the test items leave more than its difference or no seeds are left to spend.

    Raises TcmaxError for other looks or another metric than those on record, another number of seeds, and missing
    scores.
    """
    try:
        boundaries = spending_boundaries(planned, LEVEL)
    except ValueError as error:
        raise TcmaxError(f"{error}.") from error
    n = len(experiment.settings.seeds)
    if n not in boundaries.looks:
        listed = ", ".join(map(str, boundaries.looks))
        raise TcmaxError(f"{experiment.path} lists {n} seeds, which is no look; looks are at {listed} seeds.")
    path = results / experiment.name / "looks.json"
    record: dict[str, Any] = {"looks": list(boundaries.looks), "metric": metric, "taken": {}}
    if path.is_file():
        record = read_json(path)
    if (record["looks"], record["metric"]) != (list(boundaries.looks), metric):
        raise TcmaxError(
            f"{path} fixed looks at {record['looks']} seeds for {record['metric']}; they cannot change now."
        )
    found = []
    for dataset in experiment.settings.datasets:
        board = Board(experiment, dataset, results)
        readout = board.readout(metric, None)
        if (metric, readout) not in board.available():
            raise TcmaxError(f"{board.items.path} has no scores of {metric}.")
        pairs = [(v, board.reference) for v in board.variants if v != board.reference]
        if board.reference is None:
            pairs = list(itertools.combinations(board.variants, 2))
        found += [_look(board, a, str(b), metric, readout, boundaries, n) for a, b in pairs]
    taken = {"level": boundaries.at(n), "pairs": [asdict(look) for look in found]}
    write_json(path, {**record, "level": LEVEL, "shape": SHAPE, "taken": {**record["taken"], str(n): taken}})
    return found


def _look(board: Board, a: str, b: str, metric: str, readout: str, boundaries: Boundaries, n: int) -> Look:
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
    both = interval(c, "both", boundaries.at(n))
    anytime = anytime_interval((compared.a - compared.b).mean(axis=1), LEVEL)
    bounds = [bound if math.isfinite(bound) else None for bound in (anytime.low, anytime.high)]
    state: State = "needs more seeds"
    left = [look for look in boundaries.looks if look > n]
    needed = what_decides(c, 0.0, boundaries.at(boundaries.looks[-1]), "both")
    if both.low > 0 or both.high < 0:
        state, why = "decided", f"{a if c.estimate > 0 else b} is ahead"
    elif needed.n_seeds is None:
        state, why = "more seeds are futile", f"the test items leave ± {shown(needed.floor, unit).lstrip('+')}"
    elif not left:
        state, why = "more seeds are futile", "this was the last look"
    elif needed.n_seeds > left[-1]:
        state, why = "more seeds are futile", f"at this difference it takes {needed.n_seeds:,} seeds"
    else:
        why = f"next look at {left[0]}"
    return Look(board.dataset, a, b, c.n_seeds, state, why, c.estimate, both.low, both.high, *bounds)


def looks_text(found: Sequence[Look], metric: str = "accuracy") -> str:
    """The looks as text: a block for each dataset, then which datasets and variants need more seeds."""
    unit = METRICS[metric].unit
    lines = [f"{METRICS[metric].title}: difference, new seeds and test items at this look, new seeds at all looks"]
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
