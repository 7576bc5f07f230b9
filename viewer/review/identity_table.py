"""Eye, patient and date of a whole list in one table, to be corrected together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import streamlit as st

from drcore.errors import DrcoreError
from drcore.grading.statements import source_words
from viewer.session import reader as signed_in
from viewer.session import reading_mode, state
from viewer.ui import messages

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from drcore.eye import Laterality
    from drcore.photographs.identity import NameRules
    from viewer.worklist.worklist import Entry, Worklist

EYES: dict[str, Laterality | None] = {"Unknown": None, "Right (OD)": "OD", "Left (OS)": "OS"}
_NAMES = {eye: name for name, eye in EYES.items()}

_OPEN = "identity-table-open"

POPOVER = "identity-popover"
"""Number of the popover that leads here: with a new one it is closed and hides nothing."""

HIDDEN = "(hidden)"
"""Stands for a patient ID that the page may not show; left as it is, the ID is kept."""


@dataclass(frozen=True, slots=True)
class Correction:
    """What a reader makes of one photograph; untrusted text."""

    entry: Entry
    laterality: Laterality | None
    patient: str | None
    exam_date: str | None


def open_table() -> None:
    """Open the table with the next run of the page; it stays until it is saved or dismissed."""
    _forget()
    st.session_state[_OPEN] = True
    st.session_state[POPOVER] = st.session_state.get(POPOVER, 0) + 1


def show_if_open(worklist: Worklist) -> None:
    """Show the table of a list where it was opened: it outlives runs of the page beside it."""
    if st.session_state.get(_OPEN):
        _dialog(worklist)


def _close() -> None:
    st.session_state[_OPEN] = False


@st.dialog(
    "Eye, patient and date of all images", width="large", icon=":material/table_edit:",
    on_dismiss=_close,
)  # fmt: skip
def _dialog(worklist: Worklist) -> None:
    """A pattern to fill the table with, the table, and a button to save it."""
    entries = [e for e in worklist.everything if e.report and e.report.status != "failed"]
    left = worklist.total - len(entries)
    st.caption(
        "Edit any cell, then save. Entries are stored under each image's hash with your name. "
        "Images of one patient belong to one visit only if their exam dates are equal."
        + (f" {left} not listed: unreadable, or still being graded." if left else "")
    )
    _pattern_form()
    frame = table_of(entries, st.session_state.get("identity-rules"))
    edited = st.data_editor(
        frame, hide_index=True, key=f"identity-{st.session_state.get('identity-version', 0)}",
        disabled=["image", "source"], column_config=_config(),
        height=min(480, 38 + 35 * max(1, len(entries))),
    )  # fmt: skip
    error = st.session_state.pop("identity-table-error", "")
    if error:
        messages.problem(error)
    try:
        changes = corrections(entries, edited.to_dict("records"))
    except DrcoreError as error:
        messages.problem(str(error))
        changes = []
    label = "No changes" if not changes else f"Save {len(changes)} changed"
    if st.button(label, key="save-identities", type="primary", disabled=not changes):
        try:
            save(worklist, changes)
        except DrcoreError as error:
            messages.problem(str(error))
        else:
            _forget()
            _close()
            st.rerun()


def table_of(entries: Sequence[Entry], rules: NameRules | None = None) -> pd.DataFrame:
    """Return the table of some entries, filled by a pattern where there is one."""
    import pandas as pd

    rows = []
    for entry in entries:
        eye, patient, day = entry.laterality, entry.patient_shown, entry.exam_date
        if patient is None and entry.patient is not None:
            patient = HIDDEN
        if rules is not None:
            is_sure = not entry.facts.identity.is_name_unsure
            found = rules.read(entry.place or entry.file_name, is_sure=is_sure)
            eye, patient, day = (
                found.laterality or eye, found.patient or patient, found.exam_date or day,
            )  # fmt: skip
        rows.append(
            {
                "image": entry.name if entry.deidentified else entry.place or entry.name,
                "eye": _NAMES[eye], "patient": patient or "", "date": day or "",
                "source": source_words(entry.facts.identity.source),
            }
        )  # fmt: skip
    return pd.DataFrame(rows, columns=["image", "eye", "patient", "date", "source"])


def corrections(entries: Sequence[Entry], rows: Sequence[Mapping[str, Any]]) -> list[Correction]:
    """Return what an edited table changes; raises `DrcoreError` for what is no date."""
    from drcore.photographs.identity import parse_date

    found = []
    for entry, row in zip(entries, rows, strict=True):
        typed = " ".join(str(row["patient"] or "").split())[:200]
        patient = entry.patient if typed == HIDDEN else typed or None
        day = str(row["date"] or "").strip()
        exam_date = parse_date(day) if day else None
        if day and exam_date is None:
            raise DrcoreError(f"{day[:40]} is not a date. Write it as YYYY-MM-DD.")
        made = Correction(entry, EYES.get(row["eye"]), patient, exam_date)
        before = (entry.laterality, entry.patient, entry.exam_date)
        if (made.laterality, made.patient, made.exam_date) != before:
            found.append(made)
    return found


def save(worklist: Worklist, changes: Sequence[Correction]) -> None:
    """Store corrections in the record and in the list; raises `DrcoreError` if that fails."""
    reading_mode.require_reader()
    store, reader = state.store(), reading_mode.reader()
    for made in changes:
        day = None if made.exam_date == made.entry.exam_date else made.exam_date or ""
        store.correct_identity(
            made.entry.sha256, made.laterality, made.patient, reader, day, signed_in.login()
        )
        worklist.correct(made.entry.key, made.laterality, made.patient, made.exam_date)


def _pattern_form() -> None:
    with st.expander("Fill by a pattern or by folders"), st.form("identity-pattern", border=False):
        pattern = st.text_input(
            "Name pattern", key="identity-pattern-text",
            placeholder=r"(?P<patient>\d+)_(?P<eye>OD|OS)_(?P<date>\d{8})",
            help="Regular expression with named groups patient, eye and date, searched in the path",
        )  # fmt: skip
        folders = st.checkbox("Each folder is one patient", key="identity-folders")
        if st.form_submit_button("Fill the table"):
            _fill(pattern, folders)


def _fill(pattern: str, folders: bool) -> None:  # noqa: FBT001
    from drcore.photographs.identity import NameRules

    try:
        rules = NameRules(pattern.strip(), folders)
    except DrcoreError as error:
        st.session_state["identity-table-error"] = str(error)
        return
    _forget()
    st.session_state["identity-rules"] = rules


def _forget() -> None:
    """Begin with a new table, in which nothing was typed."""
    st.session_state.pop("identity-rules", None)
    st.session_state["identity-version"] = st.session_state.get("identity-version", 0) + 1


def _config() -> dict[str, Any]:
    column = st.column_config
    return {
        "image": column.TextColumn("Image", width="medium"),
        "eye": column.SelectboxColumn("Eye", options=list(EYES), required=True, width="small"),
        "patient": column.TextColumn("Patient ID", max_chars=200, width="small"),
        "date": column.TextColumn("Exam date", max_chars=10, width="small"),
        "source": column.TextColumn("Read from", width="medium"),
    }
