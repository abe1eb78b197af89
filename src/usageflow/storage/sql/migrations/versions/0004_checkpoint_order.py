"""When a checkpointed window was seen, so that of several processes' states the latest stays."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the column; states that were saved before count as the oldest."""
    op.add_column(
        "window_checkpoints", sa.Column("at_us", sa.BigInteger, nullable=False, server_default=sa.text("0"))
    )


def downgrade() -> None:
    """Drops the column."""
    op.drop_column("window_checkpoints", "at_us")
