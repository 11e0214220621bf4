"""A look at training items between steps: what prototypes and held-out losses are computed from."""

import torch
from torch import Tensor

from tcmax.methods.base import TrainPart
from tcmax.models.classifier import MultimodalClassifier, Outputs


def outputs_of(model: MultimodalClassifier, train: TrainPart, positions: Tensor) -> Outputs:
    """Outputs for the items at `positions`, (..., n) int64 and not empty, in that order.

    In evaluation mode and without gradients, so that running statistics stay; the model is left in training mode.
    """
    model.eval()
    with torch.no_grad():
        chunks = [model(train.batch(part).inputs) for part in positions.split(train.pass_items, dim=-1)]
    model.train()
    return Outputs(
        {name: torch.cat([chunk.features[name] for chunk in chunks], dim=-2) for name in chunks[0].features},
        {name: torch.cat([chunk.logits[name] for chunk in chunks], dim=-2) for name in chunks[0].logits},
    )
