"""Grading diabetic retinopathy in fundus photographs, with Regression Activation Maps.

Research use only: decision support, not a medical device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drcore.errors import DrcoreError

if TYPE_CHECKING:
    from drcore.grading.grader import Grader
    from drcore.grading.report import GradeReport

__all__ = ["DrcoreError", "GradeReport", "Grader", "__version__"]

__version__ = "0.10.0"


def __getattr__(name: str) -> Any:  # loaded on first use: OpenCV and NumPy cost 200 ms
    if name in {"Grader", "GradeReport"}:
        from drcore.grading import grader

        return getattr(grader, name)
    raise AttributeError(f"module 'drcore' has no attribute {name!r}")
