"""The back ends of CounterStore, and short ways to ask one. Add a back end here and the whole contract runs on it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from usageflow.domain.clock import ManualClock
from usageflow.domain.limits import Rule
from usageflow.domain.policies import Algorithm
from usageflow.storage.counters import CounterStore, LimitTake, Reserve, Take, Taken
from usageflow.storage.memory import MemoryCounterStore

S = 1_000_000
HOUR = 3600 * S
FIXED, TOKENS = Algorithm.FIXED_WINDOW, Algorithm.TOKEN_BUCKET
BOTH = [FIXED, TOKENS]

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
) -> LimitTake:
    return LimitTake(key, Rule(algorithm, limit, window_us, burst), cost)


def hold(clock: ManualClock, name: str = "r1", *, seconds: int = 60, refund: bool = False) -> Reserve:
    return Reserve(name, clock.now_us() + seconds * S, refund)


async def take(store: CounterStore, *items: LimitTake, reserve: Reserve | None = None) -> Taken:
    (taken,) = await store.take([Take(items, reserve)])
    return taken


async def remaining(store: CounterStore, wanted: LimitTake) -> int:
    (seen,) = await store.peek([Take((wanted,))])
    return seen.standings[0].remaining
