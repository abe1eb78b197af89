"""Alerts: what people declare, where each alert stands, and messages on their way."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
)

from usageflow.storage.sql.tables.base import METADATA, ROW_ID, application


def _declared(name: str) -> Table:
    """Returns a table of what people declare: ``document`` is its JSON, ``row_id`` another for each that is made anew under a name."""
    return Table(
        name,
        METADATA,
        application(primary_key=True),
        Column("name", Text, primary_key=True),
        Column("row_id", Text, nullable=False),
        Column("document", Text, nullable=False),
        Column("created_us", BigInteger, nullable=False),
        Column("updated_us", BigInteger, nullable=False),
        Column("deleted_us", BigInteger, nullable=True),
        Column("version", BigInteger, nullable=False),
        UniqueConstraint("row_id", name=f"uq_{name}_row_id"),
    )


ALERT_RULES = _declared("alert_rules")
ALERT_DESTINATIONS = _declared("alert_destinations")

# Only alerts that are PENDING or FIRING. ``about`` is JSON; who an identity is stands in it by name or by hash only.
ALERT_STATES = Table(
    "alert_states",
    METADATA,
    Column("rule_id", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("application_id", Text, nullable=False),
    Column("phase", Text, nullable=False),
    Column("since_us", BigInteger, nullable=False),
    Column("clear_us", BigInteger, nullable=True),
    Column("seen_us", BigInteger, nullable=False),
    Column("value", Double, nullable=False),
    Column("alert_id", Text, nullable=False),
    Column("threshold", Double, nullable=False),
    Column("about", Text, nullable=False),
    CheckConstraint("phase IN ('PENDING', 'FIRING')", name="ck_alert_states_phase"),
    Index("ix_alert_states_application", "application_id"),
)

ALERT_EVENTS = Table(
    "alert_events",
    METADATA,
    Column("event_id", Text, primary_key=True),
    Column("application_id", Text, nullable=False),
    Column("rule_id", Text, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("document", Text, nullable=False),
    Index("ix_alert_events_application", "application_id", "event_id"),
    Index("ix_alert_events_time", "at_us"),
)

# The outbox: a row per event and destination. ``alert_id`` keeps an alert's messages in order; ``told`` is what the last attempt met.
ALERT_DELIVERIES = Table(
    "alert_deliveries",
    METADATA,
    Column("row_id", ROW_ID, primary_key=True),
    Column("event_id", Text, nullable=False),
    Column("destination_id", Text, nullable=False),
    Column("application_id", Text, nullable=False),
    Column("alert_id", Text, nullable=False),
    Column("destination", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("next_us", BigInteger, nullable=False),
    Column("told", Text, nullable=False),
    UniqueConstraint("event_id", "destination_id", name="uq_alert_deliveries_once"),
    Index("ix_alert_deliveries_due", "status", "next_us"),
)

# Who evaluates: one row.
ALERT_LEASE = Table(
    "alert_lease",
    METADATA,
    Column("lease_id", Integer, primary_key=True, autoincrement=False),
    Column("holder", Text, nullable=False),
    Column("until_us", BigInteger, nullable=False),
    CheckConstraint("lease_id = 1", name="ck_alert_lease_one"),
)
