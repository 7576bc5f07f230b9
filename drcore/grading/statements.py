"""What pages, documents and files say of a report, in one set of words."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from drcore.eye import FIELD_DEGREES
from drcore.icdr import FULL_NAMES, REFERABLE
from drcore.maps.region import LEVELS, Region

if TYPE_CHECKING:
    from collections.abc import Collection

    from drcore.grading.report import GradeReport

__all__ = [
    "MILD_IS_HARD", "Outcome", "grade_range", "identity_sentence", "map_key_words", "map_sentence",
    "model_sentence", "operating_point", "origin_words", "outcome", "outcome_words",
    "outline_words", "percent", "referable_words", "regions_of", "source_words",
]  # fmt: skip

Outcome = Literal["no", "borderline", "referable", "ungradable"]

_OUTCOMES: dict[Outcome, str] = {
    "no": "No referable DR",
    "borderline": "Borderline: needs a reader",
    "referable": "Referable DR",
    "ungradable": "Ungradable: refer or repeat the photograph",
}

_ORIGINS = {
    "dicom": "from DICOM header", "pattern": "by name pattern", "folder": "from folder",
    "name": "from file name", "hand": "entered by hand",
    "unsure": "not read (the encoding of the file name is uncertain)",
}  # fmt: skip

MILD_IS_HARD = "Grades 0 and 1 are hard to tell apart for this model."
"""Goes with every grade 0 and 1."""


def outcome(report: GradeReport) -> Outcome:
    """Return the referral outcome of a report that did not fail.

    Args:
        report: graded or ungradable.

    Returns:
        "borderline" between the sensitive and the default operating point.
    """
    if report.grade is None:
        return "ungradable"
    if report.referable:
        return "referable"
    return "borderline" if report.referable_sensitive else "no"


def outcome_words(report: GradeReport) -> str:
    """Return the referral outcome in words."""
    return _OUTCOMES[outcome(report)]


def referable_words(report: GradeReport) -> str:
    """State the probability of grade 2 or more; empty without a grade or calibration."""
    probability = report.probability_referable
    if probability is None:
        return ""
    return f"Probability of grade \u2265 {REFERABLE}: {percent(probability)}"


def percent(share: float) -> str:
    """Return a share in whole per cent, never rounded to 0 or 100."""
    whole = round(100 * share)
    return "< 1 %" if whole < 1 else "> 99 %" if whole > 99 else f"{whole} %"


def grade_range(report: GradeReport) -> str:
    """Return the grade, as a range where others cannot be ruled out: "2" or "2-3" (en dash)."""
    possible = report.grade_set or (report.grade,)
    low, high = possible[0], possible[-1]
    return str(low) if low == high else f"{low}\u2013{high}"


def model_sentence(report: GradeReport) -> str:
    """Say what the model makes of a photograph, such as "Model: grade 2 (Moderate ...)"."""
    if report.grade is None:
        return "Model: ungradable"
    told = grade_range(report)
    if told != str(report.grade):
        told = f"{told} (90 % prediction set), by its score {report.grade}"
    return f"Model: grade {told} ({FULL_NAMES[report.grade]})"


def operating_point(report: GradeReport) -> str:
    """Say from which score the model calls a photograph referable."""
    told = f"Operating point: referable from a score of {report.thresholds[REFERABLE - 1]:.2f}"
    if report.sensitive_threshold is None:
        return f"{told}."
    return f"{told}, borderline from {report.sensitive_threshold:.2f}."


@lru_cache(maxsize=64)
def regions_of(report: GradeReport) -> tuple[Region, ...]:
    """Return the outlined regions of the heat map, the largest contribution first."""
    return report.evidence().regions


def map_sentence(report: GradeReport) -> str:
    """Say what the heat map shows and how much of the score lies within its outlines.

    Args:
        report: graded or ungradable.

    Returns:
        One or two sentences, the same on pages and in documents.
    """
    regions = regions_of(report)
    unsure = " Unreliable on an ungradable image." if report.grade is None else ""
    if not regions and report.shown <= 0:
        return f"Heat map: score within the range of healthy eyes; no area stands out.{unsure}"
    if not regions:
        return f"Heat map: no area adds {LEVELS[0]} per disc area to the score.{unsure}"
    adds, areas, share = (
        sum(getattr(region, name) for region in regions) for name in ("adds", "disc_areas", "share")
    )
    one, first = len(regions) == 1, regions[0]
    told = "1 outlined area" if one else f"{len(regions)} outlined areas"
    largest = "" if one else f"; the largest adds {first.adds:.2f}"
    return (
        f"Heat map: {told} ({_areas(areas)}) add{'s' if one else ''} {adds:.2f} to the score of "
        f"{report.score:.2f}, {percent(share)} of all that raises it{largest} ({first.place}). "
        f"Outlines are not lesion outlines.{unsure}"
    )


def map_key_words(report: GradeReport) -> str:
    """Say what colours and outlines of a heat map mean."""
    weak, strong = LEVELS
    taken = " taken as" if report.field_degrees == FIELD_DEGREES else ""
    return (
        f"Colour: score added per disc area, the same scale on every image. Outlines: {weak} and "
        f"{strong} per disc area. Field of view{taken} {report.field_degrees:.0f}\u00b0."
    )


def outline_words(report: GradeReport) -> str:
    """Say at which levels outlines are drawn, in a few words."""
    weak, strong = LEVELS
    return (
        f"Heat map: outlines at {weak} and {strong} per disc area "
        f"(field {report.field_degrees:.0f}\u00b0)"
    )


def _areas(areas: float) -> str:
    return f"{areas:.1f} disc areas" if areas >= 0.1 else f"{areas:.2f} disc areas"


# --- eye, patient and date ----------------------------------------------------------------------


def source_words(identity_source: str, known: Collection[str] = ("eye", "patient", "date")) -> str:
    """Say where eye, patient and date were read.

    Args:
        identity_source: `eye=name patient=name date=dicom`.
        known: of what to say it; what is not read for a reason is said in any case.

    Returns:
        `eye and patient from file name; date from DICOM header`; empty where nothing is known.
    """
    by_origin: dict[str, list[str]] = {}
    for part in identity_source.split():
        what, _, origin = part.partition("=")
        if origin in _ORIGINS and (what in known or origin == "unsure"):
            by_origin.setdefault(origin, []).append(what)
    return "; ".join(f"{_listed(what)} {_ORIGINS[o]}" for o, what in by_origin.items())


def origin_words(identity_source: str, what: str) -> str:
    """Say where one of eye, patient and date was read, such as "from file name"; else empty."""
    own = " ".join(part for part in identity_source.split() if part.startswith(f"{what}="))
    return source_words(own, {what}).removeprefix(f"{what} ")


def identity_sentence(report: GradeReport, *, patient: bool = True) -> str:
    """Say where eye, patient and date of a photograph were read, and what is not known.

    Args:
        report: any.
        patient: whether the document names the patient.

    Returns:
        A sentence that holds neither of the values; empty where nothing is recorded.
    """
    values = {
        "eye": report.laterality, "patient": report.patient if patient else None,
        "date": report.exam_date,
    }  # fmt: skip
    told = source_words(report.identity_source, {what for what, value in values.items() if value})
    return f"Identification: {told}." if told else ""


def _listed(words: list[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
