"""Choosing reading mode and reader, before a list shows anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from drcore.reviews.decision import MASKED_MODES, ReadingMode
from viewer.session import reader as signed_in
from viewer.session import reading_mode, state
from viewer.session.reading_mode import MODE_NAMES
from viewer.ui import messages
from viewer.worklist.background_grading import work_ahead

if TYPE_CHECKING:
    from drcore.reviews.decision import Decision
    from viewer.worklist.worklist import Worklist

_EXPLAINED: dict[ReadingMode, str] = {
    "open": "Everything is shown. Not a study read.",
    "blinded first read": "Model and other readers are hidden until you save your grade.",
    "second reader": "The same, for images that another reader has read.",
    "arbitration": "You see grades that differ, without names, and settle them.",
}


def show(worklist: Worklist) -> None:
    """Ask how the list is read; the model works meanwhile, and nothing of it is shown."""
    model = state.engine()
    if model.grader is not None:
        work_ahead(worklist, model.grader, _latest)
    allowed, count = reading_mode.open_modes(), worklist.total
    st.header(f"How will you read {'this image' if count == 1 else f'these {count} images'}?")
    with st.form("start", width=560):
        st.radio(
            "Reading mode", allowed, key="start-mode", format_func=MODE_NAMES.__getitem__,
            captions=[_EXPLAINED[mode] for mode in allowed],
        )  # fmt: skip
        if len(allowed) == 1:
            st.caption("The reading mode is fixed for this study.")
        st.text_input(
            "Your name or initials", value=reading_mode.reader(), key="start-reader",
            max_chars=100, disabled=signed_in.known(),
            help="Stored with each grade. Needed for masked reading and to save.",
        )  # fmt: skip
        st.form_submit_button(
            "Start reading", key="start-reading", type="primary", on_click=_start, args=(worklist,)
        )
    if error := st.session_state.pop("start-error", ""):
        messages.problem(error)
    st.caption(
        "Mode and name are kept with this list. If you change the mode later, grades given after "
        "the model\u2019s result was shown are recorded as such."
    )


def _latest(sha256: str) -> Decision | None:
    return state.store().latest(sha256)


def _start(worklist: Worklist) -> None:
    mode: ReadingMode = st.session_state["start-mode"]
    typed = reading_mode.reader() if signed_in.known() else st.session_state["start-reader"]
    name = " ".join((typed or "").split())
    if not name and (mode in MASKED_MODES or mode == "arbitration"):
        st.session_state["start-error"] = "Enter your name or initials to read in this mode."
        return
    reading_mode.start(worklist, mode, name)
