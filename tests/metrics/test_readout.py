"""The entropy-gated and the energy-weighted joint read-out, written out with scipy."""

import numpy as np
import pytest
from scipy import special, stats

from tcmax.metrics.readout import energy_weighted, energy_weights, entropy_gated, entropy_weights


@pytest.fixture
def logits() -> np.ndarray:
    """Three modalities, 20 items, 5 classes."""
    return np.random.default_rng(1).normal(scale=3, size=(3, 20, 5))


def test_the_gate_is_a_softmax_over_modalities_of_minus_entropy(logits: np.ndarray) -> None:
    entropies = stats.entropy(special.softmax(logits, axis=-1), axis=-1)
    weights = special.softmax(-entropies, axis=0)
    np.testing.assert_allclose(entropy_weights(logits), weights, rtol=1e-12)
    expected = sum(weights[m][:, None] * logits[m] for m in range(3))
    np.testing.assert_allclose(entropy_gated(logits), expected, rtol=1e-12, atol=1e-14)


def test_the_energy_is_a_tenth_of_the_log_sum_exp(logits: np.ndarray) -> None:
    weights = special.logsumexp(logits, axis=-1) / 10
    np.testing.assert_allclose(energy_weights(logits), weights, rtol=1e-12)
    expected = sum(weights[m][:, None] * logits[m] for m in range(3))
    np.testing.assert_allclose(energy_weighted(logits), expected, rtol=1e-12, atol=1e-14)


def test_a_fused_item_does_not_depend_on_its_neighbours(logits: np.ndarray) -> None:
    for fuse in (entropy_gated, energy_weighted):
        np.testing.assert_array_equal(fuse(logits[:, 4:5])[0], fuse(logits)[4])
        np.testing.assert_array_equal(fuse(logits[:, 4])[None][0], fuse(logits)[4])


def test_modalities_can_come_in_any_order(logits: np.ndarray) -> None:
    for fuse in (entropy_gated, energy_weighted):
        np.testing.assert_allclose(fuse(logits[[2, 0, 1]]), fuse(logits), rtol=1e-12, atol=1e-14)


def test_the_decided_modality_counts_more() -> None:
    decided, undecided = [8.0, 0.0, 0.0], [0.1, 0.0, 0.0]
    weights = entropy_weights([decided, undecided])
    assert weights[0] > 0.7
    assert weights.sum() == pytest.approx(1)


def test_one_modality_gated_is_itself(logits: np.ndarray) -> None:
    np.testing.assert_allclose(entropy_gated(logits[:1]), logits[0], rtol=1e-15)


def test_logits_below_minus_log_classes_turn_a_vote_round() -> None:
    vote = np.array([[-2.0, -9.0, -9.0]])
    assert float(energy_weights(vote)[0]) < 0
    assert int(energy_weighted(vote).argmax()) != 0


@pytest.mark.parametrize("scale", [200.0, 1e4])
def test_both_are_finite_for_large_logits(scale: float) -> None:
    large = scale * np.sign(np.random.default_rng(2).normal(size=(2, 6, 4)))
    for fuse in (entropy_gated, energy_weighted):
        assert np.isfinite(fuse(large)).all()


def test_logits_without_a_modality_axis_are_refused() -> None:
    for fuse in (entropy_gated, energy_weighted):
        with pytest.raises(ValueError, match="modalities"):
            fuse(np.zeros(3))
