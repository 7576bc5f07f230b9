"""Plotly charts: grades of a batch, confusion matrices, control charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from drcore.icdr import GRADE_NAMES
from viewer.ui import palette

if TYPE_CHECKING:
    from drcore.monitoring.charts import Chart


def grade_histogram(rows: Sequence[Mapping[str, str]], *, height: int = 190) -> go.Figure:
    """Return the histogram of a batch: a bar for each grade, for ungradable and unreadable."""
    bars = [
        (f"{grade} \u00b7 {GRADE_NAMES[grade].split(' ')[0]}", str(grade), "", chip)
        for grade, chip in enumerate(palette.GRADES)
    ]
    bars[0] = ("0 \u00b7 No DR", "0", "", palette.GRADES[0])
    bars += [
        ("Ungradable", "", "ungradable", palette.UNGRADABLE),
        ("Unreadable", "", "failed", palette.FAILED),
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


def confusion(
    matrix: Sequence[Sequence[int]], *, height: int = 300, dark: bool = False
) -> go.Figure:
    """Return the chart of a confusion matrix; rows are the reference, shades its shares.

    Plotly must be told whether the page is dark: it cannot know what shines through the shade.
    """
    counts = np.asarray(matrix, float)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [str(grade) for grade in range(len(counts))]
    figure = go.Figure(
        go.Heatmap(
            z=share, x=names, y=names, text=counts.astype(int), texttemplate="%{text}",
            textfont={"color": "#f4f7f9" if dark else "#11181c", "size": 12},
            zmin=0, zmax=1, showscale=False, xgap=2, ygap=2, hoverinfo="skip",
            colorscale=[[0, "rgba(74,168,201,0.06)"], [1, "rgba(74,168,201,0.85)"]],
        )
    )  # fmt: skip
    figure.update_layout(
        height=height, margin={"l": 4, "r": 4, "t": 4, "b": 4}, dragmode=False,
        paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)",
        xaxis={
            "title": "model grade", "type": "category", "fixedrange": True,
            "showgrid": False,
        },
        yaxis={
            "title": "reference grade", "type": "category", "autorange": "reversed",
            "fixedrange": True, "showgrid": False,
        },
    )  # fmt: skip
    return figure


def control(chart: Chart, *, height: int = 240) -> go.Figure:
    """Return a control chart: means with three standard errors, below them the statistic."""
    points, line = chart.points, "#2f86a6"
    periods = [point.period for point in points]
    figure = go.Figure()
    for bound in ("low", "high"):
        figure.add_scatter(
            x=periods, y=[getattr(point, bound) for point in points], mode="lines",
            line={"width": 0}, fill=None if bound == "low" else "tonexty",
            fillcolor="rgba(140,150,161,0.25)", hoverinfo="skip",
        )  # fmt: skip
    if chart.histogram is not None:
        figure.add_scatter(
            x=periods, y=[chart.histogram.mean] * len(points), mode="lines", hoverinfo="skip",
            line={"width": 1, "dash": "dot", "color": "#8c96a1"},
        )  # fmt: skip
    figure.add_scatter(
        x=periods, y=[point.mean for point in points], mode="lines+markers",
        line={"width": 1.5, "color": line}, text=[f"n = {point.count}" for point in points],
        hovertemplate="%{x}: %{y:.3f}, %{text}<extra></extra>",
        marker={
            "size": [10 if point.alarms else 6 for point in points],
            "symbol": ["diamond" if point.alarms else "circle" for point in points],
            "color": ["#bf2f45" if point.alarms else line for point in points],
        },
    )  # fmt: skip
    figure.add_bar(
        x=periods, y=[max(point.evidence, 0) / chart.limit for point in points], yaxis="y2",
        marker={"color": ["#bf2f45" if point.alarms else line for point in points]},
        hovertemplate="%{x}: %{y:.0%} of the limit<extra></extra>",
    )  # fmt: skip
    top = max(1.1, *(point.evidence / chart.limit * 1.05 for point in points))
    figure.add_hline(y=1, yref="y2", line={"width": 1, "dash": "dash", "color": "#bf2f45"})
    figure.update_layout(
        height=height, margin={"l": 4, "r": 4, "t": 6, "b": 4}, showlegend=False, dragmode=False,
        paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)", bargap=0.4,
        xaxis={"type": "category", "fixedrange": True, "nticks": 4, "anchor": "y2",
               "showgrid": False, "tickangle": 0, "tickfont": {"size": 10}},
        yaxis={"domain": [0.42, 1], "fixedrange": True, "nticks": 4, "zeroline": False,
               "tickfont": {"size": 10}},
        yaxis2={"domain": [0, 0.32], "fixedrange": True, "range": [0, top], "tickformat": ".0%",
                "tickvals": [0, 1], "ticktext": ["0", "limit"], "zeroline": False,
                "tickfont": {"size": 10}},
    )  # fmt: skip
    return figure
