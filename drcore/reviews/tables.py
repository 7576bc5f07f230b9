"""Decisions and marks as CSV and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from drcore.reviews.decision import Decision
from drcore.reviews.findings import answer_words
from drcore.reviews.mark import Mark
from drcore.text import csv_text

__all__ = [
    "FINDING_COLUMNS", "MARK_COLUMNS", "REVIEW_COLUMNS", "decisions_csv", "decisions_json",
    "findings_csv", "marks_csv", "marks_json",
]  # fmt: skip

REVIEW_COLUMNS = (
    "number", "decided_at", "reader", "image", "sha256", "action", "grade", "note",
    "machine_status", "machine_grade", "machine_score", "model_version",
    "laterality", "patient", "seconds", "overlay_seen", "overlay_scales",
    "mode", "role", "machine_visible", "revises", "findings", "login",
)  # fmt: skip
"""Number in the record and fields of `Decision`. In CSV, times are ISO 8601 and UTC, None is an
empty cell, `machine_score` has four decimals and `seconds` one, `overlay_seen` and
`machine_visible` are true or false, and `overlay_scales` are separated by spaces. `findings` is the
structured reading, "form: Screening 1; macular_oedema: none"; in JSON an object. `login` says
whether the name was typed in ("unverified") or came from a login ("openid", "header"); empty in
records before it."""

FINDING_COLUMNS = ("number", "decided_at", "reader", "sha256", "form", "field", "answer")
"""A row for each answer of a structured reading; number of the decision in the record."""

MARK_COLUMNS = (
    "number", "created_at", "reader", "sha256", "kind", "lesion", "x0", "y0", "x1", "y1", "note",
    "login",
)  # fmt: skip
"""Number in the record and fields of `Mark`; in CSV, coordinates have two decimals."""

_DECIMALS = {"machine_score": 4, "seconds": 1, "x0": 2, "y0": 2, "x1": 2, "y1": 2}

Numbered = Iterable[tuple[int, Decision]] | Iterable[tuple[int, Mark]]
"""Decisions or marks with their numbers in the record."""


def decisions_csv(decisions: Iterable[tuple[int, Decision]]) -> str:
    """Write decisions as CSV with `REVIEW_COLUMNS`, cells safe in a spreadsheet."""
    return _csv(decisions, REVIEW_COLUMNS)


def marks_csv(marks: Iterable[tuple[int, Mark]]) -> str:
    """Write marks as CSV with `MARK_COLUMNS`, cells safe in a spreadsheet."""
    return _csv(marks, MARK_COLUMNS)


def findings_csv(decisions: Iterable[tuple[int, Decision]]) -> str:
    """Write structured readings as CSV with `FINDING_COLUMNS`, cells safe in a spreadsheet."""
    rows = (
        {
            "number": str(number), "decided_at": _cell("decided_at", made.decided_at),
            "reader": made.reader, "sha256": made.sha256, "form": made.findings.form,
            "field": field, "answer": one,
        }
        for number, made in decisions
        if made.findings is not None
        for field, answer in made.findings.values.items()
        for one in (answer if isinstance(answer, tuple) else (answer_words(answer),))
    )  # fmt: skip
    return csv_text(rows, FINDING_COLUMNS)


def decisions_json(decisions: Iterable[tuple[int, Decision]]) -> str:
    """Write decisions as a JSON list of objects with `REVIEW_COLUMNS`; unknown values are null."""
    return _json(decisions, REVIEW_COLUMNS)


def marks_json(marks: Iterable[tuple[int, Mark]]) -> str:
    """Write marks as a JSON list of objects with `MARK_COLUMNS`."""
    return _json(marks, MARK_COLUMNS)


def _csv(rows: Numbered, columns: Sequence[str]) -> str:
    cells = (
        {name: _cell(name, value) for name, value in _values(number, row, columns).items()}
        for number, row in rows
    )
    return csv_text(cells, columns)


def _json(rows: Numbered, columns: Sequence[str]) -> str:
    objects = [_values(number, row, columns) for number, row in rows]
    text = json.dumps(
        objects, ensure_ascii=False, allow_nan=False, indent=1, default=datetime.isoformat
    )
    return text + "\n"


def _values(number: int, row: Decision | Mark, columns: Sequence[str]) -> dict[str, Any]:
    values = {name: getattr(row, name) for name in columns[1:]}
    if isinstance(row, Decision):
        values["findings"] = row.findings and {"form": row.findings.form, **row.findings.values}
    moments = {k: v.astimezone(UTC) for k, v in values.items() if isinstance(v, datetime)}
    return {"number": number, **values, **moments}


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds")
    if isinstance(value, dict):
        return "; ".join(f"{key}: {answer_words(answer)}" for key, answer in value.items())
    if isinstance(value, tuple):
        return " ".join(value)
    return f"{value:.{_DECIMALS[name]}f}" if name in _DECIMALS else str(value)
