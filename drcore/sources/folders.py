"""Folders of this computer: walking them for photographs, and staying inside a configured root."""

from __future__ import annotations

import os
import re
from pathlib import Path

from drcore.errors import SourceError
from drcore.photographs.formats import EXTENSIONS, is_dicom
from drcore.sources.archives import is_archive
from drcore.text import clean_name, printable

__all__ = ["OVERLAY_ENDING", "inside_root", "may_be_photograph", "walk"]

OVERLAY_ENDING = ".drcore-map.jpg"
"""Ending of the overlays that a batch writes; walks over folders skip them."""

MARK_BYTES = 132
"""Bytes that tell a DICOM file: a preamble, then the mark."""


def walk(folder: Path) -> list[tuple[Path, str, str]]:
    """Find photographs and archives in a folder and its sub-folders.

    Hidden files and folders are skipped, so are the overlays that `save_map` writes, links to
    folders, and links to files outside the folder.

    Args:
        folder: exists.

    Returns:
        Path, path below the folder, and problem of each, sorted by path. A sub-folder that cannot
        be opened is among them, with its problem.
    """
    result: list[tuple[Path, str, str]] = []
    root = folder.resolve()

    def refused(error: OSError) -> None:
        path = Path(error.filename or folder)
        name = root.name if path == folder else path.relative_to(folder).as_posix()
        why = error.strerror or "unknown error"
        result.append((path, name, f"{clean_name(name)}: this folder cannot be opened ({why})."))

    for parent, folders, files in os.walk(folder, onerror=refused):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            wanted = may_be_photograph(name)
            if wanted is False:
                continue
            path = Path(parent, name)
            if not _stays_inside(path, root) or (wanted is None and not _is_dicom_file(path)):
                continue
            result.append((path, path.relative_to(folder).as_posix(), ""))
    return sorted(result, key=lambda entry: entry[1].split("/"))


def may_be_photograph(name: str) -> bool | None:
    """Tell from the name of a file whether a walk picks it up.

    Args:
        name: without folders.

    Returns:
        True for a photograph or an archive, None where the name has no ending: such a file is
        picked up if it is DICOM, as archives of hospitals name their files by number.
    """
    if name.startswith(".") or name.endswith(OVERLAY_ENDING):
        return False
    ending = os.path.splitext(name)[1].lower()  # noqa: PTH122 - a Path costs ten times as much
    if ending in EXTENSIONS or is_archive(name):
        return True
    return False if re.fullmatch(r"\.\w*[A-Za-z]\w*", ending) else None


def inside_root(root: Path, wanted: str) -> Path:
    """Resolve a folder that a user typed, below a root that must not be left.

    Args:
        root: the configured folder.
        wanted: path below it; empty for the root itself.

    Returns:
        The folder, absolute, links resolved.

    Raises:
        SourceError: the root or the folder is missing, or the path leads out: absolute, with
            "..", or through a link.
    """
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


def _is_dicom_file(path: Path) -> bool:
    try:
        if not path.is_file():  # a pipe or a device would block
            return False
        with path.open("rb") as file:
            return is_dicom(file.read(MARK_BYTES))
    except OSError:
        return False


def _stays_inside(path: Path, root: Path) -> bool:
    if not path.is_symlink():
        return True
    try:
        return path.resolve().is_relative_to(root)
    except (OSError, RuntimeError):  # a circle of links
        return False
