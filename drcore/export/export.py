"""Export of many photographs: reports, overlays, tables, DICOM and FHIR in one file."""

from __future__ import annotations

import json
import shutil
import threading
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar, get_args

from drcore.agreement.visits import Visit
from drcore.errors import DrcoreError, PhotographError, SourceError
from drcore.export.about import about_text, general_problems, shortened
from drcore.export.archive import ExportArchive, photograph_stem, safe_stem
from drcore.export.case import Case, by_visit, header_of, is_from_dicom
from drcore.export.cautions import laser_sentence
from drcore.export.deidentification import Disclosure, pseudonym
from drcore.export.final_grade import FINAL_COLUMNS, final_cells
from drcore.export.overlays import OverlayWriter
from drcore.export.result_json import result
from drcore.export.standards.dicom_identity import patient_name, study_of
from drcore.export.standards.fhir import report_bundle
from drcore.files import replacing
from drcore.results.columns import COLUMNS, row_of
from drcore.reviews.tables import (
    decisions_csv,
    decisions_json,
    findings_csv,
    marks_csv,
    marks_json,
)
from drcore.text import csv_text

if TYPE_CHECKING:
    from drcore.export.pdf.report import Page

__all__ = ["KINDS", "RESULT_COLUMNS", "Exported", "Kind", "write_export"]

Kind = Literal["pdf", "overlays", "csv", "json", "dicom", "fhir"]

KINDS: tuple[Kind, ...] = get_args(Kind)

RESULT_COLUMNS = (COLUMNS[0], *FINAL_COLUMNS, *COLUMNS[1:])
"""Columns of results.csv: the photograph, the readers' result, the model's."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Exported:
    """Result of an export.

    Attributes:
        documents: how many were written.
        ending: of the file: ".zip", or that of the only document.
        problems: a sentence for what could not be exported; de-identified where the export is.
        cancelled: whether it was stopped before all was written.
        held_back: SHA-256 of photographs whose pictures were held back, because there may be
            writing on the retina. Let a person look at them, and name those that may go in
            `Privacy.confirmed`.
    """

    documents: int
    ending: str
    problems: tuple[str, ...]
    cancelled: bool = False
    held_back: tuple[str, ...] = ()


@dataclass(slots=True)
class _Run:
    """What the steps of one export share."""

    archive: ExportArchive
    privacy: Disclosure
    made_at: datetime
    page: Page
    problems: list[str] = field(default_factory=list)
    withheld: dict[str, str] = field(default_factory=dict)
    """Why pictures may not leave, by SHA-256."""

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
        privacy: identifiers to include.
        page: size of the reports' paper.
        progress: called after each step with the numbers done and in all.
        stop: set it to end early.

    Returns:
        Number of documents, problems, and whether it was cancelled. A bad photograph does not
        affect the others.

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
            run.problems += general_problems(cases, chosen, run.privacy)
            problems = shortened(run.problems)
            documents = list(archive.names)
            if len(documents) != 1 or problems:
                about = about_text(run.privacy, made_at, documents, problems, cases)
                archive.add("", "about.txt", about)
        ending = _alone(file, documents[0]) if len(documents) == 1 and not problems else ".zip"
    except OSError as error:
        raise SourceError(
            f"The export cannot be written ({error.strerror or error}). Free some space and try "
            "again."
        ) from error
    held_back = tuple(sha256 for sha256, why in run.withheld.items() if why == "writing")
    return Exported(len(documents), ending, tuple(problems), cancelled, held_back)


def _steps(cases: Sequence[Case], kinds: Sequence[Kind], run: _Run) -> list[Step]:
    readable = [case for case in cases if case.report.status != "failed"]
    seen = [
        visit
        for visit in by_visit(cases)
        if any(case.report.status != "failed" for case in visit.members)
    ]
    pictured = [case for case in readable if run.privacy.may_show(case)]
    steps: list[Step] = []
    if run.privacy.deidentified:
        steps += [_step(_look, [case]) for case in pictured if _is_shown(case, kinds)]
    if "pdf" in kinds:
        steps += [_of_visit(_pdf, visit) for visit in seen]
    if "overlays" in kinds and readable:
        writer = OverlayWriter(run.archive, run.privacy, "overlays")
        steps += [_overlay(writer, case) for case in pictured]
        steps.append(lambda run: writer.finish(run.made_at))
    if "csv" in kinds:
        steps.append(_step(_csv, cases))
    if "json" in kinds:
        steps.append(_step(_json, cases))
    if "dicom" in kinds:
        steps += [_step(_dicom, [case]) for case in readable if is_from_dicom(case)]
    if "fhir" in kinds:
        steps += [_of_visit(_fhir, visit) for visit in seen]
    return steps


def _step(work: Callable[[Sequence[Case], _Run], None], cases: Sequence[Case]) -> Step:
    return lambda run: work(cases, run)


def _of_visit(work: Callable[[Visit[Case], _Run], None], visit: Visit[Case]) -> Step:
    return lambda run: work(visit, run)


def _overlay(writer: OverlayWriter, case: Case) -> Step:
    return lambda run: None if case.report.sha256 in run.withheld else writer.add(case)


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
    """Do one step; errors of a photograph are collected, those of the disk end the export."""
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


def _look(cases: Sequence[Case], run: _Run) -> None:
    """Find out whether a picture may leave de-identified; the sentence is reported once."""
    from drcore.export.withheld import PictureWithheldError, check_picture

    if cases[0].report.sha256 in run.withheld:
        return
    try:
        check_picture(run.privacy.apply(cases[0]), run.privacy)
    except PictureWithheldError as error:
        run.withheld[error.sha256] = error.why
        run.problems.append(str(error))
    except PhotographError:
        return  # reported by whatever needs the picture


def _pdf(visit: Visit[Case], run: _Run) -> None:
    from drcore.export.pdf.report import patient_pdf

    name = ""
    if run.privacy.with_names:
        headers = (header_of(case) for case in visit.members)
        name = next((patient_name(header) for header in headers if header is not None), "")
    data = patient_pdf(
        visit.members, made_at=run.made_at, privacy=run.privacy, patient_name=name, page=run.page,
        caution=visit.caution(dates=not run.privacy.deidentified),
    )  # fmt: skip
    run.archive.add("reports", f"{run.name(visit)}-report.pdf", data)


def _csv(cases: Sequence[Case], run: _Run) -> None:
    told = [run.privacy.apply(case) for case in cases]
    rows = [row_of(case.report) | final_cells(case.reading) for case in told]
    run.archive.add("", "results.csv", csv_text(rows, RESULT_COLUMNS))
    decisions = _numbered(c.decisions for c in told)
    run.archive.add("", "decisions.csv", decisions_csv(decisions))
    if any(made.findings for _, made in decisions):
        run.archive.add("", "findings.csv", findings_csv(decisions))
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
    from drcore.export.dicom_documents import overlay_document, report_document

    report = run.privacy.apply(cases[0]).report
    stem = photograph_stem(report.name, report.sha256)
    document = report_document(cases[0], run.privacy, made_at=run.made_at)
    run.archive.add("dicom", f"{stem}-report.dcm", document)
    if run.privacy.may_show(cases[0]) and report.sha256 not in run.withheld:
        overlay = overlay_document(cases[0], run.privacy, made_at=run.made_at)
        run.archive.add("dicom", f"{stem}-overlay.dcm", overlay)


def _fhir(visit: Visit[Case], run: _Run) -> None:
    told = [run.privacy.apply(case) for case in visit.members]
    study = None
    if not run.privacy.deidentified:
        headers = [header_of(case) for case in told]
        studies = {None if header is None else study_of(header) for header in headers}
        study = studies.pop() if len(studies) == 1 else None
    bundle = report_bundle(
        [case.report for case in told], made_at=run.made_at, study_uid=study,
        readings={case.report.sha256: case.reading for case in told},
        caution=visit.caution(dates=not run.privacy.deidentified),
        remarks={case.report.sha256: _laser(case) for case in told},
    )  # fmt: skip
    text = json.dumps(bundle, ensure_ascii=False, allow_nan=False, indent=1) + "\n"
    run.archive.add("fhir", f"{run.name(visit)}-fhir.json", text)


def _laser(case: Case) -> str:
    return laser_sentence(case.report, (mark for _, mark in case.marks))


def _is_shown(case: Case, kinds: Sequence[Kind]) -> bool:
    return bool({"pdf", "overlays"} & set(kinds)) or ("dicom" in kinds and is_from_dicom(case))


def _alone(file: Path, name: str) -> str:
    """Put the only document of an archive in its place; returns its ending."""
    with (
        replacing(file) as part,
        zipfile.ZipFile(file) as archive,
        archive.open(name) as source,
        part.open("wb") as target,
    ):
        shutil.copyfileobj(source, target)
    return Path(name).suffix
