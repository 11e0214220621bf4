"""Speed and memory of the statistics at full size, as ratios against the straightforward forms in one run.

    python benchmarks/resampling.py

14 variants x 10 seeds on the largest test set (13,294 items), 10,000 resamples. The straightforward form of each is
timed on a few resamples and scaled. Ratios are what to read; the seconds belong to the machine.
"""

from __future__ import annotations

import itertools
import time
import tracemalloc
from collections.abc import Callable

import numpy as np

from tcmax.stats.aso import almost_stochastic_order
from tcmax.stats.crossed import crossed_paired, interval
from tcmax.stats.intervals import bootstrap, two_level_bootstrap
from tcmax.stats.multiplicity import max_t
from tcmax.stats.paired import mcnemar, sign_flip_items
from tcmax.stats.ranking import rank_variants

VARIANTS, SEEDS, ITEMS, RESAMPLES = 14, 10, 13_294, 10_000


def seconds(work: Callable[[], object]) -> float:
    """Least process time of three."""
    times = []
    for _ in range(3):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def peak_mb(work: Callable[[], object]) -> float:
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 2**20


def report(name: str, ours: Callable[[], object], slow: Callable[[], object], scale: float, goal: str) -> None:
    fast, plain = seconds(ours), seconds(slow) * scale
    print(f"{name:44s} {fast:8.3f} s  {plain / fast:8.0f}x  {peak_mb(ours):6.0f} MB   goal {goal}", flush=True)


def main() -> None:
    rng = np.random.default_rng(0)
    ability = rng.standard_normal(ITEMS)
    level = 0.6 + 0.02 * rng.standard_normal((VARIANTS, 1, 1))
    scores = (level + ability + rng.standard_normal((VARIANTS, SEEDS, ITEMS)) > 0).astype(np.float64)
    named = {f"v{k}": s for k, s in enumerate(scores)}
    pairs = list(itertools.combinations(range(VARIANTS), 2))
    difference = scores[0] - scores[1]
    per_item = difference.mean(axis=0)
    print(f"{VARIANTS} variants, {SEEDS} seeds, {ITEMS} items, {RESAMPLES} resamples, process time, one core\n")

    def flip_loop(times: int = 3) -> None:
        for _ in range(times):
            signs = rng.choice([-1.0, 1.0], ITEMS)
            float((signs * per_item).mean())

    def flips() -> None:
        for i, j in pairs:
            sign_flip_items(scores[i] - scores[j])

    report("item sign flip, 91 pairs (exact)", flips, flip_loop, len(pairs) * RESAMPLES / 3, "50x, 200 MB")

    def two_level_loop(times: int = 3) -> None:
        for _ in range(times):
            s, i = rng.integers(0, SEEDS, SEEDS), rng.integers(0, ITEMS, ITEMS)
            float(scores[0][np.ix_(s, i)].mean() - scores[1][np.ix_(s, i)].mean())

    report(
        "two-level bootstrap, one pair",
        lambda: two_level_bootstrap(difference, np.random.default_rng(1)),
        two_level_loop,
        RESAMPLES / 3,
        "15x, 200 MB",
    )
    parts = np.column_stack([per_item, np.ones(ITEMS)])

    def bca_loop(times: int = 20) -> None:
        for _ in range(times):
            float(per_item[rng.integers(0, ITEMS, ITEMS)].mean())
            float(np.delete(per_item, int(rng.integers(ITEMS))).mean())

    report(
        "BCa over items, one pair",
        lambda: bootstrap(lambda t: t[..., 0] / t[..., 1], parts, np.random.default_rng(1)),
        bca_loop,
        (RESAMPLES + ITEMS) / 2 / 20,
        "50x, 200 MB",
    )
    rivals = {f"v{k}": (scores[0] - scores[k]).mean(axis=0) for k in range(1, VARIANTS)}

    def max_t_loop(times: int = 3) -> None:
        columns = np.column_stack(list(rivals.values()))
        for _ in range(times):
            flipped = columns * rng.choice([-1.0, 1.0], (ITEMS, 1))
            flipped.mean(axis=0) / flipped.std(axis=0, ddof=1)

    report(
        "step-down max-T over items, 13 rivals",
        lambda: max_t(rivals, "rivals of v0", np.random.default_rng(1)),
        max_t_loop,
        RESAMPLES / 3,
        "none stated",
    )

    def mcnemar_loop() -> None:
        from scipy.stats import binomtest

        for s in range(SEEDS):
            wins, losses = int(np.sum(difference[s] > 0)), int(np.sum(difference[s] < 0))
            binomtest(wins, wins + losses)

    report("McNemar, ten runs of one pair", lambda: mcnemar(scores[0], scores[1]), mcnemar_loop, 1, "none stated")

    whole = seconds(lambda: rank_variants(named))
    one = seconds(lambda: interval(crossed_paired(scores[0], scores[1]), "both"))
    print(f"\ndefault interval of one pair {1000 * one:.1f} ms; ranking with tie groups, 91 pairs {whole:.2f} s")
    means = {name: s.mean(axis=1) for name, s in named.items()}
    five = sum(seconds(lambda: almost_stochastic_order(means, np.random.default_rng(1))) for _ in range(5))
    print(f"almost stochastic order, 91 pairs x 5 datasets x {RESAMPLES} resamples {five:.2f} s   goal 3 s")


if __name__ == "__main__":
    main()
