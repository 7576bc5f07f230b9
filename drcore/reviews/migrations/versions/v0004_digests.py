"""A digest for each row, and a table that says when a patient was erased."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from drcore.reviews.digests import row_digest

revision = "0004"
down_revision = "0003"

_TABLES = ("decisions", "marks", "mark_withdrawals", "identities")


def upgrade() -> None:
    """Add the columns, fill them, make the table and its triggers."""
    connection = op.get_bind()
    sqlite = connection.dialect.name == "sqlite"
    for name in _TABLES:
        op.add_column(name, sa.Column("digest", sa.String(64)))
        table = sa.Table(name, sa.MetaData(), autoload_with=connection)
        guard = _paused(connection, name, sqlite=sqlite)
        _seal(connection, table)
        op.execute(guard)
    op.create_table(
        "erasures",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("erased_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("erased_by", sa.String(200), nullable=False),
        *(
            sa.Column(counted, sa.Integer, nullable=False)
            for counted in ("photographs", "decisions", "marks", "corrections", "list_entries")
        ),
        sa.Column("digest", sa.String(64)),
        sqlite_autoincrement=True,
    )
    for statement in _SQLITE if sqlite else _POSTGRESQL:
        op.execute(statement)


def _seal(connection: sa.Connection, table: sa.Table) -> None:
    """Give each row its digest, some at a time: a record may be larger than the memory."""
    change = sa.update(table).where(table.c.id == sa.bindparam("number"))
    last = 0
    while True:
        query = sa.select(table).where(table.c.id > last).order_by(table.c.id).limit(1000)
        rows = connection.execute(query).mappings().all()
        if not rows:
            return
        connection.execute(change, [_sealed(table.name, row) for row in rows])
        last = rows[-1]["id"]


def _sealed(name: str, row: Any) -> dict[str, Any]:
    return {"number": row["id"], "digest": row_digest(name, dict(row))}


def _paused(connection: sa.Connection, name: str, *, sqlite: bool) -> str:
    """Let rows of a table be changed; returns the statement that refuses it again."""
    if not sqlite:
        op.execute(f"ALTER TABLE {name} DISABLE TRIGGER USER")
        return f"ALTER TABLE {name} ENABLE TRIGGER USER"
    trigger = f"{name}_no_update"
    query = sa.text("SELECT sql FROM sqlite_master WHERE type = 'trigger' AND name = :name")
    guard = str(connection.execute(query, {"name": trigger}).scalar_one())
    op.execute(f"DROP TRIGGER {trigger}")
    return guard


_REFUSE = "BEGIN SELECT RAISE(ABORT, 'erasures are only ever added'); END"
_SQLITE = (
    f"CREATE TRIGGER erasures_no_update BEFORE UPDATE ON erasures {_REFUSE}",
    f"CREATE TRIGGER erasures_no_delete BEFORE DELETE ON erasures {_REFUSE}",
    "CREATE TRIGGER erasures_no_replace BEFORE INSERT ON erasures "  # noqa: S608 # nosec B608
    "WHEN EXISTS (SELECT 1 FROM erasures WHERE id = NEW.id) " + _REFUSE,
)
_POSTGRESQL = (
    "CREATE FUNCTION erasures_refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN RAISE EXCEPTION 'erasures are only ever added'; END $$",
    "CREATE TRIGGER erasures_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON erasures "
    "FOR EACH STATEMENT EXECUTE FUNCTION erasures_refuse_change()",
)
