"""How freed memory is treated on the CPU: the largest single cost of a training step there, if left alone."""

import ctypes
import sys

# Parameters of glibc's mallopt, from its malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_NEVER = 2**31 - 1  # bytes; the largest int


def keep_freed_memory() -> bool:
    """Let this process keep the memory it frees, instead of giving it back to the kernel.

    XLA allocates the temporaries of a compiled function anew at every call (150 MB for a step of 32
    molecules). glibc gives such blocks back at once, and the kernel clears every page again at the next
    call: half of the time of a training step. To be called before the first jax computation, because
    threads that already allocate keep their own pools. The process stays at the size of its peak.

    Returns:
        Whether it took effect; elsewhere than on glibc nothing changes.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # another C library
        return False
    settings = (_MMAP_THRESHOLD, _NEVER), (_TRIM_THRESHOLD, _NEVER), (_ARENA_MAX, 1)
    return all([mallopt(name, value) == 1 for name, value in settings])
