"""Downloads of every stored grade and mark, whatever the list holds."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import streamlit as st

from viewer.session import reader as signed_in
from viewer.session import reading_mode, state

if TYPE_CHECKING:
    from viewer.worklist.worklist import Worklist

_FILES = {
    "decisions.csv": "Grades, CSV",
    "decisions.json": "Grades, JSON",
    "marks.csv": "Marks, CSV",
    "marks.json": "Marks, JSON",
}


def all_grades(worklist: Worklist) -> None:
    """Show the downloads; nothing if readers may not know of each other."""
    if reading_mode.hides_record() or reading_mode.hides_names():
        return
    with st.popover("All grades", icon=":material/database:", width="stretch"):
        st.caption("Every grade and mark stored on this computer, from all lists and readers")
        only = worklist.deidentified or not signed_in.permits("export_identity")
        hide = only or st.checkbox("De-identify", key="record-deidentified")
        for name, label in _FILES.items():
            st.download_button(
                label, data=_later(name, deidentified=hide),
                file_name=f"drcore-{datetime.now(UTC).astimezone():%Y%m%d}-{name}",
                on_click="ignore", icon=":material/download:", key=f"record-{name}",
                width="stretch",
            )  # fmt: skip


def record_bytes(name: str, *, deidentified: bool) -> bytes:
    """Return a file such as "marks.csv"; de-identified without patients and free text."""
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
