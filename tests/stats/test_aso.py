"""Oracle: the integrals on a fine grid of quantiles, and a bootstrap with one explicit loop."""

import numpy as np
import pytest

from tcmax.stats.aso import almost_stochastic_order


def on_a_grid(a, b, points=2520):
    t = (np.arange(points) + 0.5) / points
    gap = np.quantile(b, t, method="inverted_cdf") - np.quantile(a, t, method="inverted_cdf")
    return np.sum(gap[gap > 0] ** 2) / np.sum(gap**2)


@pytest.mark.parametrize(("n", "m"), [(5, 5), (3, 7), (6, 9), (10, 4)])
def test_the_ratio_is_the_integral_over_quantiles(n, m):
    # 2,520 is divisible by every number of runs used, so that the grid respects the steps
    rng = np.random.default_rng(n + m)
    a, b = rng.normal(0.3, 1, n), rng.normal(0, 2, m)
    found = almost_stochastic_order({"a": a, "b": b}, rng, resamples=50)
    assert found.ratio[0][1] == pytest.approx(on_a_grid(a, b))
    assert found.ratio[1][0] == pytest.approx(on_a_grid(b, a))


def test_the_bound_nears_that_of_a_plain_bootstrap():
    rng = np.random.default_rng(3)
    a, b = rng.normal(0.5, 1, 8), rng.normal(0, 1, 6)
    plain = [on_a_grid(rng.choice(a, 8), rng.choice(b, 6), 120) for _ in range(4000)]
    found = almost_stochastic_order({"a": a, "b": b}, np.random.default_rng(1))
    assert found.upper[0][1] == pytest.approx(min(1.0, on_a_grid(a, b) + 1.645 * np.std(plain)), abs=0.02)
    assert found == almost_stochastic_order({"a": a, "b": b}, np.random.default_rng(1))


def test_dominance_equality_and_symmetry():
    rng = np.random.default_rng(0)
    low = rng.random(6)
    found = almost_stochastic_order({"low": low, "same": low[::-1], "high": low + 5}, rng, resamples=200)
    assert found.ratio[2][0] == 0.0
    assert found.upper[2][0] == 0.0
    assert found.ratio[0][2] == 1.0
    assert found.ratio[0][1] == found.ratio[0][0] == 0.5
    assert found.upper[0][1] > 0.5


def test_too_few_runs_name_the_variant():
    with pytest.raises(ValueError, match="'b' needs 3"):
        almost_stochastic_order({"a": [1, 2, 3], "b": [1, 2]}, np.random.default_rng(0))
    with pytest.raises(ValueError, match="alpha"):
        almost_stochastic_order({"a": [1, 2, 3]}, np.random.default_rng(0), alpha=0)
