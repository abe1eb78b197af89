"""What changes without a revision: blocks and customers."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, Index, LargeBinary, Table, Text

from usageflow.storage.sql.tables.base import METADATA, application, count

BLOCKS = Table(
    "blocks",
    METADATA,
    application(primary_key=True),
    Column("block_key", Text, primary_key=True),
    Column("document", Text, nullable=False),
    Column("block_id", Text, nullable=False, server_default=""),
    count("created_us"),
    count("updated_us"),
    Column("deleted_us", BigInteger, nullable=True),
    count("version", "1"),
    Index("ux_blocks_id", "application_id", "block_id", unique=True),
)

# The version of each application's directory of customers; no row: nothing was ever entered.
DIRECTORIES = Table(
    "directories",
    METADATA,
    application(primary_key=True),
    Column("version", BigInteger, nullable=False),
)

# ``version`` is the directory's at the customer's last change: rows above a version are the log since then. A deleted
# customer's row stays, emptied, to say so.
CUSTOMERS = Table(
    "customers",
    METADATA,
    application(primary_key=True),
    Column("name", Text, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("deleted", Boolean, nullable=False),
    Column("stripe_customer", Text, nullable=False),
    Column("plan", Text, nullable=False),
    Column("overrides", Text, nullable=False),
    count("created_us"),
    count("updated_us"),
    Column("deleted_us", BigInteger, nullable=True),
    Column("identities", Text, nullable=False, server_default="[]"),
    Index("ix_customers_version", "application_id", "version"),
    Index("ix_customers_plan", "application_id", "plan"),
)

# The primary key is what keeps an identity with one customer.
CUSTOMER_IDENTITIES = Table(
    "customer_identities",
    METADATA,
    application(primary_key=True),
    Column("identity_hash", LargeBinary, primary_key=True),
    Column("customer", Text, nullable=False),
    CheckConstraint("length(identity_hash) = 32", name="ck_customer_identities_identity_hash"),
    Index("ix_customer_identities_customer", "application_id", "customer"),
)
