"""How freed memory is kept for the next tensor. Knows the C library only."""

import ctypes
import sys
from typing import Final

_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
_LARGEST: Final = 2**31 - 1


def keep_freed_memory() -> None:
    """Let the C library keep the memory of freed tensors instead of returning it to the system each time.

    A step frees and asks again for the same few hundred megabytes. By default glibc gives blocks of 32 MB and more back
    at once, and the kernel then clears every page anew: two fifths of the processor time of a small model's
    training step. The process keeps its peak size from here on. Does nothing where the C library is another one.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # not glibc
        return
    mallopt(_MMAP_THRESHOLD, 2**30)
    mallopt(_TRIM_THRESHOLD, _LARGEST)
