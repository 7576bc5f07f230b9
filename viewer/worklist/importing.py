"""Files as they arrive: photographs go on the list, for the rest there is a sentence."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from drcore.errors import SourceError

if TYPE_CHECKING:
    from viewer.worklist.worklist import Entry, Worklist

__all__ = ["ImportResult", "import_files"]

_SYSTEM = frozenset({"thumbs.db", "desktop.ini", "dicomdir"})
"""Files that operating systems and cameras put beside photographs."""

_PICTURE = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|II[*+]\0|MM\0[*+]|BM|RIFF....WEBP", re.DOTALL
)

_NAMED = 3
"""Names that a sentence tells; the rest are counted."""


@dataclass(slots=True)
class ImportResult:
    """What became of the files that arrived together.

    Attributes:
        first: the first photograph among them, new or listed before; None where there was none.
        added: number of new entries.
        sentences: what else is to be told; they hold untrusted names.
    """

    first: Entry | None = None
    added: int = 0
    sentences: list[str] = field(default_factory=list)


def import_files(worklist: Worklist, files: Iterable[tuple[str, bytes | Path]]) -> ImportResult:
    """Put photographs on the list.

    A file whose name ends like a photograph's gets its row whatever it holds: the row tells why it
    could not be read. Other files are looked into, and left out where they hold no photograph.

    Args:
        worklist: takes the photographs.
        files: names, perhaps with the folders above, and bytes or paths; untrusted. They are
            taken one by one, so that what is kept on the disk can be let go.

    Returns:
        What became of them.
    """
    from drcore.photographs.photograph import MAX_BYTES

    arrival = ImportResult()
    told: dict[str, list[str]] = {}
    full = ""
    for path, source in files:
        parts = [part for part in re.split(r"[\\/]", path) if part not in {"", ".", ".."}]
        name = parts[-1] if parts else "unnamed"
        size = len(source) if isinstance(source, bytes) else 1
        if any(part.startswith(".") for part in parts) or name.lower() in _SYSTEM:
            told.setdefault("system", []).append(name)
        elif full:
            told.setdefault("full", []).append(name)
        elif size > MAX_BYTES:
            told.setdefault("large", []).append(name)
        elif isinstance(source, bytes) and not _may_be_photograph(name, source):
            told.setdefault("foreign" if source else "empty", []).append(name)
        else:
            if not size:
                told.setdefault("empty", []).append(name)
            try:
                _add(worklist, arrival, told, name, source, parts[-2] if len(parts) > 1 else "")
            except SourceError as error:
                full = str(error)
                told.setdefault("full", []).append(name)
    arrival.sentences = [_sentence(kind, names, full) for kind, names in told.items()]
    return arrival


def _add(
    worklist: Worklist,
    arrival: ImportResult,
    told: dict[str, list[str]],
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
        arrival.first = arrival.first or entry
        if worklist.total > before:
            arrival.added += 1
        elif number in {0, 1}:
            told.setdefault("listed", []).append(name)


def _may_be_photograph(name: str, data: bytes) -> bool:
    from drcore.photographs.formats import EXTENSIONS, is_dicom

    return (
        PurePosixPath(name).suffix.lower() in EXTENSIONS
        or _PICTURE.match(data) is not None
        or is_dicom(data[:140])
    )


def _sentence(kind: str, names: list[str], full: str) -> str:
    from drcore.photographs.photograph import MAX_BYTES
    from drcore.text import clean_name

    shown = ", ".join(clean_name(name) for name in names[:_NAMED])
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    told, one = f"{shown}{more}", len(names) == 1
    return {
        "system": f"{len(names)} hidden {'file was' if one else 'files were'} left out.",
        "foreign": f"Left out, because {'it is' if one else 'they are'} no photograph"
        f"{'' if one else 's'}: {told}.",
        "empty": f"{'This file is' if one else 'These files are'} empty: {told}. "
        f"Export {'it' if one else 'them'} again.",
        "large": f"Too large: {told}. At most {MAX_BYTES >> 20} MiB a file are accepted. "
        "Export as JPEG.",
        "listed": f"In the list already: {told}.",
        "full": f"{len(names)} not added, from {clean_name(names[0])} on. {full}",
    }[kind]
