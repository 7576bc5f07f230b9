"""What a run is over: photographs in files, folders, archives and behind URLs, each with a name."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from drcore.errors import DrcoreError
from drcore.photographs.formats import is_dicom
from drcore.photographs.frame_count import LONG_HEAD_BYTES, frames_in
from drcore.photographs.identity import Identity, NameRules
from drcore.photographs.reader import frame_count
from drcore.sources.archive_cache import Archive
from drcore.sources.archives import Member, list_members
from drcore.sources.folders import walk
from drcore.sources.listing import LeftOut, Listed, Reason, hidden
from drcore.sources.remote import Remote, is_url, redacted, refuse_web_page
from drcore.sources.remote_listing import list_remote
from drcore.sources.sniff import HEAD_BYTES, may_hold_several, sniff
from drcore.sources.source import PhotographSource, file_id
from drcore.sources.upload import Upload
from drcore.text import clean_name, csv_safe, fold, printable, shortened

__all__ = ["Inputs", "find_inputs", "find_photographs", "find_uploads", "look_into"]


_ROWS = b"\x28\0\x10\0"
"""Tag of a DICOM header that comes after the number of frames."""

REMOTE_HEAD_BYTES = 32 * 1024
"""Bytes of a remote file that are looked at: more would be a good part of it."""

LOOKERS = 16
"""Threads that look into remote files: each look waits for the network."""

Place = Path | Remote | Member | Upload


@dataclass(slots=True)
class Inputs:
    """What was found in the places that were given.

    Attributes:
        photographs: to be graded, each with a row.
        left_out: files that are no input, with the reason.
        missing: what was named on this computer and is not there; each has a row that says so.
    """

    photographs: list[PhotographSource] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def find_photographs(inputs: Sequence[Path | str]) -> list[PhotographSource]:
    """Find photographs; see `find_inputs`.

    Args:
        inputs: folders, files and URLs.

    Returns:
        Each photograph once.

    Raises:
        SourceError: as for `find_inputs`.
    """
    return find_inputs(inputs).photographs


def find_inputs(inputs: Sequence[Path | str], rules: NameRules | None = None) -> Inputs:
    """Find photographs in files, folders, archives and behind URLs.

    What a file is, its content decides (`drcore.sources.sniff`); one that is named like a
    photograph is kept whatever it holds, and so is a file that was named itself. Folders are walked
    recursively, ZIP and TAR files stand for the photographs in them, and files with several
    photographs (DICOM frames, pages) for each of these.

    Args:
        inputs: folders, files and URLs.
        rules: how eye, patient and date are read from paths; from unambiguous names where left out.

    Returns:
        Each photograph once; inputs in the order given, a folder's files sorted by path, an
        archive's in its own order. What cannot be opened is kept too, with its problem. Names that
        two inputs share are told apart by the path that was given. Of the rest, why it is left out.

    Raises:
        MissingInputError: what a URL names is not there.
        SourceError: a URL is of no kind that is read, or what it names cannot be listed.
    """
    rules = rules or NameRules()
    entries: list[tuple[str, PhotographSource]] = []
    found = Inputs()
    seen: set[tuple[str, int | None]] = set()
    for given in inputs:
        is_address = isinstance(given, str) and is_url(given)
        before, below = _below_url(str(given)) if is_address else _below(Path(given))
        found.left_out += below.left_out
        found.missing += below.missing
        for item in below.photographs:
            key = (file_id(item.path), item.frame)
            if len(inputs) > 1:
                if key in seen:
                    continue
                seen.add(key)
            identity = _identity(item, before, rules)
            root = redacted(str(given)).rstrip("/") if is_address else os.path.abspath(given)  # noqa: PTH100
            entries.append((before, replace(item, identity=identity, root=root)))
    found.photographs = _told_apart(_folders_apart(entries))
    return found


def find_uploads(
    files: Iterable[tuple[str, Path | bytes]], rules: NameRules | None = None
) -> Inputs:
    """Find photographs among files that came over the network, as `find_inputs` does in folders.

    Args:
        files: untrusted names, perhaps with the folders above, and where each was stored, or its
            bytes.
        rules: how eye, patient and date are read from paths; from unambiguous names where left out.

    Returns:
        As `find_inputs`. The photographs go by the names of the files, wherever these are stored.
    """
    rules = rules or NameRules()
    entries: list[tuple[str, PhotographSource]] = []
    found = Inputs()
    for path, source in files:
        parts = [part for part in re.split(r"[\\/]", path) if part not in {"", "."}]
        name = unicodedata.normalize("NFC", parts[-1] if parts else "unnamed")
        place = source if isinstance(source, Path) else Upload(name, source)
        image = "/".join(map(shortened, parts)) or name
        below = look_into(Listed(place, image, left_out=hidden(parts)))
        found.left_out += below.left_out
        for item in below.photographs:
            # Wherever it is stored, it goes by its own name.
            problem = item.problem.removeprefix(f"{clean_name(place.name)}: ")
            problem = item.problem if problem == item.problem else f"{clean_name(name)}: {problem}"
            own = replace(item, name=name if item.path is place else "", problem=problem)
            entries.append(("", replace(own, identity=_identity(own, "", rules))))
    found.photographs = _told_apart(_folders_apart(entries))
    return found


def look_into(listed: Listed, image: str | None = None, *, named: bool = False) -> Inputs:
    """Look what a file holds.

    Args:
        listed: the file.
        image: what the table calls it; its path where left out.
        named: whether the user named this very file: then it is kept whatever it is.

    Returns:
        The file itself, members of an archive, or its pictures one by one; or why it is left out.
    """
    image = listed.path if image is None else image
    place = listed.place
    if listed.left_out:
        return Inputs(left_out=[LeftOut(printable(image), listed.left_out)])
    try:
        if isinstance(place, Remote) and not listed.problem:
            place = place.sized()
        size = REMOTE_HEAD_BYTES if _is_remote(place) else HEAD_BYTES
        head = b"" if listed.problem else _head(place, size)
        if isinstance(place, Remote) and (
            named or sniff(place.name, b"") in {"picture", "archive"}
        ):
            refuse_web_page(clean_name(place.name), head)
    except DrcoreError as error:
        listed = replace(listed, problem=str(error))
        head = b""
    except OSError:
        head = b""  # reading it tells why
        named = True
    if listed.problem:
        return Inputs([PhotographSource(place, image, listed.problem)])
    kind = sniff(listed.path.rpartition("/")[2] or place.name, head)
    if kind == "archive" and not isinstance(place, Member):
        return _merged(_look_into_members(place, image))
    if kind in {"picture", "DICOM"}:
        return Inputs(_pictures(place, image, _count(place, head)))
    if named and kind not in {"drcore export", "DICOM directory"}:
        return Inputs([PhotographSource(place, image)])
    reason = "unsupported archive" if kind == "archive" else cast("Reason", kind)
    return Inputs(left_out=[LeftOut(printable(image), reason)])


def _look_into_members(archive: Archive, image: str) -> Iterable[Inputs]:
    def look(member: Listed) -> Inputs:
        return look_into(member, f"{image}/{member.path}" if member.path else image)

    members = list_members(archive)
    if not isinstance(archive, Remote):
        return map(look, members)
    with ThreadPoolExecutor(LOOKERS, thread_name_prefix="drcore-look") as pool:
        return list(pool.map(look, members))


def _pictures(place: Place, image: str, count: int) -> list[PhotographSource]:
    if count == 1:
        return [PhotographSource(place, image)]
    return [PhotographSource(place, f"{image}#frame{n}", frame=n) for n in range(1, count + 1)]


# --- looking into files -------------------------------------------------------------------------


def _below(given: Path) -> tuple[str, Inputs]:
    """Photographs of a path, and what leads from here to the start of their names."""
    if _is_folder(given):
        return f"{given.as_posix()}/", _merged(map(look_into, walk(given)))
    found = look_into(Listed(given, given.name), named=True)
    if not _exists(given):
        found.missing.append(printable(str(given)))
    return f"{given.parent.as_posix()}/", found


def _below_url(url: str) -> tuple[str, Inputs]:
    listed = list_remote(url)
    before = redacted(url).rstrip("/")
    single = len(listed) == 1 and before.endswith(f"/{listed[0].path}")  # the object itself
    with ThreadPoolExecutor(LOOKERS, thread_name_prefix="drcore-look") as pool:
        found = _merged(pool.map(lambda entry: look_into(entry, named=single), listed))
    return f"{before.rpartition('/')[0] if single else before}/", found


def _merged(parts: Iterable[Inputs]) -> Inputs:
    found = Inputs()
    for part in parts:
        found.photographs += part.photographs
        found.left_out += part.left_out
    return found


def _is_remote(place: Place) -> bool:
    return isinstance(place.archive if isinstance(place, Member) else place, Remote)


def _head(place: Place, size: int = HEAD_BYTES) -> bytes:
    if isinstance(place, Upload):
        return place.data[:size]
    if isinstance(place, Remote):
        return place.read_range(0, size)
    if isinstance(place, Member):
        return place.head(size)
    if not place.is_file():  # a pipe or a device would block
        return b""
    with place.open("rb") as file:
        return file.read(size)


def _count(place: Place, head: bytes) -> int:
    """Number of photographs in a file; of a remote one no more is fetched than it takes."""
    if not may_hold_several(head):
        return 1
    if isinstance(place, Path):
        return frame_count(place)
    if is_dicom(head):
        if len(head) >= REMOTE_HEAD_BYTES and _ROWS not in head:  # private elements come first
            head = _head(place, LONG_HEAD_BYTES)
        return frames_in(head)
    try:
        return frame_count(place.read())
    except DrcoreError:  # to read it tells why
        return 1


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False  # reading it as a file tells what is wrong


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


# --- names --------------------------------------------------------------------------------------


def _identity(item: PhotographSource, before: str, rules: NameRules) -> Identity:
    path = item.image.partition("#frame")[0] if item.frame else item.image
    if rules.patient_from_folder and "/" not in path:
        path = f"{before.rstrip('/').rpartition('/')[2]}/{path}"  # the folder that was given
    is_sure = not isinstance(item.path, Member) or item.path.is_name_sure
    return rules.read(path, is_sure=is_sure)


def _folders_apart(
    entries: list[tuple[str, PhotographSource]],
) -> list[tuple[str, PhotographSource]]:
    """Take away patients whom two folders would share: names are unique within a folder only.

    Archives are no folders: they may be shards of one data set.
    """
    folders: defaultdict[str, set[str]] = defaultdict(set)
    for before, item in entries:
        if item.identity.patient_from in {"name", "folder"}:
            folders[fold(item.identity.patient or "")].add(_folder_of(before, item))
    result = []
    for before, item in entries:
        identity = item.identity
        is_shared = len(folders[fold(identity.patient or "")]) > 1
        if identity.patient_from in {"name", "folder"} and is_shared:
            identity = replace(identity, patient=None, patient_from="")
        result.append((before, replace(item, identity=identity)))
    return result


def _folder_of(before: str, item: PhotographSource) -> str:
    place, image = item.path, item.image
    if isinstance(place, Member):
        image = image.removesuffix(place.path).rstrip("/").rpartition("/")[0] + "/" + place.path
    return _absolute(before) + image.rpartition("/")[0].strip("/")


def _told_apart(entries: list[tuple[str, PhotographSource]]) -> list[PhotographSource]:
    """Give each photograph the first of its names that no other has."""
    images = [printable(item.image) for _, item in entries]
    for place in (lambda before: before, _absolute):
        places: defaultdict[str, set[str]] = defaultdict(set)
        for image, (before, _) in zip(images, entries, strict=True):
            places[csv_safe(image)].add(place(before))
        images = [
            printable(place(before) + item.image) if len(places[csv_safe(image)]) > 1 else image
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
    if not before or is_url(before):  # uploads come from nowhere
        return before
    return os.path.abspath(before).rstrip("/") + "/"  # noqa: PTH100 - resolve() would follow links
