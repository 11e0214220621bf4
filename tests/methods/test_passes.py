"""Looking at training items leaves no trace in a model."""

import steps
import tiny
import torch

from tcmax.methods.passes import outputs_of
from tcmax.training.loading import Arrays

IMAGES = {"a": (1, 6, 6), "b": (2, 4, 4)}
CNN = {"name": "cnn", "channels": [3, 4]}


def test_outputs_are_those_of_evaluation_mode_in_the_order_asked_for_whatever_the_chunks(monkeypatch):
    model, _, dataset = steps.parts({"method": "joint"}, dataset=tiny.dataset(IMAGES), encoder=CNN)
    batch = steps.batch_of(dataset, size=26)
    for _ in range(3):
        model({name: 2 * x + 1 for name, x in batch.inputs.items()})  # running statistics far from a batch's own
    before = {name: value.clone() for name, value in model.state_dict().items()}
    positions = torch.tensor([20, 3, 3, 11, 0])
    monkeypatch.setattr("tcmax.training.loading.PASS_ITEMS", 2)
    outputs = outputs_of(model, Arrays(batch.inputs, batch.labels), positions)
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    model.eval()
    whole = model(batch.inputs)
    for found, expected in ((outputs.features, whole.features), (outputs.logits, whole.logits)):
        assert list(found) == list(expected)
        for name, value in found.items():
            torch.testing.assert_close(value, expected[name][positions])
            assert not value.requires_grad
