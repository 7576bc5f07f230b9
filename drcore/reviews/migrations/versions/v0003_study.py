"""Circumstances of a decision; marks, their withdrawals, corrections of laterality and patient."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_TABLES = ("marks", "mark_withdrawals", "identities")


def _number() -> sa.Column[int]:
    return sa.Column("id", sa.Integer, primary_key=True, autoincrement=True)


def _sqlite_triggers(table: str) -> tuple[str, ...]:
    refuse = f"BEGIN SELECT RAISE(ABORT, '{table} are only ever added'); END"
    return (
        f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} {refuse}",
        f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} {refuse}",
        # INSERT OR REPLACE takes a row away without asking the trigger on DELETE.
        # The name of the table is ours alone.
        f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} "  # noqa: S608 # nosec B608
        f"WHEN EXISTS (SELECT 1 FROM {table} WHERE id = NEW.id) {refuse}",
    )


def _postgresql_triggers(table: str) -> tuple[str, ...]:
    return (
        f"CREATE FUNCTION {table}_refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{table} are only ever added'; END $$",
        f"CREATE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {table}_refuse_change()",
    )


def upgrade() -> None:
    """Add the columns, the tables and their triggers; old rows have NULL: not recorded."""
    op.add_column("decisions", sa.Column("mode", sa.String(32)))
    op.add_column("decisions", sa.Column("role", sa.String(16)))
    op.add_column("decisions", sa.Column("machine_visible", sa.Boolean))
    op.add_column("decisions", sa.Column("revises", sa.Integer))
    op.create_table(
        "marks",
        _number(),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("lesion", sa.String(32), nullable=False),
        *(sa.Column(name, sa.Float(53), nullable=False) for name in ("x0", "y0", "x1", "y1")),
        sa.Column("reader", sa.String(200), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_marks_sha256", "marks", ["sha256"])
    op.create_table(
        "mark_withdrawals",
        _number(),
        sa.Column("mark", sa.Integer, nullable=False),
        sa.Column("reader", sa.String(200), nullable=False),
        sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_mark_withdrawals_mark", "mark_withdrawals", ["mark"])
    op.create_table(
        "identities",
        _number(),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("laterality", sa.String(2)),
        sa.Column("patient", sa.String(400)),
        sa.Column("reader", sa.String(200), nullable=False),
        sa.Column("corrected_at", sa.DateTime(timezone=True), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_identities_sha256", "identities", ["sha256"])
    sqlite = op.get_bind().dialect.name == "sqlite"
    for table in _TABLES:
        for statement in _sqlite_triggers(table) if sqlite else _postgresql_triggers(table):
            op.execute(statement)
