"""The parts of the Export page: images, formats, patient identifiers, the download."""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st

from drcore.errors import DrcoreError
from viewer.export import held_back
from viewer.export.job import ExportJob
from viewer.server.jobs import JobRegistry
from viewer.session import reader as signed_in
from viewer.session import reading_mode, state
from viewer.session.current_job import current_job, forget_job, start_job
from viewer.ui import messages
from viewer.worklist.cases import Scope, entries_of, select_cases

if TYPE_CHECKING:
    from drcore.export.deidentification import Disclosure
    from drcore.export.export import Kind
    from drcore.export.pdf.report import Page
    from viewer.worklist.worklist import Worklist

PARAMETER = "export"
"""Of the page's address, so that a reload finds the export again."""

CONFIRMED = "export-confirmed"
"""Key in the session of the photographs that a person has checked for writing."""

POLL = 0.7
"""Seconds between checks of the progress."""

MAX_SENTENCES = 50
"""Sentences on what is not included that the page shows."""

Identifiers = Literal["plain", "names", "deidentified"]

_SCOPES: dict[Scope, str] = {
    "image": "Current image",
    "all": "All images",
    "reviewed": "Graded",
    "patient": "Current patient",
}
_KINDS: dict[Kind, tuple[str, str]] = {
    "pdf": ("Report (PDF)", "One per patient: both eyes, image and heat map, readers\u2019 grades"),
    "overlays": ("Overlays (JPEG)", "One per image, with manifest"),
    "csv": ("Tables (CSV)", "Model results, readers\u2019 grades and marks (spreadsheet)"),
    "json": ("Data (JSON)", "Model results, readers\u2019 grades and marks (machine-readable)"),
    "dicom": ("DICOM", "Structured report and overlay (DICOM images only)"),
    "fhir": ("FHIR R4", "DiagnosticReport and Observations, one file per patient"),
}
_IDENTIFIERS: dict[Identifiers, tuple[str, str]] = {
    "plain": ("No names", "File names and patient IDs are included"),
    "names": ("With names", "Also includes the name from the DICOM header"),
    "deidentified": (
        "De-identified",
        "Images identified by code; patient, file name, study and notes removed; laterality and "
        "readers\u2019 names kept",
    ),
}

# Not in Streamlit's caches: any browser may ask the server to clear those.
_JOBS: JobRegistry[ExportJob] = JobRegistry()


def jobs() -> JobRegistry[ExportJob]:
    """Return the exports of this server."""
    return _JOBS


def current() -> ExportJob | None:
    """Return the export of this session, or of the page's address after a reload."""
    return current_job(jobs(), PARAMETER)


def empty() -> None:
    """Lead to Review if the worklist is empty."""
    st.header("Export")
    st.write("Your worklist is empty. Add images in Review first.")
    st.page_link("review/page.py", label="Go to Review", icon=":material/visibility:")


def choose_scope(
    worklist: Worklist, label: str, scopes: tuple[Scope, ...], key: str, *, labelled: bool = True
) -> tuple[Scope, int]:
    """Show which images can be chosen, with their numbers; return the choice and its number."""
    counts = {scope: len(entries_of(worklist, scope)) for scope in scopes}
    scope = st.segmented_control(
        label, list(scopes), default="all", required=True, key=key,
        format_func=lambda name: f"{_SCOPES[name]} ({counts[name]})",
        label_visibility="visible" if labelled else "collapsed", persist_state="session",
    )  # fmt: skip
    return scope, counts[scope]


def choose(worklist: Worklist) -> None:
    """Show what can be chosen, and the button that creates the export."""
    st.header("Export")
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader("Images")
        scope, count = choose_scope(
            worklist, "Images", ("all", "reviewed", "patient"), "export-scope", labelled=False
        )
        st.subheader("Formats")
        kinds = [kind for kind in _KINDS if _kind_box(kind)]
        page: Page = "A4"
        if "pdf" in kinds:
            page = st.segmented_control(
                "Paper size", ["A4", "Letter"], default="A4", required=True,
                key="export-page", persist_state="session",
            )  # fmt: skip
    with right:
        st.subheader("Patient identifiers")
        privacy = _privacy(worklist)
        st.caption(
            "EXIF and other metadata are never exported. Files are created on the viewer's "
            "computer."
        )
        st.button(
            "Create export", key="make-export", type="primary", icon=":material/ios_share:",
            disabled=not kinds or not count,
            on_click=_begin, args=(worklist, scope, kinds, privacy, page),
        )  # fmt: skip
        if not kinds:
            st.caption("Select at least one format.")
        elif not count:
            st.caption("No images graded yet.")
        error = st.session_state.pop("export-error", "")
        if error:
            messages.problem(error)


def show(job: ExportJob) -> None:
    """Show an export: its progress while it runs, then its download."""
    st.header("Export")
    if not (job.privacy.deidentified or signed_in.permits("export_identity")):
        # Whoever has the address of a page sees the export that another reader made there.
        messages.problem(
            "This export has patient identifiers, which you may not export. Open Export from the "
            "navigation and create a de-identified one."
        )
        st.session_state.pop(PARAMETER, None)
        st.query_params.pop(PARAMETER, None)
        return
    if job.active:
        st.fragment(_watch, run_every=POLL)(job)
        return
    if job.state == "failed":
        messages.problem(job.error)
    elif job.exported is not None:
        _download(job)
    left_out(job.problems)
    if job.held_back:
        held_back.show(job, on_confirm=_again)
    st.button(
        "New export", key="new-export", icon=":material/add:", on_click=forget_job,
        args=(jobs(), PARAMETER, job),
    )  # fmt: skip


def _download(job: ExportJob) -> None:
    exported = job.exported
    if exported is None or not exported.documents:
        st.write("Export failed.")
        return
    count = f"{exported.documents} file{'' if exported.documents == 1 else 's'}"
    result = "Cancelled \u2013 partial export" if exported.cancelled else "Export ready"
    st.write(f"{result}: {count}, {_megabytes(job.size)}.")
    st.download_button(
        "Download", data=job.file.read_bytes, file_name=job.file_name, on_click="ignore",
        icon=":material/download:", key="download-export", type="primary",
    )  # fmt: skip


def left_out(problems: tuple[str, ...]) -> None:
    """List what is not included; names in it are untrusted, so it never becomes Markdown."""
    if not problems:
        return
    st.caption("Not included")
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in problems[:MAX_SENTENCES])
    st.html(f'<ul style="font-size:13px;line-height:1.5;overflow-wrap:anywhere">{items}</ul>')
    if len(problems) > MAX_SENTENCES:
        st.caption(f"And {len(problems) - MAX_SENTENCES} more, listed in about.txt of the export.")


def _watch(job: ExportJob) -> None:
    if not job.active:
        st.rerun()
    text = f"Creating export: {job.done} of {job.total}" if job.total else "Starting\u2026"
    st.progress(job.done / max(job.total, 1), text=text)
    st.button("Cancel", key="cancel-export", icon=":material/stop:", on_click=job.cancel)
    st.caption("You can keep grading meanwhile.")


def _kind_box(kind: Kind) -> bool:
    label, help_text = _KINDS[kind]
    return st.checkbox(
        f"**{label}** \u2013 {help_text}", value=kind == "pdf", key=f"export-{kind}",
        persist_state="session",
    )  # fmt: skip


def _privacy(worklist: Worklist) -> Disclosure:
    from drcore.export.deidentification import Disclosure

    if worklist.deidentified:
        telling: Identifiers = "deidentified"
        st.write("**De-identified**, like the list. " + _IDENTIFIERS["deidentified"][1] + ".")
    elif not signed_in.permits("export_identity"):
        telling = "deidentified"
        st.write("**De-identified.** " + _IDENTIFIERS["deidentified"][1] + ".")
        st.caption("You may not export patient identifiers (role export_identity of DRCORE_ROLES).")
    else:
        telling = st.radio(
            "Patient identifiers", list(_IDENTIFIERS), key="export-telling",
            format_func=lambda name: _IDENTIFIERS[name][0],
            captions=[caption for _, caption in _IDENTIFIERS.values()],
            label_visibility="collapsed", persist_state="session",
        )  # fmt: skip
    notes = burned_in = False
    if telling == "deidentified":
        notes = st.checkbox(
            "Include readers\u2019 notes (may contain patient names)",
            key="export-notes", persist_state="session",
        )  # fmt: skip
    if any(entry.facts.burned_in for entry in worklist.everything):
        burned_in = st.checkbox(
            "Include images with burned-in identifiers",
            key="export-burned-in", persist_state="session",
        )  # fmt: skip
    return Disclosure(
        deidentified=telling == "deidentified", patient_names=telling == "names",
        notes=notes, burned_in=burned_in,
        confirmed=st.session_state.get(CONFIRMED, frozenset()),
    )  # fmt: skip


def _begin(
    worklist: Worklist, scope: Scope, kinds: list[Kind], privacy: Disclosure, page: Page
) -> None:
    only = reading_mode.reader() if reading_mode.hides_record() else None
    try:
        if not privacy.deidentified:
            signed_in.require("export_identity")
        found = select_cases(
            worklist, scope, state.store(), rules=reading_mode.study_rules(), only_reader=only,
            named=reading_mode.reader() if reading_mode.hides_names() else None,
        )  # fmt: skip
        if not found.cases:
            st.session_state["export-error"] = " ".join(
                found.left_out or ("There is nothing to export.",)
            )
            return
        job = ExportJob(
            found.cases, kinds, made_at=now(), privacy=privacy,
            page=page, left_out=found.left_out,
        )  # fmt: skip
    except (DrcoreError, OSError) as error:
        st.session_state["export-error"] = (
            str(error) if isinstance(error, DrcoreError) else "Not enough disk space."
        )
        return
    start_job(jobs(), PARAMETER, job)


def _again(job: ExportJob, confirmed: frozenset[str]) -> None:
    """Create the export once more, with pictures that a person has looked at."""
    known = st.session_state.get(CONFIRMED, frozenset())
    st.session_state[CONFIRMED] = known | confirmed
    new = job.again(confirmed, now())
    forget_job(jobs(), PARAMETER, job)
    start_job(jobs(), PARAMETER, new)


def now() -> datetime:
    """Return the time in the browser's zone, or in the server's if that is unknown."""
    try:
        return datetime.now(ZoneInfo(st.context.timezone or ""))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return datetime.now(UTC).astimezone()


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{max(size // 1000, 1)} kB"
