"""The frame around every page: style, research-use notice, state of the model."""

from __future__ import annotations

import threading
from functools import cache
from typing import Any

import streamlit as st

from drcore import logs
from drcore.icdr import NOTICE
from viewer.server.model_loader import Engine
from viewer.server.settings import trouble
from viewer.session import state
from viewer.ui.assets import script, style_tag
from viewer.ui.messages import problem

_DARK = (
    'button[kind^="primary"], button[kind^="primary"] * { color: #06141a !important; }'
    ":root { --page: #14181b; }"
)

_LOAD_DELAY = 0.8
"""Seconds after which the model begins to load, so that the first page comes before it."""


def open_page() -> None:
    """Show style and research-use notice; the first call of every page."""
    _start_server()
    state.worklist()  # keeps its token in the address, so that a reload of any page finds it again
    st.html(style_tag("ui/style.css"))
    if st.context.theme.type == "dark":  # white on the bright primary colour could not be read
        st.html(f"<style>{_DARK}</style>")
    st.html(f'<div class="notice" role="note">{NOTICE}</div>')
    _guard()(key="guard", height=1)
    _skip_links()(key="skip", height=1)
    if sentence := trouble():
        problem(sentence)


def engine_status() -> None:
    """Start the model if needed, and show its state until it is ready."""
    model = state.engine()
    if model.state == "waiting":
        model.start(_LOAD_DELAY)
    st.session_state["engine-shown"] = model.state
    st.fragment(_engine_status, run_every=1.0 if model.state == "loading" else None)(model)


@cache
def _guard() -> Any:
    return st.components.v2.component("drcore_guard", js=script("ui/blank_page_guard.js"))


@cache
def _skip_links() -> Any:
    return st.components.v2.component("drcore_skip_links", js=script("ui/skip_links.js"))


@cache
def _start_server() -> None:
    """Once per server: set up its log, and delete copies that a killed server left behind."""
    logs.configure_from_environment()
    timer = threading.Timer(2 * _LOAD_DELAY, _delete_abandoned_copies)
    timer.daemon = True
    timer.start()


def _delete_abandoned_copies() -> None:
    from viewer.server.temporary_folder import sweep

    if deleted := sweep():
        logs.event("abandoned copies deleted", "info", folders=deleted)


def _engine_status(model: Engine) -> None:
    if model.state != st.session_state["engine-shown"]:
        st.rerun()
    if model.state == "failed":
        problem(model.error)
        st.button("Retry", key="retry-engine", on_click=model.start)
    elif model.grader is None:
        st.html('<p class="status busy"><i></i>Loading model\u2026</p>')
    else:
        device = "GPU" if model.grader.device == "cuda" else "CPU"
        st.html(f'<p class="status"><i></i>Model ready ({device})</p>')
