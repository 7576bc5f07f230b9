"""Pictures that may not leave in a de-identified export, and what is kept of those that may."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Literal

from drcore.errors import PhotographError
from drcore.export.deidentification import Disclosure, retina_only
from drcore.export.writing import Writing, find_writing
from drcore.photographs.reader import read_photograph

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from drcore.export.case import Case
    from drcore.grading.report import GradeReport
    from drcore.preprocessing.field_of_view import FieldOfView

__all__ = ["PictureWithheldError", "check_picture", "known_writing", "released"]

Why = Literal["no rim", "writing"]

_REMEMBERED = 4096
_found: OrderedDict[tuple[str, FieldOfView], Writing] = OrderedDict()
"""What was found on the last photographs: report, overlay and DICOM each ask again."""
_lock = threading.Lock()


class PictureWithheldError(PhotographError):
    """A picture may not leave in a de-identified export.

    Attributes:
        sha256: of the photograph, hex.
        why: "no rim" where what surrounds the retina cannot be told from it, "writing" where a
            person has to look first.
    """

    def __init__(self, sentence: str, sha256: str, why: Why) -> None:
        super().__init__(sentence)
        self.sha256, self.why = sha256, why


def released(rgb: NDArray[np.uint8], report: GradeReport, privacy: Disclosure) -> NDArray[np.uint8]:
    """Return what may leave of a photograph in a de-identified export.

    Args:
        rgb: uint8 (h, w, 3), the photograph of the report at its own size.
        report: graded or ungradable, with its field of view.
        privacy: whether a person confirmed that nothing on this retina identifies the patient.

    Returns:
        uint8 (h, w, 3): black outside the field of view.

    Raises:
        PictureWithheldError: no rim of the field of view was found; or there may be writing on the
            retina, and nobody has confirmed that the picture may go.
    """
    view = report.field_of_view
    if view is None or not view.found:
        raise PictureWithheldError(
            f"{report.name}: its picture is left out, because no rim of the field of view was "
            "found: what surrounds the retina cannot be told from it and may name the patient.",
            report.sha256, "no rim",
        )  # fmt: skip
    inside = retina_only(rgb, view)
    if report.sha256 not in privacy.confirmed and _writing_on(inside, report.sha256, view).found:
        raise PictureWithheldError(
            f"{report.name}: its picture is held back, because there may be writing on the retina. "
            "Look at it, and confirm that nothing in it identifies a patient.",
            report.sha256, "writing",
        )  # fmt: skip
    return inside


def check_picture(case: Case, privacy: Disclosure) -> None:
    """Find out whether the picture of a photograph may leave in a de-identified export.

    Args:
        case: graded or ungradable, as `privacy` leaves it.
        privacy: see `released`.

    Raises:
        PictureWithheldError: it may not.
        PhotographError: the photograph vanished or changed since it was graded.
    """
    report = case.report
    photograph = read_photograph(case.source, name=report.name)
    if photograph.sha256 != report.sha256:
        raise PhotographError(f"{report.name}: the file changed since it was graded. Grade again.")
    released(photograph.rgb, report, privacy)


def known_writing(report: GradeReport) -> Writing | None:
    """Return what was found on a photograph, where it was looked for of late.

    Args:
        report: of the photograph.

    Returns:
        The place that looks most like writing; None where nobody has looked.
    """
    if report.field_of_view is None:
        return None
    with _lock:
        return _found.get((report.sha256, report.field_of_view))


def _writing_on(inside: NDArray[np.uint8], sha256: str, view: FieldOfView) -> Writing:
    """Look for writing, once for each photograph."""
    key = (sha256, view)
    with _lock:
        if key in _found:
            return _found[key]
    told = find_writing(inside)
    with _lock:
        _found[key] = told
        while len(_found) > _REMEMBERED:
            _found.popitem(last=False)
    return told
