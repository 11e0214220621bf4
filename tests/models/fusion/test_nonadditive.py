"""FiLM, Gated and BiGated against NumPy formulas; direction, read-outs and their released deviations (assertion 3)."""

import numpy as np
import pytest
import torch

from tcmax.models.fusion.film import FiLM, FiLMParameters
from tcmax.models.fusion.gated import BiGated, BiGatedParameters, Gated, GatedParameters
from tcmax.training.spec import fill

C = 3
WIDTHS = {"audio": 4, "video": 5}
SAME = {"a": 4, "b": 4, "c": 4}
HEADS = {
    "film": (FiLM, FiLMParameters, "film.first_conditions"),
    "gated": (Gated, GatedParameters, "gated.first_gates"),
    "bigated": (BiGated, BiGatedParameters, "bigated.content_branch_only"),
}
heads = pytest.mark.parametrize("kind", sorted(HEADS))


def build(kind, widths=WIDTHS, switch=False, **parameters):
    head, settings, name = HEADS[kind]
    if kind != "film":
        parameters = {"hidden": 6, **parameters}
    torch.manual_seed(3)
    return head(widths, C, fill(settings, parameters, "head"), {name: switch}).double()


def features(widths=WIDTHS, leading=(), batch=5):
    generator = torch.Generator().manual_seed(1)
    return {
        name: torch.randn(*leading, batch, width, generator=generator, dtype=torch.float64)
        for name, width in widths.items()
    }


def numbers(head):
    return {name: value.detach().numpy() for name, value in head.named_parameters()}


def affine(w, path, z):
    return z @ w[f"{path}.weight"].T + w[f"{path}.bias"]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def film(w, condition, target):
    both = affine(w, "modulation", condition)
    width = target.shape[1]
    return affine(w, "classifier", both[:, :width] * target + both[:, width:])


def branch(w, path, gate, content):
    hidden = sigmoid(affine(w, f"{path}.gate", gate)) * affine(w, f"{path}.content", content)
    return affine(w, f"{path}.classifier", hidden)


def same(got, expected):
    np.testing.assert_allclose(got.detach().numpy(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("switch", "target", "conditioner"), [(False, "audio", "video"), (True, "video", "audio")])
def test_film_modulates_the_first_modality_in_the_paper_and_the_second_in_the_release(switch, target, conditioner):
    head, z = build("film", switch=switch), features()
    w, x = numbers(head), {name: value.numpy() for name, value in z.items()}
    logits = head(z)
    same(logits["joint"], film(w, x[conditioner], x[target]))
    nothing = {name: np.zeros_like(value) for name, value in x.items()}
    same(logits[target], film(w, nothing[conditioner], x[target]))
    same(logits[conditioner], film(w, x[conditioner], nothing[target]))


def test_a_film_read_out_without_target_is_the_shift_alone_and_without_conditioner_has_constant_modulation():
    head, z = build("film"), features()
    w, x = numbers(head), {name: value.numpy() for name, value in z.items()}
    shift = affine(w, "modulation", x["video"])[:, 4:]
    same(head(z)["video"], affine(w, "classifier", shift))
    scale, offset = np.split(w["modulation.bias"], 2)
    same(head(z)["audio"], affine(w, "classifier", scale * x["audio"] + offset))


@pytest.mark.parametrize("target", ["a", "b", "c"])
def test_beyond_two_modalities_film_conditions_a_target_on_all_others_concatenated(target):
    head, z = build("film", SAME, target=target), features(SAME)
    others = np.concatenate([z[name].numpy() for name in SAME if name != target], axis=1)
    same(head(z)["joint"], film(numbers(head), others, z[target].numpy()))


@pytest.mark.parametrize(("switch", "content", "gate"), [(False, "audio", "video"), (True, "video", "audio")])
def test_gated_takes_content_from_the_first_modality_in_the_paper_and_from_the_second_in_the_release(
    switch, content, gate
):
    head, z = build("gated", switch=switch), features()
    w, x = numbers(head), {name: value.numpy() for name, value in z.items()}
    logits = head(z)
    same(logits["joint"], branch(w, "branch", x[gate], x[content]))
    # Without content the gate still multiplies the content's bias.
    alone = sigmoid(affine(w, "branch.gate", x[gate])) * w["branch.content.bias"]
    same(logits[gate], affine(w, "branch.classifier", alone))
    same(logits[content], branch(w, "branch", np.zeros_like(x[gate]), x[content]))


@pytest.mark.parametrize("widths", [WIDTHS, SAME], ids=["two", "three"])
def test_bigated_adds_one_branch_per_modality_gated_by_the_mean_of_the_others(widths):
    head, z = build("bigated", widths), features(widths)
    w, x = numbers(head), {name: value.numpy() for name, value in z.items()}

    def formula(x):
        total = 0
        for name in widths:
            gate = np.mean([x[other] for other in widths if other != name], axis=0)
            total = total + branch(w, f"branches.{name}", gate, x[name])
        return total

    logits = head(z)
    same(logits["joint"], formula(x))
    for name in widths:
        same(logits[name], formula({other: value * (other == name) for other, value in x.items()}))


def test_the_released_bigated_read_out_leaves_a_branch_out():
    """Switch bigated.content_branch_only: by G (sigmoid(A z + a) * q) + g of the branch that the modality gates."""
    paper, release, z = build("bigated"), build("bigated", switch=True), features()
    w, audio = numbers(paper), z["audio"].numpy()
    torch.testing.assert_close(paper(z)["joint"], release(z)["joint"], rtol=0, atol=1e-14)
    gated = sigmoid(affine(w, "branches.video.gate", audio)) * w["branches.video.content.bias"]
    omitted = affine(w, "branches.video.classifier", gated)
    assert np.abs(omitted).min() > 1e-3
    same(paper(z)["audio"] - release(z)["audio"], omitted)


@pytest.mark.parametrize(("switch", "moves"), [(False, True), (True, False)])
def test_assertion_3_only_the_released_audio_read_out_is_independent_of_the_branch_with_video_content(switch, moves):
    head, z = build("bigated", switch=switch), features()
    before = head(z)
    with torch.no_grad():
        for weight in head.branches["video"].parameters():
            weight.add_(1)
    after = head(z)
    assert torch.equal(before["audio"], after["audio"]) is not moves
    assert not torch.equal(before["video"], after["video"])


@heads
def test_assertion_3_exchanging_the_two_features_changes_the_output(kind):
    widths = {"audio": 4, "video": 4}
    head, z = build(kind, widths), features(widths)
    exchanged = head({"audio": z["video"], "video": z["audio"]})
    assert (head(z)["joint"] - exchanged["joint"]).abs().min() > 1e-3


@pytest.mark.parametrize("kind", ["film", "gated"])
def test_assertion_3_the_switch_exchanges_the_two_directions(kind):
    widths = {"audio": 4, "video": 4}
    paper, release, z = build(kind, widths), build(kind, widths, switch=True), features(widths)
    exchanged = {"audio": z["video"], "video": z["audio"]}
    torch.testing.assert_close(paper(z)["joint"], release(exchanged)["joint"], rtol=0, atol=0)
    assert (paper(z)["joint"] - release(z)["joint"]).abs().max() > 1e-3
    # A target that is named wins over the fidelity: the switch is then inert.
    named = [build(kind, widths, switch=switch, target="video")(z)["joint"] for switch in (False, True)]
    assert torch.equal(*named)
    assert torch.equal(named[0], release(z)["joint"])


@heads
def test_unimodal_logits_do_not_sum_to_the_joint_ones(kind):
    head, z = build(kind), features()
    logits = head(z)
    assert list(logits) == ["audio", "video", "joint"]
    assert not head.additive
    assert (logits["audio"] + logits["video"] - logits["joint"]).abs().max() > 1e-2
    torch.testing.assert_close(head.joint(head.terms(z)), logits["joint"])


@heads
@pytest.mark.parametrize("switch", [False, True])
def test_gradients_agree_with_finite_differences(kind, switch):
    head, z = build(kind, switch=switch), features(batch=2)
    names = [name for name, _ in head.named_parameters()]

    def logits(*values):
        given = dict(zip(names, values[: len(names)], strict=True))
        inputs = dict(zip(z, values[len(names) :], strict=True))
        return tuple(torch.func.functional_call(head, given, (inputs,)).values())

    assert torch.autograd.gradcheck(logits, (*head.parameters(), *(x.requires_grad_() for x in z.values())))


@heads
def test_only_the_last_axes_are_reduced(kind):
    head, z = build(kind), features(leading=(3,))
    stacked = head(z)
    for index in range(3):
        for name, logits in head({name: value[index] for name, value in z.items()}).items():
            torch.testing.assert_close(stacked[name][index], logits)


@pytest.mark.parametrize(
    ("kind", "widths", "options", "sentence"),
    [
        ("film", {"audio": 4}, {}, "needs at least two modalities"),
        (
            "film",
            SAME,
            {"switch": True},
            "with 3, name the head's target",
        ),
        ("film", WIDTHS, {"target": "smell"}, "target 'smell' is not a modality; there are audio, video"),
        ("gated", SAME, {}, "defined for two modalities, not 3; bigated takes more"),
        ("gated", {"audio": 4}, {}, "defined for two modalities, not 1"),
        ("bigated", {"audio": 4}, {}, "at least two modalities"),
        ("bigated", {"a": 4, "b": 4, "c": 5}, {}, "they need equal widths"),
    ],
)
def test_a_head_that_is_not_defined_is_refused(kind, widths, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        build(kind, widths, **options)


def test_a_hidden_width_below_one_is_refused():
    with pytest.raises(ValueError, match="hidden must be at least 1"):
        BiGatedParameters(hidden=0)
