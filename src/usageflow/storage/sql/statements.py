"""What differs between dialects or repeats between repositories: upserts, bulk inserts, chunks and wide sums."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Table, func
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError

from usageflow.storage.sql.arrays import columns_of

T = TypeVar("T")
Upsert = sqlite.Insert | postgresql.Insert

CHUNK = 500
"""How many values one IN list holds."""

_AT_ONCE = 100
"""How many rows one statement of SQLite takes, where there are so many."""

_VALUES = re.compile(r"VALUES (\([?, ]+\))")

_INSERTS: dict[str, Callable[[Table], Upsert]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
_SQLITE = sqlite.dialect()
_POSTGRESQL = postgresql.dialect()  # type: ignore[no-untyped-call]


def upsert(connection: Connection, table: Table) -> Upsert:
    """Returns an insert that knows ON CONFLICT: the one place where dialects differ in it."""
    return _INSERTS[connection.dialect.name](table)


def append_rows(connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
    """Inserts rows, whose values stand in the order of the columns (less the one that the database numbers)."""
    if not rows:
        return
    if connection.dialect.name == "postgresql":
        _copy(connection, table, rows)
    else:
        _insert(connection, table, rows, skip_known=False)


def append_new_rows(connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]]) -> int:
    """Like append_rows, but leaves out rows whose key is there already. Returns how many went in.

    Rows come in order of their keys: writers that wait for one another then never do so in a circle.
    """
    if not rows:
        return 0
    if connection.dialect.name == "postgresql":
        return connection.exec_driver_sql(_array_insert(table), columns_of(rows)).rowcount
    return _insert(connection, table, rows, skip_known=True)


def claim_rows(connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]]) -> set[tuple[Any, ...]]:
    """Like append_new_rows, but returns the primary keys of the rows that were there already.

    Nearly always all rows are new: then no key is looked at. On SQLite one statement with nothing to fetch does it; else its work
    is undone, and the slower statement that names what it inserted has the word.
    """
    if not rows:
        return set()
    if connection.dialect.name == "postgresql":
        keys = ", ".join(column.name for column in table.primary_key)
        new = connection.exec_driver_sql(f"{_array_insert(table)} RETURNING {keys}", columns_of(rows))
        return set() if new.rowcount == len(rows) else _keys(table, rows) - {tuple(key) for key in new}
    with connection.begin_nested() as savepoint:
        if append_new_rows(connection, table, rows) == len(rows):
            return set()
        savepoint.rollback()
    statement = upsert(connection, table).on_conflict_do_nothing().returning(*table.primary_key)
    named = [dict(zip(_filled(table), row, strict=True)) for row in rows]
    return _keys(table, rows) - {tuple(key) for key in connection.execute(statement, named)}


def _keys(table: Table, rows: Sequence[tuple[Any, ...]]) -> set[tuple[Any, ...]]:
    places = [_filled(table).index(column.name) for column in table.primary_key]
    return {tuple(row[place] for place in places) for row in rows}


def _copy(connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
    """COPY costs a quarter of any insert, and knows no ON CONFLICT. SQLAlchemy has no word for it, so what the driver raises is made
    into SQLAlchemy's errors here.
    """
    driver = connection.dialect.loaded_dbapi
    statement = f"COPY {table.name} ({', '.join(_filled(table))}) FROM STDIN"
    cursor: Any = connection.connection.cursor()
    try:
        with cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(row)
    except driver.Error as error:
        raise DBAPIError.instance(
            statement, None, error, driver.Error, hide_parameters=True, dialect=connection.dialect
        ) from error


def _insert(
    connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]], *, skip_known: bool
) -> int:
    """Inserts rows into SQLite and returns how many went in. Many go with one step of the database, during which Python does other
    work: it would have to be taken back from other threads after the step of each row.
    """
    done = 0
    for text, values in in_hundreds(_row_insert(table, skip_known=skip_known), rows):
        done += connection.exec_driver_sql(text, values).rowcount
    return done


def in_hundreds(of_one: str, rows: Sequence[tuple[Any, ...]]) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Yields SQLite's statement with the VALUES of one row as statements of many rows, each with its values."""
    for some in chunked(rows, _AT_ONCE):
        yield _many_rows(of_one, len(some)), tuple(itertools.chain.from_iterable(some))


@functools.lru_cache(maxsize=1024)
def _many_rows(of_one: str, rows: int) -> str:
    start, values, rest = _VALUES.split(of_one)
    return f"{start}VALUES {', '.join([values] * rows)}{rest}"


@functools.cache
def _row_insert(table: Table, *, skip_known: bool) -> str:
    """Returns SQLite's insert of one row, with a placeholder per column, in order.

    Handing the driver tuples for a text that is compiled once costs a third of what dictionaries cost per row.
    """
    statement = sqlite.insert(table)
    if skip_known:
        statement = statement.on_conflict_do_nothing()
    return str(statement.compile(dialect=_SQLITE, column_keys=_filled(table)))


@functools.cache
def _array_insert(table: Table) -> str:
    """Returns PostgreSQL's insert of whichever rows are not there, with a placeholder per column for the array of its values:
    one short statement and one answer, however many rows there are.
    """
    names = _filled(table)
    arrays = ", ".join(f"%s::{table.c[name].type.compile(_POSTGRESQL)}[]" for name in names)
    source = f"SELECT * FROM unnest({arrays})"  # noqa: S608 - types of our own, nothing that anybody sent
    return f"INSERT INTO {table.name} ({', '.join(names)}) {source} ON CONFLICT DO NOTHING"


def _filled(table: Table) -> list[str]:
    return [column.name for column in table.columns if column is not table.autoincrement_column]


def chunked(values: Sequence[T], size: int = CHUNK) -> Iterator[Sequence[T]]:
    """Yields the values in order, in slices of at most ``size``."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


def wide_sum(column: ColumnElement[Any], base: int) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    """Returns two sums, of quotients and of remainders by ``base``, that stay in 64 bits where one would not.

    ``join_sum`` makes the exact sum of both, of negatives too: dialects round quotients towards zero, and remainders go with it.
    SQLite fails on an overflow in SUM; PostgreSQL's SUM of 64-bit integers is a NUMERIC.
    """
    return func.sum(column // base), func.sum(column % base)


def join_sum(high: int, low: int, base: int) -> int:
    """Returns the sum that ``wide_sum`` split."""
    return int(high) * base + int(low)
