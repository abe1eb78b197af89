"""Where scripts run: a Redis Cluster. It follows the slots where they go, and sends nothing twice that may have run."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from redis.asyncio.connection import AbstractConnection, Connection, parse_url
from redis.exceptions import AskError, MovedError, RedisError

from usageflow.domain.errors import Unavailable
from usageflow.storage.redis.errors import unavailable
from usageflow.storage.redis.link import Argument, Link, Reply
from usageflow.storage.redis.placing import PARTITIONS, slot_of
from usageflow.storage.redis.scripts import Script

_MOST_MOVES = 3
"""How often a call follows a slot that has moved."""

_PAUSE_S = 0.1
"""Between two looks at who owns which slots, where a node does not answer."""

Address = tuple[str, int]


class ClusterServers:
    """Servers on a cluster: one connection per node, made when it is needed."""

    partitions = PARTITIONS

    def __init__(self, url: str) -> None:
        """Raises ValueError for a URL that is not redis+cluster://host:port,... or rediss+cluster://..."""
        scheme, _, rest = url.partition("+cluster://")
        if scheme not in {"redis", "rediss"} or not rest:
            raise ValueError("write redis+cluster://[user:password@]host:port,host:port")
        credentials, at, hosts = rest.rpartition("@")
        found = [parse_url(f"{scheme}://{credentials}{at}{host}") for host in hosts.split(",")]
        self._options: dict[str, Any] = {"protocol": 2, **found[0], "socket_timeout": None}
        self._kind: type[AbstractConnection] = self._options.pop("connection_class", Connection)
        self._seeds = [(str(each.get("host", "localhost")), int(each.get("port", 6379))) for each in found]
        self._links: dict[Address, Link] = {}
        self._owners: dict[int, Link] = {}
        self._looking: asyncio.Task[None] | None = None
        self._looked_s = float("-inf")
        self._stale = True

    async def run(self, partition: int, script: Script, keys: list[str], arguments: list[Argument]) -> Reply:
        """See Servers.run."""
        command = ("EVAL", script.body, str(len(keys)), *keys, *arguments)
        return await self._routed(partition, lambda link: link.run(script, keys, arguments), command)

    async def call(self, partition: int, *command: Argument) -> Reply:
        """See Servers.call."""
        return await self._routed(partition, lambda link: link.call(*command), command)

    async def call_each(self, commands: Sequence[tuple[int, tuple[Argument, ...]]]) -> list[Reply]:
        """See Servers.call_each."""
        nodes: dict[Link, list[int]] = {}
        for place, (partition, _) in enumerate(commands):
            nodes.setdefault(await self._owner(partition), []).append(place)
        answers: list[Reply] = [None] * len(commands)

        async def ask(link: Link, places: list[int]) -> None:
            try:
                told = await link.call_all([commands[place][1] for place in places])
            except Unavailable:
                self._stale = True
                raise
            for place, answer in zip(places, told, strict=True):
                moved = isinstance(answer, RedisError)
                answers[place] = await self.call(commands[place][0], *commands[place][1]) if moved else answer

        await asyncio.gather(*(ask(link, places) for link, places in nodes.items()))
        return answers

    async def _routed(
        self, partition: int, send: Callable[[Link], Awaitable[Reply]], command: tuple[Argument, ...]
    ) -> Reply:
        """Sends to the owner of a partition; ``command`` is what to say where the partition is just moving to."""
        for _ in range(_MOST_MOVES):
            link = await self._owner(partition)
            try:
                return await send(link)
            except AskError as asked:
                return await self._ask(self._link((asked.host, asked.port)), command)
            except MovedError as moved:
                self._owners[partition] = self._link((moved.host, moved.port))
                self._stale = True
            except Unavailable:
                self._stale = True
                raise
            except RedisError as error:
                raise unavailable(error, link.address) from error
        raise Unavailable(
            "a slot of the Redis cluster moves from node to node: see `redis-cli --cluster check`"
        )

    async def _ask(self, link: Link, command: tuple[Argument, ...]) -> Reply:
        _, answer = await link.call_all([("ASKING",), command])
        if isinstance(answer, RedisError):
            raise unavailable(answer, link.address) from answer
        return answer

    async def _owner(self, partition: int) -> Link:
        loop = asyncio.get_running_loop()
        if partition not in self._owners or (self._stale and loop.time() - self._looked_s > _PAUSE_S):
            if self._looking is None:
                self._looking = asyncio.create_task(self._look())
                self._looking.add_done_callback(self._looked)
            await asyncio.shield(self._looking)
        owner = self._owners.get(partition)
        if owner is None:
            raise Unavailable(
                "no node of the Redis cluster serves some slots: see `redis-cli --cluster check`"
            )
        return owner

    def _looked(self, looking: asyncio.Task[None]) -> None:
        self._looking = None
        self._looked_s = asyncio.get_running_loop().time()
        if not looking.cancelled():
            looking.exception()  # whoever waited may be gone

    async def _look(self) -> None:
        """Asks one node after another who owns which slots."""
        error: Exception = Unavailable("there is no Redis cluster")
        for address in dict.fromkeys([*self._links, *self._seeds]):
            link = self._link(address)
            try:
                ranges = await link.call("CLUSTER", "SLOTS")
            except Unavailable as failed:
                error = failed
                continue
            except RedisError as failed:
                error = unavailable(failed, link.address)
                continue
            await self._learn(ranges, address)
            return
        raise error

    async def _learn(self, ranges: list[Any], asked: Address) -> None:
        owners: dict[int, Address] = {}
        for first, last, (host, port, *_), *_ in ranges:
            owners |= dict.fromkeys(range(first, last + 1), (host.decode() if host else asked[0], port))
        self._owners = {
            partition: self._link(owners[slot_of(partition)])
            for partition in range(PARTITIONS)
            if slot_of(partition) in owners
        }
        self._stale = False
        gone = set(self._links) - set(owners.values())
        for address in gone:
            await self._links.pop(address).close()

    def _link(self, address: Address) -> Link:
        link = self._links.get(address)
        if link is None:
            host, port = address
            options = {**self._options, "host": host, "port": port}

            def connect() -> AbstractConnection:
                return self._kind(**options)

            link = self._links[address] = Link(connect, f"{host}:{port}")
        return link

    async def close(self) -> None:
        """See Servers.close."""
        if self._looking is not None:
            self._looking.cancel()
        for link in list(self._links.values()):
            await link.close()
