"""Bounds what a failing store costs: a deadline, a cap on what is in flight and a circuit breaker for every operation of a
decision.

A store that is silent for minutes costs a bounded wait and flat memory: nothing queues, nothing is retried.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, MutableMapping, Sequence
from typing import Any, NoReturn, TypeVar

from decision.breaker import CircuitBreaker
from usageflow.domain.clock import Clock
from usageflow.domain.decisions import DegradedReason
from usageflow.domain.errors import Unavailable
from usageflow.storage.counters import Amendment, CounterStore, Take, Taken

STORE_DEADLINE_S = 0.025
"""The most that a decision waits for the counters."""

MAX_IN_FLIGHT = 256
"""Operations that may be under way in a process. One carries up to a hundred checks."""

_LATE_TURNS = 20
"""Turns of the event loop after a deadline: where this process was late itself, the answer lies in the socket and is read in them."""

_FAIR_S = 0.010
"""Where a caller has less time left than this, a time-out says more about the caller than about the store."""

T = TypeVar("T")


class StoreFailed(Unavailable):
    """The counters gave no answer; ``degraded`` says why."""

    def __init__(self, degraded: DegradedReason) -> None:
        super().__init__(f"the counters do not answer ({degraded}); try again in a second")
        self.degraded = degraded


class ResilientStore:
    """A CounterStore whose operations answer by a deadline, or raise StoreFailed: STORE_TIMEOUT at the deadline,
    STORE_UNAVAILABLE where the store refuses or the breaker is open, OVERLOADED where too much is in flight.

    An operation that timed out or was cancelled may have been carried out all the same: the store may have taken, and the
    answer was lost. Nothing is retried here. Amendments are idempotent by id, so their callers may try again; takes are not.

    Operations of a store ``in_process`` end without waiting, so that there is nothing to give up or to cap; they are only
    counted, since a task each would cost more than the take.

    ``clock`` is monotonic. ``tally`` counts operations by outcome: ok, timeout, unavailable, overloaded, open, error.
    """

    def __init__(
        self,
        store: CounterStore,
        clock: Clock,
        tally: MutableMapping[str, int],
        *,
        breaker: CircuitBreaker | None = None,
        max_in_flight: int = MAX_IN_FLIGHT,
        in_process: bool = False,
    ) -> None:
        self._in_process = in_process
        self._store = store
        self._clock = clock
        self._tally = tally
        self._breaker = breaker or CircuitBreaker()
        self._max_in_flight = max_in_flight
        self._running: set[asyncio.Future[Any]] = set()

    @property
    def in_flight(self) -> int:
        """Returns how many operations have not ended, those that were given up but do not end included."""
        return len(self._running)

    async def take(self, takes: Sequence[Take], deadline_s: float) -> Sequence[Taken]:
        """See CounterStore.take. Raises StoreFailed; the takes may have been made even then."""
        return await self._run(lambda: self._store.take(takes), deadline_s)

    async def peek(self, takes: Sequence[Take], deadline_s: float) -> Sequence[Taken]:
        """See CounterStore.peek. Raises StoreFailed."""
        return await self._run(lambda: self._store.peek(takes), deadline_s)

    async def amend(self, amendments: Sequence[Amendment], deadline_s: float) -> Sequence[bool]:
        """See CounterStore.amend. Raises StoreFailed; amending again is safe."""
        return await self._run(lambda: self._store.amend(amendments), deadline_s)

    async def _run(self, operation: Callable[[], Coroutine[Any, Any, T]], deadline_s: float) -> T:
        """Runs one operation in a task of its own, so that one that ignores its cancellation delays nobody."""
        if self._in_process:
            self._count("ok")
            return await operation()
        ticket = self._enter()
        running = asyncio.ensure_future(operation())
        self._running.add(running)
        running.add_done_callback(self._ended)
        try:
            await _ended_or_late(running, deadline_s)
        except asyncio.CancelledError:
            self._breaker.abandoned(ticket)
            raise
        finally:
            running.cancel()
        return self._result(running, ticket) if running.done() else self._timed_out(ticket, deadline_s)

    def _enter(self) -> int:
        """Returns the breaker's ticket. Raises StoreFailed."""
        if len(self._running) >= self._max_in_flight:
            self._count("overloaded")
            raise StoreFailed(DegradedReason.OVERLOADED)
        ticket = self._breaker.allow(self._clock.now_us())
        if ticket is None:
            self._count("open")
            raise StoreFailed(DegradedReason.STORE_UNAVAILABLE)
        return ticket

    def _ended(self, running: asyncio.Future[Any]) -> None:
        self._running.discard(running)
        if not running.cancelled():
            running.exception()  # nobody may be waiting for it any more

    def _result(self, running: asyncio.Future[T], ticket: int) -> T:
        try:
            result = running.result()
        except (Unavailable, asyncio.CancelledError) as error:
            self._count("unavailable")
            self._breaker.failed(ticket, self._clock.now_us())
            raise StoreFailed(DegradedReason.STORE_UNAVAILABLE) from error
        except Exception:
            self._count("error")
            self._breaker.abandoned(ticket)  # it answered, though not in a way that its port allows
            raise
        self._count("ok")
        self._breaker.succeeded(ticket)
        return result

    def _timed_out(self, ticket: int, deadline_s: float) -> NoReturn:
        self._count("timeout")
        if deadline_s < _FAIR_S:
            self._breaker.abandoned(ticket)
        else:
            self._breaker.failed(ticket, self._clock.now_us())
        raise StoreFailed(DegradedReason.STORE_TIMEOUT)

    def _count(self, outcome: str) -> None:
        self._tally[outcome] = self._tally.get(outcome, 0) + 1


async def _ended_or_late(running: asyncio.Future[Any], deadline_s: float) -> None:
    """Returns when it has ended, at the deadline at the latest: asyncio.wait at two thirds of its cost."""
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[None] = loop.create_future()

    def wake(_: object = None) -> None:
        if not waiter.done():
            waiter.set_result(None)

    timer = loop.call_later(deadline_s, wake)
    running.add_done_callback(wake)
    try:
        await waiter
    finally:
        timer.cancel()
    for _ in range(_LATE_TURNS):
        if running.done():
            return
        await asyncio.sleep(0)
