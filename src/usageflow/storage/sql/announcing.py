"""Tells other processes of a change, in its own transaction: PostgreSQL sends the notice when that is committed."""

from __future__ import annotations

from sqlalchemy import Connection, text

CHANNEL = "usageflow_changes"

_NOTIFY = text("SELECT pg_notify(:channel, '')")


def announce(connection: Connection) -> None:
    """Announces the transaction, where the dialect can. SQLite has one process."""
    if connection.dialect.name == "postgresql":
        connection.execute(_NOTIFY, {"channel": CHANNEL}).close()
