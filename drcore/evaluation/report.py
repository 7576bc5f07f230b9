"""The report of an evaluation: figures as JSON, text and one HTML page that needs no network."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from html import escape
from typing import Any

from drcore import __version__
from drcore.agreement.statistics import FEWEST_PATIENTS
from drcore.evaluation.disagreements import Disagreement, worst_disagreements
from drcore.evaluation.metrics import (
    TITLES,
    Figure,
    Reliability,
    confusion_of,
    outcome_figures,
    reliability_of,
)
from drcore.evaluation.outcomes import Outcomes

__all__ = ["Evaluation", "evaluate_outcomes", "page", "text", "to_json"]

_PICTURES = frozenset({"photograph", "overlay"})


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        model: name and version of the weights.
        photographs: with a label, by status: graded, ungradable, failed.
        patients: number; a photograph whose patient is unknown counts as one.
        figures: with intervals.
        confusion: 5 x 5 counts, row: label, column: model; labels of one grade only.
        reliability: of the probability of referable disease.
        worst: disagreements, the worst first.
        notes: sentences on what the labels do not allow.
    """

    model: str
    photographs: dict[str, int]
    patients: int
    figures: list[Figure]
    confusion: list[list[int]]
    reliability: list[Reliability]
    worst: list[Disagreement]
    notes: list[str]


def evaluate_outcomes(outcomes: Outcomes, model: str, notes: Sequence[str] = ()) -> Evaluation:
    """Measure a model on labelled photographs.

    Args:
        outcomes: of the photographs.
        model: name and version of the weights.
        notes: sentences that belong into the report.

    Returns:
        The figures; disagreements without pictures.
    """
    counts = {
        status: int((outcomes.status == status).sum())
        for status in ("graded", "ungradable", "failed")
    }
    return Evaluation(
        model=model,
        photographs=counts,
        patients=len(set(outcomes.patient.tolist())),
        figures=outcome_figures(outcomes),
        confusion=confusion_of(outcomes).tolist(),
        reliability=reliability_of(outcomes),
        worst=worst_disagreements(outcomes),
        notes=[*notes, *_notes(outcomes)],
    )


def _notes(outcomes: Outcomes) -> list[str]:
    found = []
    ranges = int((~outcomes.exact).sum())
    if ranges:
        found.append(
            f"{ranges} labels say only whether the eye is referable, or a range of grades: they do "
            "not count in kappa, exact agreement, calibration error and grade sets."
        )
    grades = sorted(set(outcomes.low[outcomes.exact].tolist()))
    if grades and len(grades) < 5:
        missing = ", ".join(str(g) for g in range(5) if g not in grades)
        found.append(f"No label has the grade {missing}: kappa is that of the grades there are.")
    if outcomes.referable.all() or not outcomes.referable.any():
        found.append("All labels are on one side of referable: AUC cannot be measured.")
    if len(set(outcomes.patient.tolist())) < FEWEST_PATIENTS:
        found.append(f"There are fewer than {FEWEST_PATIENTS} patients: no intervals are given.")
    if any(patient.startswith("image ") for patient in outcomes.patient.tolist()):
        found.append(
            "Where the patient is not known a photograph counts as its own: intervals come out too "
            "narrow where patients have several."
        )
    return found


def to_json(evaluation: Evaluation) -> str:
    """Return an evaluation as JSON, without pictures; figures without a value are null."""
    content: dict[str, Any] = asdict(evaluation)
    content["worst"] = [
        {key: value for key, value in one.items() if key not in _PICTURES}
        for one in content["worst"]
    ]
    head = {"kind": "drcore evaluation 1", "drcore": __version__, "created": _today()}
    return json.dumps(_plain({**head, **content}), indent=1, ensure_ascii=False) + "\n"


def text(evaluation: Evaluation) -> str:
    """Lay out the figures and the confusion matrix as text."""
    lines = [_summary(evaluation), ""]
    for figure in evaluation.figures:
        span = "" if math.isnan(figure.low) else f" ({_span(figure)})"
        shown = f"{_decimal(figure.value)}{span}"
        lines.append(f"  {TITLES[figure.name]:<42}{shown:<26}n = {figure.photographs}")
    lines += ["", "Confusion matrix; row: label, column: model"]
    lines += ["".join(f"{count:>6}" for count in row) for row in evaluation.confusion]
    return "\n".join([*lines, "", *evaluation.notes]).rstrip()


def page(evaluation: Evaluation) -> str:
    """Return the report as one HTML page; charts, script and pictures are inside."""
    title = f"Evaluation of {evaluation.model}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(_summary(evaluation))} {_today()}, drcore {__version__}. Research use only "
        "\u2013 not a medical device.</p>",
        *(f"<p class='note'>{escape(note)}</p>" for note in evaluation.notes),
        "<h2>Figures</h2>",
        _figures_table(evaluation.figures),
        "<h2>Confusion matrix and reliability</h2>",
        *_charts(evaluation),
        "<h2>Worst disagreements</h2>",
        *(_disagreement(one) for one in evaluation.worst),
        "" if evaluation.worst else "<p>There is none.</p>",
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main>"
        + "\n".join(parts)
        + "</main></body></html>\n"
    )


_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1b1f24; background: #fff; margin: 0 }
main { max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse } td, th { padding: .3rem .8rem; text-align: left;
  border-bottom: 1px solid #d0d7de } td.n { text-align: right; font-variant-numeric: tabular-nums }
.charts { display: flex; flex-wrap: wrap } .note { color: #57606a }
figure { margin: 0 0 1.5rem; border-bottom: 1px solid #d0d7de }
figure img { max-width: 49%; height: auto }
"""


def _figures_table(figures: Sequence[Figure]) -> str:
    rows = "".join(
        f"<tr><th scope='row'>{escape(TITLES[f.name])}</th><td class='n'>{_decimal(f.value)}</td>"
        f"<td class='n'>{_span(f)}</td>"
        f"<td class='n'>{f.photographs}</td></tr>"
        for f in figures
    )
    return (
        "<table><thead><tr><th>Figure</th><th>Value</th><th>95 % interval, by patient</th>"
        f"<th>Images</th></tr></thead><tbody>{rows}</tbody></table>"
    )


def _charts(evaluation: Evaluation) -> list[str]:
    from plotly.graph_objects import Figure as Chart
    from plotly.graph_objects import Heatmap, Scatter

    names = [f"grade {grade}" for grade in range(5)]
    matrix = Chart(Heatmap(
        z=evaluation.confusion, x=names, y=names, colorscale="Blues", showscale=False,
        texttemplate="%{z}", hovertemplate="label %{y}, model %{x}: %{z}<extra></extra>",
    ))  # fmt: skip
    matrix.update_layout(
        title="Label (rows) and model (columns)", width=440, height=400,
        yaxis={"autorange": "reversed"},
    )  # fmt: skip
    points = evaluation.reliability
    curve = Chart([
        Scatter(x=[0, 1], y=[0, 1], mode="lines", line={"dash": "dot"}, hoverinfo="skip"),
        Scatter(
            x=[p.predicted for p in points], y=[p.observed for p in points], mode="markers",
            error_y={
                "type": "data", "symmetric": False,
                "array": [p.high - p.observed for p in points],
                "arrayminus": [p.observed - p.low for p in points],
            },
            text=[f"{p.photographs} images" for p in points],
        ),
    ])  # fmt: skip
    curve.update_layout(
        title="Referable: probability and observed share", width=440, height=400, showlegend=False,
        xaxis={"range": [-0.02, 1.02], "title": "probability"},
        yaxis={"range": [-0.02, 1.02], "title": "observed share, 95 % interval"},
    )  # fmt: skip
    parts = [
        chart.to_html(full_html=False, include_plotlyjs=index == 0, config={"displaylogo": False})
        for index, chart in enumerate((matrix, curve))
    ]
    return ["<div class='charts'>", *parts, "</div>"]


def _disagreement(one: Disagreement) -> str:
    pictures = "".join(
        f"<img src='{uri}' alt='{what} of {escape(one.image, quote=True)}'>"
        for what, uri in (("Photograph", one.photograph), ("Heat map", one.overlay))
        if uri
    )
    problem = f" {escape(one.problem)}" if one.problem else ""
    return (
        f"<figure><figcaption><b>{escape(one.image)}</b>: label {escape(one.label)}, model "
        f"{one.grade} (score {one.score:.2f}; probability of the label "
        f"{_decimal(one.probability)}).{problem}</figcaption>{pictures}</figure>"
    )


def _summary(evaluation: Evaluation) -> str:
    counts = evaluation.photographs
    patients = f"{evaluation.patients} patient{'' if evaluation.patients == 1 else 's'}"
    return (
        f"{evaluation.model}: {sum(counts.values())} labelled images of {patients}; "
        f"{counts['graded']} graded, {counts['ungradable']} ungradable, {counts['failed']} failed."
    )


def _today() -> str:
    return datetime.now(UTC).date().isoformat()


def _span(figure: Figure) -> str:
    if math.isnan(figure.low):
        return "\u2013"
    return f"{_decimal(figure.low)} to {_decimal(figure.high)}"


def _decimal(value: float) -> str:
    return "\u2013" if math.isnan(value) else f"{value:.3f}"


def _plain(value: Any) -> Any:
    """Replace what JSON has no number for by None."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
