"""The back ends of CounterStore, and short ways to ask one. Add a back end here and the whole contract runs on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count

import pytest

from tools.redis_servers import RedisCluster, RedisServer
from usageflow.domain.calendars import LONGEST_US, Calendar, bounds_of
from usageflow.domain.clock import ManualClock
from usageflow.domain.limits import Rule
from usageflow.domain.policies import Algorithm
from usageflow.storage.counters import CounterStore, LimitTake, Reserve, Settlement, Take, Taken
from usageflow.storage.memory import MemoryCounterStore
from usageflow.storage.redis.cluster import ClusterServers
from usageflow.storage.redis.cluster_counters import ClusterCounterStore
from usageflow.storage.redis.counters import RedisCounterStore
from usageflow.storage.redis.server import SingleServer

S = 1_000_000
HOUR = 3600 * S
FIXED, TOKENS, SLIDING, CONCURRENCY = Algorithm
EVERY = [FIXED, TOKENS, SLIDING]
"""What counts units; CONCURRENCY counts members, in test_counter_slots.py."""

Maker = Callable[[ManualClock], Awaitable[CounterStore]]
"""Makes counters that decide, with nothing in them."""

_numbers = count(1)


@asynccontextmanager
async def _in_memory(request: pytest.FixtureRequest) -> AsyncIterator[Maker]:
    async def make(clock: ManualClock) -> CounterStore:
        return MemoryCounterStore(clock)

    yield make


@asynccontextmanager
async def _in_redis(request: pytest.FixtureRequest) -> AsyncIterator[Maker]:
    server: RedisServer = request.getfixturevalue("redis_server")
    servers = SingleServer(server.url)

    async def make(clock: ManualClock) -> CounterStore:
        store = RedisCounterStore(servers, clock, f"t{next(_numbers)}")
        await store.restore_windows([])
        return store

    yield make
    await servers.close()


@asynccontextmanager
async def _in_cluster(request: pytest.FixtureRequest) -> AsyncIterator[Maker]:
    cluster: RedisCluster = request.getfixturevalue("redis_cluster")
    servers = ClusterServers(cluster.url)

    async def make(clock: ManualClock) -> CounterStore:
        store = ClusterCounterStore(servers, clock, f"t{next(_numbers)}")
        await store.restore_windows([])
        return store

    yield make
    await servers.close()


BackEnd = Callable[[pytest.FixtureRequest], AbstractAsyncContextManager[Maker]]
BACK_ENDS: dict[str, BackEnd] = {"memory": _in_memory, "redis": _in_redis, "redis-cluster": _in_cluster}


async def sweeps(store: CounterStore, count: int) -> bool:
    """Sweeps; tells whether so many states went. Exclusion: Redis gives memory back by expiry, so there sweep has nothing to
    count; tests/integration/test_redis_expiry.py proves that it does.
    """
    return await store.sweep() == (count if isinstance(store, MemoryCounterStore) else 0)


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
