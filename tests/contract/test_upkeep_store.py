"""The contract of UpkeepStore."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import Connection, select, text, update

from tests.causes import NOBODY
from tests.contract.test_retention_store import DAY_S, count, seen
from usageflow.domain.clock import ManualClock
from usageflow.domain.usage import Outcome, UsageRecord
from usageflow.storage.ports import ControlStore, UsageStore
from usageflow.storage.retention import Detail, RetentionStore
from usageflow.storage.sql import Database
from usageflow.storage.sql.tables import APPLICATIONS, EVENTS, REPORT_IDS
from usageflow.storage.upkeep import BEGINNING, IdPosition, UpkeepStore

DAY_US = DAY_S * 1_000_000


async def forget(store: UpkeepStore, now_us: int, limit: int = 1_000) -> list[int]:
    """Goes through all ids; returns how many each step forgot."""
    steps: list[int] = []
    after: IdPosition | None = BEGINNING
    while after is not None:
        ids, after = await store.forget_ids(now_us=now_us, after=after, limit=limit)
        steps.append(ids)
    return steps


async def partitions(database: Database) -> list[str]:
    """Returns the partitions of days; none on SQLite."""
    names = text(
        "SELECT relname FROM pg_inherits JOIN pg_class ON oid = inhrelid WHERE relkind = 'r' ORDER BY 1"
    )

    def work(connection: Connection) -> list[str]:
        if connection.dialect.name == "sqlite":
            return []
        return [name for name in connection.scalars(names) if name[-1].isdigit()]

    return await database.read(work)


async def in_rest(database: Database, table: str) -> int:
    """Returns how many rows found no partition of their day."""

    def work(connection: Connection) -> int:
        if connection.dialect.name == "sqlite":
            return 0
        return int(connection.scalar(text(f"SELECT count(*) FROM {table}_rest")) or 0)

    return await database.read(work)


def dated(name: str, day: int, second: int | None = None) -> UsageRecord:
    return seen(name, second or day * DAY_S)._replace(day=day)


async def outcome(usage: UsageStore, application_id: str, record: UsageRecord) -> Outcome:
    ((found,),) = await usage.ingest([(application_id, [record])])
    return found


async def test_an_id_without_a_day_is_known_for_36_days(
    usage: UsageStore, upkeep: UpkeepStore, clock: ManualClock, application_id: str
) -> None:
    for name in ("a", "b"):
        await usage.ingest([(application_id, [seen(name, clock.now_us() // 1_000_000)])])
        clock.advance(seconds=1)
    start = clock.now_us() - 2_000_000
    for after_us in (0, 36 * DAY_US):
        assert sum(await forget(upkeep, start + after_us)) == 0
    assert sum(await forget(upkeep, start + 36 * DAY_US + 1)) == 1
    assert await outcome(usage, application_id, seen("b", 1_700_000_001)) is Outcome.DUPLICATE
    assert await outcome(usage, application_id, seen("a", 1_700_000_000)) is Outcome.ACCEPTED


async def test_an_id_of_a_day_is_known_as_long_as_a_report_may_carry_it(
    usage: UsageStore, upkeep: UpkeepStore, database: Database, clock: ManualClock, application_id: str
) -> None:
    today = clock.now_us() // DAY_US
    days = (today - 36, today - 35, today, today + 1)
    await usage.ingest([(application_id, [dated(f"e{day}", day) for day in days])])
    await upkeep.drop_days(now_us=clock.now_us())
    await forget(upkeep, clock.now_us())
    left = await database.read(lambda c: sorted(c.scalars(select(REPORT_IDS.c.day))))
    assert left == list(days[1:])
    later = (today + 35) * DAY_US
    await upkeep.make_room(now_us=later)
    await upkeep.drop_days(now_us=later)
    await forget(upkeep, later)
    assert await database.read(lambda c: sorted(c.scalars(select(REPORT_IDS.c.day)))) == [today, today + 1]


async def test_ids_are_looked_at_a_few_at_a_time(
    usage: UsageStore, upkeep: UpkeepStore, clock: ManualClock, database: Database, application_id: str
) -> None:
    await usage.ingest([(application_id, [seen(f"e{number}", 60) for number in range(7)])])
    assert (await forget(upkeep, clock.now_us() + 37 * DAY_US, limit=3))[:3] == [3, 3, 1]
    assert await count(database, REPORT_IDS) == 0


@pytest.mark.parametrize("hour", [0, 11, 23])
async def test_whatever_is_accepted_until_the_next_day_has_its_partition(
    usage: UsageStore,
    upkeep: UpkeepStore,
    database: Database,
    clock: ManualClock,
    application_id: str,
    hour: int,
) -> None:
    start = (clock.now_us() // DAY_US + 50) * DAY_US + hour * 3_600_000_000
    await upkeep.make_room(now_us=start)
    assert await upkeep.make_room(now_us=start) == 0
    for now_s in (start // 1_000_000, start // 1_000_000 + DAY_S):
        today = now_s // DAY_S
        edges = [
            dated(f"late{now_s}", today - 35, now_s - 34 * DAY_S),
            dated(f"early{now_s}", today + 1, now_s + 300),
        ]
        ((*outcomes,),) = await usage.ingest([(application_id, edges)])
        assert outcomes == [Outcome.ACCEPTED] * 2
        assert [await in_rest(database, table) for table in ("events", "report_ids")] == [0, 0]
        start += DAY_US


async def test_what_came_before_its_partition_is_moved_there(
    usage: UsageStore, upkeep: UpkeepStore, database: Database, clock: ManualClock, application_id: str
) -> None:
    later = clock.now_us() + 10 * DAY_US
    early = [dated(f"e{number}", later // DAY_US) for number in range(3)]
    await usage.ingest([(application_id, early)])
    await upkeep.make_room(now_us=later)
    assert [await in_rest(database, table) for table in ("events", "report_ids")] == [0, 0]
    assert [await count(database, table) for table in (EVENTS, REPORT_IDS)] == [3, 3]
    assert await outcome(usage, application_id, early[0]) is Outcome.DUPLICATE


async def test_several_make_and_drop_at_once_while_reports_come(
    usage: UsageStore,
    upkeep: UpkeepStore,
    other_upkeep: UpkeepStore,
    database: Database,
    clock: ManualClock,
    application_id: str,
) -> None:
    later = clock.now_us() + 40 * DAY_US
    today = later // DAY_US
    stores = (upkeep, other_upkeep, upkeep, other_upkeep)
    reports = [usage.ingest([(application_id, [dated(f"e{n}", today)])]) for n in range(20)]
    making = asyncio.gather(*(store.make_room(now_us=later) for store in stores))
    await asyncio.gather(*reports)
    made = await making
    dropped = sum(await asyncio.gather(*(store.drop_days(now_us=later) for store in stores)))
    names = await partitions(database)
    assert len(names) in {0, 2 * 38}
    assert (sum(made), dropped) in {(0, 0), (2 * 38, 2 * 38)}
    assert await count(database, EVENTS) == 20


async def test_events_of_a_day_are_dropped_when_no_application_keeps_them(
    control: ControlStore,
    usage: UsageStore,
    upkeep: UpkeepStore,
    retention: RetentionStore,
    database: Database,
    clock: ManualClock,
    application_id: str,
) -> None:
    shop = (await control.create_application("shop", [], cause=NOBODY)).application_id
    now_us = clock.now_us()
    today = now_us // DAY_US
    await usage.ingest([(owner, [dated(f"{owner}e", today - 30)]) for owner in (application_id, shop)])
    keep = update(APPLICATIONS).where(APPLICATIONS.c.application_id == shop).values(retention_days=60)
    await database.write(lambda connection: connection.execute(keep).close())
    assert await _kept_after(upkeep, retention, database, (today + 25) * DAY_US) == {shop}
    assert await _kept_after(upkeep, retention, database, (today + 29) * DAY_US) == {shop}
    assert await _kept_after(upkeep, retention, database, (today + 32) * DAY_US) == set()


async def _kept_after(
    upkeep: UpkeepStore, retention: RetentionStore, database: Database, now_us: int
) -> set[str]:
    await upkeep.make_room(now_us=now_us)
    await upkeep.drop_days(now_us=now_us)
    await retention.purge(Detail.EVENTS, now_us=now_us, limit=100)
    return await database.read(lambda c: set(c.scalars(select(EVENTS.c.application_id))))
