"""What differs between dialects or repeats between repositories: upserts, bulk inserts, chunks and wide sums."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Dialect, Table, func
from sqlalchemy.dialects import sqlite

T = TypeVar("T")

CHUNK = 500
"""How many values one IN list holds."""

_INSERTS: dict[str, Callable[[Table], sqlite.Insert]] = {"sqlite": sqlite.insert}
_DIALECTS: dict[str, Callable[[], Dialect]] = {"sqlite": sqlite.dialect}


def upsert(connection: Connection, table: Table) -> sqlite.Insert:
    """Returns an insert that knows ON CONFLICT: the one place where dialects differ in it."""
    return _INSERTS[connection.dialect.name](table)


def append_rows(connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
    """Inserts rows, whose values stand in the order of the columns (less the one that the database numbers)."""
    if rows:
        connection.exec_driver_sql(_insert_text(table, connection.dialect.name), list(rows))


def append_new_rows(connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]]) -> int:
    """Like append_rows, but leaves out rows whose key is there already. Returns how many went in."""
    text = _insert_text(table, connection.dialect.name, skip_known=True)
    return connection.exec_driver_sql(text, list(rows)).rowcount if rows else 0


@functools.cache
def _insert_text(table: Table, dialect_name: str, *, skip_known: bool = False) -> str:
    """Returns an insert with a placeholder per column, in order.

    Handing the driver tuples for a text that is compiled once costs a third of what dictionaries cost per row.
    """
    statement = _INSERTS[dialect_name](table)
    if skip_known:
        statement = statement.on_conflict_do_nothing()
    names = [column.name for column in table.columns if column is not table.autoincrement_column]
    return str(statement.compile(dialect=_DIALECTS[dialect_name](), column_keys=names))


def chunked(values: Sequence[T], size: int = CHUNK) -> Iterator[Sequence[T]]:
    """Yields the values in order, in slices of at most ``size``."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


def wide_sum(column: ColumnElement[Any], base: int) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    """Returns two sums, of quotients and of remainders by ``base``, that stay in 64 bits where one would not.

    ``join_sum`` makes the exact sum of both. SQLite fails on an overflow in SUM.
    """
    return func.sum(column // base), func.sum(column % base)


def join_sum(high: int, low: int, base: int) -> int:
    """Returns the sum that ``wide_sum`` split."""
    return int(high) * base + int(low)
