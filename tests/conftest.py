"""Shared by all tests: one thread, and the tiny dataset under a name that configs can use."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported anywhere

import pytest

from tcmax.data import DATASETS
from tcmax.registry import Entry


@pytest.fixture
def installed_tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """The dataset "tiny", as if a package had added it."""
    monkeypatch.setitem(DATASETS.entries, "tiny", Entry("tiny:dataset"))
