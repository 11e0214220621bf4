"""A short version of `make simulations`: bands of four standard errors at the repetitions run here."""

import csv
import importlib.util
import math
from dataclasses import replace

import numpy as np
import pytest
from projects import ROOT
from scipy.special import stdtrit

from tcmax.stats.crossed import Crossed, interval
from tcmax.stats.error_rates import CELLS, SimulatedDesign, calibrate, calibrate_families, calibrate_tests


def by_procedure(rows):
    return {row.procedure: row for row in rows}


def cell(regime, n_seeds=5, n_items=400):
    return next(c for c in CELLS if c.regime == regime and (c.design.n_seeds, c.design.n_items) == (n_seeds, n_items))


@pytest.mark.parametrize("regime", ["seed-dominated", "item-dominated"])
def test_default_intervals_cover_what_they_claim(regime):
    repetitions = 600
    rows = by_procedure(calibrate(cell(regime), repetitions, 0, np.random.default_rng(1)))
    slack = 4 * math.sqrt(0.05 * 0.95 / repetitions)
    for population in ("seeds", "items", "both"):
        row = rows[f"default {population}"]
        assert row.value >= 0.943 - slack
        assert row.above <= 0.025 + slack * 0.75
        assert row.below <= 0.025 + slack * 0.75
    assert rows["default both"].half_width >= rows["default items"].half_width
    misread = "items" if regime == "seed-dominated" else "seeds"
    assert rows[f"default {misread} read as both"].value < rows["default both"].value


def test_items_read_as_both_fail_where_seeds_dominate_and_are_labelled():
    rows = by_procedure(calibrate(cell("seed-dominated", 10, 4000), 150, 0, np.random.default_rng(2)))
    assert rows["default items read as both"].label == "fails"
    assert rows["default both"].label == "holds"


def test_ignoring_speakers_fails_and_grouping_by_them_holds():
    rows = by_procedure(calibrate(cell("91 speakers", 5, 744), 400, 20, np.random.default_rng(3)))
    assert rows["default items without groups"].label == "fails"
    assert rows["default items"].value > rows["default items without groups"].value
    assert rows["default both"].value > 0.91
    assert rows["two-level bootstrap"].repetitions == 20
    assert rows["bca bootstrap of items"].n_groups == 91


def test_tests_keep_their_level_and_their_misuses_do_not():
    rows = calibrate_tests(400, np.random.default_rng(4))
    found = by_procedure(rows)
    for row in rows:
        if row.procedure.startswith(("sign flip", "McNemar of")):
            assert row.value <= 0.05 + 4 * math.sqrt(0.05 * 0.95 / 400)
    assert found["McNemar pooled over 5 seeds"].label == "fails"
    # Student's t looked at after each of 3 .. 10 seeds: 16.6 %
    assert found["t over seeds looked at after each of 3 to 10"].value == pytest.approx(0.166, abs=0.075)
    assert found["Wilson accuracy of one run"].value >= 0.95 - 4 * math.sqrt(0.05 * 0.95 / 400)


def test_holm_keeps_the_family_of_rivals_and_unadjusted_components_do_not():
    found = by_procedure(calibrate_families(60, np.random.default_rng(5)))
    assert found["largest of 14 contradicted after Holm"].value <= 0.12
    without = found["largest of 14 contradicted without Holm"]
    assert without.value > found["largest of 14 contradicted after Holm"].value
    assert found["step-down max-T over seeds with 13 rivals"].value <= 0.17


@pytest.mark.parametrize(("n_seeds", "n_groups"), [(3, 10), (5, 744), (10, 12)])
def test_the_worst_coverage_over_all_variance_ratios_is_94_percent(n_seeds, n_groups):
    """Normal scores: D̄, a, b and e are then independent, three of them χ². Vectorised from the formulas."""
    rng = np.random.default_rng(6)
    n = 40_000
    worst = 1.0
    for seed_share in (0, 0.3, 0.7, 0.9, 1):
        for joint in (0, 0.05, 0.4, 0.9):
            seeds, items = (1 - joint) * seed_share, (1 - joint) * (1 - seed_share)
            df = (n_seeds - 1, n_groups - 1, (n_seeds - 1) * (n_groups - 1))
            a, b, e = (
                v * rng.chisquare(k, n) / k for v, k in zip((seeds + joint, items + joint, joint), df, strict=True)
            )
            a0 = np.maximum(a, e)
            v = a0 + np.maximum(b - e, 0)
            nu = np.maximum(v**2 / (a0**2 / df[0] + b**2 / df[1]), min(df[0], df[1]))
            h = np.maximum(stdtrit(nu, 0.975) * np.sqrt(v), stdtrit(df[0], 0.975) * np.sqrt(a))
            h = np.maximum(h, stdtrit(df[1], 0.975) * np.sqrt(b))
            worst = min(worst, float(np.mean(np.abs(rng.standard_normal(n)) <= h)))
            first = Crossed(0.0, a[0], b[0], e[0], n_seeds, n_groups, n_groups, float(df[0]), float(df[1]))
            assert interval(first, "both").half_width == pytest.approx(h[0])
    assert 0.938 <= worst <= 0.953


def test_the_script_writes_every_row_and_no_partial_file(tmp_path):
    spec = importlib.util.spec_from_file_location("simulations_run", ROOT / "simulations" / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    small = [replace(c, design=replace(c.design, n_items=40, n_groups=None)) for c in CELLS[:1]]
    assert isinstance(small[0], SimulatedDesign)
    rows = calibrate(small[0], 4, 2, np.random.default_rng([0, 0]))
    module.write(rows, tmp_path / "table.csv")
    with (tmp_path / "table.csv").open() as stream:
        table = list(csv.DictReader(stream))
    assert [r["procedure"] for r in table] == [r.procedure for r in rows]
    assert float(table[0]["value"]) == pytest.approx(rows[0].value)
    (line,) = (line for line in module.page(table).splitlines() if line.startswith("| seed-dominated"))
    assert f"| {100 * rows[4].value:.1f} |" in line
    assert rows[4].procedure == "default both"
    assert list(tmp_path.iterdir()) == [tmp_path / "table.csv"]
