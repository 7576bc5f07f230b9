"""Plotly figures: photograph beside map, the score on its scale, grades of a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from drcore.grader import GRADE_NAMES
from drcore.overlay import MAP_RANGE, colour_stops
from viewer import palette

if TYPE_CHECKING:
    from drcore.field_of_view import FieldOfView
    from drcore.grader import GradeReport, Scale
    from viewer.pictures import Pictures

__all__ = [
    "CHART_CONFIG",
    "comparison",
    "confusion",
    "grade_histogram",
    "layer_style",
    "scale_name",
    "scales_of",
]

CHART_CONFIG: dict[str, Any] = {
    "scrollZoom": True,
    "displaylogo": False,
    "doubleClick": "reset",
    "modeBarButtonsToRemove": ["toImage", "zoom2d", "pan2d", "autoScale2d"],
}

VIEW_COUNT = 3
"""Views of the original in `comparison`: those of `viewer.pictures.VIEWS`."""

STAGE = "#000000"
"""Black around the photograph, as around the retina: in the light theme too."""

_FAINT = "#8d979f"


def scales_of(report: GradeReport) -> list[Scale]:
    """Return the scales that can be shown, in the order of the maps in `comparison`."""
    return [*report.scales, "fused"]


def scale_name(scale: Scale) -> str:
    """Return what the page calls a scale."""
    return "Fused" if scale == "fused" else str(scale)


def comparison(report: GradeReport, pictures: Pictures, image_id: str) -> go.Figure:
    """Lay the photograph beside its maps, with linked zoom and pan.

    The figure holds every view of the original and the map of every scale; `layer_style` says
    which of them are seen. So the figure of a photograph never changes, and switching scale, view
    or opacity neither loses the zoom nor sends the photograph again. Coordinates are pixels of the
    original; the colours have one fixed range.

    Args:
        report: not failed.
        pictures: views of the same photograph.
        image_id: zoom is kept for as long as this stays the same.

    Returns:
        Left: one layout image a view. Right: the colour photograph, and one heat map a scale. A
        last, unseen heat map in each panel carries the values of all scales for the pointer.
    """
    figure = go.Figure()
    for scale in scales_of(report):
        cells = report.focused(scale)
        figure.add_trace(
            go.Heatmap(
                name=scale_name(scale),
                z=_rounded(cells.values),
                x0=cells.x0, dx=cells.step, y0=cells.y0, dy=cells.step,
                coloraxis="coloraxis",
                # Bilinear in grades, as `GradeReport.ram` is: hard squares hide the vessels.
                zsmooth="best",
                hoverinfo="skip", xaxis="x2", yaxis="y2",
                # Should the style sheet not reach it: the fused map, and none on a healthy eye.
                opacity=0.6 if scale == "fused" and report.grade else 0.0,
            )
        )  # fmt: skip
    for axis in ("", "2"):
        figure.add_trace(_probe(report, axis))

    views = list(pictures.views.values())
    for index, (source, axis) in enumerate([*((view, "") for view in views), (views[0], "2")]):
        figure.add_layout_image(
            source=source, xref=f"x{axis}", yref=f"y{axis}", layer="below", sizing="stretch",
            # Plotly draws one image a place: a thousandth of a pixel makes it another place.
            x=0, y=0, sizex=pictures.width + index / 1000, sizey=pictures.height,
            xanchor="left", yanchor="top",
        )  # fmt: skip
    if report.field_of_view is not None and report.field_of_view.found:
        figure.add_shape(_surround(report.field_of_view, report.cells(report.scales[0]).step))

    left, right, top, bottom = _first_look(report.field_of_view, pictures.width, pictures.height)
    bare = {"visible": False, "showgrid": False, "zeroline": False, "constrain": "range"}
    # Autorange, and not a range: that would widen each time the window changes its shape.
    x = {"autorange": True, "autorangeoptions": {"clipmin": left, "clipmax": right}, **bare}
    y = {"autorange": "reversed", "autorangeoptions": {"clipmin": top, "clipmax": bottom}, **bare}
    figure.update_layout(
        xaxis={"domain": [0, 0.4985], **x},
        xaxis2={"domain": [0.5015, 1], "matches": "x", "anchor": "y2", **x},
        yaxis={"scaleanchor": "x", **y},
        yaxis2={"matches": "y", "anchor": "x2", **y},
        annotations=[
            _caption("Photograph", 0.0),
            _caption("Map of the model", 0.5015),
            _caption("drag to move, scroll to zoom<br>double click to reset", 0.0, top=False),
        ],
        coloraxis=_colour_axis(),
        paper_bgcolor=STAGE, plot_bgcolor=STAGE, font={"color": "#d5dbe0", "size": 11},
        margin={"l": 4, "r": 4, "t": 24, "b": 46},
        dragmode="pan", hovermode="closest", uirevision=image_id,
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": "#8d979f", "activecolor": "#ffffff"},
        hoverlabel={"bgcolor": "#14181b", "bordercolor": "#49535b", "font": {"color": "#e8edf0"}},
    )  # fmt: skip
    return figure


def layer_style(
    report: GradeReport, key: str, *, scale: Scale, opacity: float, shown: bool, view: int
) -> str:
    """Return the style sheet that decides what of `comparison` is seen.

    Args:
        report: whose figure it is.
        key: of the container around the chart.
        scale: of the map.
        opacity: of the map's strongest colour, 0-1.
        shown: whether the map is seen at all.
        view: index of the view of the original.

    Returns:
        A style element; made of numbers and of our own words only.
    """
    visible = round(min(max(opacity, 0.0), 1.0), 3) if shown else 0
    chart = f".st-key-{key} .stPlotlyChart"
    rules = [
        f"{chart} .x2y2 .hm:nth-child({index}) image"
        f"{{opacity:{visible if scale == this else 0}!important}}"
        for index, this in enumerate(scales_of(report), start=1)
    ]
    rules += [
        f"{chart} .xy .imagelayer image:nth-of-type({index + 1})"
        f"{{visibility:{'visible' if index == view else 'hidden'}}}"
        for index in range(VIEW_COUNT)
    ]
    return "<style>" + "".join(rules) + "</style>"


def grade_histogram(rows: Sequence[Mapping[str, str]], *, height: int = 190) -> go.Figure:
    """Count the grades of a batch.

    Args:
        rows: of `drcore.batch`.
        height: in pixels.

    Returns:
        A bar for each grade, for ungradable and for failed photographs.
    """
    bars = [
        (f"{grade} \u00b7 {GRADE_NAMES[grade].split(' ')[0]}", str(grade), "", chip)
        for grade, chip in enumerate(palette.GRADES)
    ]
    bars[0] = ("0 \u00b7 None", "0", "", palette.GRADES[0])
    bars += [
        ("Ungradable", "", "ungradable", palette.UNGRADABLE),
        ("Failed", "", "failed", palette.FAILED),
    ]
    counts = [
        sum(
            row["grade"] == grade if grade else row["status"] == status
            for row in rows
        )
        for _, grade, status, _ in bars
    ]  # fmt: skip
    figure = go.Figure(
        go.Bar(
            x=[label for label, *_ in bars], y=counts, text=[str(n) for n in counts],
            textposition="outside", cliponaxis=False, hoverinfo="skip",
            marker={"color": [chip[1] for *_, chip in bars], "cornerradius": 3},
        )
    )  # fmt: skip
    figure.update_layout(
        height=height, margin={"l": 4, "r": 4, "t": 18, "b": 4}, bargap=0.28, showlegend=False,
        paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)", dragmode=False,
        yaxis={"visible": False, "range": [0, max([*counts, 1]) * 1.15], "fixedrange": True},
        xaxis={"fixedrange": True, "tickfont": {"size": 11}},
    )  # fmt: skip
    return figure


def confusion(matrix: Sequence[Sequence[int]], *, height: int = 300) -> go.Figure:
    """Draw a confusion matrix of grades.

    Args:
        matrix: counts, row: reference grade, column: the model's grade.
        height: in pixels.

    Returns:
        Counts as text; the shade is the share of the reference grade.
    """
    counts = np.asarray(matrix, float)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [str(grade) for grade in range(len(counts))]
    figure = go.Figure(
        go.Heatmap(
            z=share, x=names, y=names, text=counts.astype(int), texttemplate="%{text}",
            zmin=0, zmax=1, showscale=False, xgap=2, ygap=2, hoverinfo="skip",
            colorscale=[[0, "rgba(74,168,201,0.06)"], [1, "rgba(74,168,201,0.85)"]],
        )
    )  # fmt: skip
    figure.update_layout(
        height=height, margin={"l": 4, "r": 4, "t": 4, "b": 4}, dragmode=False,
        paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)",
        xaxis={
            "title": "grade of the model", "type": "category", "fixedrange": True,
            "showgrid": False,
        },
        yaxis={
            "title": "reference grade", "type": "category", "autorange": "reversed",
            "fixedrange": True, "showgrid": False,
        },
    )  # fmt: skip
    return figure


def _colour_scale() -> list[list[Any]]:
    return [
        [position, f"rgba({red},{green},{blue},{alpha:.3f})"]
        for position, (red, green, blue), alpha in colour_stops()
    ]


def _colour_axis() -> dict[str, Any]:
    """The one fixed colour scale of all maps, and its bar below the right panel."""
    low, high = MAP_RANGE
    return {
        "cmin": low, "cmax": high, "colorscale": _colour_scale(),
        "colorbar": {
            "orientation": "h", "x": 0.75, "xanchor": "center", "len": 0.42, "y": 0,
            "yanchor": "top", "ypad": 6, "thickness": 8, "outlinewidth": 0,
            "tickvals": [low + (high - low) * part / 4 for part in range(5)],
            "ticks": "", "tickfont": {"size": 10, "color": _FAINT},
            "title": {
                "text": "grades above a healthy retina", "side": "bottom",
                "font": {"size": 10, "color": _FAINT},
            },
        },
    }  # fmt: skip


def _probe(report: GradeReport, axis: str) -> go.Heatmap:
    """An unseen map whose pointer text tells the value at every scale."""
    fused = report.cells("fused")
    count = len(fused.values)
    others = []
    for size in report.scales:
        values = report.cells(size).values
        nearest = np.arange(count) * len(values) // count
        others.append(values[np.ix_(nearest, nearest)])
    lines = [f"{size} px %{{customdata[{index}]:.1f}}" for index, size in enumerate(report.scales)]
    return go.Heatmap(
        z=_rounded(fused.values), customdata=_rounded(np.stack(others, axis=-1)),
        x0=fused.x0, dx=fused.step, y0=fused.y0, dy=fused.step,
        zmin=MAP_RANGE[0], zmax=MAP_RANGE[1], opacity=0.0, showscale=False,
        colorscale=[[0, "rgba(0,0,0,0)"], [1, "rgba(0,0,0,0)"]], hoverongaps=False,
        hovertemplate=(
            "<b>%{z:.1f}</b> grades above a healthy retina (fused)<br>"
            + " \u00b7 ".join(lines)
            + "<extra></extra>"
        ),
        xaxis=f"x{axis}", yaxis=f"y{axis}",
    )  # fmt: skip


def _rounded(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.round(values, 3).astype(np.float32)


def _surround(fov: FieldOfView, step: float) -> dict[str, Any]:
    """A black ring around the retina: cells of the map are square, the field of view is round."""
    angle = np.linspace(0, 2 * np.pi, 180, endpoint=False)
    outer = _polygon(
        fov.x + (fov.radius + 2 * step) * np.cos(angle),
        fov.y + (fov.radius + 2 * step) * np.sin(angle),
    )
    inner = _polygon(
        np.clip(fov.x + fov.radius * np.cos(angle), fov.left, fov.right),
        np.clip(fov.y + fov.radius * np.sin(angle), fov.top, fov.bottom),
    )
    return {
        "type": "path", "path": f"{outer} {inner}", "fillrule": "evenodd", "fillcolor": STAGE,
        "line": {"width": 0}, "xref": "x2", "yref": "y2", "layer": "above",
    }  # fmt: skip


def _polygon(x: NDArray[np.float64], y: NDArray[np.float64]) -> str:
    points = [f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True)]
    return "M" + "L".join(points) + "Z"


def _first_look(
    fov: FieldOfView | None, width: int, height: int
) -> tuple[float, float, float, float]:
    """Left, right, top and bottom of what is seen at first: the whole retina and little else."""
    if fov is None or not fov.found:
        return 0, width, 0, height
    return (
        max(fov.x - fov.radius, fov.left, 0),
        min(fov.x + fov.radius, fov.right, width),
        max(fov.y - fov.radius, fov.top, 0),
        min(fov.y + fov.radius, fov.bottom, height),
    )


def _caption(text: str, x: float, *, top: bool = True) -> dict[str, Any]:
    return {
        "text": text, "x": x, "y": 1 if top else 0, "xref": "paper", "yref": "paper",
        "xanchor": "left", "yanchor": "bottom" if top else "top", "xshift": 4,
        "yshift": 2 if top else -8,
        "align": "left", "showarrow": False, "font": {"size": 11, "color": _FAINT},
    }  # fmt: skip
