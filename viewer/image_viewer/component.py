"""Photograph beside heat map, drawn in the browser so that nothing waits for the server."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import streamlit as st

from drcore.errors import DrcoreError
from drcore.grading.statements import map_sentence
from viewer.image_viewer import encoding, marks, preloading
from viewer.session import redraw
from viewer.ui.assets import media_url, script, style

if TYPE_CHECKING:
    from drcore.grading.report import GradeReport
    from drcore.reviews.store import ReviewStore
    from viewer.image_viewer.preloading import Slide
    from viewer.worklist.renditions import Picture
    from viewer.worklist.worklist import Entry, Worklist

_SCRIPTS = (
    "ui/links.js", "ui/single_run.js", "image_viewer/pictures.js", "image_viewer/maps.js",
    "image_viewer/controls.js", "image_viewer/marks.js", "image_viewer/panels.js",
    "image_viewer/drawing.js", "image_viewer/tools.js", "image_viewer/stage.js",
)  # fmt: skip


def starts_hidden(report: GradeReport) -> bool:
    """Whether the heat map is off by default: on healthy and ungradable images it misleads."""
    return not report.grade


def caption(report: GradeReport) -> str:
    """Return why the heat map is off by default; empty if it is on."""
    if report.grade is None:
        return "Heat map off by default: unreliable on an ungradable image."
    if report.grade == 0:
        return "Heat map off by default: the model found no retinopathy. H shows the raw map."
    return ""


def warning(report: GradeReport) -> str:
    """Return what a reader must know of a map that is off by default, once it is shown."""
    if report.grade is None:
        return "Warning: the heat map is unreliable on an ungradable image."
    if report.grade == 0:
        return (
            "Warning: raw map of a score within the range of healthy eyes. Healthy eyes have such "
            "spots, too; they are no evidence of disease."
        )
    return ""


def slide_cache() -> preloading.SlideCache:
    """Return the slide cache of this session."""
    cache_: preloading.SlideCache = st.session_state.setdefault("slides", preloading.SlideCache())
    return cache_


def slide_of(worklist: Worklist, entry: Entry, report: GradeReport) -> Slide | None:
    """Return the slide of an entry; None if the file has changed or been deleted since."""
    slides = slide_cache()
    slides.drop_others(worklist.entries)
    return slides.slide(entry, report)


def neighbours(worklist: Worklist) -> list[Entry]:
    """Return the entries that are likely to be shown next, the most likely first."""
    entries, here = worklist.entries, worklist.position
    return [entries[at] for at in (here + 1, here - 1, here + 2) if 0 <= at < len(entries)]


def other_eye(worklist: Worklist, entry: Entry) -> Entry | None:
    """Return a photograph of the patient's other eye, of the same visit; None if there is none."""
    if entry.laterality is None or entry.patient is None:
        return None
    study = next((one for one in worklist.studies if entry in one.entries), None)
    return next(
        (
            one
            for one in (study.entries if study else ())
            if one.laterality not in {None, entry.laterality}
            and one.report is not None
            and one.report.status != "failed"
        ),
        None,
    )


def _prepared(worklist: Worklist, other: Entry | None) -> list[Entry]:
    """The photographs that the browser gets beside the one on screen, the most likely first."""
    return list(dict.fromkeys([*neighbours(worklist), *([other] if other else [])]))


def show(
    worklist: Worklist, entry: Entry, slide: Slide, store: ReviewStore | None, *, machine: bool
) -> None:
    """Show the image viewer; `machine` says whether the map may reach the browser."""
    st.fragment(_show)(worklist, entry, slide, store, machine)


def message(entry: Entry, slide: Slide, slot: str, *, machine: bool) -> dict[str, Any]:
    """Return what the browser needs of a photograph; the name is untrusted, only ever set as text.

    The files of another photograph in the same `slot` of the page are released.
    """
    report, renditions = entry.report, slide.renditions
    digest = renditions.sha256

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
            "url": url, "scales": slide.maps.scales, "raw": encoding.is_raw(report),
            "hidden": starts_hidden(report), "caption": caption(report),
            "warning": warning(report), "words": map_sentence(report),
        }  # fmt: skip
    return {
        "id": entry.image_id, "name": entry.name, "eye": entry.laterality or "",
        "disc": encoding.disc_diameter(
            report.field_of_view if report else None, renditions.width, renditions.height
        ),
        "width": renditions.width, "height": renditions.height,
        "field": encoding.field_of(
            report.field_of_view if report else None, renditions.width, renditions.height
        ),
        "original": served("original", renditions.original),
        "reduced": {view: served(f"small-{view}", p) for view, p in renditions.reduced.items()},
        "large": {view: served(f"large-{view}", p) for view, p in slide.large.items()},
        "maps": maps,
        "caption": "" if machine else "The heat map is shown after you save your grade.",
    }  # fmt: skip


def _show(
    worklist: Worklist,
    entry: Entry,
    slide: Slide,
    store: ReviewStore | None,
    machine: bool,  # noqa: FBT001
) -> None:
    redraw.rerun_if_changed(worklist)
    if marks.card_changed():
        st.rerun()
    slides = slide_cache()
    other = other_eye(worklist, entry)
    near_by = _prepared(worklist, other)
    waiting = slides.prepare(near_by)
    ahead = []
    for place, near in enumerate(near_by):
        ready = slides.ready(near)
        if ready is not None:
            visible = near.key not in worklist.hidden
            ahead.append(message(near, ready, f"ahead-{place}", machine=visible))
    _component()(
        key="stage-view",
        data={
            "slide": message(entry, slide, "here", machine=machine),
            "ahead": ahead,
            "waiting": waiting,
            "other_eye": other.image_id if other else "",
            **marks.message(entry, store),
            **encoding.colour_table(),
        },
        height=480,
        on_ahead_change=_ignore,
        on_detail_change=lambda: _enlarge(entry, slide),
        on_mark_change=lambda: marks.add(entry, slide, store, _event("mark")),
        on_unmark_change=lambda: marks.remove(entry, store, _event("unmark")),
    )  # fmt: skip


def _ignore() -> None:
    """The browser asks whether the next photographs are ready; to run again is the answer."""


def _enlarge(entry: Entry, slide: Slide) -> None:
    """Make a view at full size, because the reader has zoomed beyond the reduced one."""
    from viewer.worklist import renditions

    asked = _event("detail")
    view = asked.get("view")
    if view not in renditions.ENHANCED or asked.get("id") != entry.image_id or view in slide.large:
        return
    try:
        slide.large[view] = renditions.enhanced(slide.renditions.original, view)
    except DrcoreError:  # the reduced view stays
        return


def _event(event: str) -> dict[str, Any]:
    """Values of an event from the browser; untrusted."""
    values = st.session_state["stage-view"].get(event)
    return values if isinstance(values, dict) else {}


@cache
def _component() -> Any:
    return st.components.v2.component(
        "drcore_stage",
        html='<div class="stage"></div>',
        css=style("image_viewer/stage.css"),
        js=script(*_SCRIPTS),
    )
