"""Counters in one Redis: each call of the port is one script call, so each is atomic as a whole."""

from __future__ import annotations

from collections.abc import Sequence

from usageflow.domain.clock import Clock
from usageflow.storage.counters import Amendment, Take, Taken
from usageflow.storage.ports import WindowState
from usageflow.storage.redis.partition import Partition
from usageflow.storage.redis.restoring import Restoring
from usageflow.storage.redis.server import Servers


class RedisCounterStore:
    """CounterStore on one Redis. One event loop must own it."""

    def __init__(self, servers: Servers, clock: Clock | None, prefix: str) -> None:
        """``clock`` is None in production: time is Redis's own."""
        self._servers = servers
        self._all = Partition(servers, 0, prefix, clock)
        self._restoring = Restoring(servers, [self._all], lambda _: 0)

    async def take(self, takes: Sequence[Take]) -> Sequence[Taken]:
        """See CounterStore.take. O(limits)."""
        return await self._all.take(takes)

    async def peek(self, takes: Sequence[Take]) -> Sequence[Taken]:
        """See CounterStore.peek."""
        return await self._all.peek(takes)

    async def amend(self, amendments: Sequence[Amendment]) -> Sequence[bool]:
        """See CounterStore.amend."""
        return await self._all.amend(amendments)

    async def changed_windows(self) -> Sequence[WindowState]:
        """See CounterStore.changed_windows."""
        return self._all.changed_windows()

    async def restore_windows(self, windows: Sequence[WindowState]) -> None:
        """See CounterStore.restore_windows."""
        await self._restoring.restore(windows)

    async def came_back_empty(self) -> bool:
        """See CounterStore.came_back_empty."""
        return await self._restoring.is_needed()

    async def sweep(self) -> int:
        """See CounterStore.sweep: Redis forgets by itself, and holds end when somebody looks."""
        return 0

    async def close(self) -> None:
        """See CounterStore.close."""
        await self._servers.close()
