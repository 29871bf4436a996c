"""How freed memory is treated on the CPU: the largest single cost of a training step there, if left alone."""

import ctypes
import re
import sys

__all__ = ["Gaps", "keep_freed_memory"]

# Parameters of glibc's mallopt, from its malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
_NEVER = -1  # as an unsigned number of bytes the largest
_HUGE_PAGES = 14  # MADV_HUGEPAGE of sys/mman.h
_HUGE_PAGE = 2**21  # bytes
_GAPS = 2**10, 2**22  # bytes; glibc sorts free blocks from the first on, an array of XLA fills the last
_STEP, _HEADER = 16, 8  # bytes: what sizes of blocks are multiples of, and glibc's own part of a block
_ROUNDS = 3  # a block that is cut to size leaves a smaller one
_kept = False


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
    global _kept
    _kept = True
    return True


class Gaps:
    """Free blocks that compiling left behind, taken so that nobody looks at them; given back at the end.

    Compiling a training step leaves some 85,000 free blocks of 1 kB to 4 MB between blocks in use. Kernels
    allocate their work space at every call, and glibc walks along its sorted lists of free blocks to find one
    and to put it back: a sixth of the time of a step. What is taken cannot serve anybody else meanwhile.

    A context manager; nothing happens where `keep_freed_memory` did not take effect before.
    """

    def __init__(self):
        self._taken: list[int] = []

    def __enter__(self) -> "Gaps":
        return self

    def fill(self) -> int:
        """Take what is free now: to be called after a long compilation. Returns the number of blocks."""
        if not _kept:
            return 0
        libc, before = ctypes.CDLL(None), len(self._taken)
        libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, (ctypes.c_size_t,)
        for _ in range(_ROUNDS):
            for size, count in free_blocks():
                if _GAPS[0] <= size < _GAPS[1]:
                    blocks = (libc.malloc(size - _HEADER) for _ in range(count))
                    self._taken += [block for block in blocks if block is not None]
        return len(self._taken) - before

    def __exit__(self, *_) -> None:
        if not self._taken:  # elsewhere than on glibc there may be no library of this name
            return
        libc = ctypes.CDLL(None)
        libc.free.argtypes = (ctypes.c_void_p,)
        while self._taken:
            libc.free(self._taken.pop())


def free_blocks() -> list[tuple[int, int]]:
    """Smallest size in bytes and number of the free blocks of each list of glibc's main pool."""
    libc = ctypes.CDLL(None)
    libc.open_memstream.restype = ctypes.c_void_p
    for name, arguments in (
        ("open_memstream", (ctypes.c_void_p, ctypes.c_void_p)),
        ("malloc_info", (ctypes.c_int, ctypes.c_void_p)),
        ("fclose", (ctypes.c_void_p,)),
        ("free", (ctypes.c_void_p,)),
    ):
        getattr(libc, name).argtypes = arguments
    text, size = ctypes.c_void_p(), ctypes.c_size_t()
    stream = libc.open_memstream(ctypes.byref(text), ctypes.byref(size))
    libc.malloc_info(0, stream)
    libc.fclose(stream)
    pools = ctypes.string_at(text.value or 0, size.value).decode().split("</heap>")
    libc.free(text)
    rows = re.findall(r'<size from="(\d+)" to="\d+" total="\d+" count="(\d+)"/>', pools[0])
    return [(int(size) // _STEP * _STEP, int(count)) for size, count in rows]  # the last bits are flags


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
