"""What the TCMax loss reaches on laws that are known: the numbers behind `tcmax theory`.

A batch that holds every row of a law as often as the law says has the law's own marginals, so that on it the in-batch
loss *is* the population's: what gradient ascent reaches there is what the head can reach, not what an estimate says. On
batches and samples drawn at random the same functions show what finite numbers of rows change. float64 throughout.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from tcmax.information.laws import LabelReference
from tcmax.information.release import release_loss
from tcmax.information.total_correlation import TCMaxLoss, decoupled, exact, floor

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
LARGE = 40.0  # logits this far apart reach a floor to 1e-10
RATE = 2.0  # for logits in tables: the curvature of a log-sum-exp is at most 1/2


def descend(loss: Callable[[], Tensor], parameters: Sequence[Tensor], steps: int, rate: float) -> Floats:
    """Values of a convex `loss` before each of `steps` accelerated gradient steps and after the last, (steps + 1,).

    Nesterov's method with momentum k / (k + 3); parameters change in place. A loss that is a sum of independent parts
    is minimised part by part. `rate` is at most one over the largest curvature of a part.
    """
    values = []
    before = [parameter.detach().clone() for parameter in parameters]
    for k in range(steps):
        value = loss()
        gradients = torch.autograd.grad(value, list(parameters))
        values.append(value.item())
        with torch.no_grad():
            for parameter, last, gradient in zip(parameters, before, gradients, strict=True):
                after = parameter - rate * gradient
                parameter.copy_(after + (k + 1) / (k + 4) * (after - last))
                last.copy_(after)
    with torch.no_grad():
        for parameter, last in zip(parameters, before, strict=True):
            parameter.copy_(last)
        return np.array([*values, loss().item()])


def rows_of(counts: ArrayLike) -> Integers:
    """Every row of a law as often as its integer counts say, (rows, variables). Raises ValueError for other counts."""
    table = np.asarray(counts)
    if not np.issubdtype(table.dtype, np.integer) or (table < 0).any() or table.sum() < 2:
        raise ValueError("counts are non-negative integers that add up to two rows or more")
    return np.repeat(np.argwhere(table >= 0), table.ravel(), axis=0).astype(np.int64)


@dataclass(frozen=True)
class FittedCritic:
    """values: minus the loss after each step, an estimate of total correlation, (steps + 1,).

    logits: T(z; c) of every cell, shaped as the law.
    prediction: the same with log P(c) added where the label reference is not uniform.
    """

    values: Floats
    logits: Floats
    prediction: Floats


def fit_critic(
    counts: ArrayLike,
    *,
    additive: bool,
    label_reference: LabelReference,
    steps: int,
    generator: torch.Generator,
) -> FittedCritic:
    """Gradient ascent of the TCMax loss on a whole law; counts: integers, one axis per modality, the label last.

    additive: a table u^m(z^m; c) per modality, else one table T(z; c). Both start from N(0, 1) entries. The ascent is
    concave, so it reaches the supremum of `laws.best_critic_value`; where a cell of the law is empty, the best logit is
    minus infinity and the value comes within about 1/steps of it.
    """
    rows = torch.from_numpy(rows_of(counts))
    shape = np.shape(counts)
    labels = rows[:, -1]
    features = _named(rows[:, :-1].unbind(1))
    prior = (torch.bincount(labels, minlength=shape[-1]).double() / len(labels)).log()
    bound = (
        TCMaxLoss() if label_reference == "uniform" else TCMaxLoss(label_reference="empirical", class_log_prior=prior)
    )
    sizes = [(size, shape[-1]) for size in shape[:-1]] if additive else [tuple(shape)]
    tables = [torch.randn(size, generator=generator, dtype=torch.float64).requires_grad_() for size in sizes]

    def additive_loss() -> Tensor:
        result: Tensor = bound(
            {name: table[z] for (name, z), table in zip(features.items(), tables, strict=True)}, labels
        )
        return result

    def head(chosen: dict[str, Tensor]) -> Tensor:
        return tables[0][tuple(chosen.values())]

    def any_loss() -> Tensor:
        result: Tensor = bound(features, labels, head=head)
        return result

    values = -descend(additive_loss if additive else any_loss, tables, steps, RATE)
    with torch.no_grad():
        logits = tables[0] if not additive else _outer_sum(tables)
        return FittedCritic(values, logits.numpy(), bound.prediction_logits(logits).numpy())


def fit_ensemble(counts: ArrayLike, *, steps: int) -> Floats:
    """Sum of the logits of classifiers trained alone by cross-entropy on a whole law; shaped as the law."""
    rows = torch.from_numpy(rows_of(counts))
    shape = np.shape(counts)
    tables = [torch.zeros(size, shape[-1], dtype=torch.float64).requires_grad_() for size in shape[:-1]]

    def loss() -> Tensor:
        return torch.stack([cross_entropy(u[rows[:, m]], rows[:, -1]) for m, u in enumerate(tables)]).sum()

    descend(loss, tables, steps, RATE)
    with torch.no_grad():
        return _outer_sum(tables).numpy()


def _outer_sum(tables: Sequence[Tensor]) -> Tensor:
    """sum_m u^m(z^m; c) for every cell: (V_1, ..., V_M, C) from M tables (V_m, C)."""
    result = tables[0]
    for table in tables[1:]:
        result = result.unsqueeze(-2) + table
    return result


def accuracy(counts: ArrayLike, prediction: ArrayLike) -> float:
    """Accuracy of argmax over the last axis on a law; ties, to nine decimals, go to the first label."""
    law = np.asarray(counts, dtype=np.float64)
    choice = np.round(np.asarray(prediction, dtype=np.float64), 9).argmax(axis=-1)
    return float(np.take_along_axis(law, choice[..., None], axis=-1).sum() / law.sum())


@dataclass(frozen=True)
class BatchBounds:
    """What a batch of two modalities and its labels allow, and what the loss says when logits go there.

    any_head, additive_head: the smallest loss, by formula. any_reached, additive_reached: loss of logits that memorise
    the batch. additive_released: value of the released loss there. offset: released value minus the paper's on random
    logits; it is the same on any.
    """

    any_head: float
    any_reached: float
    additive_head: float
    additive_reached: float
    additive_released: float
    offset: float


def batch_bounds(n_rows: int, n_classes: int, generator: torch.Generator) -> BatchBounds:
    """`BatchBounds` of a batch with labels drawn uniformly."""
    labels = torch.randint(n_classes, (n_rows,), generator=generator)
    names = ("one", "other")
    # Any head can tell rows apart: here it knows which row every feature comes from.
    identity = {name: torch.arange(n_rows) for name in names}

    def memory(chosen: dict[str, Tensor]) -> Tensor:
        one, other = (chosen[name] for name in names)
        logits = torch.zeros(len(one), n_classes, dtype=torch.float64)
        matched = one == other
        logits[matched, labels[one[matched]]] = LARGE
        return logits

    # An additive one can tell classes apart; equal shares of all classes in the normaliser are best.
    frequency = torch.bincount(labels, minlength=n_classes).double()
    best = torch.zeros(n_rows, n_classes, dtype=torch.float64)
    best[torch.arange(n_rows), labels] = LARGE - frequency[labels].log() / 2
    memorised = dict.fromkeys(names, best)
    noise = {name: torch.randn(n_rows, n_classes, generator=generator, dtype=torch.float64) for name in names}

    def released(logits: Mapping[str, Tensor]) -> float:
        return float(release_loss(logits, labels, mean_shift=False).value)

    return BatchBounds(
        any_head=float(floor(labels, n_classes, 2, additive=False)),
        any_reached=float(exact(identity, labels, head=memory)),
        additive_head=float(floor(labels, n_classes, 2, additive=True)),
        additive_reached=float(decoupled(memorised, labels)),
        additive_released=released(memorised),
        offset=released(noise) - float(decoupled(noise, labels)),
    )


@dataclass(frozen=True)
class Tables:
    """A world of modalities with few values, independent given the label.

    likelihoods: P(z^m | c) per modality, each (C, V_m). prior: (C,). stratified: samples hold the classes in exactly
    these shares (to the next row), not as they come.
    """

    likelihoods: tuple[Floats, ...]
    prior: Floats
    stratified: bool = False


@dataclass(frozen=True)
class Normals:
    """A world of normal features of equal spread, independent given the label: z^m ~ N(s_m e_c, I), C wide.

    The posterior of the class is then a softmax of linear scores. What an additive critic has to be, the sum of
    log P(z^m | c) / P(z^m), is not linear.
    """

    separations: tuple[float, ...]
    prior: Floats
    stratified: bool = False


World = Tables | Normals


@dataclass(frozen=True)
class Separation:
    """Scores of additive TCMax minus those of the unimodal ensemble, (R,) each: one per sample.

    accuracy: proportion. cross_entropy: nats.
    """

    accuracy: Floats
    cross_entropy: Floats


def separation(
    world: World,
    n_rows: int,
    repetitions: int,
    *,
    rng: np.random.Generator,
    pseudo_rows: float,
    weight_decay: float,
    steps: int,
    test_rows: int,
) -> Separation:
    """Additive TCMax against the ensemble, both fitted to the same samples of `n_rows`.

    Tables, where both optima are known: relative frequencies with `pseudo_rows` more per class, spread evenly, in
    P(c) prod_m P(z^m | c) and in prod_m P(c | z^m); scored on the world itself. Normals: linear scores with a bias,
    trained on the whole sample in `steps` steps, `weight_decay`/2 times the squared weights added; scored on
    `test_rows` fresh rows for each sample, the same for both.
    """
    if isinstance(world, Tables):
        return _tables(world, n_rows, repetitions, pseudo_rows, rng)
    return _trained(world, n_rows, repetitions, weight_decay, steps, test_rows, rng)


def population_separation(world: Tables) -> Separation:
    """The same for a sample without end, (1,) each."""
    joints = [world.prior[:, None] * likelihood for likelihood in world.likelihoods]
    return _compared(world, [joint[None] for joint in joints])


def _tables(world: Tables, n_rows: int, repetitions: int, pseudo_rows: float, rng: np.random.Generator) -> Separation:
    labels = np.stack([_class_counts(world, n_rows, rng) for _ in range(repetitions)])
    joints = []
    for likelihood in world.likelihoods:
        n_values = likelihood.shape[1]
        # Given the label, the counts of modalities are independent: they can be drawn one by one.
        counts = np.stack([rng.multinomial(labels[:, c], p) for c, p in enumerate(likelihood)], axis=1)
        joints.append((counts + pseudo_rows / n_values) / (n_rows + pseudo_rows * len(world.prior)))
    return _compared(world, joints)


def _compared(world: Tables, joints: Sequence[Floats]) -> Separation:
    """Both rules read off estimates of P(c, z^m), each (R, C, V_m)."""
    n_modalities = len(joints)
    truth = world.prior.reshape(-1, *[1] * n_modalities)
    shapes = []
    for m, likelihood in enumerate(world.likelihoods):
        shapes.append([1] * m + [likelihood.shape[1]] + [1] * (n_modalities - 1 - m))
        truth = truth * likelihood.reshape(-1, *shapes[m])
    log_prior = np.log(joints[0].sum(axis=2)).reshape(*joints[0].shape[:2], *[1] * n_modalities)
    # Up to terms without c: log P(c | z^m) is log P(c, z^m), and log P(z^m | c) that minus log P(c).
    ensemble = sum(np.log(joint).reshape(*joint.shape[:2], *shape) for joint, shape in zip(joints, shapes, strict=True))
    bound = ensemble - (n_modalities - 1) * log_prior

    def scores(joint: Floats) -> Floats:
        # Scores equal in theory differ by rounding; rounded, they tie, and ties go to the first label.
        choice = np.round(joint, 9).argmax(axis=1)[:, None]
        cells = tuple(range(1, n_modalities + 2))
        correct = np.take_along_axis(np.broadcast_to(truth, joint.shape), choice, axis=1).sum(axis=cells)
        log_posterior = joint - np.logaddexp.reduce(joint, axis=1, keepdims=True)
        return np.stack([correct, -(truth * log_posterior).sum(axis=cells)])

    return Separation(*(scores(bound) - scores(np.asarray(ensemble))))


def _trained(
    world: Normals,
    n_rows: int,
    repetitions: int,
    weight_decay: float,
    steps: int,
    test_rows: int,
    rng: np.random.Generator,
) -> Separation:
    features, labels = _draw(world, repetitions, n_rows, rng)
    fresh, truth = _draw(world, repetitions, test_rows, rng)
    n_classes = len(world.prior)
    # A softmax has curvature at most 1/2 in its logits, and a logit |z|^2 + 1 in its weights and bias, here on average.
    rate = 2 / max(float(z.square().sum(-1).mean(-1).max()) + 1 for z in features)

    def start() -> list[Tensor]:
        sizes = [
            size for z in features for size in ((repetitions, z.shape[-1], n_classes), (repetitions, 1, n_classes))
        ]
        return [torch.zeros(size, dtype=torch.float64).requires_grad_() for size in sizes]

    def logits(weights: Sequence[Tensor], of: Sequence[Tensor]) -> list[Tensor]:
        return [z @ weight + bias for z, weight, bias in zip(of, weights[::2], weights[1::2], strict=True)]

    def penalty(weights: Sequence[Tensor]) -> Tensor:
        return weight_decay / 2 * torch.stack([weight.square().sum() for weight in weights[::2]]).sum()

    def tcmax() -> Tensor:
        return decoupled(_named(logits(bound, features)), labels).sum() + penalty(bound)

    def ensemble() -> Tensor:
        losses = [cross_entropy(u.flatten(0, 1), labels.flatten()) for u in logits(alone, features)]
        return repetitions * torch.stack(losses).sum() + penalty(alone)

    bound, alone = start(), start()
    descend(tcmax, bound, steps, rate / len(features))  # modalities share one normaliser
    descend(ensemble, alone, steps, rate)

    def scores(weights: Sequence[Tensor]) -> Floats:
        joint = torch.stack(logits(weights, fresh)).sum(0)
        loss = -joint.log_softmax(-1).gather(-1, truth.unsqueeze(-1)).squeeze(-1)
        return torch.stack([(joint.argmax(-1) == truth).double().mean(-1), loss.mean(-1)]).numpy()

    with torch.no_grad():
        return Separation(*(scores(bound) - scores(alone)))


def _named(values: Sequence[Tensor]) -> dict[str, Tensor]:
    return {f"modality {m}": value for m, value in enumerate(values)}


def _draw(world: Normals, samples: int, n_rows: int, rng: np.random.Generator) -> tuple[list[Tensor], Tensor]:
    """Features (samples, n, C) per modality, and labels (samples, n)."""
    counts = (_class_counts(world, n_rows, rng) for _ in range(samples))
    labels = np.stack([np.repeat(np.arange(len(world.prior)), each) for each in counts])
    centres = np.eye(len(world.prior))[labels]
    features = [torch.from_numpy(s * centres + rng.standard_normal(centres.shape)) for s in world.separations]
    return features, torch.from_numpy(labels)


def _class_counts(world: World, n_rows: int, rng: np.random.Generator) -> Integers:
    """Rows of each class in a sample, (C,)."""
    if world.stratified:
        return np.diff(np.round(np.cumsum(world.prior) * n_rows), prepend=0).astype(np.int64)
    return rng.multinomial(n_rows, world.prior)
