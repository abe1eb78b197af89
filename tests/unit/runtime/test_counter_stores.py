from __future__ import annotations

import pytest

from usageflow.domain.clock import ManualClock
from usageflow.runtime.counter_stores import checked_redis_url, open_counters
from usageflow.storage.memory import MemoryCounterStore
from usageflow.storage.redis.counters import RedisCounterStore


def test_without_an_address_counters_are_in_memory() -> None:
    assert isinstance(open_counters("", ManualClock()), MemoryCounterStore)


def test_an_address_opens_redis_without_asking_it() -> None:
    assert isinstance(open_counters("redis://127.0.0.1:1", ManualClock()), RedisCounterStore)


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1",
        "redis://127.0.0.1:6379/3",
        "rediss://user:pass@redis.example.com:6380/",
        "redis://[::1]:6379?socket_timeout=1",
        "redis+cluster://10.0.0.1:7000",
        "redis+cluster://user:pass@10.0.0.1:7000,10.0.0.2:7000,[::1]:7001",
        "rediss+cluster://a.example.com,b.example.com:7000",
    ],
)
def test_addresses_of_redis(url: str) -> None:
    assert checked_redis_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:6379",
        "http://127.0.0.1",
        "redis://",
        "redis://:secret@",
        "redis://h:0",
        "redis://h:65536",
        "redis://h:secret",
        "redis://[::1",
        "redis://h/secret",
        "redis+cluster://h/1",
        "redis://h#secret",
    ],
)
def test_what_is_none(url: str) -> None:
    with pytest.raises(ValueError, match=": ") as error:
        checked_redis_url(url)
    assert "secret" not in str(error.value)
