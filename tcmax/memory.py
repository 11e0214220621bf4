"""Statistics allocate and free arrays of a megabyte tens of thousands of times; this keeps that cheap."""

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc


def keep_freed() -> None:
    """Let this process reuse the memory it frees, where glibc would hand it back and fault every page in again.

    Those faults are a third of the time of a statistics stage. No effect with another C library.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(_M_TRIM_THRESHOLD, 2**30)
    mallopt(_M_MMAP_THRESHOLD, 2**25)  # the most that glibc takes
