"""The rows of a batch: columns, and cells that no spreadsheet takes for a formula."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from drcore.icdr import REFERABLE
from drcore.photographs.identity import Identity
from drcore.text import cell

if TYPE_CHECKING:
    from drcore.grading.report import GradeReport
    from drcore.sources.source import PhotographSource

__all__ = ["COLOUR_AND_LIGHT", "COLUMNS", "SIZES", "Row", "row_of", "with_identity"]


Row = dict[str, str]
"""A row of the CSV by column, every value as it is written there."""

SIZES = (128, 256, 512, 1024)
"""Input sizes that have a column, in pixels."""

COLOUR_AND_LIGHT = (
    "saturation", "red_blue", "red_green_spread", "green_blue_spread", "light_right", "light_down",
)  # fmt: skip
"""Attributes of `preprocessing.gradability.Quality` that are columns by the same name."""

COLUMNS = (
    "image", "status", "reason", "gradable", "grade", "score", "referable",
    "score_128", "score_256", "score_512",
    "laterality", "patient",
    "width", "height", "fov_x", "fov_y", "fov_radius", "fov_found", "fov_cut",
    "model_version", "sha256",
    "p0", "p1", "p2", "p3", "p4", "grade_set", "margin",
    "exam_date", "identity_source", "picture", "file_size", "note",
    "score_1024", "p_referable", "referable_sensitive", "referable_from", "borderline_from",
    "sharpness", "brightness", "camera", "quality_score",
    *COLOUR_AND_LIGHT,
)  # fmt: skip
"""Columns of the CSV. The order of the first seven is a promise to scripts.

image: path below the folder given, or the file's name; unique in the table.
status: graded, ungradable (read, but not fit for a grade) or failed (not read).
reason: a sentence where there is no grade.
gradable, referable, fov_found: true or false; referable is empty without a grade.
grade: ICDR grade 0-4, empty unless graded.
score, score_128, score_256, score_512, score_1024: severity in grades, their weighted mean and by
    input size in pixels, empty for a size that the weights do not have; also of an ungradable
    photograph, empty for a failed one.
laterality, patient: OD or OS, and whose eye, as DICOM header, pattern, folder or name say for
    certain; else empty.
width, height: of the original, upright, in pixels.
fov_x, fov_y, fov_radius: circle of the field of view, in pixels of the original.
fov_cut: sides on which it is cut off, separated by spaces.
model_version: name and version of the weights.
sha256: of the file, hex; of its picture where it holds several.
p0, p1, p2, p3, p4: probability of each grade; empty without a grade or without calibration.
grade_set: lowest and highest grade that cannot be ruled out, "2 to 3", or "2" alone; else empty.
margin: distance of the score to the nearest threshold, in grades; empty without a grade.
exam_date: of the examination, YYYY-MM-DD, never a file's time stamp; empty where unknown.
identity_source: where eye, patient and date were read, "eye=name patient=dicom date=pattern";
    "patient=unsure" where none is read as the encoding of the file name is uncertain.
picture: number of the picture in a file that holds several, from 1; else empty.
file_size: of the file, in bytes; with sha256 it tells --resume whether the content is the same.
note: what else the file holds and was passed over, such as a thumbnail or a stereo twin.
p_referable: probability of grade 2 or more; empty where p0 to p4 are.
referable_sensitive: true or false, at the sensitive operating point, which misses fewer eyes than
    `referable` and refers more healthy ones; empty where p0 to p4 are.
referable_from, borderline_from: operating point: scores from which `referable` and
    `referable_sensitive` are true; the latter empty without calibration.
sharpness, brightness: as the gradability check measured them (`preprocessing.gradability.Quality`);
    empty for a failed photograph.
camera: model of the camera by the DICOM header; empty where it gives none.
quality_score: probability that a reader would call the photograph gradable, 0-1; empty for a failed
    one.
saturation, red_blue, red_green_spread, green_blue_spread, light_right, light_down: colour and light
    as the gradability check measured them; empty for a failed photograph.
"""


def row_of(
    report: GradeReport, image: str | None = None, found: PhotographSource | None = None
) -> Row:
    """Turn a report into a row.

    Args:
        report: of one photograph.
        image: what the table calls it; the report's display name where left out.
        found: where it was found, for the last columns.

    Returns:
        All of `COLUMNS`. Grade and referable are empty unless graded.
    """
    fov, quality = report.field_of_view, report.quality
    failed = report.status == "failed"
    cells = {
        "image": report.name if image is None else image,
        "status": report.status,
        "reason": " ".join(report.reason.split()),
        "gradable": _flag(report.gradable),
        "grade": "" if report.grade is None else str(report.grade),
        "score": _decimal(report.score),
        "referable": _optional_flag(report.referable),
        **{f"score_{size}": _decimal(report.scores.get(size)) for size in SIZES},
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
        "exam_date": report.exam_date or "",
        "identity_source": report.identity_source,
        "picture": "" if found is None or found.frame is None else str(found.frame),
        "file_size": str(report.file_size or ""),
        "note": " ".join(report.note.split()),
        "p_referable": _decimal(report.probability_referable),
        "referable_sensitive": _optional_flag(report.referable_sensitive),
        "referable_from": "" if failed else _decimal(report.thresholds[REFERABLE - 1]),
        "borderline_from": "" if failed else _decimal(report.sensitive_threshold),
        "sharpness": _decimal(None if quality is None else quality.sharpness),
        "brightness": _decimal(None if quality is None else quality.brightness),
        "camera": " ".join(report.camera.split()),
        "quality_score": _decimal(None if quality is None else quality.score),
        **{name: _decimal(getattr(quality, name, None)) for name in COLOUR_AND_LIGHT},
    }
    return {column: cell(cells[column]) for column in COLUMNS}


def with_identity(row: Row, found: PhotographSource) -> Row:
    """Return a row that says whose eye it is as the photograph is found today."""
    if row["status"] == "failed":
        return row
    side = row["laterality"]
    identity = Identity.read_back(
        "OD" if side == "OD" else "OS" if side == "OS" else None,
        row["patient"] or None, row["exam_date"] or None, row["identity_source"],
    ).from_header.over(found.identity)  # fmt: skip
    cells = {
        "laterality": identity.laterality or "",
        "patient": row["patient"] if identity.patient_from == "dicom" else identity.patient or "",
        "exam_date": identity.exam_date or "",
        "identity_source": identity.source,
    }
    return {**row, **{column: cell(value) for column, value in cells.items()}}


def _flag(value: bool) -> str:  # noqa: FBT001 - the value itself, not a mode
    return "true" if value else "false"


def _optional_flag(value: bool | None) -> str:  # noqa: FBT001
    return "" if value is None else _flag(value)


def _decimal(value: float | None) -> str:
    if value is None or math.isnan(value):
        return ""
    return f"{round(value, 4) + 0.0:.4f}"  # never "-0.0000"


def _span(grades: tuple[int, ...] | None) -> str:
    if not grades:
        return ""
    if len(grades) == 1:
        return str(grades[0])
    return f"{grades[0]} to {grades[-1]}"  # a spreadsheet takes "2-3" for a day in March
