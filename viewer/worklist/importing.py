"""Adding files to a worklist: photographs are listed, the rest is reported."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from drcore.errors import SourceError

if TYPE_CHECKING:
    from viewer.worklist.worklist import Entry, Worklist

_SYSTEM = frozenset({"thumbs.db", "desktop.ini", "dicomdir"})
"""Files that operating systems and cameras put beside photographs."""

_PHOTOGRAPHS = frozenset({"picture", "DICOM"})
"""Kinds of `drcore.sources.sniff` that are listed."""

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

    A file with a photograph's extension is listed whatever it holds: its report gives the reason if
    it cannot be read. Other files are examined, and skipped if they hold no photograph. Names are
    untrusted; files are consumed one by one, so that each can be released once it is on disk.
    """
    from drcore.photographs.photograph import MAX_BYTES
    from drcore.sources.sniff import HEAD_BYTES, sniff

    result = ImportResult()
    skipped: dict[str, list[str]] = {}
    full = ""
    for path, source in files:
        parts = [part for part in re.split(r"[\\/]", path) if part not in {"", ".", ".."}]
        name = parts[-1] if parts else "unnamed"
        size = len(source) if isinstance(source, bytes) else 1
        if any(part.startswith(".") for part in parts) or name.lower() in _SYSTEM:
            skipped.setdefault("system", []).append(name)
        elif full:
            skipped.setdefault("full", []).append(name)
        elif size > MAX_BYTES:
            skipped.setdefault("large", []).append(name)
        elif isinstance(source, bytes) and sniff(name, source[:HEAD_BYTES]) not in _PHOTOGRAPHS:
            skipped.setdefault("foreign" if source else "empty", []).append(name)
        else:
            if not size:
                skipped.setdefault("empty", []).append(name)
            try:
                _add(worklist, result, skipped, name, source, parts[-2] if len(parts) > 1 else "")
            except SourceError as error:
                full = str(error)
                skipped.setdefault("full", []).append(name)
    result.sentences = [_sentence(kind, names, full) for kind, names in skipped.items()]
    return result


def _add(
    worklist: Worklist,
    result: ImportResult,
    skipped: dict[str, list[str]],
    name: str,
    source: bytes | Path,
    folder: str,
) -> None:
    from drcore.photographs.dicom_frames import DicomFrame
    from drcore.photographs.dicom_reader import photographs_in

    found = photographs_in(source, name)
    for _, photograph in found:
        number = photograph.number if isinstance(photograph, DicomFrame) else 0
        label = f"{name} (frame {number} of {len(found)})" if number else name
        before = worklist.total
        entry = worklist.add(label, photograph, folder=folder)  # type: ignore[arg-type]
        result.first = result.first or entry
        if worklist.total > before:
            result.added += 1
        elif number in {0, 1}:
            skipped.setdefault("listed", []).append(name)


def _sentence(kind: str, names: list[str], full: str) -> str:
    from drcore.photographs.photograph import MAX_BYTES
    from drcore.text import clean_name

    shown = ", ".join(clean_name(name) for name in names[:_MAX_NAMES])
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    listed, one = f"{shown}{more}", len(names) == 1
    return {
        "system": f"{len(names)} hidden file{'' if one else 's'} skipped.",
        "foreign": f"Skipped (not {'an image' if one else 'images'}): {listed}.",
        "empty": f"Empty file{'' if one else 's'}: {listed}. Please re-export "
        f"{'it' if one else 'them'}.",
        "large": f"Too large (limit {MAX_BYTES >> 20} MB per file): {listed}. Please export as "
        "JPEG.",
        "listed": f"Already in the list: {listed}.",
        "full": f"{len(names)} image{'' if one else 's'} not added ({clean_name(names[0])} "
        f"onwards). {full}",
    }[kind]
