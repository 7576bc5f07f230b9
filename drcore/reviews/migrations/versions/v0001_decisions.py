"""The table of decisions, exactly as version 0.1.0 made it."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "decisions",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("image", sa.Text, nullable=False),
        sa.Column("model_version", sa.String(200), nullable=False),
        sa.Column("machine_status", sa.String(16), nullable=False),
        sa.Column("machine_grade", sa.Integer),
        sa.Column("machine_score", sa.Float),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("grade", sa.Integer),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("reader", sa.String(200), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("laterality", sa.String(2)),
        sa.Column("patient", sa.String(400)),
        sqlite_autoincrement=True,  # an id is never given twice
    )
    op.create_index("ix_decisions_sha256", "decisions", ["sha256"])
