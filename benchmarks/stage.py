"""The whole statistics stage at full size: seconds of CPU and peak memory of each command, as its user runs it.

    python benchmarks/stage.py [--folder DIR] [--variants 14] [--seeds 10]

Writes made-up item scores of 14 variants x 5 datasets x 10 seeds at the test sizes of the TCMax paper (744 clips of 91
actors, 2,594, 402, 13,294 and 3,783 items) with every column that scoring keeps, then runs `tcmax compare` and `tcmax
audit claims` (influence and resampled associations included) on one thread. Goal: both together under 60 s and 1.5 GiB.
The baseline, from which the ratio is taken, is reading those item scores once.

Scoring raw logits is another stage, one run after the other: its cost per run is measured on two runs.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from tcmax.metrics import METRICS
from tcmax.metrics.readout import JOINT_READOUTS
from tcmax.records import kinds, parquet

SIZES = {"crema-d": 744, "kinetics-sounds": 2594, "ave": 402, "vggsound": 13294, "ucf101": 3783}
CLASSES = {"crema-d": 6, "kinetics-sounds": 31, "ave": 28, "vggsound": 309, "ucf101": 101}
ACTORS = 91
MODALITIES = ("audio", "visual")
SCORED = ("ave", "vggsound")  # datasets whose logits are scored: a small one, and the largest


def variants(n: int) -> list[str]:
    return [f"method-{k:02d}" for k in range(n)]


def stored_columns() -> list[str]:
    """Every column of ITEM SCORES of two modalities."""
    names = list(dict.fromkeys(metric.item_column for metric in METRICS.values() if metric.item_column is not None))
    readouts = (*MODALITIES, *JOINT_READOUTS, "own")
    of_readout = [f"score_{name}.{readout}" for readout in readouts for name in names if not name.startswith("js")]
    return [*of_readout, "score_js.all", "score_js_calibrated.all"]


def item_tables(dataset: str, labels_of: list[str], seeds: int, rng: np.random.Generator) -> Iterator[pa.Table]:
    """One validated table per variant: crossed probit scores with a small effect of the variant."""
    n = SIZES[dataset]
    items = [f"item-{i:05d}" for i in range(n)]
    ability = rng.standard_normal(n)
    label = rng.integers(CLASSES[dataset], size=n)
    header = {
        "variants": labels_of,
        "selections": ["last"],
        "modalities": list(MODALITIES),
        "classes": [f"class {c}" for c in range(CLASSES[dataset])],
        "diverged": {},
        "own": dict.fromkeys(labels_of, "joint"),
    }
    for variant in labels_of:
        level = 0.5 + 0.05 * rng.standard_normal() + 0.05 * rng.standard_normal((seeds, 1))
        columns: dict[str, Any] = {
            "dataset": dataset,
            "fold": 0,
            "variant": variant,
            "seed": np.repeat(np.arange(seeds), n),
            "selection": "last",
            "item": items * seeds,
            "label": np.tile(label, seeds),
        }
        if dataset == "crema-d":
            columns["group_actor"] = [f"actor-{i % ACTORS:02d}" for i in range(n)] * seeds
        for name in stored_columns():
            margin = level + ability + rng.standard_normal((seeds, n))
            values = margin > 0 if "correct" in name else np.logaddexp(0, -margin)
            if "confidence" in name or "brier" in name:
                values = 1 / (1 + np.exp(-np.abs(margin)))
            columns[name] = values.astype(np.float32).astype(np.float64).ravel()
        yield parquet.build(kinds.ITEM_SCORES, columns, header)


def write_dataset(folder: Path, dataset: str, labels_of: list[str], seeds: int, rng: np.random.Generator) -> None:
    """items.parquet, scores.parquet and history.parquet of one dataset."""
    folder.mkdir(parents=True)
    tables = item_tables(dataset, labels_of, seeds, rng)
    first = next(tables)
    texts = [field.name for field in first.schema if not pa.types.is_floating(field.type)]
    with pq.ParquetWriter(folder / "items.parquet", first.schema, compression="zstd", use_dictionary=texts) as writer:
        for table in chain([first], tables):
            writer.write_table(table)
    runs = [(variant, seed) for variant in labels_of for seed in range(seeds)]
    common = {"dataset": dataset, "variant": [v for v, _ in runs], "seed": [s for _, s in runs]}
    of_run = {"selection": "last", "readout": "own", "metric": "macro_f1", "value": rng.random(len(runs))}
    scores = {**common, "fold": [None] * len(runs), **of_run, "n_items": SIZES[dataset]}
    parquet.write(folder / "scores.parquet", kinds.SCORES, scores)
    validation = {"epoch": 0, "quantity": "accuracy.val.own", "value": rng.random(len(runs))}
    parquet.write(folder / "history.parquet", kinds.HISTORY, {**common, "fold": 0, **validation})


def claims(labels_of: list[str]) -> list[dict[str, Any]]:
    """Thirty claims of the kinds that a paper makes."""
    ours, sibling, reference, *_ = labels_of
    of_all = {"subject": [ours, sibling]}
    against = {"subject": ours, "rivals": reference, "relation": "greater"}
    kinds: list[dict[str, Any]] = [
        {**of_all, "metric": "accuracy", "relation": "largest of"},
        {**of_all, "metric": "js", "relation": "smallest of"},
        {**of_all, "metric": "js_calibrated", "relation": "smallest of"},
        {"subject": ours, "metric": "nll", "relation": "smallest of"},
        {"subject": ours, "metric": "ece", "relation": "smallest of"},
        {"variants": labels_of[:4], "metric": "accuracy", "relation": "monotone"},
        {"variants": "all", "metric": "js", "relation": "association", "direction": "negative"}
        | {"associated_with": {"metric": "accuracy"}},
        {**against, "metric": "accuracy", "quantifier": "average over the named datasets"},
        {**against, "metric": "accuracy", "quantifier": "datasets in general"},
        {**against, "metric": "accuracy", "quantifier": "some dataset"},
        {**against, "metric": "accuracy", "relation": "equal", "margin": 0.01, "margin_reason": "one point"},
        {**against, "metric": "balanced_accuracy"},
        {**against, "metric": "entropy_ratio"},
        {**against, "metric": "macro_f1", "population": "seeds"},
    ]
    kinds += [{**against, "metric": "accuracy", "readout": readout} for readout in MODALITIES]
    kinds += [{"subject": v, "rivals": reference, "relation": "greater", "metric": "accuracy"} for v in labels_of[3:]]
    fixed = {"text": "A sentence.", "source": {"document": "made up", "section": "1"}, "origin": "written before"}
    return [{"id": f"claim-{k:02d}", **fixed, **kind} for k, kind in enumerate(kinds)]


def write_experiment(root: Path, name: str, labels_of: list[str], seeds: int) -> None:
    """The experiment as an import would write it, and its claims file."""
    settings = {label: {"method": label, "family": "ours" if label in labels_of[:2] else None} for label in labels_of}
    content = {
        "name": name,
        "title": "Made up, at full size",
        "imported": "made up",
        "seeds": list(range(seeds)),
        "reference_variant": labels_of[2],
        "claims": f"{name}.yaml",
        "datasets": dict.fromkeys(SIZES),
        "variants": settings,
    }
    (root / "config" / "claims").mkdir(parents=True)
    (root / "config" / f"{name}.yaml").write_text(yaml.safe_dump(content))
    (root / "config" / "claims" / f"{name}.yaml").write_text(yaml.safe_dump({"claims": claims(labels_of)}))


def write_logits(root: Path, dataset: str, rng: np.random.Generator) -> int:
    """Two runs of raw logits as NPZ files with their mapping, and as many validation items; returns bytes of a run."""
    n, n_classes = SIZES[dataset], CLASSES[dataset]
    arrays: dict[str, Any] = {
        "clip": np.arange(2 * n),
        "target": rng.integers(n_classes, size=2 * n),
        "part": np.repeat(["dev", "test"], n),
    }
    readouts = (*MODALITIES, "joint")
    for seed in range(2):
        arrays |= {name: rng.standard_normal((2 * n, n_classes), dtype=np.float32) for name in readouts}
        np.savez(root / f"{dataset}-made up-{seed}.npz", **arrays)
    mapping = {
        "name": f"logits-{dataset}",
        "source": "made up",
        "files": f"{dataset}-{{variant}}-{{seed}}.npz",
        "dataset": dataset,
        "columns": {"item": "clip", "label": "target", "split": "part"},
        "logits": {name: name for name in readouts},
    }
    (root / f"{dataset}.yaml").write_text(yaml.safe_dump(mapping))
    return 4 * len(readouts) * 2 * n * n_classes


def cost(root: Path, *command: str) -> tuple[float, float]:
    """Seconds of CPU and peak MiB of a command on one thread."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ARROW_NUM_THREADS"), "1")
    process = subprocess.Popen(
        [sys.executable, *command], cwd=root, env={**os.environ, **threads}, stdout=subprocess.DEVNULL
    )
    _, status, used = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(command)} failed")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def run(root: Path, n_variants: int, seeds: int) -> None:
    rng = np.random.default_rng(0)
    labels_of = variants(n_variants)
    write_experiment(root, "full", labels_of, seeds)
    for dataset in SIZES:
        write_dataset(root / "results" / "full" / dataset, dataset, labels_of, seeds, rng)
    total = sum(SIZES.values())
    print(f"{n_variants} variants x {len(SIZES)} datasets ({total:,} items) x {seeds} seeds, one thread\n")
    print(f"{'':44s} {'s CPU':>8s} {'ratio':>8s} {'peak MiB':>9s}")
    reading = (
        "import sys, pyarrow.parquet as p\nfor f in sys.argv[1:]:\n for b in p.ParquetFile(f).iter_batches(): pass"
    )
    paths = [str(root / "results" / "full" / dataset / "items.parquet") for dataset in SIZES]
    baseline, memory = cost(root, "-c", reading, *paths)
    print(f"{'read the item scores once (baseline)':44s} {baseline:8.1f} {1:8.1f} {memory:9.0f}", flush=True)
    whole = 0.0
    for command in (["compare", "full"], ["audit", "claims", "full"]):
        seconds, memory = cost(root, "-m", "tcmax.cli", *command)
        whole += seconds
        name = f"tcmax {' '.join(command)}"
        print(f"{name:44s} {seconds:8.1f} {seconds / baseline:8.1f} {memory:9.0f}", flush=True)
    print(f"{'both':44s} {whole:8.1f} {whole / baseline:8.1f}   goal 60 s, 1536 MiB\n", flush=True)
    spent = {}
    for dataset in SCORED:
        size = write_logits(root, dataset, rng)
        cost(root, "-m", "tcmax.cli", "import", f"{dataset}.yaml")
        spent[dataset] = cost(root, "-m", "tcmax.cli", "score", f"logits-{dataset}", "--dataset", dataset)
    small, large = SCORED
    per_run = (spent[large][0] - spent[small][0]) / 2  # what is left of the small one is loading libraries
    print(
        f"score raw logits ({large}, {CLASSES[large]} classes, {size / 2**20:.0f} MiB a run with validation items): "
        f"{per_run:.1f} s CPU a run beyond the {spent[small][0]:.1f} s for {small}, peak {spent[large][1]:.0f} MiB"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, help="keep the records in this empty folder")
    parser.add_argument("--variants", type=int, default=14)
    parser.add_argument("--seeds", type=int, default=10)
    given = parser.parse_args()
    if given.folder is not None:
        run(given.folder.resolve(), given.variants, given.seeds)
        return
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder), given.variants, given.seeds)


if __name__ == "__main__":
    main()
