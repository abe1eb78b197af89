"""Two limits per check on the same store, one process: our counters, `limits` and `throttled-py`.

What waits for nothing is measured in processor time, which a busy machine does not change.

usage: python -m bench.helpers.stores, then {"case": name, "redis": url or "", "checks": how many}
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import redis.asyncio
from limits import RateLimitItemPerHour, RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import FixedWindowRateLimiter, RateLimiter, SlidingWindowCounterRateLimiter
from throttled.asyncio import MemoryStore, RateLimiterType, RedisStore, Throttled, rate_limiter

from bench.helpers.lines import serve
from usageflow.domain.limits import Rule
from usageflow.domain.policies import Algorithm
from usageflow.runtime.clock import SystemClock
from usageflow.storage.counters import CounterStore, LimitTake, Take
from usageflow.storage.memory import MemoryCounterStore
from usageflow.storage.redis import open_redis

IDENTITIES = 1_000
AT_ONCE = 32
"""Checks in flight on a store that is asked over a socket."""

MINUTE_US, HOUR_US = 60_000_000, 3_600_000_000
PLENTY = 10**9
Check = Callable[[int], Awaitable[object]]


def ours(url: str, algorithms: tuple[Algorithm, Algorithm], batch: int = 1) -> Check:
    """Returns a check of our counters, two limits in one take, ``batch`` takes a call."""
    store: CounterStore = open_redis(url, None) if url else MemoryCounterStore(SystemClock())
    opened = not url
    first, second = (
        Rule(algorithm, PLENTY, window)
        for algorithm, window in zip(algorithms, (MINUTE_US, HOUR_US), strict=True)
    )

    async def check(number: int) -> object:
        nonlocal opened
        if not opened:
            opened = True
            await store.restore_windows([])
        return await store.take(
            [
                Take(
                    (
                        LimitTake(f"p|rate|{user % IDENTITIES}", first, 1),
                        LimitTake(f"p|quota|{user % IDENTITIES}", second, 1),
                    )
                )
                for user in range(number, number + batch)
            ]
        )

    return check


def with_limits(url: str, strategy: type[RateLimiter]) -> Check:
    """Returns a check of `limits`: two hits, since it knows no take of several."""
    storage = RedisStorage(f"async+{url}", implementation="redispy") if url else MemoryStorage()
    limiter = strategy(storage)
    rate, quota = RateLimitItemPerMinute(PLENTY), RateLimitItemPerHour(PLENTY)

    async def check(number: int) -> object:
        user = str(number % IDENTITIES)
        return await limiter.hit(rate, user) and await limiter.hit(quota, user)

    return check


def with_throttled(url: str, kind: RateLimiterType) -> Check:
    """Returns a check of `throttled-py`: two limiters, since it knows no take of several."""
    store = RedisStore(server=url) if url else MemoryStore(options={"MAX_SIZE": 10 * IDENTITIES})
    rate = Throttled(using=kind.value, quota=rate_limiter.per_min(PLENTY), store=store, key_prefix="rate")
    quota = Throttled(using=kind.value, quota=rate_limiter.per_hour(PLENTY), store=store, key_prefix="quota")

    async def check(number: int) -> object:
        user = str(number % IDENTITIES)
        await rate.limit(user)
        return await quota.limit(user)

    return check


def least() -> Check:
    """Returns a check that only counts in a dict: what this machine's Python can do at all."""
    counts: dict[int, int] = {}

    async def check(number: int) -> object:
        counts[number % IDENTITIES] = counts.get(number % IDENTITIES, 0) + 1
        return True

    return check


def ping(url: str) -> Check:
    """Returns a bare PING: the most that one process gets out of this Redis, call by call."""
    client = redis.asyncio.from_url(url)

    async def check(number: int) -> object:
        return await client.ping()

    return check


CASES: dict[str, Callable[[str], Check]] = {
    "ours_fixed_window": lambda url: ours(url, (Algorithm.FIXED_WINDOW, Algorithm.FIXED_WINDOW)),
    "ours_token_bucket": lambda url: ours(url, (Algorithm.TOKEN_BUCKET, Algorithm.TOKEN_BUCKET)),
    "ours_token_bucket_batch": lambda url: ours(url, (Algorithm.TOKEN_BUCKET, Algorithm.TOKEN_BUCKET), 100),
    "limits_fixed_window": lambda url: with_limits(url, FixedWindowRateLimiter),
    "limits_sliding_window": lambda url: with_limits(url, SlidingWindowCounterRateLimiter),
    "throttled_fixed_window": lambda url: with_throttled(url, RateLimiterType.FIXED_WINDOW),
    "throttled_token_bucket": lambda url: with_throttled(url, RateLimiterType.TOKEN_BUCKET),
    "throttled_gcra": lambda url: with_throttled(url, RateLimiterType.GCRA),
    "dict": lambda url: least(),
    "ping": ping,
}


class _Stores:
    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._checks: dict[tuple[str, str], Check] = {}

    def answer(self, question: dict[str, Any]) -> float:
        """Returns checks per second."""
        case, url = question["case"], question["redis"]
        check = self._checks.get((case, url)) or CASES[case](url)
        self._checks[case, url] = check
        size = 100 if case.endswith("_batch") else 1
        calls = question["checks"] // size
        clock, at_once = (time.perf_counter, AT_ONCE) if url else (time.process_time, 1)
        return self._loop.run_until_complete(_rate(check, calls, size, at_once, clock))


async def _rate(check: Check, calls: int, size: int, at_once: int, clock: Callable[[], float]) -> float:
    numbers = iter(range(0, calls * size, size))

    async def work() -> None:
        for number in numbers:
            await check(number)

    started = clock()
    await asyncio.gather(*(work() for _ in range(at_once)))
    return calls * size / (clock() - started)


if __name__ == "__main__":
    serve(_Stores().answer)
