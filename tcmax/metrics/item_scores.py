"""ITEM SCORES as every item-level statistic reads them: one matrix of seeds x items at a time.

Rows of a dataset's items.parquet are found by (variant, selection, seed); score columns are read when asked for, so
that a large file is never held whole.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tcmax.errors import TcmaxError
from tcmax.records import kinds, parquet

_KEPT_COLUMNS = 12  # score columns kept in memory, those used last: callers go through the variants metric by metric


class ItemScores:
    """The item scores of one dataset: what each finished run made of each test item.

    path         the file
    dataset      its id
    classes      class names, in label order
    variants     labels in the order of the file, those whose runs all diverged included
    selections   selection rules that have scores
    modalities   in the order of the predictions
    own          variant -> the joint read-out that is its own prediction
    readouts     read-outs that have scores: modalities, joint ones and "own"; "all" where there is a divergence
    items        (I,) test items of all folds, sorted; every matrix has its columns in this order
    labels       (I,) int64
    folds        (I,) int64, the fold whose test part holds the item
    groups       name -> (I,) group of each item
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        header = parquet.header(self.path) if self.path.is_file() else {}
        keys = parquet.read(self.path, kinds.ITEM_SCORES, columns=list(kinds.ITEM_SCORES.columns))
        for name in ("variants", "selections", "modalities", "classes", "diverged", "own"):
            if name not in header:
                raise TcmaxError(f"{self.path}: its header has no {name!r}; score the dataset again.")
        if not keys.num_rows:
            raise TcmaxError(f"{self.path} holds no run.")
        self.classes: tuple[str, ...] = tuple(header["classes"])
        self.variants: tuple[str, ...] = tuple(header["variants"])
        self.selections: tuple[str, ...] = tuple(header["selections"])
        self.modalities: tuple[str, ...] = tuple(header["modalities"])
        self.own: dict[str, str] = dict(header["own"])
        self._diverged = {variant: tuple(sorted(seeds)) for variant, seeds in header["diverged"].items()}
        columns = pq.read_schema(self.path).names
        self._scores = [name.removeprefix("score_") for name in columns if name.startswith("score_")]
        self._groupings = [name.removeprefix("group_") for name in columns if name.startswith("group_")]
        self.readouts = tuple(dict.fromkeys(name.partition(".")[2] for name in self._scores))
        self._cache: dict[tuple[str, str], NDArray[np.float64]] = {}
        self._index(keys)

    @classmethod
    def read(cls, path: Path) -> "ItemScores":
        """Open a dataset's items.parquet.

        Raises TcmaxError when the file is missing or damaged, or when runs differ in items, labels, folds or groups.
        """
        return cls(path)

    def _index(self, keys: pa.Table) -> None:
        """Find each run's rows, and what all runs must share."""
        datasets = keys["dataset"].unique().to_pylist()
        if len(datasets) != 1:
            raise TcmaxError(f"{self.path} holds {len(datasets)} datasets; item scores are read one dataset at a time.")
        self.dataset: str = datasets[0]
        self.items, item_codes = _codes(keys["item"])
        variants, variant_codes = _codes(keys["variant"])
        selections, selection_codes = _codes(keys["selection"])
        seeds, seed_codes = np.unique(keys["seed"].to_numpy(), return_inverse=True)
        unknown = sorted({*variants.tolist(), *selections.tolist()} - {*self.variants, *self.selections})
        if unknown:
            raise TcmaxError(f"{self.path}: its header does not list {unknown[0]!r}.")
        sizes = (len(variants), len(selections), len(seeds))
        run_codes = np.ravel_multi_index((variant_codes, selection_codes, seed_codes), sizes)
        order = np.argsort(run_codes * len(self.items) + item_codes, kind="stable")  # quick where they are in order
        starts = np.flatnonzero(np.diff(run_codes[order], prepend=-1))
        self._rows: dict[tuple[str, str, int], NDArray[np.intp]] = {}
        for start, rows in zip(starts, np.split(order, starts[1:]), strict=True):
            v, s, r = np.unravel_index(run_codes[order[start]], sizes)
            run = (str(variants[v]), str(selections[s]), int(seeds[r]))
            if len(rows) != len(self.items) or (item_codes[rows] != np.arange(len(self.items))).any():
                raise TcmaxError(
                    f"{self.path}: variants differ in their test items: seed {run[2]} of {run[0]} ({run[1]}) has "
                    f"{len(np.unique(item_codes[rows]))} of {len(self.items)} items."
                )
            self._rows[run] = rows
        finished = {variant: {seed for label, _, seed in self._rows if label == variant} for variant in self.variants}
        self._finished = {variant: tuple(sorted(found)) for variant, found in finished.items()}
        metadata = pq.read_metadata(self.path)
        group_sizes = [metadata.row_group(k).num_rows for k in range(metadata.num_row_groups)]
        group_of_row = np.repeat(np.arange(len(group_sizes)), group_sizes)
        # Columns are read for one selection rule at a time, from the row groups that hold it; `_places` are rows there.
        self._held: dict[str, list[int]] = {}
        self._places: dict[tuple[str, str, int], NDArray[np.intp]] = {}
        for name in self.selections:
            of_rule = (selections == name)[selection_codes]
            held = np.bincount(group_of_row[of_rule], minlength=len(group_sizes)) > 0
            places = np.cumsum(held[group_of_row]) - 1
            self._held[name] = np.flatnonzero(held).tolist()
            self._places |= {run: places[rows] for run, rows in self._rows.items() if run[1] == name}
        self.labels: NDArray[np.int64] = self._shared("label", keys["label"].to_numpy())
        self.folds: NDArray[np.int64] = self._shared("fold", keys["fold"].to_numpy())
        self.groups: dict[str, NDArray[np.str_]] = {}
        for name in self._groupings:
            column = f"group_{name}"
            values, codes = _codes(parquet.read(self.path, kinds.ITEM_SCORES, columns=[column])[column])
            self.groups[name] = values[self._shared(name, codes)]

    def _shared(self, name: str, values: NDArray[Any]) -> NDArray[Any]:
        """(I,) values of a column that belongs to the item, not to the run."""
        first, *others = self._rows
        shared = values[self._rows[first]]
        for other in others:
            if (values[self._rows[other]] != shared).any():
                raise TcmaxError(
                    f"{self.path}: the runs {first[0]} seed {first[2]} and {other[0]} seed {other[2]} disagree on the "
                    f"{name} of an item."
                )
        return shared

    def seeds(self, variant: str) -> tuple[int, ...]:
        """Finished seeds of a variant (with all their folds), ascending; () where every run diverged."""
        self._check_variant(variant)
        return self._finished[variant]

    def diverged(self, variant: str) -> tuple[int, ...]:
        """Seeds of a variant that diverged, in at least one fold."""
        self._check_variant(variant)
        return self._diverged.get(variant, ())

    def matrix(
        self,
        variant: str,
        metric: str,
        readout: str = "own",
        selection: str = "last",
        seeds: Sequence[int] | None = None,
    ) -> NDArray[np.float64]:
        """(S, I) item scores: rows in the order of `seeds` (by default all finished ones, ascending), columns in that
        of `items`; no row where every run of the variant diverged.

        metric: a metric of ITEM SCORES (correct, nll, entropy, js, ...). readout: "all" for metrics of the whole item.
        Raises TcmaxError when there is no such variant, selection rule, score or finished seed.
        """
        finished = self.seeds(variant)
        if selection not in self.selections:
            raise TcmaxError(
                f"{self.path} has no scores for the selection rule {selection!r}; it has {', '.join(self.selections)}."
            )
        wanted = finished if seeds is None else tuple(seeds)
        rows = []
        for seed in wanted:
            if (variant, selection, seed) not in self._places:
                why = "diverged" if seed in self.diverged(variant) else "is not there"
                raise TcmaxError(f"{self.path}: seed {seed} of {variant} ({selection}) {why}.")
            rows.append(self._places[variant, selection, seed])
        index = np.stack(rows) if rows else np.empty((0, len(self.items)), np.intp)
        return self._column(metric, readout, selection)[index]

    def _column(self, metric: str, readout: str, selection: str) -> NDArray[np.float64]:
        """One score column of the row groups that hold the selection rule."""
        if f"{metric}.{readout}" not in self._scores:
            have = [name.partition(".")[0] for name in self._scores if name.partition(".")[2] == readout]
            known = f"it has {', '.join(have)} of it" if have else f"its read-outs are {', '.join(self.readouts)}"
            raise TcmaxError(f"{self.path} has no score {metric!r} of the read-out {readout!r}; {known}.")
        name = f"score_{metric}.{readout}"
        key = name, selection
        if key in self._cache:
            self._cache[key] = self._cache.pop(key)
        else:
            values = parquet.read(self.path, kinds.ITEM_SCORES, [name], self._held[selection])[name].to_numpy()
            if not np.isfinite(values).all():
                raise TcmaxError(f"{self.path}: the column {name!r} holds missing or infinite values.")
            while len(self._cache) >= _KEPT_COLUMNS:
                self._cache.pop(next(iter(self._cache)))
            self._cache[key] = values
        return self._cache[key]

    def _check_variant(self, variant: str) -> None:
        if variant not in self.variants:
            raise TcmaxError(f"{self.path} has no runs of {variant!r}; it has {', '.join(self.variants)}.")


def _codes(column: pa.ChunkedArray) -> tuple[NDArray[np.str_], NDArray[np.intp]]:
    """Sorted distinct texts of a column, and each row's position among them."""
    encoded = column.unify_dictionaries().combine_chunks()
    values = np.array(encoded.dictionary.to_pylist(), dtype=np.str_)
    distinct, positions = np.unique(values, return_inverse=True)
    codes = positions[encoded.indices.to_numpy()]
    used = np.bincount(codes, minlength=len(distinct)) > 0
    return distinct[used], (np.cumsum(used) - 1)[codes]
