"""Which variants are flagged for the spread of their seeds."""

import numpy as np
import pytest

from tcmax.stats.unrest import FACTOR, restless


def seeds(spread, n=5):
    """Values whose standard deviation is `spread` exactly."""
    values = np.arange(n, dtype=float)
    return 0.7 + spread * (values - values.mean()) / values.std(ddof=1)


def test_a_variant_beyond_the_factor_of_its_rivals_median_is_flagged_with_its_ratio():
    scores = {"a": seeds(0.004), "b": seeds(0.01), "c": seeds(0.008), "d": seeds(0.05)}
    assert restless(scores) == {"d": pytest.approx(0.05 / 0.008)}
    assert restless({**scores, "d": seeds(0.99 * FACTOR * 0.008)}) == {}


def test_two_unstable_variants_of_many_do_not_hide_each_other():
    scores = {name: seeds(0.005) for name in "abcd"} | {"e": seeds(0.03), "f": seeds(0.04)}
    assert set(restless(scores)) == {"e", "f"}


def test_few_seeds_few_rivals_or_no_spread_at_all_flag_nobody():
    assert restless({"a": seeds(0.001), "b": seeds(0.5)}) == {}
    assert restless({"a": seeds(0.001, 4), "b": seeds(0.001, 4), "c": seeds(0.5, 4)}) == {}
    assert restless({"a": seeds(0.0), "b": seeds(0.0), "c": seeds(0.5)}) == {}
    assert restless({"a": seeds(0.001), "b": seeds(0.001), "c": seeds(0.5), "d": []}) == {"c": pytest.approx(500)}


def test_equal_normal_spreads_are_rarely_flagged_and_four_times_the_spread_rarely_missed():
    rng = np.random.default_rng(0)
    tables = rng.standard_normal((400, 6, 12))
    assert np.mean([bool(restless(dict(enumerate(table)))) for table in tables]) < 0.02
    tables[:, 0] *= 4
    assert np.mean([0 in restless(dict(enumerate(table))) for table in tables]) > 0.9
