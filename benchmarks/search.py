"""A random search side by side against one trial after another.

    python benchmarks/search.py [--trials 64] [--epochs 10] [variant ...]

trains the trials of quick.yaml's variants on the digits' halves, at learning rates from 0.001 to 0.3, both ways in one
process, and prints the ratio of processor times (training only) and the largest relative difference of a logit.
"""

import argparse
import time

import numpy as np

from tcmax.experiment import tuning
from tcmax.experiment.grid import load
from tcmax.training.datasets import load_dataset
from tcmax.training.loop import Runs, pick_device
from tcmax.training.spec import resolve_run

DATASET = "digits-halves"


def measure(variant: str, trials: int, epochs: int) -> str:
    experiment, device = load("quick"), pick_device("cpu")
    dataset = load_dataset(experiment, DATASET).without_test(0)
    values = [{"learning_rate": float(rate), "epochs": epochs} for rate in np.geomspace(0.001, 0.3, trials)]
    specs = [
        resolve_run(experiment, dataset, DATASET, 0, variant, tuning.tuned_of(given), (tuning.ROOT, 0, trial))
        for trial, given in enumerate(values)
    ]
    Runs(specs[:1], [0], dataset, device).train()  # warms up
    started = time.process_time()
    together = Runs(specs, [0] * trials, dataset, device).train()
    middle = time.process_time()
    apart = [Runs([spec], [0], dataset, device).train()[0] for spec in specs]
    ended = time.process_time()
    logits = [[result.selected["last"].logits["joint"] for result in results] for results in (together, apart)]
    difference = max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in zip(*logits, strict=True))
    ratio = (ended - middle) / (middle - started)
    return (
        f"{variant}: {trials} trials side by side {ratio:.1f} times as fast, logits differ by {difference:.1e} at most"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("variants", nargs="*", default=["joint-concat", "tcmax-concat", "unimodal"])
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=10)
    given = parser.parse_args()
    for variant in given.variants:
        print(measure(variant, given.trials, given.epochs))
