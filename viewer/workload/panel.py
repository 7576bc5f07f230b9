"""The parts of the Workload page: inputs, plan, queue."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import streamlit as st

from drcore.errors import DrcoreError
from viewer.session import reader as signed_in
from viewer.session import reading_mode, state
from viewer.ui import messages
from viewer.ui.assets import style_tag
from viewer.ui.downloads import csv_download
from viewer.ui.tables import uploaded_tables

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from drcore.agreement.reading_time import ReadingTimes
    from drcore.monitoring.release import Release
    from drcore.results.columns import Row
    from drcore.reviews.decision import Decision


def page(inputs: DeltaGenerator) -> None:
    """Show the page; `inputs` is the place for what it asks for."""
    from drcore.agreement.reading_time import times_of
    from drcore.monitoring.release import SIMULATION

    st.html(style_tag("ui/figures.css"))
    st.header("Workload")
    if reading_mode.hides_record():
        st.html('<div class="empty"><b>Study still masked</b>'
                "<p>Workload is available only to coordinators.</p></div>")  # fmt: skip
        return
    st.html(f"<p><b>{escape(SIMULATION)}</b></p>")
    with inputs:
        percent, unmasked = _inputs()
    try:
        decisions = state.store().decisions()
        found = _plan(decisions, percent / 100, unmasked=unmasked)
        tomorrow = _tables("workload-list")
    except DrcoreError as error:
        # The page has no options.
        messages.problem(str(error).replace(", or leave them out with --skip-invalid", ""))
        return
    if found is None:
        st.html(
            '<div class="empty"><b>No reference yet</b><p>Once readers have saved grades, or with '
            "labels and a table of results in the sidebar, the simulation appears here.</p></div>"
        )
        return
    times = times_of(decisions)
    _figures(found, times)
    if tomorrow:
        _queue(found, tomorrow, times)


def _inputs() -> tuple[float, bool]:
    percent = st.number_input(
        "Referable images missed, at most (%)", min_value=0.1, max_value=50.0, value=5.0, step=0.5,
        key="workload-miss", help="Upper 95 % limit, by patient",
    )  # fmt: skip
    unmasked = st.toggle(
        "Include reads with the model\u2019s result on screen", key="workload-unmasked",
        help="Only masked reads are independent of the model",
    )  # fmt: skip
    st.file_uploader("Labels (CSV), instead of the record", type="csv", key="workload-labels",
                     accept_multiple_files=True)  # fmt: skip
    st.file_uploader("Results of these images (CSV)", type="csv", key="workload-results",
                     accept_multiple_files=True)  # fmt: skip
    st.file_uploader("Results of tomorrow\u2019s list (CSV)", type="csv", key="workload-list",
                     accept_multiple_files=True)  # fmt: skip
    return percent, unmasked


def _plan(decisions: list[Decision], miss: float, *, unmasked: bool) -> Release | None:
    from drcore.monitoring.commands import plan_from_decisions, plan_from_labels

    rows = _tables("workload-results")
    with uploaded_tables("workload-labels") as labels:
        if labels:
            return plan_from_labels(rows, labels[0], miss)
    if not decisions:
        return None
    return plan_from_decisions(decisions, rows, miss, masked_only=not unmasked)


def _tables(key: str) -> list[Row]:
    from drcore.evaluation.outcomes import read_results

    with uploaded_tables(key) as tables:
        return [row for table in tables for row in read_results(table)]


def _figures(found: Release, times: ReadingTimes) -> None:
    low, high = found.interval
    share = found.released / max(found.healthy, 1)
    hours = found.hours(times, found.all_released)
    saved = "not known: no reading times in the record"
    if hours is not None:
        saved = (
            f"{hours[0]:.1f} h at {times.median:.0f} s an image "
            f"(quartiles {hours[1]:.1f} to {hours[2]:.1f} h)"
        )
    rows = [
        ("Release below score", f"{found.threshold:.2f} grades"),
        (
            "Not-referable images released",
            f"{found.released:,} of {found.healthy:,} ({share:.1%}, 95 % CI {low:.1%} to "
            f"{high:.1%})",
        ),
        (
            "Patients with a referable image missed",
            f"{found.missed:,} of {found.referable:,}; upper 95 % limit {found.limit:.2%}, "
            f"allowed {found.miss:.2%}",
        ),
        ("Of all images", f"{found.all_released:,} of {found.all_photographs:,} "
         f"({found.share:.1%})"),
        ("Reading time saved on these", saved),
    ]  # fmt: skip
    body = "".join(
        f"<tr><td class=who>{escape(name)}</td><td>{escape(text)}</td></tr>" for name, text in rows
    )
    st.html(f'<div class="figures-wrap"><table class="figures">{body}</table></div>')


def _queue(found: Release, rows: list[Row], times: ReadingTimes) -> None:
    from drcore.monitoring.release import QUEUE, queue
    from drcore.text import csv_text

    queued = queue(rows if signed_in.permits("export_identity") else _coded(rows), found.threshold)
    unread = sum(row["simulated"] == "would be released" for row in queued)
    hours = found.hours(times, unread)
    saved = "" if hours is None else f", {hours[0]:.1f} h less reading"
    st.subheader("Tomorrow\u2019s list")
    st.html(f"<p>{len(queued):,} images, {unread:,} would be released{saved}.</p>")
    st.dataframe(queued, hide_index=True, height=320)
    csv_download(
        "Download queue (CSV)", lambda: csv_text(queued, QUEUE), name="queue",
        key="download-queue", help="In the order of reading",
    )  # fmt: skip


def _coded(rows: list[Row]) -> list[Row]:
    """Return rows without patients, images named by code as in de-identified exports."""
    from drcore.export.deidentification import pseudonym

    return [{**row, "image": pseudonym(row.get("sha256", "")), "patient": ""} for row in rows]
