"""The installation, applications and what belongs to them."""

from __future__ import annotations

import uuid

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the tables and the installation's id, which no later migration changes."""
    installation = op.create_table(
        "installation",
        sa.Column("installation_id", sa.Text, primary_key=True),
        sa.Column("created_us", sa.BigInteger, nullable=False),
    )
    now_us = op.get_context().opts["now_us"]
    op.bulk_insert(installation, [{"installation_id": str(uuid.uuid4()), "created_us": now_us}])
    op.create_table(
        "applications",
        sa.Column("application_id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("plan_version", sa.BigInteger, nullable=False),
        sa.Column("created_us", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("name", name="uq_applications_name"),
    )
    _create_credentials()
    _create_declarations()
    _create_numbers()


def downgrade() -> None:
    """Drops all of it."""
    for table in (
        "endpoints",
        "number_marks",
        "numbers",
        "blocks",
        "revisions",
        "credentials",
        "applications",
        "installation",
    ):
        op.drop_table(table)


def _application() -> sa.Column[str]:
    return sa.Column(
        "application_id",
        sa.Text,
        sa.ForeignKey("applications.application_id"),
        primary_key=True,
        nullable=False,
    )


def _create_credentials() -> None:
    op.create_table(
        "credentials",
        sa.Column("credential_id", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("application_id", sa.Text, sa.ForeignKey("applications.application_id"), nullable=True),
        sa.Column("prefix", sa.Text, nullable=False),
        sa.Column("secret_hash", sa.LargeBinary, nullable=False),
        sa.Column("created_us", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("secret_hash", name="uq_credentials_secret_hash"),
        sa.CheckConstraint("length(secret_hash) = 32", name="ck_credentials_secret_hash"),
    )


def _create_declarations() -> None:
    op.create_table(
        "revisions",
        _application(),
        sa.Column("revision", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("created_us", sa.BigInteger, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
    )
    op.create_table(
        "blocks",
        _application(),
        sa.Column("block_key", sa.Text, primary_key=True),
        sa.Column("document", sa.Text, nullable=False),
    )


def _create_numbers() -> None:
    op.create_table(
        "numbers",
        _application(),
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("application_id", "kind", "number", name="uq_numbers_number"),
    )
    op.create_table(
        "number_marks",
        _application(),
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("last_number", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "endpoints",
        _application(),
        sa.Column("method", sa.Text, primary_key=True),
        sa.Column("template", sa.Text, primary_key=True),
        sa.Column("first_seen_us", sa.BigInteger, nullable=False),
        sa.Column("last_seen_us", sa.BigInteger, nullable=False),
    )
