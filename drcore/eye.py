"""Which eye a photograph shows."""

from __future__ import annotations

from typing import Literal

__all__ = ["EYE_NAMES", "EYE_ORDER", "Laterality"]

Laterality = Literal["OD", "OS"]
"""Right eye (oculus dexter) and left eye (oculus sinister)."""

EYE_NAMES: dict[Laterality, str] = {"OD": "Right eye", "OS": "Left eye"}

EYE_ORDER: dict[Laterality | None, int] = {"OD": 0, "OS": 1, None: 2}
"""Right eye, left eye, then photographs whose eye is not known."""
