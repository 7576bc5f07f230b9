"""Going on with a table: which of its rows are of the photographs that are there now.

A row is kept where the same content lies at the same place. Names alone say nothing: two cameras
both write IMG_0001.jpg, and a photograph may be replaced under its name.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

from drcore.errors import DrcoreError
from drcore.results.csv_file import CsvFile
from drcore.results.known import Known
from drcore.sources.source import PhotographSource, file_id
from drcore.text import cell, printable

__all__ = ["Matched", "match_rows"]

Verdict = Literal["keep", "stale", "new", "other"]
"""Its row stays; its row is of other content or failed; it has none; its name is another's."""


class Matched(NamedTuple):
    """Photographs of a run, and what becomes of the rows that the table has.

    Attributes:
        found: photographs, some under the name that they have in the table.
        changes: for `CsvFile.revise`.
    """

    found: list[PhotographSource]
    changes: dict[str, str | None]


def match_rows(
    table: CsvFile, found: Sequence[PhotographSource], *, keep_failed: bool, workers: int
) -> Matched:
    """Find the rows of photographs.

    Args:
        table: of an earlier run.
        found: photographs of this one.
        keep_failed: keep the rows of photographs that failed; else they are tried again.
        workers: threads that read photographs, to compare their content.

    Returns:
        The photographs, and which rows go or get another name.
    """
    with ThreadPoolExecutor(workers, thread_name_prefix="drcore-match") as pool:
        verdicts = list(
            pool.map(lambda item: _verdict(table, item, keep_failed=keep_failed), found)
        )
    changes: dict[str, str | None] = {row: None for verdict, row in verdicts if verdict == "stale"}
    kept = {row for verdict, row in verdicts if verdict == "keep"}
    # A name is free where no row has it, or only one that gets its own new name below.
    moving = {
        row: cell(item.image)
        for item, (verdict, row) in zip(found, verdicts, strict=True)
        if verdict == "keep" and row != cell(item.image)
    }
    result = []
    for item, (verdict, row) in zip(found, verdicts, strict=True):
        name = cell(item.image)
        free = table.known(name) is None or name in moving or changes.get(name, "") is None
        if verdict == "keep" and row != name:
            if free:
                changes[row] = name
            else:
                item = replace(item, image=row)  # noqa: PLW2901
        elif verdict == "other" or (verdict != "keep" and name in kept and name not in moving):
            item = replace(item, image=_full_name(item))  # noqa: PLW2901
        result.append(item)
    return Matched(result, changes)


def _verdict(table: CsvFile, item: PhotographSource, *, keep_failed: bool) -> tuple[Verdict, str]:
    row = table.image_of(item.file_id)
    at_its_place = row is not None
    row = cell(item.image) if row is None else row
    known = table.known(row)
    if known is None:
        return "new", ""
    if known.status == "failed":
        # Tables of 0.6 knew photographs by name alone.
        if at_its_place or not known.has_id:
            return ("keep" if keep_failed else "stale"), row
        return "other", row
    if _is_same(known, item):  # elsewhere: its folder was moved
        return "keep", row
    return ("stale" if at_its_place else "other"), row


def _is_same(known: Known, item: PhotographSource) -> bool:
    if known.version and known.version == item.version:
        return True
    try:
        return known.holds(item.sha256())
    except (DrcoreError, OSError):
        return True  # what cannot be read now was read then


def _full_name(item: PhotographSource) -> str:
    """The name of a photograph with all that leads to it."""
    if isinstance(item.path, Path):
        return printable(str(item.path.absolute()) + (f"#frame{item.frame}" if item.frame else ""))
    return printable(f"{item.image} ({file_id(item.path).rpartition('!')[0]})")
