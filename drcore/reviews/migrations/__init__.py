"""The schema of the record of decisions, brought up to date step by step with Alembic.

`env.py` and `versions` are Alembic's; a new step is a new file in `versions`, and one that was
released is never edited. Importing this package does not import Alembic.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import inspect, text

from drcore.errors import ReviewError

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from sqlalchemy import Connection

__all__ = ["VERSION_TABLE", "is_current", "upgrade"]

VERSION_TABLE = "decisions_version"
"""Keeps the step at which a database stands; not Alembic's own name, as the database may be shared
with a program that uses that."""

_FIRST = "0001"
_FIRST_COLUMNS = {
    "id", "sha256", "image", "model_version", "machine_status", "machine_grade", "machine_score",
    "action", "grade", "note", "reader", "decided_at", "laterality", "patient",
}  # fmt: skip
"""Of the table that version 0.1.0 made, which kept no note of its step."""

_POSTGRESQL_LOCK = 5_303_471_882_093_361
"""Any number that other programs are unlikely to lock."""

_one_at_a_time = threading.Lock()


def is_current(connection: Connection, label: str) -> bool:
    """Say whether a database needs no step; locks nothing.

    Args:
        connection: to SQLite or PostgreSQL.
        label: what messages call the database.

    Returns:
        True where `upgrade` would change nothing.

    Raises:
        ReviewError: the database was made by a newer version.
    """
    script = _script(_config())
    return _standing(connection, script, label) == script.get_current_head()


def upgrade(connection: Connection, label: str, keep: Callable[[str], None]) -> None:
    """Bring a database to the newest schema; all steps or none, and no row is lost.

    Other processes that do the same at the same time wait for the end of the transaction, and then
    find nothing to do.

    Args:
        connection: to SQLite or PostgreSQL, in a transaction that has written nothing; the caller
            commits.
        label: what messages call the database.
        keep: called with the step at which an older record stands, before anything is changed.

    Raises:
        ReviewError: the database was made by a newer version, or its table by another program.
    """
    from alembic import command

    if connection.dialect.name == "sqlite":
        # Python's driver begins no transaction before a statement that changes the schema.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _POSTGRESQL_LOCK})
    config = _config()
    standing = _standing(connection, _script(config), label)
    inspector = inspect(connection)
    with _one_at_a_time:  # Alembic keeps the running step in globals
        config.attributes["connection"] = connection
        if standing is None and inspector.has_table("decisions"):
            columns = {str(column["name"]) for column in inspector.get_columns("decisions")}
            if not columns >= _FIRST_COLUMNS:
                raise ReviewError(
                    f"{label}: the record of decisions cannot be opened: its table decisions "
                    "belongs to another program. Give another database."
                )
            keep(_FIRST)
            command.stamp(config, _FIRST)
        elif standing not in {None, _script(config).get_current_head()}:
            keep(str(standing))
        command.upgrade(config, "head")


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    folder = str(Path(__file__).parent)
    config.set_main_option("script_location", folder.replace("%", "%%"))
    return config


def _script(config: Config) -> ScriptDirectory:
    from alembic.script import ScriptDirectory

    return ScriptDirectory.from_config(config)


def _standing(connection: Connection, script: ScriptDirectory, label: str) -> str | None:
    """The step at which a database stands; None where it keeps none."""
    from alembic.migration import MigrationContext

    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    steps = context.get_current_heads()
    unknown = set(steps) - {step.revision for step in script.walk_revisions()}
    if unknown:
        raise ReviewError(
            f"{label}: the record of decisions was made by a newer version of drcore "
            f"(schema {', '.join(sorted(unknown))}). Update drcore, or give another database."
        )
    return steps[0] if steps else None
