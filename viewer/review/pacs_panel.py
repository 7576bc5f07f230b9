"""Images from a PACS: searching for studies, and fetching them into the list."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import streamlit as st

from drcore.errors import DrcoreError
from viewer.review.pacs_job import FetchJob
from viewer.server import pacs
from viewer.server.jobs import JobRegistry
from viewer.session import reader as signed_in
from viewer.session import state
from viewer.session.current_job import current_job, forget_job, start_job
from viewer.ui import messages
from viewer.worklist.importing import import_files

if TYPE_CHECKING:
    import pandas as pd

    from drcore.pacs.connection import FoundStudy
    from viewer.worklist.worklist import Worklist

PARAMETER = "fetch"
"""Of the page's address, so that a reload finds the fetch again."""

POLL = 0.7
"""Seconds between checks of the progress."""

MAX_FOUND = 200
"""Studies that a search shows."""

MAX_FETCHED = 20
"""Studies that are fetched at once."""

_OPEN, _FOUND, _ERROR = "pacs-open", "pacs-found", "pacs-error"
_EARLIEST = date(1960, 1, 1)

# Not in Streamlit's caches: any browser may ask the server to clear those.
_JOBS: JobRegistry[FetchJob] = JobRegistry()


def jobs() -> JobRegistry[FetchJob]:
    """Return what this server fetches."""
    return _JOBS


def offer() -> None:
    """Show the button that opens the panel; nothing where this reader may not use a PACS."""
    if pacs.configured() and signed_in.permits("pacs"):
        st.button("From a PACS", key="open-pacs", icon=":material/dns:", on_click=_open)


def is_open() -> bool:
    """Whether the page shows the panel instead of the list."""
    if not (pacs.configured() and signed_in.permits("pacs")):
        return False
    return bool(st.session_state.get(_OPEN)) or current_job(jobs(), PARAMETER) is not None


def show(worklist: Worklist) -> None:
    """Show the search and what it found, or the fetch that is running."""
    st.header("Images from a PACS")
    job = current_job(jobs(), PARAMETER)
    if job is not None and job.active:
        st.fragment(_watch, run_every=POLL)(job)
        return
    if job is not None:
        _take(worklist, job)
    back = "Back to the list" if worklist.total else "Back"
    st.button(back, key="close-pacs", icon=":material/arrow_back:", on_click=_close)
    try:
        names = list(pacs.servers())
    except DrcoreError as error:
        messages.problem(str(error))
        return
    _search(names)
    if error := st.session_state.get(_ERROR):
        messages.problem(error)
    elif _FOUND in st.session_state:
        _studies(*st.session_state[_FOUND])


def _search(names: list[str]) -> None:
    with st.form("pacs-search", width=760):
        server = st.selectbox("PACS", names, key="pacs-server", persist_state="session")
        left, right = st.columns(2)
        with left:
            patient = st.text_input(
                "Patient ID", key="pacs-patient", max_chars=64, persist_state="session"
            )
            first = st.date_input(
                "Examined from",
                None,
                min_value=_EARLIEST,
                key="pacs-first",
                format="YYYY-MM-DD",
                persist_state="session",
            )
        with right:
            accession = st.text_input(
                "Accession number", key="pacs-accession", max_chars=64, persist_state="session"
            )
            last = st.date_input(
                "Examined until",
                None,
                min_value=_EARLIEST,
                key="pacs-last",
                format="YYYY-MM-DD",
                persist_state="session",
            )
        st.caption("Wildcards: \\* for any characters, ? for one. Leave blank to match everything.")
        if st.form_submit_button("Search", key="pacs-find", type="primary"):
            with st.spinner("Searching\u2026"):
                _find(server, patient.strip(), accession.strip(), first, last)


def _find(server: str, patient: str, accession: str, first: date | None, last: date | None) -> None:
    from drcore.pacs.connection import Query

    st.session_state.pop(_FOUND, None)
    st.session_state.pop(_ERROR, None)
    if not (patient.strip("*? ") or accession.strip("*? ") or first or last):
        st.session_state[_ERROR] = "Enter a patient ID, an accession number or a date."
        return
    query = Query(
        patient_id=patient, accession=accession, first_date=f"{first:%Y%m%d}" if first else "",
        last_date=f"{last:%Y%m%d}" if last else "",
    )  # fmt: skip
    try:
        signed_in.require("pacs")
        found = pacs.connection(server).find(query, MAX_FOUND + 1)
    except DrcoreError as error:
        st.session_state[_ERROR] = str(error)
        return
    found.sort(key=lambda study: (study.date, study.time), reverse=True)
    st.session_state[_FOUND] = (server, found)


def _studies(server: str, found: list[FoundStudy]) -> None:
    if not found:
        st.write("No study matches.")
        return
    shown = found[:MAX_FOUND]
    event = st.dataframe(
        _table(shown), hide_index=True, on_select="rerun", selection_mode="multi-row",
        height=min(420, 38 + 35 * len(shown)), key="pacs-studies",
    )  # fmt: skip
    if len(found) > len(shown):
        st.caption(f"More than {MAX_FOUND} match; narrow the search to see the others.")
    if len(shown) > 1:
        st.caption("Tick the studies to fetch, or fetch all.")
    picked = [shown[row] for row in event["selection"]["rows"] if row < len(shown)]
    chosen = picked or shown
    label = f"Fetch {'' if picked else 'all '}{len(chosen)} studies"
    st.button(
        "Fetch 1 study" if len(chosen) == 1 else label, key="pacs-fetch", type="primary",
        icon=":material/download:", disabled=len(chosen) > MAX_FETCHED, on_click=_fetch,
        args=(server, chosen),
    )  # fmt: skip
    if len(chosen) > MAX_FETCHED:
        st.caption(f"At most {MAX_FETCHED} studies are fetched at once. Tick some.")


def _table(studies: list[FoundStudy]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(
        {
            "Patient ID": [study.patient_id for study in studies],
            "Date": [_day(study.date) for study in studies],
            "Accession number": [study.accession for study in studies],
            "Modalities": [", ".join(study.modalities) for study in studies],
            "Objects": [study.instances for study in studies],
            "Description": [study.description for study in studies],
        }
    )


def _day(text: str) -> str:
    return f"{text[:4]}-{text[4:6]}-{text[6:]}" if len(text) == 8 and text.isdecimal() else text


def _fetch(server: str, studies: list[FoundStudy]) -> None:
    st.session_state.pop(_ERROR, None)
    try:
        signed_in.require("pacs")
        job = FetchJob(pacs.connection(server), studies)
    except DrcoreError as error:
        st.session_state[_ERROR] = str(error)
    except OSError:
        st.session_state[_ERROR] = "Not enough disk space on this server. Free some and try again."
    else:
        start_job(jobs(), PARAMETER, job)


def _watch(job: FetchJob) -> None:
    if not job.active:
        st.rerun()
    images = "1 image" if job.images == 1 else f"{job.images} images"
    study = f"study {min(job.done + 1, job.total)} of {job.total}"
    st.progress(job.done / max(job.total, 1), text=f"Fetching {study}: {images}")
    st.button("Cancel", key="cancel-fetch", icon=":material/stop:", on_click=job.cancel)
    st.caption("Cancelling keeps what has come, and ends after the current study.")


def _take(worklist: Worklist, job: FetchJob) -> None:
    """Add what has come to the list; back to it, unless nothing is new."""
    session, before = state.session(), worklist.total
    sentences = [*filter(None, [job.error]), *job.problems]
    try:
        # Their bytes, not their places: an image that was fetched before is known.
        result = import_files(worklist, ((name, file.read_bytes()) for name, file in job.files))
    except DrcoreError as error:  # a setting of the server is not valid
        sentences.append(str(error))
        result = None
    except OSError:
        sentences.append("The images that came are gone from this server's disk. Fetch again.")
        result = None
    forget_job(jobs(), PARAMETER, job)
    if result is not None:
        sentences += result.sentences
    if result is None or result.first is None:
        st.session_state[_ERROR] = " ".join(sentences) or "No image has come."
        return
    worklist.select(result.first.key)
    added = worklist.total - before
    come = f"{added} image{'' if added == 1 else 's'} fetched from {job.server}."
    session.notices = [come, *sentences]
    session.uploads += 1
    _close()
    st.rerun()


def _open() -> None:
    st.session_state[_OPEN] = True


def _close() -> None:
    for key in (_OPEN, _FOUND, _ERROR):
        st.session_state.pop(key, None)
