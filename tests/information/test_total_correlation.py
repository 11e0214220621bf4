"""The TCMax loss against a brute-force sum over all tuples, its own identities, and its published golden values.

"Assertion n" is the n-th audit assertion of the method specification, §7.2.
"""

import doctest
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from tcmax import TCMaxLoss
from tcmax.information import total_correlation
from tcmax.information.total_correlation import cap, decompose, decoupled, distinct_tuples, exact, floor, sampled

GOLDEN = {
    "image": torch.tensor([[1, 0], [0, 0.5]], dtype=torch.float64),
    "text": torch.tensor([[0.5, -0.5], [0, 1]], dtype=torch.float64),
}
SHAPES = [(4, 3, 1), (8, 5, 2), (5, 2, 3), (4, 3, 4)]


def random_batch(
    batch: int, n_classes: int, n_modalities: int, seed: int = 0, scale: float = 2.0, dtype: torch.dtype = torch.float64
) -> tuple[dict[str, Tensor], Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = {
        f"m{m}": (scale * torch.randn(batch, n_classes, generator=generator, dtype=torch.float64)).to(dtype)
        for m in range(n_modalities)
    }
    for value in logits.values():
        value.requires_grad_()
    return logits, torch.randint(n_classes, (batch,), generator=generator)


def brute_force(logits: dict[str, Tensor], labels: Tensor, prior: np.ndarray | None = None) -> float:
    """Eq. 14 as printed: one number per tuple and class, gathered in a Python list."""
    tables = [value.detach().double().numpy() for value in logits.values()]
    batch, n_classes = tables[0].shape
    prior = np.full(n_classes, 1 / n_classes) if prior is None else prior
    cells = [
        sum(table[k, c] for table, k in zip(tables, rows, strict=True)) + math.log(prior[c])
        for rows in itertools.product(range(batch), repeat=len(tables))
        for c in range(n_classes)
    ]
    matched = [sum(table[i, label] for table in tables) for i, label in enumerate(labels.tolist())]
    return float(logsumexp(cells) - len(tables) * math.log(batch) - np.mean(matched))


def gradients(loss: Tensor, logits: dict[str, Tensor]) -> Tensor:
    return torch.stack(torch.autograd.grad(loss, list(logits.values()), retain_graph=True))


# --- Values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("batch", "n_classes", "n_modalities"), SHAPES)
def test_assertion_6_exact_decoupled_and_complete_sample_are_the_brute_force_sum(
    batch: int, n_classes: int, n_modalities: int
) -> None:
    logits, labels = random_batch(batch, n_classes, n_modalities)
    every = torch.cartesian_prod(*[torch.arange(batch)] * n_modalities).reshape(-1, n_modalities)
    expected = brute_force(logits, labels)
    reference = gradients(exact(logits, labels), logits)
    for loss in (exact(logits, labels), decoupled(logits, labels), sampled(logits, labels, every.flip(0))):
        assert loss.item() == pytest.approx(expected, abs=1e-10)
        torch.testing.assert_close(gradients(loss, logits), reference, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("batch", "n_classes", "n_modalities"), SHAPES)
def test_assertion_6_holds_in_float32(batch: int, n_classes: int, n_modalities: int) -> None:
    logits, labels = random_batch(batch, n_classes, n_modalities, dtype=torch.float32)
    one, other = exact(logits, labels), decoupled(logits, labels)
    assert one.item() == pytest.approx(other.item(), abs=1e-5)
    torch.testing.assert_close(gradients(one, logits), gradients(other, logits), rtol=0, atol=1e-5)


def test_golden_value_of_both_forms() -> None:
    """Recorded in the seed specification, §5.4, for Eq. 14 and Eq. 16."""
    labels = torch.tensor([0, 1])
    for loss in (TCMaxLoss()(GOLDEN, labels), exact(GOLDEN, labels)):
        assert loss.item() == pytest.approx(-0.6533169502840623, abs=1e-12)


def test_golden_value_of_mismatched_pairs_only() -> None:
    loss = sampled(GOLDEN, torch.tensor([0, 1]), torch.tensor([[0, 1], [1, 0]]))
    assert loss.item() == pytest.approx(-0.7962486272005671, abs=1e-12)


def test_examples_print_what_they_say() -> None:
    tests = [test for test in doctest.DocTestFinder().find(total_correlation, "") if test.examples]
    assert {test.name.strip(".") for test in tests} >= {"TCMaxLoss", "total_correlation_loss"}
    for test in tests:
        assert doctest.DocTestRunner().run(test).failed == 0


def test_constant_head_gives_zero() -> None:
    for shape in SHAPES:
        logits, labels = random_batch(*shape, scale=0.0)
        assert decoupled(logits, labels).item() == pytest.approx(0, abs=1e-12)


def test_label_prior_enters_the_normaliser() -> None:
    prior = np.array([0.5, 0.2, 0.2, 0.1])
    logits, labels = random_batch(5, 4, 3)
    expected = brute_force(logits, labels, prior)
    log_prior = torch.from_numpy(prior).log()
    assert exact(logits, labels, class_log_prior=log_prior).item() == pytest.approx(expected, abs=1e-10)
    assert decoupled(logits, labels, log_prior).item() == pytest.approx(expected, abs=1e-10)


def test_leading_axes_are_independent_batches() -> None:
    generator = torch.Generator().manual_seed(1)
    stacked = {name: torch.randn(3, 2, 6, 4, generator=generator, dtype=torch.float64) for name in ("a", "v")}
    shared = torch.randint(4, (6,), generator=generator)
    own = torch.randint(4, (3, 2, 6), generator=generator)
    tuples = distinct_tuples(6, 2, 10, generator)
    for labels in (shared, own):
        spread = labels.expand(3, 2, 6)
        for form in (decoupled, exact, lambda logits, y: sampled(logits, y, tuples)):
            expected = [
                [form({k: v[i, j] for k, v in stacked.items()}, spread[i, j]) for j in range(2)] for i in range(3)
            ]
            expected_values = torch.tensor([[value.item() for value in row] for row in expected])
            torch.testing.assert_close(form(stacked, labels), expected_values.double(), rtol=0, atol=1e-6)


# --- Invariances -----------------------------------------------------------------------------------------------------

batches = st.tuples(st.integers(1, 7), st.integers(1, 5), st.integers(1, 4), st.integers(0, 10_000))


@settings(max_examples=40)
@given(batches, st.lists(st.floats(-50, 50), min_size=4, max_size=4))
def test_a_constant_added_to_a_modality_changes_nothing(shape: tuple[int, ...], constants: list[float]) -> None:
    """D1: the loss is invariant to a global shift of T."""
    logits, labels = random_batch(*shape)
    shifted = {name: value + constant for (name, value), constant in zip(logits.items(), constants, strict=False)}
    torch.testing.assert_close(decoupled(shifted, labels), decoupled(logits, labels), rtol=0, atol=1e-9)


def test_a_constant_added_to_a_row_changes_the_loss_but_not_cross_entropy() -> None:
    """D1: unlike cross-entropy, the loss anchors the scale of every tuple."""
    logits, labels = random_batch(6, 3, 2)
    shifted = {**logits, "m0": logits["m0"] + torch.arange(6.0).unsqueeze(-1)}
    assert abs(decoupled(shifted, labels) - decoupled(logits, labels)) > 0.1
    before, after = (cross_entropy(value["m0"] + value["m1"], labels) for value in (logits, shifted))
    torch.testing.assert_close(before, after)


@settings(max_examples=40)
@given(batches)
def test_an_additive_head_is_blind_to_which_rows_of_a_class_are_paired(shape: tuple[int, ...]) -> None:
    """D3: re-pairing modalities within a class, which destroys I(z^a; z^v | y), leaves the loss unchanged."""
    logits, labels = random_batch(*shape)
    rng = np.random.default_rng(shape[-1])
    repaired = {}
    for name, value in logits.items():
        order = np.arange(len(labels))
        for label in labels.unique():
            rows = np.flatnonzero(labels.numpy() == label.item())
            order[rows] = rng.permutation(rows)
        repaired[name] = value[torch.from_numpy(order)]
    torch.testing.assert_close(decoupled(repaired, labels), decoupled(logits, labels), rtol=0, atol=1e-9)


@settings(max_examples=40)
@given(batches)
def test_gradient_sums_to_zero_in_every_modality(shape: tuple[int, ...]) -> None:
    """Mass one from the normaliser, minus one from the matched rows; the invariant that catches underflow."""
    logits, labels = random_batch(*shape)
    totals = gradients(decoupled(logits, labels), logits).sum((-2, -1))
    torch.testing.assert_close(totals, torch.zeros_like(totals), rtol=0, atol=1e-12)


# --- Gradients and numerics ------------------------------------------------------------------------------------------


def test_gradient_passes_finite_differences() -> None:
    logits, labels = random_batch(3, 3, 3)
    values = tuple(logits.values())
    log_prior = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64).log()

    def loss(*tensors: Tensor) -> Tensor:
        return decoupled(dict(zip("abc", tensors, strict=True)), labels, log_prior)

    assert torch.autograd.gradcheck(loss, values)
    assert torch.autograd.gradcheck(
        lambda *tensors: exact(dict(zip("abc", tensors, strict=True)), labels, chunk_size=7), values
    )


def test_loss_can_be_used_twice_and_scaled() -> None:
    logits, labels = random_batch(5, 3, 2)
    loss = decoupled(logits, labels)
    once = gradients(loss, logits)
    torch.testing.assert_close(gradients(2 * loss + 0.5 * loss, logits), 2.5 * once)
    torch.testing.assert_close(gradients(loss, logits), once, rtol=0, atol=0)


@pytest.mark.parametrize("form", [decoupled, exact])
def test_second_derivatives_pass_finite_differences(form) -> None:
    """The decoupled form keeps a gradient, which is a constant: whoever differentiates it gets the formula instead."""
    logits, labels = random_batch(3, 2, 2)
    log_prior = torch.tensor([0.3, 0.7], dtype=torch.float64).log().requires_grad_()
    assert torch.autograd.gradgradcheck(
        lambda a, v, prior: form({"a": a, "v": v}, labels, class_log_prior=prior), (*logits.values(), log_prior)
    )


@pytest.mark.parametrize("form", [decoupled, exact])
def test_the_reference_law_receives_its_gradient(form) -> None:
    logits, labels = random_batch(3, 2, 2)
    log_prior = torch.tensor([0.3, 0.7], dtype=torch.float64).log().requires_grad_()
    assert torch.autograd.gradcheck(lambda prior: form(logits, labels, class_log_prior=prior), log_prior)


def test_a_tensor_used_by_two_modalities_receives_both_gradients() -> None:
    logits, labels = random_batch(5, 3, 2)
    shared = logits["m0"]
    (got,) = torch.autograd.grad(decoupled({"left": shared, "right": shared}, labels), shared)
    (expected,) = torch.autograd.grad(exact({"left": shared, "right": shared}, labels), shared)
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("spread", [1, 10, 100, 1000])
def test_float32_gradient_is_that_of_float64_at_every_logit_range(spread: float) -> None:
    """Joint logits that span up to 1000: relative L2 error below 1e-4, and still zero-sum per modality."""
    for seed in range(20):
        wide, labels = random_batch(32, 11, 2, seed=seed, scale=spread / 10)
        narrow = {name: value.detach().float().requires_grad_() for name, value in wide.items()}
        expected = gradients(decoupled({name: value.double() for name, value in narrow.items()}, labels), narrow)
        got = gradients(decoupled(narrow, labels), narrow)
        assert (got.double() - expected).norm() <= 1e-4 * expected.norm()
        assert got.sum((-2, -1)).abs().max() <= 1e-4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("form", [decoupled, exact])
def test_assertion_11_reference_stays_finite_at_huge_logits(form, dtype: torch.dtype) -> None:
    logits, labels = random_batch(6, 4, 2, scale=1e4, dtype=dtype)
    logits["m0"].data[0, 0], logits["m1"].data[1, 1] = 1e4, -1e4
    loss = form(logits, labels)
    assert loss.isfinite()
    assert gradients(loss, logits).isfinite().all()


def test_a_class_masked_out_everywhere_has_no_share() -> None:
    logits, labels = random_batch(6, 4, 2)
    masked = {name: value.detach().clone() for name, value in logits.items()}
    for value in masked.values():
        value[:, 3] = -math.inf
        value.requires_grad_()
    labels = labels % 3
    kept = {name: value.detach()[:, :3].requires_grad_() for name, value in masked.items()}
    loss, expected = decoupled(masked, labels), decoupled(kept, labels)
    assert loss.item() == pytest.approx(expected.item() - math.log(4 / 3), abs=1e-12)
    torch.testing.assert_close(gradients(loss, masked)[..., :3], gradients(expected, kept))
    assert (gradients(loss, masked)[..., 3] == 0).all()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_non_finite_logits_give_a_non_finite_loss(bad: float) -> None:
    logits, labels = random_batch(6, 4, 2)
    logits["m1"].data[2, 1] = bad
    assert not decoupled(logits, labels).isfinite()
    assert not exact(logits, labels).isfinite()


def test_autocast_and_half_precision_logits_are_computed_in_float32() -> None:
    logits, labels = random_batch(16, 5, 2, dtype=torch.float32)
    halved = {name: value.detach().bfloat16().requires_grad_() for name, value in logits.items()}
    widened = {name: value.detach().float() for name, value in halved.items()}
    expected = decoupled(widened, labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = decoupled(halved, labels)
        enumerated = exact(halved, labels)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, expected)
    torch.testing.assert_close(enumerated, expected)
    assert gradients(inside, halved).dtype == torch.bfloat16


# --- Decomposition, floors -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prior", [None, [0.2, 0.5, 0.3]])
@pytest.mark.parametrize("n_modalities", [2, 3])
def test_assertion_8_loss_is_cross_entropy_plus_alignment_minus_log_classes(n_modalities: int, prior) -> None:
    logits, labels = random_batch(5, 3, n_modalities)
    log_prior = None if prior is None else torch.tensor(prior, dtype=torch.float64).log()
    joint = torch.stack(list(logits.values())).sum(0).detach()
    loss = decoupled(logits, labels, log_prior)
    parts = decompose(loss, joint, labels, log_prior)

    adjusted = joint.numpy() + np.log(prior or [1 / 3] * 3)
    tables = [value.detach().numpy() for value in logits.values()]
    reach = [
        logsumexp(sum(t[k] for t, k in zip(tables, rows, strict=True)) + np.log(prior or [1 / 3] * 3))
        for rows in itertools.product(range(5), repeat=n_modalities)
    ]
    alignment = logsumexp(reach) - n_modalities * math.log(5) - logsumexp(adjusted, axis=-1).mean()
    assert parts.cross_entropy.item() == pytest.approx(cross_entropy(torch.from_numpy(adjusted), labels).item())
    assert parts.alignment.item() == pytest.approx(alignment, abs=1e-12)
    expected_label_term = np.log(prior or [1 / 3] * 3)[labels.numpy()].mean()
    assert parts.label_term.item() == pytest.approx(expected_label_term)
    assert (parts.cross_entropy + parts.alignment + parts.label_term).item() == pytest.approx(loss.item(), abs=1e-12)


@settings(max_examples=60)
@given(batches, st.floats(0, 20))
def test_assertion_10_loss_is_never_below_its_floor(shape: tuple[int, ...], scale: float) -> None:
    batch, n_classes, n_modalities, seed = shape
    logits, labels = random_batch(batch, n_classes, n_modalities, seed, scale)
    loss = decoupled(logits, labels).item()
    additive = floor(labels, n_classes, n_modalities, additive=True).item()
    general = floor(labels, n_classes, n_modalities, additive=False).item()
    assert loss >= additive - 1e-9
    assert additive >= general - 1e-12
    assert general == pytest.approx(-cap(batch, n_modalities, n_classes))


@pytest.mark.parametrize("n_modalities", [1, 2, 3, 5])
def test_assertion_10_memorising_additive_logits_reach_the_floor(n_modalities: int) -> None:
    labels = torch.tensor([0, 0, 0, 1, 1, 2, 3, 3])
    counts = torch.bincount(labels)[labels].double()
    value = torch.zeros(8, 4, dtype=torch.float64)
    value[torch.arange(8), labels] = 30 - (n_modalities - 1) / n_modalities * counts.log()
    loss = decoupled({f"m{m}": value for m in range(n_modalities)}, labels).item()
    share = np.array([3, 2, 1, 2]) / 8
    entropy = -(share * np.log(share)).sum()
    assert loss == pytest.approx(-(n_modalities - 1) * entropy - math.log(4), abs=1e-8)
    assert floor(labels, 4, n_modalities, additive=True).item() == pytest.approx(loss, abs=1e-8)


def test_floor_of_any_head_is_reached_by_telling_rows_apart() -> None:
    labels = torch.tensor([0, 1, 1, 2])
    prior = torch.tensor([0.1, 0.6, 0.3], dtype=torch.float64)
    rows = torch.eye(4, dtype=torch.float64)

    def head(features: dict[str, Tensor]) -> Tensor:
        same = (features["a"] * features["v"] * features["t"]).unsqueeze(-1)
        reward = 200 - prior.log()[labels]
        return (same * reward.unsqueeze(-1) * one_hot(labels, 3)).sum(-2)

    loss = exact({"a": rows, "v": rows, "t": rows}, labels, head=head, class_log_prior=prior.log())
    expected = floor(labels, 3, 3, additive=False, class_log_prior=prior.log()).item()
    assert loss.item() == pytest.approx(expected, abs=1e-9)
    assert expected == pytest.approx(-2 * math.log(4) + prior.log()[labels].mean().item())


@pytest.mark.parametrize(
    ("batch", "n_classes", "nats"), [(32, 6, 5.26), (32, 28, 6.80), (64, 31, 7.59), (64, 309, 9.89), (32, 101, 8.08)]
)
def test_caps_of_the_papers_settings(batch: int, n_classes: int, nats: float) -> None:
    """Inconsistency B4 of the published account: CREMA-D, AVE, Kinetics-Sounds, VGGSound, UCF101."""
    assert cap(batch, 2, n_classes) == pytest.approx(nats, abs=0.006)


# --- Population optima: a batch that holds the law exactly -----------------------------------------------------------

ALIGNED = np.array([[[6, 1, 1], [2, 4, 0], [1, 0, 1]], [[0, 1, 2], [1, 0, 6], [2, 6, 6]]])
XOR = np.array([[[1, 0], [0, 1]], [[0, 1], [1, 0]]])


def batch_that_is(counts: np.ndarray) -> tuple[dict[str, Tensor], Tensor]:
    """One-hot features and labels whose empirical law is the table (label, audio, video)."""
    cells = np.repeat(np.argwhere(counts), counts[counts > 0], axis=0)
    y, a, v = torch.from_numpy(cells).T
    return {"a": one_hot(a, counts.shape[1]).double(), "v": one_hot(v, counts.shape[2]).double()}, y


def maximise(loss_of, parameters: list[Tensor]) -> float:
    optimiser = torch.optim.LBFGS(parameters, max_iter=400, history_size=30, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = loss_of()
        loss.backward()
        return loss

    optimiser.step(closure)
    return -loss_of().item()


@pytest.mark.parametrize(
    ("counts", "reference", "full", "additive"),
    [
        (ALIGNED, "empirical", 0.477504, 0.286701),
        (ALIGNED, "uniform", 0.497639, 0.306837),
        (XOR, "uniform", math.log(2), 0.0),
    ],
)
def test_assertion_9_additive_heads_stop_at_the_sum_of_unimodal_informations(
    counts: np.ndarray, reference: str, full: float, additive: float
) -> None:
    features, labels = batch_that_is(counts)
    frequencies = torch.bincount(labels).double() / len(labels)
    loss = TCMaxLoss(label_reference=reference, class_log_prior=frequencies.log() if reference == "empirical" else None)
    generator = torch.Generator().manual_seed(3)
    n_labels, n_audio, n_video = counts.shape

    def start(*shape: int) -> Tensor:
        return (0.1 * torch.randn(*shape, generator=generator, dtype=torch.float64)).requires_grad_()

    table = start(n_audio, n_video, n_labels)

    def head(rows: dict[str, Tensor]) -> Tensor:
        return torch.einsum("na,nv,avc->nc", rows["a"], rows["v"], table)

    assert maximise(lambda: loss(features, labels, head=head), [table]) == pytest.approx(full, abs=1e-4)
    weights = {"a": start(n_audio, n_labels), "v": start(n_video, n_labels)}
    best = maximise(lambda: loss({m: features[m] @ weights[m] for m in features}, labels), list(weights.values()))
    assert best == pytest.approx(additive, abs=1e-4)
    if counts is ALIGNED and reference == "uniform":  # D4: the optimum is the naive-Bayes posterior
        joint = sum(features[m] @ weights[m] for m in features)
        assert joint.argmax(-1).eq(labels).double().mean().item() == pytest.approx(0.775)
        flattened = joint - frequencies.log()
        assert flattened.argmax(-1).eq(labels).double().mean().item() == pytest.approx(0.875)


def test_assertion_15_label_reference_changes_predictions_on_an_imbalanced_set_only() -> None:
    """D8: trained with the empirical reference, raw logits classify for balanced classes; the prior mends it."""

    def trained(counts: np.ndarray, reference: str) -> tuple[Tensor, Tensor]:
        features, labels = batch_that_is(counts)
        log_prior = (torch.bincount(labels).double() / len(labels)).log()
        loss = TCMaxLoss(label_reference=reference, class_log_prior=log_prior if reference == "empirical" else None)
        weights = {
            m: torch.zeros(value.shape[1], 2, dtype=torch.float64, requires_grad=True) for m, value in features.items()
        }
        maximise(lambda: loss({m: features[m] @ weights[m] for m in features}, labels), list(weights.values()))
        joint = sum(features[m] @ weights[m] for m in features).detach()
        return joint.softmax(-1), loss.prediction_logits(joint).softmax(-1)

    imbalanced = np.array([[[9, 3], [3, 1]], [[1, 1], [1, 1]]])
    balanced = np.array([[[9, 3], [3, 1]], [[1, 3], [3, 9]]])
    uniform_raw, uniform = trained(imbalanced, "uniform")
    empirical_raw, empirical = trained(imbalanced, "empirical")
    torch.testing.assert_close(uniform, empirical, rtol=0, atol=1e-4)
    assert torch.equal(uniform_raw, uniform)
    assert (uniform_raw.argmax(-1) != empirical_raw.argmax(-1)).any()
    torch.testing.assert_close(trained(balanced, "uniform")[0], trained(balanced, "empirical")[0], rtol=0, atol=1e-4)


# --- Sampling --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("batch", "n_modalities", "count"), [(4, 2, 16), (4, 2, 9), (64, 2, 1000), (10, 3, 300), (7, 1, 7)]
)
def test_assertion_12_sampled_tuples_are_distinct(batch: int, n_modalities: int, count: int) -> None:
    tuples = distinct_tuples(batch, n_modalities, count, torch.Generator().manual_seed(0))
    assert tuples.shape == (count, n_modalities)
    assert len({tuple(row) for row in tuples.tolist()}) == count
    assert tuples.min() >= 0
    assert tuples.max() < batch


def test_assertion_12_more_tuples_than_there_are_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"17 distinct tuples.*only 16"):
        distinct_tuples(4, 2, 17, torch.Generator())


@pytest.mark.parametrize("count", [3, 7])
def test_every_tuple_is_equally_likely(count: int) -> None:
    """Pool of 9; both branches (few: redraw collisions, most: permute); 6 standard errors."""
    generator = torch.Generator().manual_seed(5)
    repeats = 3000
    drawn = torch.cat([distinct_tuples(3, 2, count, generator) for _ in range(repeats)])
    frequency = torch.bincount(drawn[:, 0] * 3 + drawn[:, 1], minlength=9) / repeats
    share = count / 9
    assert (frequency - share).abs().max() < 6 * math.sqrt(share * (1 - share) / repeats)


def test_sampling_never_lists_the_pool() -> None:
    tuples = distinct_tuples(100_000, 3, 50, torch.Generator().manual_seed(0))
    assert tuples.max() > 50_000
    with pytest.raises(ValueError, match="too many tuples"):
        distinct_tuples(100_000, 4, 50, torch.Generator())


def test_equal_generators_give_equal_bytes() -> None:
    logits, labels = random_batch(16, 3, 2)
    loss = TCMaxLoss(negatives=40)
    one, same, other = (
        loss(logits, labels, generator=torch.Generator().manual_seed(seed)).item() for seed in (1, 1, 2)
    )
    assert one == same
    assert one != other


# --- Heads that are not additive -------------------------------------------------------------------------------------


class Multiplicative(nn.Module):
    """Bilinear head with its own weights, so that gradients have to reach features and parameters."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(11)
        self.weight = nn.Parameter(torch.randn(3, 4, 2, generator=generator, dtype=torch.float64))
        self.most_rows = 0

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        self.most_rows = max(self.most_rows, len(features["a"]))
        return {"joint": torch.einsum("na,nv,avc->nc", features["a"], features["v"].tanh(), self.weight)}


def multiplicative_case() -> tuple[dict[str, Tensor], Tensor, Multiplicative]:
    generator = torch.Generator().manual_seed(2)
    features = {
        "a": torch.randn(6, 3, generator=generator, dtype=torch.float64, requires_grad=True),
        "v": torch.randn(6, 4, generator=generator, dtype=torch.float64, requires_grad=True),
    }
    return features, torch.tensor([0, 1, 1, 0, 1, 0]), Multiplicative()


def bilinear_by_hand(
    features: dict[str, Tensor], labels: Tensor, weight: Tensor, pairs: list[tuple[int, int]]
) -> Tensor:
    v = features["v"].tanh()
    scores = {
        (i, k): torch.stack([features["a"][i] @ weight[..., c] @ v[k] for c in range(2)])
        for i in range(6)
        for k in range(6)
    }
    total = torch.log(sum(scores[pair].exp().sum() for pair in pairs)) - math.log(2 * len(pairs))
    return total - sum(scores[i, i][labels[i]] for i in range(6)) / 6


@pytest.mark.parametrize("chunk_size", [1, 7, 36, 4096])
def test_a_head_is_streamed_over_all_tuples_with_exact_gradients(chunk_size: int) -> None:
    features, labels, head = multiplicative_case()
    leaves = [*features.values(), head.weight]
    loss = TCMaxLoss(chunk_size=chunk_size)(features, labels, head=head)
    got = torch.autograd.grad(loss, leaves)
    expected = bilinear_by_hand(features, labels, head.weight, list(itertools.product(range(6), repeat=2)))
    assert loss.item() == pytest.approx(expected.item(), abs=1e-12)
    for one, other in zip(got, torch.autograd.grad(expected, leaves), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
    assert head.most_rows <= max(6, chunk_size)


def test_streaming_fills_grad_of_head_parameters_twice_over() -> None:
    features, labels, head = multiplicative_case()
    loss = TCMaxLoss(chunk_size=5)(features, labels, head=head)
    loss.backward(retain_graph=True)
    once = head.weight.grad.clone()
    loss.backward()
    torch.testing.assert_close(head.weight.grad, 2 * once)


def test_assertion_13_sampling_works_with_a_head_that_is_not_additive() -> None:
    features, labels, head = multiplicative_case()
    loss = TCMaxLoss(negatives=20, chunk_size=6)(
        features, labels, head=head, generator=torch.Generator().manual_seed(4)
    )
    pairs = distinct_tuples(6, 2, 20, torch.Generator().manual_seed(4)).tolist()
    expected = bilinear_by_hand(features, labels, head.weight, [(i, k) for i, k in pairs])
    assert loss.item() == pytest.approx(expected.item(), abs=1e-12)
    (one,), (other,) = torch.autograd.grad(loss, head.weight), torch.autograd.grad(expected, head.weight)
    torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_an_additive_head_given_as_a_head_gives_the_decoupled_value() -> None:
    logits, labels = random_batch(6, 3, 2)
    got = TCMaxLoss()(logits, labels, head=lambda rows: rows["m0"] + rows["m1"])
    torch.testing.assert_close(got, decoupled(logits, labels), rtol=0, atol=1e-12)


# --- Errors ----------------------------------------------------------------------------------------------------------

LOGITS = {"a": torch.zeros(4, 3), "v": torch.zeros(4, 3)}
LABELS = torch.tensor([0, 1, 2, 0])


@pytest.mark.parametrize(
    ("inputs", "labels", "message"),
    [
        ({}, LABELS, "non-empty dict"),
        (torch.zeros(4, 3), LABELS, "non-empty dict"),
        ({**LOGITS, "joint": torch.zeros(4, 3)}, LABELS, "reserved key 'joint'"),
        ({**LOGITS, 3: torch.zeros(4, 3)}, LABELS, "modality names"),
        ({**LOGITS, "t": [1.0]}, LABELS, "modality names"),
        ({**LOGITS, "v": torch.zeros(4, 2)}, LABELS, r"'v' \(4, 2\), 'a' \(4, 3\)"),
        ({"a": torch.zeros(3)}, LABELS, r"\(3,\), not \(..., B, C\)"),
        ({"a": torch.zeros(4, 3, dtype=torch.int64)}, LABELS, "not floating point"),
        ({"a": torch.zeros(0, 3)}, LABELS[:0], "empty"),
        (LOGITS, LABELS[:3], r"labels have shape \(3,\), but logits have 4 rows"),
        (LOGITS, LABELS.float(), "labels are an integer tensor"),
        (LOGITS, LABELS.bool(), "labels are an integer tensor"),
        (LOGITS, LABELS + 1, "labels span 1 to 3, but there are 3 classes"),
        (LOGITS, LABELS - 1, "labels span -1 to 1"),
    ],
)
def test_wrong_inputs_are_named(inputs, labels, message: str) -> None:
    for loss in (TCMaxLoss(), TCMaxLoss(negatives=2)):
        with pytest.raises(ValueError, match=message):
            loss(inputs, labels, generator=torch.Generator())


def test_wrong_heads_and_tuples_are_named() -> None:
    with pytest.raises(ValueError, match="head maps 4 rows to logits of shape"):
        exact(LOGITS, LABELS, head=lambda rows: rows["a"].sum(-1))
    with pytest.raises(ValueError, match="must agree in rows"):
        exact({"a": torch.zeros(4, 3), "v": torch.zeros(5, 3)}, LABELS, head=lambda rows: rows["a"])
    with pytest.raises(ValueError, match="one per modality"):
        sampled(LOGITS, LABELS, torch.zeros(4, 3, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"needs a torch\.Generator"):
        TCMaxLoss(negatives=3)(LOGITS, LABELS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"negatives": 0}, "at least 1"),
        ({"chunk_size": 0}, "at least 1"),
        ({"label_reference": "batch"}, "'uniform' or 'empirical'"),
        ({"label_reference": "empirical"}, "goes with"),
        ({"class_log_prior": torch.zeros(1)}, "goes with"),
        ({"label_reference": "empirical", "class_log_prior": torch.tensor([0.5, 0.5])}, "log-probabilities"),
    ],
)
def test_wrong_options_are_named(options, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TCMaxLoss(**options)
    with pytest.raises(ValueError, match=r"class_log_prior has shape \(2,\), not \(3,\)"):
        TCMaxLoss(label_reference="empirical", class_log_prior=torch.tensor([0.5, 0.5]).log())(LOGITS, LABELS)


def test_class_prior_travels_with_the_module() -> None:
    log_prior = torch.tensor([0.25, 0.75]).log()
    loss = TCMaxLoss(label_reference="empirical", class_log_prior=log_prior)
    assert torch.equal(loss.state_dict()["class_log_prior"], log_prior)
    assert list(loss.state_dict()) == ["class_log_prior"]
    assert "empirical" in repr(loss)
