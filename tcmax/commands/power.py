"""`tcmax plan --power`: what more seeds or more test items would decide, from the variance parts of runs that exist.

Everything is asked at a *stated* smallest gain of interest. Power at the observed gain would only restate its p-value.
"""

import itertools
import math
from dataclasses import dataclass, replace
from pathlib import Path

from tcmax.errors import TcmaxError
from tcmax.evidence.rows import ALPHA
from tcmax.evidence.scoreboard import Scoreboard
from tcmax.evidence.wording import shown
from tcmax.experiment.grid import Experiment
from tcmax.metrics import METRICS
from tcmax.stats.crossed import refusal
from tcmax.stats.power import PowerPlan, detectable_gain, exaggeration, items_needed, power_of, seeds_needed


@dataclass(frozen=True)
class PowerRow:
    """One comparison, a - b, for new seeds and new test items.

    reason      why nothing can be planned, else None and everything below is there
    observed    difference; seed_part, item_part: standard errors that seeds alone, and items alone, leave in it
    power       chance that this design supports a true difference of `gain`
    detectable  smallest true difference that this design supports with the power asked for
    seeds       what more seeds do on this test set; its limit is what no number of seeds can go below
    items       what more test items do with these seeds; likewise
    type_m      expected size of a significant result over the true one, were that `gain`
    """

    dataset: str
    a: str
    b: str
    n_seeds: int
    n_items: int
    n_groups: int | None
    reason: str | None = None
    observed: float = math.nan
    seed_part: float = math.nan
    item_part: float = math.nan
    power: float = math.nan
    detectable: float = math.nan
    seeds: PowerPlan | None = None
    items: PowerPlan | None = None
    type_m: float = math.nan


def power_plan(
    experiment: Experiment, results: Path, gain: float, metric: str = "accuracy", power: float = 0.8
) -> list[PowerRow]:
    """A row for each variant against the reference variant, or for each pair where the experiment names none.

    gain: in the unit of the metric (0.01 is one point of accuracy). Raises TcmaxError for a gain or power out of range,
    an unknown metric, and missing item scores.
    """
    if not gain > 0:
        raise TcmaxError(f"the smallest gain of interest must be above 0, not {gain:g}.")
    if not 0 < power < 1:
        raise TcmaxError(f"the power asked for lies between 0 and 1, not at {power:g}.")
    if metric not in METRICS:
        raise TcmaxError(f"there is no metric {metric!r}; metrics: {', '.join(METRICS)}.")
    rows = []
    for dataset in experiment.settings.datasets:
        board = Scoreboard(experiment, dataset, results)
        readout = board.readout(metric, None)
        if (metric, readout) not in board.available:
            raise TcmaxError(f"{board.items.path} has no scores of {metric}.")
        reference = board.reference
        pairs = (
            list(itertools.combinations(board.variants, 2))
            if reference is None
            else [(variant, reference) for variant in board.variants if variant != reference]
        )
        rows += [_row(board, a, b, metric, readout, gain, power) for a, b in pairs]
    return rows


def _row(board: Scoreboard, a: str, b: str, metric: str, readout: str, gain: float, power: float) -> PowerRow:
    compared = board.difference(board.score((a,), metric, readout), board.score((b,), metric, readout))
    if isinstance(compared, str):
        return PowerRow(board.dataset, a, b, 0, board.n_items, None, compared)
    c = compared.crossed
    row = PowerRow(board.dataset, a, b, c.n_seeds, board.n_items, c.n_groups if board.groups else None)
    reason = refusal(c, "both") or ("the scores do not vary" if c.variance == 0 else None)
    if reason is not None:
        return replace(row, reason=reason)
    return replace(
        row,
        observed=c.estimate,
        seed_part=math.sqrt(c.joint_seed_variance),
        item_part=math.sqrt(c.item_excess),
        power=power_of(c, gain, alpha=ALPHA),
        detectable=detectable_gain(c, power=power, alpha=ALPHA),
        seeds=seeds_needed(c, gain, power=power, alpha=ALPHA),
        items=items_needed(c, gain, power=power, alpha=ALPHA),
        type_m=exaggeration(gain, math.sqrt(c.variance), c.both_df, ALPHA).factor,
    )


def power_text(rows: list[PowerRow], gain: float, metric: str = "accuracy", power: float = 0.8) -> str:
    """The plan as text: a block for each dataset, then how to read it."""
    unit = METRICS[metric].unit

    def show(value: float) -> str:
        return shown(value, unit).removesuffix(" pp").lstrip("+")

    of_interest = shown(gain, unit).lstrip("+")
    lines = [
        f"{METRICS[metric].title}, smallest gain of interest {of_interest}, power {power:.0%}, one-sided alpha "
        f"{ALPHA / 2:g}, new seeds and new test items" + ("; in percentage points" if unit == "proportion" else "")
    ]
    for dataset, group in itertools.groupby(rows, key=lambda row: row.dataset):
        of_dataset = list(group)
        first = of_dataset[0]
        groups = f", {first.n_groups} groups" if first.n_groups is not None else ""
        lines += ["", f"{dataset}: {first.n_items} test items{groups}"]
        width = max(len(f"{row.a} - {row.b}") for row in of_dataset)
        lines.append(
            f"  {'':<{width}}  seeds  observed  se seeds  se items   power  detects"
            "      seeds needed      items needed  type M"
        )
        for row in of_dataset:
            name = f"{row.a} - {row.b}"
            if row.reason is not None or row.seeds is None or row.items is None:
                lines.append(f"  {name:<{width}}  {row.n_seeds:>5}  {row.reason}")
                continue
            lines.append(
                f"  {name:<{width}}  {row.n_seeds:>5}  {shown(row.observed, unit).removesuffix(' pp'):>8}  "
                f"{show(row.seed_part):>8}  {show(row.item_part):>8}  {row.power:>6.0%}  {show(row.detectable):>7}  "
                f"{_needed(row.seeds.n_seeds, show(row.seeds.limit)):>16}  "
                f"{_needed(row.items.n_items, show(row.items.limit)):>16}  {row.type_m:>6.1f}"
            )
    lines += [
        "",
        "detects: the smallest true gain that these seeds and items support with this power.",
        "never < x: no number of seeds on this test set (of items with these seeds) supports gains below x.",
        f"type M: were the true gain {of_interest}, a significant result would overstate it this many times.",
        "Variance parts from few seeds are uncertain: from 5 seeds the seed part is known to a factor of 0.4 to 8.",
    ]
    return "\n".join(lines)


def _needed(n: int | None, limit: str) -> str:
    return f"{n:,}" if n is not None else f"never < {limit}"
