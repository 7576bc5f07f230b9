"""Reading mode, reader and rules of the study, and what awaits the reader."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import streamlit as st

from drcore.agreement.adjudication import SECOND_READS
from drcore.errors import DrcoreError
from drcore.reviews.decision import ReadingMode
from drcore.text import fold
from viewer.session import reader as signed_in
from viewer.session import reading_mode, state
from viewer.session.reading_mode import (
    MODE_NAMES,
    mode,
    open_modes,
    readable,
    reader,
    statuses,
    waiting,
)
from viewer.ui import messages
from viewer.ui.assets import style_tag

if TYPE_CHECKING:
    from drcore.agreement.adjudication import ReadingStatus
    from drcore.reviews.decision import Decision
    from viewer.worklist.worklist import Worklist

_SENTENCES: dict[ReadingMode, str] = {
    "blinded first read": "Model and other readers\u2019 grades are hidden until you save.",
    "second reader": ("Independent second read: model and first reader are hidden until you save."),
    "arbitration": "Your grade is final where readers disagree.",
}
_SECOND_READ_NAMES = {
    "every photograph": "All images",
    "unlike the machine": "First reader \u2260 model",
    "referable": "First reader: referable or ungradable",
    "none": "None",
}


def panel(worklist: Worklist) -> None:
    """Show reading mode, what awaits the reader, and to an arbiter how the readers disagree."""
    st.html(style_tag("review/reading_mode_panel.css"))
    fixed = " (fixed for this study)" if len(open_modes()) == 1 else ""
    who = f"<small>{escape(reader())}</small>" if reader() else ""
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall", key="mode"):
        st.html(f'<p class="study mode"><b>{MODE_NAMES[mode()]}</b>{fixed}{who}</p>')
        st.button(
            "Change", key="study-change", on_click=reading_mode.choose_again, args=(worklist,),
            help="Choose reading mode and reader again",
        )  # fmt: skip
    if mode() == "open":
        _next_ungraded(worklist)
        return
    st.html(f'<p class="study faint">{_SENTENCES[mode()]}</p>')
    if mode() != "blinded first read" and signed_in.permits("study_rules"):
        _rules()
    try:
        found = statuses(worklist, state.store())
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
        "Next disagreement" if mode() == "arbitration" else "Next unread",
        key="study-next", width="stretch", disabled=not others, shortcut="J",
        on_click=_select_next, args=(worklist, [entry.key for entry in others]),
    )  # fmt: skip


def _next_ungraded(worklist: Worklist) -> None:
    others = [
        entry.key
        for entry in readable(worklist)
        if entry.decision is None and entry is not worklist.selected
    ]
    st.button(
        "Next ungraded", key="study-next", width="stretch", disabled=not others, shortcut="J",
        on_click=_select_next, args=(worklist, others),
    )  # fmt: skip


def _rules() -> None:
    with st.popover("Study rules", width="stretch", key="study-rules"):
        st.selectbox(
            "Second read for", SECOND_READS, key="study-second",
            format_func=_SECOND_READ_NAMES.__getitem__,
            persist_state="session",
        )  # fmt: skip
        st.segmented_control(
            "Tolerated difference (grades)", (0, 1, 2), key="study-tolerance", default=0,
            required=True, persist_state="session",
        )  # fmt: skip
        st.toggle(
            "Always arbitrate if readers disagree on referral", key="study-referable",
            value=True, persist_state="session",
        )  # fmt: skip


def _left(count: int, worklist: Worklist) -> str:
    if mode() == "arbitration":
        waits = f"{count} of {worklist.total} awaiting arbitration"
        return waits if count else "No disagreements left"
    if mode() == "second reader":
        return f"{count} awaiting second read" if count else "No second reads outstanding"
    total = len(readable(worklist))
    return f"{total - count} of {total} read"


def _readings(status: ReadingStatus | None) -> str:
    """The readers' grades of the photograph on screen, without their names."""
    if status is None or not status.readings:
        return '<p class="study">Not yet read.</p>'
    rows = [_row(_reader_name(place, one), one) for place, one in enumerate(status.readings)]
    if status.arbiter is not None:
        rows.append(_row("Arbiter", status.arbiter))
    own = any(fold(one.reader) == fold(reader()) for one in status.readings)
    text = {
        "settled": "Resolved." if status.arbiter else "Readers agree.",
        "second read": "Awaiting second read.",
        "arbitration": "Readers disagree.",
    }.get(status.state, "")
    if own and reader():
        text += " You were one of the readers."
    return f'<table class="readings">{"".join(rows)}</table><p class="study">{text}</p>'


def _reader_name(place: int, decision: Decision) -> str:
    """What an arbiter calls a reader: the place instead of the name."""
    ordinal = ("First reader", "Second reader", *(f"Reader {n}" for n in range(3, place + 2)))
    if decision.mode == "open":
        return f"Reader {place + 1} (unmasked)"
    return f"{ordinal[place]}{' (had seen the model)' if decision.saw_machine else ''}"


def _row(name: str, decision: Decision) -> str:
    grade = "ungradable" if decision.grade is None else f"grade {decision.grade}"
    note = f"<small>{escape(decision.note)}</small>" if decision.note else ""
    return f"<tr><td>{name}</td><td><b>{grade}</b>{note}</td></tr>"


def _select_next(worklist: Worklist, keys: list[str]) -> None:
    """Select the first of some entries after the selected one."""
    order = [entry.key for entry in worklist.everything]
    selected = worklist.selected
    place = order.index(selected.key) if selected else -1
    after = [key for key in keys if key in order[place + 1 :]]
    worklist.select((after or keys)[0])
