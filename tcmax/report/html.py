"""The page: one self-contained file. No network, no external reference, everything from the records escaped.

Figures are inlined as SVG whose colours are the page's own variables, so that they follow light and dark; tables carry
their CSV and LaTeX as downloads. The only script sorts tables and shows the details of a pair.
"""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup
from numpy.typing import NDArray

from tcmax import __version__
from tcmax.experiment.tuning import in_words
from tcmax.report.cards import Card, headline, tally
from tcmax.report.figure import Figure, shared_caption
from tcmax.report.numbers import count, show, show_p
from tcmax.report.palette import BAND, INK, MUTED, PAPER, Style, styles
from tcmax.report.report_records import DatasetRecords, Missing, ReportRecords
from tcmax.report.tables import POPULATIONS, Table
from tcmax.report.trust import trust
from tcmax.stats.effects import improvement

SHAPES = {"s": "square", "D": "diamond", "^": "triangle"}  # markers that the keys of tables have; others are discs
_VARIABLES = {INK: "currentColor", MUTED: "var(--muted)", PAPER: "var(--paper)", BAND: "var(--band)"}


@dataclass(frozen=True)
class Pair:
    """One cell of the pairwise matrix; weight: |d| as a share of the largest one."""

    text: str
    details: str
    weight: float
    sign: int
    decided: bool


@dataclass(frozen=True)
class Matrix:
    """Paired differences of joint accuracy on one dataset, row − column, best variant first."""

    dataset: str
    titles: tuple[str, ...]
    rows: tuple[tuple[Pair | None, ...], ...]
    family: str


@dataclass(frozen=True)
class Drawn:
    """A figure with its SVG as the page shows it."""

    figure: Figure
    svg: Markup


def page(
    records: ReportRecords,
    claims: Sequence[Card],
    tables: Sequence[Table],
    figures: Sequence[Figure],
    svgs: Mapping[str, str],
    article: str,
    date: str | None,
) -> str:
    """The HTML of report.html. svgs: figure name -> SVG text. article: "" when paper.pdf is there, else why not."""
    experiment = records.experiment
    look = styles(experiment)
    return render(
        "report.html.j2",
        look,
        figures,
        svgs,
        title=experiment.settings.title,
        name=experiment.name,
        date=date,
        sizes=_sizes(records),
        headline=headline(claims, in_words(experiment)),
        tally=tally(claims),
        cards=claims,
        tables={table.name: table for table in tables},
        matrices=[matrix for d in records.datasets if (matrix := _matrix(records, d)) is not None],
        missing=records.missing,
        has_claims=experiment.settings.claims is not None,
        trust=trust(records),
        article=article,
        looks={v: {"index": k, "shape": SHAPES.get(s.marker, "")} for k, (v, s) in enumerate(look.items())},
        lacking=lambda *endings: lacking(records.missing, endings),
        population=POPULATIONS["both"],
    )


def render(
    template: str, look: Mapping[str, Style], figures: Sequence[Figure], svgs: Mapping[str, str], **content: object
) -> str:
    """A page from its template and what every page needs: style, script and its hash, figures inlined in `look`."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tcmax.report", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    script = environment.get_template("report.js").render()
    return environment.get_template(template).render(
        version=__version__,
        figures=[Drawn(figure, inline(svgs[figure.name], figure, look)) for figure in figures],
        colours=[(k, found.colour, on_dark(found.colour)) for k, found in enumerate(look.values())],
        style=Markup(environment.get_template("report.css").render()),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        download=download,
        shared_caption=shared_caption,
        **content,
    )


def download(text: str, kind: str) -> str:
    """A data URI; kind: csv or tex."""
    media = {"csv": "text/csv", "tex": "application/x-tex"}[kind]
    return f"data:{media};charset=utf-8;base64,{base64.b64encode(text.encode()).decode()}"


def lacking(missing: Sequence[Missing], endings: Sequence[str]) -> list[Missing]:
    """Missing records whose file has one of these names."""
    return [record for record in missing if record.path.name in endings]


def inline(svg: str, figure: Figure, look: Mapping[str, Style]) -> Markup:
    """An SVG of matplotlib as part of the page: own identifiers, the page's fonts and colours, a name to be read out.

    Coordinates are cut to two decimals, a hundredth of a point.
    """
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'(<svg[^>]*?) width="[^"]*" height="[^"]*"', r"\1", body, count=1)
    prefix = f"{figure.name}-"
    body = re.sub(r'\bid="', f'id="{prefix}', body)
    body = re.sub(r"url\(#", f"url(#{prefix}", body)
    body = re.sub(r'href="#', f'href="#{prefix}', body)
    body = re.sub(r" ?font-family: [^;\"]*;?", "", body)
    body = re.sub(r"(\d+\.\d{2})\d+", r"\1", body)
    for colour, variable in _VARIABLES.items():
        body = body.replace(colour, variable)
    for k, style in enumerate(look.values()):
        body = body.replace(style.colour, f"var(--v{k})")
    body = re.sub(r"<defs>\s*<style[^>]*>.*?</style>\s*</defs>", "", body, count=1, flags=re.DOTALL)
    alt = str(jinja2.filters.do_forceescape(figure.alt))
    body = body.replace("<svg ", f'<svg role="img" aria-label="{alt}" ', 1)
    return Markup("\n".join(line.strip() for line in body.splitlines()))


def on_dark(colour: str) -> str:
    """The colour on a dark ground: a third of the way to white."""
    channels = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(c + (255 - c) * 0.33):02x}" for c in channels)


def _sizes(records: ReportRecords) -> str:
    experiment = records.experiment
    return " × ".join(
        (
            count(len(experiment.settings.variants), "method"),
            count(len(records.datasets), "dataset"),
            records.n_seeds,
        )
    )


def _matrix(records: ReportRecords, dataset: DatasetRecords) -> Matrix | None:
    pairs = records.comparisons(dataset.id, "accuracy", "own", "pair")
    pairs = pairs.dropna(subset=["estimate"])
    if pairs.empty:
        return None
    estimates = {v: records.estimate(dataset.id, "accuracy", "own", v) for v in dataset.variants}
    known = {v: float(row["estimate"]) for v, row in estimates.items() if row is not None}
    order = sorted(known, key=lambda v: -known[v])
    values = dataset.values("accuracy", "own", records.experiment.settings.selection)
    runs = {str(v): of.to_numpy(dtype=float) for v, of in values.groupby("variant", sort=False)["value"]}
    largest = float(pairs["estimate"].abs().max()) or 1.0
    cells: dict[tuple[str, str], Pair] = {}
    for _, row in pairs.iterrows():
        for a, b, sign in ((row["a"], row["b"], 1.0), (row["b"], row["a"], -1.0)):
            cells[a, b] = _pair(records, row, a, b, sign, largest, runs)
    return Matrix(
        dataset=dataset.title,
        titles=tuple(records.experiment.title(v) for v in order),
        rows=tuple(tuple(cells.get((a, b)) for b in order) for a in order),
        family=str(pairs["family"].iloc[0] or ""),
    )


def _pair(
    records: ReportRecords,
    row: pd.Series,
    a: str,
    b: str,
    sign: float,
    largest: float,
    runs: Mapping[str, NDArray[np.float64]],
) -> Pair:
    has_interval = pd.notna(row["low"])
    bounds = sorted((sign * row["low"], sign * row["high"])) if has_interval else [None, None]
    shown = show(sign * row["estimate"], bounds[0], bounds[1], row["unit"], difference=True)
    parts = [
        f"{records.experiment.title(a)} − {records.experiment.title(b)}: {shown.value} pp {shown.interval}".strip()
    ]
    if pd.notna(row["p_adjusted"]):
        parts.append(f"Holm p {show_p(row['p_adjusted'])}")
    if pd.notna(row["q_value"]):
        parts.append(f"share of false findings {show_p(row['q_value'])} (Benjamini-Hochberg, exploratory)")
    if pd.notna(row["sign_flip_p"]):
        parts.append(
            f"sign-flip p {show_p(row['sign_flip_p'])}, at least {show_p(row['sign_flip_floor'])} with these seeds"
        )
    if a in runs and b in runs:
        won = improvement(runs[a], runs[b])
        text = f"probability of improvement {100 * won.estimate:.0f} %"
        if won.low is not None and won.high is not None:
            text += f" [{100 * won.low:.0f}, {100 * won.high:.0f}] over runs on these items"
        parts.append(text)
    decided = pd.notna(row["p_adjusted"]) and row["p_adjusted"] <= row["alpha"]
    value = sign * float(row["estimate"])
    return Pair(shown.value, "; ".join(parts), round(abs(value) / largest, 3), 1 if value > 0 else -1, bool(decided))
