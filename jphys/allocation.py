"""How freed memory is treated on the CPU: the largest single cost of a training step there, if left alone."""

import ctypes
import sys

# Parameters of glibc's mallopt, from its malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
_NEVER = -1  # as an unsigned number of bytes the largest
_HUGE_PAGES = 14  # MADV_HUGEPAGE of sys/mman.h
_HUGE_PAGE = 2**21  # bytes


def keep_freed_memory() -> bool:
    """Let this process keep the memory it frees, instead of giving it back to the kernel.

    XLA allocates the temporaries of a compiled function anew at every call (150 MB for a step of 32
    molecules). glibc gives such blocks back at once, and the kernel clears every page again at the next
    call: half of the time of a training step. Blocks above 2 GB stay too: all temporaries of a function are
    one block. To be called before the first jax computation, because threads that already allocate keep
    their own pools. The process stays at the size of its peak.

    Where the kernel offers huge pages on request, the memory consists of them: the arrays of a step are
    read from end to end, and finding their 4 kB pages takes about a twentieth of its time.

    Returns:
        Whether it took effect; elsewhere than on glibc nothing changes.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        libc = ctypes.CDLL(None)
        mallopt = libc.mallopt
    except AttributeError:  # another C library
        return False
    settings = (_MMAP_MAX, 0), (_TRIM_THRESHOLD, _NEVER), (_ARENA_MAX, 1)
    if not all(mallopt(name, value) == 1 for name, value in settings):
        return False
    _ask_for_huge_pages(libc)
    return True


def _ask_for_huge_pages(libc) -> None:
    """Mark the heap's next 2 GB: a block taken and freed untouched, which the settings above keep."""
    size = 2**31 - _HUGE_PAGE
    libc.malloc.restype = ctypes.c_void_p
    libc.malloc.argtypes = (ctypes.c_size_t,)
    libc.free.argtypes = (ctypes.c_void_p,)
    libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    block = libc.malloc(size)
    if block is None:  # a limit on virtual memory: ordinary pages then
        return
    start = -(-block // _HUGE_PAGE) * _HUGE_PAGE
    libc.madvise(start, block + size - start, _HUGE_PAGES)
    libc.free(block)
