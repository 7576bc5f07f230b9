"""How a study has photographs read: modes of reading, and roles of readers."""

from __future__ import annotations

from typing import Literal, get_args

__all__ = ["MODES", "ROLES", "ReadingMode", "Role"]

ReadingMode = Literal["open", "blinded first read", "second reader", "arbitration"]
"""Blinded is to the machine's grade and to other readers."""
Role = Literal["first", "second", "arbiter"]

MODES: tuple[ReadingMode, ...] = get_args(ReadingMode)

ROLES: dict[ReadingMode, Role] = {
    "open": "first",
    "blinded first read": "first",
    "second reader": "second",
    "arbitration": "arbiter",
}
"""Of whoever reads in a mode."""
