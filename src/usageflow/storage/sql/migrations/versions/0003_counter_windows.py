"""Long counter windows, so that a quota outlives a restart."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the table."""
    op.create_table(
        "window_checkpoints",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("start_us", sa.BigInteger, nullable=False),
        sa.Column("end_us", sa.BigInteger, nullable=False),
        sa.Column("used", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_window_checkpoints_end", "window_checkpoints", ["end_us"])


def downgrade() -> None:
    """Drops it, with the windows that are open."""
    op.drop_table("window_checkpoints")
