"""Requests to remote systems: the file systems of fsspec, tries and limits, and what went wrong.

What a remote system says when it fails may hold addresses with credentials, so no such text goes
into a message: an error is told by its kind, and the object by its path alone.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

from drcore.errors import DrcoreError, PhotographError, SourceError

__all__ = ["CREDENTIALS", "describe_error", "file_system", "may_be_asked", "with_retries"]

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

# What these log may hold addresses with credentials, and our errors say it better.
for _logger in ("aiobotocore", "botocore", "fsspec", "gcsfs", "s3fs"):
    logging.getLogger(_logger).setLevel(logging.CRITICAL)

TRIES = 3
"""Times that a request is made before its failure is told."""

PAUSE = 0.5
"""Seconds before the second try; twice as many before the third."""

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
    """Return the file system of fsspec, which keeps one for each set of options.

    Args:
        scheme: "s3", "gs", "https" or "http".

    Returns:
        An `fsspec.AbstractFileSystem`, safe to share between threads.

    Raises:
        SourceError: what it needs is not installed.
    """
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
    """Tell whether photographs may come from an address.

    Args:
        url: with its scheme.

    Returns:
        True for https with a host, and for http of this computer alone.
    """
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
) -> T:
    """Do what may fail for a moment; tell in a sentence what lasts.

    Args:
        action: makes the request; errors of ours pass through it.
        label: what is read or written, without credentials.
        scheme: of the object.
        kind: of the error that tells it.

    Returns:
        What the action returns.

    Raises:
        DrcoreError: of the kind given.
    """
    tries = 1 if scheme == "gs" else TRIES  # gcsfs tries six times by itself
    for number in range(tries):
        try:
            return action()
        except DrcoreError:
            raise
        except Exception as error:  # noqa: BLE001 - of a dozen libraries
            why, passing = describe_error(error, scheme)
            if not passing or number == tries - 1:
                # Not "from error": its text may hold credentials, and tracebacks are printed.
                raise kind(f"{label}: {why}") from None
        time.sleep(PAUSE * 2**number)
    raise AssertionError  # the last try returned or raised


def describe_error(  # noqa: PLR0911 - a sentence each
    error: BaseException, scheme: str
) -> tuple[str, bool]:
    """Tell in our own words why a remote system failed.

    Args:
        error: of fsspec or a library below it.
        scheme: of the object.

    Returns:
        The sentence, without a word of the error's own text, and whether it may pass by itself.
    """
    status = _status(error)
    kinds = {parent.__name__ for parent in type(error).__mro__}
    if isinstance(error, FileNotFoundError) or status in {404, 410}:
        return "there is no such object, folder or bucket. Check the address.", False
    if (
        isinstance(error, PermissionError)
        or status in {401, 403}
        or kinds & {"NoCredentialsError", "PartialCredentialsError", "ProfileNotFound",
                    "DefaultCredentialsError", "GoogleAuthError"}
    ):  # fmt: skip
        return f"access is refused. {CREDENTIALS[scheme]}", False
    if status == 429 or (status or 0) >= 500:
        return f"the server fails (status {status}). Try again later.", True
    if status is not None:
        return f"the server refuses (status {status}).", False
    if isinstance(error, TimeoutError) or "Timeout" in type(error).__name__:
        return "the server does not answer in time. Try again later.", True
    if isinstance(error, ConnectionError) or kinds & {
        "ClientError", "HTTPClientError", "EndpointConnectionError", "ClientPayloadError",
        "ConnectionError",
    }:  # fmt: skip
        return "the server cannot be reached, or breaks off. Check address and network.", True
    return f"it cannot be read or written ({type(error).__name__}).", isinstance(error, OSError)


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
