"""Which eye a photograph shows."""

from __future__ import annotations

from typing import Literal

__all__ = ["Laterality"]

Laterality = Literal["OD", "OS"]
