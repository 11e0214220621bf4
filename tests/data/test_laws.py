"""Synthetic laws: what their facts state is true of the numbers they hand out."""

import math

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from tcmax.data import DATASETS, laws
from tcmax.information.laws import GaussianMixture, best_additive_accuracy, class_plus_gaussians, table_truth

LAWS = [name for name in DATASETS.entries if name.startswith("law-")]


@pytest.fixture(scope="module")
def datasets():
    return {name: DATASETS.load(name)() for name in LAWS}


def test_each_law_loads_under_its_name_with_its_truth_among_the_facts(datasets):
    assert len(LAWS) == 10
    for name, dataset in datasets.items():
        assert dataset.id == name
        assert {view.shape for view in dataset.inputs.values()} == {(4_750, 8)}
        fold = dataset.folds[0]
        assert (len(fold.train), len(fold.val), len(fold.test)) == (500, 250, 4_000)
        tabled = name.startswith(("law-xor", "law-synergy-"))
        assert sum(fact.startswith("truth: ") for fact in dataset.facts) == (4 if tabled else 3)
        assert "0 items of test are byte-identical to a train item" in dataset.facts


def test_a_law_is_the_same_at_every_call_and_laws_differ(datasets):
    assert laws.redundant().fingerprint() == datasets["law-redundant"].fingerprint()
    assert len({dataset.inputs["x1"].tobytes() for dataset in datasets.values()}) == len(LAWS)


def plug_in(columns):
    """Entropy of the rows' empirical law, in nats."""
    _, counts = np.unique(np.stack(columns), axis=1, return_counts=True)
    shares = counts / counts.sum()
    return -(shares * np.log(shares)).sum()


@pytest.mark.parametrize("name", [name for name in LAWS if "xor" in name or "synergy" in name])
def test_tables_counted_from_the_data_have_the_stated_informations(name, datasets):
    dataset = datasets[name]
    percent = 100 if name == "law-xor" else int(name.rpartition("-")[2])
    truth = table_truth(laws.synergy(percent))
    one, two = (dataset.inputs[view][:, 0] > 0 for view in ("x1", "x2"))
    assert min(np.abs(dataset.inputs[view][:, 0]).min() for view in ("x1", "x2")) >= 0.5  # the bit can be read off
    y = dataset.labels
    # Plug-in entropies of 4,750 draws: bias below 8 cells / (2 n), standard deviation below 0.01.
    assert plug_in([one, y]) == pytest.approx(plug_in([one]) + plug_in([y]) - truth.first, abs=0.02)
    assert plug_in([two, y]) == pytest.approx(plug_in([two]) + plug_in([y]) - truth.second, abs=0.02)
    total = plug_in([one]) + plug_in([two]) + plug_in([y]) - plug_in([one, two, y])
    assert total == pytest.approx(truth.total, abs=0.03)
    counts = np.zeros((2, 2, 2))
    np.add.at(counts, (one.astype(int), two.astype(int), y), 1)
    assert counts.max(axis=2).sum() / counts.sum() == pytest.approx(truth.bayes, abs=0.02)


def test_the_best_additive_rule_is_found_among_linear_ones():
    random = np.random.default_rng(0)
    one, two = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    for law in (*(laws.synergy(percent) for percent in (0, 25, 75, 100)), *random.dirichlet(np.ones(8), 5)):
        cells = np.reshape(law, (4, 2))
        slopes = random.standard_normal((4_000, 3))
        choices = (slopes @ np.stack([one, two, np.ones(4)]) > 0).astype(int)
        reached = np.take_along_axis(cells[None], choices[:, :, None], axis=2).sum(axis=(1, 2)).max()
        assert best_additive_accuracy(np.reshape(law, (2, 2, 2))) == pytest.approx(reached, abs=1e-12)
    assert best_additive_accuracy(laws.synergy(100)) == 0.75
    with pytest.raises(ValueError, match="three binary variables"):
        best_additive_accuracy(np.ones((2, 3, 2)))


def test_mixtures_have_the_informations_and_accuracies_of_their_closed_forms():
    imbalance = laws.MIXTURES["law-imbalance"].truth()
    known = class_plus_gaussians(1.2, 2)
    assert imbalance.first == pytest.approx(known.label_information, abs=1e-8)
    assert imbalance.both == pytest.approx(known.joint_information, abs=1e-8)
    assert imbalance.total == pytest.approx(known.total, abs=1e-8)
    assert imbalance.bayes == pytest.approx(norm.cdf(1.2 * math.sqrt(2)), abs=2e-5)
    assert imbalance.bayes_second == pytest.approx(norm.cdf(1.2), abs=2e-5)

    # The sum of two numbers with correlation rho is sufficient; scaled to variance 1, its mean is 1.2 sqrt(2/(1+rho)).
    redundant = laws.MIXTURES["law-redundant"].truth()
    assert redundant.both == pytest.approx(class_plus_gaussians(1.2 * math.sqrt(2 / 1.9), 1).total, abs=1e-8)
    assert redundant.aligned == pytest.approx(-0.5 * math.log(1 - 0.9**2), abs=1e-8)
    assert redundant.bayes == pytest.approx(norm.cdf(1.2 * math.sqrt(2 / 1.9)), abs=2e-5)

    unique = laws.MIXTURES["law-unique"].truth()
    bit = class_plus_gaussians(1.5, 1).total
    assert (unique.first, unique.second) == pytest.approx((bit, bit), abs=1e-8)
    assert unique.total == pytest.approx(2 * bit, abs=1e-8)
    assert unique.between == pytest.approx(0, abs=1e-8)
    assert unique.bayes == pytest.approx(norm.cdf(1.5) ** 2, abs=2e-5)

    synergistic = laws.MIXTURES["law-synergistic"].truth()
    assert (synergistic.first, synergistic.second, synergistic.between) == pytest.approx((0, 0, 0), abs=1e-8)
    assert synergistic.bayes == pytest.approx(norm.cdf(1.5) ** 2 + norm.cdf(-1.5) ** 2, abs=2e-5)


def test_a_mixture_without_symmetry_agrees_with_another_quadrature():
    law = GaussianMixture(((0.0, 0.0), (2.0, 1.0), (-1.0, 1.5)), (0, 1, 1), correlation=-0.4)
    covariance = np.array([[1, -0.4], [-0.4, 1]])
    normals = [multivariate_normal(mean, covariance) for mean in law.means]
    nodes, weights = np.polynomial.hermite_e.hermegauss(120)  # expectations under a standard normal, once scaled
    weights = np.outer(weights, weights).ravel() / (2 * math.pi)
    grid = np.stack(np.meshgrid(nodes, nodes, indexing="ij"), axis=-1).reshape(-1, 2)
    both = between = 0.0
    for mean, label in zip(law.means, law.labels, strict=True):
        points = np.asarray(mean) + grid @ np.linalg.cholesky(covariance).T
        density = [normal.pdf(points) / 3 for normal in normals]
        its_own = density[0] if label == 0 else density[1] + density[2]
        singles = [sum(norm.pdf(points[:, m] - centre[m]) for centre in law.means) / 3 for m in (0, 1)]
        prior = 1 / 3 if label == 0 else 2 / 3
        kept = weights > 1e-40  # farther out every density underflows
        both += (weights * np.log(its_own / prior / sum(density), where=kept, out=np.zeros_like(weights))).sum() / 3
        between += (
            weights * np.log(sum(density) / np.prod(singles, axis=0), where=kept, out=np.zeros_like(weights))
        ).sum() / 3
    assert law.truth().both == pytest.approx(both, abs=1e-5)
    assert law.truth().between == pytest.approx(between, abs=1e-5)
    assert law.truth().total == pytest.approx(both + between, abs=2e-5)


@pytest.mark.parametrize("name", ["law-redundant", "law-unique", "law-synergistic", "law-imbalance-4"])
def test_draws_of_a_mixture_follow_it(name, datasets):
    dataset = datasets[name]
    law = laws.MIXTURES[name.removesuffix("-4")]
    shrink = 4 if name.endswith("-4") else 1
    numbers = np.stack([dataset.inputs["x1"][:, 0], dataset.inputs["x2"][:, 0] * shrink], axis=1)
    for label in set(law.labels):
        rows = numbers[dataset.labels == label]
        assert len(rows) / len(numbers) == pytest.approx(law.labels.count(label) / len(law.labels), abs=0.03)
        components = [
            multivariate_normal(mean, [[1, law.correlation], [law.correlation, 1]])
            for mean, its in zip(law.means, law.labels, strict=True)
            if its == label
        ]
        # The mean log density of draws is minus the entropy only under the law they come from (Gibbs).
        own = np.mean([component.pdf(rows) for component in components], axis=0)
        random = np.random.default_rng(1)
        fresh = np.concatenate([component.rvs(20_000, random) for component in components])
        reference = np.log(np.mean([component.pdf(fresh) for component in components], axis=0))
        assert np.log(own).mean() == pytest.approx(reference.mean(), abs=5 * reference.std() / math.sqrt(len(rows)))
    # The Bayes rule of the stated law reaches the stated accuracy on the draws.
    scores = [
        sum(
            multivariate_normal(mean, [[1, law.correlation], [law.correlation, 1]]).pdf(numbers)
            for mean, its in zip(law.means, law.labels, strict=True)
            if its == label
        )
        for label in range(dataset.n_classes)
    ]
    assert (np.argmax(scores, axis=0) == dataset.labels).mean() == pytest.approx(law.truth().bayes, abs=0.02)


def test_the_dial_changes_the_size_of_the_second_view_alone(datasets):
    for k in (1, 4, 16):
        dataset = datasets[f"law-imbalance-{k}"]
        noise = {view: dataset.inputs[view][:, 1:].std() for view in ("x1", "x2")}
        assert noise["x1"] == pytest.approx(1, rel=0.02)
        assert noise["x2"] == pytest.approx(1 / k, rel=0.02)
    truths = [[fact for fact in datasets[f"law-imbalance-{k}"].facts if fact.startswith("truth")] for k in (1, 16)]
    assert truths[0] == truths[1]


def test_only_the_first_number_of_a_view_is_informative(datasets):
    for dataset in datasets.values():
        rest = np.concatenate([dataset.inputs[view][:, 1:] for view in ("x1", "x2")], axis=1)
        z = (
            np.stack(
                [rest[dataset.labels == label].mean(axis=0) / rest.std(axis=0) for label in range(dataset.n_classes)]
            )
            * np.sqrt(np.bincount(dataset.labels))[:, None]
        )
        assert np.abs(z).max() < 5


def test_facts_print_the_truth():
    facts = laws.truth_facts(table_truth(laws.synergy(100)))
    assert facts[0] == "truth: TC(x1, x2, y) = 0.6931 nats = I(x1, x2; y) 0.6931 + I(x1; x2) 0.0000"
    assert facts[1].startswith("truth: I(x1; y) = 0.0000, I(x2; y) = 0.0000; I(x1; x2 | y) = 0.6931")
    assert facts[2] == "truth: Bayes accuracy 1.0000, from x1 alone 0.5000, from x2 alone 0.5000"
