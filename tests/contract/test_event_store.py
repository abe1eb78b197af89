"""The contract of EventStore."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from usageflow.domain.usage import EndpointName, Series, StoredEvent, UsageDelta, UsageRecord
from usageflow.domain.usage_events import EVERYTHING, EventFilter
from usageflow.storage.events import START, EventStore, Position
from usageflow.storage.ports import UsageStore

ORDERS, USERS = EndpointName("GET", "/orders"), EndpointName("POST", "/users/{id}")
HASHED = "h:" + "ab" * 32
EVENTS: dict[str, dict[str, Any]] = {
    "plain": {"identity": "v:ann"},
    "hashed": {"identity": HASHED, "endpoint": USERS},
    "nobody": {"identity": "", "status": 404},
    "denied": {"identity": "v:bob", "status": 429, "denied": True, "reason": "LIMIT_EXCEEDED"},
    "degraded": {"degraded": "STORE_TIMEOUT", "policy": "q", "status": 500},
    "shadow": {"shadow": "p2\np3", "endpoint": USERS, "identity": "a:1.2.3.4"},
}


def event(event_id: str, time_us: int = 1_000_000, **changes: Any) -> StoredEvent:
    endpoint, status = changes.pop("endpoint", ORDERS), changes.pop("status", 200)
    labels = {name: changes.pop(name) for name in Series._fields if name in changes}
    series = Series(endpoint, status, False, "WITHIN_LIMITS", "", "p")._replace(**labels)
    identity = changes.pop("identity", "v:ann")
    return StoredEvent(
        event_id, time_us, series, "/orders", identity, 1_500, 1.5, 10, 20, '{"metadata":{"a":1}}'
    )._replace(**changes)


async def store(usage: UsageStore, application_id: str, *events: StoredEvent) -> None:
    records = [
        UsageRecord(
            each.event_id, 0, bytes(16), (UsageDelta(each.series, each.identity, 1, 1, Decimal(1)),), (), each
        )
        for each in events
    ]
    await usage.ingest([(application_id, records)])


async def read(
    events: EventStore,
    application_id: str,
    wanted: EventFilter = EVERYTHING,
    since_us: int = 0,
    until_us: int = 2**62,
) -> list[StoredEvent]:
    """Reads everything, two events at a time."""
    found: list[StoredEvent] = []
    after: Position | None = START
    while after is not None:
        page = await events.read(
            application_id, wanted, since_us=since_us, until_us=until_us, after=after, limit=2
        )
        assert len(page.events) <= 2
        after = page.after
        found += page.events
    assert len(found) == await events.count(
        application_id, wanted, since_us=since_us, until_us=until_us, most=100
    )
    return found


async def test_there_is_nothing_at_first(events: EventStore, application_id: str) -> None:
    assert await read(events, application_id) == []
    assert await events.newest() == 0
    assert await events.numbers_after(application_id, EVERYTHING, after=0, limit=5) == []


async def test_events_are_read_whole_in_order_of_time_then_as_they_were_stored(
    events: EventStore, usage: UsageStore, application_id: str
) -> None:
    late, early, same = event("late", 9_000_000), event("early", 3), event("same", 9_000_000)
    await store(usage, application_id, late, early)
    await store(usage, application_id, same)
    assert await read(events, application_id) == [early, late, same]
    assert await read(events, application_id, since_us=4) == [late, same]
    assert await read(events, application_id, until_us=9_000_000) == [early]
    assert await events.count(application_id, EVERYTHING, since_us=0, until_us=2**62, most=2) == 2
    assert await read(events, "another") == []


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (EventFilter(endpoints=(USERS,)), "hashed shadow"),
        (EventFilter(endpoints=(EndpointName("GET", ""),)), "plain nobody denied degraded"),
        (EventFilter(endpoints=(EndpointName("", "/users/{id}"), ORDERS)), " ".join(EVENTS)),
        (EventFilter(endpoints=(EndpointName("", ""),)), " ".join(EVENTS)),
        (EventFilter(identities=("v:ann", "h:ann")), "plain degraded"),
        (EventFilter(identities=("",)), "nobody"),
        (EventFilter(identities=("a:1.2.3.4",)), "shadow"),
        (EventFilter(hashes=("ab" * 6,)), "hashed"),
        (EventFilter(hashes=("ba" * 6,), identities=("v:bob",)), "denied"),
        (EventFilter(statuses=(404,), classes=(5,)), "nobody degraded"),
        (EventFilter(policies=("q",)), "degraded"),
        (EventFilter(reasons=("LIMIT_EXCEEDED",)), "denied"),
        (EventFilter(denied=True), "denied"),
        (EventFilter(denied=False, statuses=(429,)), ""),
        (EventFilter(degraded=True), "degraded"),
        (EventFilter(shadow_denied=True), "shadow"),
        (EventFilter(degraded=False, shadow_denied=False, classes=(2,)), "plain hashed"),
    ],
)
async def test_a_filter_leaves_what_it_names(
    events: EventStore, usage: UsageStore, application_id: str, wanted: EventFilter, found: str
) -> None:
    await store(usage, application_id, *(event(name, **fields) for name, fields in EVENTS.items()))
    assert [each.event_id for each in await read(events, application_id, wanted)] == found.split()
    numbers = await events.numbers_after(application_id, wanted, after=0, limit=10)
    assert list(numbers) == sorted(numbers, reverse=True)
    assert await events.count_after(application_id, wanted, after=0) == len(numbers)
    numbered = await events.numbered(application_id, numbers)
    assert [each.event_id for _, each in numbered] == found.split()
    assert [number for number, _ in numbered] == sorted(numbers)


async def test_a_rare_event_is_found_in_short_looks(
    events: EventStore, usage: UsageStore, application_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("usageflow.storage.sql.events.SCANNED", 3)
    await store(usage, application_id, *(event(f"e{number}", number) for number in range(1, 9)))
    await store(usage, application_id, event("rare", 7, status=404))
    page = await events.read(
        application_id, EventFilter(statuses=(404,)), since_us=0, until_us=100, after=START, limit=2
    )
    assert (list(page.events), page.after is None) == ([], False)
    found = await read(events, application_id, EventFilter(statuses=(404,)))
    assert [each.event_id for each in found] == ["rare"]
    assert len(await read(events, application_id)) == 9


async def test_numbers_rise_as_events_are_stored(
    events: EventStore, usage: UsageStore, application_id: str
) -> None:
    await store(usage, application_id, event("a"), event("b"))
    newest = await events.newest()
    await store(usage, application_id, event("c", 1), event("d"))
    later = await events.numbers_after(application_id, EVERYTHING, after=newest, limit=5)
    assert [each.event_id for _, each in await events.numbered(application_id, later)] == ["c", "d"]
    assert await events.numbers_after(application_id, EVERYTHING, after=newest, limit=1) == [later[0]]
    assert later[0] == await events.newest()
    assert await events.numbered("another", later) == []
