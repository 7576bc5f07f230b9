"""The stage: photograph beside map, drawn in the browser so that nothing waits for the server."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import streamlit as st

from drcore.errors import DrcoreError
from viewer.image_viewer import annotations as image_viewer_annotations
from viewer.image_viewer import encoding, preloading
from viewer.session import redraw
from viewer.ui.assets import media_url, script, style

if TYPE_CHECKING:
    from drcore.grading.report import GradeReport
    from drcore.reviews.store import ReviewStore
    from viewer.image_viewer.preloading import Slide
    from viewer.worklist.renditions import Picture
    from viewer.worklist.worklist import Entry, Worklist

__all__ = ["AHEAD", "caption", "neighbours", "projector", "show", "slide_of", "starts_hidden"]

AHEAD = 3
"""Photographs that the browser gets before they are asked for: two to come, one that was."""

_SCRIPTS = (
    "ui/links.js", "image_viewer/pictures.js", "image_viewer/maps.js", "image_viewer/controls.js",
    "image_viewer/marks.js", "image_viewer/panels.js", "image_viewer/stage.js",
)  # fmt: skip
_HTML = """<svg class="defs" aria-hidden="true"><filter id="green"
color-interpolation-filters="sRGB"><feColorMatrix values="0 1 0 0 0  0 1 0 0 0  0 1 0 0 0
0 0 0 1 0"/></filter></svg><div class="stage"></div>"""


def starts_hidden(report: GradeReport) -> bool:
    """Say whether the map is hidden until asked for: where colours would suggest disease."""
    return not report.grade


def caption(report: GradeReport) -> str:
    """Return why the map starts hidden; empty where it does not."""
    if report.grade is None:
        return "The map starts hidden: on a photograph that is not fit for grading it may mislead."
    if report.grade == 0:
        return (
            "The map starts hidden: no retinopathy was found, and colours on a healthy retina "
            "suggest disease where there is none."
        )
    return ""


def projector() -> preloading.SlideCache:
    """Return the slides of this session."""
    kept: preloading.SlideCache = st.session_state.setdefault("slides", preloading.SlideCache())
    return kept


def slide_of(worklist: Worklist, entry: Entry, report: GradeReport) -> Slide | None:
    """Return the slide of an entry.

    Args:
        worklist: reads the photograph.
        entry: on screen.
        report: of the entry, not failed.

    Returns:
        The slide; None where the file was changed or taken away since it was graded.
    """
    kept = projector()
    kept.drop(worklist.entries)
    return kept.slide(worklist, entry, report)


def neighbours(worklist: Worklist) -> list[Entry]:
    """Return the entries that are likely to be shown next, the likeliest first."""
    entries, here = worklist.entries, worklist.position
    return [entries[at] for at in (here + 1, here - 1, here + 2) if 0 <= at < len(entries)]


def show(
    worklist: Worklist, entry: Entry, slide: Slide, store: ReviewStore | None, *, machine: bool
) -> None:
    """Show the stage, kept up to date while the pictures to come are made.

    Args:
        worklist: of the entry.
        entry: on screen.
        slide: of the entry.
        store: where marks are kept; None where none can be.
        machine: whether the map may reach the browser.
    """
    st.fragment(_show)(worklist, entry, slide, store, machine)


def message(entry: Entry, slide: Slide, slot: str, *, machine: bool) -> dict[str, Any]:
    """Return what the browser needs of a photograph; pictures and maps as addresses.

    Args:
        entry: of the slide, with a report.
        slide: what it shows.
        machine: whether the map may reach the browser.
        slot: where on the page; the files of another photograph in the same slot are let go.

    Returns:
        Plain values. The name is untrusted and is only ever set as text.
    """
    report, pictures = entry.report, slide.pictures
    digest = pictures.sha256

    def served(part: str, picture: Picture) -> dict[str, Any]:
        url = media_url(
            picture.data, picture.mimetype, f"drcore-stage/{slot}/{part}", f"{digest}-{part}"
        )
        return {"url": url, "width": picture.width, "height": picture.height}

    maps = None
    if machine and report is not None:
        raw = "application/octet-stream"
        url = media_url(slide.maps.data, raw, f"drcore-stage/{slot}/maps", f"{digest}-maps")
        maps = {
            "url": url, "scales": slide.maps.scales, "probes": slide.maps.probes,
            "hidden": starts_hidden(report), "caption": caption(report),
        }  # fmt: skip
    return {
        "id": entry.image_id, "name": entry.name,
        "width": pictures.width, "height": pictures.height,
        "field": encoding.field_of(
            report.field_of_view if report else None, pictures.width, pictures.height
        ),
        "original": served("original", pictures.original),
        "reduced": {view: served(f"small-{view}", p) for view, p in pictures.reduced.items()},
        "large": {view: served(f"large-{view}", p) for view, p in slide.large.items()},
        "maps": maps,
        "caption": "" if machine else "The map appears when your decision is saved.",
    }  # fmt: skip


def _show(
    worklist: Worklist,
    entry: Entry,
    slide: Slide,
    store: ReviewStore | None,
    machine: bool,  # noqa: FBT001
) -> None:
    redraw.renew(worklist)
    kept = projector()
    waiting = kept.prepare(worklist, neighbours(worklist))
    ahead = []
    for place, near in enumerate(neighbours(worklist)):
        ready = kept.ready(near)
        if ready is not None:
            # Asked of the list: to ask the study would count as having been shown it.
            open_ = near.key not in worklist.hidden
            ahead.append(message(near, ready, f"ahead-{place}", machine=open_))
    _stage()(
        key="stage-view",
        data={
            "slide": message(entry, slide, "here", machine=machine),
            "ahead": ahead,
            "waiting": waiting,
            **image_viewer_annotations.message(entry, store),
            **encoding.colour_table(),
        },
        height=480,
        on_ahead_change=_nothing,
        on_detail_change=lambda: _enlarge(entry, slide),
        on_mark_change=lambda: image_viewer_annotations.add(entry, slide, store, _told("mark")),
        on_unmark_change=lambda: image_viewer_annotations.remove(entry, store, _told("unmark")),
    )  # fmt: skip


def _nothing() -> None:
    """The browser asks whether what is to come is ready; to run again is the answer."""


def _enlarge(entry: Entry, slide: Slide) -> None:
    """Make a view at full size, because the reader looks closer than the reduced one goes."""
    from viewer.worklist import renditions

    asked = _told("detail")
    view = asked.get("view")
    if view not in renditions.ENHANCED or asked.get("id") != entry.image_id or view in slide.large:
        return
    try:
        slide.large[view] = renditions.enhanced(slide.pictures.original, view)
    except DrcoreError:  # the reduced view stays
        return


def _told(event: str) -> dict[str, Any]:
    """What the browser says; untrusted."""
    told = st.session_state["stage-view"].get(event)
    return told if isinstance(told, dict) else {}


@cache
def _stage() -> Any:
    return st.components.v2.component(
        "drcore_stage",
        html=_HTML,
        css=style("image_viewer/stage.css"),
        js=script(*_SCRIPTS),
    )
