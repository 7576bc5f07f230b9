"""Paths and URLs of the record, made into what SQLAlchemy and pg8000 take."""

from __future__ import annotations

import getpass
import ssl
from typing import Any

import pytest

from drcore.errors import ReviewError
from drcore.reviews.database_url import BUSY_SECONDS, connect_arguments, parse_url


def arguments(url: str) -> tuple[str | None, int | None, dict[str, Any]]:
    plain, given = connect_arguments(parse_url(url))
    assert plain.drivername == "postgresql+pg8000"
    assert not plain.query
    return plain.host, plain.port, given


@pytest.mark.parametrize("kind", ["postgresql", "postgres", "postgresql+pg8000"])
def test_postgresql_goes_through_pg8000(kind: str) -> None:
    url = parse_url(f"{kind}://ar:pass@clinic:5433/grades")
    assert (url.drivername, url.host, url.port) == ("postgresql+pg8000", "clinic", 5433)
    assert (url.username, url.password, url.database) == ("ar", "pass", "grades")
    assert parse_url(f"{kind}://clinic/grades").username == getpass.getuser()


def test_a_host_an_answer_and_encryption() -> None:
    assert arguments("postgresql://u@clinic:5433/x") == (
        "clinic", 5433, {"timeout": BUSY_SECONDS, "ssl_context": None},
    )  # fmt: skip
    assert arguments("postgresql://u@/x?host=clinic&port=7&connect_timeout=4&sslmode=disable") == (
        "clinic", 7, {"timeout": 4, "ssl_context": False},
    )  # fmt: skip
    assert arguments("postgresql://u@h/x?sslmode=require&application_name=ward")[2] == {
        "timeout": BUSY_SECONDS, "ssl_context": True, "application_name": "ward",
    }  # fmt: skip
    for mode, named in (("verify-full", True), ("verify-ca", False)):
        context = arguments(f"postgresql://u@h/x?sslmode={mode}")[2]["ssl_context"]
        assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, named)


def test_a_folder_of_sockets() -> None:
    socket = {"unix_sock": "/run/pg/.s.PGSQL.5432", "timeout": BUSY_SECONDS, "ssl_context": False}
    for url in (
        "postgresql://u@/x?host=/run/pg",
        "postgresql://u@/x?host=%2Frun%2Fpg",
        "postgresql+pg8000://u@/x?unix_sock=/run/pg/.s.PGSQL.5432",
    ):
        assert arguments(url)[2] == socket
    assert arguments("postgresql://u@/x?host=/run/pg&port=9")[2]["unix_sock"].endswith(".9")


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("postgresql+psycopg2://u:secret@h/x", "through psycopg2: the record uses .*pg8000"),
        ("postgresql://u:secret@h/x?options=-csearch_path", "asks for options"),
        ("postgresql://u:secret@h/x?sslmode=maybe", "choose disable, prefer"),
        ("postgresql://u:secret@h/x?sslmode=verify-full&sslrootcert=/no/ca", "cannot be read"),
        ("postgresql://u:secret@h/x?connect_timeout=0", "connect_timeout is not a number"),
        ("postgresql://u:secret@h/x?port=a", "port is not a number"),
    ],
)
def test_what_is_not_understood_is_told_without_the_password(url: str, sentence: str) -> None:
    with pytest.raises(ReviewError, match=sentence) as raised:
        connect_arguments(parse_url(url))
    assert "secret" not in str(raised.value)
