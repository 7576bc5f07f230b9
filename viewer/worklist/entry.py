"""One photograph of a list: where it lies, whose eye it is, what was said, what may be shown."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from drcore.eye import Laterality
    from drcore.grading.report import GradeReport
    from drcore.photographs.dicom_frames import DicomFrame
    from drcore.photographs.photograph import Photograph
    from drcore.reviews.decision import Decision

__all__ = ["Entry", "PhotographFacts", "covered", "facts_of"]

PatientFrom = Literal["name", "header", "hand", ""]


@dataclass(frozen=True, slots=True)
class PhotographFacts:
    """What is known of a photograph before it is graded.

    Attributes:
        laterality, patient: None where unknown; untrusted text.
        patient_from: the file's name, the DICOM header, a reader's hand; empty where unknown.
        burned_in: whether the DICOM header says that identity is burnt into the pixels.
        sha256: of the photograph, hex; empty until it is known.
    """

    laterality: Laterality | None = None
    patient: str | None = None
    patient_from: PatientFrom = ""
    burned_in: bool = False
    sha256: str = ""


def facts_of(name: str, source: bytes | Path | DicomFrame, *, folder: str = "") -> PhotographFacts:
    """Find out whose eye a photograph shows, from DICOM header or name, without decoding it.

    Args:
        name: of the file; untrusted text.
        source: bytes, path, or frame of a DICOM file.
        folder: name of the folder that it came in: the patient, where the name tells the eye alone.

    Returns:
        What is known; nothing for a file that cannot be read, which says so when it is graded.
    """
    from drcore.photographs.dicom_frames import DicomFrame, file_name
    from drcore.photographs.formats import is_dicom
    from drcore.photographs.identity import parse_name

    number = source.number if isinstance(source, DicomFrame) else 0
    file = source.file if isinstance(source, DicomFrame) else source
    laterality, patient = parse_name(file_name(name) if number else name)
    if laterality is not None and patient is None and folder:
        patient = folder
    facts = PhotographFacts(laterality, patient, "name" if patient else "")
    if not is_dicom(_head(file)):
        return facts
    from drcore.errors import PhotographError
    from drcore.photographs.dicom_header import read_header

    try:
        header = read_header(file, name=name)
    except PhotographError:
        return facts
    return PhotographFacts(
        laterality=header.laterality or facts.laterality,
        patient=header.patient or facts.patient,
        patient_from="header" if header.patient else facts.patient_from,
        burned_in=header.burned_in is True,
        sha256=header.sha256[max(number - 1, 0)] if number <= header.frames else "",
    )


class Entry:
    """One photograph of a list.

    Args:
        key: identifies it within the list; ours, safe in widget keys and CSS.
        file_name: name as it came; untrusted text.
        source: where it is read from: the bytes, a path, or a frame of a DICOM file.
        origin: what the list says of where it comes from, such as "synthetic"; ours.
        facts: known before it is graded.

    Attributes:
        thumbnail: JPEG as data URI; empty until it was made.
        decision: the latest of any reader on the same file.
        deidentified: named by its hash wherever it is shown or recorded, without its patient.
        show_identity: what the DICOM header says of the patient may be shown.
        lock: held while it is graded.
    """

    def __init__(
        self,
        key: str,
        file_name: str,
        source: bytes | Path | DicomFrame,
        origin: str = "",
        facts: PhotographFacts | None = None,
    ) -> None:
        self.key = key
        self.file_name = file_name
        self.source = source
        self.origin = origin
        self.facts = facts or PhotographFacts()
        self.thumbnail = ""
        self.decision: Decision | None = None
        self.deidentified = False
        self.show_identity = False
        self.lock = threading.Lock()
        self._report: GradeReport | None = None
        self._veiled: tuple[object, GradeReport] | None = None

    @property
    def name(self) -> str:
        """Display name; untrusted text. The start of its hash where identity must not be told."""
        if not self.deidentified:
            return self.file_name
        sha256 = self.sha256
        return sha256[:8] if sha256 else f"photograph {self.key[1:]}"

    @property
    def sha256(self) -> str:
        """SHA-256 of the photograph; empty until it is known."""
        return (self._report.sha256 if self._report else "") or self.facts.sha256

    @property
    def image_id(self) -> str:
        """The photograph's SHA-256 where it is graded, else the key."""
        return (self._report.sha256 if self._report else "") or self.key

    @property
    def laterality(self) -> Laterality | None:
        """Which eye, corrected by hand or as header or name tell."""
        return self.facts.laterality

    @property
    def patient(self) -> str | None:
        """Whose eye, to pair photographs by; untrusted text, see `patient_shown`."""
        return self.facts.patient

    @property
    def patient_shown(self) -> str | None:
        """The patient as the page may show it; None where unknown or hidden."""
        hidden = self.facts.patient_from == "header" and not self.show_identity
        return None if hidden or self.deidentified else self.facts.patient

    @property
    def report(self) -> GradeReport | None:
        """What the model says, for the record and for exports; None until graded.

        Where the list is de-identified, without name and patient.
        """
        report = self._report
        if report is None or not self.deidentified:
            return report
        reason = report.reason.replace(report.name, self.name)
        return self._cached(
            report, name=self.name, patient=None, exam_date=None, identity_source="", reason=reason
        )

    @report.setter
    def report(self, report: GradeReport | None) -> None:
        self._report = report

    @property
    def report_shown(self) -> GradeReport | None:
        """The report as the page may show it: without a patient that must stay hidden."""
        report = self.report
        if report is None or report.patient == self.patient_shown:
            return report
        return replace(report, patient=self.patient_shown)

    def correct(self, laterality: Laterality | None, patient: str | None) -> None:
        """Take over which eye of which patient it shows, in the report too.

        Args:
            laterality: "OD", "OS", or None: not known.
            patient: untrusted text; None: not known.
        """
        patient = " ".join((patient or "").split())[:200] or None
        same = patient == self.facts.patient
        self.facts = replace(
            self.facts,
            laterality=laterality,
            patient=patient,
            patient_from=self.facts.patient_from if same else "hand",
        )
        if self._report is not None and self._report.status != "failed":
            self._report = replace(self._report, laterality=laterality, patient=patient)

    def _cached(self, report: GradeReport, **changes: str | None) -> GradeReport:
        # One object for as long as nothing changes: charts are kept by the identity of a report.
        asked = (report, *changes.values())
        if self._veiled is None or self._veiled[0] != asked:
            self._veiled = asked, replace(report, **changes)  # type: ignore[arg-type]
        return self._veiled[1]


def covered(source: bytes | Path | DicomFrame, name: str) -> Photograph:
    """Read a photograph and black out what lies around the retina: burnt-in names stand there.

    Args:
        source: bytes, path, or frame of a DICOM file.
        name: display name, for the error.

    Returns:
        The photograph; all black where no retina can be told from its surroundings.

    Raises:
        PhotographError: it cannot be read.
    """
    from drcore.photographs.reader import read_photograph
    from drcore.preprocessing.field_of_view import find_field_of_view

    photograph = read_photograph(source, name=name)
    view = find_field_of_view(photograph.rgb)
    rgb = photograph.rgb.copy()
    if view.found:
        rgb[~view.mask(photograph.height, photograph.width)] = 0
    else:
        rgb[:] = 0
    return replace(photograph, rgb=rgb)


def _head(file: bytes | str | Path) -> bytes:
    if isinstance(file, bytes):
        return file[:140]
    try:
        if not Path(file).is_file():  # a pipe would block
            return b""
        with Path(file).open("rb") as opened:
            return opened.read(140)
    except (OSError, ValueError):
        return b""
