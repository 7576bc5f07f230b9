"""Objects behind URLs (`s3://`, `gs://`, `https://`): reading and writing, within limits."""

from __future__ import annotations

import io
import posixpath
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, cast
from urllib.parse import unquote, urlsplit

from drcore.errors import RETRY_LATER, DrcoreError, PhotographError, SourceError
from drcore.photographs.photograph import MAX_BYTES
from drcore.sources.remote_client import CREDENTIALS, file_system, may_be_asked, with_retries
from drcore.text import clean_name, printable

__all__ = [
    "Remote", "TooLargeError", "is_login_page", "is_url", "redacted", "refuse_web_page",
    "remote_of",
]  # fmt: skip

_SCHEMES = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "https": "https", "http": "http"}

_WEB_PAGE = re.compile(
    rb"(\xef\xbb\xbf)?\s*(<!--.{0,500}?-->\s*|<\?xml.{0,200}?\?>\s*)*"
    rb"<(!doctype\s+html|html|head|body|title|meta|script)\b",
    re.DOTALL | re.IGNORECASE,
)
_PASSWORD = re.compile(rb"<input\b[^>]*\btype\s*=\s*[\"']?password\b", re.IGNORECASE)


class TooLargeError(PhotographError):
    """A file has more bytes than are accepted."""


@dataclass(frozen=True, slots=True)
class Remote:
    """An object behind a URL.

    Attributes:
        scheme: "s3", "gs", "https" or "http".
        path: as fsspec takes it. It may hold credentials, so it is never told; see `name`.
        size: bytes; None where the listing does not tell.
    """

    scheme: str
    path: str = field(repr=False)
    size: int | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        """Last part of the path; untrusted text."""
        path = unquote(urlsplit(self.path).path) if self.scheme in {"http", "https"} else self.path
        return posixpath.basename(path.rstrip("/"))

    @property
    def seekable(self) -> bool:
        """Whether parts can be read: web servers may ignore what they are asked for."""
        return self.scheme in {"s3", "gs"}

    def sized(self) -> Remote:
        """Return the object with its size, asked for where the listing did not tell."""
        if self.size is not None:
            return self

        def action() -> int | None:
            size = file_system(self.scheme).info(self.path)["size"]
            return int(size) if size else None

        return replace(self, size=with_retries(action, clean_name(self.name), self.scheme))

    def read(self, limit: int = MAX_BYTES) -> bytes:
        """Read the object."""
        if self.size is not None and self.size > limit:
            raise TooLargeError(self._too_large(limit))
        data = with_retries(lambda: self._start(limit + 1), clean_name(self.name), self.scheme)
        if len(data) > limit:
            raise TooLargeError(self._too_large(limit))
        refuse_web_page(clean_name(self.name), data)
        return data

    def read_range(self, start: int, size: int) -> bytes:
        """Read a part of the object."""
        if start == 0 or not self.seekable:
            whole = with_retries(
                lambda: self._start(start + size), clean_name(self.name), self.scheme
            )
            return whole[start:]
        return with_retries(
            lambda: self._part(start, start + size),
            clean_name(self.name),
            self.scheme,
        )

    def open(self, block: int) -> BinaryIO:
        """Open an object of `seekable` kind for reading here and there."""

        def action() -> BinaryIO:
            system = file_system(self.scheme)
            return cast("BinaryIO", system.open(self.path, "rb", block_size=block))

        return with_retries(action, clean_name(self.name), self.scheme, SourceError)

    def copy_to(self, file: BinaryIO, limit: int) -> None:
        """Copy the object into a file that is at its start."""
        with_retries(
            lambda: self._copy(file, limit), clean_name(self.name), self.scheme, SourceError
        )

    def get(self) -> bytes | None:
        """Read an object that may not exist, such as the table of an earlier run."""
        label = clean_name(self.name)

        def action() -> bytes | None:
            system = file_system(self.scheme)
            system.invalidate_cache()
            try:
                return cast("bytes", system.cat_file(self.path))
            except FileNotFoundError:
                return None

        return with_retries(action, label, self.scheme, SourceError)

    def put(self, file: Path) -> None:
        """Write the object."""
        with_retries(
            lambda: file_system(self.scheme).put_file(str(file), self.path),
            clean_name(self.name), self.scheme, SourceError,
        )  # fmt: skip

    def _start(self, size: int) -> bytes:
        """Return the first bytes of the object."""
        system = file_system(self.scheme)
        if self.seekable:
            if self.size == 0:  # a range of nothing is an error to S3
                return b""
            return self._part(0, size)
        parts = io.BytesIO()
        # With its size, no second request asks for it.
        with system.open(self.path, "rb", block_size=0, size=self.size) as stream:
            while parts.tell() < size and (part := stream.read(min(1 << 20, size - parts.tell()))):
                parts.write(part)
        return parts.getvalue()

    def _part(self, start: int, end: int) -> bytes:
        return cast("bytes", file_system(self.scheme).cat_file(self.path, start=start, end=end))

    def _copy(self, file: BinaryIO, limit: int) -> None:
        file.seek(0)
        file.truncate()
        with file_system(self.scheme).open(
            self.path, "rb", block_size=8 << 20 if self.seekable else 0
        ) as stream:
            while part := stream.read(1 << 20):
                if file.tell() == 0:
                    refuse_web_page(clean_name(self.name), part, SourceError)
                if file.tell() + len(part) > limit:
                    raise SourceError(self._too_large(limit))
                file.write(part)

    def _too_large(self, limit: int) -> str:
        return (
            f"{clean_name(self.name)}: the file is too large; at most {limit >> 20} MiB are "
            "accepted."
        )


def refuse_web_page(label: str, head: bytes, kind: type[DrcoreError] = PhotographError) -> None:
    """Raise an outage where a server sent a web page in place of a file: it wants a login."""
    if _WEB_PAGE.match(head):
        failure = kind(
            f"{label}: the server answered with a web page, probably to log in, not with "
            f"the file. Sign in, or give an address that holds an access token. {RETRY_LATER}"
        )
        failure.is_outage = True
        raise failure


def is_login_page(page: bytes) -> bool:
    """Tell a web page that asks for a password."""
    return _PASSWORD.search(page) is not None


def is_url(text: str) -> bool:
    """Tell a URL from a path."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text) is not None


def redacted(url: str) -> str:
    """Write a URL so that it can be told: without user, password and query."""
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    if scheme in {"http", "https"}:
        path = re.split(r"[?#]", path, maxsplit=1)[0]
        host = re.split(r"[?#]", host, maxsplit=1)[0]
    return printable(f"{scheme}://{host.rpartition('@')[2]}{slash}{path}")


def remote_of(url: str) -> Remote:
    """Return the object of a URL, without asking whether it exists."""
    scheme = _SCHEMES.get(url.partition("://")[0].lower())
    rest = url.partition("://")[2]
    label = redacted(url)
    if scheme is None or "::" in url:
        raise SourceError(f"{label}: give a folder, or an address with s3://, gs:// or https://.")
    if scheme in {"s3", "gs"}:
        if "@" in rest.partition("/")[0]:
            raise SourceError(f"{label}: credentials do not belong here. {CREDENTIALS[scheme]}")
        return Remote(scheme, rest.rstrip("/"))
    if not may_be_asked(url):
        raise SourceError(f"{label}: photographs travel by https only. Give an https:// address.")
    return Remote(scheme, url)
