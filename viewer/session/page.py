"""What the pages share: the frame around them, the model, the worklist, the record of decisions."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from functools import cache
from typing import Any

import streamlit as st

from drcore import logs
from drcore.icdr import NOTICE
from viewer.server.model_loader import Engine
from viewer.session import state
from viewer.ui.assets import VIEWER, script
from viewer.ui.messages import problem

__all__ = ["download_decisions", "engine_status", "open_page"]

FIRST_PAINT = 0.8
"""Seconds after which the model begins to load, so that the first page comes before it."""

_STYLE = VIEWER / "ui" / "style.css"


def open_page() -> None:
    """Put the style and the research-use notice on the page; the first call of every page."""
    _start_up()
    state.worklist()  # keeps its token in the address, so that a reload of any page finds it again
    st.html(_STYLE)
    st.html(f'<div class="notice" role="note">{NOTICE}</div>')
    _guard()(key="guard", height=1)


@cache
def _guard() -> Any:
    return st.components.v2.component("drcore_guard", js=script("ui/blank_page_guard.js"))


@cache
def _start_up() -> None:
    """Do once a server: set up its log, and delete copies that a killed server left behind."""
    logs.configure_from_environment()
    timer = threading.Timer(2 * FIRST_PAINT, _tidy)
    timer.daemon = True
    timer.start()


def _tidy() -> None:
    from viewer.server.temporary_folder import (
        sweep,  # brings OpenCV, which the first page can spare
    )

    if gone := sweep():
        logs.event("abandoned copies deleted", "info", folders=gone)


def engine_status() -> None:
    """Start the model where it is not, and show how it stands until it is ready."""
    model = state.engine()
    if model.state == "waiting":
        model.start(FIRST_PAINT)
    st.session_state["engine-shown"] = model.state
    st.fragment(_engine_status, run_every=1.0 if model.state == "loading" else None)(model)


def _engine_status(model: Engine) -> None:
    if model.state != st.session_state["engine-shown"]:
        st.rerun()
    if model.state == "failed":
        problem(model.error)
        st.button("Try again", key="retry-engine", on_click=model.start)
    elif model.grader is None:
        st.html('<p class="status busy"><i></i>Loading the model\u2026</p>')
    else:
        device = "GPU" if model.grader.device == "cuda" else "CPU"
        st.html(f'<p class="status"><i></i>Model ready \u00b7 {device}</p>')


def download_decisions() -> None:
    """Show the button that downloads every decision of the record."""
    st.download_button(
        "Download decisions",
        data=lambda: state.store().csv_text().encode("utf-8"),
        file_name=f"drcore-decisions-{datetime.now(UTC).astimezone():%Y%m%d}.csv",
        mime="text/csv",
        on_click="ignore",
        icon=":material/download:",
        key="download-decisions",
        help="All decisions in this computer's record, as CSV",
        width="stretch",
    )
