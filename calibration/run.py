"""Simulate every cell and write calibration/coverage.csv: `make calibration`, 20 to 60 minutes on one core.

Each cell has its own random stream, so the table does not depend on the number of workers.
"""

from __future__ import annotations

import argparse
import csv
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np

from tcmax.stats.calibration import CELLS, Row, calibrate, calibrate_families, calibrate_tests


def job(index: int, repetitions: int, resampled: int, seed: int) -> list[Row]:
    """Cell `index`, then the tests, then the families."""
    rng = np.random.default_rng([seed, index])
    if index < len(CELLS):
        return calibrate(CELLS[index], repetitions, resampled, rng)
    return (calibrate_tests if index == len(CELLS) else calibrate_families)(resampled, rng)


def write(rows: list[Row], path: Path) -> None:
    """Written under a temporary name and renamed, so that a killed run leaves the old table."""
    temporary = path.with_suffix(".partial")
    with temporary.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, [f.name for f in fields(Row)], lineterminator="\n")
        writer.writeheader()
        for row in rows:
            values = asdict(row)
            writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in values.items()})
    os.replace(temporary, path)


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
    print(f"{len(rows)} rows in {given.out}; {sum(row.label == 'fails' for row in rows)} labelled as failing")


if __name__ == "__main__":
    main()
