"""Reported usage. A pseudonym of 0 is nobody."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    DDL,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    event,
    text,
)

from usageflow.storage.sql.tables.base import METADATA, ROW_ID, application

# Every (application, method, template) that usage was reported for, registered or not; never deleted.
ENDPOINT_NAMES = Table(
    "endpoint_names",
    METADATA,
    Column("endpoint_id", ROW_ID, primary_key=True),
    application(),
    Column("method", Text, nullable=False),
    Column("template", Text, nullable=False),
    Column("first_used", BigInteger, nullable=True),
    Column("last_used", BigInteger, nullable=True),
    UniqueConstraint("application_id", "method", "template", name="uq_endpoint_names_name"),
)

# What requests share that are summed together, whoever sent them; never deleted. ``shadow`` names policies, a line each.
USAGE_SERIES = Table(
    "usage_series",
    METADATA,
    Column("series_id", ROW_ID, primary_key=True),
    Column("application_id", Text, nullable=False),
    Column("endpoint_id", BigInteger, nullable=False),
    Column("status", Integer, nullable=False),
    Column("denied", Boolean, nullable=False),
    Column("reason", Text, nullable=False),
    Column("degraded", Text, nullable=False),
    Column("policy", Text, nullable=False),
    Column("shadow", Text, nullable=False),
    UniqueConstraint(
        "application_id",
        "endpoint_id",
        "status",
        "denied",
        "reason",
        "degraded",
        "policy",
        "shadow",
        name="uq_usage_series_labels",
    ),
)

# The only place that knows who a pseudonym is; deleting the row makes all usage of it anonymous.
IDENTITIES = Table(
    "identities",
    METADATA,
    Column("pseudonym", ROW_ID, primary_key=True, autoincrement=False),
    application(),
    Column("value", Text, nullable=False),
    UniqueConstraint("application_id", "value", name="uq_identities_value"),
)


def _sums() -> list[Column[Any]]:
    """Returns the columns that add up, with the packed histogram (usageflow.domain.latency) that is empty for none."""
    counts = ("requests", "whole", "pico", "request_bytes", "response_bytes")
    return [
        *(Column(name, BigInteger, nullable=False) for name in counts),
        Column("latency", LargeBinary, nullable=False),
    ]


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
    postgresql_partition_by="RANGE (day)",
)

# PostgreSQL keeps a partition per UTC day of both (storage/sql/partitions.py). There the key must hold the day, and one sequence
# keeps ``row_id`` rising and apart.
EVENTS = Table(
    "events",
    METADATA,
    Column("row_id", ROW_ID),
    Column("application_id", Text, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("time_us", BigInteger, nullable=False),
    Column("series_id", BigInteger, nullable=False),
    Column("path", Text, nullable=False),
    Column("pseudonym", BigInteger, nullable=False),
    Column("latency_us", BigInteger, nullable=False),
    Column("quantity", Double, nullable=False),
    Column("request_bytes", BigInteger, nullable=False),
    Column("response_bytes", BigInteger, nullable=False),
    Column("detail_json", Text, nullable=False),
    PrimaryKeyConstraint("row_id").ddl_if(dialect="sqlite"),
    Index("ix_events_time", "time_us").ddl_if(dialect="sqlite"),
    Index("ix_events_row", "row_id").ddl_if(dialect="postgresql"),
    postgresql_partition_by="RANGE (time_us)",
)
_key_of_days = DDL("ALTER TABLE events ADD PRIMARY KEY (time_us, row_id)")  # type: ignore[no-untyped-call]
event.listen(EVENTS, "after_create", _key_of_days.execute_if(dialect="postgresql"))

# What was accepted and is in no sum yet. ``latency`` is a packed histogram (usageflow.domain.latency), empty for none.
USAGE_DELTAS = Table(
    "usage_deltas",
    METADATA,
    Column("row_id", ROW_ID, primary_key=True),
    Column("application_id", Text, nullable=False),
    Column("series_id", BigInteger, nullable=False),
    Column("pseudonym", BigInteger, nullable=False),
    Column("second", BigInteger, nullable=False),
    *_sums(),
    CheckConstraint("requests BETWEEN 0 AND 1000000000000", name="ck_usage_deltas_requests"),
    CheckConstraint("pico BETWEEN 0 AND 999999999999", name="ck_usage_deltas_pico"),
)


def _of_series(name: str) -> Table:
    """Returns a table of sums per series and step; ``start`` is the step's first second."""
    return Table(
        name,
        METADATA,
        Column("series_id", BigInteger, primary_key=True, autoincrement=False),
        Column("start", BigInteger, primary_key=True, autoincrement=False),
        *_sums(),
        Index(f"ix_{name}_start", "start"),
    )


USAGE_MINUTES = _of_series("usage_minutes")
USAGE_HOURS = _of_series("usage_hours")
USAGE_DAYS = _of_series("usage_days")


def _of_identities(name: str) -> Table:
    """Returns a table of sums per step, identity and endpoint, apart for what was denied (``refused``: then ``denied`` is
    ``requests``). ``client_errors`` are not denied, ``errors`` are 500 to 599.
    """
    return Table(
        name,
        METADATA,
        Column("application_id", Text, primary_key=True),
        Column("start", BigInteger, primary_key=True, autoincrement=False),
        Column("pseudonym", BigInteger, primary_key=True, autoincrement=False),
        Column("endpoint_id", BigInteger, primary_key=True, autoincrement=False),
        Column("refused", Boolean, primary_key=True),
        Column("errors", BigInteger, nullable=False),
        Column("client_errors", BigInteger, nullable=False),
        Column("denied", BigInteger, nullable=False),
        Column("degraded", BigInteger, nullable=False),
        *_sums(),
    )


IDENTITY_HOURS = _of_identities("identity_hours")
IDENTITY_DAYS = _of_identities("identity_days")

METERING_DELTAS = Table(
    "metering_deltas",
    METADATA,
    Column("row_id", ROW_ID, primary_key=True),
    Column("application_id", Text, nullable=False),
    Column("endpoint_id", BigInteger, nullable=False),
    Column("pseudonym", BigInteger, nullable=False),
    Column("policy", Text, nullable=False),
    Column("price", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("second", BigInteger, nullable=False),
    Column("requests", BigInteger, nullable=False),
    Column("whole", BigInteger, nullable=False),
    Column("pico", BigInteger, nullable=False),
    Column("part", BigInteger, nullable=True),
    # Who pays, where the identity was erased before its units were billed: `cus_...`, else the customer's name.
    Column("customer", Text, nullable=True),
    CheckConstraint("requests BETWEEN 0 AND 1000000000000", name="ck_metering_deltas_requests"),
    CheckConstraint("pico BETWEEN 0 AND 999999999999", name="ck_metering_deltas_pico"),
    # Only what no part has claimed yet (``part`` is its id) is looked for by who and when: the index stays as small as the backlog.
    Index(
        "ix_metering_deltas_open",
        "application_id",
        "pseudonym",
        "second",
        sqlite_where=text("part IS NULL"),
        postgresql_where=text("part IS NULL"),
    ),
    Index(
        "ix_metering_deltas_hours",
        "second",
        sqlite_where=text("part IS NULL"),
        postgresql_where=text("part IS NULL"),
    ),
    Index(
        "ix_metering_deltas_bound",
        "application_id",
        "customer",
        "second",
        sqlite_where=text("part IS NULL AND customer IS NOT NULL"),
        postgresql_where=text("part IS NULL AND customer IS NOT NULL"),
    ),
    Index(
        "ix_metering_deltas_part",
        "part",
        sqlite_where=text("part IS NOT NULL"),
        postgresql_where=text("part IS NOT NULL"),
    ),
)

# What metering expressions could not work out; ``event_id`` is the id of the event, or of the count batch.
METERING_FAILURES = Table(
    "metering_failures",
    METADATA,
    Column("row_id", ROW_ID, primary_key=True),
    Column("application_id", Text, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("policy", Text, nullable=False),
    Column("price", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("message", Text, nullable=False),
    Column("time_us", BigInteger, nullable=False),
    Index("ix_metering_failures_application", "application_id", "row_id"),
    Index("ix_metering_failures_time", "application_id", "time_us"),
)
