"""Regions that a reader marked on a photograph: a point or a box, and the lesion in it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from drcore.errors import ReviewError
from drcore.reviews.validation import check_moment, check_sha256, check_text
from drcore.text import clean_name, csv_text

__all__ = ["LESIONS", "MARK_COLUMNS", "Lesion", "Mark", "MarkKind", "marks_csv", "marks_json"]

MarkKind = Literal["point", "box"]
Lesion = Literal[
    "microaneurysm",
    "haemorrhage",
    "hard exudate",
    "cotton-wool spot",
    "neovascularisation",
    "IRMA",
    "venous beading",
    "other",
]
"""Signs of diabetic retinopathy; IRMA: intraretinal microvascular abnormality."""

LESIONS: tuple[Lesion, ...] = get_args(Lesion)

MARK_COLUMNS = (
    "number", "created_at", "reader", "sha256", "kind", "lesion", "x0", "y0", "x1", "y1", "note",
)  # fmt: skip
"""Columns of `marks_csv`: number in the record and fields of `Mark`, `created_at` in ISO 8601 and
UTC, coordinates with two decimals."""

_FARTHEST = 1_000_000
"""Pixels; no photograph is as wide."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A point or a box on a photograph.

    Attributes:
        sha256: of the file, 64 hex digits in lower case.
        kind: "point", where both corners are the same, or "box".
        lesion: one of `LESIONS`.
        x0, y0: left and upper edge, pixels of the original from its upper left corner.
        x1, y1: right and lower edge.
        reader: who marked it.
        created_at: when, with a time zone.
        note: free text, may be empty.

    Raises:
        ReviewError: the fields contradict each other or cannot be stored.
    """

    sha256: str
    kind: MarkKind
    lesion: Lesion
    x0: float
    y0: float
    x1: float
    y1: float
    reader: str
    created_at: datetime
    note: str = ""

    def __post_init__(self) -> None:
        check_sha256("The mark", self.sha256)
        if self.kind not in get_args(MarkKind):
            raise ReviewError(
                f"The mark: a {clean_name(str(self.kind))} is not known; choose point or box."
            )
        if self.lesion not in LESIONS:
            raise ReviewError(
                f"The mark: the lesion {clean_name(str(self.lesion))} is not known; choose "
                f"{', '.join(LESIONS)}."
            )
        corners = (self.x0, self.y0, self.x1, self.y1)
        if not all(
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and math.isfinite(value)
            and 0 <= value <= _FARTHEST
            for value in corners
        ):
            raise ReviewError(
                f"The mark: {clean_name(str(corners))} does not lie on the photograph. "
                "Give pixels of the original."
            )
        if self.kind == "point" and (self.x0, self.y0) != (self.x1, self.y1):
            raise ReviewError("The mark: a point has one place. Mark a box instead.")
        if self.kind == "box" and not (self.x0 < self.x1 and self.y0 < self.y1):
            raise ReviewError("The mark: the box is empty. Draw it from corner to corner.")
        check_text("The mark", "reader", self.reader)
        check_text("The mark", "note", self.note)
        check_moment("The mark", "the mark", self.created_at)


def marks_csv(marks: Iterable[tuple[int, Mark]]) -> str:
    """Write marks as CSV with `MARK_COLUMNS`.

    Args:
        marks: with their numbers in the record.

    Returns:
        Header and rows, cells safe in a spreadsheet.
    """
    return csv_text([_cells(number, mark) for number, mark in marks], MARK_COLUMNS)


def marks_json(marks: Iterable[tuple[int, Mark]]) -> str:
    """Write marks as JSON: a list of objects with `MARK_COLUMNS`.

    Args:
        marks: with their numbers in the record.

    Returns:
        Numbers are numbers, `created_at` is ISO 8601 in UTC; ends in a line break.
    """
    objects = [_values(number, mark) for number, mark in marks]
    return json.dumps(objects, ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def _values(number: int, mark: Mark) -> dict[str, Any]:
    values = {name: getattr(mark, name) for name in MARK_COLUMNS[1:]}
    values["created_at"] = mark.created_at.astimezone(UTC).isoformat()
    return {"number": number, **values}


def _cells(number: int, mark: Mark) -> dict[str, str]:
    cells = {name: str(value) for name, value in _values(number, mark).items()}
    cells["created_at"] = mark.created_at.astimezone(UTC).isoformat(timespec="milliseconds")
    for name in ("x0", "y0", "x1", "y1"):
        cells[name] = f"{getattr(mark, name):.2f}"
    return cells
