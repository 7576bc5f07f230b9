"""How a photograph was looked at; the record is append-only in PostgreSQL too."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_SQLITE = (
    # 0.1.0 made the first two as well, but a crash may have come before.
    "CREATE TRIGGER IF NOT EXISTS decisions_no_update BEFORE UPDATE ON decisions "
    "BEGIN SELECT RAISE(ABORT, 'decisions are only ever added'); END",
    "CREATE TRIGGER IF NOT EXISTS decisions_no_delete BEFORE DELETE ON decisions "
    "BEGIN SELECT RAISE(ABORT, 'decisions are only ever added'); END",
    # INSERT OR REPLACE takes a row away without asking the trigger on DELETE.
    "CREATE TRIGGER IF NOT EXISTS decisions_no_replace BEFORE INSERT ON decisions "
    "WHEN EXISTS (SELECT 1 FROM decisions WHERE id = NEW.id) "
    "BEGIN SELECT RAISE(ABORT, 'decisions are only ever added'); END",
)
_POSTGRESQL = (
    "CREATE FUNCTION decisions_refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN RAISE EXCEPTION 'decisions are only ever added'; END $$",
    "CREATE TRIGGER decisions_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON decisions "
    "FOR EACH STATEMENT EXECUTE FUNCTION decisions_refuse_change()",
)


def upgrade() -> None:
    """Add the columns and the triggers; rows from before have NULL: not recorded."""
    op.add_column("decisions", sa.Column("seconds", sa.Float))
    op.add_column("decisions", sa.Column("overlay_scales", sa.Text))
    for statement in _SQLITE if op.get_bind().dialect.name == "sqlite" else _POSTGRESQL:
        op.execute(statement)
