"""Colour and text of each ICDR grade, the same in chips, cards and charts."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drcore.grading.report import GradeReport

Chip = tuple[str, str, str]
"""Text, background and text colour of a chip; colours as #rrggbb, never from a file."""

# Increasingly warm; they differ in lightness too, and a chip always shows its number.
GRADES: tuple[Chip, ...] = (
    ("0", "#58b07f", "#08130c"),
    ("1", "#b9c63c", "#12140a"),
    ("2", "#f0b232", "#171004"),
    ("3", "#e6762f", "#190b03"),
    ("4", "#bf2f45", "#ffffff"),
)
UNGRADABLE: Chip = ("U", "#8c96a1", "#0d1013")
FAILED: Chip = ("!", "#525b64", "#ffffff")
PENDING: Chip = ("\u2026", "#00000000", "inherit")


def chip_of(report: GradeReport | None) -> Chip:
    """Return the chip of a report; None while the photograph is being graded."""
    if report is None:
        return PENDING
    if report.grade is not None:
        return GRADES[report.grade]
    return UNGRADABLE if report.status == "ungradable" else FAILED
