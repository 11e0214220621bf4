"""The released loss, one documented deviation at a time; assertion n is the n-th of the method specification, §7.2."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from tcmax.information.release import release_loss
from tcmax.information.total_correlation import decoupled, distinct_tuples, sampled

OFF = {"release_constant": False, "sample_with_replacement": False, "mean_shift": False}


def random_batch(batch: int, n_classes: int, n_modalities: int, scale: float = 1.0) -> tuple[dict[str, Tensor], Tensor]:
    generator = torch.Generator().manual_seed(batch)
    logits = {f"m{m}": scale * torch.randn(batch, n_classes, generator=generator) for m in range(n_modalities)}
    return logits, torch.randint(n_classes, (batch,), generator=generator)


@pytest.mark.parametrize(("batch", "n_classes"), [(32, 6), (7, 6), (5, 3)])
def test_assertion_7_release_value_is_the_papers_plus_log_of_batch_times_classes(batch: int, n_classes: int) -> None:
    """Of two modalities; the batch is the actual one, so a short last batch of 7 rows shifts by log 42."""
    logits, labels = random_batch(batch, n_classes, 2)
    excess = release_loss(logits, labels).value - decoupled(logits, labels)
    assert excess.item() == pytest.approx(math.log(batch * n_classes), abs=1e-5)


def test_golden_value_with_the_released_offset() -> None:
    """Seed specification, §5.4."""
    logits = {"image": torch.tensor([[1, 0], [0, 0.5]]).double(), "text": torch.tensor([[0.5, -0.5], [0, 1]]).double()}
    released = release_loss(logits, torch.tensor([0, 1]))
    assert released.value.item() == pytest.approx(0.7329774108358282, abs=1e-12)
    assert not released.failed


@pytest.mark.parametrize("n_modalities", [2, 3])
def test_all_switches_off_is_the_reference(n_modalities: int) -> None:
    logits, labels = random_batch(6, 4, n_modalities)
    torch.testing.assert_close(release_loss(logits, labels, **OFF).value, decoupled(logits, labels))
    got = release_loss(logits, labels, negatives=9, generator=torch.Generator().manual_seed(1), **OFF).value
    tuples = distinct_tuples(6, n_modalities, 9, torch.Generator().manual_seed(1))
    torch.testing.assert_close(got, sampled(logits, labels, tuples))


@pytest.mark.parametrize("switch", list(OFF))
def test_each_switch_acts_alone(switch: str) -> None:
    logits, labels = random_batch(8, 3, 2)
    options = {"negatives": 20, **OFF}
    base = release_loss(logits, labels, generator=torch.Generator().manual_seed(1), **options).value
    moved = release_loss(logits, labels, generator=torch.Generator().manual_seed(1), **{**options, switch: True}).value
    difference = (moved - base).item()
    if switch == "release_constant":
        assert difference == pytest.approx(math.log(8 * 3), abs=1e-5)
    elif switch == "mean_shift":
        assert difference == pytest.approx(0, abs=1e-5)
    else:
        assert abs(difference) > 1e-4


def test_assertion_11_release_overflows_and_says_so() -> None:
    logits, labels = random_batch(8, 3, 2)
    scaled = {name: (100 * value).requires_grad_() for name, value in logits.items()}
    released = release_loss(scaled, labels)
    assert released.failed
    assert not released.value.isfinite()
    assert not torch.autograd.grad(released.value, scaled["m0"])[0].isfinite().all()
    assert decoupled(scaled, labels).isfinite()
    assert not release_loss(scaled, labels, mean_shift=False).failed


def test_an_underflowing_matched_logit_is_an_infinite_loss() -> None:
    logits, labels = random_batch(8, 3, 2)
    logits["m0"][0, labels[0]] = -120
    released = release_loss(logits, labels)
    assert released.value.item() == math.inf
    assert released.failed


def test_release_gradient_can_be_silently_wrong_where_the_reference_is_not() -> None:
    """A finite loss from logits that span about 75: the quotient's denominator underflows in backward."""
    worst = {"release": 0.0, "reference": 0.0}
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        logits = {m: (8 * torch.randn(64, 31, generator=generator)).requires_grad_() for m in "av"}
        labels = torch.randint(31, (64,), generator=generator)
        wide = {name: value.detach().double().requires_grad_() for name, value in logits.items()}
        expected = torch.autograd.grad(decoupled(wide, labels), wide["a"])[0]
        released = release_loss(logits, labels)
        if released.failed:
            continue
        for name, loss in (("release", released.value), ("reference", decoupled(logits, labels))):
            error = (torch.autograd.grad(loss, logits["a"])[0].double() - expected).norm() / expected.norm()
            worst[name] = max(worst[name], error.item())
    assert worst["release"] > 0.1
    assert worst["reference"] < 1e-5


def test_assertion_12_release_draws_the_same_tuple_twice() -> None:
    """As many independent draws as there are pairs cover 1 - 1/e of them.

    Logits are zero but for one pair of 40: the normaliser shows whether that pair was drawn.
    """
    batch, drawn = 40, {}
    for i, shift in itertools.product(range(batch), range(1, 11)):
        k = (i + shift) % batch
        logits = {name: torch.zeros(batch, 1, dtype=torch.float64) for name in ("a", "v")}
        logits["a"][i], logits["v"][k] = 20.0, 20.0
        released = release_loss(
            logits,
            torch.zeros(batch, dtype=torch.int64),
            negatives=batch**2,
            generator=torch.Generator().manual_seed(9),
            release_constant=False,
            mean_shift=False,
        )
        log_mean_negative = released.value + 2 * 20 / batch
        drawn[i, k] = bool(log_mean_negative > 40 - math.log(batch**2) - 0.5)
    assert sum(drawn.values()) / len(drawn) == pytest.approx(1 - 1 / math.e, abs=0.08)
    for row in range(batch):
        assert any(hit for (i, _), hit in drawn.items() if i == row)
        assert any(hit for (_, k), hit in drawn.items() if k == row)


def test_no_negatives_pairs_every_row_with_one_partner() -> None:
    logits, labels = random_batch(10, 1, 2)
    released = release_loss(
        logits,
        labels,
        negatives=0,
        generator=torch.Generator().manual_seed(1),
        release_constant=False,
        mean_shift=False,
    ).value
    partners = torch.randint(10, (10, 1), generator=torch.Generator().manual_seed(1)).squeeze(-1)
    pairs = logits["m0"] + logits["m1"][partners]
    expected = pairs.logsumexp((0, 1)) - math.log(10) - (logits["m0"] + logits["m1"]).mean()
    torch.testing.assert_close(released, expected)


def test_assertion_13_release_cannot_sample_for_a_head_of_its_own() -> None:
    features = {"a": torch.randn(4, 2), "v": torch.randn(4, 2)}
    labels = torch.tensor([0, 1, 0, 1])
    with pytest.raises(ValueError, match="T3"):
        release_loss(
            features, labels, head=lambda rows: rows["a"] * rows["v"], negatives=4, generator=torch.Generator()
        )
    assert release_loss(features, labels, head=lambda rows: rows["a"] * rows["v"]).value.isfinite()


def test_sampling_needs_a_generator() -> None:
    logits, labels = random_batch(4, 3, 2)
    with pytest.raises(ValueError, match="Generator"):
        release_loss(logits, labels, negatives=4)
