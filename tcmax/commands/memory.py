"""How this process handles its memory: freed arrays are used again, imported packages are left alone."""

import ctypes
import gc
import sys
from importlib import import_module

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc


def keep_freed() -> None:
    """Let this process reuse the memory it frees, where glibc would hand it back and fault every page in again.

    Statistics allocate and free arrays of a megabyte tens of thousands of times. Those faults are a third of the time
    of a statistics stage. No effect with another C library.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(_M_TRIM_THRESHOLD, 2**30)
    mallopt(_M_MMAP_THRESHOLD, 2**25)  # the most that glibc takes


def import_for_good(package: str) -> None:
    """Import a large package and take all that is alive then out of the garbage collector's sight, up to the exit.

    Nothing of a package is garbage before the process ends. Looking through the objects of torch while they are made,
    later and at the end takes a quarter of the processor time of a training job that has few steps.
    """
    if package in sys.modules:
        return
    enabled = gc.isenabled()
    gc.disable()
    try:
        import_module(package)
    finally:
        gc.freeze()
        if enabled:
            gc.enable()
