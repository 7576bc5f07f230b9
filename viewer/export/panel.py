"""The Export page's parts: which photographs, what of them, what may be told, and the download."""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING, Literal

import streamlit as st

from drcore.errors import DrcoreError
from viewer.export import held_back
from viewer.export.job import ExportJob
from viewer.server.jobs import Jobs
from viewer.session import reading_mode, state
from viewer.ui import messages
from viewer.worklist.cases import SCOPES, Scope, chosen, entries_of

if TYPE_CHECKING:
    from drcore.export.deidentification import Disclosure
    from drcore.export.export import Kind
    from drcore.export.pdf.report import Page
    from viewer.worklist.worklist import Worklist

__all__ = ["choose", "current", "empty", "jobs", "show"]

PARAMETER = "export"
"""Of the page's address, so that a reload finds a long export again."""

CONFIRMED = "export-confirmed"
"""Photographs of this session that a person has looked at, for the exports to come."""

POLL = 0.7
"""Seconds between looks at the export."""

MOST_TOLD = 50
"""Sentences on what is not in the export that the page shows."""

Telling = Literal["plain", "names", "deidentified"]

_SCOPES: dict[Scope, str] = {
    "all": "All photographs",
    "reviewed": "Reviewed",
    "patient": "This patient",
}
_KINDS: dict[Kind, tuple[str, str]] = {
    "pdf": ("Report (PDF)", "One a patient: both eyes, photograph beside overlay, decisions"),
    "overlays": ("Overlays (JPEG)", "One a photograph, with a manifest"),
    "csv": ("Tables (CSV)", "Results, decisions and marks, for a spreadsheet"),
    "json": ("Data (JSON)", "Results, decisions and marks, for programs"),
    "dicom": ("DICOM", "Structured report and overlay, for photographs that came as DICOM"),
    "fhir": ("FHIR R4", "Diagnostic report and observations, one file a patient"),
}
_TELLINGS: dict[Telling, tuple[str, str]] = {
    "plain": ("Without patients\u2019 names", "File names and patient numbers go along"),
    "names": ("With patients\u2019 names", "The name in the DICOM header goes along too"),
    "deidentified": (
        "De-identified",
        "Photographs go by their hash; patient, file name and study are left out, the eye stays",
    ),
}

# Not in Streamlit's caches: any browser may ask the server to clear those.
_JOBS = Jobs()


def jobs() -> Jobs:
    """Return the exports of this server."""
    return _JOBS


def current() -> ExportJob | None:
    """Return the export of this session, or of the page's address after a reload."""
    job = jobs().get(st.session_state.get("export") or st.query_params.get(PARAMETER))
    if job is None:
        st.session_state.pop("export", None)
        st.query_params.pop(PARAMETER, None)
        return None
    st.session_state["export"] = job.token
    st.query_params[PARAMETER] = job.token
    return job


def empty() -> None:
    """Say where photographs come from, where there are none."""
    st.header("Export")
    st.write("There are no photographs in the list. Open some on the Review page first.")
    st.page_link("review/page.py", label="Go to Review", icon=":material/visibility:")


def choose(worklist: Worklist) -> None:
    """Show what can be chosen, and begin.

    Args:
        worklist: of this session, not empty.
    """
    st.header("Export")
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader("Photographs")
        counts = {scope: len(entries_of(worklist, scope)) for scope in SCOPES}
        scope = st.segmented_control(
            "Photographs", SCOPES, default="all", required=True, key="export-scope",
            format_func=lambda name: f"{_SCOPES[name]} ({counts[name]})",
            label_visibility="collapsed", persist_state="session",
        )  # fmt: skip
        st.subheader("What to make")
        kinds = [kind for kind in _KINDS if _kind_box(kind)]
        page: Page = "A4"
        if "pdf" in kinds:
            page = st.segmented_control(
                "Paper of the report", ["A4", "Letter"], default="A4", required=True,
                key="export-page", persist_state="session",
            )  # fmt: skip
    with right:
        st.subheader("What may be told")
        privacy = _privacy(worklist)
        st.caption(
            "EXIF and other hidden data of a photograph never leave: pictures are made anew from "
            "their pixels. Everything is made on the computer that runs this viewer."
        )
        st.button(
            "Make the export", key="make-export", type="primary", icon=":material/ios_share:",
            disabled=not kinds or not counts[scope],
            on_click=_begin, args=(worklist, scope, kinds, privacy, page),
        )  # fmt: skip
        if not kinds:
            st.caption("Choose what to make.")
        elif not counts[scope]:
            st.caption("No photograph has been reviewed yet.")
        error = st.session_state.pop("export-error", "")
        if error:
            messages.problem(error)


def show(job: ExportJob) -> None:
    """Show an export: its progress while it lasts, then its download.

    Args:
        job: of this session.
    """
    st.header("Export")
    if job.active:
        st.fragment(_watch, run_every=POLL)(job)
        return
    if job.state == "failed":
        messages.problem(job.error)
    elif job.exported is not None:
        _download(job)
    _left_out(job.problems)
    if job.held_back:
        held_back.show(job, on_confirm=_again)
    st.button("New export", key="new-export", icon=":material/add:", on_click=_forget, args=(job,))


def _download(job: ExportJob) -> None:
    exported = job.exported
    if exported is None or not exported.documents:
        st.write("Nothing could be exported.")
        return
    count = f"{exported.documents} document{'' if exported.documents == 1 else 's'}"
    began = "Cancelled: the file holds what was made before" if exported.cancelled else "Ready"
    st.write(f"{began}. {count}, {_megabytes(job.size)}.")
    st.download_button(
        "Download",
        data=job.file.read_bytes,
        file_name=job.file_name,
        on_click="ignore",
        icon=":material/download:",
        key="download-export",
        type="primary",
    )


def _left_out(problems: tuple[str, ...]) -> None:
    """List what is not in the export; names in it are untrusted, so it never becomes Markdown."""
    if not problems:
        return
    st.caption("Not in the export")
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in problems[:MOST_TOLD])
    st.html(f'<ul style="font-size:13px;line-height:1.5;overflow-wrap:anywhere">{items}</ul>')
    if len(problems) > MOST_TOLD:
        st.caption(f"And {len(problems) - MOST_TOLD} more; about.txt in the export has them.")


def _watch(job: ExportJob) -> None:
    if not job.active:
        st.rerun()
    text = f"{job.done} of {job.total} steps" if job.total else "Starting\u2026"
    st.progress(job.done / max(job.total, 1), text=text)
    st.button("Cancel", key="cancel-export", icon=":material/stop:", on_click=job.cancel)
    st.caption("You can go on reading on the Review page meanwhile.")


def _kind_box(kind: Kind) -> bool:
    label, help_text = _KINDS[kind]
    return st.checkbox(
        f"**{label}** \u2013 {help_text}", value=kind == "pdf", key=f"export-{kind}",
        persist_state="session",
    )  # fmt: skip


def _privacy(worklist: Worklist) -> Disclosure:
    from drcore.export.deidentification import Disclosure

    if worklist.deidentified:
        telling: Telling = "deidentified"
        st.write("**De-identified**, as the list is. " + _TELLINGS["deidentified"][1] + ".")
    else:
        telling = st.radio(
            "What may be told", list(_TELLINGS), key="export-telling",
            format_func=lambda name: _TELLINGS[name][0],
            captions=[caption for _, caption in _TELLINGS.values()],
            label_visibility="collapsed", persist_state="session",
        )  # fmt: skip
    notes = burned_in = False
    if telling == "deidentified":
        notes = st.checkbox(
            "Include readers\u2019 notes. They may name the patient.",
            key="export-notes", persist_state="session",
        )  # fmt: skip
    if any(entry.facts.burned_in for entry in worklist.everything):
        burned_in = st.checkbox(
            "Include pictures that have the patient\u2019s identity burnt in",
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
        found = chosen(worklist, scope, state.store(), only_reader=only)
        if not found.cases:
            st.session_state["export-error"] = " ".join(
                found.left_out or ("There is nothing to export.",)
            )
            return
        job = ExportJob(
            found.cases, kinds, made_at=datetime.now(UTC).astimezone(), privacy=privacy,
            page=page, left_out=found.left_out,
        )  # fmt: skip
    except (DrcoreError, OSError) as error:
        st.session_state["export-error"] = (
            str(error) if isinstance(error, DrcoreError) else "There is no room for the export."
        )
        return
    jobs().add(job)
    job.start()
    st.session_state["export"] = job.token


def _again(job: ExportJob, confirmed: frozenset[str]) -> None:
    """Make the export once more, with pictures that a person has looked at."""
    kept = st.session_state.get(CONFIRMED, frozenset())
    st.session_state[CONFIRMED] = kept | confirmed
    new = job.again(confirmed, datetime.now(UTC).astimezone())
    jobs().forget(job.token)
    jobs().add(new)
    new.start()
    st.session_state["export"] = new.token


def _forget(job: ExportJob) -> None:
    jobs().forget(job.token)
    st.session_state.pop("export", None)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{max(size // 1000, 1)} kB"
