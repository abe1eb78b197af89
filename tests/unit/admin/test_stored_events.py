from __future__ import annotations

from collections.abc import Sequence

import pytest

from admin.customers import stored
from admin.stored_events import MOST_AT_ONCE, MOST_COUNTED, StoredEvents, TailedEvents
from tests.unit.fakes import APPLICATION_KEY, KEY_OF, FakeControl, customer
from usageflow.domain.analytics import UsageFilter
from usageflow.domain.clock import ManualClock
from usageflow.domain.errors import InvalidArgument, NotFound
from usageflow.domain.usage import EndpointName, Series, StoredEvent
from usageflow.domain.usage_events import EventFilter
from usageflow.storage.events import EventPage, Position

ANYTHING = UsageFilter()
_SERIES = Series(EndpointName("GET", "/a"), 200, False, "", "", "")


class FakeEvents:
    """An EventStore in memory that filters nothing; its keys are events' numbers."""

    def __init__(self) -> None:
        self.rows: dict[int, StoredEvent] = {}

    def add(self, *numbers: int, identity: str = "v:ann") -> None:
        for number in numbers:
            self.rows[number] = StoredEvent(f"e{number}", number, _SERIES, "", identity, 0, 1.0, 0, 0, "{}")

    async def read(
        self,
        application_id: str,
        wanted: EventFilter,
        *,
        since_us: int,
        until_us: int,
        after: Position,
        limit: int,
    ) -> EventPage:
        found = [number for number in sorted(self.rows) if number > after[1]][:limit]
        more = (found[-1], found[-1]) if len(found) == limit else None
        return EventPage([self.rows[number] for number in found], more)

    async def count(
        self, application_id: str, wanted: EventFilter, *, since_us: int, until_us: int, most: int
    ) -> int:
        return min(len(self.rows), most)

    async def newest(self) -> int:
        return max(self.rows, default=0)

    async def numbers_after(
        self, application_id: str, wanted: EventFilter, *, after: int, limit: int
    ) -> Sequence[int]:
        return sorted((number for number in self.rows if number > after), reverse=True)[:limit]

    async def count_after(self, application_id: str, wanted: EventFilter, *, after: int) -> int:
        return sum(number > after for number in self.rows)

    async def numbered(
        self, application_id: str, numbers: Sequence[int]
    ) -> Sequence[tuple[int, StoredEvent]]:
        return [(number, self.rows[number]) for number in sorted(numbers)]


class Bench:
    def __init__(self) -> None:
        control = FakeControl()
        control.enter(control.add().application_id, stored(customer("acme", "ann"), APPLICATION_KEY))
        self.store, self.clock = FakeEvents(), ManualClock()
        self.events = StoredEvents(control, self.store, KEY_OF, self.clock, self._pause)
        self.script: list[list[int]] = []

    async def _pause(self, seconds: float) -> None:
        """Lets some time pass and events come in, as the script says; then the service ends."""
        self.clock.advance(seconds=seconds)
        if self.script:
            self.store.add(*self.script.pop(0))
        else:
            self.events.drain()

    async def tail(
        self, *script: list[int], recent: int = 0, wish: UsageFilter = ANYTHING
    ) -> list[TailedEvents]:
        self.script = list(script)
        return [each async for each in self.events.tail("demo", wish, recent)]

    async def names(self, limit: int = 0, wish: UsageFilter = ANYTHING) -> list[str]:
        pages = self.events.read("demo", wish, since_us=0, until_us=10**9, limit=limit)
        return [event.event_id async for page in pages for event in page.events]


def names_of(tailed: Sequence[TailedEvents]) -> list[list[str]]:
    return [[event.event_id for event in each.events] for each in tailed]


async def test_a_tail_begins_with_the_latest_and_follows_what_comes_late() -> None:
    bench = Bench()
    bench.store.add(1, 2, 5)
    tailed = await bench.tail([7], [6], [3, 8], recent=2)
    assert names_of(tailed) == [["e2", "e5"], ["e7"], ["e6"], ["e3", "e8"]]


async def test_a_slow_watcher_is_told_what_was_left_out() -> None:
    bench = Bench()
    many = MOST_AT_ONCE + 700
    tailed = await bench.tail([1], list(range(2, many + 2)), [many + 2])
    assert sum(len(each.events) for each in tailed) == 1 + MOST_AT_ONCE + 1
    assert [each.skipped for each in tailed if each.skipped] == [700]
    assert names_of(tailed)[-1] == [f"e{many + 2}"]
    assert max(len(each.events) for each in tailed) <= 500


async def test_customers_are_told_apart() -> None:
    bench = Bench()
    bench.store.add(1, 3)
    bench.store.add(2, identity="v:eve")
    bench.store.add(4, identity="a:")
    wish = UsageFilter(customers=("acme",))
    assert await bench.names(wish=wish) == ["e1", "e3"]
    assert await bench.names(wish=wish, limit=1) == ["e1"]
    assert names_of(await bench.tail([5], recent=4, wish=wish)) == [["e1", "e3"], ["e5"]]


async def test_pages_and_their_total() -> None:
    bench = Bench()
    bench.store.add(*range(1, 1201))
    pages = [page async for page in bench.events.read("demo", UsageFilter(), since_us=0, until_us=2, limit=0)]
    assert [(len(page.events), page.total) for page in pages] == [(500, 1200), (500, 0), (200, 0)]
    assert len(await bench.names(limit=700)) == 700
    assert MOST_COUNTED > 1200


async def test_what_cannot_be_asked_is_said() -> None:
    bench = Bench()
    with pytest.raises(InvalidArgument, match="too many"):
        await bench.tail(recent=1001)
    with pytest.raises(NotFound, match="no customer 'x'"):
        await bench.names(wish=UsageFilter(customers=("x",)))
    with pytest.raises(InvalidArgument, match="is not after start_time"):
        [page async for page in bench.events.read("demo", UsageFilter(), since_us=5, until_us=5, limit=0)]
