"""What a run is over: photographs in files, folders, archives and behind URLs, each with a name."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

from drcore.errors import DrcoreError
from drcore.photographs.formats import is_dicom
from drcore.photographs.frame_count import HEAD_BYTES, frames_in
from drcore.sources.archive_cache import Archive
from drcore.sources.archives import Member, is_archive, list_members
from drcore.sources.folders import may_be_photograph, walk
from drcore.sources.remote import Remote, is_url, shown
from drcore.sources.remote_listing import list_remote
from drcore.sources.source import PhotographSource
from drcore.text import csv_safe, printable

__all__ = ["find_photographs"]


LOOKERS = 16
"""Threads that look into remote archives and DICOM files: each look waits for the network."""


def find_photographs(inputs: Sequence[Path | str]) -> list[PhotographSource]:
    """Find photographs in files, folders, archives and behind URLs.

    Folders are walked recursively. Hidden files and folders are skipped, so are the overlays that
    `save_map` writes, links to folders, and links to files outside the folder given. Files without
    an ending are picked up where they are DICOM. ZIP and TAR files stand for the photographs in
    them, DICOM files with several frames for each of these.

    Args:
        inputs: folders, files of any kind (what was named is kept, picture or not), and URLs.

    Returns:
        Each photograph once; inputs in the order given, a folder's files sorted by path, an
        archive's in its own order. A sub-folder or an archive that cannot be opened is kept too,
        with its problem. Names that two inputs share are told apart by the path that was given.

    Raises:
        SourceError: a URL is of no kind that is read, or what it names cannot be listed.
    """
    entries: list[tuple[str, PhotographSource]] = []
    seen: set[tuple[object, int | None]] = set()
    for given in inputs:
        is_address = isinstance(given, str) and is_url(given)
        before, found = _below_url(str(given)) if is_address else _below(Path(given))
        for item in found:
            key = (_identity(item), item.frame)
            if len(inputs) > 1:
                if key in seen:
                    continue
                seen.add(key)
            entries.append((before, item))
    return _told_apart(entries)


def _identity(item: PhotographSource) -> object:
    if isinstance(item.path, Path):
        return os.path.abspath(item.path)  # noqa: PTH100 - resolve() would follow links
    return item.path


# --- looking into files -------------------------------------------------------------------------


def _below(given: Path) -> tuple[str, list[PhotographSource]]:
    """Photographs of a path, and what leads from here to the start of their names."""
    if not _is_folder(given):
        return f"{given.parent.as_posix()}/", _inside(given, given.name)
    return f"{given.as_posix()}/", [
        item
        for path, name, problem in walk(given)
        for item in ([PhotographSource(path, name, problem)] if problem else _inside(path, name))
    ]


def _below_url(url: str) -> tuple[str, list[PhotographSource]]:
    listed = list_remote(url, may_be_photograph)
    with ThreadPoolExecutor(LOOKERS, thread_name_prefix="drcore-look") as pool:
        looked = pool.map(lambda entry: _inside(entry[0], entry[1], by_content=entry[2]), listed)
        found = [item for items in looked for item in items]
    before = shown(url).rstrip("/")
    if len(listed) == 1 and before.endswith(f"/{listed[0][1]}"):  # the object itself
        before = before.rpartition("/")[0]
    return f"{before}/", found


def _inside(place: Archive, name: str, *, by_content: bool = False) -> list[PhotographSource]:
    """Photographs of a file: itself, members of an archive, or frames of a DICOM file."""
    if is_archive(place.name):
        found = []
        for member, path, problem in list_members(place, may_be_photograph):
            image = f"{name}/{path}" if path else name
            if problem or isinstance(member, Path | Remote):
                found.append(PhotographSource(member, image, problem))
            else:
                found += _frames(member, image, member.read)
        return found
    head = partial(_head, place)
    if by_content:
        try:
            if not is_dicom(head()):
                return []
        except DrcoreError as error:
            return [PhotographSource(place, name, str(error))]
    return _frames(place, name, head)


def _frames(
    place: Path | Remote | Member, image: str, head: Callable[[], bytes]
) -> list[PhotographSource]:
    if not _is_dicom_name(place.name):
        return [PhotographSource(place, image)]
    try:
        count = frames_in(head())
    except (DrcoreError, OSError):
        count = 1  # to read it tells why
    if count == 1:
        return [PhotographSource(place, image)]
    return [PhotographSource(place, f"{image}#frame{n}", frame=n) for n in range(1, count + 1)]


def _is_dicom_name(name: str) -> bool:
    return name.lower().endswith((".dcm", ".dicom")) or may_be_photograph(name) is None


def _head(place: Archive) -> bytes:
    if isinstance(place, Remote):
        return place.read_range(0, HEAD_BYTES)
    if not place.is_file():  # a pipe or a device would block
        return b""
    with place.open("rb") as file:
        return file.read(HEAD_BYTES)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False  # reading it as a file will tell what is wrong


# --- names --------------------------------------------------------------------------------------


def _told_apart(entries: list[tuple[str, PhotographSource]]) -> list[PhotographSource]:
    """Give each photograph the first of its names that no other has."""
    images = [printable(item.image) for _, item in entries]
    for place in (lambda before: before, _absolute):
        counts = Counter(map(csv_safe, images))
        images = [
            printable(place(before) + item.image) if counts[csv_safe(image)] > 1 else image
            for image, (before, item) in zip(images, entries, strict=True)
        ]
    taken: set[str] = set()
    result = []
    for image, (_, item) in zip(images, entries, strict=True):
        unique, number = image, 1  # two odd names may still share their escaped form
        while csv_safe(unique) in taken:
            number += 1
            unique = f"{image} ({number})"
        taken.add(csv_safe(unique))
        result.append(replace(item, image=unique))
    return result


def _absolute(before: str) -> str:
    if is_url(before):
        return before
    return os.path.abspath(before).rstrip("/") + "/"  # noqa: PTH100 - resolve() would follow links
