"""The article: tables and figures with captions that state n, the source of uncertainty and the correction."""

from collections.abc import Sequence
from pathlib import Path

from tcmax import __version__
from tcmax.files import write_text
from tcmax.report.cards import Card, headline, tally
from tcmax.report.contents import Contents
from tcmax.report.figure import Figure, shared_caption
from tcmax.report.latex import Latex, compile_pdf, environment
from tcmax.report.tables import Table

# The figures that an article shows, by kind; the others are on the page.
PER_FLOAT = 4
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
)


def write_paper(
    contents: Contents,
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
            title=contents.experiment.settings.title,
            name=contents.experiment.name,
            date=date or "",
            version=__version__,
            headline=headline(claims),
            tally=tally(claims),
            judged=bool(claims),
            tables=[table for table in tables if not table.empty],
            figures=[found[k : k + PER_FLOAT] for found in by_kind.values() for k in range(0, len(found), PER_FLOAT)],
            shared_caption=shared_caption,
            inputs=lambda table: Latex(f"\\input{{tables/{table.name}.tex}}"),
            graphic=lambda figure: Latex(f"\\includegraphics{{figures/{figure.name}.pdf}}"),
        )
    )
    write_text(out / "paper.tex", text)
    return compile_pdf(out / "paper.tex", epoch) or ""
