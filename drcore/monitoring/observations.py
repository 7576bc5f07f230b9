"""What is watched: photographs and decisions, each once, in the order of time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from drcore.results.columns import Row
from drcore.text import one_line

if TYPE_CHECKING:
    from drcore.reviews.decision import Decision

__all__ = ["MEASURES", "NOT_KNOWN", "Measure", "Observation", "observations_of", "values_of"]

NOT_KNOWN = "not known"
"""Camera of photographs whose header does not name one: a stream of its own."""


@dataclass(frozen=True, slots=True)
class Measure:
    """Something that has a control chart.

    Attributes:
        title: as charts and sentences call it.
        unit: of the mean, may be empty.
        classes: number of classes 0, 1, ...; 0 for a continuous measure.
        photograph: whether a photograph has it; else a decision.
    """

    title: str
    unit: str = ""
    classes: int = 0
    photograph: bool = True

    @property
    def share(self) -> bool:
        """Whether the mean is a share."""
        return self.classes == 2


MEASURES = {
    "score": Measure("Score", "grades"),
    "grade": Measure("Mean grade", "", 5),
    "gradable": Measure("Gradable share", "", 2),
    "sharpness": Measure("Sharpness"),
    "brightness": Measure("Brightness", "grey levels"),
    "field": Measure("Field of view", "of the longer side"),
    "pixels": Measure("Field of view in pixels", "log2 px"),
    "spread": Measure("Finest network less the others", "grades"),
    "score_given": Measure("Score given the others", "grades from expected"),
    "sharpness_given": Measure("Sharpness given the others", "from expected"),
    "brightness_given": Measure("Brightness given the others", "grey levels from expected"),
    "colour": Measure("Red over blue", "log2"),
    "colour_given": Measure("Red over blue given the spread of colours", "log2 from expected"),
    "saturation": Measure("Saturation"),
    "light_right": Measure("Light, right over left", "log2"),
    "light_down": Measure("Light, below over above", "log2"),
    "override": Measure("Overrides", "", 2, photograph=False),
    "seconds": Measure("Reading time", "s", photograph=False),
}
"""By name, in the order of the charts."""


_COLUMNS = {"colour": "red_blue"} | {
    name: name
    for name in (
        "score", "grade", "sharpness", "brightness", "saturation", "red_green_spread",
        "green_blue_spread", "light_right", "light_down",
    )
}  # fmt: skip
"""Values that a table of results has as a column."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One photograph or one decision.

    Attributes:
        sha256: of the photograph.
        camera: model, or `NOT_KNOWN`.
        day: of the examination, else of the decision; None where neither is known.
        unit: photographs of one patient and day share it; they count as one.
        values: by name of the measure, or of what a measure is told from.
    """

    sha256: str
    camera: str
    day: date | None
    unit: str
    values: Mapping[str, float]


def observations_of(rows: Iterable[Row], decisions: Sequence[Decision] = ()) -> list[Observation]:
    """Return what is to be watched.

    A photograph counts once, however often its table was read; of a reader's decisions on a
    photograph the first counts. Photographs of which there are decisions only have score, grade
    and gradability from the record.

    Args:
        rows: of tables of results, in their order; failed photographs are left out.
        decisions: of the record, in its order.

    Returns:
        Observations, undated ones first in the order given, then by day.
    """
    read: dict[tuple[str, str], Decision] = {}
    for decision in decisions:
        read.setdefault((decision.sha256, decision.reader), decision)
    days: dict[str, date] = {}
    for decision in read.values():
        days.setdefault(decision.sha256, decision.decided_at.date())
    found: dict[str, Observation] = {}
    for number, row in enumerate(rows):
        key = row.get("sha256", "") or f"row {number}"
        if row["status"] != "failed" and key not in found:
            found[key] = _of_row(row, key, days.get(key))
    made = []
    for decision in read.values():
        seen = found.get(decision.sha256)
        if seen is None:
            seen = found[decision.sha256] = _of_record(decision)
        made.append(_of_decision(decision, seen.camera))
    everything = [*found.values(), *made]
    first: dict[tuple[str, date | None], int] = {}
    for place, one in enumerate(everything):
        first.setdefault((one.unit, one.day), place)
    # Within a day the order given stays, but that photographs of a patient stand together.
    return sorted(everything, key=lambda one: (one.day or date.min, first[one.unit, one.day]))


def values_of(row: Row) -> dict[str, float]:
    """Return the measures of a row of results; those that its table does not have are left out."""
    values = {name: _number(row.get(column)) for name, column in _COLUMNS.items()} | {
        "gradable": {"true": 1.0, "false": 0.0}.get(row.get("gradable", "")),
        "spread": _spread(row),
    }
    across = _number(row.get("fov_radius"))
    side = max(_number(row.get("width")) or 0, _number(row.get("height")) or 0)
    if across and across > 0 and side > 0:
        values |= {"field": 2 * across / side, "pixels": math.log2(2 * across)}
    return {name: value for name, value in values.items() if value is not None}


def _of_row(row: Row, key: str, decided: date | None) -> Observation:
    day = _day(row.get("exam_date")) or decided
    patient = row.get("patient", "")
    return Observation(
        key, one_line(row.get("camera", ""), 64) or NOT_KNOWN, day,
        f"{patient} {day}" if patient else key, values_of(row),
    )  # fmt: skip


def _of_record(decision: Decision) -> Observation:
    values = {"gradable": float(decision.machine_status == "graded")}
    if decision.machine_score is not None:
        values["score"] = decision.machine_score
    if decision.machine_grade is not None:
        values["grade"] = float(decision.machine_grade)
    if decision.machine_status == "failed":
        values = {}
    return Observation(
        decision.sha256, NOT_KNOWN, decision.decided_at.date(), _unit(decision), values
    )


def _of_decision(decision: Decision, camera: str) -> Observation:
    values = {}
    if decision.machine_status == "graded":
        values["override"] = float(decision.action != "agree")
    if decision.seconds is not None:
        values["seconds"] = decision.seconds
    return Observation(decision.sha256, camera, decision.decided_at.date(), _unit(decision), values)


def _unit(decision: Decision) -> str:
    if not decision.patient:
        return decision.sha256
    return f"{decision.patient} {decision.decided_at.date()}"


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "nan")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _spread(row: Row) -> float | None:
    sizes = [name for name in row if name.removeprefix("score_").isdigit()]
    sizes.sort(key=lambda name: int(name.removeprefix("score_")))
    scores = [value for name in sizes if (value := _number(row[name])) is not None]
    return scores[-1] - sum(scores[:-1]) / len(scores[:-1]) if len(scores) > 1 else None


def _day(text: str | None) -> date | None:
    try:
        return date.fromisoformat(text or "")
    except ValueError:
        return None
