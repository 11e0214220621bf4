"""Laws whose total correlation is known exactly: what estimators and training objectives are checked against.

A discrete law is a table of probabilities or counts, one axis per variable, scaled to sum to one; where a label is
meant it is the last axis. All information is in nats, TC(x^1, ..., x^k) = sum p log( p / prod of marginals ).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

LabelReference = Literal["uniform", "empirical"]


def _law(counts: ArrayLike) -> NDArray[np.float64]:
    table = np.asarray(counts, dtype=np.float64)
    if not np.isfinite(table).all() or (table < 0).any() or table.sum() <= 0:
        raise ValueError("a law holds finite, non-negative numbers, not all of them zero")
    table = table / table.sum()
    table.setflags(write=False)
    result: NDArray[np.float64] = table
    return result


# Axes (audio, video, label). Dependent modalities given the label: additive critics miss 0.19 of its 0.48 nats.
ALIGNMENT_LAW = _law(
    np.stack([[[6, 1, 1], [2, 4, 0], [1, 0, 1]], [[0, 1, 2], [1, 0, 6], [2, 6, 6]]], axis=-1),
)
# Label = exclusive or of two fair bits: log 2 nats, no pair of variables dependent.
XOR_LAW = _law([[[1, 0], [0, 1]], [[0, 1], [1, 0]]])
# Unbalanced label, P(y) = (0.65, 0.35).
CHECK_LAW = _law([[[0.30, 0.05], [0.10, 0.05]], [[0.15, 0.05], [0.10, 0.20]]])


def entropy(law: ArrayLike) -> float:
    """Entropy of a discrete law of any shape."""
    cells = _law(law)
    cells = cells[cells > 0]
    return float(-(cells * np.log(cells)).sum())


def marginal(law: ArrayLike, axes: Sequence[int]) -> NDArray[np.float64]:
    """Law of the variables on `axes`, in increasing order of axis."""
    table = _law(law)
    kept = {axis % table.ndim for axis in axes}
    result: NDArray[np.float64] = table.sum(axis=tuple(axis for axis in range(table.ndim) if axis not in kept))
    return result


def total_correlation(law: ArrayLike) -> float:
    """TC of all axes: the sum of their entropies minus the joint entropy. Zero exactly for independent variables."""
    table = _law(law)
    return sum(entropy(marginal(table, [axis])) for axis in range(table.ndim)) - entropy(table)


def mutual_information(law: ArrayLike, one: Sequence[int], other: Sequence[int]) -> float:
    """I between the group of variables on axes `one` and the group on axes `other`."""
    return entropy(marginal(law, one)) + entropy(marginal(law, other)) - entropy(marginal(law, [*one, *other]))


def conditional_mutual_information(
    law: ArrayLike, one: Sequence[int], other: Sequence[int], given: Sequence[int]
) -> float:
    """I(one; other | given), groups of axes."""
    return mutual_information(law, one, [*other, *given]) - mutual_information(law, one, given)


def reference_excess(law: ArrayLike, label_reference: LabelReference) -> float:
    """KL(P_y || reference): what a label reference adds to every optimum; log C - H(y) when uniform, else 0."""
    if label_reference not in ("uniform", "empirical"):
        raise ValueError(f"label_reference is 'uniform' or 'empirical', not {label_reference!r}")
    labels = marginal(law, [-1])
    return math.log(labels.size) - entropy(labels) if label_reference == "uniform" else 0.0


def best_critic_value(law: ArrayLike, label_reference: LabelReference, *, additive: bool) -> float:
    """Supremum of -L over critics on an infinite batch; label on the last axis.

    Any critic: TC + KL(P_y || reference). Additive critics sum_m u^m(z^m; y) represent exactly the laws whose
    modalities are independent given the label: sum_m I(y; z^m) + KL(P_y || reference). They lack
    TC(z^1, ..., z^M | y), for M = 2 I(z^1; z^2 | y), which is the term that aligns modalities.
    """
    table = _law(law)
    modalities = range(table.ndim - 1)
    informations = (mutual_information(table, [m], [table.ndim - 1]) for m in modalities)
    return (sum(informations) if additive else total_correlation(table)) + reference_excess(table, label_reference)


@dataclass(frozen=True)
class DecisionAccuracies:
    """Population accuracy of four rules on a discrete law; ties go to the first label.

    bayes: argmax P(c | z). naive_bayes: argmax P(c) prod_m P(z^m | c), what an additive critic with a uniform label
    reference predicts at its optimum. naive_bayes_uniform_prior: without P(c), what one with the empirical reference
    predicts when log P(c) is forgotten. summed_posteriors: argmax prod_m P(c | z^m), what an ensemble of unimodal
    classifiers predicts; it counts the prior M times.
    """

    bayes: float
    naive_bayes: float
    naive_bayes_uniform_prior: float
    summed_posteriors: float


def decision_accuracies(law: ArrayLike) -> DecisionAccuracies:
    """Accuracies of the rules of `DecisionAccuracies` on a law with the label on its last axis."""
    table = _law(law)
    n_modalities = table.ndim - 1
    prior = marginal(table, [-1])
    likelihood = np.ones_like(table)
    posterior = np.ones_like(table)
    for m in range(n_modalities):
        pair = table.sum(axis=tuple(axis for axis in range(n_modalities) if axis != m), keepdims=True)
        evidence = pair.sum(axis=-1, keepdims=True)
        likelihood = likelihood * np.divide(pair, prior, out=np.zeros_like(pair), where=prior > 0)
        posterior = posterior * np.divide(pair, evidence, out=np.zeros_like(pair), where=evidence > 0)

    def accuracy(score: NDArray[np.float64]) -> float:
        # Scores equal in theory differ by rounding; rounded, they tie, and ties go to the first label.
        choice = np.round(score, 12).argmax(axis=-1)
        return float(np.take_along_axis(table, choice[..., None], axis=-1).sum())

    return DecisionAccuracies(
        bayes=accuracy(table),
        naive_bayes=accuracy(likelihood * prior),
        naive_bayes_uniform_prior=accuracy(likelihood),
        summed_posteriors=accuracy(posterior),
    )


def sample(law: ArrayLike, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """n independent rows of a discrete law, (n, variables) category numbers."""
    table = _law(law)
    flat = rng.choice(table.size, size=n, p=table.ravel())
    return np.stack(np.unravel_index(flat, table.shape), axis=-1).astype(np.int64)


def gaussian_total_correlation(covariance: ArrayLike, sizes: Sequence[int] | None = None) -> float:
    """TC of groups of jointly Gaussian variables: 1/2 [ sum_m log det S_mm - log det S ].

    covariance: (d, d), positive definite. sizes: length of each group, in order, adding up to d; every variable is its
    own group when None. Raises ValueError otherwise.
    """
    matrix = np.asarray(covariance, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not np.allclose(matrix, matrix.T):
        raise ValueError(f"a covariance is a symmetric matrix, not an array of shape {matrix.shape}")
    groups = [1] * len(matrix) if sizes is None else list(sizes)
    if min(groups, default=0) < 1 or sum(groups) != len(matrix):
        raise ValueError(f"groups of sizes {groups} do not make up {len(matrix)} variables")
    ends = np.cumsum(groups)
    blocks = [matrix[end - size : end, end - size : end] for end, size in zip(ends, groups, strict=True)]
    return (sum(_log_determinant(block) for block in blocks) - _log_determinant(matrix)) / 2


def _log_determinant(matrix: NDArray[np.float64]) -> float:
    try:
        return float(2 * np.log(np.diag(np.linalg.cholesky(matrix))).sum())
    except np.linalg.LinAlgError:
        raise ValueError("a covariance must be positive definite") from None


def equicorrelated(n: int, rho: float) -> NDArray[np.float64]:
    """Covariance of n unit-variance variables with equal correlations; TC = -1/2 log[(1-rho)^(n-1) (1+(n-1) rho)]."""
    return np.full((n, n), rho) + (1 - rho) * np.eye(n)


@dataclass(frozen=True)
class ClassPlusGaussians:
    """A fair label y = +-1 and M features x^m ~ N(mu y, 1), independent given y.

    label_information: I(x^m; y) of one feature. joint_information: I(x^1, ..., x^M; y), that of their sum.
    total: TC(x^1, ..., x^M, y) = M I(x; y). features: TC(x^1, ..., x^M) = total - joint_information.
    """

    label_information: float
    joint_information: float
    total: float
    features: float


def class_plus_gaussians(mu: float, n_modalities: int) -> ClassPlusGaussians:
    """Informations of the law `ClassPlusGaussians`, by quadrature: within 1e-10 nats for |mu| sqrt(M) up to 20."""
    one = _binary_gaussian_information(mu)
    # The sum of the features, scaled to unit variance, is sufficient for y and has mean sqrt(M) mu y.
    joint = _binary_gaussian_information(math.sqrt(n_modalities) * mu)
    total = n_modalities * one
    return ClassPlusGaussians(label_information=one, joint_information=joint, total=total, features=total - joint)


def _binary_gaussian_information(mu: float) -> float:
    """I(x; y) = log 2 - E log(1 + exp(-2 mu x)), x ~ N(mu, 1).

    The trapezoidal rule on a wide grid converges faster than any power of the step for this smooth, decaying integrand.
    """
    deviation = np.linspace(-12, 12, 24_001)
    density = np.exp(-(deviation**2) / 2) / math.sqrt(2 * math.pi)
    loss = np.logaddexp(0, -2 * abs(mu) * (abs(mu) + deviation))
    return math.log(2) - float((density * loss).sum() * (deviation[1] - deviation[0]))


@dataclass(frozen=True)
class TwoViewTruth:
    """What is known of a law of two views x^1, x^2 and a label y.

    first, second: I(x^m; y). both: I(x^1, x^2; y). between: I(x^1; x^2). total: TC(x^1, x^2, y) = both + between.
    bayes, bayes_first, bayes_second: accuracy of the best rule that sees both views, or one.
    """

    first: float
    second: float
    both: float
    between: float
    total: float
    bayes: float
    bayes_first: float
    bayes_second: float

    @property
    def aligned(self) -> float:
        """I(x^1; x^2 | y), what an additive critic cannot express of the total."""
        return self.total - self.first - self.second


def table_truth(law: ArrayLike) -> TwoViewTruth:
    """Exact truth of a discrete law with axes (x^1, x^2, y)."""
    table = _law(law)
    if table.ndim != 3:
        raise ValueError(f"a law of two views and a label has three axes, not {table.ndim}")
    return TwoViewTruth(
        first=mutual_information(table, [0], [2]),
        second=mutual_information(table, [1], [2]),
        both=mutual_information(table, [0, 1], [2]),
        between=mutual_information(table, [0], [1]),
        total=total_correlation(table),
        bayes=float(table.max(axis=2).sum()),
        bayes_first=float(table.sum(axis=1).max(axis=1).sum()),
        bayes_second=float(table.sum(axis=0).max(axis=1).sum()),
    )


def best_additive_accuracy(law: ArrayLike) -> float:
    """Highest accuracy of argmax_y [ u^1(x^1; y) + u^2(x^2; y) ] on a law of three binary variables.

    The difference of the two labels' scores is a(x^1) + b(x^2). Every rule on four cells has such a form but two, the
    exclusive or and its negation, which want opposite signs of the same sum.
    """
    table = _law(law)
    if table.shape != (2, 2, 2):
        raise ValueError(f"a law of three binary variables has the shape (2, 2, 2), not {table.shape}")
    cells = table.reshape(4, 2)
    rules = [[number >> cell & 1 for cell in range(4)] for number in range(16)]
    return max(
        float(sum(cells[cell, choice] for cell, choice in enumerate(rule)))
        for rule in rules
        if rule not in ([0, 1, 1, 0], [1, 0, 0, 1])
    )


@dataclass(frozen=True)
class GaussianMixture:
    """Two numbers (x^1, x^2) around the mean of a random component, whose class is the label.

    means: (K, 2), of equally likely components. labels: (K,), class of each. correlation: of the two numbers within
    every component; their variances are 1.
    """

    means: tuple[tuple[float, float], ...]
    labels: tuple[int, ...]
    correlation: float = 0.0

    def truth(self) -> TwoViewTruth:
        """By quadrature: informations within 1e-8 nats, accuracies within 2e-5.

        The trapezoidal rule on a wide grid converges faster than any power of the step where the integrand is smooth;
        the accuracies' integrands have kinks where the best label changes.
        """
        centres = np.asarray(self.means)
        classes = np.unique(self.labels)
        step = 0.03
        axes = [np.arange(low - 8, high + 8, step) for low, high in zip(centres.min(0), centres.max(0), strict=True)]
        rho = self.correlation

        def normal(deviation: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.exp(-(deviation**2) / 2) / math.sqrt(2 * math.pi)

        def component(mean: NDArray[np.float64]) -> NDArray[np.float64]:
            one, two = axes[0][:, None] - mean[0], axes[1][None, :] - mean[1]
            spread = math.sqrt(1 - rho**2)
            return normal(one) * normal((two - rho * one) / spread) / spread

        weight = 1 / len(centres)
        joint = np.stack(
            [
                sum(component(mean) for mean, its in zip(centres, self.labels, strict=True) if its == label) * weight
                for label in classes
            ]
        )
        single = [
            np.stack(
                [
                    sum(normal(axis - mean[m]) for mean, its in zip(centres, self.labels, strict=True) if its == label)
                    * weight
                    for label in classes
                ]
            )
            for m, axis in enumerate(axes)
        ]
        prior = np.array([np.mean(np.asarray(self.labels) == label) for label in classes])

        def surprise(density: NDArray[np.float64]) -> NDArray[np.float64]:
            return -np.log(density, out=np.zeros_like(density), where=density > 0) * density

        label_entropy = float(surprise(prior).sum())
        entropies = [float(surprise(density.sum(0)).sum()) * step for density in single]
        with_label = [float(surprise(density).sum()) * step for density in single]
        both = float(surprise(joint.sum(0)).sum()) * step**2
        everything = float(surprise(joint).sum()) * step**2
        return TwoViewTruth(
            first=entropies[0] + label_entropy - with_label[0],
            second=entropies[1] + label_entropy - with_label[1],
            both=both + label_entropy - everything,
            between=sum(entropies) - both,
            total=sum(entropies) + label_entropy - everything,
            bayes=float(joint.max(axis=0).sum()) * step**2,
            bayes_first=float(single[0].max(axis=0).sum()) * step,
            bayes_second=float(single[1].max(axis=0).sum()) * step,
        )

    def sample(self, n: int, rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """n independent draws: numbers (n, 2) and labels (n,)."""
        component = rng.integers(len(self.means), size=n)
        one, other = rng.standard_normal((2, n))
        two = self.correlation * one + math.sqrt(1 - self.correlation**2) * other
        numbers = np.asarray(self.means)[component] + np.stack([one, two], axis=1)
        return numbers, np.asarray(self.labels, dtype=np.int64)[component]
