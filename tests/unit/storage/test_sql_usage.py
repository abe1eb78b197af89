"""What only SQL promises about usage: how rows are kept small, nameless and summable."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Table, delete, select

from tests.causes import NOBODY
from usageflow.domain.analytics import UsageGroup, UsageQuery, UsageSum
from usageflow.domain.clock import ManualClock
from usageflow.domain.errors import InvalidArgument
from usageflow.domain.latency import pack
from usageflow.domain.usage import (
    EndpointName,
    MeteringDelta,
    Series,
    StoredEvent,
    UsageDelta,
    UsageRecord,
)
from usageflow.storage.sql import (
    Database,
    SqlAnalytics,
    SqlControlStore,
    SqlUsageStore,
    open_postgres,
    open_sqlite,
    prepare,
)
from usageflow.storage.sql.remembered import LIFE_US
from usageflow.storage.sql.tables import (
    ENDPOINT_NAMES,
    EVENTS,
    IDENTITIES,
    METERING_DELTAS,
    REPORT_IDS,
    USAGE_DELTAS,
    USAGE_SERIES,
)

ENDPOINT = EndpointName("GET", "/orders/{id}")


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    if request.param == "sqlite":
        prepare(tmp_path / "usageflow.db", ManualClock())
        database = open_sqlite(tmp_path / "usageflow.db")
    else:
        database = open_postgres(request.getfixturevalue("postgres_url"))
    yield database
    await database.close()


@pytest.fixture
async def application_id(database: Database) -> str:
    return (
        await SqlControlStore(database, ManualClock()).create_application("demo", [], cause=NOBODY)
    ).application_id


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(77)


@pytest.fixture
def store(database: Database, clock: ManualClock) -> SqlUsageStore:
    return SqlUsageStore(database, clock)


def record(record_id: str, identity: str, units: Decimal = Decimal("2.5")) -> UsageRecord:
    series = Series(ENDPOINT, 200, False, "OK", "", "p", "new\nother")
    usage = UsageDelta(series, identity, 60, 3, units, 10, 20, ((5, 1), (7, 2)))
    metered = MeteringDelta(ENDPOINT, identity, "p", "price_1", 4, 60, 3, units)
    event = StoredEvent(record_id, 60_000_001, series, "/orders/7", identity, 1_500, 0.5, 10, 20, '{"a":1}')
    return UsageRecord(record_id, 9, bytes(16), (usage,), (metered,), event)


async def total(database: Database, application_id: str) -> UsageSum:
    query = UsageQuery(0, groups=(UsageGroup.ENDPOINT,))
    return (await SqlAnalytics(database).sums(application_id, query, lambda _: bytes(32))).total


async def all_rows(database: Database, table: Table) -> list[dict[str, Any]]:
    rows = await database.read(lambda connection: connection.execute(select(table)).mappings().all())
    return [dict(row) for row in rows]


async def test_rows_hold_every_field(store: SqlUsageStore, database: Database, application_id: str) -> None:
    await store.ingest([(application_id, [record("a", "ann")])])
    names = (ENDPOINT_NAMES, IDENTITIES, USAGE_SERIES)
    ((endpoint,), (identity,), (series,)) = [await all_rows(database, table) for table in names]
    assert (endpoint["method"], endpoint["template"]) == ("GET", "/orders/{id}")
    labels = {"status": 200, "denied": False, "reason": "OK", "degraded": "", "policy": "p"}
    assert series.items() >= (labels | {"shadow": "new\nother"}).items()
    assert series["endpoint_id"] == endpoint["endpoint_id"]
    shared = {"row_id": 1, "application_id": application_id, "pseudonym": identity["pseudonym"]}
    of_series = shared | {"series_id": series["series_id"]}
    sizes = {"request_bytes": 10, "response_bytes": 20}
    units = {"second": 60, "requests": 3, "whole": 2, "pico": 500_000_000_000}
    assert await all_rows(database, USAGE_DELTAS) == [
        of_series | units | sizes | {"latency": pack([(5, 1), (7, 2)])}
    ]
    assert await all_rows(database, METERING_DELTAS) == [
        shared
        | units
        | {
            "endpoint_id": endpoint["endpoint_id"],
            "policy": "p",
            "price": "price_1",
            "revision": 4,
            "part": None,
            "customer": None,
        }
    ]
    assert await all_rows(database, EVENTS) == [
        of_series
        | sizes
        | {"event_id": "a", "time_us": 60_000_001, "path": "/orders/7", "latency_us": 1_500}
        | {"quantity": 0.5, "detail_json": '{"a":1}'}
    ]
    assert await all_rows(database, REPORT_IDS) == [
        {
            "application_id": application_id,
            "record_id": "a",
            "day": 9,
            "payload_hash": bytes(16),
            "received_us": 77,
        }
    ]


async def test_nobody_has_no_pseudonym(store: SqlUsageStore, database: Database, application_id: str) -> None:
    await store.ingest([(application_id, [record("a", "")])])
    for table in (EVENTS, USAGE_DELTAS, METERING_DELTAS):
        assert [row["pseudonym"] for row in await all_rows(database, table)] == [0]
    assert await all_rows(database, IDENTITIES) == []


async def test_an_identity_keeps_its_pseudonym_until_the_mapping_goes(
    store: SqlUsageStore, database: Database, application_id: str, clock: ManualClock
) -> None:
    """What was remembered of the mapping is forgotten within seconds."""
    for record_id in ("a", "b"):
        await store.ingest([(application_id, [record(record_id, "ann")])])
    await database.write(lambda connection: connection.execute(delete(IDENTITIES)).close())
    clock.advance(seconds=LIFE_US / 1e6 + 1)
    await store.ingest([(application_id, [record("c", "ann")])])
    first, second, third = [row["pseudonym"] for row in await all_rows(database, USAGE_DELTAS)]
    assert first == second != third
    assert (await total(database, application_id)).requests == 9


async def test_sums_go_past_64_bits(store: SqlUsageStore, database: Database, application_id: str) -> None:
    units = Decimal(2**63 - 1) + Decimal("0.5")
    await store.ingest([(application_id, [record(f"id-{number}", "ann", units) for number in range(10)])])
    row = await total(database, application_id)
    (pending,) = await store.pending(application_id)
    assert row.units == pending.units == Decimal((2**63 - 1) * 10 + 5)


async def test_sums_of_negatives_are_exact(
    store: SqlUsageStore, database: Database, application_id: str
) -> None:
    """Nobody reports any today: this holds the split of sums to what it says."""
    amounts = [Decimal(-(10**15)) - Decimal("0.000000000001"), Decimal("-7.5"), Decimal(10**14) + 1]
    records = [record(f"id-{number}", "ann", units) for number, units in enumerate(amounts)]
    await store.ingest([(application_id, records)])
    row = await total(database, application_id)
    assert row.units == Decimal("-900000000000006.500000000001")
    assert {type(number) for number in (row.requests, row.errors, row.denied)} == {int}


async def test_one_row_holds_what_many_reports_add(
    store: SqlUsageStore, database: Database, application_id: str
) -> None:
    await store.ingest([(application_id, [record(f"id-{number}", "ann") for number in range(350)])])
    (usage,) = await all_rows(database, USAGE_DELTAS)
    (metering,) = await all_rows(database, METERING_DELTAS)
    sums = (350 * 3, 875, 0)
    assert (usage["requests"], usage["whole"], usage["pico"]) == sums
    assert (metering["requests"], metering["whole"], metering["pico"]) == sums
    assert len(await all_rows(database, EVENTS)) == len(await all_rows(database, REPORT_IDS)) == 350


async def test_names_of_a_transaction_that_failed_are_not_remembered(
    store: SqlUsageStore, database: Database, application_id: str
) -> None:
    bad = record("x" * 300, "ann")
    with pytest.raises(InvalidArgument):
        await store.ingest([(application_id, [record("a", "ann"), bad])])
    await store.ingest([(application_id, [record("a", "ann")])])
    assert (await total(database, application_id)).requests == 3
