"""The date of the examination as a reader corrected it."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the column; old rows have NULL: the date was not corrected."""
    op.add_column("identities", sa.Column("exam_date", sa.String(10)))
