"""Units on their way to an invoice."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from usageflow.storage.sql.tables.base import METADATA, ROW_ID, application, count

# A customer's units of one billing target. Whoever makes a part of it locks its row first. ``carry`` is what could not be sent yet.
BILLING_LEDGERS = Table(
    "billing_ledgers",
    METADATA,
    Column("ledger_id", ROW_ID, primary_key=True),
    application(),
    Column("customer", Text, nullable=False),
    Column("trigger", Text, nullable=False),
    Column("price", Text, nullable=False),
    Column("event_name", Text, nullable=False),
    count("carry_whole"),
    count("carry_pico"),
    UniqueConstraint(
        "application_id", "customer", "trigger", "price", "event_name", name="uq_billing_ledgers_target"
    ),
)

# People's holds, which begin before there is a ledger. "" is every customer, or every price.
BILLING_STOPS = Table(
    "billing_stops",
    METADATA,
    application(primary_key=True),
    Column("customer", Text, primary_key=True),
    Column("price", Text, primary_key=True),
    count("created_us"),
)

# What the parts of a TOTAL add up to. ``value`` is the last that was frozen.
BILLING_SPANS = Table(
    "billing_spans",
    METADATA,
    Column("ledger_id", BigInteger, ForeignKey("billing_ledgers.ledger_id"), primary_key=True),
    Column("payee", Text, primary_key=True),
    Column("method", Text, primary_key=True),
    Column("start", BigInteger, primary_key=True, autoincrement=False),
    Column("whole", BigInteger, nullable=False),
    Column("pico", BigInteger, nullable=False),
    Column("value", Text, nullable=False),
)

# The outbox. ``terms`` is JSON; units are those of its own deltas, ``value`` a decimal of what is sent.
BILLING_PARTS = Table(
    "billing_parts",
    METADATA,
    Column("part_id", ROW_ID, primary_key=True),
    application(),
    Column("ledger_id", BigInteger, ForeignKey("billing_ledgers.ledger_id"), nullable=False),
    Column("window_start", BigInteger, nullable=False),
    Column("window_end", BigInteger, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("requests", BigInteger, nullable=False),
    Column("whole", BigInteger, nullable=False),
    Column("pico", BigInteger, nullable=False),
    Column("value", Text, nullable=False),
    Column("identifier", Text, nullable=False),
    Column("destination", Text, nullable=False),
    Column("payee", Text, nullable=False),
    Column("span_start", BigInteger, nullable=True),
    Column("timestamp_s", BigInteger, nullable=False),
    Column("terms", Text, nullable=False),
    Column("state", Text, nullable=False),
    count("attempts"),
    count("first_attempt_us"),
    count("next_us"),
    Column("worker", Text, nullable=False, server_default=""),
    Column("note", Text, nullable=False, server_default=""),
    Column("stripe_id", Text, nullable=False, server_default=""),
    Column("stripe_request", Text, nullable=False, server_default=""),
    count("issue"),
    count("created_us"),
    count("updated_us"),
    UniqueConstraint("ledger_id", "window_start", "number", name="uq_billing_parts_number"),
    UniqueConstraint("identifier", name="uq_billing_parts_identifier"),
    CheckConstraint("pico BETWEEN 0 AND 999999999999", name="ck_billing_parts_pico"),
    # What goes on by itself is looked for all the time: the index is as small as the backlog.
    Index(
        "ix_billing_parts_due",
        "next_us",
        sqlite_where=text("state IN ('FROZEN', 'SENDING')"),
        postgresql_where=text("state IN ('FROZEN', 'SENDING')"),
    ),
    Index("ix_billing_parts_span", "ledger_id", "payee", "span_start"),
    Index("ix_billing_parts_time", "application_id", "timestamp_s"),
)

# Why units are in no part yet, as the last round found.
BILLING_HOLDS = Table(
    "billing_holds",
    METADATA,
    application(primary_key=True),
    Column("customer", Text, primary_key=True),
    Column("trigger", Text, primary_key=True),
    Column("price", Text, primary_key=True),
    Column("event_name", Text, primary_key=True),
    Column("reason", Text, primary_key=True),
    Column("message", Text, nullable=False),
    Column("requests", BigInteger, nullable=False),
    Column("whole", BigInteger, nullable=False),
    Column("pico", BigInteger, nullable=False),
    Column("oldest", BigInteger, nullable=False),
    count("since_us"),
)

# Destinations whose credentials were refused.
BILLING_PAUSES = Table(
    "billing_pauses",
    METADATA,
    Column("destination", Text, primary_key=True),
    Column("message", Text, nullable=False),
    count("since_us"),
)
