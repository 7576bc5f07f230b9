"""What the model said of labelled photographs, beside their labels."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drcore.errors import DrcoreError, MissingInputError
from drcore.evaluation.labels import Label
from drcore.icdr import REFERABLE
from drcore.model.calibration import GradeCalibration, spread_of
from drcore.results.columns import Row
from drcore.text import one_line

__all__ = ["Outcomes", "outcomes_of", "read_results"]

NONE = -1
"""Stands for a grade that there is not."""


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """Labelled photographs and what the model said of them, N of them.

    Attributes:
        image: str (N,), names in the table of results.
        patient: str (N,), keys that are drawn together; the photograph's own where unknown.
        low, high: int64 (N,), grades of the label, equal where it is one grade.
        status: str (N,), "graded", "ungradable" or "failed".
        grade: int64 (N,), 0-4; -1 unless graded.
        score: float64 (N,), in grades; NaN for a failed photograph.
        spread: float64 (N,), highest less lowest score over the scales, in grades; NaN likewise.
        probabilities: float64 (N, 5), NaN unless graded and calibrated.
        set_low, set_high: int64 (N,), of the set of grades; -1 like the probabilities.
        sensitive: bool (N,), referable at the sensitive operating point.
    """

    image: NDArray[np.str_]
    patient: NDArray[np.str_]
    low: NDArray[np.int64]
    high: NDArray[np.int64]
    status: NDArray[np.str_]
    grade: NDArray[np.int64]
    score: NDArray[np.float64]
    spread: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    set_low: NDArray[np.int64]
    set_high: NDArray[np.int64]
    sensitive: NDArray[np.bool_]

    def __len__(self) -> int:
        """Return the number of photographs."""
        return len(self.image)

    def where(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Outcomes:
        """Return some of the photographs.

        Args:
            chosen: bool (N,) or indices int (M,).
        """
        return Outcomes(**{f.name: getattr(self, f.name)[chosen] for f in fields(self)})

    @property
    def exact(self) -> NDArray[np.bool_]:
        """Whether the label is one grade, bool (N,)."""
        return np.asarray(self.low == self.high, np.bool_)

    @property
    def graded(self) -> NDArray[np.bool_]:
        """Whether the model gave a grade, bool (N,)."""
        return np.asarray(self.status == "graded", np.bool_)

    @property
    def referable(self) -> NDArray[np.bool_]:
        """Whether the label is referable, bool (N,)."""
        return self.low >= REFERABLE

    @property
    def called(self) -> NDArray[np.bool_]:
        """Whether the model called it referable at the default operating point, bool (N,)."""
        return self.grade >= REFERABLE


def read_results(table: Path) -> list[Row]:
    """Read the table that `drcore grade` wrote.

    Args:
        table: CSV.

    Returns:
        Its rows.

    Raises:
        MissingInputError: there is no such file.
        DrcoreError: it is not a table of drcore.
    """
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows = [{k: v or "" for k, v in row.items() if isinstance(k, str)} for row in reader]
            columns = set(reader.fieldnames or ())
    except FileNotFoundError as error:
        raise MissingInputError(f"{table.name}: there is no such file. Check the path.") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DrcoreError(f"{table.name} cannot be read ({one_line(error)}).") from error
    if not {"image", "status", "grade", "score", "p0", "grade_set"} <= columns:
        raise DrcoreError(f"{table.name} is not a table of results. Give one that drcore wrote.")
    return rows


def outcomes_of(
    rows: Sequence[Row], labels: Mapping[str, Label], certainty: GradeCalibration | None
) -> Outcomes:
    """Put rows of results beside their labels.

    Args:
        rows: of the table of results; those without a label are left out.
        labels: by image.
        certainty: of the bundle that graded them, for the sensitive operating point.

    Returns:
        The outcomes, in the order of the rows.

    Raises:
        DrcoreError: a row holds no number where one belongs.
    """
    chosen = [row for row in rows if row["image"] in labels]
    given = [labels[row["image"]] for row in chosen]
    try:
        score = np.array([_number(row["score"]) for row in chosen], np.float64)
        spread = np.array([_spread(row) for row in chosen], np.float64)
        p = np.array([[_number(row[f"p{k}"]) for k in range(5)] for row in chosen])
        grade = np.array([int(row["grade"] or NONE) for row in chosen], np.int64)
        sets = np.array([_set(row["grade_set"]) for row in chosen], np.int64).reshape(-1, 2)
    except (KeyError, ValueError) as error:
        raise DrcoreError(
            f"The table of results holds something else than results ({one_line(error)}). Grade "
            "again."
        ) from error
    point = np.inf if certainty is None else certainty.sensitive
    return Outcomes(
        image=np.array([row["image"] for row in chosen], np.str_),
        patient=np.array([_patient(row, label) for row, label in zip(chosen, given, strict=True)]),
        low=np.array([label.low for label in given], np.int64),
        high=np.array([label.high for label in given], np.int64),
        status=np.array([row["status"] for row in chosen], np.str_),
        grade=grade,
        score=score,
        spread=spread,
        probabilities=p.reshape(-1, 5),
        set_low=sets[:, 0],
        set_high=sets[:, 1],
        sensitive=score >= point,
    )


def _number(text: str) -> float:
    return float(text) if text else float("nan")


def _set(text: str) -> tuple[int, int]:
    """Return the ends of a cell such as "1 to 2"; up to 0.6.1 it was "1-2"."""
    if not text:
        return NONE, NONE
    parts = text.replace(" to ", "-").split("-")
    return int(parts[0]), int(parts[-1])


def _spread(row: Row) -> float:
    scores = [_number(value) for name, value in row.items() if _is_scale(name) and value]
    return spread_of(scores) if scores else float("nan")


def _is_scale(name: str) -> bool:
    return name.startswith("score_") and name.removeprefix("score_").isdigit()


def _patient(row: Row, label: Label) -> str:
    """Return a key of the patient, which no photograph without one shares."""
    patient = label.patient or row.get("patient", "")
    return f"patient {patient}" if patient else f"image {row['image']}"
