"""Counters in one Redis: each call of the port is one script call, so each is atomic as a whole."""

from __future__ import annotations

from collections.abc import Sequence

from usageflow.domain.clock import Clock
from usageflow.storage.counters import Amendment, Take, Taken
from usageflow.storage.ports import WindowState
from usageflow.storage.redis.partition import Partition
from usageflow.storage.redis.server import Servers

_RESTORED_AT_ONCE = 500
"""Windows per script call: less than a millisecond of Redis's time."""


class RedisCounterStore:
    """CounterStore on one Redis. One event loop must own it."""

    def __init__(self, servers: Servers, clock: Clock | None, prefix: str) -> None:
        """``clock`` is None in production: time is Redis's own."""
        self._servers = servers
        self._all = Partition(servers, 0, prefix, clock)

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
        """See CounterStore.restore_windows. Repeated after an error it goes on where it was."""
        for first in range(0, len(windows), _RESTORED_AT_ONCE):
            await self._all.restore(windows[first : first + _RESTORED_AT_ONCE])
        await self._all.open()

    async def came_back_empty(self) -> bool:
        """See CounterStore.came_back_empty."""
        return await self._all.is_lost()

    async def sweep(self) -> int:
        """See CounterStore.sweep: Redis forgets by itself, and holds end when somebody looks."""
        return 0

    async def close(self) -> None:
        """See CounterStore.close."""
        await self._servers.close()
