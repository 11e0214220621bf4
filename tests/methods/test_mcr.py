"""MCR: competition, contrast and a step against longhand NumPy (assertion 25), and its two switches."""

import itertools

import longhand
import numpy as np
import pytest
import steps
import tiny
import torch
from scipy.spatial.distance import jensenshannon

from tcmax.methods.mcr import jensen_shannon
from tcmax.models.sgd import SGD

MCR = {"method": "mcr"}
THREE = {"a": (3,), "b": (2,), "c": (2, 2)}
CNN = {"name": "cnn", "channels": [3, 4]}
WIDE = {"name": "mlp", "hidden": [8, 9]}  # no feature of zeros, which has no direction to contrast
IMAGES = {"a": (1, 6, 6), "b": (2, 4, 4)}
COMPETITION_ONLY = {"contrastive_weight": 0.0, "unimodal_weight": 0.0}


def divergence_by_hand(clean, mixed):
    """Mean JS of softmax rows, and its gradients in both logits."""
    p, q = longhand.softmax(clean), longhand.softmax(mixed)
    middle = (p + q) / 2
    value = (p * np.log(p / middle) + q * np.log(q / middle)).sum(axis=1).mean() / 2

    def through_softmax(share):
        slope = np.log(share / middle) / 2
        return share * (slope - (share * slope).sum(axis=1, keepdims=True)) / len(share)

    return value, through_softmax(p), through_softmax(q)


def directed(w, features, partners, moved, towards):
    """J_{Q->m}: value, gradient of the head, and of the features of the modalities in `towards` alone."""
    unimodal, slices = longhand.concat_head(w, features)
    n, value = len(partners), 0.0
    d_matrix = np.zeros_like(w["head.linear.weight"])
    d_features = {name: np.zeros_like(z) for name, z in features.items()}
    d_bias = np.zeros_like(w["head.linear.bias"])
    for partner in partners:
        rows = {name: partner if name in moved else np.arange(len(partner)) for name in features}
        mixed = sum(unimodal[name][rows[name]] for name in features)
        cost, d_clean, d_mixed = divergence_by_hand(sum(unimodal.values()), mixed)
        value += cost / n
        d_bias += (d_clean + d_mixed).sum(axis=0) / n
        for name, z in features.items():
            d_matrix[:, slices[name]] += (d_clean.T @ z + d_mixed.T @ z[rows[name]]) / n
            if name in towards:
                matrix = w["head.linear.weight"][:, slices[name]]
                d_features[name] += d_clean @ matrix / n
                np.add.at(d_features[name], rows[name], d_mixed @ matrix / n)
    return value, {"head.linear.weight": d_matrix, "head.linear.bias": d_bias}, d_features


def competition_by_hand(w, features, partners, strategy):
    """R / lambda by its definition: a sum over Q and m of signed J_{Q->m}, each evaluated on its own."""
    names, value = list(features), 0.0
    head = {"head.linear.weight": 0.0, "head.linear.bias": 0.0}
    d_features = {name: np.zeros_like(z) for name, z in features.items()}
    for size in range(1, len(names)):
        for moved in itertools.combinations(names, size):
            if strategy == "collaborative":
                terms = [(-1.0, names)]
            elif strategy == "independent":
                terms = [(-1.0, [name]) for name in moved]
            else:
                terms = [(-1.0 if name in moved else 1.0, [name]) for name in names]
            for sign, towards in terms:
                cost, d_head, d_z = directed(w, features, partners, moved, towards)
                value += sign * cost
                head = {path: head[path] + sign * d_head[path] for path in head}
                d_features = {name: d_features[name] + sign * d_z[name] for name in names}
    return value, head, d_features


def contrast_by_hand(features, kinds, temperature):
    """Over ordered positive pairs, one at a time."""
    rows = np.concatenate([z / np.linalg.norm(z, axis=1, keepdims=True) for z in features.values()])
    kinds = np.tile(kinds, len(features))
    costs = []
    for a in range(len(rows)):
        negatives = sum(np.exp(rows[a] @ rows[k] / temperature) for k in range(len(rows)) if kinds[k] != kinds[a])
        for p in range(len(rows)):
            if p != a and kinds[p] == kinds[a]:
                own = np.exp(rows[a] @ rows[p] / temperature)
                costs.append(-np.log(own / (own + negatives)))
    return np.mean(costs)


def numerical_gradient(function, features, step=1e-6):
    gradients = {}
    for name, z in features.items():
        gradients[name] = np.zeros_like(z)
        for index in np.ndindex(*z.shape):
            sides = []
            for shift in (step, -step):
                moved = {other: value.copy() for other, value in features.items()}
                moved[name][index] += shift
                sides.append(function(moved))
            gradients[name][index] = (sides[0] - sides[1]) / (2 * step)
    return gradients


def step_by_hand(w, x, y, partners, hyper):
    """Loss and gradient of every weight."""
    encoded = {name: longhand.encode(w, name, values) for name, values in x.items()}
    features = {name: z for name, (z, _) in encoded.items()}
    unimodal, slices = longhand.concat_head(w, features)
    joint = sum(unimodal.values())
    d = longhand.cross_entropy_gradient(joint, y)
    loss = -np.log(longhand.softmax(joint)[np.arange(len(y)), y]).mean()
    gradients, d_features = longhand.concat_backward(w, features, slices, dict.fromkeys(x, d))
    value, head, d_competition = competition_by_hand(w, features, partners, hyper["strategy"])
    loss += hyper["weight"] * value
    gradients = {path: gradients[path] + hyper["weight"] * head[path] for path in gradients}
    kinds = y if hyper["positives"] == "label" else np.arange(len(y))

    def contrast(z):
        return contrast_by_hand(z, kinds, hyper["temperature"])

    loss += hyper["contrastive_weight"] * contrast(features)
    d_contrast = numerical_gradient(contrast, features)
    first, second = w["head.decoder.0.weight"], w["head.decoder.2.weight"]
    hidden = np.maximum(joint @ first.T, 0)
    error = hidden @ second.T - np.concatenate(list(features.values()), axis=1)
    loss += hyper["decoding_weight"] * (error**2).mean()
    d_error = hyper["decoding_weight"] * 2 * error / error.size
    gradients["head.decoder.2.weight"] = d_error.T @ hidden
    gradients["head.decoder.0.weight"] = ((d_error @ second) * (hidden > 0)).T @ joint  # joint logits are constants
    for name, z in features.items():
        v = z @ w[f"head.auxiliary.{name}.weight"].T + w[f"head.auxiliary.{name}.bias"]
        loss -= hyper["unimodal_weight"] * np.log(longhand.softmax(v)[np.arange(len(y)), y]).mean()
        d_v = hyper["unimodal_weight"] * longhand.cross_entropy_gradient(v, y)
        gradients |= {f"head.auxiliary.{name}.weight": d_v.T @ z, f"head.auxiliary.{name}.bias": d_v.sum(axis=0)}
        d_z = d_features[name] + hyper["weight"] * d_competition[name]
        d_z = d_z + hyper["contrastive_weight"] * d_contrast[name] - d_error[:, slices[name]]
        if hyper["unimodal_gradients"]:
            d_z = d_z + d_v @ w[f"head.auxiliary.{name}.weight"]
        gradients |= longhand.encode_backward(w, name, encoded[name][1], d_z)
    return loss, gradients


def spread(model):
    """Larger joint weights, so that exchanges move the prediction."""
    with torch.no_grad():
        model.head.linear.weight.mul_(4)


@pytest.mark.parametrize("shapes", [tiny.SHAPES, THREE], ids=["two", "three"])
@pytest.mark.parametrize(
    ("strategy", "partners", "positives", "reach"),
    [
        ("greedy", "any", "label", False),
        ("independent", "not_itself", "item", False),
        ("collaborative", "other_label", "label", True),
    ],
)
def test_a_step_equals_the_one_written_out_by_hand(strategy, partners, positives, reach, shapes):
    hyper = {
        "weight": 0.7,
        "strategy": strategy,
        "exchanges": 5,
        "partners": partners,
        "unimodal_weight": 0.4,
        "unimodal_gradients": reach,
        "contrastive_weight": 0.3,
        "temperature": 0.6,
        "positives": positives,
        "decoding_weight": 0.2,
    }
    variant = {**MCR, "parameters": hyper, "head": {"name": "concat-aux", "decoder": 6}}
    dataset = tiny.dataset(shapes)
    step = steps.take(variant, prepare=spread, dataset=dataset, encoder=WIDE)
    partners = steps.parts(variant, dataset=dataset)[1].draw_partners(torch.from_numpy(step.y), steps.progress())
    loss, expected = step_by_hand(step.before, step.x, step.y, partners.numpy(), hyper)
    assert step.logged["loss"] == pytest.approx(loss, rel=1e-11)
    steps.close(step.gradients, expected, tolerance=1e-8)  # what finite differences of the contrast leave
    steps.close(step.after, longhand.sgd(step.before, expected, steps.RATE, steps.DECAY), tolerance=1e-8)


def test_assertion_25_the_greedy_regulariser_is_zero_and_its_gradient_is_not():
    """With and without it the loss is one number and encoders learn differently; the head's gradients cancel."""
    steps_taken = [
        steps.take({**MCR, "parameters": {**COMPETITION_ONLY, "weight": weight}}, prepare=spread)
        for weight in (0.0, 0.5)
    ]
    without, with_it = steps_taken
    assert with_it.logged["loss"] == without.logged["loss"] == with_it.logged["loss.joint"]
    for path, gradient in without.gradients.items():
        difference = np.abs(with_it.gradients[path] - gradient).max()
        assert (difference > 1e-4) if path.startswith("encoder") else (difference < 1e-15), path
    assert with_it.logged["influence.left"] > 0.001


def test_assertion_25_the_authors_code_adds_no_regulariser_for_two_modalities_and_does_for_three():
    """Switch mcr.unused_regularizer."""
    for shapes, inert in ((tiny.SHAPES, False), (THREE, True)):
        taken = {}
        for switch in (False, True):
            for weight in (0.0, 0.5):
                parameters = {"weight": weight, "contrastive_weight": weight}
                variant = {**MCR, "parameters": parameters, "switches": {"mcr.unused_regularizer": switch}}
                taken[switch, weight] = steps.take(variant, prepare=spread, dataset=tiny.dataset(shapes)).gradients
        reference, switched = taken[False, 0.5], taken[True, 0.5]
        steps.close(switched, reference if inert else taken[False, 0.0])
        assert any(not np.allclose(reference[path], taken[False, 0.0][path]) for path in reference)


def identity(method):
    """Makes every exchange one of each item with itself."""
    method.draw_partners = lambda labels, progress: torch.arange(len(labels)).unsqueeze(0)


@pytest.mark.parametrize("switch", [False, True])
def test_exchanging_nothing_moves_nothing_unless_a_second_pass_is_in_another_mode(switch):
    """Switch mcr.evaluation_pass: inert where training and evaluation mode agree, as without batch norm."""
    parameters = {**COMPETITION_ONLY, "strategy": "independent"}
    variant = {**MCR, "parameters": parameters, "switches": {"mcr.evaluation_pass": switch}}
    for shapes, encoder, moves in ((IMAGES, CNN, switch), (tiny.SHAPES, None, False)):
        model, method, dataset = steps.parts(variant, dataset=tiny.dataset(shapes), encoder=encoder)
        spread(model)
        identity(method)
        batch, optimizer = steps.batch_of(dataset), SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.0)
        logged = method.step(model, batch, optimizer, steps.progress())
        for name in shapes:
            assert (float(logged[f"influence.{name}"]) > 1e-6) is moves
        assert model.training


def test_the_second_pass_moves_no_running_statistics_and_carries_gradients():
    variant = {**MCR, "parameters": {"strategy": "independent"}}
    taken = [
        steps.take({**variant, "switches": {"mcr.evaluation_pass": s}}, dataset=tiny.dataset(IMAGES), encoder=CNN)
        for s in (False, True)
    ]
    reference, switched = taken
    for path, value in reference.after.items():
        if "running" in path:
            assert np.array_equal(value, switched.after[path])
    differs = [path for path, g in reference.gradients.items() if not np.allclose(g, switched.gradients[path])]
    assert any(path.startswith("encoder") for path in differs)


def drawn(partners, labels, exchanges=200):
    method = steps.parts({**MCR, "parameters": {"partners": partners, "exchanges": exchanges}})[1]
    return method.draw_partners(torch.tensor(labels), steps.progress()).numpy()


def test_partners_are_permutations_without_fixed_points_or_of_another_label():
    labels = [0, 0, 1, 2, 1, 0]
    anyone, shifted, other = (drawn(kind, labels) for kind in ("any", "not_itself", "other_label"))
    itself = np.arange(6)
    for rows in (anyone, shifted):
        assert (np.sort(rows, axis=1) == itself).all()
    assert (anyone == itself).any()
    assert not (shifted == itself).any()
    labels = np.array(labels)
    assert (labels[other] != labels).all()
    for rows, expected in ((anyone, 1 / 6), (shifted, 1 / 5)):  # everybody admissible is equally likely
        assert (rows[:, 0] == 3).mean() == pytest.approx(expected, abs=0.09)
    assert np.array_equal(drawn("any", [0, 1, 2]), drawn("any", [0, 1, 2]))


def test_an_item_without_an_admissible_partner_keeps_its_own_features():
    assert (drawn("other_label", [1, 1, 1]) == np.arange(3)).all()
    assert (drawn("not_itself", [1]) == 0).all()


def test_the_divergence_agrees_with_scipy_and_is_finite_for_logits_of_200():
    rng = np.random.default_rng(0)
    clean, mixed = rng.normal(size=(5, 4)), rng.normal(size=(3, 5, 4))
    expected = np.mean(
        [jensenshannon(longhand.softmax(clean), longhand.softmax(mixed[k]), axis=1) ** 2 for k in range(3)]
    )
    ours = jensen_shannon(torch.from_numpy(clean), torch.from_numpy(mixed))
    assert float(ours) == pytest.approx(expected, rel=1e-12)
    extreme = torch.tensor([[200.0, -200.0]], requires_grad=True)
    far = jensen_shannon(extreme, -extreme.unsqueeze(0))
    far.backward()
    assert far.item() == pytest.approx(np.log(2))
    assert bool(extreme.grad.isfinite().all())


def test_a_batch_of_one_label_has_no_contrast():
    _, method, _ = steps.parts(MCR)
    features = {name: torch.randn(3, 4, dtype=torch.float64) for name in ("left", "right")}
    batch = steps.batch_of(tiny.dataset(), size=3)
    batch.labels.fill_(1)
    assert float(method.contrastive(features, batch)) == 0


def test_what_it_cannot_train_is_refused():
    with pytest.raises(ValueError, match="at least two"):
        steps.parts(MCR, dataset=tiny.dataset({"a": (3,)}))
    with pytest.raises(ValueError, match="use the head concat-aux"):
        steps.parts({**MCR, "head": "concat"})
    with pytest.raises(ValueError, match="needs the parameter `decoder`"):
        steps.parts({**MCR, "parameters": {"decoding_weight": 1.0}})
