"""The tables as the newest migration leaves them; tests keep both equal.

Times end in ``_us`` (Unix time in microseconds) or are called ``second`` (Unix time in seconds). Units are two columns:
``whole`` and ``pico`` (10^-12, from 0 to 10^12 - 1). The checks bound what could spoil sums for everybody.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

METADATA = MetaData()

ROW_ID = BigInteger().with_variant(Integer(), "sqlite")
"""SQLite numbers rows by itself only in a column that is spelled INTEGER."""


def _application(*, primary_key: bool = False) -> Column[str]:
    return Column(
        "application_id",
        Text,
        ForeignKey("applications.application_id"),
        primary_key=primary_key,
        nullable=False,
    )


INSTALLATION = Table(
    "installation",
    METADATA,
    Column("installation_id", Text, primary_key=True),
    Column("created_us", BigInteger, nullable=False),
)

APPLICATIONS = Table(
    "applications",
    METADATA,
    Column("application_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("plan_version", BigInteger, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    UniqueConstraint("name", name="uq_applications_name"),
)

CREDENTIALS = Table(
    "credentials",
    METADATA,
    Column("credential_id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("application_id", Text, ForeignKey("applications.application_id"), nullable=True),
    Column("prefix", Text, nullable=False),
    Column("secret_hash", LargeBinary, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    UniqueConstraint("secret_hash", name="uq_credentials_secret_hash"),
    CheckConstraint("length(secret_hash) = 32", name="ck_credentials_secret_hash"),
)

REVISIONS = Table(
    "revisions",
    METADATA,
    _application(primary_key=True),
    Column("revision", BigInteger, primary_key=True, autoincrement=False),
    Column("author", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("document", Text, nullable=False),
)

BLOCKS = Table(
    "blocks",
    METADATA,
    _application(primary_key=True),
    Column("block_key", Text, primary_key=True),
    Column("document", Text, nullable=False),
)

# The version of each application's directory of customers; no row: nothing was ever entered.
DIRECTORIES = Table(
    "directories",
    METADATA,
    _application(primary_key=True),
    Column("version", BigInteger, nullable=False),
)

# ``version`` is the directory's at the customer's last change: rows above a version are the log since then. A deleted
# customer's row stays, emptied, to say so.
CUSTOMERS = Table(
    "customers",
    METADATA,
    _application(primary_key=True),
    Column("name", Text, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("deleted", Boolean, nullable=False),
    Column("stripe_customer", Text, nullable=False),
    Column("plan", Text, nullable=False),
    Column("overrides", Text, nullable=False),
    Index("ix_customers_version", "application_id", "version"),
    Index("ix_customers_plan", "application_id", "plan"),
)

# The primary key is what keeps an identity with one customer.
CUSTOMER_IDENTITIES = Table(
    "customer_identities",
    METADATA,
    _application(primary_key=True),
    Column("identity_hash", LargeBinary, primary_key=True),
    Column("customer", Text, nullable=False),
    CheckConstraint("length(identity_hash) = 32", name="ck_customer_identities_identity_hash"),
    Index("ix_customer_identities_customer", "application_id", "customer"),
)

NUMBERS = Table(
    "numbers",
    METADATA,
    _application(primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("number", BigInteger, nullable=False),
    UniqueConstraint("application_id", "kind", "number", name="uq_numbers_number"),
)

# The highest number ever given: it outlives the rows of NUMBERS, so that none is given twice.
NUMBER_MARKS = Table(
    "number_marks",
    METADATA,
    _application(primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("last_number", BigInteger, nullable=False),
)

ENDPOINTS = Table(
    "endpoints",
    METADATA,
    _application(primary_key=True),
    Column("method", Text, primary_key=True),
    Column("template", Text, primary_key=True),
    Column("first_seen_us", BigInteger, nullable=False),
    Column("last_seen_us", BigInteger, nullable=False),
)

# Every (application, method, template) that usage was reported for, registered or not; never deleted.
ENDPOINT_NAMES = Table(
    "endpoint_names",
    METADATA,
    Column("endpoint_id", ROW_ID, primary_key=True),
    _application(),
    Column("method", Text, nullable=False),
    Column("template", Text, nullable=False),
    UniqueConstraint("application_id", "method", "template", name="uq_endpoint_names_name"),
)

# The only place that knows who a pseudonym is; deleting the row makes all usage of it anonymous.
IDENTITIES = Table(
    "identities",
    METADATA,
    Column("pseudonym", ROW_ID, primary_key=True, autoincrement=False),
    _application(),
    Column("value", Text, nullable=False),
    UniqueConstraint("application_id", "value", name="uq_identities_value"),
)

# The tables below take thousands of rows per second: what they refer to is looked up in the same transaction, so
# foreign keys would only add a search per row.
REPORT_IDS = Table(
    "report_ids",
    METADATA,
    Column("application_id", Text, primary_key=True),
    Column("record_id", Text, primary_key=True),
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("payload_hash", LargeBinary, nullable=False),
    Column("received_us", BigInteger, nullable=False),
    CheckConstraint("length(payload_hash) = 16", name="ck_report_ids_payload_hash"),
    CheckConstraint("length(record_id) BETWEEN 1 AND 256", name="ck_report_ids_record_id"),
    sqlite_with_rowid=False,
)

EVENTS = Table(
    "events",
    METADATA,
    Column("row_id", ROW_ID, primary_key=True),
    Column("application_id", Text, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("time_us", BigInteger, nullable=False),
    Column("endpoint_id", BigInteger, nullable=False),
    Column("path", Text, nullable=False),
    Column("pseudonym", BigInteger, nullable=True),
    Column("status", Integer, nullable=False),
    Column("latency_us", BigInteger, nullable=False),
    Column("quantity", Double, nullable=False),
    Column("denied", Boolean, nullable=False),
    Column("reason", Text, nullable=False),
    Column("detail_json", Text, nullable=False),
)

USAGE_DELTAS = Table(
    "usage_deltas",
    METADATA,
    Column("row_id", ROW_ID, primary_key=True),
    Column("application_id", Text, nullable=False),
    Column("endpoint_id", BigInteger, nullable=False),
    Column("pseudonym", BigInteger, nullable=True),
    Column("status", Integer, nullable=False),
    Column("denied", Boolean, nullable=False),
    Column("reason", Text, nullable=False),
    Column("degraded", Text, nullable=False),
    Column("policy", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("second", BigInteger, nullable=False),
    Column("requests", BigInteger, nullable=False),
    Column("whole", BigInteger, nullable=False),
    Column("pico", BigInteger, nullable=False),
    Column("request_bytes", BigInteger, nullable=False),
    Column("response_bytes", BigInteger, nullable=False),
    Column("latency", Text, nullable=True),
    CheckConstraint("requests BETWEEN 0 AND 1000000000000", name="ck_usage_deltas_requests"),
    CheckConstraint("pico BETWEEN 0 AND 999999999999", name="ck_usage_deltas_pico"),
    Index("ix_usage_deltas_second", "application_id", "second"),
)

METERING_DELTAS = Table(
    "metering_deltas",
    METADATA,
    Column("row_id", ROW_ID, primary_key=True),
    Column("application_id", Text, nullable=False),
    Column("endpoint_id", BigInteger, nullable=False),
    Column("pseudonym", BigInteger, nullable=True),
    Column("policy", Text, nullable=False),
    Column("price", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("second", BigInteger, nullable=False),
    Column("requests", BigInteger, nullable=False),
    Column("whole", BigInteger, nullable=False),
    Column("pico", BigInteger, nullable=False),
    Column("part", BigInteger, nullable=True),
    CheckConstraint("requests BETWEEN 0 AND 1000000000000", name="ck_metering_deltas_requests"),
    CheckConstraint("pico BETWEEN 0 AND 999999999999", name="ck_metering_deltas_pico"),
    # Only what nothing has claimed yet is ever looked for by time: the index stays as small as the backlog.
    Index(
        "ix_metering_deltas_open",
        "application_id",
        "second",
        sqlite_where=text("part IS NULL"),
        postgresql_where=text("part IS NULL"),
    ),
)

WINDOW_CHECKPOINTS = Table(
    "window_checkpoints",
    METADATA,
    Column("key", Text, primary_key=True),
    Column("start_us", BigInteger, nullable=False),
    Column("end_us", BigInteger, nullable=False),
    Column("used", BigInteger, nullable=False),
    Column("at_us", BigInteger, nullable=False, server_default=text("0")),
    Index("ix_window_checkpoints_end", "end_us"),
)
