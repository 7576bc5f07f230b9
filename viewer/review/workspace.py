"""The reading room: list, photograph, verdict and decision of the Review page."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import streamlit as st

from drcore.errors import DrcoreError
from viewer.image_viewer import component
from viewer.review import decision_panel, list_component, list_panel, result_download, verdict_card
from viewer.session import reading_mode, redraw, state, viewing_log
from viewer.ui import messages

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drcore.grading.report import GradeReport
    from drcore.reviews.store import ReviewStore
    from viewer.worklist.worklist import Entry, Worklist

__all__ = ["queue", "reading_room"]

POLL = 0.6
"""Seconds between looks at the work in the background."""


def queue(worklist: Worklist) -> None:
    """Show the list, kept up to date while photographs are graded in the background.

    Comes after `reading_room`: what has changed since that was drawn brings a new page.

    Args:
        worklist: not empty.
    """
    busy = worklist.pending > 0 or state.engine().state in {"waiting", "loading"}
    st.fragment(_queue, run_every=POLL if busy else None)(worklist)


def reading_room(worklist: Worklist) -> None:
    """Show the selected photograph with everything that belongs to it.

    Grading is left to the background, and what takes time is made before anything is drawn: never
    must the name of one eye stand beside the verdict on another.

    Args:
        worklist: not empty.
    """
    redraw.draw(worklist)
    entry, grader = worklist.selected, state.engine().grader
    if entry is None:
        viewing_log.looks().show(None)
        return
    store, trouble = _store()
    if grader is not None:
        worklist.work_ahead(grader, store.latest if store else None)
    if grader is None or entry.report is None:
        viewing_log.looks().show(None)
        _header(worklist, entry)
        why = "The model is loading." if grader is None else "Grading\u2026"
        st.html(f'<div class="no-picture"><p><i></i>{why}</p></div>')
        return
    report, hidden = entry.report, reading_mode.hides_machine(entry)
    slide = None if report.status == "failed" else component.slide_of(worklist, entry, report)
    viewing_log.looks().show(None if slide is None else entry.key)
    with st.container(horizontal=True, gap="small", key="room"):
        with st.container(key="room-left", gap="xsmall"):
            above = st.container(gap="xsmall")
            if slide is not None:
                component.show(worklist, entry, slide, store, machine=not hidden)
            else:
                st.html(f'<div class="no-picture"><p>{_no_picture(report)}</p></div>')
        with st.container(width=296, key="room-right", gap="xsmall"):
            shown = entry.report_shown or report
            veiled = hidden and report.status != "failed"
            st.html(_unread(shown) if veiled else verdict_card.card(shown))
            if store is not None and slide is not None:
                st.fragment(_decision)(worklist, entry, store, hidden)
            if trouble:
                messages.problem(trouble)
            if worklist.finished:
                _finished(worklist)
            result_download.download_result(worklist, entry)
    with above:
        _header(worklist, entry)
        if slide is not None:
            st.fragment(_watch)(worklist, entry, () if hidden else report.scales)


def _queue(worklist: Worklist) -> None:
    st.html(list_panel.counts(worklist))
    list_component.queue(worklist, worklist.select, height=420)
    redraw.renew_with_work(worklist)


def _watch(worklist: Worklist, entry: Entry, scales: Sequence[int]) -> None:
    redraw.renew(worklist)
    viewing_log.watch(entry, scales)


def _header(worklist: Worklist, entry: Entry) -> None:
    last = worklist.position == len(worklist) - 1
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall", key="header"):
        st.button(
            "Previous", key="previous", shortcut="Left", disabled=worklist.position == 0,
            on_click=worklist.step, args=(-1,),
        )  # fmt: skip
        st.button(
            "Next", key="next", shortcut="Right", disabled=last,
            on_click=worklist.step, args=(1,),
        )  # fmt: skip
        origin = f"<span>{entry.origin}</span>" if entry.origin else ""
        covered = entry.facts.burned_in and not entry.show_identity
        note = "<span>writing outside the retina is covered</span>" if covered else ""
        st.html(f'<h1 class="name">{escape(entry.name)}{origin}{note}</h1>')
        st.button(
            "Remove", key="remove", type="tertiary", icon=":material/close:",
            on_click=worklist.remove, args=(entry.key,),
            help="Take this photograph off the list; decisions stay in the record",
        )  # fmt: skip


def _decision(worklist: Worklist, entry: Entry, store: ReviewStore, hidden: bool) -> None:  # noqa: FBT001
    redraw.renew(worklist, with_choice=False)
    if reading_mode.hides_other_readers(entry) != hidden:
        st.rerun()  # another reader sits here now, or the decision was made elsewhere
    saved = st.session_state.get("saved")
    if saved and saved[2] != st.session_state.get("saved-shown"):
        st.session_state["saved-shown"] = saved[2]
        st.rerun()  # the list and the photograph on screen change with it
    redraw.draw_choice(worklist)
    if entry.decision is not None and not hidden:
        st.html(f'<p class="latest">{escape(decision_panel.latest_sentence(entry.decision))}</p>')
    decision_panel.panel(worklist, entry, store, hidden=hidden)
    if saved:
        st.html(f'<p class="saved" role="status"><b>{saved[0]}</b> {escape(saved[1])}</p>')


def _finished(worklist: Worklist) -> None:
    many = (
        f"All {worklist.decided} photographs are" if worklist.decided > 1 else "The photograph is"
    )
    with st.container(key="finished", gap="xxsmall"):
        st.html(f'<p class="finished" role="status"><b>\u2713 {many} reviewed</b></p>')
        st.page_link("export/page.py", label="Reports and export", icon=":material/ios_share:")


def _unread(report: GradeReport) -> str:
    """What stands in the verdict's place until a blinded reader has decided."""
    return (
        '<div class="verdict"><p class="gate unread">Your reading first</p>'
        "<p>What the model says, and its map, appear when your decision is saved.</p>"
        f"<p>{escape(verdict_card.eye_sentence(report))}</p></div>"
    )


def _no_picture(report: GradeReport) -> str:
    if report.status == "failed":
        return "No picture"
    return (
        "The file was changed or taken away since it was graded. "
        "Remove it from the list and add it again."
    )


def _store() -> tuple[ReviewStore | None, str]:
    try:
        return state.store(), ""
    except DrcoreError as error:
        return None, f"{error} Photographs can be looked at, but no decision can be saved."
