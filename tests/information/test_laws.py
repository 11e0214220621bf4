"""Exact informations against published golden numbers, direct sums, scipy's quadrature, and identities."""

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import integrate, stats

from tcmax.information import laws
from tcmax.information.laws import (
    ALIGNMENT_LAW,
    CHECK_LAW,
    XOR_LAW,
    best_critic_value,
    class_plus_gaussians,
    conditional_mutual_information,
    decision_accuracies,
    entropy,
    equicorrelated,
    gaussian_total_correlation,
    mutual_information,
    reference_excess,
    sample,
    total_correlation,
)

tables = arrays(
    np.float64,
    array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=4),
    elements=st.one_of(st.just(0.0), st.floats(0.01, 1)),
).filter(lambda table: table.sum() > 0)


def direct_total_correlation(table: np.ndarray) -> float:
    """sum p log( p / prod of marginals ), cell by cell."""
    table = table / table.sum()
    value = 0.0
    for cell, p in np.ndenumerate(table):
        if p > 0:
            product = math.prod(table.take(index, axis=axis).sum() for axis, index in enumerate(cell))
            value += p * math.log(p / product)
    return value


def test_alignment_law_has_its_published_informations() -> None:
    """Method specification, D3."""
    law = ALIGNMENT_LAW
    assert law.shape == (3, 3, 2)
    assert total_correlation(law) == pytest.approx(0.477504, abs=5e-7)
    assert mutual_information(law, [2], [0]) == pytest.approx(0.136856, abs=5e-7)
    assert mutual_information(law, [2], [1]) == pytest.approx(0.149845, abs=5e-7)
    assert conditional_mutual_information(law, [0], [1], [2]) == pytest.approx(0.190802, abs=5e-7)


@pytest.mark.parametrize(
    ("law", "reference", "full", "additive"),
    [
        (ALIGNMENT_LAW, "empirical", 0.477504, 0.286701),
        (ALIGNMENT_LAW, "uniform", 0.497639, 0.306837),
        (XOR_LAW, "empirical", math.log(2), 0.0),
        (XOR_LAW, "uniform", math.log(2), 0.0),
        (CHECK_LAW, "uniform", 0.19690889368408826, None),
    ],
)
def test_best_critics_have_their_published_values(law, reference, full: float, additive: float | None) -> None:
    assert best_critic_value(law, reference, additive=False) == pytest.approx(full, abs=5e-7)
    if additive is not None:
        assert best_critic_value(law, reference, additive=True) == pytest.approx(additive, abs=5e-7)


def test_check_law_has_its_published_informations() -> None:
    """Seed specification, §6.3."""
    assert total_correlation(CHECK_LAW) == pytest.approx(0.15120835215877532, abs=1e-12)
    assert reference_excess(CHECK_LAW, "uniform") == pytest.approx(0.0457005415253128, abs=1e-12)
    assert reference_excess(CHECK_LAW, "empirical") == 0


def test_bayes_naive_bayes_and_summed_posteriors_differ_on_the_alignment_law() -> None:
    """Method specification, D4."""
    got = decision_accuracies(ALIGNMENT_LAW)
    assert got.bayes == pytest.approx(0.875)
    assert got.naive_bayes == pytest.approx(0.775)
    assert got.naive_bayes_uniform_prior == pytest.approx(0.875)
    assert got.summed_posteriors == pytest.approx(0.775)


def test_dividing_out_the_prior_turns_summed_posteriors_into_naive_bayes() -> None:
    """On a law independent given the label naive Bayes is Bayes, and an ensemble that counts the prior twice is not."""
    likelihood = np.array([[0.8, 0.2], [0.35, 0.65]])
    law = np.einsum("c,ca,cv->avc", [0.9, 0.1], likelihood, likelihood)
    got = decision_accuracies(law)
    assert got.naive_bayes == pytest.approx(got.bayes)
    assert got.bayes > got.summed_posteriors + 1e-3
    by_hand = sum(
        law[a, v, np.argmax([0.9, 0.1] * likelihood[:, a] * likelihood[:, v])] for a in (0, 1) for v in (0, 1)
    )
    assert got.naive_bayes == pytest.approx(by_hand)


def test_ties_go_to_the_first_label() -> None:
    got = decision_accuracies(XOR_LAW)
    assert got.bayes == pytest.approx(1)
    assert got.naive_bayes == pytest.approx(0.5)


def test_ties_are_seen_through_rounding() -> None:
    """0.1 * 0.6 against 0.2 * 0.3: equal likelihoods that differ by 7e-18 in floating point."""
    audio, video = np.array([[0.1, 0.9], [0.2, 0.8]]), np.array([[0.6, 0.4], [0.3, 0.7]])
    law = np.einsum("c,ca,cv->avc", [0.7, 0.3], audio, video)
    expected = law[0, 0, 0] + law[0, 1, 1] + law[1, 0, 0] + law[1, 1, 1]
    assert decision_accuracies(law).naive_bayes_uniform_prior == pytest.approx(expected)


@settings(max_examples=100)
@given(tables)
def test_total_correlation_is_the_direct_sum_and_splits_by_the_chain_rule(table: np.ndarray) -> None:
    total = total_correlation(table)
    assert total == pytest.approx(direct_total_correlation(table), abs=1e-12)
    assert total >= -1e-12
    by_label = mutual_information(table, [2], [0, 1]) + mutual_information(table, [0], [1])
    by_modality = mutual_information(table, [2], [0]) + mutual_information(table, [2], [1])
    assert total == pytest.approx(by_label, abs=1e-12)
    assert total == pytest.approx(by_modality + conditional_mutual_information(table, [0], [1], [2]), abs=1e-12)


@settings(max_examples=50)
@given(tables, tables, st.randoms())
def test_independent_copies_add_and_renamed_categories_change_nothing(one, other, random) -> None:
    assert total_correlation(np.kron(one, other)) == pytest.approx(
        total_correlation(one) + total_correlation(other), abs=1e-11
    )
    renamed = one
    for axis, size in enumerate(one.shape):
        renamed = renamed.take(random.sample(range(size), size), axis=axis)
    assert total_correlation(renamed) == pytest.approx(total_correlation(one), abs=1e-12)


def test_copies_of_a_fair_bit() -> None:
    law = np.zeros((2, 2, 2))
    law[0, 0, 0] = law[1, 1, 1] = 7
    assert total_correlation(law) == pytest.approx(2 * math.log(2))
    assert entropy(law) == pytest.approx(math.log(2))


def test_samples_follow_the_law() -> None:
    rows = sample(ALIGNMENT_LAW, 20_000, np.random.default_rng(0))
    counts = np.zeros((3, 3, 2))
    np.add.at(counts, tuple(rows.T), 1)
    expected = ALIGNMENT_LAW * 20_000
    assert (counts[expected == 0] == 0).all()
    assert stats.chisquare(counts[expected > 0], expected[expected > 0]).pvalue > 1e-3
    assert np.array_equal(rows, sample(ALIGNMENT_LAW, 20_000, np.random.default_rng(0)))


@pytest.mark.parametrize(
    ("n", "rho", "nats"), [(3, 0.5, 0.3465735902799726), (3, 0.9, 1.7877753844034667), (4, 0.3, 0.2140854728219011)]
)
def test_equicorrelated_gaussians_have_their_published_total_correlation(n: int, rho: float, nats: float) -> None:
    """Seed specification, §6.3, and its closed form."""
    assert gaussian_total_correlation(equicorrelated(n, rho)) == pytest.approx(nats, abs=1e-12)
    assert -0.5 * math.log((1 - rho) ** (n - 1) * (1 + (n - 1) * rho)) == pytest.approx(nats, abs=1e-12)


def test_gaussian_groups_ignore_maps_within_a_group_and_see_those_across() -> None:
    rng = np.random.default_rng(4)
    root = rng.normal(size=(5, 5))
    covariance = root @ root.T
    value = gaussian_total_correlation(covariance, [2, 1, 2])
    within = np.zeros((5, 5))
    within[:2, :2], within[2, 2], within[3:, 3:] = rng.normal(size=(2, 2)), -3, rng.normal(size=(2, 2))
    assert gaussian_total_correlation(within @ covariance @ within.T, [2, 1, 2]) == pytest.approx(value, abs=1e-9)
    entropies = [
        stats.multivariate_normal(cov=covariance[np.ix_(g, g)]).entropy() for g in ([0, 1], [2], [3, 4], range(5))
    ]
    assert value == pytest.approx(sum(entropies[:3]) - entropies[3], abs=1e-9)
    assert gaussian_total_correlation(covariance, [5]) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("mu", "n_modalities", "one", "features"),
    [(1, 2, 0.3368308203, 0.1735895046), (1, 3, 0.3368308203, 0.4245531106), (2, 3, 0.6327201937, 1.2057865101)],
)
def test_class_plus_gaussians_has_its_published_informations(
    mu: float, n_modalities: int, one: float, features: float
) -> None:
    """Seed specification, §6.3."""
    got = class_plus_gaussians(mu, n_modalities)
    assert got.label_information == pytest.approx(one, abs=1e-10)
    assert got.features == pytest.approx(features, abs=1e-10)
    assert got.total == pytest.approx(n_modalities * one, abs=1e-9)


@pytest.mark.parametrize("mu", [0.0, 0.3, -1.5, 4.0, 20.0])
def test_class_information_agrees_with_adaptive_quadrature_of_the_mixture_entropy(mu: float) -> None:
    def integrand(x: float) -> float:
        density = (stats.norm.pdf(x, mu) + stats.norm.pdf(x, -mu)) / 2
        return -density * math.log(density) if density > 0 else 0.0

    mixture, _ = integrate.quad(
        integrand, -abs(mu) - 12, abs(mu) + 12, points=[-mu, 0, mu], limit=400, epsabs=1e-11, epsrel=1e-11
    )
    expected = mixture - 0.5 * math.log(2 * math.pi * math.e)
    assert class_plus_gaussians(mu, 1).label_information == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: total_correlation([[0.5, -0.5]]), "non-negative"),
        (lambda: entropy([0.0, 0.0]), "not all of them zero"),
        (lambda: entropy([math.nan]), "finite"),
        (lambda: reference_excess(XOR_LAW, "batch"), "'uniform' or 'empirical'"),
        (lambda: gaussian_total_correlation(np.ones((2, 3))), "symmetric"),
        (lambda: gaussian_total_correlation(np.eye(3), [1, 1]), "do not make up 3"),
        (lambda: gaussian_total_correlation(np.ones((2, 2))), "positive definite"),
    ],
)
def test_wrong_laws_are_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_constants_cannot_be_changed() -> None:
    for law in (ALIGNMENT_LAW, XOR_LAW, CHECK_LAW):
        assert law.sum() == pytest.approx(1)
        with pytest.raises(ValueError, match="read-only"):
            law[0] = 0


def test_laws_do_without_torch() -> None:
    program = f"import sys, {laws.__name__}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
