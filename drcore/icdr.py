"""The International Clinical Diabetic Retinopathy (ICDR) severity scale."""

from __future__ import annotations

__all__ = ["GRADE_NAMES"]


GRADE_NAMES = (
    "No apparent retinopathy",
    "Mild non-proliferative",
    "Moderate non-proliferative",
    "Severe non-proliferative",
    "Proliferative",
)
"""International Clinical Diabetic Retinopathy scale (Wilkinson et al. 2003), grades 0-4."""

REFERABLE = 2
"""Grade from which diabetic retinopathy is referable."""
