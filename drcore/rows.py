"""The rows of a batch: columns, and cells that no spreadsheet takes for a formula."""

from __future__ import annotations

import csv
import io
import math
import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from drcore.grader import GradeReport

__all__ = ["COLUMNS", "Row", "cell", "csv_safe", "csv_text", "printable", "row_of"]

Row = dict[str, str]
"""A row of the CSV by column, every value as it is written there."""

COLUMNS = (
    "image", "status", "reason", "gradable", "grade", "score", "referable",
    "score_128", "score_256", "score_512",
    "laterality", "patient",
    "width", "height", "fov_x", "fov_y", "fov_radius", "fov_found", "fov_cut",
    "model_version", "sha256",
    "p0", "p1", "p2", "p3", "p4", "grade_set", "margin",
)  # fmt: skip
"""Columns of the CSV. The order of the first seven is a promise to scripts.

image: path below the folder given, or the file's name; unique in the table.
status: graded, ungradable (read, but not fit for a grade) or failed (not read).
reason: a sentence where there is no grade.
gradable, referable, fov_found: true or false; referable is empty without a grade.
grade: ICDR grade 0-4, empty unless graded.
score, score_128, score_256, score_512: severity in grades, their mean and by input size in pixels;
    also of an ungradable photograph, empty for a failed one.
laterality, patient: OD or OS, and what else the file name says; empty where it does not tell.
width, height: of the original, upright, in pixels.
fov_x, fov_y, fov_radius: circle of the field of view, in pixels of the original.
fov_cut: sides on which it is cut off, parted by blanks.
model_version: name and version of the weights.
sha256: of the file, hex.
p0, p1, p2, p3, p4: probability of each grade; empty without a grade or without calibration.
grade_set: lowest and highest grade that cannot be ruled out, "2-3", or "2" alone; empty likewise.
margin: distance of the score to the nearest threshold, in grades; empty without a grade.
"""

# What a spreadsheet takes for the start of a formula, with the full-width, small and mathematical
# forms that some of them fold to ASCII first.
_TRIGGERS = "=+\\-@\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b\u2212"
_FORMULA = re.compile(rf"[\t\r\n]|\s*[{_TRIGGERS}]")
# Where semicolons part the columns (German, French, ... settings), a cell may begin inside ours.
_INNER_FORMULA = re.compile(rf"([;\t\r\n]\s*)(?=[{_TRIGGERS}])")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


def csv_safe(text: str) -> str:
    """Make a cell that no spreadsheet reads as a formula and that UTF-8 can hold.

    Args:
        text: any text.

    Returns:
        The text, with an apostrophe before what would start a formula; plain numbers stay as they
        are. Lone surrogates become escapes. Doing it twice changes nothing.
    """
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    if _NUMBER.fullmatch(text):
        return text
    text = _INNER_FORMULA.sub(r"\1'", text)
    return f"'{text}" if _FORMULA.match(text) else text


def csv_text(rows: Iterable[Row], columns: Sequence[str] = COLUMNS) -> str:
    r"""Write rows as CSV.

    Args:
        rows: values by column; a missing one becomes an empty cell.
        columns: which, in order.

    Returns:
        Header and rows, comma separated, lines ending in "\n", cells made safe.
    """
    file = io.StringIO()
    table = csv.writer(file, lineterminator="\n")
    table.writerow(columns)
    for row in rows:
        # A lone carriage return is a line break to some readers, and is not quoted.
        cells = (csv_safe(row.get(column, "")) for column in columns)
        table.writerow([cell.replace("\r\n", "\n").replace("\r", "\n") for cell in cells])
    return file.getvalue()


def row_of(report: GradeReport, image: str | None = None) -> Row:
    """Turn a report into a row.

    Args:
        report: of one photograph.
        image: what the table calls it; the report's display name where left out.

    Returns:
        All of `COLUMNS`. Grade and referable are empty unless graded.
    """
    fov = report.field_of_view
    failed = report.status == "failed"
    cells = {
        "image": report.name if image is None else image,
        "status": report.status,
        "reason": " ".join(report.reason.split()),
        "gradable": _flag(report.gradable),
        "grade": "" if report.grade is None else str(report.grade),
        "score": _decimal(report.score),
        "referable": "" if report.referable is None else _flag(report.referable),
        **{f"score_{size}": _decimal(report.scores.get(size)) for size in (128, 256, 512)},
        "laterality": report.laterality or "",
        "patient": report.patient or "",
        "width": "" if failed else str(report.width),
        "height": "" if failed else str(report.height),
        "fov_x": "" if fov is None else f"{fov.x:.1f}",
        "fov_y": "" if fov is None else f"{fov.y:.1f}",
        "fov_radius": "" if fov is None else f"{fov.radius:.1f}",
        "fov_found": "" if fov is None else _flag(fov.found),
        "fov_cut": "" if fov is None else " ".join(fov.cut),
        "model_version": report.model_version,
        "sha256": report.sha256,
        **{f"p{grade}": _decimal(p) for grade, p in enumerate(report.probabilities or (None,) * 5)},
        "grade_set": _span(report.grade_set),
        "margin": _decimal(report.margin),
    }
    return {column: cell(cells[column]) for column in COLUMNS}


def _flag(value: bool) -> str:  # noqa: FBT001 - the value itself, not a mode
    return "true" if value else "false"


def _decimal(value: float | None) -> str:
    if value is None or math.isnan(value):
        return ""
    return f"{round(value, 4) + 0.0:.4f}"  # never "-0.0000"


def _span(grades: tuple[int, ...] | None) -> str:
    if not grades:
        return ""
    return str(grades[0]) if len(grades) == 1 else f"{grades[0]}-{grades[-1]}"


def cell(text: str) -> str:
    """Make one printable line that is safe in a spreadsheet.

    Args:
        text: any text.

    Returns:
        The cell; done twice, it changes nothing.
    """
    return csv_safe(printable(text))


def printable(text: str) -> str:
    """Escape control, formatting and undecodable characters, so that a name stays one line.

    Args:
        text: a file name or another untrusted text.

    Returns:
        One line.
    """
    return "".join(
        c.encode("unicode_escape").decode("ascii")
        if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
        else c
        for c in text
    )
