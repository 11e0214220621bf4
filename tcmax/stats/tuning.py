"""Choosing settings is a source of variance: what a search is expected to find, and what new searches would.

A search of n independent random trials, each with a validation and a test score, chooses the best on validation. What a
search of k <= n of them finds on average needs no further training: a trial is the best of a random k with a known
probability (order statistics; with replacement, as in Dodge et al. 2019, that is biased, Tang et al. 2020; so without).
Trials of a grid or of a Sobol sequence are not exchangeable, so that a part of them is no smaller search.

One search says nothing about how another one would have chosen. With R >= 3 independent searches, the seeds divided
among them, the mean over a search's seeds is one observation of the whole procedure "search, then train": the spread of
the R means, df R - 1, beside items is the interval for new searches (`new_searches`). Resampling one search's trials
instead covered 51 to 87 % and is not offered.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import comb

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tcmax.stats.crossed import Crossed, Interval, crossed, interval

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Expected:
    """What searches of `trials` trials find on average: validation score of the choice, and its test score."""

    trials: int
    validation: float
    test: float


def expected_best(validation: ArrayLike, test: ArrayLike, better: str = "higher") -> list[Expected]:
    """For each budget k = 1..n, the mean over all sets of k of n trials of what the best of the set scores.

    validation, test: (n,) of independent random trials; better: "higher" or "lower" scores. Of trials that are equal
    on validation each is as likely the chosen one. Exact for the n trials at hand: it equals enumeration, and estimates
    a search of k trials without bias. Raises ValueError for no trials, unequal lengths, or scores that are no numbers.
    """
    v, t = np.asarray(validation, dtype=float), np.asarray(test, dtype=float)
    if v.ndim != 1 or v.shape != t.shape or not len(v):
        raise ValueError(f"validation and test scores of one or more trials are needed, not {v.shape} and {t.shape}")
    if not (np.isfinite(v).all() and np.isfinite(t).all()):
        raise ValueError("a trial without a score needs one, such as that of the majority class")
    if better not in ("higher", "lower"):
        raise ValueError(f"better is higher or lower, not {better!r}")
    n, order = len(v), np.argsort(v if better == "higher" else -v, kind="stable")
    v, t = v[order], t[order]
    # Equal validation scores: any of them may be the chosen one.
    for value in np.unique(v):
        t[v == value] = t[v == value].mean()
    found = []
    for k in range(1, n + 1):
        weights = np.array([comb(rank, k - 1) / comb(n, k) for rank in range(n)])
        found.append(Expected(k, float(weights @ v), float(weights @ t)))
    return found


def choice_optimism(validation: ArrayLike, test: ArrayLike, better: str = "higher") -> float:
    """By how much choosing flatters: validation minus test score of the chosen trial, beyond what it is for all trials.

    validation, test: (n,); positive where the choice looks better than it is, in the scores' unit. The first of equal
    trials is the chosen one. A description of one search, without an interval. Raises ValueError as `expected_best`.
    """
    expected_best(validation, test, better)
    sign = 1.0 if better == "higher" else -1.0
    v, t = sign * np.asarray(validation, dtype=float), sign * np.asarray(test, dtype=float)
    gap = v - t
    return float(gap[int(np.argmax(v))] - gap.mean())


def search_means(scores: ArrayLike, searches: ArrayLike) -> Floats:
    """(R, I): the mean of item scores (S, I) over the seeds of each search; searches (S,) says whose each seed is."""
    x, labels = np.asarray(scores, dtype=float), np.asarray(searches)
    if x.ndim != 2 or labels.shape != x.shape[:1]:
        raise ValueError(f"{labels.shape} searches do not say whose seeds the scores {x.shape} are")
    return np.stack([x[labels == search].mean(axis=0) for search in np.unique(labels)])


def new_searches(scores: ArrayLike, searches: ArrayLike, groups: ArrayLike | None = None) -> Crossed:
    """Paired item differences, or scores, over searches x items: `interval(..., "both")` is for new searches and items.

    scores: (S, I) over seeds and items; searches: (S,), the search that chose each seed's settings, independent of the
    others; groups as of `crossed`. The seeds within a search are averaged: their noise is a part of the spread of the
    means. Raises ValueError for fewer than 3 searches.
    """
    means = search_means(scores, searches)
    if len(means) < 3:
        raise ValueError(f"new searches need at least 3 independent ones, not {len(means)}: this search is held fixed")
    return crossed(means, groups)


def search_interval(
    scores: ArrayLike, searches: ArrayLike, groups: ArrayLike | None = None, alpha: float = 0.05
) -> Interval:
    """The interval for new searches, new seeds and new items: never narrower than that with the searches held fixed.

    Arguments and errors as of `new_searches`. Around the mean of the searches' means.
    """
    wide = interval(new_searches(scores, searches, groups), "both", alpha)
    held = interval(crossed(np.asarray(scores, dtype=float), groups), "both", alpha)
    half = max(wide.half_width, held.half_width)
    df = wide.df if wide.half_width >= held.half_width else held.df
    return replace(wide, low=wide.estimate - half, high=wide.estimate + half, half_width=half, df=df)
