"""What becomes of memory that was freed, and what is kept. Knows the C library, and one variable of oneDNN."""

import ctypes
import os
import sys
from collections.abc import Callable
from typing import Final

_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
_ARENA_MAX: Final = -8
_LARGEST: Final = 2**31 - 1
_KERNELS: Final = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
_MOST_KERNELS: Final = "256"


def keep_freed_memory() -> None:
    """Let the C library keep the memory of freed tensors instead of returning it to the system each time.

    A step frees and asks again for the same few hundred megabytes. By default glibc gives blocks of 32 MB and more back
    at once, and the kernel then clears every page anew: two fifths of the processor time of a small model's
    training step. The process keeps its peak size from here on. Does nothing where the C library is another one.

    Of oneDNN's kernels, one for each shape of a product, a quarter of its usual 1,024 are kept, unless the environment
    says otherwise: each holds megabytes, and batches of all lengths have thousands of shapes. Call it before the first
    product.
    """
    os.environ.setdefault(_KERNELS, _MOST_KERNELS)
    mallopt = _mallopt()
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, 2**30)
        mallopt(_TRIM_THRESHOLD, _LARGEST)


def share_freed_memory() -> None:
    """Let all threads that start from here on take their memory from one place, where each finds what others freed.

    By default glibc gives threads places of their own. What a thread took and another one frees goes back to the first
    one's place, in pieces: where one thread unpickles what the event loop lets go of, as in a service before its
    engines, that place grows for as long as there are requests. Python's threads take turns anyway. Does nothing where
    the C library is another one.
    """
    mallopt = _mallopt()
    if mallopt is not None:
        mallopt(_ARENA_MAX, 1)


def _mallopt() -> Callable[[int, int], int] | None:
    """Return glibc's function of that name; None where the C library is another one."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        function: Callable[[int, int], int] = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return None
    return function
