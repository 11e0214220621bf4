"""Ascent, batches and samples of known laws against numbers worked out elsewhere or by enumeration."""

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from tcmax.information.optima import (
    Normals,
    Tables,
    accuracy,
    batch_bounds,
    descend,
    fit_critic,
    fit_ensemble,
    population_separation,
    rows_of,
    separation,
)

ALIGNMENT = [[[6, 0], [1, 1], [1, 2]], [[2, 1], [4, 0], [0, 6]], [[1, 2], [0, 6], [1, 6]]]
EXCLUSIVE_OR = [[[1, 0], [0, 1]], [[0, 1], [1, 0]]]
AUDIO = np.array([[0.6, 0.3, 0.1], [0.1, 0.4, 0.5]])
VIDEO = np.array([[0.5, 0.3, 0.2], [0.2, 0.2, 0.6]])
OPTIONS = {"pseudo_rows": 1.0, "weight_decay": 1e-4, "steps": 60, "test_rows": 500}


@pytest.mark.parametrize(
    ("counts", "additive", "reference", "expected"),
    [
        (ALIGNMENT, True, "uniform", 0.306837),  # assertion 9
        (ALIGNMENT, True, "empirical", 0.286701),
        (ALIGNMENT, False, "uniform", 0.497639),
        (ALIGNMENT, False, "empirical", 0.477504),
        (EXCLUSIVE_OR, True, "uniform", 0.0),
        (EXCLUSIVE_OR, False, "uniform", math.log(2)),
    ],
)
def test_ascent_on_a_whole_law_stops_at_what_the_head_can_express(counts, additive, reference, expected):
    generator = torch.Generator().manual_seed(3)
    found = fit_critic(counts, additive=additive, label_reference=reference, steps=150, generator=generator)
    assert found.values[-1] == pytest.approx(expected, abs=1e-6 if additive else 5e-4)
    assert found.values[-1] <= expected + 1e-6
    assert len(found.values) == 151


def test_a_uniform_reference_predicts_with_the_prior_and_the_empirical_one_forgets_it():
    # Method specification D4: naive Bayes 0.775 with the true prior, 0.875 without; the ensemble 0.775.
    def fitted(reference):
        generator = torch.Generator().manual_seed(0)
        return fit_critic(ALIGNMENT, additive=True, label_reference=reference, steps=150, generator=generator)

    assert accuracy(ALIGNMENT, fitted("uniform").prediction) == pytest.approx(0.775)
    assert accuracy(ALIGNMENT, fitted("empirical").prediction) == pytest.approx(0.775)
    assert accuracy(ALIGNMENT, fitted("empirical").logits) == pytest.approx(0.875)
    assert accuracy(ALIGNMENT, fit_ensemble(ALIGNMENT, steps=150)) == pytest.approx(0.775)


def test_the_ensemble_sums_the_posteriors_of_each_modality():
    table = np.array(ALIGNMENT, dtype=float)
    audio, video = table.sum(1), table.sum(0)
    posterior = (audio / audio.sum(1, keepdims=True))[:, None] * (video / video.sum(1, keepdims=True))[None]
    found = torch.from_numpy(fit_ensemble(ALIGNMENT, steps=400)).softmax(-1).numpy()
    assert found == pytest.approx(posterior / posterior.sum(-1, keepdims=True), abs=1e-6)


def test_rows_repeat_as_often_as_counts_say():
    rows = rows_of([[2, 0], [0, 1]])
    assert rows.tolist() == [[0, 0], [0, 0], [1, 1]]
    for wrong in ([[0.5, 0.5]], [[-1, 3]], [[1, 0]]):
        with pytest.raises(ValueError, match="non-negative integers"):
            rows_of(wrong)


def test_ties_go_to_the_first_label():
    assert accuracy([[3, 1]], [[0.0, 1e-12]]) == 0.75
    assert accuracy([[3, 1]], [[0.0, 1e-3]]) == 0.25


def test_descent_minimises_parts_that_share_no_parameter_one_by_one():
    target = torch.tensor([1.0, -2.0, 5.0], dtype=torch.float64)
    together = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    values = descend(lambda: (together - target).square().sum() / 2, [together], 50, 0.5)
    alone = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    descend(lambda: (alone - target[2]).square().sum() / 2, [alone], 50, 0.5)
    assert together.detach().numpy() == pytest.approx(target.numpy(), abs=1e-6)
    assert together[2].item() == pytest.approx(alone.item(), abs=1e-15)
    assert values[0] == 15.0
    assert values[-1] < 1e-12
    assert len(values) == 51


@pytest.mark.parametrize(("rows", "classes"), [(32, 6), (64, 31), (7, 6)])  # the last as a short last batch
def test_batch_bounds_are_reached_and_the_release_adds_their_sum(rows, classes):
    found = batch_bounds(rows, classes, torch.Generator().manual_seed(1))
    labels = torch.randint(classes, (rows,), generator=torch.Generator().manual_seed(1)).tolist()
    shares = [labels.count(c) / rows for c in set(labels)]
    entropy = -sum(p * math.log(p) for p in shares)
    constant = math.log(rows * classes)
    assert found.any_head == pytest.approx(-constant, abs=1e-12)
    assert found.additive_head == pytest.approx(-entropy - math.log(classes), abs=1e-12)
    assert found.any_reached == pytest.approx(found.any_head, abs=1e-8)
    assert found.additive_reached == pytest.approx(found.additive_head, abs=1e-8)
    assert found.offset == pytest.approx(constant, abs=1e-9)  # assertion 7
    assert found.additive_released == pytest.approx(sum(p * math.log(rows * p) for p in shares), abs=1e-8)


def by_enumeration(prior, audio, video, on):
    """Accuracy and cross-entropy of both rules from estimates (prior, P(a|c), P(v|c)) on a true law."""
    scores = np.zeros((2, 2))
    for a in range(3):
        for v in range(3):
            true = [on[0][c] * on[1][c, a] * on[2][c, v] for c in range(2)]
            naive = [prior[c] * audio[c, a] * video[c, v] for c in range(2)]
            summed = [prior[c] * audio[c, a] * prior[c] * video[c, v] for c in range(2)]
            for k, rule in enumerate((naive, summed)):
                scores[k, 0] += true[int(rule[1] > rule[0] + 1e-12)]
                scores[k, 1] -= sum(t * math.log(r / sum(rule)) for t, r in zip(true, rule, strict=True))
    return scores[0] - scores[1]


@pytest.mark.parametrize("share", [0.5, 0.7, 0.8])
def test_population_separation_is_what_counting_the_prior_twice_costs(share):
    prior = np.array([share, 1 - share])
    found = population_separation(Tables((AUDIO, VIDEO), prior))
    expected = by_enumeration(prior, AUDIO, VIDEO, (prior, AUDIO, VIDEO))
    assert (found.accuracy[0], found.cross_entropy[0]) == pytest.approx(expected, abs=1e-12)
    if share == 0.5:
        assert (found.accuracy[0], found.cross_entropy[0]) == pytest.approx((0, 0), abs=1e-12)


def test_equal_numbers_of_each_class_leave_no_difference_in_any_sample():
    world = Tables((AUDIO, VIDEO), np.array([0.5, 0.5]), stratified=True)
    found = separation(world, 30, 200, rng=np.random.default_rng(0), **OPTIONS)
    assert np.abs(found.accuracy).max() == 0
    assert np.abs(found.cross_entropy).max() < 1e-12


def test_classes_as_they_come_separate_small_samples_and_large_ones_hardly():
    world = Tables((AUDIO, VIDEO), np.array([0.5, 0.5]))
    small, large = (separation(world, n, 400, rng=np.random.default_rng(0), **OPTIONS) for n in (30, 30_000))
    assert small.accuracy.mean() > 4 * small.accuracy.std() / 20 > 0
    assert small.cross_entropy.mean() < -0.01
    assert abs(large.accuracy.mean()) < 1e-3
    assert abs(large.cross_entropy.mean()) < 1e-3


def test_a_sample_of_tables_is_scored_from_its_counts():
    world = Tables((AUDIO, VIDEO), np.array([0.7, 0.3]))
    found = separation(world, 50, 3, rng=np.random.default_rng(5), **OPTIONS)
    rng = np.random.default_rng(5)
    labels = np.stack([rng.multinomial(50, world.prior) for _ in range(3)])
    tables = [np.stack([rng.multinomial(labels[:, c], table[c]) for c in range(2)], axis=1) for table in (AUDIO, VIDEO)]
    for r in range(3):
        prior = (labels[r] + 1) / 52
        audio, video = ((table[r] + 1 / 3) / (labels[r][:, None] + 1) for table in tables)
        expected = by_enumeration(prior, audio, video, (world.prior, AUDIO, VIDEO))
        assert (found.accuracy[r], found.cross_entropy[r]) == pytest.approx(expected, abs=1e-12)


def test_trained_scores_are_those_of_a_logistic_regression_and_of_the_loss_written_out():
    world = Normals((1.5, 1.0), np.full(3, 1 / 3), stratified=True)
    options = {**OPTIONS, "weight_decay": 1e-2, "steps": 400, "test_rows": 3000}
    found = separation(world, 90, 2, rng=np.random.default_rng(2), **options)
    rng = np.random.default_rng(2)

    def draw(n):
        labels = np.tile(np.repeat(np.arange(3), n // 3), (2, 1))
        return [s * np.eye(3)[labels] + rng.standard_normal((2, n, 3)) for s in (1.5, 1.0)], labels

    (train, labels), (test, truth) = draw(90), draw(3000)
    for r in range(2):
        joint = 0
        for m in range(2):
            model = LogisticRegression(C=1 / (1e-2 * 90), tol=1e-10, max_iter=2000).fit(train[m][r], labels[r])
            joint = joint + test[m][r] @ model.coef_.T + model.intercept_
        ensemble = torch.from_numpy(joint)
        weights = [torch.zeros(3, 3, dtype=torch.float64), torch.zeros(1, 3, dtype=torch.float64)] * 2
        weights = [w.clone().requires_grad_() for w in weights]
        optimiser = torch.optim.LBFGS(weights, max_iter=300, line_search_fn="strong_wolfe", tolerance_change=1e-14)

        def logits(x, r=r, weights=weights):
            return [torch.from_numpy(x[m][r]) @ weights[2 * m] + weights[2 * m + 1] for m in range(2)]

        def closure(r=r, weights=weights, optimiser=optimiser, logits=logits):
            optimiser.zero_grad()
            one, other = logits(train)
            pairs = one[:, None] + other[None]  # every recombination of rows
            matched = (one + other)[torch.arange(90), torch.from_numpy(labels[r])].mean()
            loss = pairs.exp().mean().log() - matched + 5e-3 * sum(w.square().sum() for w in weights[::2])
            loss.backward()
            return loss

        optimiser.step(closure)
        ours = sum(logits(test)).detach()
        target = torch.from_numpy(truth[r])
        losses = [torch.nn.functional.cross_entropy(joint, target).item() for joint in (ours, ensemble)]
        rates = [(joint.argmax(-1) == target).double().mean().item() for joint in (ours, ensemble)]
        assert found.cross_entropy[r] == pytest.approx(losses[0] - losses[1], abs=1e-4)
        assert found.accuracy[r] == pytest.approx(rates[0] - rates[1], abs=1e-3)


def test_equal_generators_give_equal_samples():
    world = Normals((1.0,), np.full(2, 0.5))
    one, other = (separation(world, 20, 3, rng=np.random.default_rng(7), **OPTIONS) for _ in range(2))
    assert one.accuracy.tolist() == other.accuracy.tolist()
    assert one.cross_entropy.tolist() == other.cross_entropy.tolist()
