"""What stands above the list: progress, sorting and filters, eye and patient, list settings."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import streamlit as st

from drcore.errors import DrcoreError
from drcore.grading.statements import source_words
from drcore.text import fold
from viewer.review import identity_table
from viewer.review.list_rows import patient_summary
from viewer.session import current_list, state
from viewer.ui import messages
from viewer.ui.assets import style_tag
from viewer.worklist.ordering import KINDS, MODEL_ORDERS, ORDERS, ViewOptions

if TYPE_CHECKING:
    from viewer.worklist.ordering import PatientStudy
    from viewer.worklist.worklist import Entry, Worklist

_GRADED = {"All": None, "To grade": False, "Graded": True}
_EYES = {"OD": "Right (OD)", "OS": "Left (OS)", "": "Unknown"}


def progress(worklist: Worklist) -> str:
    """Return position in the list and progress, as HTML; the list must not be empty."""
    shown, total = len(worklist), worklist.total
    decided, unreadable = worklist.decided, worklist.unreadable
    filtered = "" if shown == total else f" (filtered from {total})"
    waiting = f" \u00b7 {worklist.pending} awaiting model" if worklist.pending else ""
    failed = f" \u00b7 {unreadable} unreadable" if unreadable else ""
    share = 100 * decided / max(total - unreadable, 1)
    text = f"{decided} of {total} graded{waiting}{failed}"
    if worklist.finished:
        text = f"\u2713 All {decided} graded{failed}"
    return (
        f"{style_tag('review/list_panel.css')}"
        f'<p class="counts"><b>Image {worklist.position + 1} of {shown}{filtered}</b></p>'
        f'<div class="reviewed"><i style="width:{share:.1f}%"></i></div>'
        f'<p class="reviewed">{text}</p>'
    )


def notices() -> None:
    """Show which files were skipped, or why a list is missing, until the reader dismisses it."""
    session = state.session()
    sentences = [*filter(None, [session.missing_list]), *session.notices]
    if not sentences:
        return
    with st.container(key="notices", gap="xxsmall"):
        body = "".join(f"<p>{escape(sentence)}</p>" for sentence in sentences)
        css = style_tag("review/list_panel.css")
        st.html(f'{css}<div class="notices" role="status">{body}</div>')
        st.button("Dismiss", key="notices-read", on_click=_dismiss, type="tertiary")


def panel(worklist: Worklist) -> None:
    """Show the controls of a list that is not empty."""
    notices()
    if worklist.trouble:
        messages.problem(worklist.trouble)
    entry = worklist.selected
    with st.container(horizontal=True, gap="xxsmall", key="list-front"):
        sort = st.popover("Sort & filter", key="sort-popover", width="content")
        number = st.session_state.get(identity_table.POPOVER, 0)
        eye = st.popover("Eye & patient", key=f"eye-popover-{number}", width="content")
        settings = st.popover("List", key="list-popover", width="content", help="List settings")
    with sort.container(width=290):
        _sorting(worklist)
    with eye.container(width=290):
        if entry is not None:
            _identity(worklist, entry)
    with settings.container(width=290):
        _privacy(worklist)
        _clearing(worklist)
    identity_table.show_if_open(worklist)


def _sorting(worklist: Worklist) -> None:
    now, masked, values = worklist.arrangement, bool(worklist.hidden), st.session_state
    orders = [order for order in ORDERS if not masked or order not in MODEL_ORDERS]
    kinds = ["failed"] if masked else list(KINDS)
    values["list-order"] = now.order if now.order in orders else "arrival"
    values["list-kinds"] = [kind for kind in kinds if kind in now.kinds]
    values["list-reviewed"] = next(k for k, value in _GRADED.items() if value is now.reviewed)
    values["list-text"] = now.text
    values["list-by-patient"] = now.by_patient
    change = {"on_change": _arrange, "args": (worklist,)}
    st.text_input(
        "Search", key="list-text", placeholder="File name or patient ID", max_chars=100, **change
    )
    st.selectbox("Sort by", orders, key="list-order", format_func=ORDERS.__getitem__, **change)
    st.toggle("Group by patient", key="list-by-patient", **change)
    st.segmented_control("Show", list(_GRADED), key="list-reviewed", required=True, **change)
    st.pills(
        "Model result", kinds, selection_mode="multi", key="list-kinds", format_func=_kind_name,
        **change,
    )  # fmt: skip
    if masked:
        st.caption("Sorting by model result is unavailable while masked.")
    if now.filters:
        st.button("Clear filters", key="list-show-all", on_click=_clear_filters, args=(worklist,))


def _kind_name(kind: str) -> str:
    if kind.isdigit():
        return f"Grade {kind}"
    return "Unreadable" if kind == "failed" else kind.capitalize()


def _arrange(worklist: Worklist) -> None:
    values, before = st.session_state, worklist.arrangement
    masked, order = bool(worklist.hidden), st.session_state["list-order"]
    worklist.arrangement = ViewOptions(
        # What a masked reader was not offered stays as it was, without effect.
        order=before.order if masked and order == "arrival" else order,
        kinds=frozenset(values["list-kinds"]) | (before.kinds - {"failed"} if masked else set()),
        reviewed=_GRADED[values["list-reviewed"] or "All"],
        text=values["list-text"] or "",
        by_patient=bool(values["list-by-patient"]),
    )


def _clear_filters(worklist: Worklist) -> None:
    now = worklist.arrangement
    worklist.arrangement = ViewOptions(order=now.order, by_patient=now.by_patient)


def _identity(worklist: Worklist, entry: Entry) -> None:
    """Eye and patient; a correction is stored under the photograph's hash."""
    study = next(s for s in worklist.studies if entry in s.entries)
    if study.patient is not None:
        both = "Both eyes: " if len(study.entries) == 2 else f"Images: {len(study.entries)}. "
        st.caption(f"{both}{patient_summary(study)}")
        if study.grade.grade is not None:
            st.caption(f"Worse eye: grade {study.grade.grade}")
        if _has_other_visits(worklist, study):
            st.caption(
                "This patient has images of another exam date. Visits are kept apart: their eyes "
                "are neither shown side by side nor graded together."
            )
    st.segmented_control(
        "Eye", list(_EYES), default=entry.laterality or "", required=True,
        format_func=_EYES.__getitem__, key=f"eye-{entry.key}",
    )  # fmt: skip
    patient_hidden = entry.patient is not None and entry.patient_shown is None
    if patient_hidden:
        st.caption("Patient ID is hidden. Leave blank to keep the current ID.")
    st.text_input(
        "Patient ID", value=entry.patient_shown or "", max_chars=200, key=f"patient-{entry.key}",
    )  # fmt: skip
    st.text_input(
        "Exam date", value=entry.exam_date or "", max_chars=10, key=f"date-{entry.key}",
        placeholder="YYYY-MM-DD",
    )  # fmt: skip
    source = source_words(entry.facts.identity.source)
    if source:
        st.caption(f"Read: {source}.")
    st.button(
        "Save", key="save-identity", type="primary",
        on_click=_correct, args=(worklist, entry, patient_hidden),
        disabled=entry.report is None or entry.report.status == "failed",
    )  # fmt: skip
    st.button(
        "Edit all images\u2026", key="edit-identities", disabled=worklist.deidentified,
        on_click=identity_table.open_table,
    )  # fmt: skip
    error = st.session_state.pop("identity-error", "")
    if error:
        messages.problem(error)


def _has_other_visits(worklist: Worklist, study: PatientStudy) -> bool:
    patients = [fold(one.patient) for one in worklist.studies if one.patient]
    return study.patient is not None and patients.count(fold(study.patient)) > 1


def _correct(worklist: Worklist, entry: Entry, patient_hidden: bool) -> None:  # noqa: FBT001
    from drcore.photographs.identity import parse_date

    laterality = st.session_state[f"eye-{entry.key}"] or None
    typed = " ".join((st.session_state[f"patient-{entry.key}"] or "").split()) or None
    patient = entry.patient if patient_hidden and typed is None else typed
    day = (st.session_state[f"date-{entry.key}"] or "").strip()
    exam_date = parse_date(day) if day else None
    if (laterality, patient, exam_date) == (entry.laterality, entry.patient, entry.exam_date):
        return
    if day and exam_date is None:
        st.session_state["identity-error"] = f"{day} is not a date. Write it as YYYY-MM-DD."
        return
    try:
        made = identity_table.Correction(entry, laterality, patient, exam_date)
        identity_table.save(worklist, [made])
    except DrcoreError as error:
        st.session_state["identity-error"] = str(error)


def _privacy(worklist: Worklist) -> None:
    st.session_state["deidentified"] = worklist.deidentified
    st.session_state["show-identity"] = worklist.show_identity
    st.toggle(
        "De-identify list", key="deidentified", on_change=_set_privacy, args=(worklist,),
        help="Images are shown and recorded under a code instead of their file name",
    )  # fmt: skip
    st.toggle(
        "Show patient identifiers", key="show-identity", on_change=_set_privacy, args=(worklist,),
        disabled=worklist.deidentified,
        help="Patient ID from the DICOM header and burned-in text",
    )  # fmt: skip


def _set_privacy(worklist: Worklist) -> None:
    worklist.deidentified = bool(st.session_state["deidentified"])
    wanted = bool(st.session_state["show-identity"]) and not worklist.deidentified
    if worklist.show_identity != wanted:
        st.session_state.pop("slides", None)  # made with, or without, what is burned in
    worklist.show_identity = wanted


def _clearing(worklist: Worklist) -> None:
    session = state.session()
    if worklist.token:
        st.caption(
            "This list is kept on the viewer's computer for 30 days after last use. Bookmark this "
            "page to return to it. Anyone with the link can open the list."
        )
    if not session.clearing:
        st.button("Clear list\u2026", key="clear-list", on_click=_ask, args=(True,))
        return
    images = "stored image" if worklist.total == 1 else "stored images"
    st.caption(f"Remove this list and its {worklist.total} {images}? Saved grades are kept.")
    with st.container(horizontal=True, gap="xxsmall"):
        st.button("Remove list", key="clear-yes", type="primary", on_click=_clear)
        st.button("Cancel", key="clear-no", on_click=_ask, args=(False,))


def _ask(clearing: bool) -> None:  # noqa: FBT001
    state.session().clearing = clearing


def _clear() -> None:
    _ask(clearing=False)
    current_list.clear_worklist()


def _dismiss() -> None:
    session = state.session()
    session.notices, session.missing_list = [], ""
