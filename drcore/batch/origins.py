"""Which input each row of a table came from, kept in a small hidden file beside the table.

It holds hashes alone. Where all rows came from one folder, that is a single line; else each line
names an input and its rows. With it a run tells a row of an image that was deleted from one of
another site's images, which it leaves alone.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from drcore.errors import DrcoreError
from drcore.files import replacing
from drcore.sources.archives import Member
from drcore.sources.remote import Remote, is_url, remote_of
from drcore.sources.source import PhotographSource
from drcore.text import cell

__all__ = ["Origins", "gone_from", "origins_of", "remember_origins", "root_hash"]

_ROOT, _ROW = 16, 12
"""Hex digits of the hashes of inputs and of the names of rows."""


@dataclass(frozen=True, slots=True)
class Origins:
    """What the rows of a table came from.

    Attributes:
        roots: hashes of the inputs.
        sole: hash of the input of every row, where there is only one; else empty.
        rows: by hash of a row's name, that of its input; empty where there is only one.
    """

    roots: frozenset[str] = frozenset()
    sole: str = ""
    rows: dict[str, str] = field(default_factory=dict)

    def root_of(self, image: str) -> str:
        """Return the hash of the input of a row; empty where nobody knows."""
        return self.sole or self.rows.get(_hash(image, _ROW), "")


def root_hash(root: str) -> str:
    """Return what stands for an input."""
    return _hash(root, _ROOT)


def gone_from(
    found: Sequence[PhotographSource], origins: Origins
) -> Callable[[str], bool]:  # fmt: skip
    """Tell which rows are of images that are gone: their input was read, and lacks them.

    Args:
        found: of this run, under the names that they have in the table.
        origins: of the rows that the table had.

    Returns:
        A test of a row's name. It is False for rows of inputs that were not given this time, and
        of folders and archives that cannot be opened now.
    """
    there = {cell(item.image) for item in found}
    closed = tuple(
        f"{cell(item.image)}/"
        for item in found
        if item.problem and not isinstance(item.path, Member)
    )
    named = {root_hash(root) for root in {item.root for item in found}}
    if not origins.roots <= named:
        named |= {root_hash(folder) for folder in _folders(found)}

    def is_gone(image: str) -> bool:
        return (
            image not in there and origins.root_of(image) in named and not image.startswith(closed)
        )

    return is_gone


def _folders(found: Iterable[PhotographSource]) -> set[str]:
    """Folders and archives below those that were given: they may have been given by themselves."""
    places = {item.path.archive if isinstance(item.path, Member) else item.path for item in found}
    files = [place for place in places if isinstance(place, Path)]
    return {str(folder) for file in files for folder in (file, *file.absolute().parents)}


# --- the file -----------------------------------------------------------------------------------


def origins_of(csv: str) -> Origins:
    """Return what the rows of a table came from; nothing where the file is missing or damaged."""
    with suppress(OSError, ValueError, DrcoreError):
        file = _file(csv)
        data = file.get() if isinstance(file, Remote) else file.read_bytes()
        lines = [line.split() for line in (data or b"").decode("ascii").splitlines()]
        if all(len(line) in {1, 2} and len(line[0]) == _ROOT for line in lines):
            rows = {
                names[place : place + _ROW]: root
                for root, *listed in lines
                for names in listed
                for place in range(0, len(names), _ROW)
            }
            roots = frozenset(root for root, *_ in lines)
            return Origins(roots, next(iter(roots)) if len(roots) == 1 and not rows else "", rows)
    return Origins()


def remember_origins(
    csv: str, found: Sequence[PhotographSource], before: Origins, images: Iterable[str]
) -> None:
    """Write down what the rows of a table come from, where that is possible.

    Args:
        csv: the table.
        found: of this run, under the names that they have in the table.
        before: as it was written down.
        images: names of the rows that the table has.
    """
    names = {root: root_hash(root) for root in {item.root for item in found}}
    rows = {_hash(image, _ROW): before.root_of(image) for image in images}
    after = Origins(before.roots | set(names.values()))
    known = set(rows.values())
    if len(after.roots) == 1 and known <= after.roots:
        after = replace(after, sole=next(iter(after.roots)))
    else:
        rows |= {_hash(cell(item.image), _ROW): names[item.root] for item in found}
        after = replace(after, rows={row: root for row, root in rows.items() if root})
    if after != before:
        with suppress(OSError, DrcoreError):
            _write(csv, after)


def _write(csv: str, origins: Origins) -> None:
    listed: defaultdict[str, list[str]] = defaultdict(list)
    for row, root in origins.rows.items():
        listed[root].append(row)
    text = "".join(f"{root} {''.join(listed[root])}".rstrip() + "\n" for root in origins.roots)
    file = _file(csv)
    if isinstance(file, Remote):
        with tempfile.NamedTemporaryFile(prefix="drcore-") as part:
            part.write(text.encode("ascii"))
            part.flush()
            file.put(Path(part.name))
    elif not Path(csv).exists() or Path(csv).is_file():  # no device
        with replacing(file) as part:
            part.write_text(text, encoding="ascii")


def _file(csv: str) -> Path | Remote:
    if not is_url(csv):
        return Path(csv).with_name(f".{Path(csv).name}.inputs")
    place = remote_of(csv)
    folder, slash, name = place.path.rpartition("/")
    return Remote(place.scheme, f"{folder}{slash}.{name}.inputs")


def _hash(text: str, digits: int) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:digits]
