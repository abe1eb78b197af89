"""Notices of changes between processes, over a real PostgreSQL, Redis and cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from tests.causes import NOBODY
from tools.postgres_servers import PostgresServer
from tools.redis_servers import RedisCluster, RedisServer
from usageflow.domain.clock import ManualClock
from usageflow.domain.errors import FailedPrecondition
from usageflow.domain.usage import EndpointName
from usageflow.storage import notices
from usageflow.storage.notices import Relay, RelayedNotices
from usageflow.storage.redis import RedisRelay
from usageflow.storage.redis.notices import nodes_of
from usageflow.storage.sql import PostgresRelay, SqlControlStore, open_postgres

PATIENCE_S = 30.0


class Heard:
    """Counts what was heard."""

    def __init__(self) -> None:
        self.times = 0
        self._again = asyncio.Event()

    def tell(self) -> None:
        self.times += 1
        self._again.set()

    async def something(self) -> None:
        """Returns once something was heard since the last look."""
        await self._again.wait()
        self._again.clear()

    async def after(self, do: Callable[[], Awaitable[object]]) -> None:
        """Returns once something is heard after ``do``."""
        self._again.clear()
        await do()
        async with asyncio.timeout(PATIENCE_S):
            await self._again.wait()


@asynccontextmanager
async def running(relay: Relay, heard: Heard) -> AsyncIterator[None]:
    """Runs a relay, from when it listens on."""
    task = asyncio.create_task(relay.run())
    async with asyncio.timeout(PATIENCE_S):
        await heard.something()
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_every_change_in_postgresql_is_heard_at_its_commit(postgres_url: str) -> None:
    heard, database = Heard(), open_postgres(postgres_url)
    control = SqlControlStore(database, ManualClock())
    async with running(PostgresRelay(postgres_url, heard.tell), heard):
        await heard.after(lambda: control.create_application("demo", [], cause=NOBODY))
        application = await control.find_application("demo")
        assert application is not None
        route = [EndpointName("GET", "/a")]
        await heard.after(lambda: control.register_endpoints(application.application_id, route, now_us=1))
        before = heard.times
        with pytest.raises(FailedPrecondition):
            await control.create_application("demo", [], cause=NOBODY)
        await control.register_endpoints(application.application_id, route, now_us=2)
        await heard.after(lambda: control.create_application("other", [], cause=NOBODY))
        assert heard.times == before + 1
    await database.close()


async def test_it_listens_again_after_postgresql_went(
    own_postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "PAUSE_S", 0.05)
    heard = Heard()
    async with running(PostgresRelay(own_postgres.url(), heard.tell), heard):
        await heard.after(lambda: asyncio.to_thread(own_postgres.restart))
        notify = "NOTIFY usageflow_changes"
        await heard.after(lambda: asyncio.to_thread(own_postgres.execute, notify))


async def test_redis_tells_the_other_processes(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "PAUSE_S", 0.05)
    heard, published = Heard(), RelayedNotices()
    published.announce_by(RedisRelay(own_redis.url, published.wake))

    async def publish() -> None:
        published.publish()

    async with running(RedisRelay(own_redis.url, heard.tell), heard):
        await heard.after(publish)
        await asyncio.wait_for(published.wait(), PATIENCE_S)
        await heard.after(lambda: asyncio.to_thread(own_redis.restart))
        await heard.after(publish)
    own_redis.kill()
    published.publish()
    await asyncio.wait_for(published.wait(), PATIENCE_S)  # this process hears of it all the same
    await asyncio.gather(*published._tasks)


async def test_any_node_of_a_cluster_tells_the_others(redis_cluster: RedisCluster) -> None:
    heard, other = Heard(), RedisRelay(redis_cluster.url, lambda: None)
    other._urls.reverse()
    async with running(RedisRelay(redis_cluster.url, heard.tell), heard):
        await heard.after(other.announce)


def test_the_nodes_of_an_address() -> None:
    assert nodes_of("redis://a:1/2") == ["redis://a:1/2"]
    named = "rediss+cluster://u:p@a:1,b:2/"
    assert nodes_of(named) == ["rediss://u:p@a:1", "rediss://u:p@b:2"]


async def test_a_listener_ends_whenever_it_is_cancelled(redis_server: RedisServer) -> None:
    """Before Python 3.12 a cancellation is lost where it meets redis-py while it sends; so each point of the start is tried."""
    for turns in range(60):
        task = asyncio.create_task(RedisRelay(redis_server.url, lambda: None).run())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        ended, _ = await asyncio.wait([task], timeout=PATIENCE_S)
        assert ended, f"cancelled after {turns} turns, it listens on"
