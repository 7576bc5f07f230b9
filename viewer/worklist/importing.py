"""Adding files to a worklist: photographs are listed, the rest is reported."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drcore.errors import PhotographError, SourceError
from viewer.server.settings import name_rules

if TYPE_CHECKING:
    from drcore.sources.find import Inputs
    from drcore.sources.source import PhotographSource
    from viewer.worklist.worklist import Entry, Worklist


_SENTENCES = {
    "hidden": "system", "resource fork": "system", "DICOM directory": "system", "link": "system",
    "drcore export": "exported",
}  # fmt: skip
"""By reason that drcore gives: the sentence; of all others that a file is no image."""

_MAX_NAMES = 3
"""Names in a sentence; the rest are counted."""


@dataclass(slots=True)
class ImportResult:
    """What became of files that were added together.

    Attributes:
        first: the first photograph among them, new or already listed; None if there was none.
        added: number of new entries.
        sentences: what was skipped and why; they hold untrusted names.
    """

    first: Entry | None = None
    added: int = 0
    sentences: list[str] = field(default_factory=list)


def import_files(worklist: Worklist, files: Iterable[tuple[str, bytes | Path]]) -> ImportResult:
    """Add photographs to a list.

    What is a photograph is decided as by `drcore grade`: archives stand for what they hold, files
    with several pictures for each of these. Names are untrusted; files are consumed one by one, so
    that each can be released once it is on disk. Raises `DrcoreError` if DRCORE_NAME_PATTERN is
    not valid.
    """
    from drcore.photographs.photograph import MAX_BYTES
    from drcore.sources.find import find_uploads

    result = ImportResult()
    skipped: dict[str, list[str]] = {}
    full = ""
    rules = name_rules()
    for path, source in files:
        name = re.split(r"[\\/]", path)[-1] or "unnamed"
        size = len(source) if isinstance(source, bytes) else 1
        if full or size > MAX_BYTES:
            skipped.setdefault("full" if full else "large", []).append(name)
            continue
        found = find_uploads([(path, source)], rules)
        for left in found.left_out:
            kind = _SENTENCES.get(left.reason, "foreign" if size else "empty")
            nested = len(found.photographs) + len(found.left_out) > 1
            skipped.setdefault(kind, []).append(left.path.rpartition("/")[2] if nested else name)
        if found.photographs and not size:
            skipped.setdefault("empty", []).append(name)
        try:
            for item in found.photographs:
                _add(worklist, result, skipped, item, found)
        except SourceError as error:
            full = str(error)
            skipped.setdefault("full", []).append(name)
    result.sentences = [_sentence(kind, names, full) for kind, names in skipped.items()]
    return result


def _add(
    worklist: Worklist,
    result: ImportResult,
    skipped: dict[str, list[str]],
    item: PhotographSource,
    found: Inputs,
) -> None:
    name = item.file_name
    try:
        source: Any = None if item.problem else item.source()[0]
    except PhotographError as error:
        item = replace(item, problem=str(error))
    if item.problem:
        skipped.setdefault("unread", []).append(item.problem)
        return
    if item.frame is not None:
        count = sum(other.path == item.path for other in found.photographs)
        name = f"{name} (frame {item.frame} of {count})"
    before = worklist.total
    entry = worklist.add(name, source, identity=item.identity, place=item.image)
    result.first = result.first or entry
    if worklist.total > before:
        result.added += 1
    elif item.frame in {None, 1}:
        skipped.setdefault("listed", []).append(item.file_name)


def _sentence(kind: str, names: list[str], full: str) -> str:
    from drcore.photographs.photograph import MAX_BYTES
    from drcore.text import clean_name

    shown = ", ".join(clean_name(name) for name in names[:_MAX_NAMES])
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    listed, one = f"{shown}{more}", len(names) == 1
    return {
        "system": f"{len(names)} hidden file{'' if one else 's'} skipped.",
        "foreign": f"Skipped (not {'an image' if one else 'images'}): {listed}.",
        "exported": f"Skipped (exported by drcore): {listed}.",
        "unread": " ".join(names[:_MAX_NAMES]),
        "empty": f"Empty file{'' if one else 's'}: {listed}. Please re-export "
        f"{'it' if one else 'them'}.",
        "large": f"Too large (limit {MAX_BYTES >> 20} MB per file): {listed}. Please export as "
        "JPEG.",
        "listed": f"Already in the list: {listed}.",
        "full": f"{len(names)} image{'' if one else 's'} not added ({clean_name(names[0])} "
        f"onwards). {full}",
    }[kind]
