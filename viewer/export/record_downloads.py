"""The whole record of decisions and marks, whichever photographs are in the list."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import streamlit as st

from viewer.session import reading_mode, state

if TYPE_CHECKING:
    from viewer.worklist.worklist import Worklist

__all__ = ["record_bytes", "whole_record"]

_FILES = {
    "decisions.csv": "Decisions, CSV",
    "decisions.json": "Decisions, JSON",
    "marks.csv": "Marks, CSV",
    "marks.json": "Marks, JSON",
}


def whole_record(worklist: Worklist) -> None:
    """Show the downloads of the record; none where readers may not know of each other.

    Args:
        worklist: of this session; a de-identified one gives de-identified files unless asked.
    """
    if reading_mode.hides_record():
        return
    with st.popover("Whole record", icon=":material/database:", width="stretch"):
        st.caption("All decisions and marks that this computer has, of every list and reader")
        hide = worklist.deidentified or st.checkbox("De-identified", key="record-deidentified")
        for name, label in _FILES.items():
            st.download_button(
                label, data=_later(name, deidentified=hide),
                file_name=f"drcore-{datetime.now(UTC).astimezone():%Y%m%d}-{name}",
                on_click="ignore", icon=":material/download:", key=f"record-{name}",
                width="stretch",
            )  # fmt: skip


def record_bytes(name: str, *, deidentified: bool) -> bytes:
    """Return a file of the whole record.

    Args:
        name: of the file, such as "marks.csv".
        deidentified: photographs by their hash, without patients and free text.

    Returns:
        UTF-8.

    Raises:
        ReviewError: the record cannot be read.
    """
    from drcore.export.deidentification import deidentify_decision, deidentify_mark
    from drcore.reviews.tables import decisions_csv, decisions_json, marks_csv, marks_json

    kind, _, form = name.partition(".")
    if kind == "marks":
        marks = state.store().marks()
        if deidentified:
            marks = [(number, deidentify_mark(mark)) for number, mark in marks]
        return (marks_csv if form == "csv" else marks_json)(marks).encode("utf-8")
    decisions = state.store().numbered_decisions()
    if deidentified:
        decisions = [(number, deidentify_decision(made)) for number, made in decisions]
    return (decisions_csv if form == "csv" else decisions_json)(decisions).encode("utf-8")


def _later(name: str, *, deidentified: bool) -> Callable[[], bytes]:
    return lambda: record_bytes(name, deidentified=deidentified)
