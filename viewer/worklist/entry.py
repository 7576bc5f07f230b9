"""One photograph of a worklist: source, eye and patient, report, decision, what may be shown."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drcore.agreement.adjudication import ReadingStatus
    from drcore.eye import Laterality
    from drcore.grading.report import GradeReport
    from drcore.photographs.dicom_frames import DicomFrame
    from drcore.photographs.identity import Identity
    from drcore.photographs.photograph import Photograph
    from drcore.reviews.decision import Decision
    from viewer.worklist.renditions import Renditions


def _unknown() -> Identity:
    from drcore.photographs.identity import Identity

    return Identity()


@dataclass(frozen=True, slots=True)
class PhotographFacts:
    """What is known of a photograph before it is graded.

    Attributes:
        identity: eye, patient (untrusted text) and date of the examination, each with where it was
            read: DICOM header, name pattern, folder, name, or a reader's hand.
        burned_in: whether the DICOM header says that identity is burned into the pixels.
        sha256: of the photograph, hex; empty until it is known.
    """

    identity: Identity = field(default_factory=_unknown)
    burned_in: bool = False
    sha256: str = ""


def facts_of(
    name: str, source: bytes | Path | DicomFrame, identity: Identity | None = None
) -> PhotographFacts:
    """Find whose eye a photograph shows, from DICOM header or untrusted name, without decoding it.

    `identity` is what path and pattern say, the name alone if omitted. Nothing is known of a file
    that cannot be read; its report will give the reason.
    """
    from drcore.photographs.dicom_frames import DicomFrame, file_name
    from drcore.photographs.formats import is_dicom
    from drcore.photographs.identity import read_name

    number = source.number if isinstance(source, DicomFrame) else 0
    file = source.file if isinstance(source, DicomFrame) else source
    known = identity or read_name(file_name(name) if number else name)
    if not is_dicom(_head(file)):
        return PhotographFacts(known)
    from drcore.errors import PhotographError
    from drcore.photographs.dicom_header import read_header

    try:
        header = read_header(file, name=name)
    except PhotographError:
        return PhotographFacts(known)
    return PhotographFacts(
        header.identity.over(known), header.burned_in is True,
        header.sha256[max(number - 1, 0)] if number <= header.frames else "",
    )  # fmt: skip


def _completed(known: Identity, report: GradeReport, path: Identity | None) -> Identity:
    """What is known before grading, completed by the report; a reader's hand is never overruled.

    `path` is what path and pattern say, where the photograph has just been added.
    """
    from drcore.photographs.identity import Identity

    read = Identity.read_back(
        report.laterality, report.patient, report.exam_date, report.identity_source
    )
    if path is None and known.is_name_unsure:  # the name is not to be read again
        path = known
    read = read if path is None else read.from_header.over(path)
    result = known.over(read)
    if known.laterality_from == "hand":
        result = replace(result, laterality=known.laterality, laterality_from="hand")
    if known.patient_from == "hand":
        result = replace(result, patient=known.patient, patient_from="hand")
    if known.date_from == "hand":
        result = replace(result, exam_date=known.exam_date, date_from="hand")
    return result


def _identified(report: GradeReport, known: Identity) -> GradeReport:
    return replace(
        report, laterality=known.laterality, patient=known.patient, exam_date=known.exam_date,
        identity_source=known.source,
    )  # fmt: skip


class Entry:
    """One photograph of a list.

    Args:
        key: identifies it within the list; ours, safe in widget keys and CSS.
        file_name: name as it came; untrusted text.
        source: where it is read from: the bytes, a path, or a frame of a DICOM file.
        origin: what the list says about its origin, such as "synthetic image"; ours.
        facts: known before it is graded.

    Attributes:
        thumbnail: JPEG as data URI; empty until it was made.
        decision: the latest of any reader on the same file.
        reading: where reading stands, with the final grade; None if unread or hidden.
        deidentified: shown and recorded under a code, without its patient.
        show_identity: the patient of the DICOM header may be shown.
        identity: what path and pattern say of a photograph that has just been added.
        place: path below the folder or archive that was added; untrusted text, empty if unknown.
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
        self.reading: ReadingStatus | None = None
        self.deidentified = False
        self.show_identity = False
        self.identity: Identity | None = None
        self.place = ""
        self.lock = threading.Lock()
        self._report: GradeReport | None = None
        self._deidentified_report: tuple[object, GradeReport] | None = None

    @property
    def name(self) -> str:
        """Display name; untrusted text. The start of its hash if the list is de-identified."""
        if not self.deidentified:
            return self.file_name
        sha256 = self.sha256
        return sha256[:8] if sha256 else f"image {self.key[1:]}"

    @property
    def sha256(self) -> str:
        """SHA-256 of the photograph; empty until it is known."""
        return (self._report.sha256 if self._report else "") or self.facts.sha256

    @property
    def image_id(self) -> str:
        """The photograph's SHA-256 once it is graded, before that the key."""
        return (self._report.sha256 if self._report else "") or self.key

    @property
    def laterality(self) -> Laterality | None:
        """Which eye, from a correction by hand, the header or the name."""
        return self.facts.identity.laterality

    @property
    def patient(self) -> str | None:
        """Patient ID, to pair photographs by; untrusted text, see `patient_shown`."""
        return self.facts.identity.patient

    @property
    def exam_date(self) -> str | None:
        """Date of the examination, `YYYY-MM-DD`, to keep visits apart; None if unknown."""
        return self.facts.identity.exam_date

    @property
    def patient_shown(self) -> str | None:
        """The patient as the page may show it; None if unknown or hidden."""
        hidden = self.facts.identity.patient_from == "dicom" and not self.show_identity
        return None if hidden or self.deidentified else self.patient

    @property
    def report(self) -> GradeReport | None:
        """The model's report, for the record and exports; without identity if de-identified."""
        report = self._report
        if report is None or not self.deidentified:
            return report
        reason = report.reason.replace(report.name, self.name)
        return self._cached(
            report, name=self.name, patient=None, exam_date=None, identity_source="", reason=reason
        )

    @report.setter
    def report(self, report: GradeReport | None) -> None:
        if report is not None and report.status != "failed":
            known = _completed(self.facts.identity, report, self.identity)
            self.facts = replace(self.facts, identity=known)
            report = _identified(report, known)
        self._report = report

    @property
    def report_shown(self) -> GradeReport | None:
        """The report as the page may show it: without a patient that is hidden."""
        report = self.report
        if report is None or report.patient == self.patient_shown:
            return report
        return replace(report, patient=self.patient_shown)

    def correct(
        self, laterality: Laterality | None, patient: str | None, exam_date: str | None
    ) -> None:
        """Set eye, patient (untrusted text) and date by hand, in the report too."""
        known = self.facts.identity
        patient = " ".join((patient or "").split())[:200] or None
        if laterality != known.laterality:
            known = replace(known, laterality=laterality, laterality_from="hand")
        if patient != known.patient:
            known = replace(known, patient=patient, patient_from="hand")
        if exam_date != known.exam_date:
            known = replace(known, exam_date=exam_date, date_from="hand")
        self.facts = replace(self.facts, identity=known)
        if self._report is not None and self._report.status != "failed":
            self._report = _identified(self._report, known)

    def source_shown(self) -> bytes | Path | DicomFrame | Photograph:
        """Return what the page may show: without burned-in identity, unless that was asked for."""
        if self.facts.burned_in and not self.show_identity:
            return black_out_surroundings(self.source, self.file_name)
        return self.source

    def renditions(self) -> Renditions:
        """Make the renditions of `source_shown`."""
        from viewer.worklist.renditions import renditions_of

        return renditions_of(self.source_shown(), name=self.file_name)

    def _cached(self, report: GradeReport, **changes: str | None) -> GradeReport:
        # One object for as long as nothing changes: charts are kept by the identity of a report.
        asked = (report, *changes.values())
        if self._deidentified_report is None or self._deidentified_report[0] != asked:
            self._deidentified_report = asked, replace(report, **changes)  # type: ignore[arg-type]
        return self._deidentified_report[1]


def black_out_surroundings(source: bytes | Path | DicomFrame, name: str) -> Photograph:
    """Read a photograph and black out what lies around the retina: burned-in names stand there.

    It is all black if no field of view is found. Raises `PhotographError` if it cannot be read.
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
