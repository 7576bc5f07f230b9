"""Plotly charts: grades of a batch, confusion matrices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from drcore.icdr import GRADE_NAMES
from viewer.ui import palette


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
