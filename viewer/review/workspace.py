"""The workspace of the Review page: list, photograph, result card and decision."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import streamlit as st

from drcore.errors import DrcoreError
from viewer.image_viewer import component, marks
from viewer.review import decision_panel, downloads, list_component, list_panel, verdict_card
from viewer.review.keyboard import keyboard
from viewer.session import reading_mode, redraw, state
from viewer.session.viewing_log import viewing_log, watch
from viewer.ui import messages
from viewer.worklist.background_grading import work_ahead

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drcore.grading.report import GradeReport
    from drcore.reviews.store import ReviewStore
    from viewer.worklist.worklist import Entry, Worklist

POLL = 0.6
"""Seconds between checks of the background work."""


def queue(worklist: Worklist) -> None:
    """Show the list, updated while photographs are graded in the background.

    Comes after `show`: if something changed since that was drawn, the page is drawn again.
    """
    busy = worklist.pending > 0 or state.engine().state in {"waiting", "loading"}
    st.fragment(_queue, run_every=POLL if busy else None)(worklist)


def show(worklist: Worklist) -> None:
    """Show the selected photograph with result card and decision.

    Grading is left to the background, and what takes time is done before anything is drawn: the
    name of one eye must never stand beside the result of another.
    """
    redraw.note_page(worklist)
    entry, grader = worklist.selected, state.engine().grader
    if entry is None:
        viewing_log().show(None)
        return
    store, trouble = _store()
    if grader is not None:
        work_ahead(worklist, grader, store.latest if store else None)
    if grader is None or entry.report is None:
        viewing_log().show(None)
        _header(worklist, entry)
        _placeholder("<i></i>" + ("Running model\u2026" if grader else "Loading model\u2026"))
        return
    report, hidden = entry.report, reading_mode.hides_machine(entry)
    slide = None if report.status == "failed" else component.slide_of(worklist, entry, report)
    laser = marks.laser_sentence(entry, store)
    viewing_log().show(None if slide is None else entry.key)
    with st.container(horizontal=True, gap="small", key="room"):
        with st.container(key="room-left", gap="xsmall"):
            above = st.container(gap="xsmall")
            if slide is not None:
                component.show(worklist, entry, slide, store, machine=not hidden)
            else:
                _placeholder(_why_no_image(report))
            # Name and card reach the browser in one moment: nothing slow lies between them.
            with above:
                _header(worklist, entry)
        with st.container(width=296, key="room-right", gap="xsmall"):
            _card(entry, report, hidden, laser)
            if store is not None and slide is not None:
                st.fragment(_decision)(worklist, entry, store, hidden)
            _below_the_decision(worklist, entry, trouble)
    if slide is not None:
        with above:
            st.fragment(_watch)(worklist, entry, () if hidden else report.scales)


def _card(entry: Entry, report: GradeReport, hidden: bool, laser: str) -> None:  # noqa: FBT001
    shown = entry.report_shown or report
    masked = hidden and report.status != "failed"
    st.html(_masked_card(shown) if masked else verdict_card.card(shown, laser))


def _below_the_decision(worklist: Worklist, entry: Entry, trouble: str) -> None:
    if trouble:
        messages.problem(trouble)
    if worklist.finished:
        _finished(worklist)
    downloads.download_result(worklist, entry)


def _placeholder(text: str) -> None:
    st.html(f'<div class="no-picture"><p>{text}</p></div>')


def _queue(worklist: Worklist) -> None:
    st.html(list_panel.progress(worklist))
    list_component.worklist_component(worklist, worklist.select, height=420)
    reading_mode.note_machine_seen(worklist)
    redraw.rerun_if_worked(worklist)


def _watch(worklist: Worklist, entry: Entry, scales: Sequence[int]) -> None:
    redraw.rerun_if_changed(worklist)
    watch(entry, scales)


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
        masked = entry.facts.burned_in and not entry.show_identity
        note = "<span>text outside the retina is masked</span>" if masked else ""
        whose = f'<i data-image="{entry.image_id}"></i>'
        st.html(f'<h1 class="name">{escape(entry.name)}{origin}{note}{whose}</h1>')
        st.button(
            "Remove from list", key="remove", type="tertiary", icon=":material/close:",
            on_click=worklist.remove, args=(entry.key,),
            help="Remove this image from the list (saved grades are kept)",
        )  # fmt: skip


def _decision(worklist: Worklist, entry: Entry, store: ReviewStore, hidden: bool) -> None:  # noqa: FBT001
    redraw.rerun_if_changed(worklist, with_choice=False)
    if reading_mode.hides_machine(entry) != hidden:
        st.rerun()  # the reader changed, or the decision was made elsewhere
    session = state.session()
    saved = session.saved
    number = saved.number if saved else None
    if number != session.saved_shown:
        session.saved_shown = number
        st.rerun()  # the list and the photograph on screen change with it
    redraw.note_choice(worklist)
    if entry.decision is not None and not hidden:
        st.html(f'<p class="latest">{escape(decision_panel.latest_sentence(entry.decision))}</p>')
    decision_panel.panel(worklist, entry, store, hidden=hidden)
    keyboard(worklist, entry)
    if saved:
        text = f"<b>{saved.time}</b> \u2013 {escape(saved.text)}"
        with st.container(horizontal=True, gap="xsmall", key="last-saved"):
            st.html(f'<p class="saved" role="status">{text}</p>')
            st.button(
                "Undo", key="undo", on_click=decision_panel.undo, args=(worklist, store),
                help="Take back this grade and choose again (Ctrl+Z)",
            )  # fmt: skip


def _finished(worklist: Worklist) -> None:
    text = f"All {worklist.decided} images graded" if worklist.decided > 1 else "Image graded"
    with st.container(key="finished", gap="xxsmall"):
        st.html(f'<p class="finished" role="status"><b>\u2713 {text}</b></p>')
        st.page_link("export/page.py", label="Go to Export", icon=":material/ios_share:")


def _masked_card(report: GradeReport) -> str:
    """The card that a masked reader sees before the decision."""
    return (
        '<div class="verdict" tabindex="0" role="group" aria-label="Result" '
        f'data-image="{report.sha256}">'
        '<p class="outcome none"><b>Masked reading</b></p>'
        "<p>The model\u2019s grade and heat map are revealed after you save.</p>"
        f"<p>{escape(verdict_card.eye_sentence(report))}</p></div>"
    )


def _why_no_image(report: GradeReport) -> str:
    if report.status == "failed":
        return "Image could not be displayed"
    return "The file has changed or been deleted since it was graded. Remove it and add it again."


def _store() -> tuple[ReviewStore | None, str]:
    try:
        return state.store(), ""
    except DrcoreError as error:
        return None, f"{error} Images can be viewed, but grades cannot be saved."
