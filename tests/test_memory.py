"""Freed memory is reused: arrays that come and go do not fault their pages in again."""

import platform
import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
import numpy as np
from tcmax.memory import keep_freed
if sys.argv[1] == "kept":
    keep_freed()
def use():
    held = [np.ones(150_000) for _ in range(4)]
for _ in range(3):
    use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="thresholds of glibc")
def test_freed_memory_is_not_faulted_in_again():
    faults = {}
    for how in ("kept", "handed back"):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, how], capture_output=True, text=True, check=True, timeout=60
        )
        faults[how] = int(done.stdout)
    assert faults["kept"] < 100
    assert faults["kept"] <= faults["handed back"]
