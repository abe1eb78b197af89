"""Which releases of which services have which endpoints, and endpoints that only reports told of."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the tables. Endpoints that are there were all registered by somebody."""
    op.add_column(
        "endpoints", sa.Column("sighted", sa.Boolean, nullable=False, server_default=sa.text("false"))
    )
    op.create_table(
        "releases",
        _application(),
        sa.Column("service", sa.Text, primary_key=True),
        sa.Column("release", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("routes", sa.LargeBinary, nullable=False),
        sa.Column("first_seen_us", sa.BigInteger, nullable=False),
        sa.Column("last_seen_us", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("application_id", "number", name="uq_releases_number"),
    )
    op.create_table(
        "endpoint_services",
        _application(),
        sa.Column("service", sa.Text, primary_key=True),
        sa.Column("method", sa.Text, primary_key=True),
        sa.Column("template", sa.Text, primary_key=True),
        sa.Column("release", sa.Text, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    """Goes back: what only reports told of counts as registered."""
    op.drop_table("endpoint_services")
    op.drop_table("releases")
    op.drop_column("endpoints", "sighted")


def _application() -> sa.Column[str]:
    owner = sa.ForeignKey("applications.application_id")
    return sa.Column("application_id", sa.Text, owner, primary_key=True, nullable=False)
