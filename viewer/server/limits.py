"""Limits of one server process: background work and memory."""

from __future__ import annotations

import ctypes
import os
import threading

# With a thread or two for each of twenty readers, their pages would wait for the interpreter, and
# nothing would be done sooner: a few of them keep all cores busy.
BACKGROUND = threading.BoundedSemaphore(max(1, min(4, (os.cpu_count() or 1) - 1)))
"""Held while one piece of work is done that no page waits for: a photograph, or its views."""

_MEMORY_POOLS = 2
"""Of the C library. Its default is eight for each core, and every pool keeps what its threads once
needed for a photograph: twice the memory after an hour of paging."""

_M_ARENA_MAX = -8  # of glibc's malloc.h


def limit_memory_pools() -> bool:
    """Limit the C library's memory pools; return False if it has no such limit."""
    try:
        return bool(ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _MEMORY_POOLS))
    except (AttributeError, OSError, TypeError):
        return False
