"""The figures of a report. Each says what it shows, carries its numbers as a table, and can draw itself.

Drawn for a column of 3.25 in at 8 pt, without titles: PDF and PNG in the serif face of an article, SVG in that of the
page. Figures that gain from it are drawn for the text width too (`<name>_wide.pdf`). Equal records give equal bytes:
no dates, no versions, a fixed salt for identifiers.
"""

import io
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from tcmax.errors import TcmaxError
from tcmax.files import atomic_path, write_text
from tcmax.metrics.item_scores import ItemScores
from tcmax.report.contents import Contents, DatasetContents
from tcmax.report.latex import escape
from tcmax.report.numbers import count, fixed, joined, show_p
from tcmax.report.palette import BAND, INK, MUTED, PAPER, Look, looks
from tcmax.report.suite import ABOVE, suite_scores
from tcmax.report.tables import FIXED, POPULATIONS, SELECTIONS
from tcmax.stats.effects import MIN_SEEDS
from tcmax.stats.intervals import t_interval
from tcmax.stats.ranking import critical_difference, nemenyi_difference
from tcmax.stats.suite import improvement_matrix, performance_profiles

COLUMN, TEXT_WIDTH = 3.25, 6.75  # inches
BINS = 10  # of a reliability curve
STEPS = 201  # of a performance profile
WIDEST_WITH_INTERVALS = 8  # variants for whose intervals a matrix or a plot of curves has room
HEAT = sns.diverging_palette(40, 250, s=85, l=58, as_cmap=True)  # orange to blue through white, as on the page

_STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "legend.handlelength": 2.0,
    "legend.columnspacing": 1.0,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "axes.unicode_minus": True,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "tcmax",
    "path.simplify": False,
}
_SERIF: dict[Any, Any] = {"font.family": "serif", "font.serif": ["STIXGeneral"], "mathtext.fontset": "stix"}
_SANS: dict[Any, Any] = {"font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"]}


@dataclass(frozen=True)
class Figure:
    """A figure. name: file name, its kind and its dataset. title: what tells it from others of its kind.

    caption: what it shows, the same for all datasets where it can be; sizes: n. alt: for those who cannot see it.

    draw: fills a canvas; its argument says whether the canvas is as wide as the text. height, wide_height: inches; no
    wide version where that is None.
    """

    name: str
    title: str
    caption: str
    sizes: str
    alt: str
    data: pd.DataFrame
    height: float
    draw: Callable[[Canvas, bool], None]
    wide_height: float | None = None

    @property
    def kind(self) -> str:
        """What the figure shows, whatever the dataset: the first part of its name."""
        return self.name.partition("_")[0]

    @property
    def csv(self) -> str:
        """The numbers drawn."""
        return self.data.to_csv(index=False, lineterminator="\n", float_format="%.10g")

    @property
    def tex(self) -> str:
        """A float for an article that loads graphicx and has the PDF under figures/."""
        return "\n".join(
            (
                "\\begin{figure}",
                "  \\centering",
                f"  \\includegraphics{{figures/{self.name}.pdf}}",
                f"  \\caption{{{escape(shared_caption([self]))}}}",
                f"  \\label{{fig:{self.name}}}",
                "\\end{figure}",
                "",
            )
        )

    def save(self, folder: Path) -> str:
        """Write <name>.pdf, .png, .svg and .csv, and the wide PDF if there is one; returns the SVG."""
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / f"{self.name}.csv", self.csv)
        with mpl.rc_context({**_STYLE, **_SERIF}):
            canvas = self._drawn(COLUMN, self.height, False)
            _save(canvas, folder / f"{self.name}.pdf", "pdf", {"CreationDate": None, "Creator": None, "Producer": None})
            canvas.set_facecolor("white")
            _save(canvas, folder / f"{self.name}.png", "png", {"Software": None}, dpi=220)
            if self.wide_height is not None:
                wide = self._drawn(TEXT_WIDTH, self.wide_height, True)
                metadata = {"CreationDate": None, "Creator": None, "Producer": None}
                _save(wide, folder / f"{self.name}_wide.pdf", "pdf", metadata)
        with mpl.rc_context({**_STYLE, **_SANS}):
            stream = io.StringIO()
            canvas = self._drawn(COLUMN, self.height, False)
            metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
            canvas.savefig(stream, format="svg", metadata=metadata)
        write_text(folder / f"{self.name}.svg", stream.getvalue())
        return stream.getvalue()

    def _drawn(self, width: float, height: float, wide: bool) -> Canvas:
        engine = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0.03, hspace=0.03)
        canvas = Canvas(figsize=(width, height), layout=engine)
        FigureCanvasAgg(canvas)
        self.draw(canvas, wide)
        return canvas


def shared_caption(figures: Sequence[Figure]) -> str:
    """One caption for figures of a kind: what they have in common once, the rest by title."""
    texts = []
    for part in ("caption", "sizes"):
        found = {figure.title: str(getattr(figure, part)) for figure in figures}
        one = len(set(found.values())) == 1
        texts.append(next(iter(found.values())) if one else " ".join(f"{t}: {text}" for t, text in found.items()))
    return " ".join(text for text in texts if text)


def _save(canvas: Canvas, path: Path, form: str, metadata: dict[str, None], dpi: int = 100) -> None:
    with atomic_path(path) as temporary:
        canvas.savefig(temporary, format=form, metadata=metadata, dpi=dpi)


def figures(contents: Contents) -> list[Figure]:
    """Every figure that the records allow, in reading order."""
    made: list[Figure | None] = []
    for make in (accuracy, pairwise, modalities, divergence, reliability, training, selection, negatives):
        made += [make(contents, dataset) for dataset in contents.datasets]
    made += [make(contents) for make in (ranks, improvement, profiles)]
    return [figure for figure in made if figure is not None]


# --- accuracy ---------------------------------------------------------------------------------------------------------


def accuracy(contents: Contents, dataset: DatasetContents) -> Figure | None:
    """Joint accuracy of all variants, best first, with the noise of the test set as a band."""
    data = _estimates(contents, dataset, [("accuracy", "own")])
    if data.empty:
        return None
    data = data.sort_values("estimate", ascending=False, kind="stable").reset_index(drop=True)
    best, look, n = data.iloc[0], looks(contents.experiment), int(data["n_items"].iloc[0])
    error = math.sqrt(max(best["estimate"] * (1 - best["estimate"]), 0.0) / n)
    band = (best["estimate"] - 1.96 * error, best["estimate"] + 1.96 * error)

    def draw(canvas: Canvas, wide: bool) -> None:
        axes = canvas.subplots()
        axes.axvspan(100 * band[0], 100 * band[1], color=BAND, alpha=0.55, lw=0, zorder=0)
        _dots(axes, data, look, 100.0)
        _names(axes, [contents.experiment.title(v) for v in data["variant"]])
        axes.set_xlabel("joint accuracy (%)")

    order = ", ".join(
        f"{contents.experiment.title(row['variant'])} {fixed(100 * row['estimate'], 1)}" for _, row in data.iterrows()
    )
    return Figure(
        name=f"accuracy_{dataset.id}",
        title=dataset.title,
        caption=(
            f"Joint accuracy, best first. Thin: 95 % interval for {POPULATIONS['both']}; thick: for "
            f"{POPULATIONS['seeds']}. Band: ± 1.96 binomial standard errors of one accuracy around the best, what "
            f"the test set alone leaves open for a single run; paired differences can be sharper. {FIXED}"
        ),
        sizes=_n(data),
        alt=f"Joint accuracy in percent on {dataset.title}: {order}.",
        data=data,
        height=0.55 + 0.19 * len(data),
        draw=draw,
    )


def pairwise(contents: Contents, dataset: DatasetContents) -> Figure | None:
    """Paired differences of joint accuracy, row minus column."""
    pairs = contents.comparisons(dataset.id, "accuracy", "own", "pair")
    order = _by_accuracy(contents, dataset)
    if pairs.empty or len(order) < 3:
        return None
    size = len(order)
    d, decided = np.full((size, size), np.nan), np.zeros((size, size), dtype=bool)
    for _, row in pairs.iterrows():
        if row["a"] not in order or row["b"] not in order or pd.isna(row["estimate"]):
            continue
        i, j = order.index(row["a"]), order.index(row["b"])
        d[i, j], d[j, i] = 100 * row["estimate"], -100 * row["estimate"]
        decided[i, j] = decided[j, i] = pd.notna(row["p_adjusted"]) and row["p_adjusted"] <= row["level"]
    titles = [contents.experiment.title(v) for v in order]
    labels = [[_signed(d[i, j], decided[i, j]) if i != j else "" for j in range(size)] for i in range(size)]
    limit = float(np.nanmax(np.abs(d))) or 1.0

    def draw(canvas: Canvas, wide: bool) -> None:
        axes = canvas.subplots()
        names = [_dollarless(title) for title in titles]
        frame = pd.DataFrame(d, index=names, columns=names)
        sns.heatmap(
            frame,
            ax=axes,
            cmap=HEAT,
            center=0,
            vmin=-limit,
            vmax=limit,
            annot=np.array(labels),
            fmt="",
            annot_kws={"fontsize": 7},
            cbar=False,
            linewidths=0.6,
            linecolor="none",
            square=False,
        )
        axes.set(xlabel="", ylabel="")
        axes.tick_params(length=0)
        for tick in axes.get_xticklabels():
            tick.set(rotation=35, ha="right", rotation_mode="anchor")
        axes.tick_params(axis="y", rotation=0)

    data = pairs[["a", "b", "estimate", "low", "high", "p", "p_adjusted", "family", "n_seeds", "n_items"]]
    return Figure(
        name=f"pairwise_{dataset.id}",
        title=dataset.title,
        caption=(
            "Paired differences of joint accuracy, row − column, in percentage points. Star: p ≤ 0.05 for "
            f"{POPULATIONS['both']}, two-sided, after Holm over all {len(pairs)} pairs. {FIXED}"
        ),
        sizes=_n(pairs),
        alt=f"Matrix of paired differences on {dataset.title}, best variant first: {', '.join(titles)}.",
        data=data,
        height=0.75 + 0.26 * size,
        draw=draw,
    )


def _signed(value: float, decided: bool) -> str:
    if not math.isfinite(value):
        return "–"
    return fixed(value, 1 if abs(value) >= 9.95 else 2, signed=True) + ("*" if decided else "")


def ranks(contents: Contents) -> Figure | None:
    """Mean ranks over datasets with Nemenyi's critical difference."""
    experiment = contents.experiment
    everywhere = [v for v in experiment.settings.variants if all(v in d.variants for d in contents.datasets)]
    scores: dict[str, list[float]] = {}
    for variant in everywhere:
        rows = [contents.estimate(d.id, "accuracy", "own", variant) for d in contents.datasets]
        known = [float(row["estimate"]) for row in rows if row is not None]
        if len(known) == len(contents.datasets):
            scores[variant] = known
    if len(scores) < 3 or len(contents.datasets) < 2:
        return None
    found = critical_difference(scores)
    size, look = len(found.variants), looks(experiment)

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
        _names(axes, [experiment.title(v) for v in found.variants], top=-1.8)
        axes.set_xlim(0.8, max(size, 1 + found.critical_difference) + 0.3)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel(f"mean rank over {found.n_datasets} datasets (1 is best)")

    caption = (
        f"Mean rank of joint accuracy over {found.n_datasets} datasets, with Nemenyi's critical difference (level "
        f"0.05) and Friedman's p = {show_p(found.friedman_p)}; bars join variants whose mean ranks differ by less. "
        f"Datasets are the sample here, seeds and items are not used: with {found.n_datasets} datasets the power is "
        f"small (14 variants on 5 datasets would have to differ by {nemenyi_difference(14, 5):.1f} of 13 ranks), and a "
        "bar is no evidence of equality."
    )
    data = pd.DataFrame({"variant": found.variants, "mean_rank": found.mean_ranks})
    text = ", ".join(f"{experiment.title(v)} {r:.2f}" for v, r in zip(found.variants, found.mean_ranks, strict=True))
    return Figure("ranks", "All datasets", caption, "", f"Mean ranks: {text}.", data, 0.9 + 0.19 * size, draw)


def improvement(contents: Contents) -> Figure | None:
    """How often a fresh run of a variant beats a fresh run of another one, over all datasets."""
    suite = suite_scores(contents)
    if not suite:
        return None
    found = improvement_matrix(suite)
    order = sorted(suite, key=lambda v: -sum(found[v, w].estimate for w in suite if w != v))
    size, experiment = len(order), contents.experiment
    share = np.array([[0.5 if v == w else found[v, w].estimate for w in order] for v in order])

    def text(v: str, w: str) -> str:
        if v == w:
            return ""
        cell = found[v, w]
        if cell.low is None or cell.high is None or size > WIDEST_WITH_INTERVALS:
            return f"{100 * cell.estimate:.0f}"
        return f"{100 * cell.estimate:.0f}\n{100 * cell.low:.0f}–{100 * cell.high:.0f}"

    def draw(canvas: Canvas, wide: bool) -> None:
        axes = canvas.subplots()
        names = [_dollarless(experiment.title(v)) for v in order]
        frame = pd.DataFrame(100 * share, index=names, columns=names)
        labels = np.array([[text(v, w) for w in order] for v in order])
        look: dict[str, Any] = {"cmap": HEAT, "center": 50, "vmin": 0, "vmax": 100, "cbar": False, "linewidths": 0.6}
        sns.heatmap(frame, ax=axes, annot=labels, fmt="", annot_kws={"fontsize": 6.5}, linecolor="none", **look)
        axes.set(xlabel="", ylabel="")
        axes.tick_params(length=0)
        for tick in axes.get_xticklabels():
            tick.set(rotation=35, ha="right", rotation_mode="anchor")
        axes.tick_params(axis="y", rotation=0)

    rows = [
        {"a": v, "b": w, "estimate": c.estimate, "low": c.low, "high": c.high, "n_a": c.n_a, "n_b": c.n_b}
        for (v, w), c in found.items()
    ]
    fewest = min(min(c.n_a, c.n_b) for c in found.values())
    interval = (
        f"below it the 95 % interval for {POPULATIONS['seeds']}, not corrected for the number of pairs"
        if fewest >= MIN_SEEDS and size <= WIDEST_WITH_INTERVALS
        else "intervals are in its CSV"
        if fewest >= MIN_SEEDS
        else f"without intervals, which take {MIN_SEEDS} seeds"
    )
    return Figure(
        name="improvement",
        title="All datasets",
        caption=(
            "Probability of improvement (%): how often a fresh run of the row has a higher joint accuracy than a fresh "
            f"run of the column, averaged over {count(len(contents.datasets), 'dataset')}; ties count half; {interval}."
            " It describes runs and decides nothing."
        ),
        sizes=f"n\u00a0=\u00a0{count(fewest, 'seed')} of each.",
        alt=f"Matrix of probabilities of improvement, best variant first: {', '.join(map(experiment.title, order))}.",
        data=pd.DataFrame(rows),
        height=0.75 + (0.34 if size <= WIDEST_WITH_INTERVALS else 0.24) * size,
        draw=draw,
    )


def profiles(contents: Contents) -> Figure | None:
    """Share of runs above each score, over all datasets."""
    suite = suite_scores(contents)
    if not suite:
        return None
    scores = np.concatenate([runs for by_dataset in suite.values() for runs in by_dataset])
    room = 0.02 * float(np.ptp(scores))
    found = performance_profiles(suite, np.linspace(scores.min() - room, scores.max(), STEPS))
    experiment, look = contents.experiment, looks(contents.experiment)

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
        _legend(canvas, experiment.title, [p.variant for p in found], look)

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
            f"averaged over {count(len(contents.datasets), 'dataset')}. {band} A curve above another one everywhere is "
            "that of the variant whose runs are the better ones at every threshold. It describes and decides nothing."
        ),
        sizes=f"n\u00a0=\u00a0{count(fewest, 'seed')} of each.",
        alt=f"Performance profiles of {len(found)} methods over {len(contents.datasets)} datasets.",
        data=pd.DataFrame(rows),
        height=2.2 + 0.15 * math.ceil(len(found) / 2),
        draw=draw,
    )


# --- modalities -------------------------------------------------------------------------------------------------------


def modalities(contents: Contents, dataset: DatasetContents) -> Figure | None:
    """Accuracy of each modality by itself against the reference variant's."""
    data = _estimates(contents, dataset, [("accuracy", m) for m in dataset.modalities])
    if data.empty:
        return None
    experiment, look = contents.experiment, looks(contents.experiment)
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
            _names(axes, [experiment.title(v) for v in variants])
            axes.set_xlabel(f"{_dollarless(modality)} (%)")
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
        sizes=_n(data),
        alt=f"Accuracy of {joined(shown_modalities)} on {dataset.title}, {len(variants)} methods; numbers in Table 1.",
        data=data,
        height=(0.5 + 0.19 * len(variants)) * rows,
        draw=draw,
        wide_height=0.5 + 0.19 * len(variants) if len(shown_modalities) <= 4 else None,
    )


def divergence(contents: Contents, dataset: DatasetContents) -> Figure | None:
    """Jensen-Shannon divergence between the modalities, raw and calibrated."""
    data = _estimates(contents, dataset, [("js", "all"), ("js_calibrated", "all")])
    if data.empty:
        return None
    experiment, look = contents.experiment, looks(contents.experiment)
    variants = [v for v in dataset.variants if v in set(data["variant"])]

    def draw(canvas: Canvas, wide: bool) -> None:
        axes = canvas.subplots()
        for metric, shift, hollow in (("js", -0.16, False), ("js_calibrated", 0.16, True)):
            part = data[data["metric"] == metric].set_index("variant").reindex(variants).reset_index()
            _dots(axes, part, look, 1.0, shift=shift, hollow=hollow)
        _names(axes, [experiment.title(v) for v in variants])
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
        sizes=_n(data),
        alt=f"Jensen-Shannon divergence on {dataset.title} for {len(variants)} methods; numbers in Table 2.",
        data=data,
        height=0.75 + 0.25 * len(variants),
        draw=draw,
    )


def reliability(contents: Contents, dataset: DatasetContents) -> Figure | None:
    """Accuracy against confidence in bins of equally many predictions, pooled over seeds."""
    if dataset.items is None:
        return None
    scores = ItemScores.read(dataset.items)
    rule = contents.experiment.settings.selection
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
    experiment, look = contents.experiment, looks(contents.experiment)
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
        _legend(canvas, experiment.title, variants, look)

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


def training(contents: Contents, dataset: DatasetContents) -> Figure | None:
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
    experiment, look = contents.experiment, looks(contents.experiment)
    variants = [v for v in dataset.variants if v in set(data["variant"])]
    n_seeds = int(data["n_seeds"].max())

    def draw(canvas: Canvas, wide: bool) -> None:
        panels = canvas.subplots(1, 2) if wide else canvas.subplots(2, 1, sharex=True)
        for axes, (quantity, label) in zip(panels, wanted.items(), strict=True):
            factor = 100.0 if quantity.startswith("accuracy") else 1.0
            for variant in variants:
                part = data[(data["variant"] == variant) & (data["quantity"] == quantity)]
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
                    markevery=(variants.index(variant), max(len(part) // 6, 1)),
                )
            axes.set_ylabel(label)
            axes.margins(x=0.01)
        for axes in panels if wide else panels[1:]:
            axes.set_xlabel("epoch")
        _legend(canvas, experiment.title, variants, look)

    band = (
        f"Band: 95 % t interval over {count(n_seeds, 'seed')}, for new seeds on these items."
        if n_seeds > 1
        else "No band: one seed."
    )
    return Figure(
        name=f"figure4_{dataset.id}",
        title=dataset.title,
        caption=(
            f"Training loss and test accuracy by epoch, mean over seeds. {band} The level of one loss says nothing "
            "about another: the TCMax loss of Eq. 14 is 0 for a constant head and falls to −(M − 1) H − log C for "
            "additive ones, with M modalities, C classes and H the entropy of the labels in the batch; cross-entropy "
            "starts near log C and falls to 0; the loss of the unimodal ensemble is a sum over modalities. Only "
            "shapes can be compared."
        ),
        sizes="",
        alt=f"Training loss and test accuracy by epoch on {dataset.title} for {len(variants)} methods.",
        data=data,
        height=3.3 + 0.15 * math.ceil(len(variants) / 2),
        draw=draw,
        wide_height=2.1 + 0.15 * math.ceil(len(variants) / 4),
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


def selection(contents: Contents, dataset: DatasetContents) -> Figure | None:
    """Joint accuracy under the three rules of choosing an epoch."""
    means = {rule: dataset.values("accuracy", "own", rule).groupby("variant")["value"].mean() for rule in SELECTIONS}
    variants = [v for v in dataset.variants if all(v in means[rule].index for rule in SELECTIONS)]
    if not variants:
        return None
    experiment, look = contents.experiment, looks(contents.experiment)
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
        _names(axes, [experiment.title(v) for v in variants])
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


def negatives(contents: Contents, dataset: DatasetContents) -> Figure | None:
    """Figure 3 of the TCMax paper: joint accuracy against the number of sampled negatives."""
    settings = contents.experiment.settings.variants
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
    batch = contents.experiment.training_on(dataset.id).batch_size
    everything = float(batch ** max(len(dataset.modalities), 1))
    counts.update(dict.fromkeys(complete, everything))
    data = _estimates(contents, dataset, [("accuracy", "own")])
    data = data[data["variant"].isin(counts)].copy()
    if data.empty:
        return None
    data.insert(1, "negatives", [counts[v] for v in data["variant"]])
    data["complete"] = data["variant"].isin(complete)
    data = data.sort_values(["negatives", "complete"], kind="stable").reset_index(drop=True)
    look = looks(contents.experiment)

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
        sizes=_n(data),
        alt="Joint accuracy by number of sampled tuples: "
        + ", ".join(f"{int(r['negatives'])}: {100 * r['estimate']:.1f} %" for _, r in data.iterrows())
        + ".",
        data=data,
        height=2.0,
        draw=draw,
    )


# --- shared -----------------------------------------------------------------------------------------------------------


def _estimates(contents: Contents, dataset: DatasetContents, wanted: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """Estimates with intervals for new seeds and items (low, high) and for new seeds (seeds_low, seeds_high)."""

    def rows() -> Iterator[dict[str, object]]:
        for metric, readout in wanted:
            for variant in dataset.variants:
                both = contents.estimate(dataset.id, metric, readout, variant)
                seeds = contents.estimate(dataset.id, metric, readout, variant, "seeds")
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


def _by_accuracy(contents: Contents, dataset: DatasetContents) -> list[str]:
    data = _estimates(contents, dataset, [("accuracy", "own")])
    return [] if data.empty else list(data.sort_values("estimate", ascending=False, kind="stable")["variant"])


def _dots(
    axes: Axes, data: pd.DataFrame, look: dict[str, Look], factor: float, shift: float = 0.0, hollow: bool = False
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


def _names(axes: Axes, names: Sequence[str], top: float = -0.6) -> None:
    """Names down the left side, first on top."""
    axes.set_yticks(range(len(names)), [_dollarless(name) for name in names])
    axes.set_ylim(len(names) - 0.4, top)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def _legend(canvas: Canvas, title: Callable[[str], str], variants: Sequence[str], look: dict[str, Look]) -> None:
    handles = [
        Line2D(
            [],
            [],
            color=look[v].colour,
            ls=look[v].line,
            marker=look[v].marker,
            markersize=3,
            label=_dollarless(title(v)),
        )
        for v in variants
    ]
    columns = 4 if canvas.get_figwidth() > COLUMN else 2
    canvas.legend(handles=handles, loc="outside lower center", ncols=columns)


def _dollarless(name: str) -> str:
    """A name that matplotlib does not read as mathematics."""
    return name.replace("$", r"\$")


def _n(data: pd.DataFrame) -> str:
    seeds = sorted({int(n) for n in data["n_seeds"]})
    text = count(seeds[0], "seed") if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]} seeds"
    return f"n\u00a0=\u00a0{text}, {count(data['n_items'].iloc[0], 'test item')}."
