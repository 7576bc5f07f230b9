"""Requests to remote systems: the file systems of fsspec, tries and limits, and what went wrong.

What a remote system says when it fails may hold addresses with credentials, so no such text goes
into a message: an error is told by its kind, and the object by its path alone.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

from drcore.errors import RETRY_LATER, DrcoreError, PhotographError, SourceError

__all__ = [
    "CREDENTIALS", "describe_error", "file_system", "may_be_asked", "retry_after", "was_outage",
    "with_retries",
]  # fmt: skip

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

# What these log may hold addresses with credentials, and our errors say it better.
for _logger in ("aiobotocore", "botocore", "fsspec", "gcsfs", "s3fs"):
    logging.getLogger(_logger).setLevel(logging.CRITICAL)

TRIES = 5
"""Times that a request is made before its failure is reported."""

PAUSE, MAX_PAUSE = 0.5, 30.0
"""Seconds before the second try, doubled before each further one; at most, whatever a server asks
for in its Retry-After."""

CONNECT_SECONDS, READ_SECONDS = 10, 60
"""How long a server may take to answer, and to send the next bytes."""

CREDENTIALS = {
    "s3": "Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; "
    "FSSPEC_S3_ANON=true for a public bucket.",
    "gs": "Set GOOGLE_APPLICATION_CREDENTIALS; FSSPEC_GS_TOKEN=anon for a public bucket.",
    "https": "Give an address that may be read, and that leads to none without https.",
    "http": "Give an address that may be read, and that leads to none without https.",
}
"""By scheme: what to do where access is refused."""

T = TypeVar("T")


def file_system(scheme: str) -> Any:
    """Return the file system of fsspec, which keeps one for each set of options."""
    # What gcsfs calls experimental asks a second service about each bucket first, which proxies do
    # not let through: a minute for every request. Read when gcsfs is imported.
    os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    try:
        import fsspec  # type: ignore[import-untyped]

        return fsspec.filesystem(scheme, **_options(scheme))
    except ImportError as error:
        raise SourceError(
            f"For {scheme}:// addresses, install drcore with its extra 'cloud'."
        ) from error


def _options(scheme: str) -> dict[str, Any]:
    if scheme == "s3":
        return {
            "config_kwargs": {
                "connect_timeout": CONNECT_SECONDS,
                "read_timeout": READ_SECONDS,
                "retries": {"max_attempts": 2},
            }
        }
    if scheme == "gs":
        return {"requests_timeout": READ_SECONDS}
    import aiohttp

    seconds = aiohttp.ClientTimeout(None, sock_connect=CONNECT_SECONDS, sock_read=READ_SECONDS)
    client = {"timeout": seconds, "trust_env": True, "trace_configs": [_redirects()]}
    return {"client_kwargs": client, "use_listings_cache": False}


@cache  # one, or fsspec would keep a file system for each request
def _redirects() -> Any:
    """Watch over where a server sends us: never out of https."""
    import aiohttp

    async def look(_session: object, _context: object, told: Any) -> None:
        headers = told.response.headers
        where = headers.get("Location") or headers.get("URI") or ""
        if not may_be_asked(urljoin(str(told.url), where)):
            raise PermissionError

    watch = aiohttp.TraceConfig()
    watch.on_request_redirect.append(look)
    return watch


def may_be_asked(url: str) -> bool:
    """Tell whether photographs may come from an address."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return False
    return bool(host) and (
        parts.scheme.lower() == "https" or (parts.scheme.lower() == "http" and host in _LOOPBACK)
    )


def with_retries(
    action: Callable[[], T],
    label: str,
    scheme: str,
    kind: type[DrcoreError] = PhotographError,
    missing: type[DrcoreError] | None = None,
) -> T:
    """Do what may fail for a moment, with growing pauses; say in a sentence what lasts."""
    tries = 1 if scheme == "gs" else TRIES  # gcsfs tries six times by itself
    for number in range(tries):
        try:
            return action()
        except DrcoreError:
            raise
        except Exception as error:  # noqa: BLE001 - of a dozen libraries
            why, passing = describe_error(error, scheme)
            if not passing or number == tries - 1:
                gone = why.startswith(_MISSING)
                failure = ((missing or kind) if gone else kind)(f"{label}: {why}")
                failure.is_outage = passing and was_outage(why)
                # Not "from error": its text may hold credentials, and tracebacks are printed.
                raise failure from None
            pause = max(PAUSE * 2**number, retry_after(error))
        time.sleep(min(pause, MAX_PAUSE))
    raise AssertionError  # the last try returned or raised


def was_outage(reason: str) -> bool:
    """Tell whether a photograph failed because it could not be fetched."""
    return reason.endswith(RETRY_LATER)


_MISSING = "there is no such object"


def describe_error(error: BaseException, scheme: str) -> tuple[str, bool]:
    """Say in our own words why a remote system failed."""
    status = _status(error)
    # fsspec reports any failure as a missing file, caused by it.
    while isinstance(error, FileNotFoundError) and error.__cause__ is not None:
        error = error.__cause__
    kinds = {parent.__name__ for parent in type(error).__mro__}
    if status in {404, 410} or (status is None and isinstance(error, FileNotFoundError)):
        return f"{_MISSING}, folder or bucket. Check the address.", False
    if status in {401, 403} or isinstance(error, PermissionError) or kinds & _REFUSED:
        answer = "" if status is None else f" The server answered with status {status}."
        return f"access is refused. {CREDENTIALS[scheme]}{answer} {RETRY_LATER}", False
    if status is not None:
        return _describe_status(status)
    if isinstance(error, TimeoutError) or "Timeout" in type(error).__name__:
        return f"the server does not answer in time. {RETRY_LATER}", True
    if isinstance(error, ConnectionError) or kinds & _UNREACHABLE:
        return (
            f"the server cannot be reached, or breaks off. Check address and network. {RETRY_LATER}"
        ), True
    return f"it cannot be read or written ({type(error).__name__}).", isinstance(error, OSError)


_REFUSED = frozenset(
    {
        "NoCredentialsError", "PartialCredentialsError", "ProfileNotFound",
        "DefaultCredentialsError", "GoogleAuthError",
    }
)  # fmt: skip
_UNREACHABLE = frozenset(
    {
        "ClientError", "HTTPClientError", "EndpointConnectionError", "ClientPayloadError",
        "ConnectionError",
    }
)  # fmt: skip


def _describe_status(status: int) -> tuple[str, bool]:
    if status == 429:
        return f"the server is too busy (status {status}). {RETRY_LATER}", True
    if status in {408, 425}:
        return f"the server gave up waiting (status {status}). {RETRY_LATER}", True
    if status >= 500:
        return f"the server fails (status {status}). {RETRY_LATER}", True
    return f"the server refuses (status {status}).", False


def retry_after(error: BaseException | None) -> float:
    """Seconds that the server asks to wait; 0 where it does not."""
    while error is not None:
        headers = getattr(error, "headers", None)
        response = getattr(error, "response", None)
        if isinstance(response, dict):
            headers = response.get("ResponseMetadata", {}).get("HTTPHeaders")
        if isinstance(headers, Mapping):
            asked = str(headers.get("Retry-After") or headers.get("retry-after") or "")
            if asked.isdigit():
                return float(asked)
            if asked:
                return _seconds_until(asked)
        error = error.__cause__
    return 0.0


def _seconds_until(moment: str) -> float:
    try:
        return max(0.0, parsedate_to_datetime(moment).timestamp() - time.time())
    except (ValueError, TypeError):
        return 0.0


def _status(error: BaseException | None) -> int | None:
    """HTTP status of an error of any of the libraries, or of what caused it."""
    while error is not None:
        response = getattr(error, "response", None)
        if isinstance(response, dict):  # botocore, below s3fs
            found = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        elif type(error).__name__ == "HttpError":  # gcsfs
            found = getattr(error, "code", None)
        elif type(error) is OSError and str(error).startswith("Forbidden"):  # gcsfs, too
            found = 403
        else:
            found = getattr(error, "status", None)  # aiohttp
        if isinstance(found, int | str) and str(found).isdigit() and int(found) >= 400:
            return int(found)
        error = error.__cause__
    return None
