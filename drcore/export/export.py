"""One export of many photographs: reports, overlays, tables, DICOM and FHIR in one file."""

from __future__ import annotations

import json
import os
import threading
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar, get_args

from drcore import __version__
from drcore.agreement.visits import Visit
from drcore.errors import DrcoreError, SourceError
from drcore.export.archive import ExportArchive, photograph_stem, safe_stem
from drcore.export.case import Case, by_visit
from drcore.export.deidentification import Disclosure, pseudonym
from drcore.export.final_grade import FINAL_COLUMNS, final_cells
from drcore.export.overlays import OverlayWriter
from drcore.export.result_json import result
from drcore.export.standards.dicom_identity import anonymous_header, patient_name, study_of
from drcore.export.standards.fhir import report_bundle
from drcore.icdr import NOTICE
from drcore.photographs.dicom_frames import DicomFrame
from drcore.photographs.dicom_header import Header, holds_dicom, read_header
from drcore.results.columns import COLUMNS, row_of
from drcore.reviews.tables import decisions_csv, decisions_json, marks_csv, marks_json
from drcore.text import csv_text

if TYPE_CHECKING:
    from drcore.export.pdf.report import Page

__all__ = ["KINDS", "RESULT_COLUMNS", "Exported", "Kind", "write_export"]

Kind = Literal["pdf", "overlays", "csv", "json", "dicom", "fhir"]

KINDS: tuple[Kind, ...] = get_args(Kind)

RESULT_COLUMNS = (COLUMNS[0], *FINAL_COLUMNS, *COLUMNS[1:])
"""Columns of results.csv: the photograph, the readers' result, the model's."""

T = TypeVar("T")

_TOLD = 200
"""Problems told one by one; beyond it their number is."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export came to.

    Attributes:
        documents: how many were written.
        ending: of the file: ".zip", or that of the only document.
        problems: a sentence for what could not be exported; de-identified where the export is.
        cancelled: whether it was stopped before all was written.
    """

    documents: int
    ending: str
    problems: tuple[str, ...]
    cancelled: bool = False


@dataclass(slots=True)
class _Run:
    """What the steps of one export share."""

    archive: ExportArchive
    privacy: Disclosure
    made_at: datetime
    page: Page
    problems: list[str] = field(default_factory=list)

    def name(self, visit: Visit[Case]) -> str:
        """The stem of a visit's documents."""
        first = visit.members[0].report
        if self.privacy.deidentified:
            return pseudonym(first.sha256)
        stem = safe_stem(first.patient or first.name)
        return f"{stem}-{visit.exam_date}" if visit.exam_date else stem


Step = Callable[[_Run], None]


def write_export(
    cases: Sequence[Case],
    kinds: Iterable[Kind],
    file: Path,
    *,
    made_at: datetime,
    privacy: Disclosure | None = None,
    page: Page = "A4",
    progress: Callable[[int, int], None] | None = None,
    stop: threading.Event | None = None,
) -> Exported:
    """Write what was chosen of many photographs into one file, document by document.

    A ZIP holds `reports/` (a PDF for each visit of a patient), `overlays/` with a manifest,
    `results`, `decisions` and `marks` as CSV or JSON, `dicom/` (structured report and overlay of
    each photograph that came as DICOM) and `fhir/` (a bundle for each visit). Where only one
    document comes of it, the file is that document.

    Args:
        cases: photographs, with what was said of them.
        kinds: of `KINDS`.
        file: is replaced.
        made_at: date of the export, with a time zone, in which reports give times.
        privacy: what may be told.
        page: size of the reports' paper.
        progress: told after each step how many are done, of how many.
        stop: set it to end early.

    Returns:
        What it came to. One bad photograph never costs the others.

    Raises:
        SourceError: nothing was chosen, or the file cannot be written.
    """
    chosen = [kind for kind in KINDS if kind in set(kinds)]
    if not cases or not chosen:
        raise SourceError(
            "There is nothing to export: choose photographs and what to make of them."
        )
    try:
        with ExportArchive(file, made_at) as archive:
            run = _Run(archive, privacy or Disclosure(), made_at, page)
            cancelled = _do_all(_steps(cases, chosen, run), run, progress, stop)
            run.problems += _general_problems(cases, chosen, run.privacy)
            problems = _shortened(run.problems)
            documents = list(archive.names)
            if len(documents) != 1 or problems:
                archive.add("", "about.txt", _about(run, documents, problems))
        ending = _alone(file, documents[0]) if len(documents) == 1 and not problems else ".zip"
    except OSError as error:
        raise SourceError(
            f"The export cannot be written ({error.strerror or error}). Free some space and try "
            "again."
        ) from error
    return Exported(len(documents), ending, tuple(problems), cancelled)


def _steps(cases: Sequence[Case], kinds: Sequence[Kind], run: _Run) -> list[Step]:
    readable = [case for case in cases if case.report.status != "failed"]
    seen = [
        visit
        for visit in by_visit(cases)
        if any(case.report.status != "failed" for case in visit.members)
    ]
    steps: list[Step] = []
    if "pdf" in kinds:
        steps += [_of_visit(_pdf, visit) for visit in seen]
    if "overlays" in kinds and readable:
        writer = OverlayWriter(run.archive, run.privacy, "overlays")
        pictured = [case for case in readable if _may_be_seen(case, run.privacy)]
        steps += [_overlay(writer, case) for case in pictured]
        steps.append(lambda run: writer.finish(run.made_at))
    if "csv" in kinds:
        steps.append(_step(_csv, cases))
    if "json" in kinds:
        steps.append(_step(_json, cases))
    if "dicom" in kinds:
        steps += [_step(_dicom, [case]) for case in readable if _from_dicom(case)]
    if "fhir" in kinds:
        steps += [_of_visit(_fhir, visit) for visit in seen]
    return steps


def _step(work: Callable[[Sequence[Case], _Run], None], cases: Sequence[Case]) -> Step:
    return lambda run: work(cases, run)


def _of_visit(work: Callable[[Visit[Case], _Run], None], visit: Visit[Case]) -> Step:
    return lambda run: work(visit, run)


def _overlay(writer: OverlayWriter, case: Case) -> Step:
    return lambda run: writer.add(case)  # noqa: ARG005 - every step is given the run


def _do_all(
    steps: Sequence[Step],
    run: _Run,
    progress: Callable[[int, int], None] | None,
    stop: threading.Event | None,
) -> bool:
    """Do the steps in order; returns True where it was stopped before the last."""
    for number, step in enumerate(steps, start=1):
        if stop is not None and stop.is_set():
            return True
        _do(step, run)
        if progress is not None:
            progress(number, len(steps))
    return False


def _do(step: Step, run: _Run) -> None:
    """Do one step; what is wrong with a photograph becomes a sentence, a full disk ends it all."""
    try:
        step(run)
    except SourceError as error:
        if isinstance(error.__cause__, OSError):
            raise
        run.problems.append(str(error))
    except DrcoreError as error:
        run.problems.append(str(error))
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 - one odd photograph may not cost the others
        run.problems.append(f"A document could not be made (unexpected {type(error).__name__}).")


def _pdf(visit: Visit[Case], run: _Run) -> None:
    from drcore.export.pdf.report import patient_pdf

    name = ""
    if run.privacy.with_names:
        headers = (_header(case) for case in visit.members)
        name = next((patient_name(header) for header in headers if header is not None), "")
    data = patient_pdf(
        visit.members, made_at=run.made_at, privacy=run.privacy, patient_name=name, page=run.page,
        caution=visit.caution,
    )  # fmt: skip
    run.archive.add("reports", f"{run.name(visit)}-report.pdf", data)


def _csv(cases: Sequence[Case], run: _Run) -> None:
    told = [run.privacy.apply(case) for case in cases]
    rows = [row_of(case.report) | final_cells(case.reading) for case in told]
    run.archive.add("", "results.csv", csv_text(rows, RESULT_COLUMNS))
    run.archive.add("", "decisions.csv", decisions_csv(_numbered(c.decisions for c in told)))
    run.archive.add("", "marks.csv", marks_csv(_numbered(c.marks for c in told)))


def _json(cases: Sequence[Case], run: _Run) -> None:
    told = [run.privacy.apply(case) for case in cases]
    results = [result(case) for case in told]
    for entry in results:  # each once: they have files of their own
        del entry["decisions"], entry["marks"]
    text = json.dumps(results, ensure_ascii=False, indent=1, default=float) + "\n"
    run.archive.add("", "results.json", text)
    run.archive.add("", "decisions.json", decisions_json(_numbered(c.decisions for c in told)))
    run.archive.add("", "marks.json", marks_json(_numbered(c.marks for c in told)))


def _numbered(groups: Iterable[tuple[tuple[int, T], ...]]) -> list[tuple[int, T]]:
    """Join what several photographs have, in the order of the record, each once."""
    return sorted(
        {number: item for group in groups for number, item in group}.items(), key=lambda i: i[0]
    )


def _dicom(cases: Sequence[Case], run: _Run) -> None:
    from drcore.export.legend import with_legend
    from drcore.export.pictures import illustrate
    from drcore.export.standards.dicom import overlay_capture, structured_report

    case = run.privacy.apply(cases[0])
    header = _header(case)
    if header is None:
        raise SourceError(f"{case.report.name}: the file is no DICOM file any more. Open it again.")
    if run.privacy.deidentified:
        header = anonymous_header(header)
    names = run.privacy.with_names
    stem = photograph_stem(case.report.name, case.report.sha256)
    report = structured_report(
        case.report, header, made_at=run.made_at, patient_name=names, reading=case.reading
    )
    run.archive.add("dicom", f"{stem}-report.dcm", report)
    if _may_be_seen(case, run.privacy):
        picture = with_legend(illustrate(case, run.privacy).overlay, case.report, case.reading)
        overlay = overlay_capture(
            case.report, picture, header, made_at=run.made_at, patient_name=names,
            reading=case.reading,
        )  # fmt: skip
        run.archive.add("dicom", f"{stem}-overlay.dcm", overlay)


def _fhir(visit: Visit[Case], run: _Run) -> None:
    told = [run.privacy.apply(case) for case in visit.members]
    study = None
    if not run.privacy.deidentified:
        headers = [_header(case) for case in told]
        studies = {None if header is None else study_of(header) for header in headers}
        study = studies.pop() if len(studies) == 1 else None
    bundle = report_bundle(
        [case.report for case in told], made_at=run.made_at, study_uid=study,
        readings={case.report.sha256: case.reading for case in told},
    )  # fmt: skip
    text = json.dumps(bundle, ensure_ascii=False, allow_nan=False, indent=1) + "\n"
    run.archive.add("fhir", f"{run.name(visit)}-fhir.json", text)


def _from_dicom(case: Case) -> bool:
    source = case.source.file if isinstance(case.source, DicomFrame) else case.source
    return isinstance(source, str | Path | bytes) and holds_dicom(source)


def _header(case: Case) -> Header | None:
    source = case.source.file if isinstance(case.source, DicomFrame) else case.source
    if not isinstance(source, str | Path | bytes) or not holds_dicom(source):
        return None
    return read_header(source, name=case.report.name)


def _may_be_seen(case: Case, privacy: Disclosure) -> bool:
    return privacy.burned_in or not case.report.burned_in


def _general_problems(
    cases: Sequence[Case], kinds: Sequence[Kind], privacy: Disclosure
) -> list[str]:
    """What is known of all photographs beforehand, each reason once."""
    problems = []
    failed = [case.report for case in cases if case.report.status == "failed"]
    if privacy.deidentified and failed:
        problems.append(f"{_count(len(failed))} could not be read.")
    elif failed:
        problems += [
            report.reason
            if report.reason.startswith(report.name)
            else f"{report.name}: {report.reason}"
            for report in failed
        ]
    readable = [case for case in cases if case.report.status != "failed"]
    hidden = [case for case in readable if not _may_be_seen(case, privacy)]
    if hidden and {"pdf", "overlays", "dicom"} & set(kinds):
        problems.append(
            f"The pictures of {_count(len(hidden))} were left out: the DICOM header says that the "
            "patient's identity is burnt into them."
        )
    other = sum(not _from_dicom(case) for case in readable) if "dicom" in kinds else 0
    if other:
        problems.append(
            f"{_count(other)} did not come as DICOM and cannot leave as DICOM: a DICOM report has "
            "to name the study."
        )
    return problems


def _count(number: int) -> str:
    return f"{number} photograph{'' if number == 1 else 's'}"


def _shortened(problems: list[str]) -> list[str]:
    more = len(problems) - _TOLD
    return problems if more <= 0 else [*problems[:_TOLD], f"And {more} problems more."]


def _about(run: _Run, documents: Sequence[str], problems: Sequence[str]) -> str:
    lines = [
        f"Made by drcore {__version__} on {run.made_at.isoformat(timespec='seconds')}.",
        _identity_words(run.privacy),
        "Columns of results.csv that begin with final_ are the readers' result; the others are the "
        "model's.",
        NOTICE,
        "",
        f"{len(documents)} documents.",
        *(["", "Not exported:", *(f"- {problem}" for problem in problems)] if problems else []),
    ]
    return "\n".join(lines) + "\n"


def _identity_words(privacy: Disclosure) -> str:
    """What this export tells of patients and readers."""
    notes = "readers' notes" if privacy.with_notes else "no notes"
    if privacy.deidentified:
        return (
            "De-identified: photographs go by a code, without file name, patient, study and "
            f"examination date. It holds laterality, readers' names and {notes}."
        )
    names = "patients' names from DICOM headers, " if privacy.patient_names else ""
    return f"It identifies patients: file names, patient numbers, {names}readers' names and notes."


def _alone(file: Path, name: str) -> str:
    """Put the only document of an archive in its place; returns its ending."""
    part = file.with_name(f".{file.name}.part")
    with zipfile.ZipFile(file) as archive, archive.open(name) as source, part.open("wb") as target:
        while block := source.read(1 << 20):
            target.write(block)
    os.replace(part, file)  # noqa: PTH105 - over a file that exists, on Windows too
    return Path(name).suffix
