"""The article: tables and figures with captions that state n, the source of uncertainty and the correction."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tcmax import __version__
from tcmax.experiment.tuning import in_words
from tcmax.records.files import write_text
from tcmax.report.cards import Card, headline, tally
from tcmax.report.figure import COLUMN, TEXT_WIDTH, Figure, shared_caption
from tcmax.report.latex import Latex, compile_pdf, environment
from tcmax.report.report_records import ReportRecords
from tcmax.report.tables import Table

# The figures that an article shows, by kind; the others are on the page.
PER_FLOAT = 4
TALLEST = 7.75  # inches of graphics on a page of 9.25, which also holds titles and a caption
TITLE = 0.25  # inches
SHOWN = (
    "accuracy",
    "modalities",
    "divergence",
    "figure4",
    "figure3",
    "gains",
    "ranks",
    "improvement",
    "profiles",
    "selection",
    "search",
    "stability",
)


@dataclass(frozen=True)
class Panel:
    """A figure where it stands in the article: in a column, or as wide as the text."""

    figure: Figure
    wide: bool

    @property
    def width(self) -> float:
        """Inches."""
        return TEXT_WIDTH if self.wide else COLUMN

    @property
    def drawn(self) -> float:
        """Height of the file, in inches."""
        return self.figure.wide_height if self.wide and self.figure.wide_height is not None else self.figure.height

    @property
    def height(self) -> float:
        """Inches; a graphic that no page holds is scaled down."""
        return min(self.drawn, TALLEST)

    @property
    def graphic(self) -> Latex:
        """The command that includes the file."""
        options = f"[height={TALLEST}in]" if self.drawn > TALLEST else ""
        return Latex(f"\\includegraphics{options}{{figures/{self.figure.name}{'_wide' if self.wide else ''}.pdf}}")


def arranged(figures: Sequence[Figure]) -> list[list[list[Panel]]]:
    """Figures of a kind as floats of rows: two columns side by side, as many rows as a page holds.

    A figure that is too tall for a page fills a row in its wide version, where there is one.
    """
    rows: list[list[Panel]] = []
    for figure in figures:
        panel = Panel(figure, figure.height > TALLEST and figure.wide_height is not None)
        if rows and len(rows[-1]) == 1 and not panel.wide and not rows[-1][0].wide:
            rows[-1].append(panel)
        else:
            rows.append([panel])
    floats: list[list[list[Panel]]] = []
    left, places = 0.0, 0
    for row in rows:
        tall = max(panel.height for panel in row) + TITLE
        if not floats or tall > left or len(row) > places:
            floats.append([])
            left, places = TALLEST + TITLE, PER_FLOAT
        floats[-1].append(row)
        left, places = left - tall, places - len(row)
    return floats


def write_paper(
    records: ReportRecords,
    claims: Sequence[Card],
    tables: Sequence[Table],
    figures: Sequence[Figure],
    out: Path,
    date: str | None,
    epoch: int,
) -> str:
    """Write paper.tex, and paper.pdf where LaTeX is installed; returns "" or the sentence that says why not."""
    by_kind = {kind: [f for f in figures if f.kind == kind] for kind in SHOWN}
    text = (
        environment()
        .get_template("paper.tex.j2")
        .render(
            title=records.experiment.settings.title,
            name=records.experiment.name,
            date=date or "",
            version=__version__,
            headline=headline(claims, in_words(records.experiment)),
            tally=tally(claims),
            judged=bool(claims),
            tables=[table for table in tables if not table.empty],
            floats=[rows for found in by_kind.values() for rows in arranged(found)],
            shared_caption=shared_caption,
            inputs=lambda table: Latex(f"\\input{{tables/{table.name}.tex}}"),
        )
    )
    write_text(out / "paper.tex", text)
    return compile_pdf(out / "paper.tex", epoch) or ""
