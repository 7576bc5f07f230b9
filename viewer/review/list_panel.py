"""Above the list: how far one is, sorting and filtering, eye and patient, privacy, clearing."""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from drcore.errors import DrcoreError
from viewer.review.list_rows import patient_words
from viewer.session import current_list
from viewer.session import state as session_state
from viewer.ui import messages
from viewer.worklist.ordering import KINDS, MACHINE_ORDERS, ORDERS, ViewOptions

if TYPE_CHECKING:
    from viewer.worklist.worklist import Entry, Worklist

__all__ = ["counts", "front", "notices"]

_STYLE = f"<style>{Path(__file__).with_name('list_panel.css').read_text(encoding='utf-8')}</style>"

_REVIEWED = {"All": None, "Not reviewed": False, "Reviewed": True}
_EYES = {"OD": "Right (OD)", "OS": "Left (OS)", "": "Not known"}


def counts(worklist: Worklist) -> str:
    """Return the line above the list, as HTML: place in the list, and how far one is.

    Args:
        worklist: not empty.
    """
    shown, total = len(worklist), worklist.total
    decided, unreadable = worklist.decided, worklist.unreadable
    among = "" if shown == total else f" shown, {total} in all"
    waiting = f" \u00b7 {worklist.pending} to grade" if worklist.pending else ""
    failed = f" \u00b7 {unreadable} could not be read" if unreadable else ""
    share = 100 * decided / max(total - unreadable, 1)
    told = f"{decided} of {total} reviewed{waiting}{failed}"
    if worklist.finished:
        told = f"\u2713 All {decided} reviewed{failed}"
    return (
        f'{_STYLE}<p class="counts"><b>{worklist.position + 1} of {shown}{among}</b></p>'
        f'<div class="reviewed"><i style="width:{share:.1f}%"></i></div>'
        f'<p class="reviewed">{told}</p>'
    )


def notices() -> None:
    """Show what became of files that arrived, and of a list that is lost, until it was read."""
    sentences = [*filter(None, [current_list.lost()]), *st.session_state.get("arrivals", [])]
    if not sentences:
        return
    with st.container(key="notices", gap="xxsmall"):
        body = "".join(f"<p>{escape(sentence)}</p>" for sentence in sentences)
        st.html(f'{_STYLE}<div class="arrivals" role="status">{body}</div>')
        st.button("OK", key="notices-read", on_click=_notices_read, type="tertiary")


def front(worklist: Worklist) -> None:
    """Show what sorts, filters and clears the list.

    Args:
        worklist: not empty.
    """
    notices()
    if worklist.trouble:
        messages.problem(worklist.trouble)
    entry = worklist.selected
    with st.container(horizontal=True, gap="xxsmall", key="list-front"):
        sort = st.popover("Sort", key="sort-popover", icon=":material/sort:", width="stretch")
        eye = st.popover("Eye", key="eye-popover", width="stretch")
        whole = st.popover("List", key="list-popover", width="stretch")
    with sort.container(width=290):
        _sorting(worklist)
    with eye.container(width=290):
        if entry is not None:
            _belonging(worklist, entry)
    with whole.container(width=290):
        _privacy(worklist)
        _clearing(worklist)


def _sorting(worklist: Worklist) -> None:
    now, blind = worklist.arrangement, bool(worklist.hidden)
    orders = [order for order in ORDERS if not blind or order not in MACHINE_ORDERS]
    kinds = ["failed"] if blind else list(KINDS)
    state = st.session_state
    state["list-order"] = now.order if now.order in orders else "arrival"
    state["list-kinds"] = [kind for kind in kinds if kind in now.kinds]
    state["list-reviewed"] = next(k for k, value in _REVIEWED.items() if value is now.reviewed)
    state["list-text"] = now.text
    state["list-by-patient"] = now.by_patient
    change = {"on_change": _arrange, "args": (worklist,)}
    st.text_input("Find", key="list-text", placeholder="Name or patient", max_chars=100, **change)
    st.selectbox("Order", orders, key="list-order", format_func=ORDERS.__getitem__, **change)
    st.toggle("Patients together", key="list-by-patient", **change)
    st.segmented_control("Show", list(_REVIEWED), key="list-reviewed", required=True, **change)
    st.pills(
        "Only", kinds, selection_mode="multi", key="list-kinds",
        format_func=lambda kind: f"Grade {kind}" if kind.isdigit() else kind.capitalize(),
        label_visibility="collapsed", **change,
    )  # fmt: skip
    if blind:
        st.caption("While the model's grades are hidden, the list is not sorted by them.")
    if now.filters:
        st.button("Show all", key="list-show-all", on_click=_show_all, args=(worklist,))


def _arrange(worklist: Worklist) -> None:
    state, before = st.session_state, worklist.arrangement
    blind = bool(worklist.hidden)
    worklist.arrangement = ViewOptions(
        # What a blinded reader was not offered stays as it was, without effect.
        order=before.order if blind and state["list-order"] == "arrival" else state["list-order"],
        kinds=frozenset(state["list-kinds"]) | (before.kinds - {"failed"} if blind else set()),
        reviewed=_REVIEWED[state["list-reviewed"] or "All"],
        text=state["list-text"] or "",
        by_patient=bool(state["list-by-patient"]),
    )


def _show_all(worklist: Worklist) -> None:
    now = worklist.arrangement
    worklist.arrangement = ViewOptions(order=now.order, by_patient=now.by_patient)


def _belonging(worklist: Worklist, entry: Entry) -> None:
    """Which eye of which patient; corrected by hand, it is kept with the photograph's hash."""
    study = next(s for s in worklist.studies if entry in s.entries)
    if study.patient is not None:
        st.caption(f"{len(study.entries)} of this patient: {patient_words(study)}")
        if study.grade.grade is not None:
            st.caption(f"Worse eye: grade {study.grade.grade}")
    st.segmented_control(
        "Eye", list(_EYES), default=entry.laterality or "", required=True,
        format_func=_EYES.__getitem__, key=f"eye-{entry.key}",
    )  # fmt: skip
    secret = entry.patient is not None and entry.patient_shown is None
    if secret:
        st.caption("The patient is hidden. Leave the field empty to keep it.")
    st.text_input(
        "Patient", value=entry.patient_shown or "", max_chars=200, key=f"patient-{entry.key}",
    )  # fmt: skip
    st.button(
        "Save", key="save-belonging", on_click=_correct, args=(worklist, entry, secret),
        disabled=entry.report is None or entry.report.status == "failed",
    )  # fmt: skip
    error = st.session_state.pop("belonging-error", "")
    if error:
        messages.problem(error)


def _correct(worklist: Worklist, entry: Entry, secret: bool) -> None:  # noqa: FBT001
    state = st.session_state
    laterality = state[f"eye-{entry.key}"] or None
    typed = " ".join((state[f"patient-{entry.key}"] or "").split()) or None
    patient = entry.patient if secret and typed is None else typed
    if (laterality, patient) == (entry.laterality, entry.patient):
        return
    try:
        reader = (state.get("reader") or "").strip()
        session_state.store().correct_identity(entry.sha256, laterality, patient, reader)
    except DrcoreError as error:
        state["belonging-error"] = str(error)
        return
    worklist.correct(entry.key, laterality, patient)


def _privacy(worklist: Worklist) -> None:
    st.session_state["deidentified"] = worklist.deidentified
    st.session_state["show-identity"] = worklist.show_identity
    st.toggle(
        "De-identified", key="deidentified", on_change=_set_privacy, args=(worklist,),
        help="Photographs are named by the start of their hash, on the page and in the record",
    )  # fmt: skip
    st.toggle(
        "Show patient identity", key="show-identity", on_change=_set_privacy, args=(worklist,),
        disabled=worklist.deidentified,
        help="The patient number of DICOM headers, and text burnt into a photograph",
    )  # fmt: skip


def _set_privacy(worklist: Worklist) -> None:
    worklist.deidentified = bool(st.session_state["deidentified"])
    wanted = bool(st.session_state["show-identity"]) and not worklist.deidentified
    if worklist.show_identity != wanted:
        st.session_state.pop("slides", None)  # made with, or without, what is burnt in
    worklist.show_identity = wanted


def _clearing(worklist: Worklist) -> None:
    if worklist.token:
        st.caption(
            "This list is kept on the computer that runs the viewer, for 30 days after its last "
            "use. Keep the page's address to come back to it; whoever has it can open the list."
        )
    if not st.session_state.get("clearing"):
        st.button("Clear list\u2026", key="clear-list", on_click=_ask)
        return
    st.caption(
        f"Delete the list and its copies of {worklist.total} photographs? Decisions stay in the "
        "record."
    )
    with st.container(horizontal=True, gap="xxsmall"):
        st.button("Delete", key="clear-yes", type="primary", on_click=_clear)
        st.button("Keep", key="clear-no", on_click=_keep)


def _ask() -> None:
    st.session_state["clearing"] = datetime.now(UTC)


def _keep() -> None:
    st.session_state.pop("clearing", None)


def _clear() -> None:
    _keep()
    current_list.forget()


def _notices_read() -> None:
    st.session_state.pop("arrivals", None)
    st.session_state.pop("list-lost", None)
