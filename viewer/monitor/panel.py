"""The parts of the Monitor page: filters, sentences, charts."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from drcore.errors import DrcoreError
from viewer.server.settings import weights
from viewer.session import reading_mode, state
from viewer.ui import messages
from viewer.ui.assets import style_tag
from viewer.ui.downloads import csv_download
from viewer.ui.tables import uploaded_tables

if TYPE_CHECKING:
    from datetime import date

    from streamlit.delta_generator import DeltaGenerator

    from drcore.monitoring.charts import Chart
    from drcore.monitoring.reference import Histogram

COLUMNS = 3
"""Charts side by side."""


def page(filters: DeltaGenerator) -> None:
    """Show the page; `filters` is the place for its filters."""
    st.html(style_tag("ui/figures.css"))
    st.header("Monitor")
    if reading_mode.hides_record():
        _empty("Study still masked", "Monitor is available only to coordinators.")
        return
    st.html(
        "<p>Do images, the model\u2019s results or readers\u2019 grades drift away from a "
        "reference, such as after a change of camera or clinic?</p>"
    )
    with filters:
        since = st.date_input("Since", value=None, key="monitor-since")
        own = st.toggle(
            "Compare with this site\u2019s own start", key="monitor-own",
            help="Each camera\u2019s first 500 images are the reference, not the model\u2019s",
        )  # fmt: skip
        st.file_uploader(
            "Tables of results (CSV)", type="csv", accept_multiple_files=True,
            key="monitor-tables",
            help="From drcore grade or Batch: sharpness, light, colour, field of view and camera",
        )  # fmt: skip
    try:
        source, reference = _reference(own=own)
        charts = _charts(reference, since)
    except DrcoreError as error:
        messages.problem(str(error))
        return
    if not charts:
        _empty(
            "Nothing to watch yet",
            "Once readers have saved grades, or with a table of results in the sidebar, control "
            "charts by week and by camera appear here.",
        )
        return
    _sections(charts, source)


def _reference(*, own: bool) -> tuple[str, dict[str, Histogram]]:
    """Return what the reference is, and its histograms; none where it is the site's own."""
    from drcore.grading.installed import installed_models
    from drcore.model.bundle import bundled_folder
    from drcore.model.manifest import read_manifest
    from drcore.monitoring.reference import reference_of_bundle

    chosen = weights()
    entry = None
    if chosen not in installed_models():
        entry = read_manifest(Path(chosen) if chosen else bundled_folder()).reference_entry()
    if entry is None or own:
        said = "" if own else "The model in use brings no reference. "
        return f"{said}Reference: the first 500 images of each camera here.", {}
    return (
        f"Reference: {entry['photographs']:,} {entry['source']} of the model; overrides and "
        "reading time: the first 500 here.",
        reference_of_bundle(entry),
    )


def _charts(reference: dict[str, Histogram], since: date | None) -> list[Chart]:
    from drcore.evaluation.outcomes import read_results
    from drcore.monitoring.charts import charts_of
    from drcore.monitoring.observations import observations_of

    with uploaded_tables("monitor-tables") as tables:
        rows = [row for table in tables for row in read_results(table)]
    observations = observations_of(rows, state.store().decisions())
    return charts_of(observations, reference, since=since)


def _sections(charts: Sequence[Chart], source: str) -> None:
    from drcore.monitoring.charts import LIMITS, charts_csv, told

    crossed = any(chart.sentences for chart in charts)
    for sentence in told(charts):
        if crossed:
            messages.problem(sentence)
        else:
            st.html(f"<p>{escape(sentence)}</p>")
    st.html(f'<p class="remark">{escape(source)}</p>')
    cameras = list(dict.fromkeys(chart.camera for chart in charts))
    camera = cameras[0]
    if len(cameras) > 1:
        camera = st.selectbox("Camera", cameras, key="monitor-camera")
    shown = [chart for chart in charts if chart.camera == camera]
    if len(cameras) == 1:
        st.html(f'<p class="pair">Camera: {escape(camera)}</p>')
    columns = st.columns(COLUMNS)
    for index, chart in enumerate(shown):
        with columns[index % COLUMNS]:
            _chart(chart, index)
    st.html(f'<p class="remark">{escape(LIMITS)}</p>')
    csv_download(
        "Download points (CSV)", lambda: charts_csv(charts), name="monitor",
        key="download-monitor", help="All points of all charts",
    )  # fmt: skip


def _chart(chart: Chart, index: int) -> None:
    from viewer.ui import charts

    title = chart.measure.title + (f" ({chart.measure.unit})" if chart.measure.unit else "")
    st.html(f'<p class="pair"><b>{escape(title)}</b></p>')
    if chart.histogram is None:
        st.html(
            f'<p class="remark">{chart.gathered:,} of 500 for the reference: not watched yet.</p>'
        )
        return
    if not chart.points:
        st.html('<p class="remark">Nothing after the reference, or since this day.</p>')
        return
    crossed = sum(point.alarms for point in chart.points)
    st.plotly_chart(
        charts.control(chart), key=f"control-{index}", config={"displayModeBar": False},
        alt=f"{title} over {len(chart.points)} periods, from {chart.points[0].period} to "
        f"{chart.points[-1].period}; the limit was crossed {crossed} times.",
    )  # fmt: skip


def _empty(title: str, sentence: str) -> None:
    st.html(f'<div class="empty"><b>{escape(title)}</b><p>{escape(sentence)}</p></div>')
