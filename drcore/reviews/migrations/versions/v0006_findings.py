"""The answers of a structured reading, stored with a decision."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the column; NULL: not recorded."""
    op.add_column("decisions", sa.Column("findings", sa.Text))
