"""Folders of this computer: walking them for photographs, and staying inside a configured root."""

from __future__ import annotations

import os
import re
from pathlib import Path

from drcore.errors import SourceError
from drcore.sources.listing import Listed, hidden
from drcore.text import clean_name, printable

__all__ = ["inside_root", "walk"]


def walk(folder: Path) -> list[Listed]:
    """List the files of a folder and its sub-folders."""
    result: list[Listed] = []
    root = folder.resolve()

    def refused(error: OSError) -> None:
        path = Path(error.filename or folder)
        name = root.name if path == folder else path.relative_to(folder).as_posix()
        why = error.strerror or "unknown error"
        problem = f"{clean_name(name)}: this folder cannot be opened ({why})."
        result.append(Listed(path, name, problem))

    for parent, folders, files in os.walk(folder, onerror=refused):
        below = Path(parent).relative_to(folder)
        for name in files:
            path = Path(parent, name)
            reason = hidden([name]) or (None if _stays_inside(path, root) else "link")
            result.append(Listed(path, (below / name).as_posix(), left_out=reason))
        for name in folders[:]:
            path = Path(parent, name)
            reason = hidden([name]) or ("link" if path.is_symlink() else None)
            if reason is not None:
                result.append(Listed(path, (below / name).as_posix(), left_out=reason))
                folders.remove(name)
    return sorted(result, key=lambda entry: entry.path.split("/"))


def inside_root(root: Path, wanted: str) -> Path:
    """Resolve a folder that a user typed, below a root that must not be left."""
    label = printable(wanted)
    outside = SourceError(
        f"{label}: this is not a folder below the photograph folder. "
        "Give a path inside it, without '..' and without a leading slash."
    )
    parts = re.split(r"[\\/]", wanted)
    if wanted.startswith(("/", "\\")) or ".." in parts or re.match(r"[A-Za-z]:", wanted):
        raise outside
    try:
        base = root.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise SourceError(
            "The photograph folder of this server cannot be opened. Correct its setting."
        ) from error
    try:
        folder = (base / wanted).resolve()
        if not folder.is_relative_to(base):
            raise outside
        exists = folder.is_dir()
    except (OSError, ValueError, RuntimeError) as error:  # too long, a NUL, a circle of links
        raise outside from error
    if not exists:
        raise SourceError(f"{label}: there is no such folder. Check its spelling.")
    return folder


def _stays_inside(path: Path, root: Path) -> bool:
    if not path.is_symlink():
        return True
    try:
        return path.resolve().is_relative_to(root)
    except (OSError, RuntimeError):  # a circle of links
        return False
