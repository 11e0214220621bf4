"""A run of one seed, for tests that look at one."""

from collections.abc import Callable
from typing import Any

import torch

from tcmax.data.base import Dataset
from tcmax.training.loading import Residence
from tcmax.training.loop import RunResult, Runs
from tcmax.training.spec import RunSpec


class Run(Runs):
    """One seed by itself."""

    def __init__(
        self, spec: RunSpec, seed: int, dataset: Dataset, device: torch.device, residence: Residence | None = None
    ) -> None:
        super().__init__(spec, [seed], dataset, device, residence)

    @property
    def state(self) -> Any:
        return self.states[0]

    def train(self, after_epoch: Callable[[Runs], None] | None = None) -> RunResult:  # type: ignore[override]
        return super().train(after_epoch)[0]
