"""A PostgreSQL server of the tests' own, on a socket and nowhere else."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import Engine, create_engine, text

from drcore.reviews.database_url import connect_arguments, parse_url


def programs() -> Path | None:
    """The folder of initdb and postgres, the newest where there are several."""
    on_path = shutil.which("initdb")
    candidates = [Path(on_path).resolve().parent] if on_path else []
    versions = Path("/usr/lib/postgresql").glob("*/bin")
    candidates += sorted(versions, key=lambda folder: folder.parent.name, reverse=True)
    for folder in candidates:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    return None


def unprivileged() -> dict[str, Any]:
    """Arguments of `subprocess` that give up root, which PostgreSQL refuses to run as."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    pytest.skip("PostgreSQL does not run as root, and there is no other user")


@contextlib.contextmanager
def postgresql_server() -> Iterator[Path]:
    """Run a server that listens on a socket in this folder; skips where there is none."""
    folder = programs()
    if folder is None:
        pytest.skip("there is no PostgreSQL: initdb is neither on PATH nor in /usr/lib/postgresql")
    who = unprivileged()
    # Not tmp_path: its parents are closed to other users, and a socket's path has 107 bytes.
    place = Path(tempfile.mkdtemp(prefix="drcore-pg-"))
    try:
        if who:
            os.chown(place, who["user"], who["group"])
        made = subprocess.run(
            [
                folder / "initdb", "--pgdata", place / "data", "--auth=trust", "--username=drcore",
                "--encoding=UTF8", "--no-locale", "--no-sync",
            ],
            cwd=place, capture_output=True, text=True, timeout=240, check=False, **who,
        )  # fmt: skip
        if made.returncode:
            pytest.skip(f"PostgreSQL cannot make a database here: {made.stderr.strip()[-300:]}")
        settings = {
            "listen_addresses": "", "unix_socket_directories": str(place), "fsync": "off",
            "max_connections": "60", "shared_buffers": "16MB",
        }  # fmt: skip
        options = [f"-c{name}={value}" for name, value in settings.items()]
        control = [folder / "pg_ctl", "--pgdata", place / "data", "--wait", "--timeout=120"]
        log = place / "log"
        started = subprocess.run(
            [*control, "--log", log, "--options", " ".join(f"'{o}'" for o in options), "start"],
            cwd=place, stdout=subprocess.DEVNULL, timeout=240, check=False, **who,
        )  # fmt: skip
        assert started.returncode == 0, log.read_text()
        try:
            yield place
        finally:
            subprocess.run(
                [*control, "--mode=immediate", "stop"],
                cwd=place, stdout=subprocess.DEVNULL, timeout=240, check=True, **who,
            )  # fmt: skip
    finally:
        shutil.rmtree(place, ignore_errors=True)


def new_database(socket_folder: Path) -> str:
    """The URL of a new, empty database."""
    native = pytest.importorskip("pg8000.native", reason="pg8000 is not installed")
    name = f"test_{uuid.uuid4().hex}"
    socket = str(socket_folder / ".s.PGSQL.5432")
    with contextlib.closing(
        native.Connection("drcore", unix_sock=socket, database="postgres")
    ) as server:
        server.run(f"CREATE DATABASE {name}")
    return f"postgresql://drcore@/{name}?host={quote(str(socket_folder))}"


def engine_of(url: str) -> Engine:
    """An engine that knows nothing of the store."""
    plain, arguments = connect_arguments(parse_url(url))
    return create_engine(plain, connect_args=arguments)


def sql(url: str, *statements: str) -> list[Any]:
    """Speak to the database behind the store's back."""
    engine = engine_of(url)
    try:
        with engine.begin() as connection:
            for statement in statements:
                result = connection.execute(text(statement))
            return [tuple(row) for row in result] if result.returns_rows else []
    finally:
        engine.dispose()
