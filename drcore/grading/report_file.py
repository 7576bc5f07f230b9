"""A report as a file, so that what was graded once need not be graded again. No pickle."""

from __future__ import annotations

import io
import json
import math
import zipfile
from dataclasses import asdict, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drcore.errors import DrcoreError
from drcore.grading.report import GradeReport
from drcore.preprocessing.field_of_view import FieldOfView
from drcore.preprocessing.gradability import Quality
from drcore.preprocessing.retina_square import RetinaSquare

__all__ = ["report_from_bytes", "report_to_bytes"]

_KIND = "drcore report 1"
_ARRAYS = ("_maps", "_contrast")
_SINCE_0_7 = frozenset({
    "camera", "ceilings", "exam_date", "field_degrees", "file_size", "identity_source", "note",
    "placed_finest", "sensitive_threshold",
})  # fmt: skip
_LARGEST = 32 * 1024 * 1024
"""Bytes of the arrays of a report at most: fifty times what the largest network gives."""


def report_to_bytes(report: GradeReport) -> bytes:
    """Write a report with its maps.

    Args:
        report: any.

    Returns:
        A zip archive of NumPy arrays, one of them JSON; about 150 kB.
    """
    values = {field.name: getattr(report, field.name) for field in fields(report)}
    arrays: dict[str, Any] = {f"map_{size}": cells for size, cells in values["_maps"].items()}
    arrays["contrast"] = values["_contrast"]
    for name in ("field_of_view", "quality", "_frame"):
        values[name] = None if values[name] is None else asdict(values[name])
    head = {"kind": _KIND, **{name: v for name, v in values.items() if name not in _ARRAYS}}
    buffer = io.BytesIO()
    text = json.dumps(head).encode("utf-8", "surrogatepass")
    np.savez_compressed(buffer, head=np.frombuffer(text, np.uint8), **arrays)
    return buffer.getvalue()


def report_from_bytes(data: bytes) -> GradeReport:
    """Read a report back.

    Args:
        data: of `report_to_bytes`, perhaps of another release.

    Returns:
        The report as it was.

    Raises:
        DrcoreError: the data is damaged or of another release. Grade the photograph again.
    """
    try:
        return _read(data)
    except Exception as error:  # whatever damaged bytes bring about
        raise DrcoreError("The kept report cannot be read. Grade the photograph again.") from error


def _read(data: bytes) -> GradeReport:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if sum(member.file_size for member in archive.infolist()) > _LARGEST:
            raise ValueError("too large")
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    values = json.loads(arrays.pop("head").tobytes().decode("utf-8", "surrogatepass"))
    known = {field.name for field in fields(GradeReport)}
    expected = known - set(_ARRAYS) - _SINCE_0_7  # which reports of 0.6.1 lack
    if values.pop("kind") != _KIND or set(values) - _SINCE_0_7 != expected:
        raise ValueError("of another release")
    contrast = _array(arrays.pop("contrast"), np.uint8)
    maps = {int(name.removeprefix("map_")): _array(a, np.float32) for name, a in arrays.items()}
    view, quality, frame = (values.pop(n) for n in ("field_of_view", "quality", "_frame"))
    if quality is not None:
        quality = Quality(**quality)
    if frame is not None:
        frame = RetinaSquare(**{**frame, "field_of_view": FieldOfView(**frame["field_of_view"])})
    for name in ("scores", "fusion", "biases", "ceilings"):
        values[name] = {int(size): float(value) for size, value in values.get(name, {}).items()}
    for name in ("thresholds", "probabilities", "grade_set"):
        values[name] = None if values[name] is None else tuple(values[name])
    report = GradeReport(
        **values,
        field_of_view=None if view is None else FieldOfView(**view),
        quality=quality,
        _frame=frame,
        _maps=maps,
        _contrast=contrast,
    )
    _check(report)
    return report


def _array(values: NDArray[Any], kind: type) -> NDArray[Any]:
    if values.dtype != kind or values.ndim != 2:
        raise ValueError("not the array that was written")
    return values


def _check(report: GradeReport) -> None:
    """Refuse what no grader says: a grade is never invented."""
    sound = {
        "graded": report.grade in range(5) and math.isfinite(report.score),
        "ungradable": report.grade is None and math.isfinite(report.score),
        "failed": report.grade is None and math.isnan(report.score),
    }[report.status]
    if not sound or len(report.thresholds) != 4:
        raise ValueError("it contradicts itself")
