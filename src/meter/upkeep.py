"""Room for the reports of coming days, and the end of ids that no report may carry any more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import structlog

from usageflow.domain.clock import Clock
from usageflow.domain.errors import Unavailable
from usageflow.storage.upkeep import BEGINNING, IdPosition, UpkeepStore

EVERY_S = 3600.0
BATCH = 5_000
"""Ids that one transaction looks at: a few milliseconds, so that reports hardly wait."""

_PAUSE_S = 0.05
"""Between two of them, for whoever else writes."""

log = structlog.get_logger()


class Upkeep:
    """Keeps the tables of reports in shape. Several processes may do it at once."""

    def __init__(
        self, store: UpkeepStore, clock: Clock, *, batch: int = BATCH, pause_s: float = _PAUSE_S
    ) -> None:
        self._store = store
        self._clock = clock
        self._batch = batch
        self._pause_s = pause_s

    async def forget_ids(self) -> int:
        """Forgets every id that is too old now and in no partition of a day; returns how many there were."""
        now_us, gone = self._clock.now_us(), 0
        after: IdPosition | None = BEGINNING
        while after is not None:
            forgotten = await self._store.forget_ids(now_us=now_us, after=after, limit=self._batch)
            gone, after = gone + forgotten.ids, forgotten.after
            await asyncio.sleep(self._pause_s)
        return gone

    async def tend(self) -> None:
        """Makes room, drops days and forgets ids; what fails keeps nothing else from being done."""
        now_us = self._clock.now_us()
        await _told("partitions made", self._store.make_room(now_us=now_us))
        await _told("old partitions dropped", self._store.drop_days(now_us=now_us))
        await _told("old ids of reports forgotten", self.forget_ids())

    async def run_for_ever(self) -> None:
        """Tends once an hour."""
        while True:
            await self.tend()
            await asyncio.sleep(EVERY_S)


async def _told(what: str, work: Awaitable[int]) -> None:
    try:
        if number := await work:
            log.info(what, number=number)
    except Unavailable as error:
        log.warning(
            "upkeep of reports waits for the next hour: the database does not answer", error=str(error)
        )
