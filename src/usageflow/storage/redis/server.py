"""Where scripts run: a single Redis. All of its counters are one partition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from redis.asyncio.connection import AbstractConnection, Connection, parse_url
from redis.exceptions import RedisError

from usageflow.storage.redis.errors import unavailable
from usageflow.storage.redis.link import Argument, Link, Reply
from usageflow.storage.redis.scripts import Script


class Servers(Protocol):
    """Runs scripts on partitions, wherever these are."""

    @property
    def partitions(self) -> int:
        """How many there are; each is an atomic whole."""

    async def run(self, partition: int, script: Script, keys: list[str], arguments: list[Argument]) -> Reply:
        """Runs a script once. Raises Unavailable; after a timeout it may have run."""

    async def call(self, partition: int, *command: Argument) -> Reply:
        """Sends a command that may be repeated. Raises Unavailable."""

    async def call_each(self, commands: Sequence[tuple[int, tuple[Argument, ...]]]) -> list[Reply]:
        """Sends a command that may be repeated to each partition, those of one node in one piece. Raises Unavailable."""

    async def close(self) -> None:
        """Closes all connections."""


class SingleServer:
    """Servers on one Redis."""

    partitions = 1

    def __init__(self, url: str) -> None:
        """Raises ValueError for a URL that is none of redis://, rediss:// or unix://. Connects at the first call."""
        self._options: dict[str, Any] = {"protocol": 2, **parse_url(url), "socket_timeout": None}
        self._kind: type[AbstractConnection] = self._options.pop("connection_class", Connection)
        self._link = Link(self._connect, self._address())

    def _connect(self) -> AbstractConnection:
        return self._kind(**self._options)

    def _address(self) -> str:
        path = self._options.get("path")
        return str(path or f"{self._options.get('host', 'localhost')}:{self._options.get('port', 6379)}")

    async def run(self, partition: int, script: Script, keys: list[str], arguments: list[Argument]) -> Reply:
        """See Servers.run."""
        try:
            return await self._link.run(script, keys, arguments)
        except RedisError as error:
            raise unavailable(error, self._link.address) from error

    async def call(self, partition: int, *command: Argument) -> Reply:
        """See Servers.call."""
        try:
            return await self._link.call(*command)
        except RedisError as error:
            raise unavailable(error, self._link.address) from error

    async def call_each(self, commands: Sequence[tuple[int, tuple[Argument, ...]]]) -> list[Reply]:
        """See Servers.call_each."""
        return [await self.call(partition, *command) for partition, command in commands]

    async def close(self) -> None:
        """See Servers.close."""
        await self._link.close()
