"""The use-cases behind ListEvents and TailEvents."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from admin.tail_window import BEHIND, TailWindow
from usageflow.domain.analytics import UsageFilter
from usageflow.domain.clock import Clock
from usageflow.domain.errors import InvalidArgument
from usageflow.domain.hashing import KeyOf
from usageflow.domain.usage import StoredEvent
from usageflow.domain.usage_events import EVERYTHING, EventFilter, event_filter
from usageflow.storage.events import START, EventStore
from usageflow.storage.naming import application_named
from usageflow.storage.owners import Owners
from usageflow.storage.ports import ControlStore

PAGE = 500
DEFAULT_SPAN_US = 86_400_000_000
MOST_COUNTED = 500_000
MOST_FILTERED = 50_000
"""So many events are counted at most, and so many are looked through with a filter to count what passes."""

MOST_RECENT = 1_000
REACH = 1_000_000
"""How many numbers back the latest events are looked for."""

MOST_AT_ONCE = 2_000
"""The most events that one look of a tail sends; what else came in meanwhile is skipped, so that a slow watcher costs no memory."""

LOOK_S = 0.5


@dataclass(frozen=True, slots=True)
class EventPage:
    """Some events; ``total`` of all pages, 0 where it is not known."""

    events: Sequence[StoredEvent]
    total: int = 0


@dataclass(frozen=True, slots=True)
class TailedEvents:
    """Some events, and how many were left out before them."""

    events: Sequence[StoredEvent]
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class _Scope:
    """Whose events are read, and which."""

    application_id: str
    wanted: EventFilter
    customers: frozenset[str]
    owners: Owners

    async def of_customers(self, events: Sequence[StoredEvent]) -> Sequence[StoredEvent]:
        """Returns those events that belong to the customers that are asked for."""
        if not self.customers:
            return events
        await self.owners.learn(event.identity for event in events)
        return [event for event in events if self.owners.of(event.identity) in self.customers]


class StoredEvents:
    """Reads events, page by page, and as they come in. drain() ends every tail."""

    def __init__(
        self,
        control: ControlStore,
        events: EventStore,
        key_of: KeyOf,
        clock: Clock,
        pause: Callable[[float], Awaitable[None]] | None = None,
    ) -> None:
        self._control = control
        self._events = events
        self._key_of = key_of
        self._clock = clock
        self._draining = asyncio.Event()
        self._pause = pause or self._wait

    def drain(self) -> None:
        """Ends every tail."""
        self._draining.set()

    async def read(
        self, application: str, wish: UsageFilter, *, since_us: int | None, until_us: int | None, limit: int
    ) -> AsyncIterator[EventPage]:
        """Yields events in order of time, at most ``limit`` (0: all); None means 24 h ago, and now.

        Raises NotFound (application, customer), and InvalidArgument for a filter that is none or a span that ends before it begins.
        """
        now_us = self._clock.now_us()
        start_us = now_us - DEFAULT_SPAN_US if since_us is None else since_us
        end_us = now_us if until_us is None else until_us
        if end_us <= start_us:
            raise InvalidArgument.of("end_time", "is not after start_time", "ask for a span that ends later")
        scope = await self._scope(application, wish)
        total, left, after = await self._total(scope, start_us, end_us, limit), limit, START
        while True:
            page = await self._events.read(
                scope.application_id,
                scope.wanted,
                since_us=start_us,
                until_us=end_us,
                after=after,
                limit=PAGE,
            )
            found = await scope.of_customers(page.events)
            found = found[:left] if limit else found
            if found or total:
                yield EventPage(found, total)
            left, total = left - len(found), 0
            if page.after is None or (limit and not left):
                return
            after = page.after

    async def tail(self, application: str, wish: UsageFilter, recent: int) -> AsyncIterator[TailedEvents]:
        """Yields events as they come in, ``recent`` of the latest first; the first item comes at once. Ends on drain.

        Raises NotFound and InvalidArgument as ``read`` does.
        """
        if recent > MOST_RECENT:
            raise InvalidArgument.of("recent", f"{recent} is too many", f"ask for at most {MOST_RECENT}")
        scope = await self._scope(application, wish)
        newest = await self._events.newest()
        window = TailWindow(newest)
        # What stands there already is not sent, and what comes to light between these two looks is.
        window.add(await self._numbers(scope, window.after, BEHIND))
        latest = await self._numbers(scope, max(0, newest - REACH), recent) if recent else ()
        window.add(latest)
        yield TailedEvents(await self._found(scope, latest))
        while not self._draining.is_set():
            newest = await self._events.newest()
            sent, skipped = await self._look(scope, window)
            window.move(newest, self._clock.now_us())
            for start in range(0, len(sent), PAGE):
                yield TailedEvents(await self._found(scope, sent[start : start + PAGE]), skipped)
                skipped = 0
            await self._pause(LOOK_S)

    async def _look(self, scope: _Scope, window: TailWindow) -> tuple[list[int], int]:
        """Returns the numbers of events that are new, lowest first, and how many more there were."""
        limit = MOST_AT_ONCE + window.size + 1
        numbers = await self._numbers(scope, window.after, limit)
        new = window.unsent(numbers)
        if len(numbers) < limit and len(new) <= MOST_AT_ONCE:
            window.add(new)
            return new, 0
        every = await self._events.count_after(scope.application_id, scope.wanted, after=window.after)
        sent, known = new[-MOST_AT_ONCE:], window.size
        window.jump(sent)
        return sent, max(0, every - known - len(sent))

    async def _numbers(self, scope: _Scope, after: int, limit: int) -> Sequence[int]:
        return await self._events.numbers_after(scope.application_id, scope.wanted, after=after, limit=limit)

    async def _found(self, scope: _Scope, numbers: Sequence[int]) -> Sequence[StoredEvent]:
        found = await self._events.numbered(scope.application_id, numbers) if numbers else ()
        return await scope.of_customers([event for _, event in found])

    async def _total(self, scope: _Scope, start_us: int, end_us: int, limit: int) -> int:
        """Returns how many events there are, 0 where that takes long to say."""
        if scope.customers:
            return 0
        count = partial(self._events.count, scope.application_id, since_us=start_us, until_us=end_us)
        every = await count(EVERYTHING, most=MOST_COUNTED)
        if scope.wanted != EVERYTHING:
            known = await count(scope.wanted, most=every) if every < MOST_FILTERED else 0
        else:
            known = every if every < MOST_COUNTED else 0
        return min(known, limit) if limit else known

    async def _scope(self, application: str, wish: UsageFilter) -> _Scope:
        found = await application_named(self._control, application)
        key = self._key_of(found.name)
        wanted = event_filter(wish, key)
        owners = Owners(self._control, found.application_id, key)
        await owners.ensure(wish.customers)
        return _Scope(found.application_id, wanted, frozenset(wish.customers), owners)

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._draining.wait()
