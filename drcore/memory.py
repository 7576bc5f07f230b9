"""How the C library keeps the memory that photographs leave behind."""

from __future__ import annotations

import ctypes

__all__ = ["give_back_large_blocks", "limit_pools"]

_POOLS = 2
"""Its default is eight for each core, and each keeps what its threads once needed."""

_LARGE = 8 << 20
"""Bytes from which a block goes back to the system when it is let go: pixels and large squares."""

_MMAP_THRESHOLD, _ARENA_MAX = -3, -8  # of glibc's malloc.h


def limit_pools() -> bool:
    """Limit the C library's memory pools.

    Returns:
        False where it has no such limit.
    """
    return _set(_ARENA_MAX, _POOLS)


def give_back_large_blocks() -> bool:
    """Let the C library return large blocks at once, instead of keeping them for others.

    Returns:
        False where it has no such setting.
    """
    return _set(_MMAP_THRESHOLD, _LARGE)


def _set(option: int, value: int) -> bool:
    try:
        return bool(ctypes.CDLL(None).mallopt(option, value))
    except (AttributeError, OSError, TypeError):
        return False
