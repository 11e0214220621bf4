"""Simulate every cell; write simulations/coverage.csv and its reading, README.md, beside it.

`make simulations` takes 20 to 60 minutes on one core. Each cell has its own random stream, so the table does not
depend on the number of workers.
"""

from __future__ import annotations

import argparse
import csv
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from tcmax.stats.error_rates import CELLS, Row, calibrate, calibrate_families, calibrate_tests


def job(index: int, repetitions: int, resampled: int, seed: int) -> list[Row]:
    """SimulatedDesign `index`, then the tests, then the families."""
    rng = np.random.default_rng([seed, index])
    if index < len(CELLS):
        return calibrate(CELLS[index], repetitions, resampled, rng)
    return (calibrate_tests if index == len(CELLS) else calibrate_families)(resampled, rng)


def write(rows: Sequence[Any], path: Path) -> None:
    """Dataclasses of one kind, written under a temporary name and renamed: a killed run leaves the old table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".partial")
    with temporary.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, [f.name for f in fields(rows[0])], lineterminator="\n")
        writer.writeheader()
        for row in rows:
            values = asdict(row)
            writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in values.items()})
    os.replace(temporary, path)


def page(rows: list[dict[str, str]]) -> str:
    """The table for people: one line per cell for the default intervals, then everything that fails, then the tests."""
    runs = sorted({int(row["repetitions"]) for row in rows}, reverse=True)
    lines = [
        "# Calibration",
        "",
        "Written by `simulations/run.py` from `coverage.csv`; the model is in `tcmax/stats/simulate.py`, how to read",
        f"it in `docs/statistics.md`. Repetitions per row: {' or '.join(map(str, runs))}. Nominal coverage 95 %.",
        "",
        "## Intervals for the difference of two methods, coverage in %",
        "",
        "Each against the truth of its own population; *as both* is the same interval read as one for new seeds and",
        "new items, which it is not. Tails: share of *both* intervals wholly above / below the truth.",
        "",
        "| cell | seeds | items | groups | both | tails | mean half-width, points | seeds (as both) | items (as both)"
        " | two-level bootstrap | supported at the true gain |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    cells: dict[tuple[str, ...], dict[str, dict[str, str]]] = {}
    for row in rows:
        cell = tuple(row[key] for key in ("regime", "n_seeds", "n_items", "n_groups"))
        cells.setdefault(cell, {})[row["procedure"]] = row

    def percent(row: dict[str, str] | None, key: str = "value") -> str:
        return f"{100 * float(row[key]):.1f}" if row else ""

    for cell, found in cells.items():
        if "default both" not in found:
            continue
        both = found["default both"]
        rate = next(row for row in found.values() if row["question"] == "rate")
        groups = "" if cell[2] == cell[3] else cell[3]
        own = [
            f"{percent(found[f'default {p}'])} ({percent(found[f'default {p} read as both'])})"
            for p in ("seeds", "items")
        ]
        values = [
            *cell[:3],
            groups,
            percent(both),
            f"{percent(both, 'above')} / {percent(both, 'below')}",
            f"{100 * float(both['half_width']):.2f}",
            *own,
            percent(found.get("two-level bootstrap")),
            percent(rate),
        ]
        lines.append(f"| {' | '.join(values)} |")
    lines += ["", "## Tests, families and single runs, in %", ""]
    lines += ["| procedure | population | seeds | nominal | found | label |", "| --- | --- | --- | --- | --- | --- |"]
    for row in rows:
        if row["regime"] in ("true null", "one run"):
            start = f"| {row['procedure']} | {row['population']} | {row['n_seeds']} "
            lines.append(f"{start}| {percent(row, 'nominal')} | {percent(row)} | {row['label']} |")
    lines += [
        "",
        "## Everything labelled as failing",
        "",
        "Worse than nominal by three standard errors and one point.",
        "",
    ]
    lines += ["| procedure | cell | seeds | items | found, % |", "| --- | --- | --- | --- | --- |"]
    for row in rows:
        if row["label"] == "fails":
            start = f"| {row['procedure']} | {row['regime']} | {row['n_seeds']} | {row['n_items']} "
            lines.append(f"{start}| {percent(row)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=4000, help="of the default interval (4000)")
    parser.add_argument("--resampled", type=int, default=2000, help="of bootstraps, tests and families (2000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "coverage.csv")
    given = parser.parse_args()
    indices = range(len(CELLS) + 2)
    with ProcessPoolExecutor(given.workers) as pool:
        futures = [pool.submit(job, i, given.repetitions, given.resampled, given.seed) for i in indices]
        rows = []
        for index, future in zip(indices, futures, strict=True):
            rows += future.result()
            print(f"{index + 1} of {len(indices)} done", flush=True)
    write(rows, given.out)
    with given.out.open() as stream:
        given.out.with_name("README.md").write_text(page(list(csv.DictReader(stream))))
    print(f"{len(rows)} rows in {given.out}; {sum(row.label == 'fails' for row in rows)} labelled as failing")


if __name__ == "__main__":
    main()
