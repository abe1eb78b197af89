"""The end of usage detail that is older than its application keeps it."""

from __future__ import annotations

import asyncio

import structlog

from usageflow.domain.clock import Clock
from usageflow.domain.errors import Unavailable
from usageflow.domain.ids import DAY_S
from usageflow.storage.billing import BillingStore
from usageflow.storage.retention import Detail, RetentionStore

EVERY_S = 3600.0
BILLED_FOR_S = 400 * DAY_S
"""How long it is known of what an invoice was made up: a year, and time to object."""

BATCH = 5_000
"""Rows of one transaction: a few milliseconds, so that reports hardly wait."""

_PAUSE_S = 0.05
"""Between two transactions, for whoever else writes."""

log = structlog.get_logger()


class Retention:
    """Deletes old detail, a little at a time. Several processes may do it at once."""

    def __init__(
        self,
        store: RetentionStore,
        billing: BillingStore,
        clock: Clock,
        *,
        batch: int = BATCH,
        pause_s: float = _PAUSE_S,
    ) -> None:
        self._store = store
        self._billing = billing
        self._clock = clock
        self._batch = batch
        self._pause_s = pause_s

    async def purge(self) -> int:
        """Deletes everything that is too old now; returns how many rows there were."""
        now_us, gone = self._clock.now_us(), 0
        for detail in Detail:
            rows = self._batch
            while rows >= self._batch:
                rows = await self._store.purge(detail, now_us=now_us, limit=self._batch)
                gone += rows
                await asyncio.sleep(self._pause_s)
        return gone + await self._forget_parts(now_us // 1_000_000 - BILLED_FOR_S)

    async def _forget_parts(self, before_s: int) -> int:
        """Deletes what was billed long ago, with the metered units that it was made of."""
        gone = 0
        while some := await self._billing.forget_parts(before_s=before_s):
            gone += some
            await asyncio.sleep(self._pause_s)
        return gone

    async def run_for_ever(self) -> None:
        """Purges once an hour; a database that does not answer is asked again then."""
        while True:
            try:
                if gone := await self.purge():
                    log.info("old usage detail deleted", rows=gone)
            except Unavailable as error:
                log.warning("no old usage was deleted: the database does not answer", error=str(error))
            await asyncio.sleep(EVERY_S)
