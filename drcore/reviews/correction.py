"""Laterality, patient and date of a photograph as a reader corrected them by hand."""

from __future__ import annotations

from pydantic import AwareDatetime
from pydantic.dataclasses import dataclass

from drcore.eye import Laterality
from drcore.reviews.decision import LOGIN_SENTENCE, Login
from drcore.reviews.validation import STRICT, ExamDate, Patient, ReaderName, Sha256, plain_errors

__all__ = ["IdentityCorrection"]


@plain_errors(
    {
        "corrected_at": "the time of the correction needs a time zone. Give UTC.",
        "login": LOGIN_SENTENCE,
        "exam_date": "{exam_date} is not a date. Give it as YYYY-MM-DD.",
    },
    "The correction",
)
@dataclass(frozen=True, slots=True, config=STRICT)
class IdentityCorrection:
    """Which eye of which patient a photograph shows, by a reader's hand.

    Attributes:
        sha256: of the file, 64 hex digits in lower case.
        laterality: "OD", "OS", or None: the reader says that it is not known.
        patient: None: the reader says that it is not known.
        reader: who corrected.
        corrected_at: when, with a time zone.
        exam_date: of the examination, `YYYY-MM-DD`; empty: the reader says that it is not known;
            None: not corrected.
        login: who says that it was this reader, as for a `Decision`; None: not recorded.

    Raises:
        ReviewError: a field cannot be stored.
    """

    sha256: Sha256
    laterality: Laterality | None
    patient: Patient | None
    reader: ReaderName
    corrected_at: AwareDatetime
    exam_date: ExamDate | None = None
    login: Login | None = None
