"""Rows of all processes: a batch that is spread over ranks, put together with its gradients."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.functional import pad


def process_group(gather: Any) -> Any:
    """The group that `gather` names: True is the default group. ValueError where there is none."""
    if not dist.is_available() or not dist.is_initialized():
        raise ValueError("gather= puts ranks together: call torch.distributed.init_process_group first")
    if gather is True:
        return dist.group.WORLD
    if not isinstance(gather, dist.ProcessGroup):
        raise ValueError(f"gather is False, True or a process group, not {gather!r}")
    return gather


def rows_per_rank(n_rows: int, device: torch.device, group: Any) -> list[int]:
    """How many rows each rank of the group has; one small collective, whose result the host waits for."""
    own = torch.tensor([n_rows], device=device)
    sizes = [torch.empty_like(own) for _ in range(dist.get_world_size(group))]
    dist.all_gather(sizes, own, group=group)
    return [int(size) for size in sizes]


def all_rows(values: Tensor, axis: int, sizes: list[int], group: Any) -> Tensor:
    """The rows of all ranks along an axis, in the order of ranks, the same on every rank.

    Backward sums over ranks what each has to say about a rank's own rows: the transpose of the forward pass. Ranks may
    have different numbers of rows (`sizes`); shorter ones are padded for the transfer only.
    """
    from torch.distributed.nn.functional import all_gather

    own = values.movedim(axis, 0)
    if own.shape[0] < max(sizes):
        own = pad(own, (0, 0) * (own.ndim - 1) + (0, max(sizes) - own.shape[0]))
    parts = all_gather(own, group) if own.requires_grad else _all_gather(own, group)
    return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)]).movedim(0, axis)


def _all_gather(values: Tensor, group: Any) -> list[Tensor]:
    values = values.contiguous()
    parts = [torch.empty_like(values) for _ in range(dist.get_world_size(group))]
    dist.all_gather(parts, values, group=group)
    return parts
