"""Points and boxes that a reader marks on the stage, and what is kept of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import streamlit as st

from drcore.errors import DrcoreError, ReviewError
from viewer.session import reading_mode

if TYPE_CHECKING:
    from drcore.reviews.mark import Mark
    from drcore.reviews.store import ReviewStore
    from viewer.image_viewer.preloading import Slide
    from viewer.worklist.worklist import Entry

__all__ = ["add", "mark_of", "message", "remove"]

_TROUBLE = "marking-trouble"


def message(entry: Entry, store: ReviewStore | None) -> dict[str, Any]:
    """Return what the browser needs to show the marks on an entry and to make new ones.

    Args:
        entry: on screen.
        store: where marks are kept; None where none can be.

    Returns:
        Plain values; names of readers are untrusted and are only ever set as text. Without the
        marks of others where a blinded reader must not see them.
    """
    from drcore.reviews.mark import LESIONS

    found: list[tuple[int, Mark]] = []
    trouble = str(st.session_state.pop(_TROUBLE, ""))
    if store is not None and entry.report is not None and entry.report.sha256:
        try:
            found = store.marks(entry.report.sha256)
        except DrcoreError as error:
            trouble = str(error)
    reader, alone = reading_mode.reader(), reading_mode.hides_other_readers(entry)
    return {
        "marking": store is not None,
        "lesions": list(LESIONS),
        "trouble": trouble,
        "marks": [
            {
                "number": number, "kind": mark.kind, "lesion": mark.lesion,
                "x0": mark.x0, "y0": mark.y0, "x1": mark.x1, "y1": mark.y1,
                "mine": mark.reader == reader, "reader": mark.reader,
            }
            for number, mark in found
            if mark.reader == reader or not alone
        ],
    }  # fmt: skip


def mark_of(told: dict[str, Any], slide: Slide, reader: str, now: datetime) -> Mark:
    """Make a mark of what the browser says.

    Args:
        told: kind, lesion and corners in pixels of the original; untrusted.
        slide: of the photograph.
        reader: who marks.
        now: with a time zone.

    Returns:
        The mark.

    Raises:
        ReviewError: something is missing, or the mark does not lie on the photograph.
    """
    from drcore.reviews.mark import Mark

    if not reader:
        raise ReviewError("Enter your name or initials first: each mark is kept with its reader.")
    corners = [told.get(name) for name in ("x0", "y0", "x1", "y1")]
    sides = (slide.pictures.width, slide.pictures.height) * 2
    values = [
        float(value)
        for value, side in zip(corners, sides, strict=True)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= side
    ]
    if len(values) < len(corners):
        raise ReviewError("The mark does not lie on the photograph. Draw it again.")
    x0, y0, x1, y1 = values
    return Mark(
        sha256=slide.pictures.sha256, kind=told.get("kind", ""), lesion=told.get("lesion", ""),
        x0=x0, y0=y0, x1=x1, y1=y1, reader=reader, created_at=now,
    )  # fmt: skip


def add(entry: Entry, slide: Slide, store: ReviewStore | None, told: dict[str, Any]) -> None:
    """Keep a mark that the reader has drawn.

    Args:
        entry: on screen.
        slide: of the entry.
        store: where marks are kept.
        told: by the browser; untrusted.
    """
    if store is None or told.get("id") != entry.image_id:
        return
    try:
        store.add_mark(mark_of(told, slide, reading_mode.reader(), datetime.now(UTC)))
    except DrcoreError as error:
        st.session_state[_TROUBLE] = str(error)


def remove(entry: Entry, store: ReviewStore | None, told: dict[str, Any]) -> None:
    """Take back a mark of the reader's own.

    Args:
        entry: on screen.
        store: where marks are kept.
        told: by the browser; untrusted.
    """
    number = told.get("number")
    if store is None or told.get("id") != entry.image_id or not isinstance(number, int):
        return
    try:
        store.remove_mark(number, reading_mode.reader())
    except DrcoreError as error:
        st.session_state[_TROUBLE] = str(error)
