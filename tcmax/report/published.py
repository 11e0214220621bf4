"""The number that a paper prints for the same dataset, method and column, to stand in grey beside ours."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tcmax.audit.printed_tables import PublishedTable, load_metadata, load_table
from tcmax.data import DATASETS
from tcmax.errors import TcmaxError
from tcmax.experiment.grid import Experiment

FOLDER = Path("config/published")


@dataclass(frozen=True)
class Published:
    """A printed number as it stands, and where."""

    text: str
    source: str


@cache
def published_tables(folder: Path = FOLDER) -> tuple[PublishedTable, ...]:
    """Tables of results with metadata beside them; files that the metadata calls a reference hold something else."""
    pairs = [(path, path.with_suffix(".yaml")) for path in sorted(folder.glob("*.csv"))]
    read = [(path, load_metadata(beside)) for path, beside in pairs if beside.is_file()]
    return tuple(load_table(path, metadata) for path, metadata in read if not metadata.reference)


def published_values(experiment: Experiment, folder: Path = FOLDER) -> dict[tuple[str, str, str, str], Published]:
    """(dataset, variant, metric, read-out) -> what is printed, where spelling but for case and punctuation agrees.

    Only accuracies printed in percent. The column of the whole prediction is the one the metadata names.
    """
    found: dict[tuple[str, str, str, str], Published] = {}
    for table in published_tables(folder):
        methods = {_squash(name): name for name in table.methods}
        datasets = {_canonical(name): name for name in table.datasets}
        columns = tuple(dict.fromkeys(cell.ref.column for cell in table.cells))
        for dataset in experiment.settings.datasets:
            printed_dataset = datasets.get(_canonical(dataset))
            if printed_dataset is None:
                continue
            for variant in experiment.variants_on(dataset):
                method = methods.get(_squash(variant)) or methods.get(_squash(experiment.title(variant)))
                for column in columns:
                    if method is None or table.metric(column).unit != "percent" or not table.metric(column).item_mean:
                        continue
                    cell = table.find(method, printed_dataset, column)
                    if cell is None or cell.value is None:
                        continue
                    readout = "own" if column == table.metadata.whole else column.lower()
                    source = ", ".join(part for part in (table.metadata.document, table.metadata.table) if part)
                    found[dataset, variant, "accuracy", readout] = Published(cell.value.text, source)
    return found


@cache
def _canonical(name: str) -> str:
    try:
        return DATASETS.canonical(name)
    except TcmaxError:
        return _squash(name)


def _squash(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
