"""The back ends of CounterStore, and short ways to ask one. Add a back end here and the whole contract runs on it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from usageflow.domain.calendars import LONGEST_US, Calendar, bounds_of
from usageflow.domain.clock import ManualClock
from usageflow.domain.limits import Rule
from usageflow.domain.policies import Algorithm
from usageflow.storage.counters import CounterStore, LimitTake, Reserve, Settlement, Take, Taken
from usageflow.storage.memory import MemoryCounterStore

S = 1_000_000
HOUR = 3600 * S
FIXED, TOKENS, SLIDING, CONCURRENCY = Algorithm
EVERY = [FIXED, TOKENS, SLIDING]
"""What counts units; CONCURRENCY counts members, in test_counter_slots.py."""

Maker = Callable[[ManualClock], CounterStore]

BACK_ENDS: dict[str, Maker] = {"memory": MemoryCounterStore}
back_ends = pytest.mark.parametrize("make", BACK_ENDS.values(), ids=BACK_ENDS)


def item(
    key: str = "k",
    limit: int = 10,
    window_us: int = HOUR,
    cost: int = 1,
    algorithm: Algorithm = FIXED,
    burst: int = 0,
    *,
    charge_denied: bool = False,
) -> LimitTake:
    return LimitTake(key, Rule(algorithm, limit, window_us, burst, None, charge_denied), cost)


def dated(
    clock: ManualClock, wanted: Calendar, key: str = "k", limit: int = 10, cost: int = 1, *, skew_us: int = 0
) -> LimitTake:
    """A take from a window of a calendar, as a caller makes it whose clock is ``skew_us`` ahead of the store's."""
    rule = Rule(FIXED, limit, LONGEST_US[wanted.alignment], calendar=wanted)
    return LimitTake(key, rule, cost, bounds_of(wanted, clock.now_us() + skew_us))


def hold(name: str = "r1", *, seconds: int = 60, refund: bool = False) -> Reserve:
    return Reserve(name, seconds * S, refund)


async def take(store: CounterStore, *items: LimitTake, reserve: Reserve | None = None) -> Taken:
    (taken,) = await store.take([Take(items, reserve)])
    return taken


async def settle(store: CounterStore, reservation_id: str, actual: int) -> bool:
    (settled,) = await store.amend([Settlement(reservation_id, actual)])
    return settled


async def remaining(store: CounterStore, wanted: LimitTake) -> int:
    (seen,) = await store.peek([Take((wanted,))])
    return seen.standings[0].remaining
