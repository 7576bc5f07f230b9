"""The International Clinical Diabetic Retinopathy (ICDR) severity scale, and what it is used for.

The scale is of Wilkinson et al., Ophthalmology 2003;110:1677-82.
"""

from __future__ import annotations

__all__ = ["FULL_NAMES", "GRADE_NAMES", "MODEL_NOTICE", "NOTICE", "REFERABLE"]

GRADE_NAMES = (
    "No apparent retinopathy",
    "Mild non-proliferative",
    "Moderate non-proliferative",
    "Severe non-proliferative",
    "Proliferative",
)
"""Short names of the grades 0-4."""

FULL_NAMES = (GRADE_NAMES[0], *(f"{name} retinopathy" for name in GRADE_NAMES[1:]))
"""Names of the grades 0-4, written out as LOINC has them."""

REFERABLE = 2
"""Grade from which diabetic retinopathy is referable."""

NOTICE = (
    "Research use only. Not a medical device. Clinical decisions remain with the clinician. "
    "Diabetic macular oedema (DMO) is not assessed."
)
"""Stands on every page and in every document."""

MODEL_NOTICE = (
    "Research use only. Not a medical device. Machine-made grade without a clinician's review; "
    "macular oedema is not graded."
)
"""Stands in every document that holds the model's result alone."""
