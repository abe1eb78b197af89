"""Receipts, the audit log, what decision processes enforce, and the decision log."""

from __future__ import annotations

from sqlalchemy import (
    DDL,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    event,
)

from usageflow.storage.sql.tables.base import METADATA, ROW_ID

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
    Column("from_cache", Boolean, nullable=False),
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
