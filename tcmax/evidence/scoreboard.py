"""From the item scores of one dataset to rows of EVIDENCE: what `compare` and the audit of claims have in common.

Both ask how good A is, and how much better A is than B. Three things are settled here, once for both:

- a metric that is no mean over items (balanced accuracy, calibration error, a ratio of entropies) enters by its
  jackknife pseudo-values, whose mean is the metric; one that needs more than item scores enters as one value per run,
  which speaks for new seeds only;
- an *arm* is one variant, or several of which the one with the best validation accuracy is taken within each seed;
- a diverged run is read in two ways: *removed* with its pair, and *at chance*, as the constant forecast of the class
  frequencies, whose accuracy is that of the majority class.
"""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tcmax.errors import TcmaxError
from tcmax.evidence.pseudo_values import balanced_accuracy, ece, ratio
from tcmax.evidence.rows import ALPHA
from tcmax.evidence.scores import Arm, Compared, Floats, Pairing, Score, Treatment
from tcmax.evidence.wording import Remark
from tcmax.experiment.grid import Experiment
from tcmax.experiment.looks import LookPlan, in_words, plan_of
from tcmax.metrics import METRICS
from tcmax.metrics.entropy import weak_and_strong
from tcmax.metrics.item_scores import ItemScores
from tcmax.records import kinds, parquet
from tcmax.records.files import read_json
from tcmax.seeding import generator
from tcmax.stats.checks import SelfComparison, self_comparison
from tcmax.stats.crossed import MIN_UNITS, Crossed, crossed, crossed_paired, crossed_proportion, crossed_unpaired
from tcmax.stats.repeats import Repeats, fingerprints, repeated_pairs, repeated_runs
from tcmax.stats.selection import head_optimism
from tcmax.stats.sequential import Spending, earliest
from tcmax.stats.shape import seed_shape, tail_shape
from tcmax.stats.unrest import restless

MAX_GROUPINGS = 2
CUT_APART = "{} validates on the last 20 % of the train list: its training set is not that of the other variants"
FORECAST = ("nll", "entropy", "confidence")  # columns of ITEM SCORES that tell one forecast from another
VALIDATION = "accuracy.val.own"  # the quantity of HISTORY by which the better of several variants is chosen


class Scoreboard:
    """The scores of one dataset under one selection rule.

    groups: the groupings that intervals use, at most two. notes: what a reader should know about them. plan: the looks
    of a sequential design, which correct every comparison. folder: where the scores are, if not in their place.
    """

    def __init__(
        self,
        experiment: Experiment,
        dataset: str,
        results: Path,
        selection: str | None = None,
        *,
        plan: LookPlan | None = None,
        folder: Path | None = None,
    ) -> None:
        self.experiment, self.dataset = experiment, dataset
        self.selection = selection or experiment.settings.selection
        self.folder = folder or results / experiment.name / dataset
        self._facts = results / experiment.name / dataset / "data.json"
        self.items = ItemScores.read(self.folder / "items.parquet")
        path = self.items.path
        if self.selection not in self.items.selections:
            known = ", ".join(self.items.selections)
            raise TcmaxError(f"{path} has no scores for the selection rule {self.selection!r}; it has {known}.")
        self.variants = experiment.variants_on(dataset)
        missing = [label for label in self.variants if label not in self.items.variants]
        if missing:
            raise TcmaxError(f"{path} has no runs of {', '.join(missing)}; score the dataset again.")
        self.groups = dict(list(self.items.groups.items())[:MAX_GROUPINGS])
        self.plan = plan_of(experiment, results, plan)
        looks = self.plan.looks if self.plan else ()
        for variant in self.variants if looks else ():
            if len(self.ran(variant)) not in looks:
                raise TcmaxError(
                    f"{path} has {len(self.ran(variant))} seeds of {variant}, which is no look: looks are at "
                    f"{in_words(looks)} seeds, and no alpha is left for others."
                )
        self.column = lru_cache(maxsize=64)(self._column)
        self._known_by: dict[str, tuple[Hashable, ...]] = {}

    @property
    def n_items(self) -> int:
        return len(self.items.items)

    @cached_property
    def notes(self) -> tuple[str, ...]:
        found = []
        names = list(self.items.groups)
        if names:
            sizes = ", ".join(f"{name} ({len(np.unique(labels))})" for name, labels in self.groups.items())
            left_out = f"; left out: {', '.join(names[MAX_GROUPINGS:])}" if len(names) > MAX_GROUPINGS else ""
            found.append(f"items grouped by {sizes}{left_out}")
        if self.plan is not None:
            found.append(
                f"sequential design, looks at {in_words(self.plan.looks)} seeds: intervals and p of comparisons are "
                "those of all looks together"
            )
        n_folds = self.experiment.n_folds(self.dataset)
        if n_folds > 1:
            held = "items" if not names else names[0]
            found.append(f"{n_folds} folds pooled: each fold has its own model, which is confounded with its {held}")
        return tuple(found)

    @cached_property
    def cut_apart(self) -> frozenset[str]:
        """Variants that cut the train list, where others do not: their training set is another one."""
        if self._facts.is_file() and read_json(self._facts).get("official_validation"):
            return frozenset()
        cut = frozenset(filter(self.experiment.cuts_train_list, self.variants))
        return cut if len(cut) < len(self.variants) else frozenset()

    @cached_property
    def restless(self) -> dict[str, float]:
        """Variant -> how many times as far as its rivals' its seeds spread in accuracy, where that is unusual."""
        if "correct.own" not in self._stored:
            return {}
        finished = [variant for variant in self.variants if self.items.seeds(variant)]
        return restless({v: self.items.matrix(v, "correct", "own", self.selection).mean(axis=1) for v in finished})

    def _of_training(self, variant: str) -> tuple[str | Remark, ...]:
        """What to know of a variant's training before believing a comparison with it."""
        notes: list[str | Remark] = [CUT_APART.format(variant)] if variant in self.cut_apart else []
        if variant in self.restless:
            notes.append(Remark("unstable", (variant,), value=self.restless[variant]))
        return tuple(notes)

    @property
    def only_runs(self) -> bool:
        """Whether no single item has a score, as in imported tables: every metric then has one value per run."""
        return not self.items.readouts

    def readout(self, metric: str, asked: str | None) -> str:
        """The read-out of a metric: the one asked for, "all" for a metric of the whole item, else the variant's own."""
        return "all" if METRICS[metric].whole_item else asked or "own"

    @cached_property
    def available(self) -> tuple[tuple[str, str], ...]:
        """Every metric of the catalogue that these scores hold, with each of its read-outs."""
        stored = self._stored
        if self.only_runs:
            return tuple(
                (metric, readout) for metric in METRICS for name, readout in self._run_scores if name == metric
            )
        found = []
        for metric, described in METRICS.items():
            for readout in ("all",) if described.whole_item else self.items.readouts:
                if described.whole_item and metric.startswith("entropy_ratio"):
                    needed = [
                        f"{name}.{modality}" for name in described.from_columns for modality in self.items.modalities
                    ]
                    there = (
                        bool(needed)
                        and stored.issuperset(needed)
                        and (metric.endswith("own") or self.reference is not None)
                    )
                elif described.item_column is not None or described.from_columns:
                    columns = described.from_columns or (described.item_column,)
                    there = stored.issuperset(f"{name}.{readout}" for name in columns)
                else:
                    there = (metric, readout) in self._run_scores
                if there:
                    found.append((metric, readout))
        return tuple(found)

    @cached_property
    def _stored(self) -> frozenset[str]:
        """Score columns, "<metric>.<read-out>"."""
        return frozenset(name.removeprefix("score_") for name in pq.read_schema(self.items.path).names)

    @property
    def reference(self) -> str | None:
        """The reference variant, where it runs on this dataset and some of its runs finished."""
        label = self.experiment.settings.reference_variant
        return label if label in self.variants and self.items.seeds(str(label)) else None

    def are_siblings(self, a: str, b: str) -> bool:
        """Whether two variants belong to one family, such as the two heads of one method."""
        variants = self.experiment.settings.variants
        return variants[a].family is not None and variants[a].family == variants[b].family

    def estimator(self, metric: str) -> str:
        """How a metric becomes an estimate."""
        if self.only_runs:
            return "mean over runs"
        if METRICS[metric].item_column is not None or metric == "js_bits":
            return "mean over seeds and items"
        return "jackknife over items" if METRICS[metric].from_columns else "mean over runs"

    def diverged(self, arm: Arm) -> frozenset[int]:
        """Seeds in which an arm has no finished run: those that diverged in all of its variants."""
        return frozenset.intersection(*(frozenset(self.items.diverged(variant)) for variant in arm))

    def ran(self, variant: str) -> frozenset[int]:
        """Seeds that were run, finished or not."""
        return frozenset(self.items.seeds(variant)) | frozenset(self.items.diverged(variant))

    def score(self, arm: Arm, metric: str, readout: str, treatment: Treatment = "removed") -> Score:
        """The scores of an arm. Of several variants, those of the best one on validation in each seed; a seed
        has diverged only where it did in all of them.

        Raises TcmaxError when the dataset has no such metric or read-out, and ValueError with the reason when the
        metric is not defined for these scores.
        """
        members = [self._of_variant(label, metric, readout, treatment) for label in arm]
        if len(members) == 1:
            return members[0]
        validation = [self.validation(label) for label in arm]
        ran = frozenset.intersection(*(member.ran for member in members))
        diverged = tuple(sorted(self.diverged(arm) & ran))
        rows, kept, runs, counts = [], [], [], dict.fromkeys(arm, 0)
        for seed in sorted(ran):
            finished = [k for k, member in enumerate(members) if seed not in member.diverged]
            if not finished and treatment == "removed":
                continue
            among = finished or [0]
            best = among[0] if len(among) == 1 else max(among, key=lambda k: (validation[k][seed], -k))
            row = members[best].seeds.index(seed)
            rows.append(members[best].values[row])
            runs.append(members[best].runs[row])
            kept.append(seed)
            counts[arm[best]] += 1
        notes: list[str | Remark] = [Remark("chosen", tuple(counts), tuple(counts.values()))]
        notes += [note for member in members for note in member.notes]
        if treatment == "removed" and METRICS[metric].better is not None:
            notes += _optimism(metric, members, validation)
        return Score(tuple(kept), np.array(rows), ran, diverged, tuple(runs), tuple(notes))

    def _of_variant(self, variant: str, metric: str, readout: str, treatment: Treatment) -> Score:
        finished, diverged = self.items.seeds(variant), self.items.diverged(variant)
        at_chance = treatment == "at chance"
        if at_chance and diverged and not self._known_at_chance(metric):
            raise ValueError(f"a run that diverged has no {metric}")
        return Score(
            seeds=(*finished, *diverged) if at_chance else tuple(finished),
            values=self._values(variant, metric, readout, at_chance),
            ran=self.ran(variant),
            diverged=tuple(diverged),
            notes=self._of_training(variant),
            runs=(*self._runs(variant), *((variant, "at chance", seed) for seed in diverged if at_chance)),
        )

    def _runs(self, variant: str) -> tuple[Hashable, ...]:
        """What each finished run is known by: its forecast of every item, or, where only right and wrong or scores of
        whole runs are stored, its seed."""
        if variant not in self._known_by:
            columns = [name for name in FORECAST if f"{name}.own" in self._stored]
            seeds = self.items.seeds(variant)
            if "nll" in columns and seeds:
                rows = [self.items.matrix(variant, name, "own", self.selection) for name in columns]
                self._known_by[variant] = fingerprints(np.stack(rows, axis=1))
            else:
                self._known_by[variant] = tuple((variant, seed) for seed in seeds)
        return self._known_by[variant]

    def _values(self, variant: str, metric: str, readout: str, at_chance: bool) -> Floats:
        """(S, I) item scores or pseudo-values; (S, 1) values of whole runs where item scores do not suffice."""

        def column(name: str, of: str = readout) -> Floats:
            return self.column(variant, name, of, at_chance)

        stored = METRICS[metric].item_column
        if self.only_runs:
            return self._whole_runs(variant, metric, readout)
        if stored is not None:
            return column(stored)
        if metric == "js_bits":
            result: Floats = column("js") / np.log(2)
            return result
        if METRICS[metric].from_columns and self.n_items < 2:
            raise ValueError(f"{metric} needs two test items, and there is one")
        if metric == "balanced_accuracy":
            return balanced_accuracy(column("correct"), self.items.labels)
        if metric == "ece":
            return ece(column("confidence"), column("correct"))
        if METRICS[metric].from_columns:
            by = variant if metric == "entropy_ratio_own" else self.reference
            if by is None:
                raise TcmaxError(f"{metric} on {self.dataset} needs a reference variant with finished runs.")
            weak, strong = weak_and_strong(
                {m: float(self.column(by, "correct", m, False).mean()) for m in self.items.modalities}
            )
            return ratio(column(METRICS[metric].from_columns[0], weak), column(METRICS[metric].from_columns[0], strong))
        return self._whole_runs(variant, metric, readout)

    def _whole_runs(self, variant: str, metric: str, readout: str) -> Floats:
        """(S, 1) values of SCORES, one per run."""
        values = self._run_scores.get((metric, readout), {})
        if not values:
            raise TcmaxError(f"{self.dataset} has no {metric} of the read-out {readout!r}.")
        seeds = self.items.seeds(variant)
        missing = [seed for seed in seeds if (variant, seed) not in values]
        if missing:
            raise TcmaxError(f"{self.folder / 'scores.parquet'} has no {metric} for seed {missing[0]} of {variant}.")
        return np.array([[values[variant, seed]] for seed in seeds], dtype=np.float64).reshape(-1, 1)

    @cached_property
    def _run_scores(self) -> dict[tuple[str, str], dict[tuple[str, int], float]]:
        """(metric, read-out) -> (variant, seed) -> value over all folds, for metrics that item scores cannot give."""
        table = parquet.read(self.folder / "scores.parquet", kinds.SCORES)
        chosen = table.filter(
            (pc.field("selection") == self.selection) & pc.field("fold").is_null() & pc.field("value").is_valid()
        )
        names = ("metric", "readout", "variant", "seed", "value")
        found: dict[tuple[str, str], dict[tuple[str, int], float]] = {}
        for metric, readout, variant, seed, value in _rows(chosen, names):
            if metric != "diverged":
                found.setdefault((metric, readout), {})[variant, seed] = value
        return found

    def _known_at_chance(self, metric: str) -> bool:
        """Whether a diverged run can be counted at chance: not where the metric needs more than item scores."""
        return not self.only_runs and (METRICS[metric].item_column is not None or bool(METRICS[metric].from_columns))

    def _column(self, variant: str, column: str, readout: str, at_chance: bool) -> Floats:
        """(S, I) of a stored column: rows of finished seeds in order, then of diverged ones when read at chance."""
        rows = self.items.matrix(variant, column, readout, self.selection)
        if not at_chance:
            return rows
        return np.vstack([rows, np.tile(self._at_chance(column), (len(self.items.diverged(variant)), 1))])

    def _at_chance(self, column: str) -> Floats:
        """(I,) item scores of the forecast that always states the class frequencies of the test items."""
        labels = self.items.labels
        frequency = np.bincount(labels) / len(labels)
        own = frequency[labels]
        present = frequency[frequency > 0]
        values = {
            "correct": (labels == frequency.argmax()).astype(np.float64),
            "nll": -np.log(own),
            "brier": 1 - 2 * own + np.sum(frequency**2),
            "confidence": np.full(len(labels), frequency.max()),
            "entropy": np.full(len(labels), -np.sum(present * np.log(present))),
            "js": np.zeros(len(labels)),
            "js_pairwise": np.zeros(len(labels)),
        }
        result: Floats = values[column.removesuffix("_calibrated")]
        return result

    def validation(self, variant: str) -> dict[int, float]:
        """Finished seed -> validation accuracy of its own joint prediction at the selected epoch, averaged over folds.

        Raises TcmaxError where the history does not say.
        """
        known = self._validation.get(variant, {})
        missing = [seed for seed in self.items.seeds(variant) if seed not in known]
        if missing:
            raise TcmaxError(
                f"{self.folder / 'history.parquet'} has no {VALIDATION} for seed {missing[0]} of {variant}, by which "
                "the better of several variants is chosen."
            )
        return known

    @cached_property
    def _validation(self) -> dict[str, dict[int, float]]:
        table = parquet.read(self.folder / "history.parquet", kinds.HISTORY)
        table = table.filter((pc.field("quantity") == VALIDATION) & pc.field("value").is_valid())
        curves: dict[tuple[str, int, int], list[tuple[int, float]]] = {}
        for variant, seed, fold, epoch, value in _rows(table, ("variant", "seed", "fold", "epoch", "value")):
            curves.setdefault((variant, seed, fold), []).append((epoch, value))
        by_seed: dict[str, dict[int, list[float]]] = {}
        for (variant, seed, _), curve in sorted(curves.items()):
            # best_val keeps the epoch with the best validation accuracy, so its value is the maximum of the curve
            selected = max(curve)[1] if self.selection == "last" else max(value for _, value in curve)
            by_seed.setdefault(variant, {}).setdefault(seed, []).append(selected)
        return {v: {seed: float(np.mean(folds)) for seed, folds in seeds.items()} for v, seeds in by_seed.items()}

    def difference(self, a: Score, b: Score, pairing: Pairing = "paired") -> Compared | str:
        """A − B. Seeds pair when both ran the same seed list, unless the design says that they are independent; a
        pair with a diverged run is left out. In a sequential design one of them may have gone on: the seeds that both
        ran pair. Pairs of runs, or single runs of independent seeds, that repeat an earlier one are left out, and a
        method whose runs are all equal has no seeds. Returns the reason where nothing can be compared."""
        common, diverged = a.ran & b.ran, {*a.diverged, *b.diverged}
        paired = pairing == "paired" and (a.ran == b.ran or (self.plan is not None and common in (a.ran, b.ran)))
        seeds_a, seeds_b = list(a.seeds), list(b.seeds)
        if paired:
            seeds_a = seeds_b = [seed for seed in a.seeds if seed in b.seeds]
        if not seeds_a or not seeds_b:
            return "no seed is left: every run, or every pair of runs, diverged"
        first, second = a.values[_places(a, seeds_a)], b.values[_places(b, seeds_b)]
        runs_a, runs_b = [a.runs[k] for k in _places(a, seeds_a)], [b.runs[k] for k in _places(b, seeds_b)]
        groups = self._grouping(first.shape[1])
        if paired:
            repeats = repeated_pairs(runs_a, runs_b)
            first, second = first[[*repeats.kept]], second[[*repeats.kept]]
            copies = _copies("pairs of runs", seeds_a, repeats)
            found = crossed_paired(first, second, *groups)
        else:
            own = [repeated_runs(runs_a), repeated_runs(runs_b)]
            first, second = first[[*own[0].kept]], second[[*own[1].kept]]
            copies = [*_copies("runs", seeds_a, own[0]), *_copies("runs", seeds_b, own[1])]
            fixed_a, fixed_b = (bool(each.removed) and len(each.kept) == 1 for each in own)
            found = crossed_unpaired(first, second, *groups, deterministic=(fixed_a, fixed_b))
        notes = [*a.notes, *(note for note in b.notes if note not in a.notes), *copies, *found.notes]
        notes += self._shapes(first, second, paired, found)
        if pairing == "paired" and not paired:
            notes.append("the variants ran different seeds: seeds taken as independent")
        return Compared(
            crossed=self._whole(found, self.spending(len(common))),
            pairing="paired" if paired else "independent seeds",
            a=first,
            b=second,
            n_diverged=len(diverged & common) if paired else len(a.diverged) + len(b.diverged),
            notes=tuple(notes),
        )

    def _shapes(self, a: Floats, b: Floats, paired: bool, found: Crossed) -> list[str]:
        """What is unusual in the shape of the seeds and of the items of a comparison."""
        sides = [(a - b).mean(axis=1)] if paired else [a.mean(axis=1), b.mean(axis=1)]
        flags = [flag for values in sides for flag in seed_shape(values, found.scale).flags]
        if not (found.whole_runs or found.smoothed):
            labels = next(iter(self.groups.values()), None)
            flags += tail_shape(a.mean(axis=0) - b.mean(axis=0), labels).flags
        return flags

    def together(self, a: Floats, b: Floats, compared: Sequence[Compared]) -> Crossed:
        """A − B of matrices that are means over several datasets with these items; of looks the earliest counts."""
        how = crossed_paired if compared[0].pairing == "paired" else crossed_unpaired
        found = how(a, b, *self._grouping(a.shape[1]))
        return self._whole(found, earliest([each.crossed.spending for each in compared]))

    def spending(self, n_seeds: int) -> Spending | None:
        """The look at which so many seeds stand, also where some of them are left out; None in a design without."""
        if self.plan is None:
            return None
        return Spending(next(look for look in self.plan.looks if look >= n_seeds), self.plan.looks)

    def estimate(self, score: Score, metric: str | None = None) -> Crossed:
        """Mean score with its variance parts; runs that repeat an earlier one are left out. Where the metric is said to
        be accuracy, it is a proportion by itself."""
        repeats = repeated_runs(score.runs)
        values = score.values[[*repeats.kept]]
        share = metric == "accuracy" and values.min() >= 0 and values.max() <= 1
        how = crossed_proportion if share else crossed
        found = self._whole(how(values, *self._grouping(values.shape[1])))
        return replace(found, notes=(*_copies("runs", score.seeds, repeats), *found.notes))

    def against_itself(self, score: Score, name: str) -> SelfComparison:
        """Halves of an arm's seeds against each other, six seeds or more in all: the true difference is zero."""
        rng = generator("against itself", self.dataset, name)
        values = score.values[[*repeated_runs(score.runs).kept]]
        if len(values) < 2 * MIN_UNITS:
            return SelfComparison(0, 0, ALPHA)
        return self_comparison(values, rng, *self._grouping(values.shape[1]), alpha=ALPHA)

    def _grouping(self, width: int) -> tuple[NDArray[Any] | None, ...]:
        """Groupings as the statistics take them; none for values of whole runs, which have no items."""
        if width != self.n_items:
            return (None, None)
        labels = list(self.groups.values())
        return (*labels, *[None] * (MAX_GROUPINGS - len(labels)))

    def _whole(self, c: Crossed, spending: Spending | None = None) -> Crossed:
        """The number of items behind values of whole runs, and the look of a sequential design."""
        if c.n_items == self.n_items and spending is None:
            return c
        return replace(c, n_items=self.n_items, spending=spending)


def _places(score: Score, seeds: Sequence[int]) -> list[int]:
    return [score.seeds.index(seed) for seed in seeds]


def _copies(what: str, seeds: Sequence[int], repeats: Repeats) -> list[str]:
    """Which runs were left out as copies of others."""
    if not repeats.removed:
        return []
    left_out = ", ".join(f"{seeds[k]} (as {seeds[earlier]})" for k, earlier in repeats.removed)
    return [f"{what} that repeat an earlier one are left out: seeds {left_out}"]


def _optimism(metric: str, members: Sequence[Score], validation: Sequence[dict[int, float]]) -> list[Remark]:
    """What reporting the better variant on the test set would have added, over seeds that all of them finished."""
    common = sorted(frozenset.intersection(*(frozenset(member.seeds) for member in members)))
    if not common:
        return []
    sign = 1.0 if METRICS[metric].better == "higher" else -1.0
    scores = np.stack([m.values[[m.seeds.index(seed) for seed in common]] for m in members])
    found = head_optimism(sign * scores, [[of_member[seed] for seed in common] for of_member in validation])
    gain = sign * found.difference.estimate
    return [Remark("optimism", value=gain, unit=METRICS[metric].unit)]


def _rows(table: pa.Table, names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """The rows of columns without missing values, as plain values."""
    return zip(*(table[name].to_numpy().tolist() for name in names), strict=True)
