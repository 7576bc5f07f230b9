"""The table of a batch: columns and filters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import streamlit as st

if TYPE_CHECKING:
    import pandas as pd

    from drcore.results.columns import Row

KINDS = (*map(str, range(5)), "ungradable", "failed")
"""Grade of a row, or its status if it has none."""

_COLUMNS = (
    "image", "status", "grade", "score", "referable", "laterality", "patient", "reason",
)  # fmt: skip


def kind_name(kind: str) -> str:
    """Return what the page calls one of `KINDS`."""
    return "Unreadable" if kind == "failed" else kind.capitalize()


def filtered(
    rows: Sequence[Mapping[str, str]], *, show: Iterable[str] = (), text: str = ""
) -> list[int]:
    """Return the indices of rows of some `KINDS` (all if empty) that hold a text, in any case."""
    wanted, needle = set(show), text.strip().lower()
    return [
        index
        for index, row in enumerate(rows)
        if (not wanted or (row["grade"] or row["status"]) in wanted)
        and (
            not needle
            or any(needle in row[name].lower() for name in ("image", "reason", "patient"))
        )
    ]


def table(rows: list[Row], indices: list[int]) -> pd.DataFrame:
    """Return some rows as a table in which numbers sort as numbers."""
    import pandas as pd

    frame = pd.DataFrame([rows[index] for index in indices], columns=list(_COLUMNS))
    frame["grade"] = pd.to_numeric(frame["grade"], errors="coerce").astype("Int64")
    frame["score"] = pd.to_numeric(frame["score"], errors="coerce")
    frame["referable"] = frame["referable"].map({"true": "yes", "false": "no"}).fillna("")
    return frame


def column_config() -> dict[str, Any]:
    """Return titles and widths of the columns for `st.dataframe`."""
    column = st.column_config
    return {
        "image": column.TextColumn("Image", width="medium", pinned=True),
        "status": column.TextColumn("Status", width="small"),
        "grade": column.NumberColumn("Grade", format="%d", width="small"),
        "score": column.NumberColumn("Score", format="%.2f", width="small"),
        "referable": column.TextColumn("Referable", width="small"),
        "laterality": column.TextColumn("Eye", width="small"),
        "patient": column.TextColumn("Patient ID", width="medium"),
        "reason": column.TextColumn("Reason", width="large"),
    }
