"""Listing what lies behind a URL: a bucket's folder, or the links of a web page."""

from __future__ import annotations

import html
import posixpath
import re
from collections.abc import Callable
from urllib.parse import unquote, urlsplit

from drcore.errors import SourceError
from drcore.sources.remote import Remote, remote_of, shown
from drcore.sources.remote_client import file_system, with_retries

__all__ = ["list_remote"]


MAX_PAGES, MAX_DEPTH = 100_000, 32
"""Pages of an https listing at most, and how deep they may lie: a server can invent them."""


def list_remote(url: str, wanted: Callable[[str], bool | None]) -> list[tuple[Remote, str, bool]]:
    """List the objects under a URL, or the one object that it names.

    Args:
        url: `s3://bucket/folder`, `gs://bucket/folder`, an https address. Of the latter, one that
            ends in a slash is a page of links, which is followed into folders below it.
        wanted: tells by the name of an object whether it is picked up; None where its content
            must tell.

    Returns:
        Object, its path below the folder (for a single object its name), and whether its content
        must tell; sorted by path. Hidden names are skipped.

    Raises:
        SourceError: there is no such bucket or folder, or it cannot be read.
    """
    place = remote_of(url)
    label = shown(url)
    if place.seekable:
        named = with_retries(lambda: _find(place), label, place.scheme, SourceError)
        single = len(named) == 1 and named[0][0].path == place.path
    else:
        path = urlsplit(url).path
        single = not path.endswith("/") and bool(posixpath.splitext(path)[1] or urlsplit(url).query)
        named = [(place, place.name)] if single else _find_links(place, label)
    if single:
        return [(named[0][0], named[0][0].name, False)]
    found = []
    for item, name in named:
        parts = name.split("/")
        chosen = wanted(parts[-1])
        if chosen is not False and not any(part.startswith(".") for part in parts):
            found.append((item, name, chosen is None))
    return sorted(found, key=lambda entry: entry[1].split("/"))


def _find(folder: Remote) -> list[tuple[Remote, str]]:
    system = file_system(folder.scheme)
    system.invalidate_cache()
    entries = system.find(folder.path, detail=True)
    if not entries and not system.exists(folder.path):
        raise FileNotFoundError
    skipped = len(folder.path) + 1
    return [
        (Remote(folder.scheme, path, int(entry["size"])), path[skipped:])
        for path, entry in entries.items()
        if not path.endswith("/")
    ]


def _find_links(folder: Remote, label: str) -> list[tuple[Remote, str]]:
    base = folder.path.split("?")[0].split("#")[0].rstrip("/") + "/"
    waiting, seen = [base], {base}
    found: list[tuple[Remote, str]] = []
    while waiting:
        page = waiting.pop()
        for link in _links(page, label, folder.scheme):
            below = link[len(base) :]
            parts = [unquote(part) for part in below.split("/")]
            # A query sorts the same page anew; what leads elsewhere is not below the folder.
            if not link.startswith(base) or link in seen or re.search(r"[?#]", below):
                continue
            if any(part in {"", ".", ".."} or "/" in part for part in parts[:-1]):
                continue
            seen.add(link)
            if parts[-1] == "":
                if len(parts) <= MAX_DEPTH and not parts[-2].startswith("."):
                    waiting.append(link)
            elif parts[-1] not in {".", ".."}:
                found.append((Remote(folder.scheme, link), "/".join(parts)))
        if len(seen) - len(found) > MAX_PAGES:
            raise SourceError(f"{label}: this listing has no end. Give a folder below it.")
    return found


def _links(page: str, label: str, scheme: str) -> list[str]:
    def action() -> list[str]:
        return [html.unescape(link) for link in file_system(scheme).ls(page, detail=False)]

    return with_retries(action, label, scheme, SourceError)
