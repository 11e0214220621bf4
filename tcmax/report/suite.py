"""Who is where, dataset by dataset and over the whole suite: sets of ranks, and the interquartile mean of runs."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tcmax.report.numbers import count, show
from tcmax.report.report_records import ReportRecords
from tcmax.report.signature import signed
from tcmax.report.tables import POPULATIONS, Block, Column, Row, Table, TableCell, around, bound, held_fixed, macros_of
from tcmax.seeding import generator
from tcmax.stats.bayes import MIN_DATASETS, bayesian_signed_rank
from tcmax.stats.effects import MIN_SEEDS
from tcmax.stats.suite import interquartile_means

PRACTICALLY_EQUAL = 0.01  # one point of accuracy
ABOVE = "percentage points above the dataset's mean over these variants and their runs"


def suite_scores(records: ReportRecords) -> dict[str, list[NDArray[np.float64]]]:
    """Joint accuracy of every run minus its dataset's mean over variants: variant -> one array per dataset.

    Of the variants with runs on every dataset; empty for fewer than two variants or two datasets. With the mean taken
    off, the middle half of all runs is not that of the datasets of middling difficulty.
    """
    rule = records.experiment.settings.selection
    by_dataset = []
    for dataset in records.datasets:
        values = dataset.values("accuracy", "own", rule)
        by_dataset.append({str(v): part["value"].to_numpy(dtype=float) for v, part in values.groupby("variant")})
    variants = [v for v in records.experiment.settings.variants if all(v in runs for runs in by_dataset)]
    if len(variants) < 2 or len(by_dataset) < 2:
        return {}
    centres = [float(np.mean([runs[v].mean() for v in variants])) for runs in by_dataset]
    return {v: [runs[v] - centre for runs, centre in zip(by_dataset, centres, strict=True)] for v in variants}


def in_practice(
    suite: Mapping[str, Sequence[NDArray[np.float64]]], reference: str | None, name: str
) -> tuple[str, ...]:
    """What the datasets as a sample say of each variant against the reference, or why they say nothing."""
    n = len(next(iter(suite.values()), ()))
    if reference is None or reference not in suite:
        return ()
    if n < MIN_DATASETS:
        return (
            f"Whether variants are practically equal on datasets in general (Bayesian signed ranks) is asked from "
            f"{MIN_DATASETS} datasets on; here are {n}.",
        )
    found = []
    for variant in suite:
        if variant == reference:
            continue
        gains = [float(a.mean() - b.mean()) for a, b in zip(suite[variant], suite[reference], strict=True)]
        p = bayesian_signed_rank(gains, PRACTICALLY_EQUAL, generator("signed ranks", name, variant))
        found.append(
            f"{variant} against {reference}: better {100 * p.better:.0f} %, practically equal {100 * p.equal:.0f} %, "
            f"worse {100 * p.worse:.0f} %"
        )
    return (
        f"Posterior probabilities over {n} datasets as a sample (Bayesian signed ranks), practically equal within ± "
        f"{100 * PRACTICALLY_EQUAL:g} pp. They decide nothing.",
        *found,
    )


def _rank_signature(records: ReportRecords, dataset: str, variant: str) -> str:
    """The line of a set of ranks: it rests on the family of all pairs that the variant is in."""
    pairs = records.comparisons(dataset, "accuracy", "own", "pair").dropna(subset=["p_adjusted"])
    pairs = pairs[(pairs["a"] == variant) | (pairs["b"] == variant)]
    return signed(
        metric="accuracy",
        read_out="own",
        of=variant,
        dataset=dataset,
        interval=f"{100 * (1 - float(pairs['alpha'].iloc[0])):g}% for all ranks together",
        population="seeds+items",
        estimator="set of ranks",
        seeds=int(pairs["n_seeds"].min()),
        items=int(pairs["n_items"].min()),
        selection=records.experiment.settings.selection,
        correction=f"{pairs['correction'].iloc[0]} ({pairs['family'].iloc[0]})",
    )


def standings(records: ReportRecords) -> Table:
    """Confidence sets of ranks in joint accuracy, and the interquartile mean over the suite."""
    experiment = records.experiment
    columns: list[tuple[str, Column, dict[str, TableCell]]] = []
    data: list[dict[str, object]] = []
    caption = (
        f"Rank: the ranks in joint accuracy that remain possible, for {POPULATIONS['both']}; all sets of a dataset "
        "hold together with 95 % confidence (all pairs, Holm). Bold: possibly best, no rival beats it (one-sided "
        f"0.025, Holm over its rivals). {held_fixed(records)}"
    )
    for dataset in records.datasets:
        ties = records.ties(dataset.id, "accuracy", "own", "higher")
        cells = {}
        for variant, (low, high) in ties.ranks.items():
            best = variant in ties.possibly_best
            text = f"{low}" if low == high else f"{low}–{high}"
            bold = best and len(ties.possibly_best) < len(ties.ranks)
            line = _rank_signature(records, dataset.id, variant)
            cells[variant] = TableCell(text, best=bold, order=(low + high) / 2, note=line)
            record = {"quantity": "rank", "dataset": dataset.id, "variant": variant, "low": low, "high": high}
            data.append({**record, "possibly_best": best, "population": "both", "signature": line})
        if cells:
            columns.append((dataset.title, Column("rank"), cells))
    suite = suite_scores(records)
    if suite and columns:
        means = interquartile_means(suite, generator("interquartile means", experiment.name))
        cells = {}
        for m in means:
            shown = show(m.estimate, m.low, m.high, "proportion", difference=True)
            line = signed(
                metric="accuracy, relative to the dataset's mean",
                read_out="own",
                of=m.variant,
                dataset=f"{m.n_datasets}, fixed",
                interval="none" if m.low is None else f"{100 * (1 - m.alpha):g}%",
                population="seeds",
                estimator="interquartile mean over runs",
                seeds=m.n_seeds,
                selection=experiment.settings.selection,
                correction="none",
            )
            cells[m.variant] = TableCell(f"{shown.value} {shown.interval}".rstrip(), order=m.estimate, note=line)
            record = {"quantity": "interquartile mean", "dataset": "all", "variant": m.variant, "estimate": m.estimate}
            sizes = {"alpha": m.alpha, "population": "seeds", "n_seeds": m.n_seeds, "n_datasets": m.n_datasets}
            data.append({**record, "low": m.low, "high": m.high, **sizes, "signature": line})
        columns.append(("All datasets", Column("IQM", "pp"), cells))
        fewest = min(m.n_seeds for m in means)
        interval = (
            "its 95 % interval holds new seeds on these test sets only"
            if fewest >= MIN_SEEDS
            else f"without interval, which takes {MIN_SEEDS} seeds"
        )
        caption += (
            f" IQM: interquartile mean of all runs, in {ABOVE}; {interval}. It describes and decides nothing "
            f"({count(len(suite[means[0].variant]), 'dataset')}, {count(fewest, 'seed')})."
        )
    rows = tuple(
        Row(experiment.title(variant), tuple(cells.get(variant, TableCell()) for _, _, cells in columns), variant)
        for variant in experiment.settings.variants
        if any(variant in cells for _, _, cells in columns)
    )
    block = Block("Method", tuple((title, 1) for title, _, _ in columns), tuple(c for _, c, _ in columns), rows)
    notes = in_practice(
        {experiment.title(v): runs for v, runs in suite.items()},
        experiment.title(reference) if (reference := experiment.settings.reference_variant) else None,
        experiment.name,
    )
    title = "Ranks and interquartile means"
    frame = pd.DataFrame(data)
    blocks = (block,) if rows else ()
    return Table("standings", title, caption, blocks, frame, notes if rows else (), macros_of(frame, _macros))


def _macros(record: Mapping[Hashable, Any]) -> dict[str, str]:
    stem = f"{record['quantity'].replace(' ', '-')}/{record['dataset']}/{record['variant']}"
    if record["quantity"] == "rank":
        return {f"{stem}/low": f"{record['low']:.0f}", f"{stem}/high": f"{record['high']:.0f}"}
    shown = show(record["estimate"], bound(record["low"]), bound(record["high"]), "proportion", difference=True)
    return {stem: shown.value, **around(stem, shown)}
