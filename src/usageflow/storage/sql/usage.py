"""Reported usage in SQL: what the port offers, over ingest and queries."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from usageflow.domain.clock import Clock
from usageflow.domain.usage import ListedFailure, Outcome, PendingRow, UsageRecord
from usageflow.storage.sql import queries
from usageflow.storage.sql.database import Database
from usageflow.storage.sql.ingest import ingest
from usageflow.storage.sql.remembered import Remembered


class SqlUsageStore:
    """The UsageStore over SQL."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._remembered = Remembered()

    async def ingest(
        self, groups: Sequence[tuple[str, Sequence[UsageRecord]]]
    ) -> Sequence[Sequence[Outcome]]:
        """See UsageStore. Raises InvalidArgument (reason DATA_REFUSED) where a record or an application is impossible."""
        now_us = self._clock.now_us()
        done = await self._database.write(
            lambda connection: ingest(connection, groups, now_us, self._remembered)
        )
        self._remembered.learn(done.names, now_us)
        return done.outcomes

    async def pending(
        self, application_id: str, pseudonyms: Collection[int] | None = None
    ) -> Sequence[PendingRow]:
        """See UsageStore. Rows with equal units are in order of endpoint, policy and price."""
        return await self._database.read(
            lambda connection: queries.pending_rows(connection, application_id, pseudonyms)
        )

    async def metering_failures(
        self, application_id: str, *, before: int, limit: int
    ) -> Sequence[ListedFailure]:
        """See UsageStore."""
        return await self._database.read(
            lambda connection: queries.metering_failures(connection, application_id, before, limit)
        )
