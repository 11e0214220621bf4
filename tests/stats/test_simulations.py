"""The stored simulations of rules that look and of suite summaries: what they must show, and a short repetition."""

import csv
import importlib
import math

import numpy as np
import pytest
from projects import ROOT

FOLDER = ROOT / "simulations"


@pytest.fixture
def script(monkeypatch):
    """Import a script of simulations/ as when it is run from there."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module


def stored(name):
    with (FOLDER / f"{name}.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_spending_keeps_its_error_and_looking_with_t_does_not():
    rows = stored("sequential")
    for row in rows:
        wrong, n = float(row["wrong"]), int(row["repetitions"])
        slack = 4 * math.sqrt(0.025 * 0.975 / n)
        if row["rule"] != "t":
            assert wrong <= 0.025 * 1.05 + slack, row  # boundaries are simulated, to about 1 %
        elif row["population"] == "seeds" and float(row["gain"]) == 0 and row["looks"] != "20":
            assert wrong > 0.1
    power = {(row["rule"], row["looks"], row["gain"]): float(row["right"]) for row in rows if row["gain"] != "0"}
    sparse = "4 8 12 16 20"
    for gain in ("0.75", "1", "1.5", "2"):
        one_look, looked = power["t", "20", gain], power["spending", sparse, gain]
        assert one_look - 0.06 < looked <= one_look + 0.005
        assert power["e-process", sparse, gain] <= looked + 0.002
        assert looked - 0.02 < power["spending, futility", sparse, gain]


def test_a_short_repetition_agrees_with_the_stored_rules(script):
    sequential = script("sequential")
    rows = {(r["rule"], r["looks"], float(r["gain"])): r for r in stored("sequential") if r["population"] == "seeds"}
    for rule, looks, gain in (
        ("t", sequential.EACH, 0.0),
        ("e-process", sequential.SPARSE, 1.0),
        ("spending", sequential.SPARSE, 0.0),
        ("spending, futility", sequential.SPARSE, 0.75),
    ):
        found = sequential.of_seeds(rule, looks, gain, 3_000, np.random.default_rng(8))
        row = rows[rule, " ".join(map(str, looks)), gain]
        for name in ("right", "wrong", "futile"):
            share = float(row[name])
            slack = 4 * math.sqrt(max(share * (1 - share), 1e-3) / 3_000)
            assert getattr(found, name) == pytest.approx(share, abs=slack), (rule, name)
    both = sequential.of_both("spending", (1, 1, 1), 60, np.random.default_rng(9))
    assert both.wrong <= 0.1


def test_suite_intervals_cover_as_stored(script):
    suite = script("suite")
    rows = stored("suite")
    assert min(float(r["coverage"]) for r in rows if r["n_seeds"] == "12") > 0.88
    rng = np.random.default_rng(3)
    hits = [hit for _ in range(100) for hit in suite.covered(12, 3, 200, rng)]
    for row in rows:
        if (row["n_seeds"], row["n_datasets"]) == ("12", "3"):
            share = hits.count((row["summary"], float(row["at"]))) / 100
            assert share == pytest.approx(float(row["coverage"]), abs=5 * math.sqrt(0.06 * 0.94 / 100))


def test_intervals_of_tau_cover_as_stored_and_seldom_say_the_wrong_sign(script):
    association = script("association")
    rows = stored("association")
    assert max(float(r["wrong_sign"]) for r in rows) < 0.02
    assert max(float(r["wrong_sign"]) for r in rows if r["population"] == "both") < 0.005
    means = 0.005 * np.array(association.ORDERS["similar"], dtype=float)
    rng = np.random.default_rng(4)
    hits, n = 0, 40
    for _ in range(n):
        x, y = association.scores(0.005 * np.arange(6.0), rng), association.scores(means, rng)
        found = association.resampled_tau(x, y, {}, rng, 300).interval("both", 0.05)
        hits += found.low - 1e-9 <= 0.6 <= found.high + 1e-9
    (row,) = (r for r in rows if (r["population"], r["gap"], r["order"]) == ("both", "0.005", "similar"))
    share = float(row["coverage"])
    assert hits / n == pytest.approx(share, abs=5 * math.sqrt(0.05 * 0.95 / n))


def test_edges_cover_as_stored_and_the_usual_ways_do_not(script):
    edges = script("edges")
    rows = {(r["topic"], r["case"], r["procedure"]): r for r in stored("edges")}
    covered = {key: float(r["coverage"]) for key, r in rows.items() if r["coverage"]}
    assert min(c for (topic, _, p), c in covered.items() if topic == "unequal groups" and p == "both") > 0.92
    assert min(c for (topic, _, p), c in covered.items() if topic == "accuracy" and p == "Wilson's form") > 0.93
    assert min(c for (topic, _, p), c in covered.items() if p == "squared error") > 0.94
    flagged = {key[1]: float(r["rate"]) for key, r in rows.items() if key[2] == "seed shape flagged"}
    assert max(rate for name, rate in flagged.items() if name.startswith("normal")) < 0.02
    named = {(topic, name): case for topic, name, case in edges.cases()}
    for topic, name, procedure in (
        ("unequal groups", "20 groups, one holds 40 %, 5 seeds", "both"),
        ("unequal groups", "20 groups, one holds 40 %, 5 seeds", "both, G/(G−1) and G−1"),
        ("accuracy", "0.988, 3 seeds, 50 items", "symmetric"),
        ("losses", "log-normal, sd 1, 50 items", "corrected for skewness"),
    ):
        again = edges.simulate(topic, name, named[topic, name], 200, np.random.default_rng(4))
        (row,) = (r for r in again if r.procedure == procedure)
        share = covered[topic, name, procedure]
        assert row.coverage == pytest.approx(share, abs=4.5 * math.sqrt(share * (1 - share) / 200))
