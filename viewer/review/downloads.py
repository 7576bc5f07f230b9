"""Downloads of the Review page: the result of one photograph, all grades."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from drcore.errors import DrcoreError
from viewer.session import reader as signed_in
from viewer.session import reading_mode, state
from viewer.ui.downloads import csv_download
from viewer.worklist.cases import case_of

if TYPE_CHECKING:
    from viewer.worklist.entry import Entry
    from viewer.worklist.worklist import Worklist


def download_result(worklist: Worklist, entry: Entry) -> None:
    """Show the download of a photograph's result as JSON; nothing while it must stay hidden."""
    if entry.report is None or entry.key in worklist.hidden:
        return
    deidentified = worklist.deidentified or not signed_in.permits("export_identity")
    name = entry.report.sha256[:12] or entry.key
    st.download_button(
        "Download JSON", data=lambda: result_bytes(worklist, entry, deidentified=deidentified),
        file_name=f"drcore-result-{name}.json", mime="application/json", on_click="ignore",
        icon=":material/data_object:", key=f"result-{entry.key}",
        help="Model result and all readers' grades for this image", width="stretch",
    )  # fmt: skip


def download_grades() -> None:
    """Show the download of every stored grade, unless the reader may not know of other readers."""
    hidden = reading_mode.hides_record() or reading_mode.hides_names()
    if not hidden and signed_in.permits("export_identity"):
        csv_download(
            "Download all grades (CSV)", lambda: state.store().csv_text(), name="grades",
            key="download-decisions",
            help="Every grade stored on this computer, from all lists and readers",
        )  # fmt: skip


def result_bytes(worklist: Worklist, entry: Entry, *, deidentified: bool = False) -> bytes:
    """Return a result as JSON; without readers' decisions if the database cannot be read."""
    from drcore.export.case import Case
    from drcore.export.deidentification import Disclosure
    from drcore.export.result_json import result_json

    only = reading_mode.reader() if reading_mode.hides_record() else None
    try:
        rules = reading_mode.study_rules()
        nameless = reading_mode.hides_names()
        case = case_of(
            entry, state.store(), rules=rules, only_reader=only,
            named=reading_mode.reader() if nameless else None,
        )  # fmt: skip
    except DrcoreError:
        if entry.report is None:
            raise
        case = Case(entry.report, entry.source)
    hide = deidentified or worklist.deidentified
    return result_json(case, Disclosure(deidentified=hide)).encode("utf-8")
