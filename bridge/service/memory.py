"""Sets allocator and collector for a process that lives for weeks and moves megabytes.

Request bodies of a megabyte are common. By default glibc takes each such block from the kernel
and gives it back at once, and faulting its pages in costs more than the rest of the request. The
room changes speed and nothing else; where the system has no such settings it does nothing.
"""

from __future__ import annotations

import ctypes
import gc
from typing import Final

# malloc.h of glibc
M_TRIM_THRESHOLD: Final = -1
M_MMAP_THRESHOLD: Final = -3

#: Blocks up to this size, in bytes, are kept for the next request; larger ones are rare.
KEPT_BLOCK: Final = 4 * 1024 * 1024
#: How much unused memory is kept in all, in bytes, before it goes back to the system.
KEPT_IN_ALL: Final = 16 * 1024 * 1024

#: Objects made before the collector looks at them: requests leave no cycles for it to find.
YOUNG_OBJECTS: Final = 20_000


def settle_allocator() -> bool:
    """Let the allocator keep blocks of a request's size; say whether it could be told so."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, KEPT_BLOCK) and mallopt(M_TRIM_THRESHOLD, KEPT_IN_ALL))


def settle_collector() -> None:
    """Take what was made at the start for permanent, so that no collection looks at it again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 10, 10)
