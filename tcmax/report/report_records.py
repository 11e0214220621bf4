"""What a report is about: the records of an experiment, read once, and a list of what is not there.

Missing records are no error: the page says which file is missing and which command makes it. Damaged ones are.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tcmax.experiment import tuning
from tcmax.experiment.grid import Experiment
from tcmax.experiment.looks import plan_of, seeds_asked
from tcmax.records import kinds, parquet
from tcmax.records.files import read_json
from tcmax.report.numbers import count
from tcmax.stats.ranking import tie_groups

JOINT = ("own", "all")  # the variant's own joint prediction; metrics of the whole item


@dataclass(frozen=True)
class Missing:
    """A record that is not there: what it holds, where it would be, and the command that makes it."""

    what: str
    path: Path
    command: str


@dataclass(frozen=True)
class Ties:
    """Which variants a column of a table can tell apart.

    letters: variants that share a letter are not distinguished. possibly_best: variants that no rival beats; ranks: the
    first and last rank that a variant may have. Both are empty for a metric without a better direction.
    """

    letters: dict[str, str]
    possibly_best: frozenset[str]
    ranks: dict[str, tuple[int, int]]


@dataclass(frozen=True)
class DatasetRecords:
    """The records of one dataset. Every part may be missing."""

    id: str
    title: str
    variants: tuple[str, ...]
    facts: dict[str, Any]
    scores: pd.DataFrame | None
    history: pd.DataFrame | None
    items: Path | None

    @cached_property
    def modalities(self) -> tuple[str, ...]:
        """Modality names in the dataset's order; from the scores when its facts are missing."""
        if self.facts:
            return tuple(self.facts["modalities"])
        if self.scores is None:
            return ()
        found = dict.fromkeys(self.scores.loc[self.scores["metric"] == "accuracy", "readout"])
        return tuple(name for name in found if name not in {*JOINT, "joint"} and not name.startswith("joint_"))

    def values(self, metric: str, readout: str, selection: str) -> pd.DataFrame:
        """Columns variant, seed, value of a metric per run, folds pooled; empty where there are none."""
        return self._pooled.get((metric, readout, selection), pd.DataFrame({"variant": [], "seed": [], "value": []}))

    @cached_property
    def _pooled(self) -> dict[Hashable, pd.DataFrame]:
        """(metric, read-out, selection) -> columns variant, seed, value of the rows of all folds together."""
        if self.scores is None:
            return {}
        rows = self.scores[self.scores["fold"].isna() & self.scores["value"].notna()]
        groups = rows.groupby(["metric", "readout", "selection"], sort=False)[["variant", "seed", "value"]]
        return dict(iter(groups))

    @cached_property
    def diverged(self) -> dict[str, tuple[int, int]]:
        """Variant -> diverged and all recorded runs; a seed of which one fold diverged has diverged."""
        if self.scores is None:
            return {}
        rows = self.scores[self.scores["metric"] == "diverged"]
        by_seed = rows.groupby(["variant", "seed"], sort=False)["value"].max()
        return {str(variant): (int(of.sum()), len(of)) for variant, of in by_seed.groupby("variant", sort=False)}


class ReportRecords:
    """Everything a report shows, as data frames and look-ups."""

    def __init__(self, experiment: Experiment, results: Path) -> None:
        self.experiment = experiment
        self.folder = results / experiment.name
        self.plan = plan_of(experiment, results)  # of looks, in a sequential design
        self.seeds = {name: seeds_asked(experiment, results, name) for name in experiment.settings.datasets}
        self.missing: list[Missing] = []
        name = experiment.name
        self.evidence = self._read(
            "evidence.parquet", kinds.EVIDENCE, "intervals and comparisons", f"tcmax compare {name}"
        )
        self.verdicts: pd.DataFrame | None = None
        self.multiverse: pd.DataFrame | None = None
        self.judged: list[dict[str, Any]] = []  # rows of VERDICTS
        self.components: dict[str, dict[str, Any]] = {}  # id -> row of claim evidence
        if experiment.settings.claims is not None:
            command = f"tcmax audit claims {name}"
            self.verdicts = self._read("verdicts.parquet", kinds.VERDICTS, "verdicts", command)
            if self.verdicts is not None:
                self.judged = parquet.read(self.folder / "verdicts.parquet", kinds.VERDICTS).to_pylist()
            path = self._find("claim_evidence.parquet", "claim evidence", command)
            if path is not None:
                self.components = {row["id"]: row for row in parquet.read(path, kinds.EVIDENCE).to_pylist()}
            again = f"tcmax audit multiverse {name}"
            self.multiverse = self._read("multiverse.parquet", kinds.MULTIVERSE, "verdicts under other choices", again)
        if experiment.settings.tuning is not None and not tuning.is_sealed(experiment, results):
            path = tuning.choices_path(experiment, results)
            self.missing.append(Missing("the choice of settings", path, f"tcmax tune {name}"))
        self.flip_evidence: pd.DataFrame | None = None
        self.discrepancies: pd.DataFrame | None = None
        if experiment.flips:
            command, what = f"tcmax audit discrepancies {name}", "effects of flipped switches"
            self.flip_evidence = self._read("discrepancy_evidence.parquet", kinds.EVIDENCE, what, command)
            what = "conclusions under flipped switches"
            self.discrepancies = self._read("discrepancies.parquet", kinds.DISCREPANCIES, what, command)
        self.datasets = tuple(self._dataset(dataset) for dataset in experiment.settings.datasets)

    def _find(self, name: str, what: str, command: str) -> Path | None:
        """The path of a record, or None, and then it is missed."""
        path = self.folder / name
        if path.is_file():
            return path
        self.missing.append(Missing(what, path, command))
        return None

    def _read(self, name: str, kind: kinds.Kind, what: str, command: str) -> pd.DataFrame | None:
        path = self._find(name, what, command)
        return None if path is None else _frame(path, kind)

    def _dataset(self, dataset: str) -> DatasetRecords:
        experiment = self.experiment
        score = f"tcmax score {experiment.name} --dataset {dataset}"
        title = experiment.dataset_title(dataset)
        facts_path = self.folder / dataset / "data.json"
        facts: dict[str, Any] = {}
        if facts_path.is_file():
            facts = read_json(facts_path)
        else:
            command = f"tcmax prepare {dataset} --experiment {experiment.name}"
            self.missing.append(Missing(f"facts about {title}", facts_path, command))
        scores = self._read(f"{dataset}/scores.parquet", kinds.SCORES, f"scores on {title}", score)
        history = self._read(f"{dataset}/history.parquet", kinds.HISTORY, f"training curves on {title}", score)
        items: Path | None = self.folder / dataset / "items.parquet"
        if items is not None and not items.is_file():
            self.missing.append(Missing(f"item scores on {title}", items, score))
            items = None
        return DatasetRecords(dataset, title, experiment.variants_on(dataset), facts, scores, history, items)

    @property
    def n_seeds(self) -> str:
        """How many seeds variants were run with, "12 seeds", or "4 to 12 seeds" where some got more."""
        counts = {len(seeds) for of_dataset in self.seeds.values() for seeds in of_dataset.values()}
        return count(max(counts), "seed") if len(counts) == 1 else f"{min(counts)} to {max(counts)} seeds"

    @cached_property
    def _estimates(self) -> dict[tuple[str, str, str, str, str], NDArray[np.object_]]:
        if self.evidence is None:
            return {}
        rows = self.evidence[self.evidence["kind"] == "estimate"]
        keys = zip(rows["dataset"], rows["metric"], rows["readout"], rows["a"], rows["population"], strict=True)
        return dict(zip(keys, rows.to_numpy(dtype=object), strict=True))

    def estimate(
        self, dataset: str, metric: str, readout: str, variant: str, population: str = "both"
    ) -> pd.Series | None:
        """The evidence row of one estimate, or None."""
        values = self._estimates.get((dataset, metric, readout, variant, population))
        return None if values is None or self.evidence is None else pd.Series(values, index=self.evidence.columns)

    @cached_property
    def cut_apart(self) -> tuple[str, ...]:
        """Titles of variants that cut the train list where others of the same dataset do not."""
        found: dict[str, None] = {}
        for dataset in self.datasets:
            cut = [v for v in dataset.variants if self.experiment.cuts_train_list(v)]
            if len(cut) < len(dataset.variants) and not dataset.facts.get("official_validation"):
                found |= dict.fromkeys(self.experiment.title(v) for v in cut)
        return tuple(found)

    def comparisons(self, dataset: str, metric: str, readout: str, role: str, population: str = "both") -> pd.DataFrame:
        """Evidence rows of a family of comparisons; role: "reference", "best rival" or "pair"."""
        return self._families.get(
            (dataset, metric, readout, role, population), pd.DataFrame(columns=[*kinds.EVIDENCE.columns])
        )

    @cached_property
    def _families(self) -> dict[Hashable, pd.DataFrame]:
        if self.evidence is None:
            return {}
        rows = self.evidence[self.evidence["kind"] == "comparison"]
        return dict(iter(rows.groupby(["dataset", "metric", "readout", "role", "population"], sort=False)))

    def ties(self, dataset: str, metric: str, readout: str, better: str | None) -> Ties:
        """Tie groups of a column from its family of all pairs, for new seeds and new items.

        Letters and ranks follow Holm's correction over the pairs at the rows' alpha. A variant is possibly best unless
        some rival beats it, one-sided at alpha/2 after Holm over its rivals. Pairs without a p leave both variants in.
        """
        pairs = self.comparisons(dataset, metric, readout, "pair").dropna(subset=["p", "p_adjusted"])
        if pairs.empty:
            return Ties({}, frozenset(), {})
        variants = list(dict.fromkeys([*pairs["a"], *pairs["b"]]))
        estimates = {v: self.estimate(dataset, metric, readout, v) for v in variants}
        sign = -1.0 if better == "lower" else 1.0
        variants.sort(key=lambda v: -sign * (0.0 if (row := estimates[v]) is None else float(row["estimate"])))
        place = {variant: k for k, variant in enumerate(variants)}
        beats = np.full((len(variants), len(variants)), np.nan)
        differ = np.zeros(beats.shape, dtype=bool)
        columns = (pairs[name] for name in ("a", "b", "p_adjusted", "alpha", "p_greater", "p_less"))
        for a, b, p_adjusted, alpha, a_wins, b_wins in zip(*columns, strict=True):
            i, j = place[a], place[b]
            differ[i, j] = differ[j, i] = p_adjusted <= alpha
            beats[i, j], beats[j, i] = (b_wins, a_wins) if better == "lower" else (a_wins, b_wins)
        found = tie_groups(variants, beats, differ, float(pairs["alpha"].iloc[0]))
        letters = dict(zip(variants, found.letters, strict=True))
        if better is None:
            return Ties(letters, frozenset(), {})
        ranks = zip(variants, zip(found.rank_low, found.rank_high, strict=True), strict=True)
        return Ties(letters, frozenset(found.top), dict(ranks))


def _frame(path: Path, kind: kinds.Kind) -> pd.DataFrame:
    """A record as plain columns, None where text is missing."""
    frame: pd.DataFrame = parquet.read(path, kind).to_pandas()
    for name in frame.columns:
        if not pd.api.types.is_numeric_dtype(frame[name].dtype):
            column = frame[name].astype(object)
            frame[name] = column.where(column.notna(), None)
    result: pd.DataFrame = frame
    return result
