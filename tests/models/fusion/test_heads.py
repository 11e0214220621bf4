"""Fusion heads: the additive identity, the bias's share, and the released deviation (assertions 1 and 2)."""

import pytest
import torch

from tcmax.models.fusion import HEADS
from tcmax.models.fusion.base import NoParameters, total
from tcmax.models.fusion.concat import Concat
from tcmax.models.fusion.shared_head import SharedHead
from tcmax.models.fusion.sum import Sum

C, D = 3, 4
NAMES = {1: ("only",), 2: ("audio", "video"), 4: ("a", "b", "c", "d")}
counts = pytest.mark.parametrize("m", [1, 2, 4])
heads = pytest.mark.parametrize("kind", ["concat", "shared-head", "sum"])


def build(kind, m=2, average=False, widths=None):
    widths = widths or dict.fromkeys(NAMES[m], D)
    torch.manual_seed(3)
    return HEADS.load(kind)(widths, C, NoParameters(), {"shared_head.average": average}).double()


def features(m=2, batch=5, widths=None, leading=()):
    generator = torch.Generator().manual_seed(1)
    widths = widths or dict.fromkeys(NAMES[m], D)
    return {
        name: torch.randn(*leading, batch, width, generator=generator, dtype=torch.float64)
        for name, width in widths.items()
    }


@counts
@heads
def test_joint_logits_are_the_sum_of_the_unimodal_ones(kind, m):
    head = build(kind, m)
    logits = head(features(m))
    assert list(logits) == [*NAMES[m], "joint"]
    added = torch.stack([logits[name] for name in NAMES[m]]).sum(0)
    torch.testing.assert_close(logits["joint"], added, rtol=1e-14, atol=1e-14)
    assert head.additive


@counts
def test_concat_is_one_linear_layer_on_the_concatenation(m):
    head = build("concat", m)
    z = features(m)
    with torch.no_grad():
        expected = torch.cat(list(z.values()), 1) @ head.linear.weight.T + head.linear.bias
    torch.testing.assert_close(head(z)["joint"], expected, rtol=1e-13, atol=1e-13)


def test_concat_meets_each_modality_with_its_own_columns_whatever_the_order_of_the_batch():
    widths = {"audio": 2, "video": 5}
    head = build("concat", widths=widths)
    z = features(widths=widths)
    weight, bias = head.linear.weight, head.linear.bias
    logits = head(dict(reversed(z.items())))
    torch.testing.assert_close(logits["audio"], z["audio"] @ weight[:, :2].T + bias / 2)
    torch.testing.assert_close(logits["video"], z["video"] @ weight[:, 2:].T + bias / 2)


@counts
@pytest.mark.parametrize(("kind", "share"), [("concat", "equal"), ("shared-head", "equal"), ("sum", "own")])
def test_a_modality_without_signal_says_its_share_of_the_bias(kind, share, m):
    head = build(kind, m)
    logits = head({name: torch.zeros_like(z) for name, z in features(m).items()})
    for name in NAMES[m]:
        bias = head.linear.bias / m if share == "equal" else head.linears[name].bias
        torch.testing.assert_close(logits[name], bias.expand(5, C))


@counts
def test_the_shared_head_reads_every_modality_with_the_same_matrix(m):
    head = build("shared-head", m)
    z = features(m)
    same = dict.fromkeys(NAMES[m], z[NAMES[m][0]])
    logits = head(same)
    for name in NAMES[m]:
        assert torch.equal(logits[name], logits[NAMES[m][0]])
    with torch.no_grad():
        expected = sum(z.values()) @ head.linear.weight.T + head.linear.bias
    torch.testing.assert_close(head(z)["joint"], expected)


@counts
def test_the_released_shared_head_averages_logits_that_each_carry_the_whole_bias(m):
    head, paper = build("shared-head", m, average=True), build("shared-head", m)
    z = features(m)
    logits = head(z)
    with torch.no_grad():
        for name in NAMES[m]:
            torch.testing.assert_close(logits[name], z[name] @ head.linear.weight.T + head.linear.bias)
    added = torch.stack([logits[name] for name in NAMES[m]]).sum(0)
    torch.testing.assert_close(logits["joint"], added / m, rtol=1e-14, atol=1e-14)
    # f_release = (f_paper + (M - 1) b) / M, since M times the whole bias is averaged.
    expected = (paper(z)["joint"] + (m - 1) * paper.linear.bias) / m
    torch.testing.assert_close(logits["joint"], expected)
    assert not head.additive


def test_the_sum_head_shares_no_parameter_between_modalities():
    head = build("sum", 2)
    z = features(2)
    head(z)["audio"].sum().backward()
    assert head.linears["audio"].weight.grad is not None
    assert head.linears["video"].weight.grad is None
    assert sum(weight.numel() for weight in head.parameters()) == 2 * (C * D + C)


@counts
@pytest.mark.parametrize(
    ("kind", "average"), [("concat", False), ("shared-head", False), ("sum", False), ("shared-head", True)]
)
def test_gradients_agree_with_finite_differences(kind, m, average):
    head = build(kind, m, average)
    z = [value.requires_grad_() for value in features(m, batch=2).values()]
    names = [name for name, _ in head.named_parameters()]

    def logits(*values):
        parameters, inputs = values[: len(names)], values[len(names) :]
        out = torch.func.functional_call(
            head, dict(zip(names, parameters, strict=True)), (dict(zip(NAMES[m], inputs, strict=True)),)
        )
        return tuple(out.values())

    assert torch.autograd.gradcheck(logits, (*head.parameters(), *z))


@heads
def test_only_the_last_axes_are_reduced(kind):
    head = build(kind, 2)
    z = features(2, leading=(6,))
    stacked = head(z)
    for index in range(6):
        single = head({name: value[index] for name, value in z.items()})
        for name, logits in single.items():
            torch.testing.assert_close(stacked[name][index], logits)


def test_the_shared_head_needs_equal_widths():
    with pytest.raises(ValueError, match=r"equal feature widths, not \{'audio': 2, 'video': 5\}"):
        build("shared-head", widths={"audio": 2, "video": 5})


def test_the_total_is_taken_in_modality_order():
    values = {"a": torch.tensor(1e16), "b": torch.tensor(-1e16), "c": torch.tensor(1.0)}
    assert total(values).item() == 1.0
    assert total({"a": values["a"]}) is values["a"]
    assert {Concat.additive, Sum.additive} == {True}
    assert not hasattr(SharedHead, "additive")  # it depends on the switch
