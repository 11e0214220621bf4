"""Critic values against enumeration and golden numbers, their biases, and held-out estimates against exact laws."""

import itertools
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import one_hot

from tcmax.information.estimators import (
    ConcatCritic,
    MineLoss,
    Training,
    donsker_varadhan,
    estimate,
    evaluate,
    in_batch,
    infonce,
    jensen_shannon,
    nwj,
    off_diagonal,
    off_diagonal_additive,
    smile,
    tuba,
)
from tcmax.information.laws import (
    ALIGNMENT_LAW,
    XOR_LAW,
    best_critic_value,
    class_plus_gaussians,
    equicorrelated,
    gaussian_total_correlation,
    marginal,
    sample,
    total_correlation,
)
from tcmax.information.total_correlation import cap, exact

BIVARIATE = gaussian_total_correlation(equicorrelated(2, 0.5))


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def log_ratio(x: Tensor, y: Tensor, rho: float = 0.5) -> Tensor:
    """log r of two standard normals with correlation rho."""
    quadratic = (rho**2 * (x**2 + y**2) - 2 * rho * x * y) / (2 * (1 - rho**2))
    return -0.5 * math.log(1 - rho**2) - quadratic


def gaussian_pairs(*shape: int, rng: np.random.Generator, rho: float = 0.5) -> Tensor:
    first, noise = rng.standard_normal((2, *shape))
    return torch.from_numpy(np.stack([first, rho * first + math.sqrt(1 - rho**2) * noise], axis=-1))


# --- Values ----------------------------------------------------------------------------------------------------------


def test_values_are_their_definitions() -> None:
    joint, product = normal(50, seed=1), normal(70, seed=2)
    t, q = joint.numpy(), np.exp(product.numpy())
    assert donsker_varadhan(joint, product).item() == pytest.approx(t.mean() - np.log(q.mean()))
    assert nwj(joint, product).item() == pytest.approx(1 + t.mean() - q.mean())
    assert tuba(joint, product, 0.7).item() == pytest.approx(t.mean() + 1 - 0.7 - q.mean() / math.exp(0.7))
    clipped = np.clip(q, math.exp(-0.5), math.exp(0.5))
    assert smile(joint, product, 0.5).item() == pytest.approx(t.mean() - np.log(clipped.mean()))
    expected = -np.log1p(np.exp(-t)).mean() - np.log1p(q).mean()
    assert jensen_shannon(joint, product).item() == pytest.approx(expected)


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.floats(-5, 5), st.floats(0.1, 10))
def test_dv_is_the_best_of_its_tuba_bounds_and_ignores_constants(seed: int, shift: float, scale: float) -> None:
    joint, product = scale * normal(20, seed=seed), scale * normal(30, seed=seed + 1)
    dv = donsker_varadhan(joint, product)
    assert tuba(joint, product, shift) <= dv + 1e-9
    log_z = product.logsumexp(0) - math.log(30)
    assert tuba(joint, product, log_z).item() == pytest.approx(dv.item(), abs=1e-9)
    assert donsker_varadhan(joint + shift, product + shift).item() == pytest.approx(dv.item(), abs=1e-9)
    assert smile(joint, product, 1000.0).item() == pytest.approx(dv.item(), abs=1e-9)


def test_smile_keeps_the_variance_of_its_average_within_its_bound() -> None:
    for clip in (0.5, 1.0, 3.0):
        averages = (10 * normal(400, 20)).clamp(-clip, clip).exp().mean(-1)
        assert averages.var() <= 1.3 * (math.exp(clip) - math.exp(-clip)) ** 2 / (4 * 20)


def test_values_stay_finite_at_huge_scores() -> None:
    joint, product = 1e4 * normal(10), 1e4 * normal(12)
    for value in (donsker_varadhan(joint, product), jensen_shannon(joint, product), smile(joint, product, 5.0)):
        assert value.isfinite()


@pytest.mark.parametrize(("batch", "n_classes", "n_modalities"), [(6, 3, 2), (4, 2, 3), (5, 1, 1)])
def test_in_batch_value_is_minus_the_loss(batch: int, n_classes: int, n_modalities: int) -> None:
    logits = {f"m{m}": 2 * normal(batch, n_classes, seed=m) for m in range(n_modalities)}
    labels = torch.randint(n_classes, (batch,), generator=seeded(3))
    table = additive_table(list(logits.values()))
    assert in_batch(table, labels).item() == pytest.approx(-exact(logits, labels).item(), abs=1e-12)


def additive_table(values: list[Tensor]) -> Tensor:
    """(B, C) per modality to (B,) * M + (C,), by a loop over tuples."""
    batch, n_classes = values[0].shape
    table = torch.empty(*[batch] * len(values), n_classes, dtype=torch.float64)
    for rows in itertools.product(range(batch), repeat=len(values)):
        table[rows] = sum(value[k] for value, k in zip(values, rows, strict=True))
    return table


@pytest.mark.parametrize(
    ("batch", "n_classes", "n_modalities"), [(2, 3, 2), (6, 3, 2), (3, 2, 3), (6, 2, 3), (5, 3, 4)]
)
def test_distinct_rows_by_enumeration_and_by_inclusion_exclusion(batch: int, n_classes: int, n_modalities: int) -> None:
    values = [3 * normal(batch, n_classes, seed=m) for m in range(n_modalities)]
    labels = torch.randint(n_classes, (batch,), generator=seeded(1))
    cells = [
        sum(value[k, c].item() for value, k in zip(values, rows, strict=True))
        for rows in itertools.permutations(range(batch), n_modalities)
        for c in range(n_classes)
    ]
    matched = np.mean([sum(value[i, labels[i]].item() for value in values) for i in range(batch)])
    expected = matched - np.log(np.mean(np.exp(cells)))
    assert off_diagonal(additive_table(values), labels).item() == pytest.approx(expected, abs=1e-10)
    logits = {str(m): value for m, value in enumerate(values)}
    assert off_diagonal_additive(logits, labels).item() == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("weight", [10, 60])
def test_inclusion_exclusion_survives_cancellation(weight: float) -> None:
    """One row outweighs all others; its matched tuple is excluded, and what remains is near or below rounding."""
    values = [normal(5, 2, seed=m) for m in range(3)]
    for value in values:
        value[0, 0] += weight
    labels = torch.tensor([0, 1, 0, 1, 1])
    expected = off_diagonal(additive_table(values), labels).item()
    logits = {str(m): value for m, value in enumerate(values)}
    assert off_diagonal_additive(logits, labels).item() == pytest.approx(expected, rel=1e-10)


def test_golden_value_of_distinct_pairs() -> None:
    """Seed specification, §5.4."""
    logits = {"image": torch.tensor([[1, 0], [0, 0.5]]).double(), "text": torch.tensor([[0.5, -0.5], [0, 1]]).double()}
    labels = torch.tensor([0, 1])
    assert off_diagonal_additive(logits, labels).item() == pytest.approx(0.7962486272005671, abs=1e-12)


def test_memorising_reaches_the_cap_in_batch_and_no_limit_off_it() -> None:
    """Fact 7: on the rows it is fitted to, a flexible critic says whatever the estimator allows."""
    matched = torch.zeros(8, 8, 8, dtype=torch.float64)
    matched[range(8), range(8), range(8)] = 1
    assert in_batch(60 * matched).item() == pytest.approx(cap(8, 3), abs=1e-9)
    assert off_diagonal(60 * matched).item() == pytest.approx(60)
    assert infonce(60 * torch.eye(8)).item() == pytest.approx(cap(8, 2), abs=1e-5)


def test_infonce_ignores_what_depends_on_its_first_variable_alone() -> None:
    scores = normal(9, 9)
    shifted = scores + normal(9, 1, seed=4)
    assert infonce(shifted).item() == pytest.approx(infonce(scores).item(), abs=1e-12)
    assert infonce(scores) <= math.log(9)


# --- Biases ----------------------------------------------------------------------------------------------------------


def test_plug_in_dv_is_biased_up_by_chi_square_over_twice_n_and_nwj_is_not() -> None:
    """Fact 2: rho = .5, n = 200 independent tuples; chi^2 = 1/3, Var_P(log r) = 1/4."""
    rng = np.random.default_rng(0)
    repeats, n, chi_square = 8000, 200, 0.25 / 0.75
    pairs, product = gaussian_pairs(repeats, n, rng=rng), torch.from_numpy(rng.standard_normal((repeats, n, 2)))
    joint_scores, product_scores = log_ratio(*pairs.unbind(-1)), log_ratio(*product.unbind(-1))
    values = torch.stack([donsker_varadhan(*rows) for rows in zip(joint_scores, product_scores, strict=True)])
    linear = joint_scores.mean(-1) - (product_scores.exp().mean(-1) - 1)  # mean exactly TC: takes the noise out
    assert (values - linear).mean().item() == pytest.approx(chi_square / (2 * n), rel=0.1)
    assert values.std().item() == pytest.approx(math.sqrt((0.25 + chi_square) / n), rel=0.05)
    unbiased = torch.stack([nwj(*rows) for rows in zip(joint_scores, product_scores, strict=True)])
    assert abs(unbiased.mean().item() - BIVARIATE) < 4 * unbiased.std().item() / math.sqrt(repeats)


@pytest.mark.parametrize(
    ("batch", "repeats", "matched_rows", "distinct_rows", "contrastive"),
    [(4, 2000, 0.0780, 0.160, 0.107), (32, 800, 0.1337, 0.1439, 0.1387)],
)
def test_matched_rows_in_the_product_average_bias_a_gaussian_value_down(
    batch: int, repeats: int, matched_rows: float, distinct_rows: float, contrastive: float
) -> None:
    """Fact 4: best critic, rho = .5, truth 0.1438."""
    rng = np.random.default_rng(batch)
    values = torch.zeros(repeats, 3)
    for repeat in range(repeats):
        x, y = gaussian_pairs(batch, rng=rng).unbind(-1)
        table = log_ratio(x.unsqueeze(1), y.unsqueeze(0))
        noise = table.diagonal().mean() - BIVARIATE  # has mean zero
        values[repeat] = torch.stack([in_batch(table), off_diagonal(table), infonce(table)]) - noise
    assert values.mean(0).tolist() == pytest.approx(
        [matched_rows, distinct_rows, contrastive], abs=4 * (values.std(0).max() / math.sqrt(repeats)).item()
    )


@pytest.mark.parametrize(
    ("batch", "repeats", "full", "additive", "distinct"),
    [(4, 1500, 0.4737, 0.2933, (0.5033, 0.3099)), (32, 300, 0.4943, None, None)],
)
def test_matched_rows_bias_the_best_critics_of_the_alignment_law_down(
    batch: int, repeats: int, full: float, additive: float | None, distinct: tuple[float, float] | None
) -> None:
    """D7: uniform label reference; infinite batches give 0.4976 and, for additive critics, 0.3068."""
    law = ALIGNMENT_LAW
    audio, video, label = (marginal(law, [axis]) for axis in range(3))
    with np.errstate(divide="ignore"):
        table = torch.from_numpy(np.log(law / (audio[:, None, None] * video[:, None])) + math.log(2))
    one = torch.from_numpy(np.log(marginal(law, [0, 2]) / audio[:, None]) + math.log(2))  # log P(y | a) C
    other = torch.from_numpy(np.log(marginal(law, [1, 2]) / (video[:, None] * label)))
    rng = np.random.default_rng(batch)
    values = torch.zeros(repeats, 4)
    for repeat in range(repeats):
        a, v, y = torch.from_numpy(sample(law, batch, rng)).unbind(-1)
        cells, sums = table[a][:, v], one[a].unsqueeze(1) + other[v]
        noise = cells[range(batch), range(batch), y].mean() - best_critic_value(law, "uniform", additive=False)
        noise_additive = sums[range(batch), range(batch), y].mean() - best_critic_value(law, "uniform", additive=True)
        values[repeat, :2] = torch.stack([in_batch(cells, y), off_diagonal(cells, y)]) - noise
        values[repeat, 2] = in_batch(sums, y) - noise_additive
        values[repeat, 3] = off_diagonal_additive({"a": one[a], "v": other[v]}, y) - noise_additive
    tolerance = 4 * (values.std(0).max() / math.sqrt(repeats)).item()
    means = values.mean(0).tolist()
    assert means[0] == pytest.approx(full, abs=tolerance)
    if distinct is not None:
        assert [means[1], means[3]] == pytest.approx(distinct, abs=tolerance)
        assert means[2] == pytest.approx(additive, abs=tolerance)


# --- MINE ------------------------------------------------------------------------------------------------------------


def test_mine_without_memory_is_plain_dv() -> None:
    joint, product = normal(20, seed=1).requires_grad_(), normal(30, seed=2).requires_grad_()
    loss = MineLoss(decay=0)(joint, product)
    plain = -donsker_varadhan(joint, product)
    assert loss.item() == pytest.approx(plain.item())
    got, expected = (torch.autograd.grad(value, (joint, product)) for value in (loss, plain))
    torch.testing.assert_close(got, expected)


def test_mine_divides_by_a_moving_average_kept_as_a_logarithm() -> None:
    """Three batches by hand, at scores whose exponentials overflow float64."""
    mine = MineLoss(decay=0.9)
    batches = [1000 + normal(10, seed=seed) for seed in range(3)]
    average = None
    for batch in batches:
        product = batch.clone().requires_grad_()
        loss = mine(torch.zeros(4, dtype=torch.float64), product)
        scaled = (batch - 1000).exp()
        average = scaled.mean() if average is None else 0.9 * average + 0.1 * scaled.mean()
        assert mine.log_mean.item() - 1000 == pytest.approx(average.log().item())
        (gradient,) = torch.autograd.grad(loss, product)
        torch.testing.assert_close(gradient, scaled / average / 10)
        assert loss.item() == pytest.approx(-donsker_varadhan(torch.zeros(4), batch).item())
    assert "log_mean" in mine.state_dict()
    with pytest.raises(ValueError, match="decay"):
        MineLoss(decay=1.0)


def test_mine_removes_the_bias_of_the_mini_batch_gradient() -> None:
    """Fact 1: T = theta x with x ~ N(0, 1) has log E e^T = theta^2 / 2, so the gradient is theta = 1."""
    theta = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    batches = normal(2300, 8, seed=7)
    plain = (batches.softmax(-1) * batches).sum(-1)
    mine = MineLoss(decay=0.99)
    corrected = torch.stack(
        [torch.autograd.grad(mine(torch.zeros(1, dtype=torch.float64), theta * x), theta)[0] for x in batches]
    )[300:]
    standard_error = corrected.std() / math.sqrt(len(corrected))
    assert plain.mean() < 1 - 4 * standard_error
    assert abs(corrected.mean() - 1) < 3 * standard_error
    assert standard_error < 0.05


# --- A fixed critic on held-out rows ---------------------------------------------------------------------------------


def gaussian_critic(rows: dict[str, Tensor]) -> Tensor:
    return log_ratio(rows["x"], rows["y"])


def test_intervals_cover_the_truth_for_the_best_critic() -> None:
    """Nominal 95 % at 200 rows: 400 draws, so +- 4 standard errors are 0.044; lower bounds hold on average."""
    rng, generator, covered, bounds, errors, values = np.random.default_rng(3), seeded(3), [], [], [], []
    for _ in range(400):
        x, y = gaussian_pairs(400, rng=rng).unsqueeze(-1).unbind(1)
        got = evaluate(
            gaussian_critic, {"x": x[:200], "y": y[:200]}, {"x": x[200:], "y": y[200:]}, generator, shifts=16
        )
        covered.append(got.interval[0] <= BIVARIATE <= got.interval[1])
        bounds.append(got.lower_bound)
        errors.append(got.standard_error)
        values.append(got.value)
    assert np.mean(covered) == pytest.approx(0.95, abs=0.044)
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.15)
    assert np.mean(bounds) <= BIVARIATE + 4 * np.std(bounds) / 20


def test_estimate_is_its_definition_on_a_table_of_scores() -> None:
    """Seven rows and a critic that looks them up: every field by hand from all pairs of distinct rows."""
    rows = torch.arange(7, dtype=torch.float64).unsqueeze(-1)
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 2])
    table = normal(7, 7, 3, seed=5)

    def critic(some: dict[str, Tensor]) -> Tensor:
        return table[some["x"].long().squeeze(-1), some["y"].long().squeeze(-1)]

    four = {"x": rows[:4], "y": rows[:4]}
    got = evaluate(critic, {"x": rows, "y": rows}, four, seeded(0), labels=labels, shifts=6000)

    weights = table.exp().mean(-1).numpy() * (1 - np.eye(7))  # e^T under the uniform label reference
    normaliser, baseline = weights.sum() / 42, weights[:4, :4].sum() / 12
    share = np.array([4, 2, 1]) / 7
    surprise = -np.log(share)[labels.numpy()]
    matched = table[range(7), range(7), labels].numpy()
    pull = (weights.sum(0) + weights.sum(1)) / 6 / normaliser
    excess = math.log(3) - surprise.mean()
    ratio = normaliser / baseline
    assert got.label_excess == pytest.approx(excess)
    assert got.value == pytest.approx(matched.mean() - math.log(normaliser) - excess, abs=0.01)
    assert got.lower_bound == pytest.approx(matched.mean() + 1 - math.log(baseline) - ratio - excess, abs=0.02)
    assert got.standard_error == pytest.approx((matched - pull + surprise).std(ddof=1) / math.sqrt(7), rel=0.02)
    expected_bound_error = (matched - ratio * pull + surprise).std(ddof=1) / math.sqrt(7)
    assert got.lower_bound_error == pytest.approx(expected_bound_error, rel=0.02)
    assert got.normaliser_bias == pytest.approx(pull.var(ddof=1) / 14, rel=0.05)
    assert got.interval == pytest.approx([got.value + side * 1.959964 * got.standard_error for side in (-1, 1)])
    assert got.n_evaluation == 7
    assert got.n_product == 42_000
    assert got.cap == pytest.approx(math.log(7) + math.log(3))


def test_values_near_the_cap_are_flagged_beside_it() -> None:
    """Nearly equal variables and 20 rows: no 20 rows can tell how near."""
    x = normal(40, 1)

    def critic(rows: dict[str, Tensor]) -> Tensor:
        return -1e4 * (rows["x"] - rows["y"]) ** 2

    got = evaluate(critic, {"x": x[:20], "y": x[:20]}, {"x": x[20:], "y": x[20:]}, seeded(0))
    assert got.near_cap
    assert "within 10 % of the cap" in str(got)
    assert f"cap {math.log(20):.2f}" in str(got)
    plain = evaluate(gaussian_critic, {"x": x[:20], "y": x[:20]}, {"x": x[20:], "y": x[20:]}, seeded(0))
    assert not plain.near_cap
    assert "within" not in str(plain)


# --- Trained critics -------------------------------------------------------------------------------------------------

QUICK = Training(learning_rate=5e-3, batch_size=128, max_steps=600, patience=4, shifts=8)


def trained(variables: dict[str, Tensor], labels: Tensor | None = None, training: Training = QUICK, seed: int = 0):
    generator = seeded(seed)
    widths = {name: value.shape[1] for name, value in variables.items()}
    outputs = 1 if labels is None else int(labels.max()) + 1
    critic = ConcatCritic(widths, generator, outputs=outputs, hidden=(32,))
    return estimate(variables, critic, generator, labels=labels, training=training)


def gaussian_law(seed: int) -> tuple[dict[str, Tensor], Tensor | None, float]:
    covariance = equicorrelated(3, 0.6)
    x = torch.from_numpy(np.random.default_rng(seed).multivariate_normal(np.zeros(3), covariance, size=3000)).float()
    return {"a": x[:, :2], "v": x[:, 2:]}, None, gaussian_total_correlation(covariance, [2, 1])


def three_gaussians(seed: int) -> tuple[dict[str, Tensor], Tensor | None, float]:
    covariance = equicorrelated(3, 0.5)
    x = torch.from_numpy(np.random.default_rng(seed).multivariate_normal(np.zeros(3), covariance, size=3000)).float()
    return {"a": x[:, :1], "v": x[:, 1:2], "t": x[:, 2:]}, None, gaussian_total_correlation(covariance)


def discrete_law(law: np.ndarray) -> Callable[[int], tuple[dict[str, Tensor], Tensor | None, float]]:
    def draw(seed: int) -> tuple[dict[str, Tensor], Tensor | None, float]:
        a, v, y = torch.from_numpy(sample(law, 3000, np.random.default_rng(seed))).unbind(-1)
        return {"a": one_hot(a).float(), "v": one_hot(v).float()}, y, total_correlation(law)

    return draw


def class_and_gaussians(seed: int) -> tuple[dict[str, Tensor], Tensor | None, float]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(2, size=3000)
    x = torch.from_numpy((2 * labels[:, None] - 1) + rng.standard_normal((3000, 2))).float()
    return {"a": x[:, :1], "v": x[:, 1:]}, torch.from_numpy(labels), class_plus_gaussians(1.0, 2).total


@pytest.mark.parametrize(
    "law",
    [gaussian_law, three_gaussians, discrete_law(ALIGNMENT_LAW), discrete_law(XOR_LAW), class_and_gaussians],
    ids=["groups", "three", "alignment", "xor", "class"],
)
def test_held_out_estimates_find_the_total_correlation_of_known_laws(law) -> None:
    variables, labels, truth = law(1)
    got = trained(variables, labels)
    assert abs(got.value - truth) < 4 * got.standard_error + 0.02
    assert got.standard_error < 0.05
    assert got.lower_bound < truth + 4 * got.lower_bound_error
    assert not got.near_cap


@pytest.mark.parametrize("objective", ["dv", "nwj", "jensen_shannon"])
def test_every_objective_trains_a_critic_for_the_same_value(objective: str) -> None:
    variables, labels, truth = discrete_law(ALIGNMENT_LAW)(2)
    got = trained(variables, labels, replace(QUICK, objective=objective))
    assert abs(got.value - truth) < 4 * got.standard_error + 0.02


def test_independent_variables_have_none() -> None:
    got = trained({"a": normal(2000, 1, seed=1).float(), "v": normal(2000, 1, seed=2).float()})
    assert abs(got.value) < 4 * got.standard_error + 0.01


def test_held_out_value_is_honest_where_the_training_value_is_not() -> None:
    """Fact 7: 120 rows of independent noise in ten dimensions are memorised, and the third split knows."""
    variables = {"a": normal(120, 10, seed=1).float(), "v": normal(120, 10, seed=2).float()}
    generator = seeded(4)
    critic = ConcatCritic({"a": 10, "v": 10}, generator, hidden=(64,))
    optimizer = torch.optim.Adam(critic.parameters(), lr=1e-2)
    pairs = torch.cartesian_prod(torch.arange(60), torch.arange(60))
    for _ in range(60):
        table = critic({"a": variables["a"][pairs[:, 0]], "v": variables["v"][pairs[:, 1]]}).reshape(60, 60)
        loss = -in_batch(table)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert -loss.item() > 0.6 * cap(60, 2)
    halves = ({name: value[start : start + 30] for name, value in variables.items()} for start in (60, 90))
    assert evaluate(critic, *halves, seeded(0)).value < 0


class Remembering(nn.Module):
    """One parameter, and the numbers of the rows seen in each mode (first column of every variable)."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.zeros(()))
        self.seen: dict[bool, set[float]] = {True: set(), False: set()}

    def forward(self, rows: dict[str, Tensor]) -> Tensor:
        for value in rows.values():
            self.seen[self.training].update(value[:, 0].tolist())
        return self.slope * rows["a"][:, 1:] * rows["v"][:, 1:]


def numbered(n: int, rho: float) -> dict[str, Tensor]:
    number = torch.arange(n).unsqueeze(-1)
    pairs = gaussian_pairs(n, rng=np.random.default_rng(0), rho=rho)
    return {name: torch.cat([number, pairs[:, [m]]], dim=-1).float() for m, name in enumerate(("a", "v"))}


def test_rows_that_train_are_never_evaluated() -> None:
    critic = Remembering()
    got = estimate(numbered(400, 0.8), critic, seeded(0), training=Training(max_steps=100, batch_size=50))
    assert len(critic.seen[True]) == 200
    assert len(critic.seen[False]) == 200
    assert not critic.seen[True] & critic.seen[False]
    assert got.n_evaluation == 100
    assert critic.slope > 0


def test_the_best_state_on_the_stopping_rows_is_kept() -> None:
    """Steps of 50 from a slope of 0 on independent variables only make things worse."""
    critic = Remembering()
    options = Training(learning_rate=50.0, max_steps=40, check_every_steps=5, batch_size=50)
    got = estimate(numbered(400, 0.0), critic, seeded(0), training=options)
    assert critic.slope == 0
    assert got.value == 0


def test_equal_generators_give_equal_estimates() -> None:
    variables, labels, _ = discrete_law(XOR_LAW)(3)
    short = Training(max_steps=30, check_every_steps=10)
    one, same, other = (trained(variables, labels, short, seed) for seed in (1, 1, 2))
    assert one == same
    assert one != other


def test_wrong_inputs_are_named() -> None:
    x = normal(40, 1).float()
    critic = ConcatCritic({"a": 1, "v": 1}, seeded(0), outputs=2)
    with pytest.raises(ValueError, match="two variables, or one and a label"):
        estimate({"a": x}, critic, seeded(0))
    with pytest.raises(ValueError, match=r"equally many rows.*'v': 30"):
        estimate({"a": x, "v": x[:30]}, critic, seeded(0))
    with pytest.raises(ValueError, match=r"\(n, 1\) without labels"):
        estimate({"a": x, "v": x}, critic, seeded(0))
    with pytest.raises(ValueError, match="too few for tuples"):
        estimate({"a": x[:6], "v": x[:6]}, critic, seeded(0))
    with pytest.raises(ValueError, match="one axis of equal length"):
        in_batch(normal(3, 4))
    with pytest.raises(ValueError, match="no tuple of 3 distinct"):
        off_diagonal(normal(2, 2, 2))
    with pytest.raises(ValueError, match="no tuple of 3 distinct"):
        off_diagonal_additive({name: normal(2, 2) for name in "avt"}, torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="objective"):
        Training(objective="tcmax")
    with pytest.raises(ValueError, match="fractions"):
        Training(fractions=(0.5, 0.5, 0.5))
