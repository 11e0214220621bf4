"""The truths that the generator states, against means over many draws."""

import numpy as np
import pytest

from tcmax.stats.simulate import Probit, draw


def test_equal_generators_give_equal_draws():
    design = Probit(3, 50, n_groups=5, sd_group=0.5, collapse=0.3)
    first, second = (draw(design, np.random.default_rng(4)) for _ in range(2))
    np.testing.assert_array_equal(first.scores, second.scores)
    assert first.scores.shape == (2, 3, 50)
    assert first.groups.tolist() == sorted(first.groups.tolist())
    assert len(set(first.groups.tolist())) == 5


def test_the_stated_accuracy_is_the_mean_over_experiments():
    design = Probit(4, 60, (0.8, 0.6, 0.9), sd_seed=0.5, sd_group=0.7, n_groups=6, collapse=(0.2, 0.0, 0.5))
    rng = np.random.default_rng(0)
    means = np.mean([draw(design, rng).scores.mean(axis=(1, 2)) for _ in range(3000)], axis=0)
    truth = draw(design, rng).truth_both
    np.testing.assert_allclose(truth, [0.8 * 0.8 + 0.2 * 0.1, 0.6, 0.5 * 0.9 + 0.5 * 0.1])
    np.testing.assert_allclose(means, truth, atol=0.012)


def test_conditional_truths_average_to_the_unconditional_one_and_track_the_draw():
    design = Probit(2000, 3, (0.7, 0.7), sd_seed=0.4, sd_item=1.0, item_correlation=0.5)
    found = draw(design, np.random.default_rng(1))
    # 2,000 seeds on 3 items: the mean over seeds is the truth for new seeds on these items
    np.testing.assert_allclose(found.scores.mean(axis=(1, 2)), found.truth_seeds, atol=0.03)
    assert np.abs(found.truth_seeds - 0.7).max() > 0.03
    few_seeds = draw(Probit(3, 40_000, (0.7, 0.7), sd_seed=0.8, sd_item=1.0, collapse=0.4), np.random.default_rng(5))
    np.testing.assert_allclose(few_seeds.scores.mean(axis=(1, 2)), few_seeds.truth_items, atol=0.012)
    assert np.abs(few_seeds.truth_items - few_seeds.truth_both).max() > 0.03


def test_shared_effects_correlate_the_methods():
    rng = np.random.default_rng(2)
    correlation = {}
    for value in (0.0, 1.0):
        scores = draw(Probit(40, 2000, sd_item=1.5, item_correlation=value), rng).scores.mean(axis=1)
        correlation[value] = np.corrcoef(scores)[0, 1]
    assert abs(correlation[0.0]) < 0.1
    assert correlation[1.0] > 0.9
    with pytest.raises(ValueError, match="correlation"):
        draw(Probit(2, 5, item_correlation=1.5), rng)
