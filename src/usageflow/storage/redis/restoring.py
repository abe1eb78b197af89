"""Long windows come back after Redis did, empty. An epoch key in each partition tells that they are there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from usageflow.storage.ports import WindowState
from usageflow.storage.redis.partition import Partition
from usageflow.storage.redis.server import Servers

_AT_ONCE = 500
"""Windows per script call: a few milliseconds of Redis's time at most."""


class Restoring:
    """Puts windows back and opens the partitions for takes."""

    def __init__(
        self, servers: Servers, partitions: Sequence[Partition], place: Callable[[str], int]
    ) -> None:
        """``place`` tells the partition of a counter's key."""
        self._servers = servers
        self._partitions = partitions
        self._place = place

    async def restore(self, windows: Sequence[WindowState]) -> None:
        """See CounterStore.restore_windows. After an error nothing is open; to repeat it does no harm."""
        placed: dict[int, list[WindowState]] = {}
        for window in windows:
            placed.setdefault(self._place(window.key), []).append(window)
        await asyncio.gather(*(self._restore(number, each) for number, each in placed.items()))
        await self._servers.call_each([(one.number, ("SET", one.epoch, "1")) for one in self._partitions])

    async def _restore(self, number: int, windows: Sequence[WindowState]) -> None:
        for first in range(0, len(windows), _AT_ONCE):
            await self._partitions[number].restore(windows[first : first + _AT_ONCE])

    async def is_needed(self) -> bool:
        """Tells whether a partition has lost its epoch. One small command per partition."""
        found = await self._servers.call_each(
            [(one.number, ("EXISTS", one.epoch)) for one in self._partitions]
        )
        return not all(found)
