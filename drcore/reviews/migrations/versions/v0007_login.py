"""Where the name of a decision's reader comes from."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the column; old rows have NULL: not recorded."""
    op.add_column("decisions", sa.Column("login", sa.String(16)))
