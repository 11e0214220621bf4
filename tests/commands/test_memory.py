"""Freed memory is reused without new page faults, and the garbage collector passes imported packages by."""

import platform
import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
import numpy as np
from tcmax.commands.memory import keep_freed
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


IMPORTING = """
import gc
from tcmax.commands.memory import import_for_good
import_for_good("difflib")
frozen = gc.get_freeze_count()
assert frozen > 1000 and gc.isenabled()
held = [[] for _ in range(1000)]
import_for_good("difflib")
assert gc.get_freeze_count() <= frozen, "a package that is here already freezes nothing"
try:
    import_for_good("no_such_package")
except ModuleNotFoundError:
    assert gc.isenabled()
else:
    raise AssertionError("a missing package is an error")
gc.disable()
import_for_good("cmd")
assert not gc.isenabled()
"""


def test_the_collector_does_not_look_through_an_imported_package_and_works_on():
    subprocess.run([sys.executable, "-c", IMPORTING], check=True, timeout=60)
