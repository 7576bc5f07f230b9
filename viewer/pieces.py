"""Two small pieces that run in the browser: the list of photographs, and the key that peeks."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from viewer.decision import said
from viewer.palette import chip_of

if TYPE_CHECKING:
    from viewer.worklist import Entry, Worklist

__all__ = ["peek_key", "queue", "queue_items"]

_HERE = Path(__file__).parent


def queue(worklist: Worklist, on_pick: Callable[[str], None], *, height: int) -> None:
    """Show the list of photographs; a click selects one.

    Args:
        worklist: to show.
        on_pick: called with the key of the entry that was clicked.
        height: in pixels, where the style sheet does not know better.
    """
    selected = worklist.selected

    def picked() -> None:
        key = st.session_state["queue"].get("pick")
        if key:
            on_pick(str(key))

    _queue()(
        key="queue",
        data={
            "items": queue_items(worklist.entries),
            "selected": selected.key if selected else "",
        },
        height=height,
        on_pick_change=picked,
    )


def queue_items(entries: list[Entry]) -> list[dict[str, Any]]:
    """Return what the browser needs to draw the list.

    Args:
        entries: of the worklist.

    Returns:
        A dictionary an entry; names are untrusted and are only ever set as text.
    """
    items = []
    for entry in entries:
        report = entry.report
        if report is None:
            note = "waiting"
        elif entry.decision is not None:
            note = f"reader: {said(entry.decision)}"
        elif report.status != "graded":
            note = "not fit for grading" if report.status == "ungradable" else "could not be read"
        else:
            note = " \u00b7 ".join(filter(None, (report.laterality, entry.origin)))
        items.append(
            {
                "key": entry.key,
                "name": entry.name,
                "note": note,
                "thumbnail": entry.thumbnail,
                "chip": chip_of(report),
                "decided": entry.decision is not None,
            }
        )
    return items


def peek_key() -> None:
    """While X is held, hide the map."""
    _peek()(key="peek", height=1)


@cache
def _queue() -> Any:
    return st.components.v2.component(
        "drcore_queue",
        html='<div class="list" role="list"></div>',
        css=(_HERE / "queue.css").read_text(encoding="utf-8"),
        js=(_HERE / "queue.js").read_text(encoding="utf-8"),
    )


@cache
def _peek() -> Any:
    return st.components.v2.component(
        "drcore_peek", js=(_HERE / "peek.js").read_text(encoding="utf-8")
    )
