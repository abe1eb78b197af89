"""Counters in a Redis Cluster whose limits lie in several slots, whose nodes die, and whose slots move."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import count

import pytest

from tests.contract.counter_stores import TOKENS, S, hold, item, remaining, settle, take
from tools.redis_servers import RedisCluster, RedisServer
from usageflow.domain.clock import ManualClock
from usageflow.domain.errors import Unavailable
from usageflow.storage.counters import LimitTake, Take
from usageflow.storage.redis import open_redis
from usageflow.storage.redis.cluster import ClusterServers
from usageflow.storage.redis.cluster_counters import ClusterCounterStore
from usageflow.storage.redis.placing import partition_of, slot_of

_numbers = count(1)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def store(redis_cluster: RedisCluster, clock: ManualClock) -> AsyncIterator[ClusterCounterStore]:
    store = ClusterCounterStore(ClusterServers(redis_cluster.url), clock, f"c{next(_numbers)}")
    await store.restore_windows([])
    yield store
    await store.close()


@pytest.fixture
def own_cluster(redis_cluster: RedisCluster) -> Iterator[RedisCluster]:
    """A cluster of this test alone."""
    with RedisCluster() as cluster:
        yield cluster


def apart(*keys: str) -> tuple[str, ...]:
    assert len({partition_of(key) for key in keys}) == len(keys)
    return keys


HERE, THERE, ELSEWHERE = apart("here", "there", "elsewhere")


def owner(cluster: RedisCluster, key: str) -> RedisServer:
    share = -(-16_384 // len(cluster.nodes))
    return cluster.nodes[slot_of(partition_of(key)) // share]


async def test_a_denial_in_one_slot_is_undone_in_the_others(store: ClusterCounterStore) -> None:
    await take(store, item(THERE, limit=1))
    for _ in range(5):
        denied = await take(store, item(HERE), item(THERE, limit=1), item(ELSEWHERE, algorithm=TOKENS))
        assert [one.remaining for one in denied.standings] == [10, 0, 10]
        assert [one.wait_us == 0 for one in denied.standings] == [True, False, True]
    assert store.undone == 10
    assert [await remaining(store, item(key)) for key in (HERE, THERE, ELSEWHERE)] == [10, 9, 10]


async def test_what_is_charged_stays_charged(store: ClusterCounterStore) -> None:
    await take(store, item(THERE, limit=1))
    denied = await take(store, item(HERE, cost=3, charge_denied=True), item(THERE, limit=1))
    assert (denied.admitted, denied.standings[0].remaining) == (False, 7)


async def test_a_caller_that_dies_before_the_undo_admits_nobody_too_many(
    store: ClusterCounterStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = item(HERE, limit=10, window_us=10 * S, cost=6, algorithm=TOKENS)
    await take(store, item(THERE, limit=1))
    reached = asyncio.Event()

    async def dies(changes: object) -> None:
        reached.set()
        await asyncio.Event().wait()

    with monkeypatch.context() as patch:
        patch.setattr(store, "_end", dies)
        dying = asyncio.create_task(take(store, bucket, item(THERE, limit=1)))
        await reached.wait()
        dying.cancel()
        await asyncio.gather(dying, return_exceptions=True)
    left = bucket._replace(cost=1)
    assert await remaining(store, left) == 4
    clock.advance(seconds=1)
    assert await remaining(store, left) == 4  # held for its second, kept at the end of it
    clock.advance(seconds=6)
    assert await remaining(store, left) == 10


async def test_cancelled_takers_never_leave_more_than_the_limit(store: ClusterCounterStore) -> None:
    taking = [asyncio.create_task(take(store, item(f"own-{n}"), item(THERE, limit=30))) for n in range(60)]
    for n, one in enumerate(taking):
        await asyncio.sleep(0)
        if n % 3 == 0:
            one.cancel()
    answers = await asyncio.gather(*taking, return_exceptions=True)
    admitted = sum(not isinstance(each, BaseException) and each.admitted for each in answers)
    left = await remaining(store, item(THERE, limit=30))
    assert admitted + left <= 30


async def test_100_takers_of_limits_in_two_slots_get_exactly_n(store: ClusterCounterStore) -> None:
    taken = await asyncio.gather(*(take(store, item(f"own-{n}"), item(THERE, limit=37)) for n in range(100)))
    assert sum(one.admitted for one in taken) == 37
    assert [await remaining(store, item(f"own-{n}")) for n in range(100)] == [
        9 if one.admitted else 10 for one in taken
    ]


async def test_100_takers_of_two_scarce_limits_get_no_more_than_either(store: ClusterCounterStore) -> None:
    for turn in range(5):
        here, there = f"{HERE}-{turn}", f"{THERE}-{turn}"
        wanted = item(here, limit=30, algorithm=TOKENS), item(there, limit=35)
        taken = await asyncio.gather(*(take(store, *wanted) for _ in range(100)))
        admitted = sum(one.admitted for one in taken)
        assert admitted <= 30
        assert await remaining(store, wanted[1]) == 35 - admitted


async def test_one_batch_keeps_the_order_of_takes_that_share_counters(store: ClusterCounterStore) -> None:
    first, both = item(HERE, limit=3), (item(HERE, limit=3), item(THERE, limit=2))
    taken = await store.take([Take((first,)), Take(both), Take(both), Take((first,)), Take(both)])
    assert [one.admitted for one in taken] == [True, True, True, False, False]


async def test_a_reservation_in_several_slots_is_settled_from_another_process(
    store: ClusterCounterStore, redis_cluster: RedisCluster, clock: ManualClock
) -> None:
    other = ClusterCounterStore(ClusterServers(redis_cluster.url), clock, f"c{next(_numbers) - 1}")
    await take(store, item(HERE, cost=5), item(THERE, cost=5, algorithm=TOKENS), reserve=hold())
    assert await settle(other, "r1", 2)
    assert await settle(store, "r1", 2)
    assert [await remaining(store, item(HERE)), await remaining(store, item(THERE, algorithm=TOKENS))] == [
        8,
        8,
    ]
    await other.close()


async def test_a_node_that_dies_and_comes_back_empty(own_cluster: RedisCluster) -> None:
    store = ClusterCounterStore(ClusterServers(own_cluster.url), None, "uf")
    await store.restore_windows([])
    keys = [f"k{n}" for n in range(12)]
    for key in keys:
        await take(store, item(key, cost=4))
    saved = await store.changed_windows()
    dead = owner(own_cluster, keys[0])
    dead.kill()
    with pytest.raises(Unavailable):
        await take(store, item(keys[0]))
    alive = next(key for key in keys if owner(own_cluster, key) is not dead)
    assert await remaining(store, item(alive)) == 6
    with pytest.raises(Unavailable):
        await take(store, item(alive), item(keys[0]))
    await asyncio.gather(*store._behind)
    assert await remaining(store, item(alive)) == 6
    dead.start()
    dead.wait_ready()
    own_cluster.wait_ready()
    assert await store.came_back_empty()
    with pytest.raises(Unavailable, match="came back empty"):
        await take(store, item(keys[0]))
    await store.restore_windows(saved)
    assert not await store.came_back_empty()
    assert [await remaining(store, item(key)) for key in keys] == [6] * 12
    await store.close()


async def test_slots_that_move_take_their_counters_with_them(own_cluster: RedisCluster) -> None:
    store = open_redis(own_cluster.url, None)
    await store.restore_windows([])
    wanted: LimitTake = item(HERE)
    assert (await take(store, wanted)).standings[0].remaining == 9
    source, slot = owner(own_cluster, HERE), slot_of(partition_of(HERE))
    target = next(node for node in own_cluster.nodes if node is not source)
    with source.client() as old, target.client() as new:
        names = [client.execute_command("CLUSTER MYID").decode() for client in (old, new)]
        new.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", names[0])
        old.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", names[1])
        assert (await take(store, wanted)).standings[0].remaining == 8
        keys = old.execute_command("CLUSTER GETKEYSINSLOT", slot, 100)
        old.execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
        assert (await take(store, wanted)).standings[0].remaining == 7  # asked of the new one
        for client in (new, old):
            client.execute_command("CLUSTER SETSLOT", slot, "NODE", names[1])
    assert (await take(store, wanted)).standings[0].remaining == 6  # moved there
    assert (await take(store, wanted)).standings[0].remaining == 5
    await store.close()


async def test_scripts_are_loaded_again_on_every_node(
    store: ClusterCounterStore, redis_cluster: RedisCluster
) -> None:
    for left in (9, 8):
        for node in redis_cluster.nodes:
            with node.client() as client:
                client.script_flush()
        taken = await take(store, item(HERE), item(THERE), item(ELSEWHERE))
        assert [one.remaining for one in taken.standings] == [left] * 3


@pytest.mark.parametrize("url", ["redis+cluster://", "http+cluster://a:1"])
def test_another_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="cluster"):
        open_redis(url, None)


async def test_without_any_node_it_is_unavailable() -> None:
    store = open_redis("redis+cluster://127.0.0.1:1,127.0.0.1:2", None)
    with pytest.raises(Unavailable, match="see that it runs"):
        await take(store, item())
    await store.close()
