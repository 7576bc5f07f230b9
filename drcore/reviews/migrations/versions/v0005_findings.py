"""The answers of a structured reading, stored with a decision."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the column; NULL: not recorded."""
    op.add_column("decisions", sa.Column("findings", sa.Text))
