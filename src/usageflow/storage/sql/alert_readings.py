"""What alert rules watch, in SQL: sums over recent minutes, folded or not, and the windows of long quotas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, case, exists, false, func, or_, select

from usageflow.domain.alerting import Reading
from usageflow.domain.clock import Clock
from usageflow.domain.ids import DAY_S
from usageflow.domain.latency import unpack
from usageflow.storage.ports import WindowState
from usageflow.storage.sql.database import Database
from usageflow.storage.sql.tables import (
    ENDPOINT_NAMES,
    USAGE_DELTAS,
    USAGE_MINUTES,
    USAGE_SERIES,
    WINDOW_CHECKPOINTS,
)

_SERIES = USAGE_SERIES.c
_TIMES = ((USAGE_MINUTES, USAGE_MINUTES.c.start), (USAGE_DELTAS, USAGE_DELTAS.c.second))


class SqlAlertReadings:
    """AlertReadings over SQL."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database

    async def sums(
        self, application_id: str, *, endpoint: str, policy: str, since_s: int, until_s: int, latency: bool
    ) -> Reading:
        """See AlertReadings."""
        since_s -= since_s % 60
        condition = _condition(application_id, endpoint, policy)
        return await self._database.read(
            lambda connection: _sums(connection, condition, since_s, until_s, latency=latency)
        )

    async def windows(
        self, prefixes: Sequence[tuple[str, int]], *, now_us: int, limit: int
    ) -> Sequence[WindowState]:
        """See AlertReadings."""
        return await self._database.read(
            lambda connection: [
                state
                for prefix, used in prefixes
                for state in _windows(connection, prefix, used, now_us, limit)
            ]
        )


def _condition(application_id: str, endpoint: str, policy: str) -> ColumnElement[bool]:
    parts = [_SERIES.application_id == application_id]
    if policy:
        parts.append(_SERIES.policy == policy)
    if endpoint:
        method, _, template = endpoint.partition(" ")
        names = ENDPOINT_NAMES.c
        parts.append(
            _SERIES.endpoint_id.in_(
                select(names.endpoint_id).where(
                    names.application_id == application_id,
                    names.method == method,
                    names.template == template,
                )
            )
        )
    return and_(*parts)


def _sums(
    connection: Connection, condition: ColumnElement[bool], since_s: int, until_s: int, *, latency: bool
) -> Reading:
    requests = errors = denied = 0
    buckets: dict[int, int] = {}
    for table, time in _TIMES:
        inside = and_(condition, time >= since_s, time < until_s)
        row = connection.execute(_counts(table, inside)).one()
        requests, errors, denied = (
            have + int(more or 0) for have, more in zip((requests, errors, denied), row, strict=True)
        )
        if latency:
            _add_latency(connection, table, inside, buckets)
    earlier = any(
        connection.execute(
            select(exists().where(condition, _joined(table), time >= since_s - DAY_S, time < since_s))
        ).scalar_one()
        for table, time in _TIMES
    )
    return Reading(requests, errors, denied, buckets, earlier)


def _joined(table: Any) -> ColumnElement[bool]:
    same: ColumnElement[bool] = table.c.series_id == _SERIES.series_id
    return same


def _counts(table: Any, inside: ColumnElement[bool]) -> Select[Any]:
    failed = and_(_SERIES.status.between(500, 599), _SERIES.denied == false())
    return (
        select(
            func.sum(table.c.requests),
            func.sum(case((failed, table.c.requests), else_=0)),
            func.sum(case((_SERIES.denied, table.c.requests), else_=0)),
        )
        .select_from(table.join(USAGE_SERIES, _joined(table)))
        .where(inside)
    )


def _add_latency(
    connection: Connection, table: Any, inside: ColumnElement[bool], buckets: dict[int, int]
) -> None:
    """Adds the histograms of requests that were served."""
    statement = (
        select(table.c.latency)
        .select_from(table.join(USAGE_SERIES, _joined(table)))
        .where(inside, _SERIES.denied == false())
    )
    for packed in connection.scalars(statement):
        for bucket, requests in unpack(packed):
            buckets[bucket] = buckets.get(bucket, 0) + requests


def _windows(connection: Connection, prefix: str, used: int, now_us: int, limit: int) -> list[WindowState]:
    table = WINDOW_CHECKPOINTS.c
    # Keys sort by their bytes, and `}` is what comes next to `|`: a span of the primary key.
    here = or_(table.key == prefix, and_(table.key >= f"{prefix}|", table.key < f"{prefix}}}"))
    rows = connection.execute(
        select(table.key, table.start_us, table.end_us, table.used, table.at_us)
        .where(here, table.end_us > now_us, table.used >= used)
        .order_by(table.used.desc(), table.key)
        .limit(limit)
    )
    return [WindowState(*row) for row in rows]
