"""Folds what was reported into sums, for as long as the service runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from usageflow.domain.clock import Clock
from usageflow.domain.errors import Unavailable
from usageflow.storage.analytics import Backlog, RollupStore

EVERY_S = 1.0
"""How long what waits may wait; questions see it meanwhile."""

LOOK_EVERY = 5
"""Looking at the backlog costs a query of its own: only each fifth time."""

log = structlog.get_logger()


@dataclass(slots=True)
class Progress:
    """How far folding has come: plain numbers, read when somebody looks."""

    folded: int = 0
    waiting: int = 0
    oldest_age_s: float = 0.0


class Compactor:
    """Folds batch by batch, at once again while batches are full: short transactions let ingest in between."""

    def __init__(
        self,
        store: RollupStore,
        clock: Clock,
        batch: int,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.progress = Progress()
        self._store = store
        self._clock = clock
        self._batch = batch
        self._pause = pause

    async def run_for_ever(self) -> None:
        """Folds each second. Any number of processes may run this over one database."""
        turn = 0
        while True:
            try:
                if turn % LOOK_EVERY == 0:
                    self._look(await self._store.backlog())
                await self.fold_all()
            except Unavailable as error:
                log.warning("nothing is folded: the database does not answer", error=str(error))
            turn += 1
            await self._pause(EVERY_S)

    async def fold_all(self) -> int:
        """Folds until a batch is not full; returns how many deltas that were."""
        folded = 0
        while True:
            more = await self._store.fold(self._batch)
            folded += more
            self.progress.folded += more
            if more < self._batch:
                return folded
            await self._pause(0)

    def _look(self, backlog: Backlog) -> None:
        now_s = self._clock.now_us() / 1e6
        self.progress.waiting = backlog.waiting
        self.progress.oldest_age_s = 0.0 if backlog.oldest is None else max(0.0, now_s - backlog.oldest)
