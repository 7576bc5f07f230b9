"""Choosing the reading mode and the rules of the study."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from drcore.agreement.adjudication import SECOND_READS
from drcore.errors import DrcoreError
from drcore.reviews.decision import ReadingMode
from drcore.text import fold
from viewer.session import state
from viewer.ui import messages

if TYPE_CHECKING:
    from drcore.agreement.adjudication import ReadingStatus
    from drcore.reviews.decision import Decision
    from viewer.worklist.worklist import Worklist
from viewer.session.reading_mode import (
    _readable,
    _standings,
    allowed_modes,
    mode,
    reader,
    waiting,
)

__all__ = ["panel"]


_SENTENCES: dict[ReadingMode, str] = {
    "blinded first read": (
        "The model and other readers stay hidden until you have saved your own grade."
    ),
    "second reader": (
        "You read on your own: the model and the first reader stay hidden until you have saved "
        "your grade."
    ),
    "arbitration": "Where readers differ, your grade is the final one.",
}
_SECOND_READ_NAMES = {
    "every photograph": "every photograph",
    "unlike the machine": "where the first reader differs from the model",
    "referable": "referable or ungradable to the first reader",
    "none": "no photograph",
}
_STYLE = Path(__file__).with_name("reading_mode_panel.css")


def panel(worklist: Worklist) -> None:
    """Show the mode of reading, what waits in it, and to an arbiter how the readers differ.

    Args:
        worklist: of this session, not empty.
    """
    st.html(_STYLE)
    allowed = allowed_modes()
    if len(allowed) > 1:
        st.selectbox(
            "Mode of reading", allowed, key="study-mode", persist_state="session",
            format_func=lambda name: f"{name.capitalize()} reading" if name == "open"
            else name.capitalize(), label_visibility="collapsed",
        )  # fmt: skip
    else:
        st.html(f'<p class="study"><b>{mode().capitalize()}</b> \u00b7 set by this server</p>')
    if mode() == "open":  # nothing waits, and the list tells how far one is
        return
    st.html(f'<p class="study faint">{_SENTENCES[mode()]}</p>')
    if mode() != "blinded first read":
        _rules()
    try:
        found = _standings(worklist, state.store())
        left = waiting(worklist, found)
    except DrcoreError as error:
        messages.problem(str(error))
        return
    selected = worklist.selected
    if mode() == "arbitration" and selected is not None and selected.report is not None:
        st.html(_readings(found.get(selected.report.sha256)))
    st.html(f'<p class="study">{_left(len(left), worklist)}</p>')
    others = [entry for entry in left if selected is None or entry.key != selected.key]
    st.button(
        "Next difference" if mode() == "arbitration" else "Next to read",
        key="study-next", width="stretch", disabled=not others,
        on_click=_go_on, args=(worklist, [entry.key for entry in others]),
    )  # fmt: skip


def _rules() -> None:
    with st.popover("Rules", width="stretch"):
        st.selectbox(
            "A second reader sees", SECOND_READS, key="study-second",
            format_func=lambda name: _SECOND_READ_NAMES[name].capitalize(),
            persist_state="session",
        )  # fmt: skip
        st.segmented_control(
            "Grades by which readers may differ", (0, 1, 2), key="study-tolerance", default=0,
            required=True, persist_state="session",
        )  # fmt: skip
        st.toggle(
            "Referable to one reader only: always to the arbiter", key="study-referable",
            value=True, persist_state="session",
        )  # fmt: skip


def _left(count: int, worklist: Worklist) -> str:
    if mode() == "arbitration":
        many = f"{count} of {worklist.total} photographs wait"
        one = f"1 of {worklist.total} photographs waits"
        return (one if count == 1 else many) + " for an arbiter" if count else "No differences left"
    if mode() == "second reader":
        return f"{count} left for you as second reader" if count else "No second read is due"
    total = len(_readable(worklist))
    return f"You have read {total - count} of {total} in this mode"


def _readings(stands: ReadingStatus | None) -> str:
    """What the readers said of the photograph on screen, without their names."""
    if stands is None or not stands.readings:
        return '<p class="study">Nobody has read this photograph yet.</p>'
    names = ["First reader", "Second reader"]
    names += [f"Reader {number}" for number in range(3, len(stands.readings) + 1)]
    rows = [_row(name, one) for name, one in zip(names, stands.readings, strict=False)]
    if stands.arbiter is not None:
        rows.append(_row("Arbiter", stands.arbiter))
    own = any(fold(one.reader) == fold(reader()) for one in stands.readings)
    told = {
        "settled": "Settled." if stands.arbiter else "The readers agree.",
        "second read": "Waits for a second reader.",
        "arbitration": "The readers differ.",
    }.get(stands.state, "")
    if own and reader():
        told += " One of them is you."
    return f'<table class="readings">{"".join(rows)}</table><p class="study">{told}</p>'


def _row(name: str, decision: Decision) -> str:
    grade = "ungradable" if decision.grade is None else f"grade {decision.grade}"
    note = f"<small>{escape(decision.note)}</small>" if decision.note else ""
    return f"<tr><td>{name}</td><td><b>{grade}</b>{note}</td></tr>"


def _go_on(worklist: Worklist, keys: list[str]) -> None:
    """Put the next of some entries on screen: the first after the one that is there."""
    order = [entry.key for entry in worklist.everything]
    selected = worklist.selected
    place = order.index(selected.key) if selected else -1
    after = [key for key in keys if key in order[place + 1 :]]
    worklist.select((after or keys)[0])
