"""Tensors with leading axes, of seeds that train side by side (tcmax.models.classifier) or of anything else."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Generators = torch.Generator | Sequence[torch.Generator]  # one, or one for each index of a single leading axis


def drawn(one: Callable[..., Tensor], generator: Generators) -> Tensor:
    """What one(generator=...) draws; of a sequence of generators what each draws, stacked."""
    if isinstance(generator, torch.Generator):
        return one(generator=generator)
    return torch.stack([one(generator=each) for each in generator])


def rows_of(values: Tensor, chosen: Tensor, axis: int) -> Tensor:
    """The chosen rows along an axis: of (..., B, *) those of (S,), the same for all leading indices, or (..., S)."""
    if chosen.ndim == 1:
        return values.index_select(axis, chosen)
    # Rows of one long list of rows, which are copied whole: `gather` takes ten times as long.
    axis %= values.ndim
    starts = torch.arange(values.shape[:axis].numel(), device=chosen.device) * values.shape[axis]
    index = chosen.flatten(0, -2) + starts.unsqueeze(-1)
    rows = values.flatten(0, axis).index_select(0, index.flatten())
    return rows.view(*chosen.shape, *values.shape[axis + 1 :])


def entries(tensor: Tensor, seed_axes: int) -> Tensor:
    """(..., n): a parameter's or gradient's entries in one row; seed_axes as of the model it belongs to."""
    return tensor.reshape(*tensor.shape[:seed_axes], -1)


def per_seed(values: Tensor, like: Tensor) -> Tensor:
    """One number per seed (...) in the type and with the dimensions of that seed's tensor, to multiply it by."""
    return values.to(like).reshape(values.shape + (1,) * (like.ndim - values.ndim))
