"""The contract of RetentionStore."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

from sqlalchemy import Table, func, insert, select, update

from tests.causes import NOBODY
from usageflow.domain.usage import EndpointName, MeteringFailure, Series, StoredEvent, UsageDelta, UsageRecord
from usageflow.storage.ports import ControlStore, UsageStore
from usageflow.storage.retention import Detail, RetentionStore
from usageflow.storage.sql import Database
from usageflow.storage.sql.tables import (
    APPLICATIONS,
    EVENTS,
    IDENTITY_DAYS,
    IDENTITY_HOURS,
    METERING_FAILURES,
    USAGE_DAYS,
    USAGE_HOURS,
    USAGE_MINUTES,
    USAGE_SERIES,
)

DAY_S = 86_400
NOW_S = 1_000 * DAY_S
SERIES = Series(EndpointName("GET", "/orders"), 200, False, "", "", "p")
SUMS = {"requests": 1, "whole": 1, "pico": 0, "request_bytes": 0, "response_bytes": 0, "latency": b""}
OF_IDENTITY = {
    "pseudonym": 7,
    "endpoint_id": 1,
    "errors": 0,
    "client_errors": 0,
    "denied": 0,
    "degraded": 0,
    "refused": False,
}


def seen(name: str, second: int) -> UsageRecord:
    event = StoredEvent(name, second * 1_000_000, SERIES, "/x", "v:a", 1, 1.0, 0, 0, "")
    return UsageRecord(name, 0, bytes(16), (UsageDelta(SERIES, "v:a", second, 1, Decimal(1)),), (), event)


async def count(database: Database, table: Table) -> int:
    return int(await database.read(lambda c: c.execute(select(func.count()).select_from(table)).scalar_one()))


async def put(database: Database, table: Table, *rows: dict[str, Any]) -> None:
    await database.write(lambda connection: connection.execute(insert(table), list(rows)).close())


async def purge(store: RetentionStore, detail: Detail, limit: int = 1_000) -> int:
    return await store.purge(detail, now_us=NOW_S * 1_000_000, limit=limit)


async def test_each_application_keeps_its_days(
    control: ControlStore,
    usage: UsageStore,
    retention: RetentionStore,
    database: Database,
    application_id: str,
) -> None:
    shop = (await control.create_application("shop", [], cause=NOBODY)).application_id
    week = update(APPLICATIONS).where(APPLICATIONS.c.application_id == shop).values(retention_days=7)
    await database.write(lambda connection: connection.execute(week).close())
    for owner in (application_id, shop):
        days = [seen(f"{owner}-{days}", NOW_S - days * DAY_S) for days in (1, 8, 37)]
        await usage.ingest([(owner, days)])
    assert await purge(retention, Detail.EVENTS) == 3
    assert await purge(retention, Detail.EVENTS) == 0
    assert await count(database, EVENTS) == 3


async def test_at_most_so_many_rows_go_at_once(
    usage: UsageStore, retention: RetentionStore, application_id: str
) -> None:
    await usage.ingest([(application_id, [seen(f"e{number}", 60) for number in range(7)])])
    assert [await purge(retention, Detail.EVENTS, 3) for _ in range(4)] == [3, 3, 1, 0]


async def test_several_purge_at_once(
    usage: UsageStore, retention: RetentionStore, database: Database, application_id: str
) -> None:
    await usage.ingest([(application_id, [seen(f"e{number}", 60) for number in range(40)])])
    for _ in range(4):
        await asyncio.gather(*(purge(retention, Detail.EVENTS, 5) for _ in range(4)))
    assert await count(database, EVENTS) == 0


async def test_what_tells_of_people_and_minutes_go_and_sums_stay(
    usage: UsageStore, retention: RetentionStore, database: Database, application_id: str
) -> None:
    await usage.ingest([(application_id, [seen("e", 60)])])
    series_id = await database.read(lambda c: c.execute(select(USAGE_SERIES.c.series_id)).scalar_one())
    starts = (0, NOW_S - 37 * DAY_S - 60, NOW_S - DAY_S)
    for table in (USAGE_MINUTES, USAGE_HOURS, USAGE_DAYS):
        await put(database, table, *({"series_id": series_id, "start": start, **SUMS} for start in starts))
    for table in (IDENTITY_HOURS, IDENTITY_DAYS):
        own = {"application_id": application_id, **OF_IDENTITY, **SUMS}
        await put(database, table, *({"start": start, **own} for start in starts))
    gone = [await purge(retention, detail) for detail in Detail]
    assert gone == [1, 2, 2, 2, 0]
    assert [await count(database, table) for table in (USAGE_HOURS, USAGE_DAYS)] == [3, 3]


async def test_metering_failures_go_after_36_days_whatever_the_application_keeps(
    usage: UsageStore, retention: RetentionStore, database: Database, application_id: str
) -> None:
    records = [
        UsageRecord(f"{days}", 0, bytes(16), (), failures=(MeteringFailure("p", "price_a", 1, "no", at),))
        for days in (8, 35, 37)
        if (at := (NOW_S - days * DAY_S) * 1_000_000)
    ]
    await usage.ingest([(application_id, records)])
    assert await purge(retention, Detail.METERING_FAILURES) == 1
    assert await count(database, METERING_FAILURES) == 2
