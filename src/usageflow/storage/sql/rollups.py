"""Folding deltas into sums: taken and added in one transaction, so that each counts once, whatever is killed.

One folds at a time in a database (SQLite has one writer; on PostgreSQL an advisory lock that ends with its transaction), because all
of them would wait for the same busy rows. A row of sums is read, added to and written back whole: histograms have one entry per
bucket then, and do not grow.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import Connection, Table

from usageflow.storage.analytics import Backlog
from usageflow.storage.sql.arrays import columns_of
from usageflow.storage.sql.driver import Rows, among, array_of, fetch, is_postgres
from usageflow.storage.sql.folding import SUMS, TALLIES, Delta, Key, Rolled, SeriesLabels, fold
from usageflow.storage.sql.statements import in_hundreds
from usageflow.storage.sql.tables import IDENTITY_DAYS, IDENTITY_HOURS, USAGE_DAYS, USAGE_HOURS, USAGE_MINUTES

_TABLES = (USAGE_MINUTES, USAGE_HOURS, USAGE_DAYS, IDENTITY_HOURS, IDENTITY_DAYS)
_LOCK = 0x7566_666F_6C64
"""Of the one who folds: "uffold"."""

MOST_COUNTED = 100_000
"""Counting what waits costs time: beyond that it is "many"."""

_COLUMNS = ", ".join(Delta._fields)
_TAKE_SQLITE = (
    "DELETE FROM usage_deltas WHERE row_id IN (SELECT row_id FROM usage_deltas ORDER BY row_id LIMIT ?)"  # noqa: S608
    f" RETURNING {_COLUMNS}"
)
_TAKE_POSTGRES = (
    "DELETE FROM usage_deltas d USING (SELECT row_id FROM usage_deltas ORDER BY row_id LIMIT ? FOR UPDATE SKIP LOCKED) taken"  # noqa: S608
    f" WHERE d.row_id = taken.row_id RETURNING {', '.join(f'd.{name}' for name in Delta._fields)}"
)
_USE = (
    "UPDATE endpoint_names SET first_used = CASE WHEN first_used < ? THEN first_used ELSE ? END,"
    " last_used = CASE WHEN last_used > ? THEN last_used ELSE ? END WHERE endpoint_id = ?"
)
_WAITING = f"SELECT COUNT(*) FROM (SELECT 1 FROM usage_deltas LIMIT {MOST_COUNTED}) waiting"  # noqa: S608
_OLDEST = "SELECT second FROM usage_deltas ORDER BY row_id LIMIT 1"


def fold_some(connection: Connection, most: int) -> int:
    """Folds at most so many deltas and returns how many; 0 also where another process folds just now."""
    postgres = is_postgres(connection)
    if postgres and not fetch(connection, "SELECT pg_try_advisory_xact_lock(?)", (_LOCK,))[0][0]:
        return 0
    taken = fetch(connection, _TAKE_POSTGRES if postgres else _TAKE_SQLITE, (most,))
    if not taken:
        return 0
    deltas = [Delta._make(row) for row in taken]
    folding = fold(deltas, _labels(connection, {each.series_id for each in deltas}))
    for table in _TABLES:
        _add(connection, table, folding.rolled[table.name])
    _use(connection, folding.used)
    return len(deltas)


def backlog(connection: Connection) -> Backlog:
    """Returns what waits to be folded."""
    ((waiting,),) = fetch(connection, _WAITING)
    oldest = fetch(connection, _OLDEST)
    return Backlog(waiting, oldest[0][0] if oldest else None)


def _labels(connection: Connection, series: Iterable[int]) -> dict[int, SeriesLabels]:
    wanted = array_of(connection, sorted(series))
    statement = "SELECT series_id, endpoint_id, status, denied, degraded FROM usage_series WHERE "
    rows = fetch(connection, statement + among(connection, "series_id"), (wanted,))
    return {
        number: SeriesLabels(endpoint, status, bool(denied), bool(degraded))
        for number, endpoint, status, denied, degraded in rows
    }


def _add(connection: Connection, table: Table, rolled: Rolled) -> None:
    from usageflow.domain.histograms import normalised  # loads numpy

    keys = sorted(rolled.numbers)
    width = len(table.primary_key)
    for *row, latency in _stored(connection, table, keys):
        key = _key(row[:width])
        rolled.add(key, row[width:], (latency,))
    latencies = normalised([b"".join(rolled.latency[key]) for key in keys])
    rows = [(*key, *rolled.finished(key), latency) for key, latency in zip(keys, latencies, strict=True)]
    _write(connection, table, rows)


def _key(values: Sequence[object]) -> Key:
    """Returns a key as it was made: SQLite's booleans are 0 and 1, which are equal to False and True."""
    return tuple(values)


def _stored(connection: Connection, table: Table, keys: Sequence[Key]) -> Rows:
    """Returns the rows of these keys that are there, locked."""
    if is_postgres(connection):
        return fetch(connection, _array_select(table), columns_of(keys))
    asked = in_hundreds(_row_select(table), keys)
    return [row for text, values in asked for row in fetch(connection, text, values)]


def _write(connection: Connection, table: Table, rows: Rows) -> None:
    if is_postgres(connection):
        connection.exec_driver_sql(_array_upsert(table), columns_of(rows))
    else:
        for text, values in in_hundreds(_row_upsert(table), rows):
            connection.exec_driver_sql(text, values)


def _use(connection: Connection, used: Mapping[int, tuple[int, int]]) -> None:
    rows = [(first, first, last, last, endpoint) for endpoint, (first, last) in sorted(used.items())]
    text = _USE.replace("?", "%s") if is_postgres(connection) else _USE
    connection.exec_driver_sql(text, rows)


def _names(table: Table) -> list[str]:
    """Returns the columns in the order in which rows of sums stand here."""
    numbers = SUMS if len(table.primary_key) == 2 else (*TALLIES, *SUMS)
    return [*(column.name for column in table.primary_key), *numbers, "latency"]


@functools.cache
def _row_select(table: Table) -> str:
    keys = [column.name for column in table.primary_key]
    wanted = f"wanted({', '.join(keys)}) AS (VALUES ({', '.join('?' for _ in keys)}))"
    # CROSS JOIN: SQLite keeps the order and searches the table by its key for each that is wanted.
    source = f"wanted CROSS JOIN {table.name} USING ({', '.join(keys)})"
    return f"WITH {wanted} SELECT {', '.join(_names(table))} FROM {source}"  # noqa: S608 - our own names


@functools.cache
def _array_select(table: Table) -> str:
    keys = ", ".join(column.name for column in table.primary_key)
    arrays = ", ".join(f"?::{column.type}[]" for column in table.primary_key)
    columns = ", ".join(f"t.{name}" for name in _names(table))
    source = f"{table.name} t JOIN unnest({arrays}) AS wanted({keys}) USING ({keys})"
    return f"SELECT {columns} FROM {source} FOR UPDATE OF t"  # noqa: S608 - our own names


@functools.cache
def _row_upsert(table: Table) -> str:
    places = ", ".join("?" for _ in _names(table))
    return f"INSERT INTO {table.name} ({', '.join(_names(table))}) VALUES ({places}) {_on_conflict(table)}"  # noqa: S608


@functools.cache
def _array_upsert(table: Table) -> str:
    arrays = ", ".join(f"%s::{_type(table, name)}[]" for name in _names(table))
    return (
        f"INSERT INTO {table.name} ({', '.join(_names(table))}) SELECT * FROM unnest({arrays}) "  # noqa: S608
        f"{_on_conflict(table)}"
    )


def _type(table: Table, name: str) -> str:
    return "bytea" if name == "latency" else str(table.c[name].type)


def _on_conflict(table: Table) -> str:
    keys = [column.name for column in table.primary_key]
    changed = ", ".join(f"{name} = excluded.{name}" for name in _names(table) if name not in keys)
    return f"ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {changed}"
