from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Connection, delete, select

from tests.causes import NOBODY
from tools.synthetic_sums import packed, write
from tools.synthetic_usage import (
    REQUEST_BYTES,
    RESPONSE_BYTES,
    Load,
    Minute,
    half_past,
    identity_of,
    minutes_of,
    series_at,
)
from usageflow.domain.clock import ManualClock
from usageflow.domain.latency import pack
from usageflow.domain.usage import Outcome, UsageDelta, UsageRecord
from usageflow.storage.sql import (
    Database,
    SqlAnalytics,
    SqlControlStore,
    SqlUsageStore,
    open_postgres,
    open_sqlite,
    prepare,
)
from usageflow.storage.sql.tables import (
    ENDPOINT_NAMES,
    IDENTITY_DAYS,
    IDENTITY_HOURS,
    USAGE_DAYS,
    USAGE_HOURS,
    USAGE_MINUTES,
)

DAY_S = 86_400
SUMS = (USAGE_MINUTES, USAGE_HOURS, USAGE_DAYS, IDENTITY_HOURS, IDENTITY_DAYS)
LOAD = Load(events=4_000, until=20_000 * DAY_S + 2_700, span_s=6_000, endpoints=3, identities=4)
"""Over two days and three hours, none of them whole."""


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    if request.param == "sqlite":
        prepare(tmp_path / "usageflow.db", ManualClock())
        database = open_sqlite(tmp_path / "usageflow.db")
    else:
        database = open_postgres(request.getfixturevalue("postgres_url"))
    yield database
    await database.close()


async def test_the_rows_are_those_that_folding_makes(database: Database) -> None:
    control = SqlControlStore(database, ManualClock())
    application_id = (await control.create_application("demo", [], cause=NOBODY)).application_id
    assert await write(database, application_id, LOAD) == 4_000
    written = await database.read(stored)
    await database.write(emptied)
    await report(database, application_id)
    analytics = SqlAnalytics(database)
    while await analytics.fold(1_000):
        pass
    assert await database.read(stored) == written


def stored(connection: Connection) -> dict[str, list[tuple[Any, ...]]]:
    return {
        table.name: sorted(tuple(row) for row in connection.execute(select(table)))
        for table in (*SUMS, ENDPOINT_NAMES)
    }


def emptied(connection: Connection) -> None:
    for table in SUMS:
        assert connection.execute(delete(table)).rowcount > 0
    connection.execute(ENDPOINT_NAMES.update().values(first_used=None, last_used=None))


async def report(database: Database, application_id: str) -> None:
    deltas = [delta for minute in minutes_of(LOAD) for delta in deltas_of(minute)]
    record = UsageRecord("load", 0, bytes(16), tuple(deltas))
    store = SqlUsageStore(database, ManualClock())
    assert await store.ingest([(application_id, [record])]) == [[Outcome.ACCEPTED]]


def deltas_of(minute: Minute) -> list[UsageDelta]:
    deltas = []
    for place, counts in enumerate(minute.requests.tolist()):
        if size := sum(counts):
            latency = tuple((bucket, requests) for bucket, requests in enumerate(counts) if requests)
            identity = identity_of(int(minute.callers[place]))
            received, sent = REQUEST_BYTES * size, RESPONSE_BYTES * size
            series = series_at(place)
            deltas.append(
                UsageDelta(series, identity, minute.start, size, Decimal(size), received, sent, latency)
            )
    return deltas


def test_histograms_are_packed_as_they_are_stored() -> None:
    counts = np.array([[0, 2, 0], [0, 0, 0], [5, 0, 70_000]])
    assert packed(counts) == [pack([(1, 2)]), b"", pack([(0, 5), (2, 70_000)])]


@pytest.mark.parametrize("now_s", [7_200.0, 8_999.5, 10_799.9])
def test_half_past_is_past_and_within_two_hours(now_s: float) -> None:
    assert half_past(now_s) == 5_400


def test_the_same_load_is_made_again() -> None:
    first, second = next(minutes_of(LOAD)), next(minutes_of(LOAD))
    assert np.array_equal(first.requests, second.requests)
    assert first.requests.sum() == 40
