"""What users of cross-entropy expect of the loss: the function, weights, ignored rows, soft labels, tuples, messages.

The oracle of weights and soft labels is a batch that repeats rows, enumerated in a loop that knows of neither.
"""

import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from torch import Tensor

import tcmax
from tcmax import TCMaxLoss, total_correlation_loss
from tcmax.information.total_correlation import decoupled, distinct_tuples, exact, sampled

PRIOR = np.array([0.5, 0.3, 0.2])
LOG_PRIOR = torch.from_numpy(PRIOR).log()
LABELS = torch.tensor([0, 2, 1, 1, 0])
GENERATOR = torch.Generator().manual_seed(0)
PAIR = tuple(torch.randn(2, 5, 3, generator=GENERATOR, dtype=torch.float64).unbind())
NAMED = {"a": PAIR[0], "v": PAIR[1]}
ALL = torch.cartesian_prod(torch.arange(5), torch.arange(5))


def product(rows: dict[str, Tensor]) -> Tensor:
    return rows["a"] * rows["v"].tanh() + rows["v"]


def scores(additive: bool) -> np.ndarray:
    """T(i, k; c) of all pairs, (5, 5, 3)."""
    a, v = (value.numpy() for value in PAIR)
    a, v = a[:, None], v[None]
    return a + v if additive else a * np.tanh(v) + v


def repeated(joint: np.ndarray, rows: list[tuple[int, int]], positives: list[tuple[int, int]]) -> float:
    """Eq. 14 of a batch that lists original rows again and again: (row, times), and matched cells (row, label)."""
    listed = [row for row, times in rows for _ in range(times)]
    cells = [
        joint[i, k, c] + math.log(PRIOR[c]) for i, k in itertools.product(listed, repeat=2) for c in range(len(PRIOR))
    ]
    matched = [joint[row, row, label] for row, label in positives]
    return float(logsumexp(cells) - 2 * math.log(len(listed)) - np.mean(matched))


def forms(labels: Tensor, additive: bool, **options: object) -> list[Tensor]:
    """The loss by every form that computes it, through the module, the function and the forms themselves."""
    head = None if additive else product
    options |= {"class_log_prior": LOG_PRIOR}
    values = [
        TCMaxLoss(label_reference="empirical", **options)(NAMED, labels, head=head),
        total_correlation_loss(NAMED, labels, head=head, **options),
        exact(NAMED, labels, head=head, chunk_size=7, **options),
        sampled(NAMED, labels, ALL.flip(0), head=head, chunk_size=4, **options),
        total_correlation_loss(NAMED, labels, head=head, negatives=25, generator=torch.Generator(), **options),
    ]
    return [*values, decoupled(NAMED, labels, **options)] if additive else values


@pytest.mark.parametrize("additive", [True, False])
def test_an_integer_weight_repeats_the_rows_of_a_class(additive: bool) -> None:
    times = [1, 3, 2]
    rows = [(row, times[label]) for row, label in enumerate(LABELS.tolist())]
    positives = [(row, label) for row, label in enumerate(LABELS.tolist()) for _ in range(times[label])]
    expected = repeated(scores(additive), rows, positives)
    for weight in (torch.tensor([1.0, 3.0, 2.0]), torch.tensor([0.5, 1.5, 1.0])):
        for value in forms(LABELS, additive, weight=weight):
            assert value.item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("additive", [True, False])
@pytest.mark.parametrize("index", [-100, 1, 7])
def test_ignored_rows_are_not_there(additive: bool, index: int) -> None:
    labels = LABELS.where(LABELS != 1, index)
    rows = [0, 1, 4]
    expected = repeated(scores(additive), [(row, 1) for row in rows], [(0, 0), (1, 2), (4, 0)])
    for value in forms(labels, additive, ignore_index=index):
        assert value.item() == pytest.approx(expected, abs=1e-12)
    for value in forms(LABELS, additive, weight=torch.tensor([1.0, 0.0, 1.0])):
        assert value.item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("head", [None, product])
def test_nothing_in_an_ignored_row_reaches_value_or_gradient(head) -> None:
    labels = torch.tensor([0, 2, -100, -100, 0])
    clean = {name: value.clone().requires_grad_() for name, value in NAMED.items()}
    dirty = {name: value.clone() for name, value in NAMED.items()}
    dirty["a"][2], dirty["v"][3] = math.nan, math.inf
    for value in dirty.values():
        value.requires_grad_()
    results = []
    for inputs in (clean, dirty):
        loss = total_correlation_loss(inputs, labels, head=head, ignore_index=-100, chunk_size=3)
        results.append([loss, *torch.autograd.grad(loss, list(inputs.values()))])
    torch.testing.assert_close(results[1], results[0], rtol=0, atol=0)
    assert (results[0][1][2:4] == 0).all()
    assert (results[0][1][[0, 1, 4]] != 0).any(-1).all()


@pytest.mark.parametrize("additive", [True, False])
def test_soft_labels_are_the_batch_that_splits_rows_over_classes(additive: bool) -> None:
    quarters = [[4, 0, 0], [0, 2, 2], [1, 1, 2], [0, 4, 0], [3, 0, 1]]
    soft = torch.tensor(quarters, dtype=torch.float64) / 4
    positives = [(row, c) for row, counts in enumerate(quarters) for c, n in enumerate(counts) for _ in range(n)]
    expected = repeated(scores(additive), [(row, 1) for row in range(5)], positives)
    for value in forms(soft, additive):
        assert value.item() == pytest.approx(expected, abs=1e-12)
    weighted = [(row, c) for row, c in positives for _ in range([1, 3, 2][c])]
    rows = [(row, sum(1 for r, _ in weighted if r == row)) for row in range(5)]
    for value in forms(soft, additive, weight=torch.tensor([1.0, 3.0, 2.0])):
        assert value.item() == pytest.approx(repeated(scores(additive), rows, weighted), abs=1e-12)


@pytest.mark.parametrize("options", [{}, {"weight": torch.tensor([1.0, 0.0, 2.5])}, {"ignore_index": 1}])
@pytest.mark.parametrize("form", [decoupled, exact])
def test_gradients_with_options_pass_finite_differences(form, options) -> None:
    leaves = [value.clone().requires_grad_() for value in PAIR]
    assert torch.autograd.gradcheck(lambda a, v: form((a, v), LABELS, **options), leaves)
    if "ignore_index" not in options:
        soft = torch.softmax(PAIR[0] * 2, -1).requires_grad_()
        assert torch.autograd.gradcheck(lambda s: form(PAIR, s.softmax(-1), **options), soft)


def test_options_follow_leading_axes() -> None:
    stacked = {name: torch.stack([value, value.flip(0)]) for name, value in NAMED.items()}
    own = torch.stack([LABELS, torch.tensor([1, 1, 2, -100, 0])])
    soft = torch.softmax(torch.stack([PAIR[0], PAIR[1]]), -1)
    tuples = torch.stack([ALL[:9], ALL[9:18]])
    weight = torch.tensor([1.0, 2.0, 4.0])
    for labels, options in ((own, {"ignore_index": -100, "weight": weight}), (soft, {"weight": weight}), (soft[0], {})):
        spread = labels if labels.shape[0] == 2 else labels.expand(2, 5, 3)
        single = [{name: value[i] for name, value in stacked.items()} for i in range(2)]
        for form in (decoupled, exact):
            expected = torch.stack([form(single[i], spread[i], **options) for i in range(2)])
            torch.testing.assert_close(form(stacked, labels, **options), expected, rtol=0, atol=1e-12)
        expected = torch.stack([sampled(single[i], spread[i], tuples[i], **options) for i in range(2)])
        torch.testing.assert_close(sampled(stacked, labels, tuples, **options), expected, rtol=0, atol=1e-12)


def test_a_class_that_is_masked_out_may_have_no_mass() -> None:
    masked = tuple(value.index_fill(1, torch.tensor(1), -math.inf) for value in PAIR)
    kept = tuple(value[:, [0, 2]].clone().requires_grad_() for value in PAIR)
    leaves = tuple(value.requires_grad_() for value in masked)
    labels = torch.tensor([0, 2, 2, 0, 0])
    for form in (decoupled, exact):
        loss = form(leaves, labels, weight=torch.ones(3))
        expected = form(kept, labels // 2, weight=torch.ones(2))
        assert loss.item() == pytest.approx(expected.item() - math.log(3 / 2), abs=1e-12)
        got, wanted = torch.autograd.grad(loss, leaves), torch.autograd.grad(expected, kept)
        torch.testing.assert_close(got[0][:, [0, 2]], wanted[0], rtol=0, atol=1e-12)
        assert (got[0][:, 1] == 0).all()


def test_chunks_without_any_mass_have_no_gradient() -> None:
    """The first chunks hold nothing but tuples with an ignored row."""
    labels = torch.tensor([-100, 2, 1, 1, 0])
    leaves = [value.clone().requires_grad_() for value in PAIR]
    whole = torch.autograd.grad(exact(leaves, labels, ignore_index=-100), leaves)
    chunked = torch.autograd.grad(exact(leaves, labels, ignore_index=-100, chunk_size=2), leaves)
    torch.testing.assert_close(chunked, whole, rtol=0, atol=1e-12)


def test_tuples_of_tensors_are_modalities_by_position() -> None:
    def head(rows: tuple[Tensor, Tensor]) -> Tensor:
        assert isinstance(rows, tuple)
        a, v = rows
        return product({"a": a, "v": v})

    for inputs in (PAIR, list(PAIR)):
        assert torch.equal(TCMaxLoss()(inputs, LABELS), TCMaxLoss()(NAMED, LABELS))
        assert torch.equal(TCMaxLoss()(inputs, LABELS, head=head), TCMaxLoss()(NAMED, LABELS, head=product))
        tuples = distinct_tuples(5, 2, 6, torch.Generator().manual_seed(3))
        got = TCMaxLoss(negatives=6)(inputs, LABELS, head=head, generator=torch.Generator().manual_seed(3))
        assert torch.equal(got, sampled(NAMED, LABELS, tuples, head=product))


def test_the_function_is_the_module() -> None:
    """On the way that training takes too, bit for bit."""
    logits = {name: value.float() for name, value in NAMED.items()}
    assert torch.equal(total_correlation_loss(logits, LABELS), decoupled(logits, LABELS))
    assert torch.equal(TCMaxLoss()(logits, LABELS), decoupled(logits, LABELS))


def test_the_function_is_public_and_found_without_importing_torch() -> None:
    assert {"TCMaxLoss", "total_correlation_loss"} <= set(dir(tcmax)) & set(tcmax.__all__)
    code = "import sys, tcmax; before = 'torch' in sys.modules; tcmax.total_correlation_loss; print(before)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


@pytest.mark.parametrize("make", [TCMaxLoss, lambda **options: total_correlation_loss(PAIR, LABELS, **options)])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"negatives": 4.0}, r"negatives is the number of sampled tuples, an integer, not 4\.0"),
        ({"negatives": True}, "negatives is the number of sampled tuples, an integer, not True"),
        ({"negatives": "4"}, "an integer, not '4'"),
        ({"negatives": -3}, "at least 1, not -3"),
        ({"chunk_size": 1e3}, r"chunk_size is .*, an integer, not 1000\.0"),
        ({"chunk_size": False}, "an integer, not False"),
        ({"ignore_index": 1.0}, r"ignore_index is a label, an integer, not 1\.0"),
        ({"reduction": "sum"}, "no reduction='sum': it is the logarithm of a mean"),
        ({"reduction": "none"}, "no reduction='none': its normaliser belongs to the whole batch"),
        ({"reduction": None}, "reduction is 'mean', not None"),
        ({"weight": [1.0, 2.0, 1.0]}, r"weight is a floating-point tensor of shape \(C,\), not a list"),
        ({"weight": torch.tensor([1, 2, 1])}, r"not an int64 tensor of shape \(3,\)"),
        ({"weight": torch.tensor([1.0, -2.0, 1.0])}, "none negative"),
        ({"weight": torch.zeros(3)}, "not all zero"),
        ({"weight": torch.tensor([1.0, math.nan, 1.0])}, "finite"),
    ],
)
def test_options_of_another_kind_are_named(make, options, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_a_prior_of_another_kind_is_named() -> None:
    for prior, message in (([0.5, 0.5], "not a list"), (torch.tensor([0.2, 0.3, 0.5]), "log-probabilities")):
        with pytest.raises(ValueError, match=message):
            total_correlation_loss(PAIR, LABELS, class_log_prior=prior)
        with pytest.raises(ValueError, match=message):
            TCMaxLoss(label_reference="empirical", class_log_prior=prior)


def test_integers_of_numpy_are_integers() -> None:
    assert TCMaxLoss(negatives=np.int64(4), chunk_size=np.int32(5), ignore_index=np.int64(-100)).negatives == 4


SOFT = torch.full((5, 3), 1 / 3)


@pytest.mark.parametrize(
    ("inputs", "labels", "options", "message"),
    [
        (1.5, LABELS, {}, "or a tuple of tensors, not 1.5"),
        ((), LABELS, {}, "not an empty tuple"),
        ([[0.1, 0.2], [0.3, 0.4]], LABELS, {}, "not '0' to a list"),
        ((PAIR[0], None), LABELS, {}, "not '1' to None"),
        (PAIR, [0, 2, 1, 1, 0], {}, r"labels are an integer tensor .*, not a list"),
        (PAIR, LABELS.double(), {}, r"not a float64 tensor of shape \(5,\)"),
        (PAIR, LABELS.bool(), {}, r"not a bool tensor of shape \(5,\)"),
        (PAIR, torch.tensor([0, 2, -100, 1, 0]), {}, "span -100 to 2.*left out by ignore_index=-100"),
        (PAIR, torch.tensor([0, 2, -100, 1, 7]), {"ignore_index": -100}, "span 0 to 7, but there are 3 classes"),
        (PAIR, torch.tensor([0, 2, -1, 1, 1]), {"ignore_index": -100}, "span -1 to 2"),
        (PAIR, torch.full((5,), -100), {"ignore_index": -100}, "every label of a batch is ignore_index=-100"),
        (PAIR, SOFT, {"ignore_index": -100}, "ignore_index=-100 goes with class indices"),
        (PAIR, SOFT[:4], {}, r"labels have shape \(4, 3\), but .* have 5 rows"),
        (PAIR, torch.full((5, 2), 0.5), {}, r"soft labels have shape \(5, 2\), but there are 3 classes"),
        (PAIR, SOFT * 2, {}, "a sum is off by 1"),
        (PAIR, SOFT - torch.tensor([0.5, 0, -0.5]), {}, "the least is -0.1667"),
        (PAIR, LABELS, {"weight": torch.ones(4)}, r"weight has shape \(4,\), not \(3,\)"),
        (PAIR, LABELS.to("meta"), {}, r"labels are on meta, but .*\['0'\] on cpu"),
        (PAIR, LABELS, {"negatives": 3}, r"needs a torch\.Generator"),
        (PAIR, LABELS, {"negatives": 3, "generator": 0}, "generator is a torch.Generator, .*, not 0"),
        (PAIR, LABELS, {"negatives": 3, "generator": []}, "not an empty list"),
        (PAIR, LABELS, {"gather": True}, "init_process_group first"),
    ],
)
@pytest.mark.parametrize("head", [None, lambda rows: rows[0] + rows[1]])
def test_what_was_passed_is_named(inputs, labels, options, message: str, head) -> None:
    with pytest.raises(ValueError, match=message):
        total_correlation_loss(inputs, labels, head=head, **options)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (lambda rows: (rows["a"], rows["v"]), "the head returned a tuple: it returns joint logits"),
        (lambda rows: None, "the head returned None"),
        (lambda rows: {"logits": rows["a"]}, r"mapping with \['logits'\], but joint logits go under 'joint'"),
        (lambda rows: {"joint": [1.0]}, "the head returned a list"),
        (lambda rows: rows["a"].argmax(-1), r"the head returned an int64 tensor of shape \(5,\)"),
        (lambda rows: rows["a"].sum(), r"logits of shape \(\), not \(n, C\)"),
        (3, "head is a function of features, not 3"),
    ],
)
def test_what_a_head_returned_is_named(head, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        total_correlation_loss(NAMED, LABELS, head=head)


def test_tuples_that_are_no_tensor_are_named() -> None:
    with pytest.raises(ValueError, match=r"tuples are an integer tensor \(S, M\) of rows, not a list"):
        sampled(PAIR, LABELS, [(0, 1)])
