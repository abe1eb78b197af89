"""Bare inserts of the rows that reports left behind: the most that a database takes of them."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from sqlalchemy import Connection, Table, select, text

from bench.helpers.ingester import REQUEST_BYTES, RESPONSE_BYTES
from usageflow.domain.latency import pack
from usageflow.storage.sql import Database
from usageflow.storage.sql.driver import is_postgres
from usageflow.storage.sql.statements import append_rows
from usageflow.storage.sql.tables import EVENTS, METERING_DELTAS, REPORT_IDS, USAGE_DELTAS

EVENTS_AT_ONCE = 4_000
"""Of a transaction: about as many as the service puts into one."""

Rows = dict[Table, list[tuple[Any, ...]]]


def stored(connection: Connection) -> Rows:
    """Returns what events left behind, by table. Deltas of usage are folded meanwhile: they are made anew, one per metered one."""
    rows = {table: _rows(connection, table) for table in (REPORT_IDS, EVENTS, METERING_DELTAS)}
    latency = pack([(475, 1)])
    return rows | {
        USAGE_DELTAS: [
            (row[0], 1, row[2], row[6], *row[7:10], REQUEST_BYTES, RESPONSE_BYTES, latency)
            for row in rows[METERING_DELTAS]
        ]
    }


def _rows(connection: Connection, table: Table) -> list[tuple[Any, ...]]:
    columns = [column for column in table.columns if column is not table.autoincrement_column]
    return [tuple(row) for row in connection.execute(select(*columns))]


async def inserted_per_s(database: Database, rows: Rows) -> float:
    """Returns the events per second whose rows go into a database that has none."""
    events = len(rows[EVENTS])
    started = time.perf_counter()
    for first in range(0, events, EVENTS_AT_ONCE):
        part = {table: _part(of_table, first, events) for table, of_table in rows.items()}
        await database.write(partial(_append, rows=part))
    return events / (time.perf_counter() - started)


def _part(rows: list[tuple[Any, ...]], first: int, events: int) -> list[tuple[Any, ...]]:
    """Returns the share of a table's rows that goes with the events from ``first``."""
    last = min(first + EVENTS_AT_ONCE, events)
    return rows[len(rows) * first // events : len(rows) * last // events]


def _append(connection: Connection, rows: Rows) -> None:
    for table, of_table in rows.items():
        append_rows(connection, table, of_table)


def size_bytes(connection: Connection) -> int:
    """Returns how large the database is."""
    if is_postgres(connection):
        return int(connection.scalar(text("SELECT pg_database_size(current_database())")) or 0)
    pages = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
    return int(connection.scalar(text(pages)) or 0)
