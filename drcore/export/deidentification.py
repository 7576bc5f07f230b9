"""De-identification: no patient's name unless asked for; in de-identified form no patient at all.

EXIF and other headers of a photograph never leave: pictures are always re-encoded from pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from drcore.export.case import Case
    from drcore.preprocessing.field_of_view import FieldOfView
    from drcore.reviews.decision import Decision
    from drcore.reviews.mark import Mark

__all__ = [
    "Disclosure",
    "deidentified",
    "deidentify_decision",
    "deidentify_mark",
    "pseudonym",
    "retina_only",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Disclosure:
    """What an export may hold.

    Attributes:
        deidentified: photographs go by their hash; patient, file name and study are left out, the
            eye stays. Readers' names stay: they are not the patient's.
        patient_names: put the patient's name from the DICOM header into reports; never in
            de-identified documents.
        notes: keep readers' free text in de-identified documents; others always hold it.
        burned_in: export pictures that the DICOM header says carry identity in their pixels.
        confirmed: SHA-256 of photographs that a person has looked at: no writing on the retina
            identifies a patient. In de-identified documents, pictures that may have writing on
            the retina are held back until they are among these.
    """

    deidentified: bool = False
    patient_names: bool = False
    notes: bool = False
    burned_in: bool = False
    confirmed: frozenset[str] = frozenset()

    @property
    def with_names(self) -> bool:
        """Whether patients' names are included."""
        return self.patient_names and not self.deidentified

    @property
    def with_notes(self) -> bool:
        """Whether readers' free text is included."""
        return self.notes or not self.deidentified

    def may_show(self, case: Case) -> bool:
        """Say whether the picture may be exported, by what its DICOM header says."""
        return self.burned_in or not case.report.burned_in

    def apply(self, case: Case) -> Case:
        """Return a case as it may be exported."""
        return deidentified(case, notes=self.notes) if self.deidentified else case


def pseudonym(sha256: str) -> str:
    """Name a photograph by its hash.

    Only someone who has the file can match it.

    Args:
        sha256: of the photograph, hex.

    Returns:
        Its first 16 digits; "unread" for a file without a hash.
    """
    return sha256[:16] or "unread"


def deidentified(case: Case, *, notes: bool = False) -> Case:
    """Remove the patient's identity from a case.

    Args:
        case: any.
        notes: keep readers' free text.

    Returns:
        The same photograph under its pseudonym, without patient; laterality stays.
    """
    name = pseudonym(case.report.sha256)
    origins = [part for part in case.report.identity_source.split() if part.startswith("eye=")]
    report = replace(
        case.report, name=name, patient=None, exam_date=None, identity_source=" ".join(origins)
    )
    if report.status == "failed":  # its reason begins with the file's name
        report = replace(report, reason="the photograph could not be read.")
    return replace(
        case,
        report=report,
        decisions=tuple((n, deidentify_decision(made, notes=notes)) for n, made in case.decisions),
        marks=tuple((n, deidentify_mark(mark, notes=notes)) for n, mark in case.marks),
    )


def deidentify_decision(decision: Decision, *, notes: bool = False) -> Decision:
    """Remove the patient's identity from a decision.

    Args:
        decision: any.
        notes: keep the reader's free text.

    Returns:
        The decision on the same photograph under its pseudonym; eye and reader stay.
    """
    note = decision.note if notes else ""
    findings = decision.findings
    if findings is not None and not notes:
        findings = replace(findings, texts=())
    return replace(
        decision, image=pseudonym(decision.sha256), patient=None, note=note, findings=findings
    )


def deidentify_mark(mark: Mark, *, notes: bool = False) -> Mark:
    """Remove free text, which may name the patient, from a mark.

    Args:
        mark: any.
        notes: keep the reader's free text.

    Returns:
        The mark.
    """
    return replace(mark, note=mark.note if notes else "")


def retina_only(rgb: NDArray[np.uint8], field_of_view: FieldOfView) -> NDArray[np.uint8]:
    """Blacken what lies outside the field of view: cameras write names and dates there.

    Args:
        rgb: uint8 (h, w, 3).
        field_of_view: in pixels of `rgb`.

    Returns:
        uint8 (h, w, 3); all black where no rim was found, for nothing can be told apart there.
    """
    if not field_of_view.found:
        return np.zeros_like(rgb)
    inside = field_of_view.mask(rgb.shape[0], rgb.shape[1])
    return np.where(inside[..., None], rgb, np.uint8(0)).astype(np.uint8)
