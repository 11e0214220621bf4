"""The CLIP-style prototype head against SciPy's cosine distance (assertion 1 for this head)."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from tcmax.models.classifier import MultimodalClassifier, initialise
from tcmax.models.fusion.prototype import Prototype, PrototypeParameters

WIDTHS = {"a": 4, "b": 5, "c": 3}
C = 6


def build(widths=WIDTHS, switch=False, **parameters):
    torch.manual_seed(2)
    return Prototype(widths, C, PrototypeParameters(**parameters), {"prototype.initial_temperature": switch}).double()


def features(scale=1.0):
    generator = torch.Generator().manual_seed(1)
    return {
        name: scale * torch.randn(7, width, generator=generator, dtype=torch.float64) for name, width in WIDTHS.items()
    }


@pytest.mark.parametrize(
    ("options", "temperature"), [({}, 0.01), ({"switch": True}, 0.07), ({"switch": True, "temperature": 0.5}, 0.5)]
)
def test_logits_are_cosines_over_the_temperature_of_the_fidelity(options, temperature):
    head, z = build(**options), features()
    logits = head(z)
    for name in WIDTHS:
        cosine = 1 - cdist(z[name].numpy(), head.prototypes[name].weight.detach().numpy(), "cosine")
        np.testing.assert_allclose(logits[name].detach().numpy(), cosine / temperature, rtol=1e-12, atol=1e-12)


def test_assertion_1_the_joint_logits_are_the_sum_of_the_unimodal_ones():
    logits = build()(features())
    added = sum(logits[name] for name in WIDTHS)
    torch.testing.assert_close(logits["joint"], added, rtol=1e-13, atol=1e-12)
    assert Prototype.additive


def test_the_length_of_features_and_prototypes_is_of_no_account():
    head = build()
    before = head(features())["joint"]
    with torch.no_grad():
        for weight in head.parameters():
            weight.mul_(7)
    torch.testing.assert_close(head(features(scale=3.0))["joint"], before)


def test_prototypes_start_as_unit_vectors_of_a_stream_of_their_own():
    models = [MultimodalClassifier({}, build(dict.fromkeys(names, 4))) for names in ("ab", "ba")]
    for model in models:
        initialise(model, "digits", 0, 5)
    one, other = (dict(model.named_parameters()) for model in models)
    for name, weight in one.items():
        torch.testing.assert_close(weight.norm(dim=-1), torch.ones(C).double())
        assert torch.equal(weight, other[name])
    assert not torch.equal(one["head.prototypes.a.weight"], one["head.prototypes.b.weight"])


def test_a_feature_of_zeros_has_finite_logits_and_gradients():
    head = build()
    z = {name: torch.zeros_like(value).requires_grad_() for name, value in features().items()}
    head(z)["joint"].sum().backward()
    assert all(bool(value.grad.isfinite().all()) for value in z.values())


def test_a_temperature_of_zero_is_refused():
    with pytest.raises(ValueError, match="temperature must be positive"):
        PrototypeParameters(temperature=0.0)
