"""Codes for what leaves the tool: published ones where one fits, our own where none does.

The grades are the answer list LL2117-1 of LOINC (https://loinc.org), which is the ICDR scale word
for word; LOINC is copyright Regenstrief Institute, Inc. and the LOINC Committee, and available at
no cost under its licence. LOINC's questions for that list (71490-7, 71491-5) say "by
ophthalmoscopy", which a graded photograph is not: the questions here are our own.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from drcore.icdr import FULL_NAMES
from drcore.text import printable

__all__ = [
    "GRADE_CODES", "PRIVATE_SCHEME", "QUESTIONS", "RETINA", "SIDE_CODES", "UNGRADABLE",
    "WHOLE_EYE_CODES", "YES_NO", "Concept", "field_concept", "model_name", "option_concept",
]  # fmt: skip

PRIVATE_SCHEME = "99DRCORE"
"""Designator of our own codes; DICOM keeps names that start with 99 for private schemes."""


@dataclass(frozen=True, slots=True)
class Concept:
    """A coded concept.

    Attributes:
        scheme: DICOM designator: "LN" (LOINC), "SCT" (SNOMED CT), "99DRCORE" (our own).
        code: value in that scheme, at most 16 characters.
        meaning: in words, at most 64 characters.
    """

    scheme: str
    code: str
    meaning: str


_LOINC = ("LA18643-9", "LA18644-7", "LA18645-4", "LA18646-2", "LA18648-8")
GRADE_CODES = tuple(
    Concept("LN", code, name) for code, name in zip(_LOINC, FULL_NAMES, strict=True)
)
"""ICDR grades 0-4."""

QUESTIONS = {
    "report": Concept(PRIVATE_SCHEME, "DR-REPORT", "Diabetic retinopathy grading report"),
    "grade": Concept(PRIVATE_SCHEME, "ICDR-GRADE", "ICDR grade from fundus photograph"),
    "score": Concept(PRIVATE_SCHEME, "DR-SCORE", "Continuous severity score in ICDR grades"),
    "p_referable": Concept(PRIVATE_SCHEME, "P-REFERABLE", "Probability of ICDR grade 2 or more"),
    "referable": Concept(PRIVATE_SCHEME, "REFERABLE", "Referable (ICDR grade 2 or more)"),
    "gradable": Concept(PRIVATE_SCHEME, "GRADABLE", "Photograph fit for grading"),
}
"""What is answered, by a short name."""

UNGRADABLE = Concept(PRIVATE_SCHEME, "UNGRADABLE", "Ungradable")

YES_NO = {True: Concept("SCT", "373066001", "Yes"), False: Concept("SCT", "373067005", "No")}

RETINA = Concept("SCT", "5665001", "Retina")

SIDE_CODES = {"OD": Concept("SCT", "24028007", "Right"), "OS": Concept("SCT", "7771000", "Left")}

WHOLE_EYE_CODES = {
    "OD": Concept("SCT", "18944008", "Right eye structure"),
    "OS": Concept("SCT", "8966001", "Left eye structure"),
}


_FIELDS = {
    "ungradable_cause": "Reason why ungradable",
    "macular_oedema": "Suspicion of macular oedema",
    "laser_scars": "Laser scars",
    "neovascularisation": "Neovascularisation",
    "other_findings": "Other findings",
    "other_text": "Other finding in words",
    "outcome": "Outcome of the reading",
    "rescreen_months": "Rescreen in months",
}
"""Meanings of the fields of the form that ships."""


def field_concept(field: str) -> Concept:
    """Return a question of the structured reading, by the id of its field."""
    return Concept(PRIVATE_SCHEME, _own_code(field), _FIELDS.get(field, field.replace("_", " ")))


def option_concept(option: str) -> Concept:
    """Return an option of the structured reading; untrusted text."""
    return Concept(PRIVATE_SCHEME, _own_code(option), printable(option)[:64])


def _own_code(text: str) -> str:
    """The text itself as a code where it is short and plain, else a hash."""
    code = re.sub(r"[^A-Z0-9]+", "-", text.upper()).strip("-")
    plain = code and len(code) <= 16 and re.fullmatch(r"[A-Za-z0-9 _-]+", text)
    return code if plain else f"H-{hashlib.sha256(text.encode()).hexdigest()[:14].upper()}"


def model_name(version: str) -> tuple[str, str]:
    """Split what a report calls its model.

    Args:
        version: name and version, such as "drcore 0.2.0".

    Returns:
        Name and version; the version "unknown" where there is no space.
    """
    name, _, number = version.strip().rpartition(" ")
    return (name, number) if name else (number or "unknown", "unknown")
