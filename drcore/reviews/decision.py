"""A reader's decision about one photograph, with the circumstances in which it was made."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from drcore.errors import ReviewError
from drcore.eye import Laterality
from drcore.reviews.reading_modes import MODES, ReadingMode, Role
from drcore.reviews.validation import LONGEST, check_moment, check_sha256, check_text, is_grade
from drcore.text import clean_name, csv_text

__all__ = ["REVIEW_COLUMNS", "Action", "Decision", "decisions_csv", "decisions_json"]

Action = Literal["agree", "change", "ungradable"]

REVIEW_COLUMNS = (
    "number", "decided_at", "reader", "image", "sha256", "action", "grade", "note",
    "machine_status", "machine_grade", "machine_score", "model_version",
    "laterality", "patient", "seconds", "overlay_seen", "overlay_scales",
    "mode", "role", "machine_visible", "revises",
)  # fmt: skip
"""Columns of `decisions_csv`: the number in the record and the fields of `Decision`, `decided_at`
in ISO 8601 and UTC, an empty cell for None, `machine_score` with four decimals, `seconds` with one,
`overlay_seen` and `machine_visible` true or false, `overlay_scales` parted by blanks."""

_STATUSES = ("graded", "ungradable", "failed")
_SCALE = re.compile(r"[1-9][0-9]{1,3}|fused")


@dataclass(frozen=True, slots=True)
class Decision:
    """What a reader decided about one photograph, and what the model had said.

    Attributes:
        sha256: of the file, 64 hex digits in lower case.
        image: name of the photograph as shown; untrusted text.
        model_version: name and version of the weights.
        machine_status: "graded", "ungradable" or "failed".
        machine_grade: 0-4, None unless graded.
        machine_score: continuous severity in grades, None where there was none.
        action: "agree" with the machine's grade, "change" to another, or "ungradable"; a blinded
            reader agrees where the grades turn out to be the same.
        grade: the reader's grade 0-4; the machine's where they agree, None where ungradable.
        note: the reader's reason, free text, may be empty.
        reader: who decided, may be empty where the viewer has no names.
        decided_at: when, with a time zone.
        laterality: "OD", "OS" or None.
        patient: None where unknown.
        seconds: the photograph was looked at, before this decision and since the one before it;
            None where that was not recorded.
        overlay_scales: at which the reader saw the map before deciding ("128", "fused", ...); empty
            where the map was hidden the whole time, None where it was not recorded.
        mode: of reading; None where it was not recorded.
        role: of the reader; None where it was not recorded.
        machine_visible: whether the machine's grade had been on screen before the decision; None
            where it was not recorded.
        revises: number in the record of this reader's earlier decision on the same photograph that
            this one changes, such as after the machine's grade was uncovered; None for a first.

    Raises:
        ReviewError: the fields contradict each other or cannot be stored.
    """

    sha256: str
    image: str
    model_version: str
    machine_status: str
    machine_grade: int | None
    machine_score: float | None
    action: Action
    grade: int | None
    note: str
    reader: str
    decided_at: datetime
    laterality: Laterality | None = None
    patient: str | None = None
    seconds: float | None = None
    overlay_scales: tuple[str, ...] | None = None
    mode: ReadingMode | None = None
    role: Role | None = None
    machine_visible: bool | None = None
    revises: int | None = None

    @property
    def overlay_seen(self) -> bool | None:
        """Whether the reader saw the map at any scale; None where it was not recorded."""
        return None if self.overlay_scales is None else bool(self.overlay_scales)

    def __post_init__(self) -> None:
        label = clean_name(str(self.image))
        check_sha256(label, self.sha256)
        if self.laterality not in {"OD", "OS", None}:
            raise ReviewError(f"{label}: laterality is OD, OS or unknown.")
        for name in LONGEST:
            if name != "patient" or self.patient is not None:
                check_text(label, name, getattr(self, name))
        self._check_machine(label)
        self._check_attention(label)
        self._check_study(label)
        self._check_grade(label)
        check_moment(label, "the decision", self.decided_at)

    def _check_grade(self, label: str) -> None:
        if self.action not in get_args(Action):
            raise ReviewError(
                f"{label}: the decision {self.action!r} is not known; choose "
                f"{', '.join(get_args(Action))}."
            )
        if self.action == "agree" and (self.machine_grade is None or not is_grade(self.grade)):
            raise ReviewError(
                f"{label}: there is no grade of the model to agree with. Give a grade of your own."
            )
        if self.action == "agree" and self.grade != self.machine_grade:
            raise ReviewError(
                f"{label}: grade {self.grade} does not agree with the model's "
                f"{self.machine_grade}. Record it as a change."
            )
        if self.action == "change" and not is_grade(self.grade):
            raise ReviewError(f"{label}: {self.grade!r} is not a grade; choose 0 to 4.")
        if self.action == "ungradable" and self.grade is not None:
            raise ReviewError(f"{label}: an ungradable photograph has no grade. Leave it out.")

    def _check_machine(self, label: str) -> None:
        if self.machine_status not in _STATUSES:
            raise ReviewError(f"{label}: the model's answer {self.machine_status!r} is not known.")
        if (self.machine_grade is not None) != (self.machine_status == "graded") or not (
            self.machine_grade is None or is_grade(self.machine_grade)
        ):
            raise ReviewError(
                f"{label}: the model's grade {self.machine_grade!r} does not go with its answer "
                f"{self.machine_status!r}."
            )
        if self.machine_score is not None and not math.isfinite(self.machine_score):
            raise ReviewError(f"{label}: the model's score is not a number. Leave it out.")

    def _check_attention(self, label: str) -> None:
        if self.seconds is not None and not (math.isfinite(self.seconds) and self.seconds >= 0):
            raise ReviewError(f"{label}: {self.seconds} seconds is not a time. Leave it out.")
        scales = self.overlay_scales
        if scales is not None and not (
            isinstance(scales, tuple)
            and all(isinstance(name, str) and _SCALE.fullmatch(name) for name in scales)
            and len(set(scales)) == len(scales)
        ):
            raise ReviewError(
                f"{label}: {clean_name(str(scales))} are not scales of the map. Give each once, "
                'as its size in pixels or as "fused", or leave them out.'
            )

    def _check_study(self, label: str) -> None:
        for name, known in (("mode", MODES), ("role", get_args(Role))):
            value = getattr(self, name)
            if value is not None and value not in known:
                raise ReviewError(
                    f"{label}: the {name} {clean_name(str(value))} is not known; choose "
                    f"{', '.join(known)}, or leave it out."
                )
        if self.machine_visible not in {True, False, None}:
            raise ReviewError(f"{label}: the machine's grade was visible or not, or leave it out.")
        number = self.revises
        if number is not None and not (
            isinstance(number, int) and not isinstance(number, bool) and number > 0
        ):
            raise ReviewError(f"{label}: {number!r} is not the number of an earlier decision.")


def decisions_csv(decisions: Iterable[tuple[int, Decision]]) -> str:
    """Write decisions as CSV with `REVIEW_COLUMNS`.

    Args:
        decisions: with their numbers in the record.

    Returns:
        Header and rows, cells safe in a spreadsheet.
    """
    return csv_text([_cells(number, made) for number, made in decisions], REVIEW_COLUMNS)


def decisions_json(decisions: Iterable[tuple[int, Decision]]) -> str:
    """Write decisions as JSON: a list of objects with `REVIEW_COLUMNS`.

    Args:
        decisions: with their numbers in the record.

    Returns:
        Numbers are numbers, what is unknown is null, `decided_at` is ISO 8601 in UTC, and
        `overlay_scales` is a list; ends in a line break.
    """
    objects = [_values(number, made) for number, made in decisions]
    return json.dumps(objects, ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def _values(number: int, decision: Decision) -> dict[str, Any]:
    values = {name: getattr(decision, name) for name in REVIEW_COLUMNS[1:]}
    values["decided_at"] = decision.decided_at.astimezone(UTC).isoformat()
    return {"number": number, **values}


def _cells(number: int, decision: Decision) -> dict[str, str]:
    values = _values(number, decision)
    cells = {name: "" if value is None else str(value) for name, value in values.items()}
    cells["decided_at"] = decision.decided_at.astimezone(UTC).isoformat(timespec="milliseconds")
    if decision.machine_score is not None:
        cells["machine_score"] = f"{decision.machine_score:.4f}"
    if decision.seconds is not None:
        cells["seconds"] = f"{decision.seconds:.1f}"
    for name in ("overlay_seen", "machine_visible"):
        cells[name] = cells[name].lower()
    cells["overlay_scales"] = " ".join(decision.overlay_scales or ())
    return cells
