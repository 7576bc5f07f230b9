"""Going on with a table: which of its rows are of the photographs that are there now.

A row is kept where the content is the same. Names alone say nothing: two cameras both write
IMG_0001.jpg, and a photograph may be replaced under its name. Which of the two it was, a small file
beside the table tells (`drcore.batch.origins`).
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

from drcore.batch.origins import Origins, root_hash
from drcore.errors import DrcoreError
from drcore.results.csv_file import CsvFile
from drcore.results.known import Known
from drcore.results.table import open_table
from drcore.sources.source import PhotographSource
from drcore.text import cell, printable

__all__ = ["Matched", "match_rows", "removed_file", "set_aside"]

Verdict = Literal["keep", "other content", "failed", "new"]

_COMPRESSED = (".jpg", ".jpeg", ".jpe", ".jfif", ".png")
"""Files that hardly ever share their size with another one."""


class Matched(NamedTuple):
    """Photographs of a run, and what becomes of the rows that the table has.

    Attributes:
        found: photographs, some under the name that they have in the table.
        renames: rows that get the name by which the photograph goes among the inputs of this run.
        again: names of those whose rows are to be replaced: other content, or failed before.
    """

    found: list[PhotographSource]
    renames: dict[str, str]
    again: set[str]


def match_rows(
    table: CsvFile,
    found: Sequence[PhotographSource],
    origins: Origins,
    *,
    keep_failed: bool,
    workers: int,
) -> Matched:
    """Find the rows of photographs."""
    with ThreadPoolExecutor(workers, thread_name_prefix="drcore-match") as pool:
        verdicts = list(pool.map(lambda item: _verdict(table, item), found))
    # Where nobody knows what the table was made from, one photograph that is the same tells.
    same = any(verdict == "keep" for verdict, _ in verdicts)
    roots = {root: root_hash(root) for root in {item.root for item in found}}
    renames: dict[str, str] = {}
    again: set[str] = set()
    claimed = {
        row
        for item, (verdict, row) in zip(found, verdicts, strict=True)
        if verdict == "keep" and row == cell(item.image)
    }
    result = []
    for item, (verdict, row) in zip(found, verdicts, strict=True):
        name = cell(item.image)
        root = roots[item.root]
        is_there = root in origins.roots if origins.roots else same or verdict == "failed"
        if verdict == "keep" and row != name and row not in claimed:
            if table.known(name) is not None and origins.root_of(name) == root:
                again.add(name)  # two of one folder changed places
            else:
                claimed.add(row)
                renames[row] = name
        elif name not in claimed and table.known(name) is not None:
            if not is_there:
                item = replace(item, image=_full_name(item))  # noqa: PLW2901
            elif not (verdict == "failed" and keep_failed):
                again.add(name)
        result.append(item)
    return Matched(_without_clashes(table, result, renames), renames, again)


def set_aside(table: CsvFile, images: set[str], csv: str) -> None:
    """Copy rows that a table is to lose into a table beside it."""
    if images:
        with open_table(removed_file(csv), resume=True) as removed:
            for row in table.rows():
                if row["image"] in images:
                    removed.append(row)


def removed_file(csv: str) -> str:
    """Return where the rows go that a table loses: `grades.removed.csv`."""
    folder, slash, name = csv.rpartition("/")
    stem = name.rpartition(".")[0] or name
    return f"{folder}{slash}{stem}.removed.csv"


def _without_clashes(
    table: CsvFile, found: list[PhotographSource], renames: dict[str, str]
) -> list[PhotographSource]:
    """Let no row take a name that another row keeps: then the photograph is called as there."""
    for row, name in list(renames.items()):
        if table.known(name) is not None and name not in renames:
            del renames[row]
            found = [
                replace(item, image=row) if cell(item.image) == name else item for item in found
            ]
    return found


def _verdict(table: CsvFile, item: PhotographSource) -> tuple[Verdict, str]:
    name = cell(item.image)
    known = table.known(name)
    try:
        if known is not None and known.status != "failed" and _is_same(known, item):
            return "keep", name
        if table.may_hold(item.size):
            row = table.image_of(item.sha256())
            if row is not None and _last(row) == _last(name):  # as it was called among others
                return "keep", row
    except (DrcoreError, OSError):
        if known is not None and known.status != "failed":
            return "keep", name  # what cannot be read now was read then
    if known is None:
        return "new", name
    return ("failed" if known.status == "failed" else "other content"), name


def _is_same(known: Known, item: PhotographSource) -> bool:
    size = item.size
    if known.size and size is not None and known.size != size:
        return False
    is_near = isinstance(item.path, Path) or not known.size or size is None
    if not is_near and item.file_name.lower().endswith(_COMPRESSED):
        return True  # to fetch a million photographs again would cost a day
    return known.holds(item.sha256())


def _last(name: str) -> str:
    return name.rpartition("/")[2].lstrip("'")


def _full_name(item: PhotographSource) -> str:
    """The name of a photograph with all that leads to it."""
    name = item.image
    root = item.root.rstrip("/")
    last = root.rpartition("/")[2]
    below = name.removeprefix(f"{last}/") if name != last else ""
    return printable(f"{root}/{below}" if below else root)
