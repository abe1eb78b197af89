"""Statements that go to the driver as they are: where histograms travel by the megabyte, or rows by the thousand."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

Rows = list[tuple[Any, ...]]

JOIN_BLOBS = "join_blobs"
"""The aggregate that SQLite lacks."""


class JoinedBlobs:
    """Writes blobs one behind the other: string_agg for SQLite."""

    def __init__(self) -> None:
        self._blobs: list[bytes] = []

    def step(self, blob: bytes, /) -> None:
        """Takes the blob of a row."""
        self._blobs.append(blob)

    def finalize(self) -> bytes:
        """Returns all of them."""
        return b"".join(self._blobs)


def is_postgres(connection: Connection) -> bool:
    """Tells which dialect the text must be in."""
    return connection.dialect.name == "postgresql"


def joined_blobs(connection: Connection, column: str) -> str:
    """Returns the text of an aggregate that writes blobs one behind the other."""
    return f"string_agg({column}, ''::bytea)" if is_postgres(connection) else f"{JOIN_BLOBS}({column})"


def among(connection: Connection, column: str) -> str:
    """Returns the text of a condition on the integers of ``array_of``, its one parameter."""
    if is_postgres(connection):
        return f"{column} = ANY(?::bigint[])"
    return f"{column} IN (SELECT value FROM json_each(?))"  # noqa: S608 - our own names


def array_of(connection: Connection, values: Sequence[int]) -> Any:
    """Returns integers as one parameter."""
    return list(values) if is_postgres(connection) else json.dumps(values)


def fetch(connection: Connection, text: str, parameters: Sequence[Any] = ()) -> Rows:
    """Returns all rows of a statement, whose parameters are written ``?``. PostgreSQL answers in its binary format, which takes
    half as many bytes for blobs and no time to read.
    """
    with _cursor(connection, text) as cursor:
        _execute(connection, cursor, text, parameters)
        rows: Rows = cursor.fetchall()
        return rows


@contextmanager
def _cursor(connection: Connection, text: str) -> Iterator[Any]:
    """Yields a cursor of the driver; what the driver raises is made into SQLAlchemy's errors."""
    driver = connection.dialect.loaded_dbapi
    link: Any = connection.connection
    cursor = link.cursor(binary=True) if is_postgres(connection) else link.cursor()
    try:
        yield cursor
    except driver.Error as error:
        raise DBAPIError.instance(
            text, None, error, driver.Error, hide_parameters=True, dialect=connection.dialect
        ) from error
    finally:
        cursor.close()


def _execute(connection: Connection, cursor: Any, text: str, parameters: Sequence[Any]) -> None:
    if is_postgres(connection):
        # Planned for these values each time: a plan that PostgreSQL keeps for any span of time and any series took six
        # times as long for a day of a dashboard.
        cursor.execute(text.replace("?", "%s"), parameters, prepare=False)
    else:
        cursor.execute(text, parameters)
