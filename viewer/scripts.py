"""The scripts of the pages, read from beside this module."""

from __future__ import annotations

from pathlib import Path

__all__ = ["script"]


def script(*names: str) -> str:
    """Return files as one script, in order: each may use what stands in those before it."""
    here = Path(__file__).parent
    return "\n".join((here / name).read_text(encoding="utf-8") for name in names)
