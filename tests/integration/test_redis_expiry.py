"""Redis gives the memory of idle counters back by itself, and never too early."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import count

import pytest

from tests.contract.counter_stores import (
    CONCURRENCY,
    FIXED,
    HOUR,
    SLIDING,
    TOKENS,
    S,
    hold,
    item,
    settle,
    take,
)
from tools.redis_servers import RedisServer
from usageflow.domain.policies import Algorithm
from usageflow.storage.counters import CounterStore, LeaseAsk, Take
from usageflow.storage.redis import open_redis

_numbers = count(1)
MARGIN_S = 60


@pytest.fixture
def prefix() -> str:
    return f"e{next(_numbers)}"


@pytest.fixture
async def store(redis_server: RedisServer, prefix: str) -> AsyncIterator[CounterStore]:
    store = open_redis(redis_server.url, None, prefix=prefix)
    await store.restore_windows([])
    yield store
    await store.close()


def lives(redis_server: RedisServer, prefix: str) -> dict[str, float]:
    """How many seconds each key has left, by what follows the partition."""
    with redis_server.client() as client:
        keys = [key for key in client.scan_iter(f"{prefix}:*", count=10_000) if not key.endswith(b"epoch")]
        return {key.decode().partition("}:")[2]: client.pttl(key) / 1000 for key in keys}


@pytest.mark.parametrize(
    ("algorithm", "seconds"), [(FIXED, 3600), (TOKENS, 360), (SLIDING, 7200), (CONCURRENCY, 3600)]
)
async def test_a_counter_lives_until_it_says_nothing(
    store: CounterStore, redis_server: RedisServer, prefix: str, algorithm: Algorithm, seconds: int
) -> None:
    await store.take([Take((item(algorithm=algorithm),), slot_id="a")])
    left = lives(redis_server, prefix)["c:k"]
    least = seconds / 2 if algorithm is SLIDING else seconds  # its windows began before
    assert least + MARGIN_S - 5 < left <= seconds + 2 * MARGIN_S
    if algorithm is CONCURRENCY:
        assert lives(redis_server, prefix)["s:a"] == pytest.approx(left, abs=5)


async def test_what_is_held_keeps_a_bucket_and_its_record(
    store: CounterStore, redis_server: RedisServer, prefix: str
) -> None:
    bucket = item(window_us=S, cost=4, algorithm=TOKENS)  # full again after 0.4 s
    await take(store, bucket, reserve=hold("r1", seconds=600))
    left = lives(redis_server, prefix)
    assert set(left) == {"c:k", "h:k", "r:r1"}
    assert all(600 + MARGIN_S - 5 < each <= 601 + 2 * MARGIN_S for each in left.values())


async def test_a_settled_record_is_kept_no_longer(
    store: CounterStore, redis_server: RedisServer, prefix: str
) -> None:
    await take(store, item(cost=4), reserve=hold("r1", seconds=60))
    before = lives(redis_server, prefix)["r:r1"]
    assert await settle(store, "r1", 1)
    assert before - 5 < lives(redis_server, prefix)["r:r1"] <= before


async def test_a_lease_s_record_outlives_its_windows(
    store: CounterStore, redis_server: RedisServer, prefix: str
) -> None:
    await store.take([Take((item(limit=100),), lease=LeaseAsk("l1", 5, S))])
    assert lives(redis_server, prefix)["r:l1"] > HOUR / S + MARGIN_S - 5


async def test_every_key_expires(store: CounterStore, redis_server: RedisServer, prefix: str) -> None:
    for n in range(20):
        for algorithm in Algorithm:
            await store.take([Take((item(f"{algorithm}-{n % 3}", algorithm=algorithm),), slot_id=f"s{n}")])
        await take(store, item("held", limit=99), reserve=hold(f"r{n}", refund=True))
    left = lives(redis_server, prefix)
    assert len(left) > 20
    assert min(left.values()) > 0
