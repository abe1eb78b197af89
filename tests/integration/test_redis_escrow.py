"""Limits that all identities share, on a cluster: taken from chunks that each process leases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from itertools import count

import pytest

from tests.contract.counter_stores import FIXED, TOKENS, S, hold, item, remaining, settle, take
from tools.redis_servers import RedisCluster
from usageflow.domain.clock import ManualClock
from usageflow.domain.policies import Algorithm
from usageflow.storage.counters import LimitTake, Take
from usageflow.storage.redis.cluster import ClusterServers
from usageflow.storage.redis.cluster_counters import ClusterCounterStore
from usageflow.storage.redis.placing import partition_of

_numbers = count(1)
ESCROWED = [FIXED, TOKENS]
Opener = Callable[[], Awaitable[ClusterCounterStore]]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def open_store(redis_cluster: RedisCluster, clock: ManualClock) -> AsyncIterator[Opener]:
    """Opens the same counters once more, as another process would."""
    prefix = f"s{next(_numbers)}"
    async with AsyncExitStack() as closing:

        async def open_store() -> ClusterCounterStore:
            store = ClusterCounterStore(ClusterServers(redis_cluster.url), clock, prefix)
            closing.push_async_callback(store.close)
            return store

        await (await open_store()).restore_windows([])
        yield open_store


@pytest.fixture
async def store(open_store: Opener) -> ClusterCounterStore:
    return await open_store()


def shared(
    limit: int = 1000, cost: int = 1, algorithm: Algorithm = FIXED, window_us: int = 3600 * S
) -> LimitTake:
    return item("app|p|l|SHARED", limit, window_us, cost, algorithm)


@pytest.mark.parametrize("algorithm", ESCROWED)
@pytest.mark.parametrize("cost", [1, 3])
async def test_one_process_admits_exactly_the_limit(
    store: ClusterCounterStore, algorithm: Algorithm, cost: int
) -> None:
    taken = [await take(store, shared(500, cost, algorithm), item(f"own-{n}")) for n in range(550)]
    assert sum(one.admitted for one in taken) == 500 // cost
    assert store.escrow.served > 300 / cost
    assert store.escrow.grants < store.escrow.served / 3


@pytest.mark.parametrize("algorithm", ESCROWED)
async def test_processes_together_admit_exactly_the_limit(open_store: Opener, algorithm: Algorithm) -> None:
    stores = [await open_store() for _ in range(3)]
    wanted = shared(400, algorithm=algorithm)
    taken = await asyncio.gather(*(take(stores[n % 3], wanted, item(f"own-{n}")) for n in range(600)))
    admitted = sum(one.admitted for one in taken)
    assert admitted <= 400
    for each in stores[1:]:
        await each.close()
    await stores[0].escrow.close()
    admitted += sum([(await take(stores[0], wanted)).admitted for _ in range(400 - admitted + 5)])
    assert admitted == 400


async def test_a_batch_is_served_from_one_chunk(store: ClusterCounterStore) -> None:
    taken = await store.take([Take((shared(), item(f"own-{n}"))) for n in range(100)])
    assert all(one.admitted for one in taken)
    assert (store.escrow.grants, store.escrow.served) == (1, 100)
    assert taken[-1].standings[0].remaining == 1000 - 100
    assert taken[-1].standings[1].remaining == 9


async def test_what_another_limit_denies_goes_back_to_the_chunk(store: ClusterCounterStore) -> None:
    for _ in range(30):
        await take(store, shared(), item("full", limit=1))
    await store.escrow.close()
    assert await remaining(store, shared()) == 999


async def test_closing_gives_chunks_back(open_store: Opener, store: ClusterCounterStore) -> None:
    other = await open_store()
    for _ in range(7):
        await take(other, shared(algorithm=TOKENS))
    assert await remaining(store, shared(algorithm=TOKENS)) < 993
    await other.close()
    assert await remaining(store, shared(algorithm=TOKENS)) == 993


async def test_idle_chunks_are_given_back_by_sweeping(store: ClusterCounterStore) -> None:
    await take(store, shared())
    await store.sweep()
    assert await remaining(store, shared()) < 999
    await store.sweep()
    assert await remaining(store, shared()) == 999


async def test_a_process_that_dies_keeps_what_it_leased(
    open_store: Opener, store: ClusterCounterStore, clock: ManualClock
) -> None:
    dying = await open_store()
    await take(dying, shared(100))
    dying.escrow._chunks.clear()
    left = await remaining(store, shared(100))
    assert left < 99
    clock.advance(seconds=20)
    assert await remaining(store, shared(100)) == left


async def test_a_chunk_never_outlives_its_window(store: ClusterCounterStore, clock: ManualClock) -> None:
    wanted = shared(100, window_us=5 * S)
    await take(store, wanted)
    clock.advance(seconds=5)
    taken = [await take(store, wanted) for _ in range(120)]
    assert sum(one.admitted for one in taken) == 100


async def test_a_bucket_admits_no_more_than_burst_and_rate(
    store: ClusterCounterStore, clock: ManualClock
) -> None:
    wanted = shared(100, algorithm=TOKENS, window_us=10 * S)  # ten a second
    admitted = 0
    for _ in range(50):
        taken = [await take(store, wanted) for _ in range(9)]
        admitted += sum(one.admitted for one in taken)
        clock.advance(seconds=0.1)
    assert 100 + 35 <= admitted <= 100 + 50


async def test_a_changed_limit_acts_at_once(store: ClusterCounterStore) -> None:
    for _ in range(10):
        await take(store, shared(1000))
    assert not (await take(store, shared(10))).admitted
    assert (await take(store, shared(20))).standings[0].remaining == 9


async def test_whoever_holds_units_asks_the_counter_itself(store: ClusterCounterStore) -> None:
    await take(store, shared(cost=5), item("own", cost=5), reserve=hold())
    assert store.escrow.grants == 0
    assert await settle(store, "r1", 2)
    assert await remaining(store, shared()) == 998


async def test_shared_limits_are_not_all_in_one_slot() -> None:
    assert len({partition_of(f"app|p{n}|l|SHARED") for n in range(50)}) > 30
