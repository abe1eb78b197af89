"""Long windows on disk: a quota of an hour or more outlives a restart, up to one second of takes after a kill."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import count

import structlog

from usageflow.domain.clock import Clock
from usageflow.domain.errors import UsageFlowError
from usageflow.storage.counters import CounterStore
from usageflow.storage.ports import CheckpointStore, WindowState

INTERVAL_S = 0.75
"""Between two rounds, so that a take is saved within a second of it, the round itself included: what a kill may lose. So long counters
that came back empty decide nothing.
"""

_DROP_EVERY = 60
"""Rounds between two clean-ups of windows that have ended: identities that never come back leave nothing behind."""

log = structlog.get_logger()


class Checkpointer:
    """Moves windows between the counters and the checkpoint store."""

    def __init__(
        self,
        counters: CounterStore,
        checkpoints: CheckpointStore,
        clock: Clock,
        *,
        swept: Sequence[CounterStore] = (),
    ) -> None:
        """``swept`` are further counters that only need sweeping: those of fail mode LOCAL."""
        self._counters = counters
        self._swept = (counters, *swept)
        self._checkpoints = checkpoints
        self._clock = clock
        self._unsaved: dict[str, WindowState] = {}
        self._restored = False

    async def restore(self) -> int:
        """Loads every live window, and what is not saved yet; call it before readiness. Returns how many there were."""
        windows = await self._checkpoints.load_windows(now_us=self._clock.now_us())
        windows = [*windows, *self._unsaved.values()]
        await self._counters.restore_windows(windows)
        self._restored = True
        return len(windows)

    async def save(self) -> None:
        """Saves what changed; what cannot be saved now is kept for the next time."""
        self._unsaved.update({window.key: window for window in await self._counters.changed_windows()})
        if self._unsaved:
            await self._checkpoints.save_windows(list(self._unsaved.values()))
            self._unsaved.clear()

    async def run(self) -> None:
        """Does a round every interval, for ever."""
        for number in count(1):
            await asyncio.sleep(INTERVAL_S)
            await self.round(number)

    async def round(self, number: int) -> None:
        """Saves, restores counters that came back empty, sweeps, and now and then drops what has ended; a silent database or store
        stops nothing.
        """
        try:
            if not self._restored:  # nothing is saved over what is not known here yet
                log.info("long windows restored after the start", windows=await self.restore())
            await self.save()
            if number % _DROP_EVERY == 0:
                await self._checkpoints.drop_ended(now_us=self._clock.now_us())
        except UsageFlowError as error:
            log.warning("cannot save quota checkpoints; they are kept", error=str(error))
        try:
            await self._mend()
            for counters in self._swept:
                await counters.sweep()
        except UsageFlowError as error:
            log.warning("cannot look after the counters; will try again", error=str(error))

    async def _mend(self) -> None:
        if await self._counters.came_back_empty():
            log.error("the counters came back empty; restored long windows", windows=await self.restore())
