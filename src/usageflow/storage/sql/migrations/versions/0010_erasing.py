"""Who pays for units whose identity was erased before they were billed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the column."""
    op.add_column("metering_deltas", sa.Column("customer", sa.Text, nullable=True))


def downgrade() -> None:
    """Drops it; what was bound is billed to nobody then."""
    op.drop_column("metering_deltas", "customer")
