"""Listing what lies behind a URL: a bucket's folder, or the links of a web page."""

from __future__ import annotations

import html
import posixpath
import re
from urllib.parse import unquote, urlsplit

from drcore.errors import MissingInputError, SourceError
from drcore.sources.listing import Listed, hidden
from drcore.sources.remote import Remote, is_login_page, redacted, refuse_web_page, remote_of
from drcore.sources.remote_client import file_system, with_retries

__all__ = ["list_remote"]


MAX_PAGES, MAX_DEPTH = 100_000, 32
"""Pages of an https listing at most, and how deep they may lie: a server can invent them."""

_PAGE_BYTES = 256 * 1024
"""Of a page without links, bytes in which a field for a password is looked for."""


def list_remote(url: str) -> list[Listed]:
    """List the objects under a URL, or the one object that it names."""
    place = remote_of(url)
    label = redacted(url)
    if place.seekable:
        named = with_retries(
            lambda: _find(place), label, place.scheme, SourceError, MissingInputError
        )
        single = len(named) == 1 and named[0][0].path == place.path
    else:
        path = urlsplit(url).path
        single = not path.endswith("/") and bool(posixpath.splitext(path)[1] or urlsplit(url).query)
        named = [(place, place.name)] if single else _find_links(place, label)
        if not named and is_login_page(page := place.read_range(0, _PAGE_BYTES)):
            refuse_web_page(label, page, SourceError)
    if single:
        return [Listed(named[0][0], named[0][0].name)]
    found = [Listed(item, path, left_out=hidden(path.split("/"))) for item, path in named]
    return sorted(found, key=lambda entry: entry.path.split("/"))


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
            if link in seen or not link.startswith(base) or not _leads_below(below, parts):
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

    return with_retries(action, label, scheme, SourceError, MissingInputError)


def _leads_below(below: str, parts: list[str]) -> bool:
    """Whether a link stays below its folder; a query only sorts the same page anew."""
    return not re.search(r"[?#]", below) and not any(
        part in {"", ".", ".."} or "/" in part for part in parts[:-1]
    )
