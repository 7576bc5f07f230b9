"""The stage: photograph beside map, and what switches them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from drcore.errors import DrcoreError

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from drcore.grader import GradeReport
    from viewer.worklist import Entry, Worklist

__all__ = ["caption", "controls", "figure_of", "show", "starts_hidden"]

VIEW_NAMES = ("Colour", "Red-free", "Contrast")


def starts_hidden(report: GradeReport) -> bool:
    """Say whether the map is hidden until asked for: where colours would suggest disease."""
    return not report.grade


def caption(report: GradeReport, *, shown: bool) -> str:
    """Return the line under the stage."""
    if report.grade is None:
        return "The map starts hidden: on a photograph that is not fit for grading it may mislead."
    if report.grade == 0:
        return (
            "The map starts hidden: no retinopathy was found, and colours on a healthy retina "
            "suggest disease where there is none."
        )
    if not shown:
        return "The map is hidden."
    return (
        "Colours tell how much a region raised the score. They are not outlines of lesions. "
        "Hold X to look underneath."
    )


def controls(entry: Entry, report: GradeReport) -> None:
    """Show the switches and apply them; only this part runs again when one is used.

    Args:
        entry: on screen.
        report: of the entry, not failed.
    """
    from viewer import figures

    shown_key = f"shown-{entry.key}"
    shown = st.session_state.setdefault(shown_key, not starts_hidden(report))
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="switches"):
        view = st.segmented_control(
            "Photograph",
            range(len(VIEW_NAMES)),
            format_func=VIEW_NAMES.__getitem__,
            default=0,
            required=True,
            key="view",
            label_visibility="collapsed",
            persist_state="session",
            help="Red-free shows the green channel; Contrast evens out the light (CLAHE).",
        )
        scale = st.segmented_control(
            "Map",
            figures.scales_of(report),
            format_func=figures.scale_name,
            default="fused",
            required=True,
            key="scale",
            label_visibility="collapsed",
            persist_state="session",
            help="Size of the image that the network saw; fused is the mean of all.",
        )
        st.button(
            "Hide map" if shown else "Show map",
            key="toggle-map",
            shortcut="H",
            on_click=_toggle,
            args=(shown_key,),
        )
        opacity = st.slider(
            "Opacity of the map",
            0,
            100,
            60,
            step=5,
            format="%d %%",
            key="opacity",
            label_visibility="collapsed",
            disabled=not shown,
            persist_state="session",
            width=130,
        )
    st.html(
        figures.layer_style(
            report,
            "stage",
            scale=scale or "fused",
            opacity=opacity / 100,
            shown=shown,
            view=view or 0,
        )
    )
    st.caption(caption(report, shown=shown))


def figure_of(worklist: Worklist, entry: Entry, report: GradeReport) -> Figure | None:
    """Return the chart of an entry; it is the same however the switches stand.

    Args:
        worklist: keeps the views.
        entry: on screen.
        report: of the entry, not failed.

    Returns:
        The figure; None where the file was changed or taken away since it was graded.
    """
    from viewer import figures

    try:
        pictures = worklist.pictures(entry)
    except DrcoreError:
        return None
    if pictures.sha256 != report.sha256:
        return None
    return figures.comparison(report, pictures, entry.image_id)


def show(figure: Figure) -> None:
    """Show the chart.

    Args:
        figure: of `figure_of`.
    """
    from viewer import figures

    with st.container(key="stage", height=480, border=False):
        st.plotly_chart(
            figure,
            theme=None,
            height="stretch",
            key="comparison",
            config=figures.CHART_CONFIG,
            alt="The photograph beside the map of the model",
        )


def _toggle(key: str) -> None:
    st.session_state[key] = not st.session_state[key]
