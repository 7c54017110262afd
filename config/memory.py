"""Decides what Python's collector looks through, and what the C library keeps of freed memory."""

import ctypes
import gc

# Allocations between two looks at the youngest objects; Python's own 700 is less than a page makes.
YOUNG = 20_000


def keep_what_is_loaded() -> None:
    """Keep the collector off all that is there now, modules above all, and let it look less often.

    A look through everything took some 55 ms, in which the process answered nobody, and a
    fifteenth of all the tests' time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 20, 20)


# glibc's names for them (malloc.h), and what they are set to.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_PIECE = 256 * 1024


def give_freed_memory_back() -> None:
    """Let the system have what uploads and pages have freed; a C library without it does as ever.

    glibc keeps an arena for each thread and, once a large piece was freed, all that are smaller:
    lists beside an upload held 12 MB more of a web process than both need.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_ARENA_MAX, 2)
        mallopt(_TRIM_THRESHOLD, _PIECE)
        mallopt(_MMAP_THRESHOLD, _PIECE)
