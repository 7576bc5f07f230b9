"""Withdrawals of decisions: what a reader saved by mistake and took back."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_TABLE = "decision_withdrawals"
_REFUSE = f"BEGIN SELECT RAISE(ABORT, '{_TABLE} are only ever added'); END"
_SQLITE = (
    f"CREATE TRIGGER {_TABLE}_no_update BEFORE UPDATE ON {_TABLE} {_REFUSE}",
    f"CREATE TRIGGER {_TABLE}_no_delete BEFORE DELETE ON {_TABLE} {_REFUSE}",
    # INSERT OR REPLACE takes a row away without asking the trigger on DELETE.
    # The name of the table is ours alone.
    f"CREATE TRIGGER {_TABLE}_no_replace BEFORE INSERT ON {_TABLE} "  # noqa: S608 # nosec B608
    f"WHEN EXISTS (SELECT 1 FROM {_TABLE} WHERE id = NEW.id) {_REFUSE}",
)
_POSTGRESQL = (
    f"CREATE FUNCTION {_TABLE}_refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
    f"$$ BEGIN RAISE EXCEPTION '{_TABLE} are only ever added'; END $$",
    f"CREATE TRIGGER {_TABLE}_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON {_TABLE} "
    f"FOR EACH STATEMENT EXECUTE FUNCTION {_TABLE}_refuse_change()",
)


def upgrade() -> None:
    """Add the table and its triggers."""
    op.create_table(
        _TABLE,
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("decision", sa.Integer, nullable=False),
        sa.Column("reader", sa.String(200), nullable=False),
        sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_decision_withdrawals_decision", _TABLE, ["decision"])
    for statement in _SQLITE if op.get_bind().dialect.name == "sqlite" else _POSTGRESQL:
        op.execute(statement)
