"""What metering expressions could not work out."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TEXTS = ("application_id", "event_id", "policy", "price")


def upgrade() -> None:
    """Makes the table and its indices."""
    op.create_table(
        "metering_failures",
        sa.Column("row_id", _ROW_ID, primary_key=True),
        *(sa.Column(name, sa.Text, nullable=False) for name in _TEXTS),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("time_us", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_metering_failures_application", "metering_failures", ["application_id", "row_id"])
    op.create_index("ix_metering_failures_time", "metering_failures", ["application_id", "time_us"])


def downgrade() -> None:
    """Drops the table."""
    op.drop_table("metering_failures")
