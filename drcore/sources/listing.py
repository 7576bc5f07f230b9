"""A file that was listed in a folder, an archive or a bucket, not yet looked into."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from drcore.sources.archives import Member
    from drcore.sources.remote import Remote
    from drcore.sources.upload import Upload

__all__ = ["LeftOut", "Listed", "Reason", "hidden"]

Reason = Literal[
    "not a photograph", "drcore export", "DICOM directory", "hidden", "resource fork", "link",
    "unsupported archive",
]  # fmt: skip
"""Why a file is no input. Each is counted in the last line of a run."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A file, or what is said in its place.

    Attributes:
        place: where its bytes are.
        path: its name below what was listed, with slashes; untrusted text.
        problem: a sentence where it is known beforehand that it cannot be read.
        left_out: why it is no input; None where its content decides.
    """

    place: Path | Remote | Member | Upload
    path: str
    problem: str = ""
    left_out: Reason | None = None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file that is no input.

    Attributes:
        path: below what was given; one printable line.
        reason: why.
    """

    path: str
    reason: Reason


_SYSTEM_NAMES = frozenset(
    {
        "thumbs.db", "desktop.ini", "@eadir", "@recycle", "#recycle", "$recycle.bin", "recycler",
        "system volume information", "lost+found",
    }
)  # fmt: skip
"""Files and folders that systems and file servers keep for themselves: thumbnails, what was
deleted."""


def hidden(parts: list[str]) -> Reason | None:
    """Tell whether a path is hidden."""
    if any(part.startswith("._") or part == "__MACOSX" for part in parts):
        return "resource fork"
    is_hidden = any(part.startswith(".") or part.lower() in _SYSTEM_NAMES for part in parts)
    return "hidden" if is_hidden else None
