"""A link to the list that this browser had open last, on the landing page."""

from __future__ import annotations

from functools import cache
from typing import Any

import streamlit as st

from viewer.session import current_list, state
from viewer.ui.assets import script


def last_list(token: str) -> None:
    """Let the browser remember the list of this session; if there is none, offer the last one.

    A list that was cleared or has expired is not offered again.
    """
    data = {
        "token": token,
        "cleared": state.session().cleared_token,
        "parameter": current_list.PARAMETER,
    }
    _component()(key="last-list", data=data)


@cache
def _component() -> Any:
    return st.components.v2.component(
        "drcore_last_list",
        html='<a target="_self" hidden>Continue your last list</a>',
        css="a { color: var(--st-link-color); font-family: var(--st-font); font-size: 15px; }",
        js=script("review/resume_link.js"),
    )
