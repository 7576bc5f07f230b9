"""The table of a batch: filtering and columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

__all__ = ["filtered"]


def filtered(
    rows: Sequence[Mapping[str, str]],
    *,
    show: Iterable[str] = (),
    text: str = "",
) -> list[int]:
    """Return which rows to list.

    Args:
        rows: of a run.
        show: grades "0" to "4", "ungradable", "failed"; everything where empty.
        text: part of the image's name, the reason or the patient, in any case.

    Returns:
        Indices of the rows, rising.
    """
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
