"""Which eye a photograph shows, and how much of its retina."""

from __future__ import annotations

from typing import Literal

__all__ = ["EYE_NAMES", "EYE_ORDER", "FIELD_DEGREES", "Laterality", "degrees_of"]

Laterality = Literal["OD", "OS"]
"""Right eye (oculus dexter) and left eye (oculus sinister)."""

EYE_NAMES: dict[Laterality, str] = {"OD": "Right eye", "OS": "Left eye"}

EYE_ORDER: dict[Laterality | None, int] = {"OD": 0, "OS": 1, None: 2}
"""Right eye, left eye, then photographs whose eye is not known."""

FIELD_DEGREES = 45.0
"""Width of the field of view where neither DICOM header nor user gives it."""

_FIELD_RANGE = (10.0, 220.0)
"""Degrees that fundus cameras have."""


def degrees_of(value: object) -> float | None:
    """Return the width of a field of view in degrees; None if it is none that a camera has."""
    try:
        degrees = float(str(value))
    except ValueError:
        return None
    return degrees if _FIELD_RANGE[0] <= degrees <= _FIELD_RANGE[1] else None
