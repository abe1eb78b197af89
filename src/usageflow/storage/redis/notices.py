"""Notices by Redis pub/sub. A cluster carries a message from any node to all, so one node is enough."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from redis.asyncio import Redis
from redis.exceptions import RedisError

from usageflow.storage.notices import listen_for_ever

CHANNEL = "uf:changes"

_LOOK_S = 30.0
"""After so long without a message the connection is tried."""

_ANSWER_S = 5.0


class RedisRelay:
    """A Relay over the Redis or the cluster at a checked address. ``tell`` is called for each notice."""

    def __init__(self, url: str, tell: Callable[[], None]) -> None:
        self._urls = nodes_of(url)
        self._tell = tell

    async def run(self) -> None:
        """See Relay."""
        await listen_for_ever(self._listen, self._tell, "Redis")

    async def announce(self) -> None:
        """See Announcing."""
        error: Exception = ConnectionError("no node of Redis is named")
        for url in self._urls:
            try:
                async with _client(url) as client:
                    await client.publish(CHANNEL, b"")
            except (RedisError, OSError) as failed:
                error = failed
                continue
            return
        raise error

    async def _listen(self, tell: Callable[[], None]) -> None:
        self._urls.append(self._urls.pop(0))  # another node at each attempt
        async with _client(self._urls[-1]) as client, client.pubsub() as channel:
            await channel.subscribe(CHANNEL)
            _end_if_cancelled()
            tell()
            while True:
                message = await channel.get_message(ignore_subscribe_messages=True, timeout=_LOOK_S)
                if message is None:
                    await channel.ping()
                    _end_if_cancelled()
                else:
                    tell()


def nodes_of(url: str) -> list[str]:
    """Returns the address of each node that a checked address names."""
    scheme, separator, rest = url.partition("+cluster://")
    if not separator:
        return [url]
    credentials, at, hosts = rest.rpartition("@")
    return [f"{scheme}://{credentials}{at}{host}" for host in hosts.strip("/").split(",")]


def _end_if_cancelled() -> None:
    """redis-py sends by ``asyncio.wait_for``, which before Python 3.12 may lose a cancellation."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _client(url: str) -> Redis:
    return Redis.from_url(url, socket_connect_timeout=_ANSWER_S, protocol=2)
