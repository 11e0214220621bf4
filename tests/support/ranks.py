"""What one of several processes finds that share their negatives; started anew, each imports this by its name."""

import json
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from tcmax import TCMaxLoss

SPLIT = (3, 5)  # rows of each rank: a last batch need not be even
LABELS = torch.tensor([0, 2, 1, 1, -100, 0, 2, 2])


class Objective(nn.Module):
    """Two encoders and a head that is not additive, with the loss of one case."""

    def __init__(self, case: str, gather: bool) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.case = case
        self.tables = nn.ParameterDict(
            {
                name: nn.Parameter(torch.randn(4, 3, generator=generator, dtype=torch.float64))
                for name in (("a", "v", "head") if case == "head" else ("a", "v"))
            }
        )
        options = {"head": {}, "sampled": {"negatives": 20}, "ignored": {"ignore_index": -100}, "soft": {}}[case]
        self.loss = TCMaxLoss(gather=gather, **options)

    def head(self, rows: tuple[Tensor, Tensor]) -> Tensor:
        joint: Tensor = (rows[0] * rows[1].tanh()) @ self.tables["head"][:3]
        return joint

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        features = (x @ self.tables["a"], x.sin() @ self.tables["v"])
        if self.case == "soft":
            labels = nn.functional.one_hot(labels.clamp(min=0), 3).double() * 0.7 + 0.1
        elif self.case != "ignored":
            labels = labels.clamp(min=0)
        loss: Tensor = self.loss(
            features,
            labels,
            head=self.head if self.case == "head" else None,
            generator=torch.Generator().manual_seed(9) if self.case == "sampled" else None,
        )
        return loss


CASES = ("head", "sampled", "ignored", "soft")


def rows() -> Tensor:
    return torch.randn(8, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def rank(number: int, folder: str) -> None:
    """What one of the two processes finds, as JSON."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=number, world_size=len(SPLIT))
    mine = slice(sum(SPLIT[:number]), sum(SPLIT[: number + 1]))
    found: dict[str, Any] = {}
    for case in CASES:
        module = DistributedDataParallel(Objective(case, gather=True))
        loss = module(rows()[mine], LABELS[mine])
        loss.backward()
        gradients = {name: value.grad.tolist() for name, value in module.module.tables.items()}
        found[case] = {"loss": loss.item(), "gradients": gradients}
    try:
        TCMaxLoss(gather="all")((torch.zeros(2, 3),) * 2, torch.zeros(2, dtype=torch.int64))
    except ValueError as error:
        found["refused"] = str(error)
    (Path(folder) / f"{number}.json").write_text(json.dumps(found))
    dist.destroy_process_group()
