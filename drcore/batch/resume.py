"""Going on with a table: which of its rows are of the photographs that are there now.

A row is kept where the content is the same. Names alone say nothing: two cameras both write
IMG_0001.jpg, and a photograph may be replaced under its name. Which of the two it was, a small file
beside the table tells: it holds hashes of the folders that the table was made from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

from drcore.errors import DrcoreError
from drcore.files import replacing
from drcore.results.csv_file import CsvFile
from drcore.results.known import Known
from drcore.sources.remote import is_url
from drcore.sources.source import PhotographSource
from drcore.text import cell, printable

__all__ = ["Matched", "match_rows", "remember_roots", "roots_of"]

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
    roots: frozenset[str],
    *,
    keep_failed: bool,
    workers: int,
) -> Matched:
    """Find the rows of photographs."""
    with ThreadPoolExecutor(workers, thread_name_prefix="drcore-match") as pool:
        verdicts = list(pool.map(lambda item: _verdict(table, item), found))
    # Where nobody knows what the table was made from, one photograph that is the same tells.
    same = any(verdict == "keep" for verdict, _ in verdicts)
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
        is_there = _root_hash(item.root) in roots if roots else same or verdict == "failed"
        if verdict == "keep" and row != name and row not in claimed:
            claimed.add(row)
            renames[row] = name
        elif name not in claimed and table.known(name) is not None:
            if not is_there:
                item = replace(item, image=_full_name(item))  # noqa: PLW2901
            elif not (verdict == "failed" and keep_failed):
                again.add(name)
        result.append(item)
    return Matched(_without_clashes(table, result, renames), renames, again)


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


# --- what a table was made from -----------------------------------------------------------------


def roots_of(csv: str) -> frozenset[str]:
    """Return what a table was made from."""
    with suppress(OSError, ValueError):
        return frozenset(_roots_file(csv).read_text(encoding="ascii").split())
    return frozenset()


def remember_roots(csv: str, found: Sequence[PhotographSource], earlier: frozenset[str]) -> None:
    """Write down what a table is made from, where that is possible."""
    roots = {_root_hash(root) for root in {item.root for item in found}}
    is_device = Path(csv).exists() and not Path(csv).is_file()
    if is_url(csv) or is_device or roots <= earlier:
        return
    file = _roots_file(csv)
    with suppress(OSError), replacing(file) as part:
        part.write_text("\n".join(sorted(roots | earlier)) + "\n", encoding="ascii")


def _roots_file(csv: str) -> Path:
    return Path(csv).with_name(f".{Path(csv).name}.inputs")


def _root_hash(root: str) -> str:
    return hashlib.sha256(root.encode("utf-8", "surrogatepass")).hexdigest()[:16]
