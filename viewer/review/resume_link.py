"""The way back to the list that this browser had open last, from the plain address."""

from __future__ import annotations

from functools import cache
from typing import Any

import streamlit as st

from viewer.session import current_list
from viewer.ui.assets import script

__all__ = ["last_list"]


def last_list(token: str) -> None:
    """Let the browser remember the list of this session; where there is none, offer the last one.

    The browser keeps the token as it keeps the address that holds it. What was cleared, or is no
    longer kept, is not offered again.

    Args:
        token: of the list of this session; "" where it is empty.
    """
    data = {"token": token, "gone": current_list.gone(), "parameter": current_list.PARAMETER}
    _offer()(key="last-list", data=data)


@cache
def _offer() -> Any:
    return st.components.v2.component(
        "drcore_last_list",
        html='<a target="_self" hidden>Continue your last list</a>',
        css="a { color: var(--st-link-color); font-family: var(--st-font); font-size: 15px; }",
        js=script("review/resume_link.js"),
    )
