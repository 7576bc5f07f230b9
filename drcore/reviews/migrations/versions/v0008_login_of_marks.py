"""Where the name of the reader of a mark, its withdrawal or a correction comes from."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the columns; old rows have NULL: not recorded."""
    for table in ("marks", "mark_withdrawals", "identities"):
        op.add_column(table, sa.Column("login", sa.String(16)))
