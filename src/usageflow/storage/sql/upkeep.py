"""Upkeep in SQL: partitions made and dropped, and old ids deleted where there are none."""

from __future__ import annotations

import functools

from sqlalchemy import ColumnElement, Connection, MetaData, Table, and_, delete, func, or_, select, tuple_

from usageflow.domain.ids import DAY_S, ID_DAYS
from usageflow.storage.sql import partitions
from usageflow.storage.sql.database import Database
from usageflow.storage.sql.driver import is_postgres
from usageflow.storage.sql.tables import APPLICATIONS, REPORT_IDS
from usageflow.storage.upkeep import Forgotten, IdPosition

_DAY_US = DAY_S * 1_000_000
_APART = MetaData()
_UNDATED = [REPORT_IDS.to_metadata(_APART, name=f"report_ids_{part}") for part in ("undated", "rest")]


class SqlUpkeepStore:
    """The UpkeepStore over SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def make_room(self, *, now_us: int) -> int:
        """See UpkeepStore."""
        made = 0
        while await self._database.write(lambda connection: partitions.make_one(connection, now_us)):
            made += 1
        return made

    async def drop_days(self, *, now_us: int) -> int:
        """See UpkeepStore."""
        ids_before = _first_known_day(now_us)
        events_before = await self._database.read(lambda connection: _first_kept_day(connection, now_us))
        gone = 0
        for table, before in (("report_ids", ids_before), ("events", events_before)):
            drop = functools.partial(partitions.drop_one, table=table, before_day=before)
            while await self._database.write(drop):
                gone += 1
        return gone

    async def forget_ids(self, *, now_us: int, after: IdPosition, limit: int) -> Forgotten:
        """See UpkeepStore."""
        return await self._database.write(lambda connection: _forget(connection, now_us, after, limit))


def _first_known_day(now_us: int) -> int:
    """Returns the oldest day that a new id may tell of."""
    return now_us // _DAY_US - ID_DAYS + 1


def _first_kept_day(connection: Connection, now_us: int) -> int:
    """Returns the first day of which an application keeps events; late reports may be of the days that have partitions."""
    longest = connection.scalar(select(func.max(APPLICATIONS.c.retention_days))) or 0
    return now_us // _DAY_US - max(longest, partitions.BEHIND)


def _forget(connection: Connection, now_us: int, after: IdPosition, limit: int) -> Forgotten:
    tables = _UNDATED if is_postgres(connection) else [REPORT_IDS]
    table = tables[after.part]
    key = tuple_(*table.primary_key)
    rest = key > tuple_(*after[1:])
    order = select(*table.primary_key).where(rest).order_by(*table.primary_key)
    last = connection.execute(order.offset(limit - 1).limit(1)).one_or_none()
    page = rest if last is None else and_(rest, key <= tuple_(*last))
    gone = connection.execute(delete(table).where(page, _is_old(table, now_us))).rowcount
    if last is not None:
        return Forgotten(gone, IdPosition(after.part, last[0], last[1], last[2]))
    following = after.part + 1
    return Forgotten(gone, IdPosition(following) if following < len(tables) else None)


def _is_old(table: Table, now_us: int) -> ColumnElement[bool]:
    row = table.c
    dated = and_(row.day > 0, row.day < _first_known_day(now_us))
    return or_(dated, and_(row.day == 0, row.received_us < now_us - ID_DAYS * _DAY_US))
