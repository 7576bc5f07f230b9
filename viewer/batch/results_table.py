"""The table of a batch: columns and filters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import streamlit as st

from drcore.grading.statements import source_words
from viewer.batch.outcomes import outcome_of

if TYPE_CHECKING:
    import pandas as pd

    from drcore.results.columns import Row
    from viewer.batch.outcomes import Outcome

GRADES = tuple(map(str, range(5)))
"""Of a row, as it stands in the table."""

_COLUMNS = (
    "image", "outcome", "grade", "score", "p_referable", "laterality", "patient", "exam_date",
    "identity_source", "status", "reason",
)  # fmt: skip


def filtered(
    rows: Sequence[Mapping[str, str]],
    *,
    show: Iterable[str] = (),
    outcomes: Iterable[Outcome] = (),
    text: str = "",
) -> list[int]:
    """Return the indices of rows of some grades and outcomes that hold a text, in any case.

    Nothing chosen stands for everything.
    """
    wanted, results, needle = set(show), set(outcomes), text.strip().lower()
    return [
        index
        for index, row in enumerate(rows)
        if (not wanted or (row["grade"] or row["status"]) in wanted)
        and (not results or outcome_of(row) in results)
        and (
            not needle
            or any(needle in row[name].lower() for name in ("image", "reason", "patient"))
        )
    ]


def table(rows: list[Row], indices: list[int]) -> pd.DataFrame:
    """Return some rows as a table in which numbers sort as numbers."""
    import pandas as pd

    lines = [{**rows[index], "outcome": outcome_of(rows[index])} for index in indices]
    frame = pd.DataFrame(lines, columns=list(_COLUMNS))
    frame["identity_source"] = frame["identity_source"].map(source_words)
    frame["p_referable"] = pd.to_numeric(frame["p_referable"], errors="coerce")
    frame["grade"] = pd.to_numeric(frame["grade"], errors="coerce").astype("Int64")
    frame["score"] = pd.to_numeric(frame["score"], errors="coerce")
    return frame


def column_config() -> dict[str, Any]:
    """Return titles and widths of the columns for `st.dataframe`."""
    column = st.column_config
    return {
        "image": column.TextColumn("Image", width="medium", pinned=True),
        "outcome": column.TextColumn("Outcome", width=120),
        "grade": column.NumberColumn("Grade", format="%d", width="small"),
        "score": column.NumberColumn("Score", format="%.2f", width="small"),
        "p_referable": column.NumberColumn(
            "P(\u2265 2)", format="%.2f", width="small", help="Probability of grade 2 or more"
        ),
        "laterality": column.TextColumn("Eye", width="small"),
        "patient": column.TextColumn("Patient ID", width="small"),
        "exam_date": column.TextColumn("Exam date", width="small"),
        "identity_source": column.TextColumn(
            "Read from", width=180, help="Where eye, patient and date were read"
        ),
        "status": column.TextColumn("Status", width="small"),
        "reason": column.TextColumn("Reason", width="large"),
    }


def patient_config() -> dict[str, Any]:
    """Return titles and widths of the columns of `outcomes.patient_table`."""
    column = st.column_config
    return {
        "patient": column.TextColumn("Patient ID", width="medium", pinned=True),
        "date": column.TextColumn("Exam date", width="small"),
        "outcome": column.TextColumn("Outcome", width="small"),
        "grade": column.NumberColumn("Worse eye", format="%d", width="small"),
        "right": column.TextColumn("Right eye", width="small"),
        "left": column.TextColumn("Left eye", width="small"),
        "images": column.NumberColumn("Images", format="%d", width="small"),
        "missing": column.TextColumn("Missing or uncertain", width="large"),
    }
