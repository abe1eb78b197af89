"""Counters in a Redis that dies, stalls, forgets or refuses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import count

import pytest

from tests.contract.counter_stores import item, remaining, take
from tests.integration.fake_redis import FakeRedis
from tools.redis_servers import RedisServer, paused
from usageflow.domain.errors import Unavailable
from usageflow.storage.counters import CounterStore, Release, Take
from usageflow.storage.redis import link, open_redis
from usageflow.storage.redis.link import MAX_WAITING

_numbers = count(1)


@pytest.fixture
async def store(own_redis: RedisServer) -> AsyncIterator[CounterStore]:
    """Counters as in production: by Redis's own time."""
    store = open_redis(own_redis.url, None)
    await store.restore_windows([])
    yield store
    await store.close()


@pytest.fixture
async def shared_store(redis_server: RedisServer) -> AsyncIterator[CounterStore]:
    store = open_redis(redis_server.url, None, prefix=f"i{next(_numbers)}")
    await store.restore_windows([])
    yield store
    await store.close()


async def test_killed_and_started_again_empty(store: CounterStore, own_redis: RedisServer) -> None:
    await take(store, item(limit=10, cost=7))
    saved = await store.changed_windows()
    own_redis.kill()
    for _ in range(3):
        with pytest.raises(Unavailable, match="see that it runs"):
            await take(store, item())
    with pytest.raises(Unavailable):
        await store.came_back_empty()
    own_redis.start()
    own_redis.wait_ready()
    with pytest.raises(Unavailable, match="came back empty"):
        await take(store, item())
    with pytest.raises(Unavailable, match="came back empty"):
        await store.amend([Release("a")])
    assert await store.came_back_empty()
    await store.restore_windows(saved)
    assert not await store.came_back_empty()
    assert await remaining(store, item()) == 3


async def test_emptied_while_it_runs(store: CounterStore, own_redis: RedisServer) -> None:
    await take(store, item(cost=4))
    with own_redis.client() as client:
        client.flushall()
    with pytest.raises(Unavailable, match="came back empty"):
        await remaining(store, item())
    assert await store.came_back_empty()


async def test_scripts_are_loaded_again_when_redis_forgets_them(
    store: CounterStore, own_redis: RedisServer
) -> None:
    with own_redis.client() as client:
        for left in (9, 8, 7):
            client.script_flush()
            taken = await asyncio.gather(take(store, item()), take(store, item("other", limit=10**6)))
            assert taken[0].standings[0].remaining == left


async def test_a_stalled_redis_fails_callers_in_time_and_mixes_nothing_up(
    store: CounterStore, own_redis: RedisServer
) -> None:
    await take(store, item())  # the script is known from now on
    with paused(own_redis):
        late = [asyncio.create_task(take(store, item(f"late-{n}", cost=9))) for n in range(50)]
        await asyncio.sleep(0.05)
        for each in late[:25]:
            each.cancel()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await take(store, item("mine", cost=9))
    taken = await asyncio.gather(*(take(store, item(f"own-{n}", limit=100 + n)) for n in range(50)))
    assert [one.standings[0].remaining for one in taken] == [99 + n for n in range(50)]
    answers = await asyncio.gather(*late, return_exceptions=True)
    assert all(isinstance(each, asyncio.CancelledError) for each in answers[:25])
    assert [await remaining(store, item(f"late-{n}")) for n in range(50)] == [1] * 50


async def test_what_waits_for_a_stalled_redis_is_bounded(store: CounterStore, own_redis: RedisServer) -> None:
    with paused(own_redis):
        waiting = [asyncio.create_task(take(store, item(f"k{n}"))) for n in range(MAX_WAITING)]
        await asyncio.sleep(0.1)
        with pytest.raises(Unavailable, match="calls behind"):
            await take(store, item())
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_connection_that_answers_nothing_is_given_up(
    store: CounterStore, own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "STALLED_S", 0.05)
    monkeypatch.setattr(link, "CONNECT_S", 0.1)
    with paused(own_redis):
        late = asyncio.create_task(take(store, item()))
        await asyncio.sleep(0.1)
        with pytest.raises(Unavailable, match="no answer"):
            await take(store, item())
        with pytest.raises(Unavailable, match="connection was lost"):
            await late
        with pytest.raises(Unavailable, match="did not answer"):
            await take(store, item())
    assert (await take(store, item())).admitted


async def test_cancelled_callers_never_leave_their_answer_to_the_next(shared_store: CounterStore) -> None:
    for n in range(200):
        gone = asyncio.create_task(take(shared_store, item(f"gone-{n}", cost=10)))
        for _ in range(n % 5):
            await asyncio.sleep(0)
        gone.cancel()
        taken = await take(shared_store, item(f"kept-{n}", limit=n + 2))
        assert taken.standings[0].remaining == n + 1
        await asyncio.gather(gone, return_exceptions=True)


async def test_100_takers_through_two_objects_admit_exactly_n(own_redis: RedisServer) -> None:
    stores = [open_redis(own_redis.url, None) for _ in range(2)]
    await stores[0].restore_windows([])
    taken = await asyncio.gather(*(take(stores[n % 2], item(limit=37)) for n in range(100)))
    assert sum(one.admitted for one in taken) == 37
    for each in stores:
        await each.close()


async def test_a_closed_store_may_be_used_again(shared_store: CounterStore) -> None:
    await take(shared_store, item())
    await shared_store.close()
    assert await remaining(shared_store, item()) == 9


async def test_a_replica_refuses_to_write(own_redis: RedisServer, redis_server: RedisServer) -> None:
    store = open_redis(own_redis.url, None)
    await store.restore_windows([])
    await take(store, item())
    with own_redis.client() as client:
        client.config_set("replica-serve-stale-data", "yes")
        client.replicaof("127.0.0.1", str(own_redis.bus_port))  # nobody listens there
        with pytest.raises(Unavailable, match="read-only replica"):
            await take(store, item())
    await store.close()


async def test_full_memory_changes_nothing(store: CounterStore, own_redis: RedisServer) -> None:
    await take(store, item(cost=4))
    with own_redis.client() as client:
        client.config_set("maxmemory", "1mb")
        with pytest.raises(Unavailable, match="maxmemory"):
            await take(store, item(), item("other"))
        client.config_set("maxmemory", "0")
    assert await remaining(store, item()) == 6


@pytest.mark.parametrize(
    ("answer", "advice"),
    [
        ("-LOADING Redis is loading the dataset in memory", "wait until it has read"),
        ("-READONLY You can't write against a read only replica.", "name the primary"),
        ("-MOVED 866 127.0.0.1:7001", "redis\\+cluster://"),
        ("-CLUSTERDOWN The cluster is down", "cluster info"),
        ("-MASTERDOWN Link with MASTER is down", "fail over"),
        ("-MISCONF Redis is configured to save RDB snapshots, but", "free its disk"),
        ("-OOM command not allowed when used memory > 'maxmemory'.", "raise its maxmemory"),
        ("-NOREPLICAS Not enough good replicas to write.", "min-replicas-to-write"),
        ("-BUSY Redis is busy running a script.", "SCRIPT KILL"),
        ("-NOAUTH Authentication required.", "USAGEFLOW_REDIS_URL"),
        ("-NOPERM this user has no permissions to run the 'evalsha' command", "allow EVALSHA"),
        ("-ERR user_script:1: attempt to index a nil value", "please report it"),
        ("!what is this", "see that it runs"),
    ],
)
async def test_every_refusal_says_what_to_do(answer: str, advice: str) -> None:
    async with FakeRedis(answer).running() as url:
        store = open_redis(url, None)
        with pytest.raises(Unavailable, match=advice):
            await store.take([Take((item(),))])
        await store.close()


async def test_time_is_redis_s_own_and_nothing_is_sent_twice() -> None:
    fake = FakeRedis("-ERR no")
    async with fake.running() as url:
        store = open_redis(url, None)
        for call in (
            store.take([Take((item(),))]),
            store.peek([Take((item(),))]),
            store.amend([Release("a")]),
        ):
            with pytest.raises(Unavailable):
                await call
        await store.close()
    assert [command[0] for command in fake.asked] == [b"EVALSHA"] * 3
    for command in fake.asked:
        keys = int(command[2])
        assert command[3 + keys + 1] == b"0"


async def test_a_password_that_is_wrong(own_redis: RedisServer) -> None:
    store = open_redis(own_redis.url.replace("//", "//:wrong@"), None)
    with pytest.raises(Unavailable, match="refuses the user or password"):
        await take(store, item())
    await store.close()


@pytest.mark.parametrize("url", ["http://localhost", "localhost:6379", ""])
def test_another_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="redis"):
        open_redis(url, None)
