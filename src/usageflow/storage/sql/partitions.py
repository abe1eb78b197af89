"""Partitions of PostgreSQL: a table per UTC day of events and of ids of reports, so that old days are dropped and not deleted.

What no day has a partition for goes to ``<table>_rest``, and to its day once that is made; ids that tell no day have
``report_ids_undated``. Names end in the day (``events_20261123``). Only the owner of the tables may make and drop partitions: for anybody
else the functions here do nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Connection, text

from usageflow.domain.ids import DAY_S
from usageflow.storage.sql.driver import is_postgres

BEHIND, AHEAD = 35, 2
"""Days around today that have partitions: those of everything that is accepted today and tomorrow."""

_LOCK = int.from_bytes(b"usageday")
_COLUMNS = {"events": ("time_us", DAY_S * 1_000_000), "report_ids": ("day", 1)}
"""What tells the day, and how much of it is one."""

_OWNED = text(
    "SELECT relkind = 'p' AND pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = to_regclass('events')"
)
_NAMES = text(
    "SELECT relname FROM pg_inherits JOIN pg_class ON oid = inhrelid WHERE inhparent = to_regclass(:table)"
)


def lacks_room(connection: Connection, now_us: int) -> bool:
    """Tells whether a partition is missing that this user may make."""
    return is_postgres(connection) and bool(connection.scalar(_OWNED) and _missing(connection, now_us))


def make_room(connection: Connection, now_us: int) -> None:
    """Makes the partitions of the days from 35 back to 2 ahead that are missing, after whoever is at it."""
    if lacks_room(connection, now_us):
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        for table, day in _missing(connection, now_us):
            _make(connection, table, day)


def make_one(connection: Connection, now_us: int) -> bool:
    """Makes one of those partitions; False where none is missing."""
    if not lacks_room(connection, now_us):
        return False
    _take_turn(connection)
    missing = _missing(connection, now_us)
    for table, day in missing[:1]:
        _make(connection, table, day)
    return bool(missing)


def drop_one(connection: Connection, table: str, before_day: int) -> bool:
    """Drops the oldest partition of a table if all of its day is before another day; False where there is none."""
    if not is_postgres(connection) or not connection.scalar(_OWNED):
        return False
    if not any(day < before_day for day in _days(connection, table)):
        return False
    _take_turn(connection)
    oldest = min(_days(connection, table), default=before_day)
    if oldest < before_day:
        connection.execute(text(f"DROP TABLE {_name(table, oldest)}"))
    return oldest < before_day


def _take_turn(connection: Connection) -> None:
    """Waits for whoever makes or drops a partition now."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    # Where somebody reads a table for long we give up soon: all who come after us would wait too.
    connection.execute(text("SET LOCAL lock_timeout = '1s'"))


def _missing(connection: Connection, now_us: int) -> list[tuple[str, int]]:
    today = now_us // 1_000_000 // DAY_S
    wanted = range(max(1, today - BEHIND), today + AHEAD + 1)
    return [(table, day) for table in _COLUMNS for day in sorted(set(wanted) - _days(connection, table))]


def _days(connection: Connection, table: str) -> set[int]:
    ends = (name.rpartition("_")[2] for name in connection.scalars(_NAMES, {"table": table}))
    return {_day(end) for end in ends if end.isdigit()}


def _day(end: str) -> int:
    return int(datetime.strptime(end, "%Y%m%d").replace(tzinfo=UTC).timestamp()) // DAY_S


def _name(table: str, day: int) -> str:
    return f"{table}_{datetime.fromtimestamp(day * DAY_S, UTC):%Y%m%d}"


def _make(connection: Connection, table: str, day: int) -> None:
    """Makes a partition beside the table and attaches it: nobody who is at other partitions waits."""
    column, step = _COLUMNS[table]
    name, low, high = _name(table, day), day * step, (day + 1) * step
    rest, its_day = f"{table}_rest", f"{column} >= {low} AND {column} < {high}"
    copied = "INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES"
    for statement in (
        f"CREATE TABLE {name} (LIKE {table} {copied})",
        f"LOCK TABLE {rest} IN ACCESS EXCLUSIVE MODE",
        f"INSERT INTO {name} SELECT * FROM {rest} WHERE {its_day}",  # noqa: S608 - our own names
        f"DELETE FROM {rest} WHERE {its_day}",  # noqa: S608 - our own names
        f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ({low}) TO ({high})",
    ):
        connection.execute(text(statement))
