"""Keeps the server's memory flat where photographs of many megapixels come and go in threads."""

from __future__ import annotations

import ctypes

__all__ = ["keep_flat"]

ARENAS = 2
"""Pools of memory of the C library. It would open eight for each core, and every pool keeps what
its threads once needed for a photograph: twice the memory after an hour of paging."""

_M_ARENA_MAX = -8  # of glibc's malloc.h


def keep_flat() -> bool:
    """Limit the pools of memory, before threads open them.

    Returns:
        Whether the C library knows of them; Linux's does, others need it not.
    """
    try:
        return bool(ctypes.CDLL(None).mallopt(_M_ARENA_MAX, ARENAS))
    except (AttributeError, OSError, TypeError):
        return False
