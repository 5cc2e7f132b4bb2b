"""Memory that is used again: fresh pages from the system would cost as much as the arithmetic.

Every step frees what the next one asks for, so it is enough that the C library keeps it in between.
"""

import ctypes
from functools import cache

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of mallopt(3)


@cache
def keep_pages() -> None:
    """From now on the C library gives nothing back to the system that it could hand out again.

    Without glibc: nothing happens.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(_MMAP_MAX, 0)
    mallopt(_TRIM_THRESHOLD, 2**31 - 1)
