"""`tcmax splits`: two variants over repeated random train/test splits, by the corrected resampled t.

Everything else here holds the split fixed. Where each dataset of an experiment is one random split of the same items
(its own feature file, say), the differences of the splits answer another question: does the gain survive a new training
set and a new test set? Training sets of such splits overlap, so that their differences are alike and a plain t over
splits is far too sure; Nadeau and Bengio (2003) add the share of the test set to its variance.

That is right for repeated random splits only, which is checked from the test items: cross-validation tests each item
once, seeds on one split test the same items, and of random splits two share about n²/N of their n out of N items.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tcmax.errors import TcmaxError
from tcmax.evidence.rows import ALPHA
from tcmax.evidence.scoreboard import Scoreboard
from tcmax.evidence.wording import shown
from tcmax.experiment.grid import Experiment
from tcmax.metrics import METRICS
from tcmax.records.files import read_json
from tcmax.stats.paired import TTest, corrected_resampled_t

MIN_SPLITS = 3
FAR = 2.0  # how far the shared test items may be from what random splits share, as a ratio


@dataclass(frozen=True)
class Splits:
    """a - b over random splits, for new training sets and test sets of these sizes.

    corrected, plain    the corrected test, and the t over splits that takes them as independent
    differences         one per split, the mean over its seeds
    n_train             without validation items
    """

    a: str
    b: str
    metric: str
    corrected: TTest
    plain: TTest
    differences: tuple[float, ...]
    n_train: int
    n_test: int
    fewest_seeds: int


def compare_splits(
    experiment: Experiment, results: Path, a: str, b: str, metric: str = "accuracy", readout: str | None = None
) -> Splits:
    """Compare two variants over the datasets of an experiment, each of which is one random split of the same items.

    Raises TcmaxError where they are no repeated random splits, for unknown variants and metrics, and missing scores.
    """
    for variant in (a, b):
        if variant not in experiment.settings.variants:
            known = ", ".join(experiment.settings.variants)
            raise TcmaxError(f"{experiment.path}: there is no variant {variant!r}; known: {known}.")
    if metric not in METRICS:
        raise TcmaxError(f"there is no metric {metric!r}; metrics: {', '.join(METRICS)}.")
    boards = [Scoreboard(experiment, dataset, results) for dataset in experiment.settings.datasets]
    facts = [read_json(board.folder / "data.json") for board in boards]
    n_train, n_test = _random_splits(experiment, boards, facts)
    differences, seeds, scales = [], [], []
    for board in boards:
        named = (metric, board.readout(metric, readout))
        if named not in board.available:
            raise TcmaxError(f"{board.items.path} has no scores of {metric}.")
        compared = board.difference(board.score((a,), *named), board.score((b,), *named))
        if isinstance(compared, str):
            raise TcmaxError(f"{a} and {b} cannot be compared on {board.dataset}: {compared}.")
        differences.append(compared.crossed.estimate)
        seeds.append(compared.crossed.n_seeds)
        scales.append(compared.crossed.scale)
    corrected = corrected_resampled_t(differences, n_test / n_train, ALPHA, max(scales))
    plain = corrected_resampled_t(differences, 0.0, ALPHA, max(scales))
    return Splits(a, b, metric, corrected, plain, tuple(differences), n_train, n_test, min(seeds))


def splits_text(found: Splits) -> str:
    """The comparison in words."""
    unit = METRICS[found.metric].unit
    c, plain = found.corrected, found.plain
    return "\n".join(
        (
            f"{found.a} - {found.b}, {METRICS[found.metric].title}, {len(found.differences)} random splits of "
            f"{found.n_train:,} training and {found.n_test:,} test items, {found.fewest_seeds} seeds or more on each",
            f"  corrected resampled t: {shown(c.estimate, unit, c.low, c.high)}, p {c.p_value:.3g}, for new training "
            "sets and test sets of these sizes",
            f"  t over splits as if they were independent, which they are not: "
            f"{shown(plain.estimate, unit, plain.low, plain.high)}, p {plain.p_value:.3g}",
        )
    )


def _random_splits(
    experiment: Experiment, boards: Sequence[Scoreboard], facts: Sequence[dict[str, Any]]
) -> tuple[int, int]:
    """Sizes of the training and the test part, after a check that datasets are random splits of the same items."""
    refused = (
        f"{experiment.path}: the corrected resampled t is for repeated random splits of the same items only; here "
    )
    if len(boards) < MIN_SPLITS:
        raise TcmaxError(f"{refused}are {len(boards)} datasets, and {MIN_SPLITS} splits are the fewest.")
    if any(len(fact["folds"]) != 1 for fact in facts):
        raise TcmaxError(f"{refused}a dataset has folds, whose test sets are disjoint.")
    sizes = {(fact["n_items"], fact["folds"][0]["train"], fact["folds"][0]["test"]) for fact in facts}
    if len(sizes) > 1:
        raise TcmaxError(f"{refused}datasets differ in their numbers of items.")
    ((n_items, n_train, n_test),) = sizes
    if not isinstance(n_train, int):
        raise TcmaxError(f"{refused}nobody says how many items were trained on.")
    tested = [set(board.items.items.tolist()) for board in boards]
    shared = float(np.mean([len(x & y) for x, y in itertools.combinations(tested, 2)]))
    expected = n_test**2 / n_items
    if shared == 0:
        raise TcmaxError(f"{refused}test sets share no item, as in cross-validation.")
    if shared == n_test:
        raise TcmaxError(f"{refused}all test sets are the same.")
    if not expected / FAR < shared < expected * FAR:
        raise TcmaxError(f"{refused}test sets share {shared:.1f} items on average, random ones {expected:.1f}.")
    return n_train, n_test
