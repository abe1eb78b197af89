"""Old detail and its end, in SQL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Select, Table, delete, select, tuple_

from usageflow.domain.ids import DAY_S, ID_DAYS
from usageflow.storage.retention import Detail
from usageflow.storage.sql.database import Database
from usageflow.storage.sql.tables import (
    APPLICATIONS,
    EVENTS,
    IDENTITY_DAYS,
    IDENTITY_HOURS,
    METERING_FAILURES,
    USAGE_MINUTES,
    USAGE_SERIES,
)


class SqlRetentionStore:
    """The RetentionStore over SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def purge(self, detail: Detail, *, now_us: int, limit: int) -> int:
        """See RetentionStore."""
        now_s = now_us // 1_000_000
        return await self._database.write(lambda connection: _purge(connection, detail, now_s, limit))


def _purge(connection: Connection, detail: Detail, now_s: int, limit: int) -> int:
    table, old = _OLD[detail]
    kept = connection.execute(select(APPLICATIONS.c.application_id, APPLICATIONS.c.retention_days)).all()
    gone = 0
    for application_id, days in kept:
        left = limit - gone
        if left <= 0:
            break
        keys = (
            old(application_id, now_s - _KEPT_DAYS.get(detail, days) * DAY_S)
            .limit(left)
            .with_for_update(of=table, skip_locked=True)
        )
        primary = _KEYS.get(detail, list(table.primary_key))
        place: Any = primary[0] if len(primary) == 1 else tuple_(*primary)
        gone += connection.execute(delete(table).where(place.in_(keys))).rowcount
    return gone


_KEYS: dict[Detail, list[Any]] = {Detail.EVENTS: [EVENTS.c.time_us, EVENTS.c.row_id]}
"""Where it is not the primary key: with its time, an event is in one partition."""

_KEPT_DAYS = {Detail.METERING_FAILURES: ID_DAYS}
"""Where an application has no say: as long as an id cannot be reported again."""


def _events(application_id: str, before_s: int) -> Select[Any]:
    return (
        select(*_KEYS[Detail.EVENTS])
        .where(EVENTS.c.application_id == application_id, EVENTS.c.time_us < before_s * 1_000_000)
        .order_by(EVENTS.c.time_us)
    )


def _minutes(application_id: str, before_s: int) -> Select[Any]:
    of_application = USAGE_SERIES.c.series_id == USAGE_MINUTES.c.series_id
    return (
        select(*USAGE_MINUTES.primary_key)
        .join_from(USAGE_MINUTES, USAGE_SERIES, of_application)
        .where(USAGE_SERIES.c.application_id == application_id, USAGE_MINUTES.c.start < before_s - 60)
    )


def _metering_failures(application_id: str, before_s: int) -> Select[Any]:
    columns = METERING_FAILURES.c
    return (
        select(columns.row_id)
        .where(columns.application_id == application_id, columns.time_us < before_s * 1_000_000)
        .order_by(columns.time_us)
    )


def _of_identities(table: Table, step_s: int) -> Callable[[str, int], Select[Any]]:
    def old(application_id: str, before_s: int) -> Select[Any]:
        ended = table.c.start < before_s - step_s
        return select(*table.primary_key).where(table.c.application_id == application_id, ended)

    return old


_OLD: dict[Detail, tuple[Table, Callable[[str, int], Select[Any]]]] = {
    Detail.EVENTS: (EVENTS, _events),
    Detail.MINUTES: (USAGE_MINUTES, _minutes),
    Detail.IDENTITY_HOURS: (IDENTITY_HOURS, _of_identities(IDENTITY_HOURS, 3_600)),
    Detail.IDENTITY_DAYS: (IDENTITY_DAYS, _of_identities(IDENTITY_DAYS, DAY_S)),
    Detail.METERING_FAILURES: (METERING_FAILURES, _metering_failures),
}
