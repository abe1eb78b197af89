"""The directory of customers, with its own version."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the tables."""
    op.create_table("directories", _application(), sa.Column("version", sa.BigInteger, nullable=False))
    op.create_table(
        "customers",
        _application(),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("deleted", sa.Boolean, nullable=False),
        sa.Column("stripe_customer", sa.Text, nullable=False),
        sa.Column("plan", sa.Text, nullable=False),
        sa.Column("overrides", sa.Text, nullable=False),
    )
    op.create_index("ix_customers_version", "customers", ["application_id", "version"])
    op.create_index("ix_customers_plan", "customers", ["application_id", "plan"])
    op.create_table(
        "customer_identities",
        _application(),
        sa.Column("identity_hash", sa.LargeBinary, primary_key=True),
        sa.Column("customer", sa.Text, nullable=False),
        sa.CheckConstraint("length(identity_hash) = 32", name="ck_customer_identities_identity_hash"),
    )
    op.create_index("ix_customer_identities_customer", "customer_identities", ["application_id", "customer"])


def downgrade() -> None:
    """Drops them, with the customers."""
    for table in ("customer_identities", "customers", "directories"):
        op.drop_table(table)


def _application() -> sa.Column[str]:
    return sa.Column(
        "application_id",
        sa.Text,
        sa.ForeignKey("applications.application_id"),
        primary_key=True,
        nullable=False,
    )
