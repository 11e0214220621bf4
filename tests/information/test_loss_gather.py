"""Negatives across ranks: two gloo processes under DistributedDataParallel against one process with all rows."""

import json

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from ranks import CASES, LABELS, SPLIT, Objective, rank, rows
from torch import nn

from tcmax import TCMaxLoss
from tcmax.information.total_correlation import floor

if not dist.is_available() or not dist.is_gloo_available():
    pytest.skip("torch was built without gloo", allow_module_level=True)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    folder = tmp_path_factory.mktemp("ranks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GLOO_SOCKET_IFNAME", "lo")  # a machine's own name may not resolve
        mp.spawn(rank, (str(folder),), nprocs=len(SPLIT))
    return [json.loads((folder / f"{number}.json").read_text()) for number in range(len(SPLIT))]


@pytest.mark.parametrize("case", CASES)
def test_two_ranks_have_the_value_and_the_averaged_gradient_of_one_process(found: list[dict], case: str) -> None:
    module = Objective(case, gather=False)
    loss = module(rows(), LABELS)
    loss.backward()
    for one in found:
        assert one[case]["loss"] == pytest.approx(loss.item(), abs=1e-12)
        for name, value in module.tables.items():
            assert value.grad.abs().max() > 1e-3
            got = torch.tensor(one[case]["gradients"][name], dtype=torch.float64)
            torch.testing.assert_close(got, value.grad, rtol=0, atol=1e-12)


def test_what_is_no_group_is_named(found: list[dict]) -> None:
    assert found[0]["refused"] == "gather is False, True or a process group, not 'all'"


def test_what_local_negatives_lose_is_as_documented() -> None:
    """docs/total-correlation.md, CREMA-D's row lengths on four ranks: floor -3.21 for -3.50, gradient off by 0.48."""
    generator = torch.Generator().manual_seed(0)
    floors = [floor(torch.randint(6, (8,), generator=generator), 6, 2, additive=True) for _ in range(500)]
    assert torch.stack(floors).mean().item() == pytest.approx(-3.21, abs=0.03)

    errors = []
    for _ in range(100):
        labels = torch.randint(6, (32,), generator=generator)
        shift = 2 * nn.functional.one_hot(labels, 6)
        pair = torch.randn(2, 32, 6, generator=generator).add(shift).requires_grad_()
        (whole,) = torch.autograd.grad(TCMaxLoss()(pair.unbind(), labels), pair)
        shards = zip(pair.chunk(4, 1), labels.chunk(4), strict=True)
        local = sum(TCMaxLoss()(shard.unbind(), own) for shard, own in shards) / 4
        (averaged,) = torch.autograd.grad(local, pair)
        errors.append((averaged - whole).norm() / whole.norm())
    assert torch.stack(errors).mean().item() == pytest.approx(0.48, abs=0.03)
