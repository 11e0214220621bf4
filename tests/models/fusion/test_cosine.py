"""The cosine head against SciPy's cosine distance, and what the authors evaluate instead."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from tcmax.models.fusion.cosine import Cosine, CosineParameters

WIDTHS = {"a": 4, "b": 5, "c": 3}


def build(raw=False, **parameters):
    torch.manual_seed(2)
    return Cosine(WIDTHS, 6, CosineParameters(**parameters), {"cosine.raw_evaluation": raw}).double()


def features(scale=1.0):
    generator = torch.Generator().manual_seed(1)
    return {
        name: scale * torch.randn(7, width, generator=generator, dtype=torch.float64) for name, width in WIDTHS.items()
    }


def test_assertion_1_logits_are_scaled_cosines_and_their_sum():
    head, z, start = build(scale=3.0), features(), 0
    logits = head(z)
    for name, width in WIDTHS.items():
        weight = head.linear.weight.detach().numpy()[:, start : start + width]
        start += width
        cosine = 1 - cdist(z[name].numpy(), weight, "cosine")
        np.testing.assert_allclose(logits[name].detach().numpy(), 3 * cosine, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(logits["joint"], sum(logits[name] for name in WIDTHS), rtol=1e-13, atol=1e-12)
    assert head.additive


def test_lengths_are_of_no_account_and_logits_stay_within_the_scale():
    head = build()
    before = head(features())
    with torch.no_grad():
        head.linear.weight[:, :4].mul_(7)
    after = head(features(scale=3.0))
    torch.testing.assert_close(after["joint"], before["joint"])
    assert all(bool((after[name].abs() <= 10 + 1e-9).all()) for name in WIDTHS)


def test_a_feature_of_zeros_has_finite_logits_and_gradients():
    head = build()
    z = {name: torch.zeros_like(value).requires_grad_() for name, value in features().items()}
    head(z)["joint"].sum().backward()
    assert all(bool(value.grad.isfinite().all()) for value in z.values())


def test_assertion_26_training_and_evaluation_give_one_joint_logit_unless_evaluation_is_raw():
    z = features()
    for raw in (False, True):
        head = build(raw)
        trained = head.train()(z)
        evaluated = head.eval()(z)
        assert torch.equal(trained["joint"], evaluated["joint"]) is not raw
        assert all(torch.equal(trained[name], evaluated[name]) for name in WIDTHS)
        assert head.additive is not raw
        assert (head.linear.bias is not None) is raw
    stacked = torch.cat(list(z.values()), dim=1)
    torch.testing.assert_close(evaluated["joint"], stacked @ head.linear.weight.T + head.linear.bias)


def test_the_bias_of_the_raw_evaluation_is_reached_by_no_loss():
    head = build(raw=True)
    head.train()(features())["joint"].sum().backward()
    assert head.linear.bias.grad is None
    assert head.linear.weight.grad is not None


def test_a_scale_of_zero_is_refused():
    with pytest.raises(ValueError, match="scale must be positive"):
        CosineParameters(scale=0.0)
