"""Linear layers whose weights may belong to several seeds at once (tcmax.models.classifier, `side_by_side`)."""

import torch
from torch import Tensor, nn
from torch.nn import functional


def linear(inputs: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """inputs (..., B, i) to (..., B, o) by weight (o, i) and bias (o,).

    With seeds all three have a leading axis of them: (S, B, i), (S, o, i) and (S, o) to (S, B, o).
    """
    if weight.ndim == 2:
        return functional.linear(inputs, weight, bias)
    if inputs.shape[-2] == 1:  # a single row takes another routine, which rounds by where in memory a matrix starts
        return linear(inputs.expand(-1, 2, -1), weight, bias).narrow(-2, 0, 1)
    return torch.bmm(inputs, weight.mT) if bias is None else torch.baddbmm(bias.unsqueeze(-2), inputs, weight.mT)


class Linear(nn.Linear):
    """PyTorch's linear layer, with its start, for one seed or several."""

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight, self.bias)
