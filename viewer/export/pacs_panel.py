"""Sending to a PACS: what, of which images, with which identity, and what became of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from drcore.errors import DrcoreError
from viewer.export import held_back, panel
from viewer.export.pacs_job import Document, SendJob
from viewer.server import pacs
from viewer.server.jobs import JobRegistry
from viewer.session import reader as signed_in
from viewer.session import reading_mode, state
from viewer.session.current_job import current_job, forget_job, start_job
from viewer.ui import messages
from viewer.worklist.cases import Scope, select_cases

if TYPE_CHECKING:
    import pandas as pd

    from drcore.export.case import Case
    from drcore.export.deidentification import Disclosure
    from viewer.worklist.worklist import Worklist

PARAMETER = "send"
"""Of the page's address, so that a reload finds the transfer again."""

MAX_REASONS = 5
"""Sentences on failures above the table, which has all."""

_DOCUMENTS: dict[Document, tuple[str, str]] = {
    "report": ("Structured report", "Readers\u2019 and model\u2019s result (Comprehensive SR)"),
    "overlay": ("Overlay", "Heat map over the image, with legend and notice (Secondary Capture)"),
}
_IDENTITY = {
    "study": ("As in the study", "Patient ID and name of the image\u2019s DICOM header; the "
              "documents join its study"),
    "deidentified": ("De-identified", "Without patient, dates and notes, in a study of their own"),
}  # fmt: skip
_OUTCOMES = {"sent": "Sent", "already there": "Already there", "failed": "Failed", None: "Not sent"}

# Not in Streamlit's caches: any browser may ask the server to clear those.
_JOBS: JobRegistry[SendJob] = JobRegistry()


def jobs() -> JobRegistry[SendJob]:
    """Return the transfers of this server."""
    return _JOBS


def current() -> SendJob | None:
    """Return the transfer of this session, or of the page's address, if this reader may see it."""
    if not (pacs.configured() and signed_in.permits("pacs")):
        return None
    return current_job(jobs(), PARAMETER)


def choose(worklist: Worklist) -> None:
    """Show what can be sent, and the button that sends it; nothing where no PACS is configured."""
    if not pacs.configured():
        return
    st.divider()
    st.header("Send to a PACS")
    if not signed_in.permits("pacs"):
        st.caption("You may not use the PACS (role pacs of DRCORE_ROLES).")
        return
    try:
        names = list(pacs.servers())
    except DrcoreError as error:
        messages.problem(str(error))
        return
    left, right = st.columns(2, gap="large")
    with left:
        server = st.selectbox("PACS", names, key="send-server", persist_state="session")
        scopes: tuple[Scope, ...] = ("image", "patient", "reviewed", "all")
        scope, count = panel.choose_scope(worklist, "Images to send", scopes, "send-scope")
        documents: list[Document] = [name for name in _DOCUMENTS if _document_box(name)]
    with right:
        privacy = _privacy(worklist)
        st.button(
            "Send", key="send", icon=":material/send:",
            disabled=not documents or not count,
            on_click=_begin, args=(worklist, server, scope, documents, privacy),
        )  # fmt: skip
        if error := st.session_state.pop("send-error", ""):
            messages.problem(error)


def show(job: SendJob) -> None:
    """Show a transfer: its progress while it runs, then what became of each document."""
    st.header(f"Send to {job.server}")
    if job.active:
        st.fragment(_watch, run_every=panel.POLL)(job)
        return
    if job.error:
        messages.problem(job.error)
    missing = job.total - job.done
    by = f" by {job.reader}" if job.reader else ""
    st.text(f"{job.done} of {_count(job.total)} in {job.server}, {job.made_at:%Y-%m-%d %H:%M}{by}.")
    whys = dict.fromkeys(item.why for item in job.items if item.outcome == "failed")
    for why in list(whys)[:MAX_REASONS]:
        messages.problem(why)
    st.dataframe(_table(job), hide_index=True, height=min(420, 38 + 35 * job.total))
    panel.left_out(job.left_out)
    if job.held_back:
        held_back.show(job, on_confirm=_confirmed, again="Send")
    with st.container(horizontal=True):
        if missing:
            st.button(
                f"Send what is missing ({missing})", key="send-again", type="primary",
                icon=":material/send:", on_click=_again, args=(job,),
            )  # fmt: skip
        st.button(
            "Back to Export", key="send-new", icon=":material/arrow_back:", on_click=forget_job,
            args=(jobs(), PARAMETER, job),
        )  # fmt: skip


def _table(job: SendJob) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(
        {
            "Image": [item.name for item in job.items],
            "Document": [_DOCUMENTS[item.document][0] for item in job.items],
            "Outcome": [_OUTCOMES[item.outcome] for item in job.items],
            "Reason": [item.why for item in job.items],
        }
    )


def _count(number: int) -> str:
    return f"{number} document{'' if number == 1 else 's'}"


def _watch(job: SendJob) -> None:
    if not job.active:
        st.rerun()
    tried = sum(item.outcome is not None for item in job.items)
    st.progress(tried / max(job.total, 1), text=f"Sending: {tried} of {_count(job.total)}")
    st.button("Cancel", key="cancel-send", icon=":material/stop:", on_click=job.cancel)
    st.caption("You can keep grading meanwhile. Cancelling keeps what was sent.")


def _document_box(name: Document) -> bool:
    label, help_text = _DOCUMENTS[name]
    return st.checkbox(
        f"**{label}** \u2013 {help_text}", value=True, key=f"send-{name}", persist_state="session"
    )


def _privacy(worklist: Worklist) -> Disclosure:
    from drcore.export.deidentification import Disclosure

    if worklist.deidentified or not signed_in.permits("export_identity"):
        telling = "deidentified"
        why = "" if worklist.deidentified else (
            " You may not send patient identifiers (role export_identity of DRCORE_ROLES)."
        )  # fmt: skip
        st.write(f"**De-identified.** {_IDENTITY['deidentified'][1]}.{why}")
    else:
        telling = st.radio(
            "Patient in the documents", list(_IDENTITY), key="send-telling",
            format_func=lambda name: _IDENTITY[name][0],
            captions=[caption for _, caption in _IDENTITY.values()], persist_state="session",
        )  # fmt: skip
    burned_in = any(entry.facts.burned_in for entry in worklist.everything) and st.checkbox(
        "Include images with burned-in identifiers", key="send-burned-in", persist_state="session"
    )
    return Disclosure(
        deidentified=telling == "deidentified", patient_names=telling == "study",
        burned_in=burned_in, confirmed=st.session_state.get(panel.CONFIRMED, frozenset()),
    )  # fmt: skip


def _begin(
    worklist: Worklist, server: str, scope: Scope, documents: list[Document], privacy: Disclosure
) -> None:
    try:
        _require(privacy)
        cases, left_out = _cases(worklist, scope)
        if not cases:
            st.session_state["send-error"] = " ".join(left_out or ("There is nothing to send.",))
            return
        job = SendJob(
            pacs.connection(server), cases, documents, made_at=panel.now(), privacy=privacy,
            reader=reading_mode.reader(), left_out=left_out,
        )  # fmt: skip
    except DrcoreError as error:
        st.session_state["send-error"] = str(error)
    except OSError:
        st.session_state["send-error"] = "Not enough disk space. Free some and try again."
    else:
        start_job(jobs(), PARAMETER, job)


def _cases(worklist: Worklist, scope: Scope) -> tuple[list[Case], tuple[str, ...]]:
    """Return what can be sent of a scope, and sentences on what cannot."""
    from drcore.export.case import is_from_dicom

    found = select_cases(
        worklist, scope, state.store(), rules=reading_mode.study_rules(),
        only_reader=reading_mode.reader() if reading_mode.hides_record() else None,
        named=reading_mode.reader() if reading_mode.hides_names() else None,
    )  # fmt: skip
    readable = [case for case in found.cases if case.report.status != "failed"]
    cases = [case for case in readable if is_from_dicom(case)]
    left_out = list(found.left_out)
    if unread := len(found.cases) - len(readable):
        left_out.append(f"{unread} omitted: could not be read.")
    if foreign := len(readable) - len(cases):
        left_out.append(
            f"{foreign} omitted: did not come as DICOM, so there is no study that their documents "
            "could join. Fetch them from the PACS."
        )
    return cases, tuple(left_out)


def _again(job: SendJob) -> None:
    """Send what is missing, if the reader still may."""
    try:
        _require(job.privacy)
    except DrcoreError as error:
        job.error = str(error)
        return
    job.start()


def _confirmed(job: SendJob, confirmed: frozenset[str]) -> None:
    known = st.session_state.get(panel.CONFIRMED, frozenset())
    st.session_state[panel.CONFIRMED] = known | confirmed
    job.allow(confirmed)
    _again(job)


def _require(privacy: Disclosure) -> None:
    signed_in.require("pacs")
    if not privacy.deidentified:
        signed_in.require("export_identity")
