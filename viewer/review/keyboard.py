"""Keys of note, name and undo, and the question before unsaved grades are left."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import streamlit as st

from viewer.review.list_rows import draft_note
from viewer.session import state
from viewer.ui.assets import script

if TYPE_CHECKING:
    from viewer.worklist.worklist import Entry, Worklist


def keyboard(worklist: Worklist, entry: Entry) -> None:
    """Let the browser handle what Streamlit's shortcuts cannot."""
    choice = worklist.reading.draft(entry.key).choice
    _component()(
        key="keyboard", height=1,
        data={
            "version": f"{state.session().obeyed} {entry.key}",
            "unsaved": len(worklist.reading.unsaved),
            "chosen": "" if choice is None else f"choose-{choice}",
            "note": "" if choice is None else draft_note(choice),
        },
    )  # fmt: skip


@cache
def _component() -> Any:
    return st.components.v2.component(
        "drcore_keyboard", js=script("ui/single_run.js", "review/keyboard.js")
    )
