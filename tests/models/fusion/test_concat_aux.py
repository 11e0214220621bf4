"""Concat with auxiliary heads: the Concat head's logits, and layers beside them that it does not know of."""

import pytest
import torch

from tcmax.models.classifier import MultimodalClassifier, initialise
from tcmax.models.fusion.base import NoParameters
from tcmax.models.fusion.concat import Concat
from tcmax.models.fusion.concat_aux import ConcatAuxiliary, ConcatAuxiliaryParameters

WIDTHS = {"a": 4, "b": 5, "c": 3}


def build(**parameters):
    torch.manual_seed(0)
    return ConcatAuxiliary(WIDTHS, 6, ConcatAuxiliaryParameters(**parameters), {}).double()


def features():
    generator = torch.Generator().manual_seed(1)
    return {name: torch.randn(7, width, generator=generator, dtype=torch.float64) for name, width in WIDTHS.items()}


def test_assertion_1_its_logits_and_its_start_are_those_of_concat():
    head, plain = build(decoder=2), Concat(WIDTHS, 6, NoParameters(), {}).double()
    for part in (head, plain):
        initialise(MultimodalClassifier({}, part), "digits", 0, 5)
    ours, theirs = head(features()), plain(features())
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert head.additive


def test_auxiliary_logits_teach_their_own_layer_alone():
    head, z = build(), features()
    logits = head.auxiliary_logits(z)
    for name in WIDTHS:
        layer = head.auxiliary[name]
        torch.testing.assert_close(logits[name], z[name] @ layer.weight.T + layer.bias)
    logits["b"].sum().backward()
    assert {name for name, weight in head.named_parameters() if weight.grad is not None} == {
        "auxiliary.b.weight",
        "auxiliary.b.bias",
    }


def test_columns_are_views_of_each_modalitys_slice():
    head, matrix = build(), torch.zeros(6, 12)
    for value, part in enumerate(head.columns(matrix).values(), start=1):
        part += value
    assert matrix[0].tolist() == [1] * 4 + [2] * 5 + [3] * 3


def test_the_decoder_maps_logits_back_to_all_features_and_needs_a_width():
    assert build().decoder is None
    assert build(decoder=2).decoder(torch.zeros(7, 6).double()).shape == (7, 12)
    assert not build(decoder=2).decoder(torch.zeros(7, 6).double()).any()  # no biases
    with pytest.raises(ValueError, match="must be positive"):
        ConcatAuxiliaryParameters(decoder=0)
