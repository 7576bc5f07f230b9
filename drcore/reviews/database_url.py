"""The location of the record: a path or URL as SQLAlchemy and the drivers take it."""

from __future__ import annotations

import getpass
import ssl
from pathlib import Path
from typing import Any

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from drcore.errors import ReviewError
from drcore.text import clean_name

__all__ = ["BUSY_SECONDS", "connect_arguments", "parse_url"]

BUSY_SECONDS = 30
"""How long a writer waits for others, or for an answer of the server, before it gives up."""

_POSTGRESQL = ("postgresql", "postgres", "postgresql+pg8000")
_SOCKET = "unix_sock"
_KNOWN = {"application_name", "connect_timeout", "host", "port", "sslmode", "sslrootcert", _SOCKET}
"""Parts of the query of a URL that are understood, named as libpq names them."""


def parse_url(url_or_path: str | Path) -> URL:
    """Return the URL of a database.

    Args:
        url_or_path: path of an SQLite file, or the URL of an SQLite file or a PostgreSQL database.

    Returns:
        With the driver that is used here, and a name of a user where there was none.

    Raises:
        ReviewError: it is not understood, or a kind of database that does not serve.
    """
    if isinstance(url_or_path, Path) or "://" not in url_or_path:
        return URL.create("sqlite", database=str(Path(url_or_path).expanduser()))
    try:
        url = make_url(url_or_path)
    except (ArgumentError, ValueError) as error:  # the text may hold a password: not repeated
        raise ReviewError(
            "The URL of the database is not understood. Write kind://user@host/name."
        ) from error
    kind = url.get_backend_name()
    if kind == "sqlite" and url.database in {None, "", ":memory:"}:
        raise ReviewError(
            "In-memory databases are not allowed: decisions would be lost. Give a file path."
        )
    if kind == "sqlite":
        return url
    if kind not in {"postgresql", "postgres"}:  # what refuses changes was written for these two
        raise ReviewError(
            f"Unsupported database: {clean_name(kind)}. Decisions are kept in SQLite or "
            "PostgreSQL. Give a file's path or postgresql://user@host/name."
        )
    if url.drivername not in _POSTGRESQL:
        raise ReviewError(
            f"PostgreSQL cannot be opened through {clean_name(url.get_driver_name())}: the record "
            "uses the driver pg8000. Begin the URL with postgresql://."
        )
    unknown = set(url.query) - _KNOWN
    if unknown:
        raise ReviewError(
            f"The URL of the database asks for {clean_name(', '.join(sorted(unknown)))}, which is "
            f"not understood. Known are {', '.join(sorted(_KNOWN))}."
        )
    return url.set(drivername="postgresql+pg8000", username=url.username or getpass.getuser())


def connect_arguments(url: URL) -> tuple[URL, dict[str, Any]]:
    """Split what the driver is told apart from the URL.

    Args:
        url: of `parse_url`.

    Returns:
        The URL without its query, and keyword arguments of the driver's `connect`.

    Raises:
        ReviewError: a part of the query has no meaning.
    """
    if url.get_backend_name() == "sqlite":
        return url, {"timeout": BUSY_SECONDS}
    given = {name: value if isinstance(value, str) else value[-1] for name, value in
             url.query.items()}  # fmt: skip
    host, port = given.get("host", url.host), _number(given, "port") or url.port
    arguments: dict[str, Any] = {"timeout": _number(given, "connect_timeout") or BUSY_SECONDS}
    socket = given.get(_SOCKET)
    if host and host.startswith("/"):  # a folder of sockets, as libpq has it
        socket, host = f"{host}/.s.PGSQL.{port or 5432}", None
    if socket:
        arguments |= {_SOCKET: socket, "ssl_context": False}
    else:
        arguments["ssl_context"] = _encryption(given.get("sslmode"), given.get("sslrootcert"))
    if "application_name" in given:
        arguments["application_name"] = given["application_name"]
    return url.set(query={}, host=host, port=port), arguments


def _number(given: dict[str, str], name: str) -> int | None:
    value = given.get(name)
    if value is None:
        return None
    if not value.isdecimal() or int(value) == 0:
        raise ReviewError(f"The URL of the database: {name} is not a number above 0.")
    return int(value)


def _encryption(mode: str | None, certificate: str | None) -> ssl.SSLContext | bool | None:
    """What pg8000 takes: False for none, None where the server may choose, True unchecked."""
    simple = {None: None, "disable": False, "allow": None, "prefer": None, "require": True}
    if mode in simple and certificate is None:
        return simple[mode]
    if mode not in {"require", "verify-ca", "verify-full"}:
        raise ReviewError(
            "The URL of the database: choose disable, prefer, require, verify-ca or verify-full as "
            "sslmode; sslrootcert goes with the last three."
        )
    try:
        context = ssl.create_default_context(cafile=certificate)
    except OSError as error:
        raise ReviewError(
            "The URL of the database: the certificate of sslrootcert cannot be read. "
            "Check its path."
        ) from error
    context.check_hostname = mode == "verify-full"
    return context
