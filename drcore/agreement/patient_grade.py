"""From photographs to patients: the grade of an eye, and the worse eye's for the patient."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from drcore.eye import EYE_NAMES, Laterality
from drcore.icdr import REFERABLE

__all__ = ["Eye", "EyeGrade", "PatientGrade", "Reading", "patient_grade"]

Eye: TypeAlias = "Laterality | Literal['unknown']"
Finding = Literal["graded", "ungradable", "unread"]


@dataclass(frozen=True, slots=True)
class Reading:
    """What one photograph says of its eye, by a reader or by the model.

    Attributes:
        laterality: "OD", "OS", or None where it is not known.
        grade: ICDR grade 0-4; None without one.
        seen: False where the photograph could not be read or was not graded yet, so that nobody
            has judged it; else a missing grade means that it is not fit for grading.

    Raises:
        ValueError: the grade is not one.
    """

    laterality: Laterality | None
    grade: int | None
    seen: bool = True

    def __post_init__(self) -> None:
        if self.grade not in {None, 0, 1, 2, 3, 4} or (self.grade is not None and not self.seen):
            raise ValueError(f"{self.grade!r} is no grade of a photograph that was judged.")


@dataclass(frozen=True, slots=True)
class EyeGrade:
    """All photographs of one eye taken together.

    Attributes:
        eye: "OD", "OS", or "unknown" for photographs that do not tell.
        finding: "graded", "ungradable" where no photograph was fit for grading, "unread" where
            none was judged.
        grade: the highest of its photographs, 0-4; None unless graded.
        photographs: how many there are.
    """

    eye: Eye
    finding: Finding
    grade: int | None
    photographs: int


@dataclass(frozen=True, slots=True)
class PatientGrade:
    """The patient's grade, and how far it can be relied on.

    Attributes:
        grade: of the worse eye, 0-4; None where no eye has one. Never lower than any photograph's.
        eyes: OD, OS, unknown; those that were photographed.
        complete: both eyes have a grade, and no photograph is left that might raise it: the eye is
            known of each, and each was judged.
        gaps: a phrase for each thing that is missing; empty where complete.
    """

    grade: int | None
    eyes: tuple[EyeGrade, ...]
    complete: bool
    gaps: tuple[str, ...]

    @property
    def referable(self) -> bool | None:
        """Whether to refer; None where the eyes that have a grade do not settle it.

        An eye that is missing or not fit for grading may hold disease: without it a patient can be
        called referable, but not free of it.
        """
        if self.grade is not None and self.grade >= REFERABLE:
            return True
        return False if self.complete else None


def patient_grade(readings: Iterable[Reading]) -> PatientGrade:
    """Grade a patient by the worse eye, and an eye by its worst photograph.

    The International Clinical Diabetic Retinopathy scale is of an eye; screening programmes act on
    the worse one (Wilkinson et al. 2003). Photographs whose eye is not known count as they are.

    Args:
        readings: one for each photograph of the patient, in any order.

    Returns:
        The grade and what is missing for it to be certain.
    """
    by_eye: dict[Eye, list[Reading]] = {}
    for reading in readings:
        by_eye.setdefault(reading.laterality or "unknown", []).append(reading)
    order: tuple[Eye, ...] = ("OD", "OS", "unknown")
    eyes = tuple(_eye_grade(eye, by_eye[eye]) for eye in order if eye in by_eye)
    graded = [eye.grade for eye in eyes if eye.grade is not None]
    gaps = _gaps(by_eye, eyes)
    return PatientGrade(max(graded, default=None), eyes, not gaps, gaps)


def _eye_grade(eye: Eye, readings: list[Reading]) -> EyeGrade:
    grades = [reading.grade for reading in readings if reading.grade is not None]
    finding: Finding = "graded" if grades else "unread"
    if not grades and any(reading.seen for reading in readings):
        finding = "ungradable"
    return EyeGrade(eye, finding, max(grades, default=None), len(readings))


def _gaps(by_eye: dict[Eye, list[Reading]], eyes: tuple[EyeGrade, ...]) -> tuple[str, ...]:
    found = {eye.eye: eye for eye in eyes}
    gaps = []
    for side, name in EYE_NAMES.items():
        eye = found.get(side)
        if eye is None:
            gaps.append(f"no photograph of the {name.lower()}")
        elif eye.finding == "ungradable":
            gaps.append(f"{name.lower()} not fit for grading")
    unread = sum(not reading.seen for readings in by_eye.values() for reading in readings)
    if unread:
        gaps.append(f"{unread} photograph{'s' if unread > 1 else ''} not judged")
    if "unknown" in found:
        number = found["unknown"].photographs
        gaps.append(f"laterality not recorded ({number} photograph{'s' if number > 1 else ''})")
    return tuple(gaps)
