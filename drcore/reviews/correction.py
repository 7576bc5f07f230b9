"""Laterality and patient of a photograph as a reader corrected them by hand."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from drcore.errors import ReviewError
from drcore.eye import Laterality
from drcore.reviews.validation import check_moment, check_sha256, check_text

__all__ = ["IdentityCorrection"]


@dataclass(frozen=True, slots=True)
class IdentityCorrection:
    """Which eye of which patient a photograph shows, by a reader's hand.

    Attributes:
        sha256: of the file, 64 hex digits in lower case.
        laterality: "OD", "OS", or None: the reader says that it is not known.
        patient: None: the reader says that it is not known.
        reader: who corrected.
        corrected_at: when, with a time zone.

    Raises:
        ReviewError: a field cannot be stored.
    """

    sha256: str
    laterality: Laterality | None
    patient: str | None
    reader: str
    corrected_at: datetime

    def __post_init__(self) -> None:
        check_sha256("The correction", self.sha256)
        if self.laterality not in {"OD", "OS", None}:
            raise ReviewError("The correction: laterality is OD, OS or unknown.")
        if self.patient is not None:
            check_text("The correction", "patient", self.patient)
        check_text("The correction", "reader", self.reader)
        check_moment("The correction", "the correction", self.corrected_at)
