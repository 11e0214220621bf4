"""The figures of a report, each from the records of an experiment; those over all datasets are in suite_figures."""

import math
from collections.abc import Iterator, Sequence
from typing import cast

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from tcmax.errors import TcmaxError
from tcmax.metrics.item_scores import ItemScores
from tcmax.report.figure import (
    MOST_NUMBERS,
    STRONGEST,
    Canvas,
    Figure,
    add_legend,
    dollarless,
    draw_matrix,
    matrix_height,
    name_rows,
    signed_cell,
    sizes_of,
)
from tcmax.report.numbers import count, fixed, joined
from tcmax.report.palette import BAND, MUTED, PAPER, Style, styles
from tcmax.report.report_records import DatasetRecords, ReportRecords
from tcmax.report.suite_figures import gains, improvement, profiles, ranks
from tcmax.report.tables import FIXED, POPULATIONS, SELECTIONS
from tcmax.report.tuning_figures import search, stability
from tcmax.stats.intervals import t_interval

BINS = 10  # of a reliability curve
MOST_CURVES = 8  # by epoch, that have a colour of their own


def figures(records: ReportRecords) -> list[Figure]:
    """Every figure that the records allow, in reading order."""
    made: list[Figure | None] = []
    for make in (accuracy, pairwise, modalities, divergence, reliability, training, selection, negatives, search):
        made += [make(records, dataset) for dataset in records.datasets]
    made += [*gains(records), *(make(records) for make in (ranks, improvement, profiles, stability))]
    return [figure for figure in made if figure is not None]


# --- accuracy ---------------------------------------------------------------------------------------------------------


def accuracy(records: ReportRecords, dataset: DatasetRecords) -> Figure | None:
    """Joint accuracy of all variants, best first, with the noise of the test set as a band."""
    data = _estimates(records, dataset, [("accuracy", "own")])
    if data.empty:
        return None
    data = data.sort_values("estimate", ascending=False, kind="stable").reset_index(drop=True)
    best, look, n = data.iloc[0], styles(records.experiment), int(data["n_items"].iloc[0])
    error = math.sqrt(max(best["estimate"] * (1 - best["estimate"]), 0.0) / n)
    band = (best["estimate"] - 1.96 * error, best["estimate"] + 1.96 * error)

    def draw(canvas: Canvas, wide: bool) -> None:
        axes = canvas.subplots()
        axes.axvspan(100 * band[0], 100 * band[1], color=BAND, alpha=0.55, lw=0, zorder=0)
        _dots(axes, data, look, 100.0)
        name_rows(axes, [records.experiment.title(v) for v in data["variant"]])
        axes.set_xlabel("joint accuracy (%)")

    order = ", ".join(
        f"{records.experiment.title(row['variant'])} {fixed(100 * row['estimate'], 1)}" for _, row in data.iterrows()
    )
    return Figure(
        name=f"accuracy_{dataset.id}",
        title=dataset.title,
        caption=(
            f"Joint accuracy, best first. Thin: 95 % interval for {POPULATIONS['both']}; thick: for "
            f"{POPULATIONS['seeds']}. Band: ± 1.96 binomial standard errors of one accuracy around the best, what "
            f"the test set alone leaves open for a single run; paired differences can be sharper. {FIXED}"
        ),
        sizes=sizes_of(data),
        alt=f"Joint accuracy in percent on {dataset.title}: {order}.",
        data=data,
        height=0.55 + 0.19 * len(data),
        draw=draw,
    )


def pairwise(records: ReportRecords, dataset: DatasetRecords) -> Figure | None:
    """Paired differences of joint accuracy, row minus column."""
    pairs = records.comparisons(dataset.id, "accuracy", "own", "pair")
    order = _by_accuracy(records, dataset)
    if pairs.empty or len(order) < 3:
        return None
    size = len(order)
    d, decided = np.full((size, size), np.nan), np.zeros((size, size), dtype=bool)
    for _, row in pairs.iterrows():
        if row["a"] not in order or row["b"] not in order or pd.isna(row["estimate"]):
            continue
        i, j = order.index(row["a"]), order.index(row["b"])
        d[i, j], d[j, i] = 100 * row["estimate"], -100 * row["estimate"]
        decided[i, j] = decided[j, i] = pd.notna(row["p_adjusted"]) and row["p_adjusted"] <= row["alpha"]
    titles = [records.experiment.title(v) for v in order]
    crowded = size > MOST_NUMBERS
    stars = [["*" if decided[i, j] else "" for j in range(size)] for i in range(size)]
    cells = [[signed_cell(d[i, j], decided[i, j]) if i != j else "" for j in range(size)] for i in range(size)]
    largest = float(np.nanmax(np.abs(d))) or 1.0
    # One variant that fails would leave all others white.
    limit = min(largest, STRONGEST) if crowded else largest

    def draw(canvas: Canvas, wide: bool) -> None:
        frame = pd.DataFrame(d, index=titles, columns=titles)
        draw_matrix(canvas.subplots(), frame, np.array(stars if crowded else cells), 0.0, limit, 7)

    data = pairs[["a", "b", "estimate", "low", "high", "p", "p_adjusted", "family", "n_seeds", "n_items"]]
    return Figure(
        name=f"pairwise_{dataset.id}",
        title=dataset.title,
        caption=(
            "Paired differences of joint accuracy, row − column, in percentage points. Star: p ≤ 0.05 for "
            f"{POPULATIONS['both']}, two-sided, after Holm over all {len(pairs)} pairs. "
            + (f"Colours are strongest from {STRONGEST:g} points on; numbers are in its CSV. " if crowded else "")
            + FIXED
        ),
        sizes=sizes_of(pairs),
        alt=f"Matrix of paired differences on {dataset.title}, best variant first: {', '.join(titles)}.",
        data=data,
        height=matrix_height(size, 0.26),
        draw=draw,
    )


# --- modalities -------------------------------------------------------------------------------------------------------


def modalities(records: ReportRecords, dataset: DatasetRecords) -> Figure | None:
    """Accuracy of each modality by itself against the reference variant's."""
    data = _estimates(records, dataset, [("accuracy", m) for m in dataset.modalities])
    if data.empty:
        return None
    experiment, look = records.experiment, styles(records.experiment)
    reference = experiment.settings.reference_variant
    variants = [v for v in dataset.variants if v in set(data["variant"])]
    shown_modalities = [m for m in dataset.modalities if m in set(data["readout"])]
    columns = 2
    rows = math.ceil(len(shown_modalities) / columns)

    def draw(canvas: Canvas, wide: bool) -> None:
        across = len(shown_modalities) if wide and len(shown_modalities) <= 4 else columns
        down = math.ceil(len(shown_modalities) / across)
        grid = canvas.subplots(down, across, sharey=True, squeeze=False)
        for k, modality in enumerate(shown_modalities):
            axes = grid[k // across][k % across]
            part = data[data["readout"] == modality].set_index("variant").reindex(variants).reset_index()
            base = part[part["variant"] == reference]
            if not base.empty and pd.notna(base["estimate"].iloc[0]):
                row = base.iloc[0]
                if pd.notna(row["low"]):
                    axes.axvspan(100 * row["low"], 100 * row["high"], color=BAND, alpha=0.55, lw=0, zorder=0)
                axes.axvline(100 * row["estimate"], color=MUTED, lw=0.7, zorder=1)
            _dots(axes, part, look, 100.0)
            name_rows(axes, [experiment.title(v) for v in variants])
            axes.set_xlabel(f"{dollarless(modality)} (%)")
            axes.xaxis.set_major_locator(MaxNLocator(4))
        for k in range(len(shown_modalities), down * across):
            grid[k // across][k % across].set_visible(False)

    against = f"; line and grey: {experiment.title(reference)}, and its thin interval" if reference in variants else ""
    return Figure(
        name=f"modalities_{dataset.id}",
        title=dataset.title,
        caption=(
            f"Accuracy of each modality by itself. Thin: 95 % interval for {POPULATIONS['both']}; thick: for "
            f"{POPULATIONS['seeds']}{against}. {FIXED}"
        ),
        sizes=sizes_of(data),
        alt=f"Accuracy of {joined(shown_modalities)} on {dataset.title}, {len(variants)} methods; numbers in Table 1.",
        data=data,
        height=(0.5 + 0.19 * len(variants)) * rows,
        draw=draw,
        wide_height=0.5 + 0.19 * len(variants) if len(shown_modalities) <= 4 else None,
    )


def divergence(records: ReportRecords, dataset: DatasetRecords) -> Figure | None:
    """Jensen-Shannon divergence between the modalities, raw and calibrated."""
    data = _estimates(records, dataset, [("js", "all"), ("js_calibrated", "all")])
    if data.empty:
        return None
    experiment, look = records.experiment, styles(records.experiment)
    variants = [v for v in dataset.variants if v in set(data["variant"])]

    def draw(canvas: Canvas, wide: bool) -> None:
        axes = canvas.subplots()
        for metric, shift, hollow in (("js", -0.16, False), ("js_calibrated", 0.16, True)):
            part = data[data["metric"] == metric].set_index("variant").reindex(variants).reset_index()
            _dots(axes, part, look, 1.0, shift=shift, hollow=hollow)
        name_rows(axes, [experiment.title(v) for v in variants])
        axes.set_xlim(left=0)
        axes.set_xlabel("Jensen-Shannon divergence (nats)")
        handles = [
            Line2D([], [], marker="o", ls="none", color=MUTED, label="raw"),
            Line2D([], [], marker="o", ls="none", color=MUTED, markerfacecolor=PAPER, label="calibrated"),
        ]
        canvas.legend(handles=handles, loc="outside lower center", ncols=2)

    return Figure(
        name=f"divergence_{dataset.id}",
        title=dataset.title,
        caption=(
            "Jensen-Shannon divergence between the modalities' predictions, 0 when they agree. Filled: raw; hollow: "
            "after one temperature per run and modality, fitted on validation. Thin: 95 % interval for "
            f"{POPULATIONS['both']}; thick: for {POPULATIONS['seeds']}. {FIXED}"
        ),
        sizes=sizes_of(data),
        alt=f"Jensen-Shannon divergence on {dataset.title} for {len(variants)} methods; numbers in Table 2.",
        data=data,
        height=0.75 + 0.25 * len(variants),
        draw=draw,
    )


def reliability(records: ReportRecords, dataset: DatasetRecords) -> Figure | None:
    """Accuracy against confidence in bins of equally many predictions, pooled over seeds."""
    if dataset.items is None:
        return None
    scores = ItemScores.read(dataset.items)
    rule = records.experiment.settings.selection
    curves = []
    for variant in dataset.variants:
        if variant not in scores.variants or not scores.seeds(variant):
            continue
        try:
            confidence = scores.matrix(variant, "confidence", "own", rule).ravel()
            correct = scores.matrix(variant, "correct", "own", rule).ravel()
        except TcmaxError:  # foreign scores may hold correctness alone
            continue
        order = np.argsort(confidence, kind="stable")
        for part in np.array_split(order, min(BINS, len(order))):
            curves.append((variant, len(part), float(confidence[part].mean()), float(correct[part].mean())))
    if not curves:
        return None
    data = pd.DataFrame(curves, columns=["variant", "n_predictions", "confidence", "accuracy"])
    experiment, look = records.experiment, styles(records.experiment)
    variants = list(dict.fromkeys(data["variant"]))
    low = 100 * float(min(data["confidence"].min(), data["accuracy"].min()))

    def draw(canvas: Canvas, wide: bool) -> None:
        axes = canvas.subplots()
        axes.plot([low, 100], [low, 100], color=MUTED, lw=0.7, zorder=0)
        for variant in variants:
            part = data[data["variant"] == variant]
            style = look[variant]
            axes.plot(
                100 * part["confidence"],
                100 * part["accuracy"],
                color=style.colour,
                ls=style.line,
                marker=style.marker,
                markersize=3,
            )
        axes.set_xlabel("mean confidence of the bin (%)")
        axes.set_ylabel("accuracy (%)")
        add_legend(canvas, experiment.title, variants, look)

    return Figure(
        name=f"reliability_{dataset.id}",
        title=dataset.title,
        caption=(
            f"Reliability of the joint prediction: accuracy and mean confidence in {BINS} bins of equally many "
            "predictions, pooled over seeds. Below the line: overconfident. No interval is drawn: the same items "
            f"recur in every seed. Epoch chosen: {SELECTIONS.get(rule, rule)}."
        ),
        sizes="",
        alt=f"Reliability curves on {dataset.title} for {len(variants)} methods.",
        data=data,
        height=2.3 + 0.15 * math.ceil(len(variants) / 2),
        draw=draw,
    )


# --- training ---------------------------------------------------------------------------------------------------------


def training(records: ReportRecords, dataset: DatasetRecords) -> Figure | None:
    """Figure 4 of the TCMax paper: training loss and test accuracy by epoch."""
    if dataset.history is None:
        return None
    wanted = {"loss": "training loss (nats)", "accuracy.test.joint": "test accuracy (%)"}
    history = dataset.history[dataset.history["quantity"].isin(wanted)].dropna(subset="value")
    if history.empty:
        return None
    # folds of one seed are parts of one run: averaged before seeds are compared
    runs = history.groupby(["quantity", "variant", "seed", "epoch"], observed=True, sort=False)["value"].mean()
    data = _bands(runs.reset_index())
    experiment, look = records.experiment, styles(records.experiment)
    variants = [v for v in dataset.variants if v in set(data["variant"])]
    n_seeds = int(data["n_seeds"].max())
    named = variants
    if len(variants) > MOST_CURVES:  # more cannot be told apart: the first, the reference, and what forms a family
        settings = experiment.settings
        shown = {variants[0], settings.reference_variant, *(v for v in variants if settings.variants[v].family)}
        named = [v for v in variants if v in shown][:MOST_CURVES]

    def draw(canvas: Canvas, wide: bool) -> None:
        panels = canvas.subplots(1, 2) if wide else canvas.subplots(2, 1, sharex=True)
        for axes, (quantity, label) in zip(panels, wanted.items(), strict=True):
            factor = 100.0 if quantity.startswith("accuracy") else 1.0
            for variant in variants:
                part = data[(data["variant"] == variant) & (data["quantity"] == quantity)]
                if variant not in named:
                    axes.plot(part["epoch"], factor * part["mean"], color=BAND, lw=0.7, zorder=0)
                    continue
                style = look[variant]
                axes.fill_between(
                    part["epoch"], factor * part["low"], factor * part["high"], color=style.colour, alpha=0.18, lw=0
                )
                axes.plot(
                    part["epoch"],
                    factor * part["mean"],
                    color=style.colour,
                    ls=style.line,
                    marker=style.marker,
                    markersize=2.6,
                    markevery=(named.index(variant), max(len(part) // 6, 1)),
                )
            axes.set_ylabel(label)
            axes.margins(x=0.01)
        for axes in panels if wide else panels[1:]:
            axes.set_xlabel("epoch")
        add_legend(canvas, experiment.title, named, look)

    others = len(variants) - len(named)
    grey = f" Grey: {count(others, 'further method')}, without bands; all numbers are in its CSV." if others else ""
    band = (
        f"Band: 95 % t interval over {count(n_seeds, 'seed')}, for new seeds on these items."
        if n_seeds > 1
        else "No band: one seed."
    )
    return Figure(
        name=f"figure4_{dataset.id}",
        title=dataset.title,
        caption=(
            f"Training loss and test accuracy by epoch, mean over seeds. {band}{grey} The level of one loss says "
            "nothing about another: the TCMax loss of Eq. 14 is 0 for a constant head and falls to "
            "−(M − 1) H − log C for additive ones, with M modalities, C classes and H the entropy of the labels in "
            "the batch; cross-entropy starts near log C and falls to 0; the loss of the unimodal ensemble is a sum "
            "over modalities. Only shapes can be compared."
        ),
        sizes="",
        alt=f"Training loss and test accuracy by epoch on {dataset.title} for {len(variants)} methods.",
        data=data,
        height=3.3 + 0.15 * math.ceil(len(named) / 2),
        draw=draw,
        wide_height=2.1 + 0.15 * math.ceil(len(named) / 4),
    )


def _bands(runs: pd.DataFrame) -> pd.DataFrame:
    """Mean over seeds with its t interval, for each quantity, variant and epoch (1-based)."""
    rows = []
    for key, part in runs.groupby(["quantity", "variant", "epoch"], sort=False):
        quantity, variant, epoch = cast(tuple[str, str, int], key)
        values = part["value"].to_numpy(dtype=np.float64)
        low = high = math.nan
        if len(values) > 1:
            bounds = t_interval(values)
            low, high = bounds.low, bounds.high
        rows.append((quantity, variant, epoch + 1, float(values.mean()), low, high, len(values)))
    data = pd.DataFrame(rows, columns=["quantity", "variant", "epoch", "mean", "low", "high", "n_seeds"])
    return data.sort_values(["quantity", "variant", "epoch"], kind="stable").reset_index(drop=True)


def selection(records: ReportRecords, dataset: DatasetRecords) -> Figure | None:
    """Joint accuracy under the three rules of choosing an epoch."""
    means = {rule: dataset.values("accuracy", "own", rule).groupby("variant")["value"].mean() for rule in SELECTIONS}
    variants = [v for v in dataset.variants if all(v in means[rule].index for rule in SELECTIONS)]
    if not variants:
        return None
    experiment, look = records.experiment, styles(records.experiment)
    data = pd.DataFrame(
        {"variant": variants, **{rule: [float(means[rule][v]) for v in variants] for rule in SELECTIONS}}
    )
    shapes = {"last": "o", "best_val": "D", "best_test_oracle": ">"}

    def draw(canvas: Canvas, wide: bool) -> None:
        axes = canvas.subplots()
        for k, (_, row) in enumerate(data.iterrows()):
            values = [100 * float(row[rule]) for rule in SELECTIONS]
            colour = look[row["variant"]].colour
            axes.plot([min(values), max(values)], [k, k], color=colour, lw=0.8, alpha=0.6)
            for rule, value in zip(SELECTIONS, values, strict=True):
                hollow = rule == "best_test_oracle"
                axes.plot(value, k, shapes[rule], color=colour, markerfacecolor=PAPER if hollow else colour)
        name_rows(axes, [experiment.title(v) for v in variants])
        axes.set_xlabel("joint accuracy (%)")
        handles = [
            Line2D(
                [],
                [],
                marker=shapes[rule],
                ls="none",
                color=MUTED,
                label=title,
                markerfacecolor=PAPER if rule == "best_test_oracle" else MUTED,
            )
            for rule, title in SELECTIONS.items()
        ]
        canvas.legend(handles=handles, loc="outside lower center", ncols=3, handletextpad=0.2)

    n = int(dataset.values("accuracy", "own", "last").groupby("variant")["value"].count().max())
    return Figure(
        name=f"selection_{dataset.id}",
        title=dataset.title,
        caption=(
            "Joint accuracy when each run reports its last epoch, the epoch best on validation, or the epoch best on "
            f"the test items (hollow; a diagnostic that feeds no claim). Mean over {count(n, 'seed')}; the distance "
            "to the hollow mark is optimism, not a gain."
        ),
        sizes="",
        alt=f"Joint accuracy on {dataset.title} under three rules of choosing the epoch; numbers in the table above.",
        data=data,
        height=0.75 + 0.19 * len(variants),
        draw=draw,
    )


def negatives(records: ReportRecords, dataset: DatasetRecords) -> Figure | None:
    """Figure 3 of the TCMax paper: joint accuracy against the number of sampled negatives."""
    settings = records.experiment.settings.variants
    counts: dict[str, float] = {}
    for variant in dataset.variants:
        number = settings[variant].parameters.get("negatives")
        if isinstance(number, int):
            counts[variant] = float(number)
    if len(counts) < 2:
        return None
    methods = {settings[v].method for v in counts}
    complete = [
        v
        for v in dataset.variants
        if v not in counts and settings[v].method in methods and not settings[v].parameters.get("negatives")
    ]
    batch = records.experiment.training_on(dataset.id).batch_size
    everything = float(batch ** max(len(dataset.modalities), 1))
    counts.update(dict.fromkeys(complete, everything))
    data = _estimates(records, dataset, [("accuracy", "own")])
    data = data[data["variant"].isin(counts)].copy()
    if data.empty:
        return None
    data.insert(1, "negatives", [counts[v] for v in data["variant"]])
    data["complete"] = data["variant"].isin(complete)
    data = data.sort_values(["negatives", "complete"], kind="stable").reset_index(drop=True)
    look = styles(records.experiment)

    def draw(canvas: Canvas, wide: bool) -> None:
        axes = canvas.subplots()
        axes.plot(data["negatives"], 100 * data["estimate"], color=MUTED, lw=0.8, zorder=1)
        for _, row in data.iterrows():
            style = look[row["variant"]]
            if pd.notna(row["low"]):
                axes.plot([row["negatives"]] * 2, [100 * row["low"], 100 * row["high"]], color=style.colour, lw=0.9)
            if pd.notna(row["seeds_low"]):
                bounds = [100 * row["seeds_low"], 100 * row["seeds_high"]]
                axes.plot([row["negatives"]] * 2, bounds, color=style.colour, lw=2.4, solid_capstyle="butt")
            fill = PAPER if row["complete"] else style.colour
            axes.plot(row["negatives"], 100 * row["estimate"], "o", color=style.colour, markerfacecolor=fill, zorder=3)
        axes.set_xscale("log", base=2)
        axes.set_xticks(sorted(set(data["negatives"])), [f"{int(x):,}" for x in sorted(set(data["negatives"]))])
        axes.minorticks_off()
        axes.set_xlabel("tuples in the partition sum (log scale)")
        axes.set_ylabel("joint accuracy (%)")

    m = max(len(dataset.modalities), 1)
    return Figure(
        name=f"figure3_{dataset.id}",
        title=dataset.title,
        caption=(
            "Joint accuracy against the number of sampled tuples of the TCMax loss (Eq. 15); hollow: all "
            f"{batch}^{m} = {everything:,.0f} tuples of a batch. Thin: 95 % interval for {POPULATIONS['both']}; "
            f"thick: for {POPULATIONS['seeds']}. {FIXED}"
        ),
        sizes=sizes_of(data),
        alt="Joint accuracy by number of sampled tuples: "
        + ", ".join(f"{int(r['negatives'])}: {100 * r['estimate']:.1f} %" for _, r in data.iterrows())
        + ".",
        data=data,
        height=2.0,
        draw=draw,
    )


# --- shared -----------------------------------------------------------------------------------------------------------


def _estimates(records: ReportRecords, dataset: DatasetRecords, wanted: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """Estimates with intervals for new seeds and items (low, high) and for new seeds (seeds_low, seeds_high)."""

    def rows() -> Iterator[dict[str, object]]:
        for metric, readout in wanted:
            for variant in dataset.variants:
                both = records.estimate(dataset.id, metric, readout, variant)
                seeds = records.estimate(dataset.id, metric, readout, variant, "seeds")
                if both is None or pd.isna(both["estimate"]):
                    continue
                yield {
                    "variant": variant,
                    "metric": metric,
                    "readout": readout,
                    "estimate": float(both["estimate"]),
                    "low": both["low"],
                    "high": both["high"],
                    "seeds_low": None if seeds is None else seeds["low"],
                    "seeds_high": None if seeds is None else seeds["high"],
                    "n_seeds": int(both["n_seeds"]),
                    "n_items": int(both["n_items"]),
                }

    frame = pd.DataFrame(list(rows()))
    for name in ("low", "high", "seeds_low", "seeds_high"):
        if name in frame:
            frame[name] = frame[name].astype(float)
    return frame


def _by_accuracy(records: ReportRecords, dataset: DatasetRecords) -> list[str]:
    data = _estimates(records, dataset, [("accuracy", "own")])
    return [] if data.empty else list(data.sort_values("estimate", ascending=False, kind="stable")["variant"])


def _dots(
    axes: Axes, data: pd.DataFrame, look: dict[str, Style], factor: float, shift: float = 0.0, hollow: bool = False
) -> None:
    """One dot with its two intervals per row, from the top down."""
    for k, (_, row) in enumerate(data.iterrows()):
        if pd.isna(row["estimate"]):
            continue
        style, y = look[row["variant"]], k + shift
        if pd.notna(row["low"]):
            axes.plot([factor * row["low"], factor * row["high"]], [y, y], color=style.colour, lw=0.9)
        if pd.notna(row["seeds_low"]):
            bounds = [factor * row["seeds_low"], factor * row["seeds_high"]]
            axes.plot(bounds, [y, y], color=style.colour, lw=2.4, solid_capstyle="butt")
        fill = PAPER if hollow else style.colour
        axes.plot(factor * row["estimate"], y, style.marker, color=style.colour, markerfacecolor=fill, zorder=3)
