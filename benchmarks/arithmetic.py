"""What the portable arithmetic costs, and how far rounding alone moves a result, beside what a seed moves.

    python benchmarks/arithmetic.py [--experiment quick] [--dataset digits-halves] [--seeds 12] [--repeats 2]

Trains every variant of an experiment on one dataset by other code paths of the processor, same seeds, same code: as
portable, by what the processor offers (`native`) and by the paths without vector instructions. The variants of TCMax
are also trained with the switch tcmax.release_constant, which adds a constant to the loss and changes no gradient but
by rounding. Differences between such runs are rounding, amplified by training.

Times are ratios to the portable path, of runs that alternate: of training without the start of the process, and of a
product and a convolution as larger models need them.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tcmax.experiment.yaml import read_yaml
from tcmax.records import arithmetic, kinds, parquet

NATIVE = {arithmetic.CHOICE: arithmetic.NATIVE}
PATHS = {
    "portable": {},
    "native": NATIVE,
    "no vector instructions": {**NATIVE, "ATEN_CPU_CAPABILITY": "default"},
}
FLIP = "tcmax.release_constant"
KERNELS = """
import sys, time
from tcmax.records import arithmetic
arithmetic.fix()
import torch
torch.set_num_threads(1)
a, b = torch.randn(512, 512), torch.randn(512, 512)
images, kernels = torch.randn(8, 64, 28, 28), torch.randn(64, 64, 3, 3)
def seconds(work, calls):
    work()
    took = []
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(calls):
            work()
        took.append(time.perf_counter() - start)
    return min(took)
print(seconds(lambda: a @ b, 20), seconds(lambda: torch.nn.functional.conv2d(images, kernels, padding=1), 10))
"""


def environment(path: dict[str, str]) -> dict[str, str]:
    """The surroundings of a process: without what an earlier choice of paths left behind."""
    chosen = {*arithmetic.variables(), arithmetic.CHOICE}
    kept = {name: value for name, value in os.environ.items() if name not in chosen}
    return {**kept, "OMP_NUM_THREADS": "1", **path}


def experiment_file(folder: Path, name: str, dataset: str, seeds: int) -> dict[str, Any]:
    """Write the experiment with one dataset, so many seeds and a flipped copy of each TCMax variant; returns it."""
    raw = read_yaml(Path("config") / f"{name}.yaml")
    flipped = {
        f"{label}.{FLIP.partition('.')[2]}": {**variant, "switches": {**variant.get("switches", {}), FLIP: True}}
        for label, variant in raw["variants"].items()
        if variant["method"] == "tcmax"
    }
    raw |= {"name": "rounding", "seeds": list(range(seeds)), "seeds_per_job": seeds}
    raw |= {"variants": {**raw["variants"], **flipped}, "datasets": {dataset: raw["datasets"][dataset]}}
    raw = {key: value for key, value in raw.items() if key not in ("claims", "sequential")}
    (folder / "rounding.yaml").write_text(yaml.safe_dump(raw, sort_keys=False), encoding="utf-8")
    return raw


def train(folder: Path, results: Path, dataset: str, variant: str, path: dict[str, str]) -> float:
    """Train all seeds of a variant; seconds that it took, without the start of the process."""
    command = [sys.executable, "-m", "tcmax.cli", "train", str(folder / "rounding.yaml"), "--dataset", dataset]
    command += ["--variant", variant, "--results", str(results)]
    subprocess.run(command, check=True, env=environment(path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    runs = (results / "rounding" / dataset / "fold_0" / variant).glob("seed_*/sidecar.json")
    return sum(json.loads(run.read_text(encoding="utf-8"))["seconds"] for run in runs)


def decisions(results: Path, dataset: str, variant: str, seeds: int) -> tuple[np.ndarray, np.ndarray]:
    """(seeds, items) classes that the variant's own read-out decides for at the last epoch, and the labels."""
    decided = []
    for seed in range(seeds):
        folder = results / "rounding" / dataset / "fold_0" / variant / f"seed_{seed}"
        table = parquet.read(folder / "predictions_last.parquet", kinds.PREDICTIONS)
        logits = np.stack(table[f"logits_{parquet.header_of(table)['readout']}"].to_numpy(zero_copy_only=False))
        test = table["split"].to_numpy(zero_copy_only=False) == "test"
        decided.append(logits[test].argmax(axis=1))
        labels = table["label"].to_numpy()[test]
    return np.stack(decided), labels


def row(name: str, other: str, before: np.ndarray, after: np.ndarray, labels: np.ndarray) -> str:
    """A line of the table: what the other path moves, in percentage points of accuracy, beside the seeds' spread."""
    right, right_after = (100 * (decided == labels).mean(axis=1) for decided in (before, after))
    moved = right_after - right
    numbers = [right.std(ddof=1), np.abs(moved).mean(), np.abs(moved).max(), moved.mean()]
    numbers += [right.std(ddof=1) / np.sqrt(len(right)), 100 * (before != after).mean()]
    return f"| {name} | {other} | " + " | ".join(f"{number:.2f}" for number in numbers) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiment", default="quick")
    parser.add_argument("--dataset", default="digits-halves")
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=2, help="of each training, alternating; times are the smallest")
    arguments = parser.parse_args()
    dataset, seeds = arguments.dataset, arguments.seeds
    lines, took = [], dict.fromkeys(PATHS, 0.0)
    with tempfile.TemporaryDirectory(prefix="tcmax-arithmetic-") as name:
        folder = Path(name)
        raw = experiment_file(folder, arguments.experiment, dataset, seeds)
        for variant, settings in raw["variants"].items():
            title = settings.get("title", variant)
            if FLIP in settings.get("switches", {}):
                base = variant.rpartition(".")[0]
                train(folder, folder / "portable-0", dataset, variant, PATHS["portable"])
                before, labels = decisions(folder / "portable-0", dataset, base, seeds)
                after, _ = decisions(folder / "portable-0", dataset, variant, seeds)
                lines.append(row(title, "constant added to the loss", before, after, labels))
                continue
            seconds: dict[str, list[float]] = {path: [] for path in PATHS}
            for repeat in range(arguments.repeats):
                for path, chosen in PATHS.items():
                    seconds[path].append(train(folder, folder / f"{path}-{repeat}", dataset, variant, chosen))
            for path in PATHS:
                took[path] += min(seconds[path])
            before, labels = decisions(folder / "portable-0", dataset, variant, seeds)
            for path in list(PATHS)[1:]:
                after, _ = decisions(folder / f"{path}-0", dataset, variant, seeds)
                lines.append(row(title, path, before, after, labels))
    print("| method | other path | SD over seeds | mean move | largest | move of the mean | SE of the mean | items |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    print("\n".join(lines))
    for path in list(PATHS)[1:]:
        print(f"training, {path} / portable: {took[path] / took['portable']:.2f}x of {took['portable']:.1f} s")
    found: dict[str, list[list[float]]] = {"portable": [], "native": []}
    for _ in range(3):
        for path in found:
            done = subprocess.run(
                [sys.executable, "-c", KERNELS],
                check=True,
                env=environment(PATHS[path]),
                capture_output=True,
                text=True,
            )
            found[path].append([float(text) for text in done.stdout.split()])
    for place, what in enumerate(("product of 512 x 512", "convolution of 64 channels")):
        best = {path: min(times[place] for times in all_times) for path, all_times in found.items()}
        print(f"{what}, native / portable: {best['native'] / best['portable']:.2f}x")


if __name__ == "__main__":
    main()
