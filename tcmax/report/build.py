"""The report stage: everything under reports/<experiment>/, from the records alone.

    report.html                  the page, one self-contained file
    tables/*.csv, *.tex          every table; tables/numbers.tex has every number as a macro
    figures/*.pdf, .png, .svg    every figure at column width, some as *_wide.pdf at text width, their numbers as CSV
    paper.tex, paper.pdf         the article; the PDF where LaTeX is installed

Equal records and an equal date give equal bytes.
"""

import logging
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from tcmax.experiment.grid import Experiment
from tcmax.records.files import write_text
from tcmax.report.cards import cards
from tcmax.report.choices import choices
from tcmax.report.costs import costs
from tcmax.report.discrepancies import discrepancies, forest
from tcmax.report.figure import Figure
from tcmax.report.figures import figures
from tcmax.report.html import page
from tcmax.report.latex import macros
from tcmax.report.paper import write_paper
from tcmax.report.readouts import readouts
from tcmax.report.report_records import ReportRecords
from tcmax.report.suite import standings
from tcmax.report.tables import Table, comparisons, numbers, selection, table1, table2, table3, verdicts
from tcmax.report.tuning import budgets, curves, new_searches, searches

log = logging.getLogger(__name__)

# Every table of a report in reading order: a function of its records, or None where there is nothing to show
# (docs/add-a-table.md).
TABLES: tuple[Callable[[ReportRecords], Table | None], ...] = (
    verdicts,
    table1,
    comparisons,
    table2,
    table3,
    selection,
    standings,
    readouts,
    costs,
    choices,
    discrepancies,
    searches,
    curves,
    new_searches,
    budgets,
)


def tables(records: ReportRecords) -> list[Table]:
    """Every table that the records allow; one without rows says what is missing."""
    return [table for make in TABLES if (table := make(records)) is not None]


def build_report(experiment: Experiment, results: Path, out: Path, date: str | None, processes: int = 1) -> None:
    """Write the report of an experiment to `out`. date: YYYY-MM-DD as printed, or None for none.

    processes: how many draw figures, most of a report's time; their number changes no byte.

    Missing records leave empty states that name the command that makes them; without LaTeX there is no paper.pdf, and
    the page says which package to install. Raises TcmaxError for a damaged record or a folder that cannot be written.
    """
    records = ReportRecords(experiment, results)
    drawn = figures(records)
    if experiment.flips:
        drawn += [found for dataset in records.datasets if (found := forest(records, dataset)) is not None]
    with _saved(drawn, out / "figures", processes) as saved:
        made = tables(records)
        keys = macros(numbers(made))
        claims = cards(records)
        for table in made:
            write_text(out / "tables" / f"{table.name}.csv", table.csv)
            write_text(out / "tables" / f"{table.name}.tex", table.tex)
        write_text(out / "tables" / "numbers.tex", keys)
        svgs = {figure.name: svg for figure, svg in zip(drawn, saved, strict=True)}
    epoch = int(datetime.fromisoformat(date).replace(tzinfo=UTC).timestamp()) if date else 0
    article = write_paper(records, claims, made, drawn, out, date, epoch)
    if article:
        log.warning(article)
    write_text(out / "report.html", page(records, claims, made, drawn, svgs, article, date))


@contextmanager
def _saved(drawn: Sequence[Figure], folder: Path, processes: int) -> Iterator[Iterator[str]]:
    """The SVG of each figure, all of whose files are then written; other processes draw while this one goes on."""
    folder.mkdir(parents=True, exist_ok=True)
    if processes == 1:
        yield (figure.save(folder) for figure in drawn)
    else:
        # Figures hold closures, which a process can inherit but not receive: hence forks, and a position as message.
        context = multiprocessing.get_context("fork")
        with ProcessPoolExecutor(processes, context, initializer=_inherit, initargs=(drawn, folder)) as pool:
            yield pool.map(_save_one, range(len(drawn)))


_inherited: tuple[Sequence[Figure], Path]


def _inherit(drawn: Sequence[Figure], folder: Path) -> None:
    global _inherited
    _inherited = drawn, folder


def _save_one(position: int) -> str:
    drawn, folder = _inherited
    return drawn[position].save(folder)
