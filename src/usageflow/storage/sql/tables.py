"""The tables as the newest migration leaves them; tests keep both equal.

Times end in ``_us`` (Unix time in microseconds) or are called ``second`` (Unix time in seconds). Units are two columns:
``whole`` and ``pico`` (10^-12, from 0 to 10^12 - 1). The checks bound what could spoil sums for everybody.
"""

from __future__ import annotations

from sqlalchemy import (
    DDL,
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
    event,
    text,
)

METADATA = MetaData()

ROW_ID = BigInteger().with_variant(Integer(), "sqlite")
"""SQLite numbers rows by itself only in a column that is spelled INTEGER."""


def _count(name: str, default: str = "0") -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default=text(default))


def _unique_where(name: str, condition: str, *columns: str) -> Index:
    return Index(name, *columns, unique=True, sqlite_where=text(condition), postgresql_where=text(condition))


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
    _count("updated_us"),
    Column("deleted_us", BigInteger, nullable=True),
    _count("version", "1"),
    Column("capture", Text, nullable=False, server_default="STANDARD"),
    Column("retention_days", Integer, nullable=False, server_default="36"),
    Column("decision_log_percent", Integer, nullable=False, server_default="0"),
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
    Column("name", Text, nullable=False, server_default=""),
    Column("scopes", Text, nullable=False, server_default=""),
    Column("role", Text, nullable=False, server_default=""),
    _count("version", "1"),
    Column("created_by", Text, nullable=False, server_default=""),
    Column("expires_us", BigInteger, nullable=True),
    Column("revoked_us", BigInteger, nullable=True),
    Column("last_used_us", BigInteger, nullable=True),
    UniqueConstraint("secret_hash", name="uq_credentials_secret_hash"),
    CheckConstraint("length(secret_hash) = 32", name="ck_credentials_secret_hash"),
    _unique_where("ux_credentials_key", "kind = 'API_KEY'", "application_id", "name"),
    _unique_where("ux_credentials_token", "kind = 'ADMIN_TOKEN'", "name"),
)

REVISIONS = Table(
    "revisions",
    METADATA,
    _application(primary_key=True),
    Column("revision", BigInteger, primary_key=True, autoincrement=False),
    Column("author", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("document", Text, nullable=False),
    Column("author_id", Text, nullable=False, server_default=""),
    Column("message", Text, nullable=False, server_default=""),
)

REVISION_TAGS = Table(
    "revision_tags",
    METADATA,
    _application(primary_key=True),
    Column("tag", Text, primary_key=True),
    Column("revision", BigInteger, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("author_id", Text, nullable=False),
)

# What revisions do not tell of a strategy, policy or plan without a search: when it was made, when and by which revision it was
# last changed. ``document`` is kept of what is deleted, so that it can be brought back.
RESOURCES = Table(
    "resources",
    METADATA,
    _application(primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("created_us", BigInteger, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("deleted_us", BigInteger, nullable=True),
    Column("document", Text, nullable=True),
)

BLOCKS = Table(
    "blocks",
    METADATA,
    _application(primary_key=True),
    Column("block_key", Text, primary_key=True),
    Column("document", Text, nullable=False),
    Column("block_id", Text, nullable=False, server_default=""),
    _count("created_us"),
    _count("updated_us"),
    Column("deleted_us", BigInteger, nullable=True),
    _count("version", "1"),
    Index("ux_blocks_id", "application_id", "block_id", unique=True),
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
    _count("created_us"),
    _count("updated_us"),
    Column("deleted_us", BigInteger, nullable=True),
    Column("identities", Text, nullable=False, server_default="[]"),
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
    Column("deleted_us", BigInteger, nullable=True),
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

# Requests that carried an id, so that the same one carried out twice changes nothing the second time.
RECEIPTS = Table(
    "receipts",
    METADATA,
    Column("actor_id", Text, primary_key=True),
    Column("request_id", Text, primary_key=True),
    Column("method", Text, nullable=False),
    Column("payload_hash", LargeBinary, nullable=False),
    Column("application_id", Text, nullable=False),
    Column("resource_id", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Index("ix_receipts_created", "created_us"),
)

# Triggers refuse to change or delete a row. It names resources by id and has no foreign keys: it outlives them.
AUDIT_LOG = Table(
    "audit_log",
    METADATA,
    Column("sequence", ROW_ID, primary_key=True, autoincrement=False),
    Column("at_us", BigInteger, nullable=False),
    Column("actor_id", Text, nullable=False),
    Column("peer", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("application_id", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("resource_id", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    CheckConstraint("length(digest) = 32", name="ck_audit_log_digest"),
    Index("ix_audit_log_application", "application_id", "sequence"),
)

for _verb in ("UPDATE", "DELETE"):
    _refuse = DDL(  # type: ignore[no-untyped-call]
        f"CREATE TRIGGER audit_log_no_{_verb.lower()} BEFORE {_verb} ON audit_log "
        "BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END"
    )
    event.listen(AUDIT_LOG, "after_create", _refuse.execute_if(dialect="sqlite"))

# One row: the newest entry's number and hash. Locking it puts writers in a row.
AUDIT_HEAD = Table(
    "audit_head",
    METADATA,
    Column("head_id", Integer, primary_key=True, autoincrement=False),
    Column("sequence", BigInteger, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    CheckConstraint("head_id = 1", name="ck_audit_head_one"),
)

# Decision processes and what each enforces.
REPLICAS = Table(
    "replicas",
    METADATA,
    Column("replica_id", Text, primary_key=True),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("address", Text, nullable=False),
    Column("started_us", BigInteger, nullable=False),
    Column("seen_us", BigInteger, nullable=False),
)

REPLICA_STATES = Table(
    "replica_states",
    METADATA,
    Column("replica_id", Text, primary_key=True),
    Column("application_id", Text, primary_key=True),
    Column("revision", BigInteger, nullable=False),
    Column("plan_version", BigInteger, nullable=False),
    Column("directory_version", BigInteger, nullable=False),
    Column("since_us", BigInteger, nullable=False),
)

# Requests as they were decided, where an application asks for it: what a replay runs again.
DECISION_LOG = Table(
    "decision_log",
    METADATA,
    Column("row_id", ROW_ID, primary_key=True),
    Column("application_id", Text, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("document", Text, nullable=False),
    Index("ix_decision_log_time", "application_id", "at_us"),
)
