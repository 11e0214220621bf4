"""One figure of a report: what it shows, its numbers as a table, its files; and what figures share in drawing.

Drawn for a column of 3.25 in at 8 pt, without titles: PDF and PNG in the serif face of an article, SVG in that of the
page. Figures that gain from it are drawn for the text width too (`<name>_wide.pdf`). Equal records give equal bytes:
no dates, no versions, a fixed salt for identifiers.
"""

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as BareCanvas
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from tcmax.records.files import atomic_path, write_text
from tcmax.report.latex import escape
from tcmax.report.numbers import count, fixed
from tcmax.report.palette import INK, Style

COLUMN, TEXT_WIDTH = 3.25, 6.75  # inches
STRONGEST = 10.0  # percentage points, from where on a matrix of differences may have its strongest colours
MOST_NUMBERS = 12  # columns of a matrix whose cells have room for a number
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


class Canvas(BareCanvas):
    """What a figure is drawn on. To save it matplotlib draws it twice, first for its layout alone: no artist is then
    visited otherwise."""

    def draw(self, renderer: RendererBase) -> None:
        engine = self.get_layout_engine()
        if self.canvas.is_saving() and isinstance(engine, ConstrainedLayoutEngine):
            engine.execute(self)
        else:
            super().draw(renderer)


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


def name_rows(axes: Axes, names: Sequence[str], top: float = -0.6) -> None:
    """Names down the left side, first on top."""
    axes.set_yticks(range(len(names)), [dollarless(name) for name in names])
    axes.set_ylim(len(names) - 0.4, top)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def draw_matrix(axes: Axes, frame: pd.DataFrame, labels: Any, centre: float, reach: float, size: float) -> None:
    """A matrix of numbers as coloured cells with text: white at `centre`, strongest from `reach` away on.

    With more than MOST_NUMBERS columns a cell has room for one sign, and a bar says what the colours mean.
    """
    look: dict[str, Any] = {"cmap": HEAT, "center": centre, "vmin": centre - reach, "vmax": centre + reach}
    look |= {"annot": labels, "fmt": "", "annot_kws": {"fontsize": size}, "xticklabels": True, "yticklabels": True}
    crowded = frame.shape[1] > MOST_NUMBERS
    look |= {"cbar": crowded, "linewidths": 0.6, "linecolor": "none"}
    if crowded:
        look["cbar_kws"] = {"location": "top", "shrink": 0.6, "aspect": 30, "pad": 0.01}
    sns.heatmap(frame.rename(index=dollarless, columns=dollarless), ax=axes, **look)
    axes.set(xlabel="", ylabel="")
    axes.tick_params(length=0)
    if crowded:
        letters = min(5.5, 150 / frame.shape[1])  # points: a name is as wide as a cell
        axes.tick_params(axis="x", rotation=90, labelsize=letters)
        axes.tick_params(axis="y", rotation=0, labelsize=letters)
        return
    for tick in axes.get_xticklabels():
        tick.set(rotation=35, ha="right", rotation_mode="anchor")
    axes.tick_params(axis="y", rotation=0)


def sizes_of(data: pd.DataFrame) -> str:
    """What stands after a caption: seeds and test items, as ranges where rows differ."""
    parts = []
    for column, what in (("n_seeds", "seed"), ("n_items", "test item")):
        least, most = int(data[column].min()), int(data[column].max())
        parts.append(count(most, what) if least == most else f"{least:,} to {count(most, what)}")
    return f"n\u00a0=\u00a0{', '.join(parts)}."


def add_legend(canvas: Canvas, title: Callable[[str], str], variants: Sequence[str], look: dict[str, Style]) -> None:
    handles = [
        Line2D(
            [],
            [],
            color=look[v].colour,
            ls=look[v].line,
            marker=look[v].marker,
            markersize=3,
            label=dollarless(title(v)),
        )
        for v in variants
    ]
    columns = 4 if canvas.get_figwidth() > COLUMN else 2
    canvas.legend(handles=handles, loc="outside lower center", ncols=columns)


def matrix_height(size: int, row: float) -> float:
    """Inches for a square matrix of this many variants: `row` for each, or square cells where there are many."""
    return 1.6 + 0.085 * size if size > MOST_NUMBERS else 0.75 + row * size


def signed_cell(points: float, decided: bool) -> str:
    """A difference in percentage points as a cell of a matrix, with a star where it is decided."""
    if not math.isfinite(points):
        return "–"
    return fixed(points, 1 if abs(points) >= 9.95 else 2, signed=True) + ("*" if decided else "")


def dollarless(name: str) -> str:
    """A name that matplotlib does not read as mathematics."""
    return name.replace("$", r"\$")
