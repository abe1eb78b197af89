from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from decision.resilience import ResilientStore, StoreFailed
from tests.unit.fakes import SilentStore
from usageflow.domain.clock import ManualClock
from usageflow.domain.decisions import DegradedReason
from usageflow.domain.errors import Unavailable
from usageflow.domain.limits import Rule
from usageflow.domain.policies import Algorithm
from usageflow.storage.counters import LimitTake, Settlement, Take, Taken

TAKE = Take((LimitTake("k", Rule(Algorithm.FIXED_WINDOW, 100, 3_600_000_000, 100), 1),))
NOW, FAIR_S = 0.0, 0.01
TIMEOUT, UNAVAILABLE = DegradedReason.STORE_TIMEOUT, DegradedReason.STORE_UNAVAILABLE


class Stubborn(SilentStore):
    """Counters that ignore their cancellation until they are let go, and then answer late."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.let_go = asyncio.Event()

    async def take(self, takes: Sequence[Take]) -> Sequence[Taken]:
        while not self.let_go.is_set():
            try:
                await self.let_go.wait()
            except asyncio.CancelledError:
                continue
        return await super().take(takes)


class Bench:
    def __init__(self, store: type[SilentStore] = SilentStore, max_in_flight: int = 256) -> None:
        self.clock = ManualClock(0)
        self.store = store(self.clock)
        self.tally: dict[str, int] = {}
        self.bounded = ResilientStore(self.store, self.clock, self.tally, max_in_flight=max_in_flight)

    async def take(self, deadline_s: float = 1.0) -> DegradedReason | None:
        """Returns why it failed, None where it did not."""
        try:
            (taken,) = await self.bounded.take([TAKE], deadline_s)
        except StoreFailed as failure:
            return failure.degraded
        assert taken.admitted
        return None


async def a_few_turns() -> None:
    """Lets what was cancelled, or let go, end."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_answers_pass_through() -> None:
    bench = Bench()
    assert await bench.take() is None
    (seen,) = await bench.bounded.peek([TAKE], 1.0)
    assert seen.standings[0].remaining == 99
    assert await bench.bounded.amend([Settlement("none", 1)], 1.0) == [False]
    assert (bench.tally, bench.bounded.in_flight) == ({"ok": 3}, 0)


async def test_a_silent_store_is_given_up_at_the_deadline() -> None:
    bench = Bench()
    bench.store.silent = True
    assert await bench.take(NOW) is TIMEOUT
    await a_few_turns()
    assert (bench.tally, bench.bounded.in_flight) == ({"timeout": 1}, 0)


async def test_an_answer_that_is_there_at_the_deadline_counts() -> None:
    assert await Bench().take(NOW) is None


async def test_a_store_that_ignores_its_cancellation_delays_nobody_and_stays_counted() -> None:
    bench = Bench(Stubborn)
    assert isinstance(bench.store, Stubborn)
    assert [await bench.take(NOW) for _ in range(3)] == [TIMEOUT] * 3
    assert bench.bounded.in_flight == 3
    bench.store.let_go.set()
    await a_few_turns()
    assert bench.bounded.in_flight == 0
    (seen,) = await bench.bounded.peek([TAKE], 1.0)
    assert seen.standings[0].remaining == 97  # a take that timed out may have taken


async def test_beyond_the_cap_nothing_waits() -> None:
    bench = Bench(Stubborn, max_in_flight=3)
    assert isinstance(bench.store, Stubborn)
    waiting = [asyncio.ensure_future(bench.take()) for _ in range(3)]
    await asyncio.sleep(0)
    for _ in range(1000):
        assert await bench.take() is DegradedReason.OVERLOADED
    assert bench.bounded.in_flight == 3
    bench.store.let_go.set()
    assert await asyncio.gather(*waiting) == [None] * 3
    assert await bench.take() is None
    assert bench.tally == {"overloaded": 1000, "ok": 4}


@pytest.mark.parametrize("silent", [False, True])
async def test_a_store_that_fails_is_left_alone_and_found_again(silent: bool) -> None:
    bench = Bench()
    bench.store.silent, bench.store.error = silent, Unavailable("gone")
    reason = TIMEOUT if silent else UNAVAILABLE
    assert [await bench.take(FAIR_S) for _ in range(5)] == [reason] * 5
    assert [await bench.take(FAIR_S) for _ in range(20)] == [UNAVAILABLE] * 20
    assert bench.store.calls == 5
    bench.clock.advance(seconds=0.25)
    assert [await bench.take(FAIR_S) for _ in range(3)] == [reason, UNAVAILABLE, UNAVAILABLE]
    assert bench.store.calls == 6
    bench.store.silent, bench.store.error = False, None
    bench.clock.advance(seconds=0.5)
    assert [await bench.take(FAIR_S) for _ in range(3)] == [None] * 3
    assert bench.tally == {"timeout" if silent else "unavailable": 6, "open": 22, "ok": 3}


async def test_only_one_probe_is_out_at_a_time() -> None:
    bench = Bench()
    bench.store.error = Unavailable("gone")
    for _ in range(5):
        await bench.take()
    bench.store.error, bench.store.silent = None, True
    bench.clock.advance(seconds=0.25)
    probe = asyncio.ensure_future(bench.take())
    await asyncio.sleep(0)
    assert [await bench.take() for _ in range(3)] == [UNAVAILABLE] * 3
    probe.cancel()  # whoever asked went away: the next one is the probe
    await asyncio.gather(probe, return_exceptions=True)
    bench.store.silent = False
    assert await bench.take() is None


async def test_callers_in_a_hurry_do_not_shut_the_store_for_others() -> None:
    bench = Bench()
    bench.store.silent = True
    assert [await bench.take(FAIR_S / 100) for _ in range(20)] == [TIMEOUT] * 20
    bench.store.silent = False
    assert await bench.take() is None


async def test_an_operation_that_was_cancelled_inside_the_store_failed() -> None:
    bench = Bench()
    bench.store.error = asyncio.CancelledError()  # type: ignore[assignment]
    assert await bench.take() is UNAVAILABLE


async def test_what_no_store_may_raise_is_passed_on_and_leaves_the_breaker_alone() -> None:
    bench = Bench()
    bench.store.error = RuntimeError("a bug")
    for _ in range(10):
        with pytest.raises(RuntimeError):
            await bench.take()
    assert (bench.tally, bench.store.calls, bench.bounded.in_flight) == ({"error": 10}, 10, 0)


async def test_a_store_in_the_process_is_only_counted() -> None:
    bench = Bench()
    direct = ResilientStore(bench.store, bench.clock, bench.tally, max_in_flight=0, in_process=True)
    (taken,) = await direct.take([TAKE], NOW)
    assert (taken.admitted, bench.tally) == (True, {"ok": 1})


async def test_a_caller_that_goes_away_leaves_nothing_behind() -> None:
    bench = Bench()
    bench.store.silent = True
    asking = asyncio.ensure_future(bench.take())
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await a_few_turns()
    assert (bench.tally, bench.bounded.in_flight) == ({}, 0)
