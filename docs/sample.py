"""Makes docs/sample-report and README's table from reports/quick: part of `make reference`.

A test holds that they are the ones of config/reference/quick.json, so that they are what `make reproduce` writes.
"""

import csv
import shutil
import sys
from pathlib import Path

from tcmax.records.files import write_text
from tcmax.report.numbers import show

ROOT = Path(__file__).parent.parent
REPORT, SAMPLE, README = ROOT / "reports" / "quick", ROOT / "docs" / "sample-report", ROOT / "README.md"
FIGURES = ("accuracy", "divergence", "modalities")
DATASET = "digits-halves"
START, END = "<!-- table:start -->\n", "\n\nMean over"
# Column of README's table -> the table of the report, the metric and the read-out it shows.
COLUMNS = {
    "left (%)": ("table1", "accuracy", "left"),
    "right (%)": ("table1", "accuracy", "right"),
    "own joint (%)": ("table1", "accuracy", "own"),
    "JS divergence (nats)": ("table2", "js", "all"),
}


def table(tables: Path) -> str:
    """README's table, from the CSV files of a report."""
    cells: dict[str, dict[str, str]] = {}
    for column, (name, metric, readout) in COLUMNS.items():
        with (tables / f"{name}.csv").open(encoding="utf-8", newline="") as stream:
            rows = [row for row in csv.DictReader(stream) if row["dataset"] == DATASET]
        for row in rows:
            if (row["metric"], row["readout"]) == (metric, readout):
                shown = show(float(row["estimate"]), float(row["low"]), float(row["high"]), row["unit"])
                cells.setdefault(row["title"], {})[column] = f"{shown.value} {shown.spread}"
    lines = [["method", *COLUMNS], ["---"] * (1 + len(COLUMNS))]
    lines += [[title, *(of_row[column] for column in COLUMNS)] for title, of_row in cells.items()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def with_table(readme: str, tables: Path) -> str:
    """README's text with the table of a report in the place of its own."""
    before, rest = readme.split(START, 1)
    return before + START + table(tables) + END + rest.split(END, 1)[1]


def main() -> None:
    files = [REPORT / "report.html", REPORT / "paper.pdf", *(REPORT / "tables").glob("*.csv")]
    files += (REPORT / "tables").glob("*.tex")
    files += [REPORT / "figures" / f"{name}_{DATASET}.png" for name in FIGURES]
    missing = [str(path) for path in files if not path.is_file()]
    if missing:
        sys.exit(f"docs/sample.py: {', '.join(missing)} does not exist; paper.pdf needs pdflatex (`tcmax doctor`).")
    shutil.rmtree(SAMPLE / "tables")
    for path in files:
        copy = SAMPLE / path.relative_to(REPORT)
        copy.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, copy)
    write_text(README, with_table(README.read_text(encoding="utf-8"), SAMPLE / "tables"))


if __name__ == "__main__":
    main()
