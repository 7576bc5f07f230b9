"""The list of photographs, a component that runs in the browser."""

from __future__ import annotations

import base64
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import streamlit as st

from viewer.review.list_rows import list_rows
from viewer.ui.assets import media_url, script, style

if TYPE_CHECKING:
    from viewer.worklist.worklist import Worklist


def worklist_component(worklist: Worklist, on_pick: Callable[[str], None], *, height: int) -> None:
    """Show the list of photographs; `on_pick` gets the key of the entry that was clicked."""
    selected = worklist.selected

    def picked() -> None:
        key = st.session_state["queue"].get("pick")
        if key:
            on_pick(str(key))

    _component()(
        key="queue",
        data={
            "items": [
                {**row, "thumbnail": _thumbnail_url(row["key"], row["thumbnail"])}
                for row in list_rows(worklist)
            ],
            "selected": selected.key if selected else "",
        },
        height=height,
        on_pick_change=picked,
    )


def _thumbnail_url(key: str, thumbnail: str) -> str:
    """Return the address of a thumbnail: sent as data, all of them would go with every rerun."""
    if not thumbnail:
        return ""
    data = base64.b64decode(thumbnail.partition(",")[2])
    return media_url(data, "image/jpeg", f"drcore-queue/{key}")


@cache
def _component() -> Any:
    return st.components.v2.component(
        "drcore_queue", html='<div class="list" role="list"></div>', css=style("review/list.css"),
        js=script("review/list.js"),
    )  # fmt: skip
