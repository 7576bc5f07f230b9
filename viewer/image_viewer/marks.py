"""Points and boxes that a reader marks on a photograph."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import streamlit as st

from drcore.errors import DrcoreError, ReviewError
from viewer.session import reader as signed_in
from viewer.session import reading_mode

if TYPE_CHECKING:
    from drcore.reviews.mark import Mark
    from drcore.reviews.store import ReviewStore
    from viewer.image_viewer.preloading import Slide
    from viewer.worklist.worklist import Entry

_PROBLEM = "marking-problem"
_LASER = "marking-laser"


def card_changed() -> bool:
    """Return once whether the result card must be drawn again, for marks that it speaks of."""
    return bool(st.session_state.pop(_LASER, False))


def message(entry: Entry, store: ReviewStore | None) -> dict[str, Any]:
    """Return the marks that this reader may see; names of readers are untrusted text."""
    from drcore.reviews.mark import LESIONS

    found: list[tuple[int, Mark]] = []
    problem = str(st.session_state.pop(_PROBLEM, ""))
    if store is not None and entry.report is not None and entry.report.sha256:
        try:
            found = store.marks(entry.report.sha256)
        except DrcoreError as error:
            problem = str(error)
    reader, own_only = reading_mode.reader(), reading_mode.hides_machine(entry)
    nameless = reading_mode.hides_names()
    return {
        "marking": store is not None,
        "lesions": list(LESIONS),
        "problem": problem,
        "marks": [
            {
                "number": number, "kind": mark.kind, "lesion": mark.lesion,
                "x0": mark.x0, "y0": mark.y0, "x1": mark.x1, "y1": mark.y1,
                "mine": mark.reader == reader, "reader": "" if nameless else mark.reader,
            }
            for number, mark in found
            if mark.reader == reader or not own_only
        ],
    }  # fmt: skip


def laser_sentence(entry: Entry, store: ReviewStore | None) -> str:
    """Say what areas marked as laser scars add to the score; empty without them."""
    from drcore.export import cautions

    report = entry.report
    if store is None or report is None or report.status == "failed":
        return ""
    try:
        found = store.marks(report.sha256)
    except DrcoreError:  # the stage says so
        return ""
    return cautions.laser_sentence(report, (mark for _, mark in found))


def mark_of(values: dict[str, Any], slide: Slide, reader: str, now: datetime) -> Mark:
    """Return the mark that the browser describes: kind, lesion, corners in pixels of the original.

    Raises `ReviewError` if something is missing, or the mark is outside the photograph.
    """
    from drcore.reviews.mark import Mark

    if not reader:
        raise ReviewError(
            "Enter your name first \u2013 marks are stored under the reader\u2019s name."
        )
    corners = [values.get(name) for name in ("x0", "y0", "x1", "y1")]
    sides = (slide.renditions.width, slide.renditions.height) * 2
    inside = [
        float(value)
        for value, side in zip(corners, sides, strict=True)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= side
    ]
    if len(inside) < len(corners):
        raise ReviewError("The mark is outside the image. Please redraw it.")
    x0, y0, x1, y1 = inside
    return Mark(
        sha256=slide.renditions.sha256, kind=values.get("kind", ""),
        lesion=values.get("lesion", ""),
        x0=x0, y0=y0, x1=x1, y1=y1, reader=reader, created_at=now, login=signed_in.login(),
    )  # fmt: skip


def add(entry: Entry, slide: Slide, store: ReviewStore | None, values: dict[str, Any]) -> None:
    """Store a mark that the reader has drawn; `values` are untrusted."""
    if store is None or values.get("id") != entry.image_id:
        return
    try:
        reading_mode.require_reader()
        made = mark_of(values, slide, reading_mode.reader(), datetime.now(UTC))
        store.add_mark(made)
    except DrcoreError as error:
        st.session_state[_PROBLEM] = str(error)
    else:
        st.session_state[_LASER] = made.lesion == "laser scar"


def remove(entry: Entry, store: ReviewStore | None, values: dict[str, Any]) -> None:
    """Remove a mark of the reader's own; `values` are untrusted."""
    number = values.get("number")
    if store is None or values.get("id") != entry.image_id or not isinstance(number, int):
        return
    try:
        reading_mode.require_reader()
        store.remove_mark(number, reading_mode.reader(), signed_in.login())
    except DrcoreError as error:
        st.session_state[_PROBLEM] = str(error)
    else:
        st.session_state[_LASER] = True
