"""How the process is set up before it reads: collector, allocator, and what is kept out of it.

Measured by `benchmarks/end_to_end.py`; `docs/performance.md` has the figures.
"""

import ctypes
import gc
import os
import resource
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

# The young generation of the collector: an export makes few objects that live in circles, but many short-lived ones.
YOUNG_OBJECTS = 20_000
# Of the C library (glibc's malloc.h). What is larger than a page of Graph's usually is has a mapping of its own, which
# goes back to the system when it is freed; the pieces of the others serve the next ones, which saves a page of metadata
# its 350 page faults. Two arenas do for two threads.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
MAPPED_BYTES = 4 << 20
ARENAS = 2
# What Arrow frees is kept so long for its next taker: without it every page would cost a thousand page faults. One
# arena for all threads, because each would keep as much for itself, and at the end of that time at once back to the
# system: jemalloc would mark it as free first, for as long again, and until then it counts as the process's.
# https://jemalloc.net/jemalloc.3.html (checked 2026-11)
KEPT_MS = 1000
ARROW_ALLOCATOR = f"narenas:1,dirty_decay_ms:{KEPT_MS},muzzy_decay_ms:0"


def set_up() -> None:
    """For a process of our own, before anything large is imported."""
    gc.set_threshold(YOUNG_OBJECTS, 20, 50)
    # Arrow's usual allocator, mimalloc, keeps what it once took: 130 MiB after a row group was written. The system's
    # comes apart into pieces: 130 MiB more after some millions of rows.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "jemalloc")
    os.environ.setdefault("JE_ARROW_MALLOC_CONF", ARROW_ALLOCATOR)
    # numpy, which pyarrow imports, would start a thread for each core, and nobody has work for it.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.meta_path.insert(0, _Absent("pandas"))
    with suppress(OSError, AttributeError):  # another C library than glibc
        c_library = ctypes.CDLL(None)
        c_library.mallopt(_M_ARENA_MAX, ARENAS)
        c_library.mallopt(_M_MMAP_THRESHOLD, MAPPED_BYTES)
        c_library.mallopt(_M_TRIM_THRESHOLD, MAPPED_BYTES)


def loaded() -> None:
    """Everything is in place: what there is now stays, so the collector need not look at it again."""
    gc.collect()
    gc.freeze()


def give_back() -> None:
    """What the C library keeps of memory that is free goes back to the system. Arrow's does so by itself."""
    with suppress(OSError, AttributeError):  # another C library than glibc
        ctypes.CDLL(None).malloc_trim(0)


def resident_bytes() -> int:
    """What the process takes of the machine's memory; where the system does not tell, the most it ever took."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except FileNotFoundError:
        return peak_bytes()
    return pages * resource.getpagesize()


def peak_bytes() -> int:
    """The most memory the process ever took."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


class _Absent(MetaPathFinder):
    """A module that cannot be imported. pyarrow imports pandas where it finds it: 45 MiB that nothing here uses."""

    def __init__(self, name: str) -> None:
        self._name = name

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        if fullname == self._name:
            raise ModuleNotFoundError(f"{fullname} is kept out of this process", name=fullname)
        return None
