"""Figures over all datasets of an experiment: ranks, improvement and performance profiles. They describe; no claim is
judged by them."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from tcmax.report.figure import (
    MOST_NUMBERS,
    STRONGEST,
    Canvas,
    Figure,
    add_legend,
    draw_matrix,
    matrix_height,
    name_rows,
    signed_cell,
    sizes_of,
)
from tcmax.report.numbers import count, show_p
from tcmax.report.palette import INK, MUTED, styles
from tcmax.report.report_records import ReportRecords
from tcmax.report.suite import ABOVE, suite_scores
from tcmax.report.tables import FIXED, POPULATIONS
from tcmax.stats.effects import MIN_SEEDS
from tcmax.stats.ranking import critical_difference, nemenyi_difference
from tcmax.stats.suite import improvement_matrix, performance_profiles

STEPS = 201  # of a performance profile
WIDEST_WITH_INTERVALS = 8  # variants for whose intervals a matrix or a plot of curves has room


def gains(records: ReportRecords) -> list[Figure]:
    """Differences in joint accuracy, dataset by dataset: to the reference variant, and to joint learning with the same
    head. Where modalities compete, joint learning stays below a reference of modalities trained apart."""
    experiment = records.experiment
    variants, reference = experiment.settings.variants, experiment.settings.reference_variant
    joint = {str(s.head): label for label, s in variants.items() if s.method == "joint" and s.head is not None}
    same_head = {v: joint[str(s.head)] for v, s in variants.items() if s.method != "joint" and str(s.head) in joint}
    made = [_gains(records, "joint", "Over joint learning with the same head", same_head)]
    if reference is not None:
        over_reference = {v: reference for v in variants if v != reference}
        made.insert(0, _gains(records, "reference", f"Over {experiment.title(reference)}", over_reference))
    return [figure for figure in made if figure is not None]


def _gains(records: ReportRecords, name: str, title: str, rivals: Mapping[str, str]) -> Figure | None:
    """Differences of each variant to its rival, by dataset; none for a single dataset."""
    experiment = records.experiment
    found = []
    for dataset in records.datasets:
        pairs = records.comparisons(dataset.id, "accuracy", "own", "pair")
        for _, row in pairs[pairs["estimate"].notna()].iterrows():
            for a, b, sign in ((row["a"], row["b"], 1), (row["b"], row["a"], -1)):
                if rivals.get(a) == b:
                    low, high = sorted(sign * 100 * float(row[end]) for end in ("low", "high"))
                    points, decided = sign * 100 * float(row["estimate"]), row["p_adjusted"] <= row["alpha"]
                    line = {"dataset": dataset.id, "a": a, "b": b, "points": points, "low": low, "high": high}
                    kept = {key: row[key] for key in ("p", "p_adjusted", "n_seeds", "n_items")}
                    found.append({**line, **kept, "cell": signed_cell(points, decided)})
    data = pd.DataFrame(found)
    if data.empty or data["dataset"].nunique() < 2:
        return None

    def matrix(column: str) -> pd.DataFrame:
        values = data.pivot(index="a", columns="dataset", values=column)
        variants = [v for v in rivals if v in values.index]
        datasets = [d.id for d in records.datasets if d.id in values]
        named = values.loc[variants, datasets].rename(index=experiment.title, columns=experiment.dataset_title)
        return named if len(named) >= named.shape[1] else named.T  # the longer side goes down

    frame, cells = matrix("points"), matrix("cell")
    blank = " Blank: not run there." if frame.isna().any(axis=None) else ""
    limit = min(float(frame.abs().max().max()), STRONGEST) or 1.0

    def draw(canvas: Canvas, wide: bool) -> None:
        draw_matrix(canvas.subplots(), frame, cells, 0.0, limit, 6.5)

    best = data.loc[data.groupby("dataset", sort=False)["points"].idxmax()]
    largest = (
        f"{experiment.dataset_title(d)} {experiment.title(a)} {c}" for d, a, c in best[["dataset", "a", "cell"]].values
    )
    return Figure(
        name=f"gains_{name}",
        title=title,
        caption=(
            "Differences in joint accuracy, in percentage points. Star: p ≤ 0.05 for "
            f"{POPULATIONS['both']}, two-sided, after Holm over all pairs of the dataset. The strongest colour is the "
            f"largest difference, or {STRONGEST:g} points.{blank} Intervals are in its CSV. {FIXED}"
        ),
        sizes=sizes_of(data),
        alt=f"{title}: matrix of differences in joint accuracy. The largest of each dataset: {', '.join(largest)}.",
        data=data.drop(columns="cell"),
        height=0.75 + 0.2 * len(frame),
        draw=draw,
    )


def ranks(records: ReportRecords) -> Figure | None:
    """Mean ranks over datasets with Nemenyi's critical difference."""
    experiment = records.experiment
    everywhere = [v for v in experiment.settings.variants if all(v in d.variants for d in records.datasets)]
    scores: dict[str, list[float]] = {}
    for variant in everywhere:
        rows = [records.estimate(d.id, "accuracy", "own", variant) for d in records.datasets]
        known = [float(row["estimate"]) for row in rows if row is not None]
        if len(known) == len(records.datasets):
            scores[variant] = known
    if len(scores) < 3 or len(records.datasets) < 2:
        return None
    found = critical_difference(scores)
    size, look = len(found.variants), styles(experiment)

    def draw(canvas: Canvas, wide: bool) -> None:
        axes = canvas.subplots()
        for k, (variant, rank) in enumerate(zip(found.variants, found.mean_ranks, strict=True)):
            axes.plot([rank], [k], marker=look[variant].marker, color=look[variant].colour, ls="none", zorder=3)
        for k, group in enumerate(found.groups):
            members = [found.variants.index(v) for v in group]
            x = found.mean_ranks[members[-1]] + 0.12 + 0.12 * k
            axes.plot([x, x], [members[0] - 0.2, members[-1] + 0.2], color=MUTED, lw=1.6, solid_capstyle="butt")
        axes.plot([1, 1 + found.critical_difference], [-0.9, -0.9], color=INK, lw=1.0, marker="|", markersize=5)
        axes.text(
            1 + found.critical_difference / 2,
            -1.0,
            f"critical difference {found.critical_difference:.2f}",
            ha="center",
            va="bottom",
            fontsize=7,
        )
        name_rows(axes, [experiment.title(v) for v in found.variants], top=-1.8)
        axes.set_xlim(0.8, max(size, 1 + found.critical_difference) + 0.3)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel(f"mean rank over {found.n_datasets} datasets (1 is best)")

    caption = (
        f"Mean rank of joint accuracy over {found.n_datasets} datasets, with Nemenyi's critical difference (alpha "
        f"0.05) and Friedman's p = {show_p(found.friedman_p)}; bars join variants whose mean ranks differ by less. "
        f"Datasets are the sample here, seeds and items are not used: with {found.n_datasets} datasets the power is "
        f"small (14 variants on 5 datasets would have to differ by {nemenyi_difference(14, 5):.1f} of 13 ranks), and a "
        "bar is no evidence of equality."
    )
    data = pd.DataFrame({"variant": found.variants, "mean_rank": found.mean_ranks})
    text = ", ".join(f"{experiment.title(v)} {r:.2f}" for v, r in zip(found.variants, found.mean_ranks, strict=True))
    return Figure("ranks", "All datasets", caption, "", f"Mean ranks: {text}.", data, 0.9 + 0.19 * size, draw)


def improvement(records: ReportRecords) -> Figure | None:
    """How often a fresh run of a variant beats a fresh run of another one, over all datasets."""
    suite = suite_scores(records)
    if not suite:
        return None
    found = improvement_matrix(suite)
    order = sorted(suite, key=lambda v: -sum(found[v, w].estimate for w in suite if w != v))
    size, experiment = len(order), records.experiment
    share = np.array([[0.5 if v == w else found[v, w].estimate for w in order] for v in order])

    def text(v: str, w: str) -> str:
        if v == w or size > MOST_NUMBERS:
            return ""
        cell = found[v, w]
        if cell.low is None or cell.high is None or size > WIDEST_WITH_INTERVALS:
            return f"{100 * cell.estimate:.0f}"
        return f"{100 * cell.estimate:.0f}\n{100 * cell.low:.0f}–{100 * cell.high:.0f}"

    def draw(canvas: Canvas, wide: bool) -> None:
        names = [experiment.title(v) for v in order]
        labels = np.array([[text(v, w) for w in order] for v in order])
        draw_matrix(canvas.subplots(), pd.DataFrame(100 * share, index=names, columns=names), labels, 50.0, 50.0, 6.5)

    rows = [
        {"a": v, "b": w, "estimate": c.estimate, "low": c.low, "high": c.high, "n_a": c.n_a, "n_b": c.n_b}
        for (v, w), c in found.items()
    ]
    fewest = min(min(c.n_a, c.n_b) for c in found.values())
    interval = (
        f"below it the 95 % interval for {POPULATIONS['seeds']}, not corrected for the number of pairs"
        if fewest >= MIN_SEEDS and size <= WIDEST_WITH_INTERVALS
        else f"{'numbers' if size > MOST_NUMBERS else 'intervals'} are in its CSV"
        if fewest >= MIN_SEEDS
        else f"without intervals, which take {MIN_SEEDS} seeds"
    )
    return Figure(
        name="improvement",
        title="All datasets",
        caption=(
            "Probability of improvement (%): how often a fresh run of the row has a higher joint accuracy than a fresh "
            f"run of the column, averaged over {count(len(records.datasets), 'dataset')}; ties count half; {interval}."
            " It describes runs and decides nothing."
        ),
        sizes=f"n\u00a0=\u00a0{count(fewest, 'seed')} of each.",
        alt=f"Matrix of probabilities of improvement, best variant first: {', '.join(map(experiment.title, order))}.",
        data=pd.DataFrame(rows),
        height=matrix_height(size, 0.34 if size <= WIDEST_WITH_INTERVALS else 0.24),
        draw=draw,
    )


def profiles(records: ReportRecords) -> Figure | None:
    """Share of runs above each score, over all datasets."""
    suite = suite_scores(records)
    if not suite:
        return None
    scores = np.concatenate([runs for by_dataset in suite.values() for runs in by_dataset])
    room = 0.02 * float(np.ptp(scores))
    found = performance_profiles(suite, np.linspace(scores.min() - room, scores.max(), STEPS))
    experiment, look = records.experiment, styles(records.experiment)

    def draw(canvas: Canvas, wide: bool) -> None:
        axes = canvas.subplots()
        for k, p in enumerate(found):
            style, at = look[p.variant], 100 * np.array(p.thresholds)
            if p.low is not None and p.high is not None and len(found) <= WIDEST_WITH_INTERVALS:
                low, high = 100 * np.array(p.low), 100 * np.array(p.high)
                axes.fill_between(at, low, high, step="post", color=style.colour, alpha=0.08, lw=0)
            every = (k * STEPS // (8 * len(found)), STEPS // 8)
            line: dict[str, Any] = {"ls": style.line, "marker": style.marker, "markersize": 2.6, "markevery": every}
            axes.step(at, 100 * np.array(p.share), where="post", color=style.colour, **line)
        axes.set(ylim=(-2, 102), xlabel="joint accuracy above the dataset's mean (pp)", ylabel="runs above (%)")
        axes.margins(x=0)
        add_legend(canvas, experiment.title, [p.variant for p in found], look)

    rows = [
        {"variant": p.variant, "threshold": at, "share": share, "low": low, "high": high}
        for p in found
        for at, share, low, high in zip(
            p.thresholds, p.share, p.low or [None] * STEPS, p.high or [None] * STEPS, strict=True
        )
    ]
    fewest = min(p.n_seeds for p in found)
    band = (
        f"Band: pointwise 95 % interval for {POPULATIONS['seeds']}."
        if fewest >= MIN_SEEDS and len(found) <= WIDEST_WITH_INTERVALS
        else "Pointwise intervals are in its CSV."
        if fewest >= MIN_SEEDS
        else f"No band: it takes {MIN_SEEDS} seeds."
    )
    return Figure(
        name="profiles",
        title="All datasets",
        caption=(
            f"Performance profiles: share of runs whose joint accuracy, in {ABOVE}, is higher than the value below, "
            f"averaged over {count(len(records.datasets), 'dataset')}. {band} A curve above another one everywhere is "
            "that of the variant whose runs are the better ones at every threshold. It describes and decides nothing."
        ),
        sizes=f"n\u00a0=\u00a0{count(fewest, 'seed')} of each.",
        alt=f"Performance profiles of {len(found)} methods over {len(records.datasets)} datasets.",
        data=pd.DataFrame(rows),
        height=2.2 + 0.15 * math.ceil(len(found) / 2),
        draw=draw,
    )
