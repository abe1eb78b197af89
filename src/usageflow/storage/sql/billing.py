"""Billing in SQL: what the ports offer, over the functions that work."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from usageflow.domain.billing import Part, Window
from usageflow.domain.changes import Cause
from usageflow.domain.clock import Clock
from usageflow.storage.billing import (
    BacklogRow,
    Claim,
    Correction,
    Hold,
    Move,
    PartFilter,
    PartResult,
    PartSum,
    Pause,
    SentSum,
    Stop,
)
from usageflow.storage.sql import billing_book, billing_freezing, billing_notes, billing_sending
from usageflow.storage.sql.billing_rows import installation_id
from usageflow.storage.sql.database import Database


class SqlBilling:
    """BillingStore and BillingBook over SQL."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def installation_id(self) -> str:
        """See BillingStore."""
        return await self._database.read(installation_id)

    async def backlog(self, *, before_s: int, limit: int) -> Sequence[BacklogRow]:
        """See BillingStore."""
        return await self._database.read(
            lambda connection: billing_freezing.backlog(connection, before_s, limit)
        )

    async def freeze(self, claims: Sequence[Claim], *, now_us: int) -> Sequence[Part]:
        """See BillingStore."""
        return await self._database.write(
            lambda connection: billing_freezing.freeze(connection, claims, now_us)
        )

    async def claim_parts(
        self, worker: str, *, now_us: int, until_us: int, limit: int, without: Collection[str]
    ) -> Sequence[Part]:
        """See BillingStore."""
        return await self._database.write(
            lambda connection: billing_sending.claim_parts(
                connection, worker, now_us, until_us, limit, without
            )
        )

    async def settle_parts(self, results: Sequence[PartResult], *, now_us: int) -> int:
        """See BillingStore."""
        return await self._database.write(
            lambda connection: billing_sending.settle(connection, results, now_us)
        )

    async def stops(self) -> Sequence[Stop]:
        """See BillingStore."""
        return await self._database.read(billing_notes.stops)

    async def replace_holds(self, application_id: str, holds: Sequence[Hold], *, now_us: int) -> None:
        """See BillingStore."""
        await self._database.write(
            lambda connection: billing_notes.replace_holds(connection, application_id, holds, now_us)
        )

    async def pause(self, destination: str, message: str, *, now_us: int) -> None:
        """See BillingStore."""
        await self._database.write(
            lambda connection: billing_notes.pause(connection, destination, message, now_us)
        )

    async def pauses(self) -> Sequence[Pause]:
        """See BillingStore."""
        return await self._database.read(billing_notes.pauses)

    async def resume(self, destination: str, *, cause: Cause) -> bool:
        """See BillingStore."""
        now_us = self._clock.now_us()
        return await self._database.write(
            lambda connection: billing_notes.resume(connection, destination, cause, now_us)
        )

    async def refuse_sent(self, refusals: Mapping[str, str], *, now_us: int) -> int:
        """See BillingStore."""
        return await self._database.write(
            lambda connection: billing_sending.refuse_sent(connection, refusals, now_us)
        )

    async def forget_parts(self, *, before_s: int) -> int:
        """See BillingStore."""
        return await self._database.write(lambda connection: billing_sending.forget(connection, before_s))

    async def parts(
        self, application_id: str, wanted: PartFilter, *, after: int, limit: int
    ) -> Sequence[Part]:
        """See BillingBook."""
        return await self._database.read(
            lambda connection: billing_book.parts(connection, application_id, wanted, after, limit)
        )

    async def part_sums(self, application_id: str, wanted: PartFilter) -> Sequence[PartSum]:
        """See BillingBook."""
        return await self._database.read(
            lambda connection: billing_book.part_sums(connection, application_id, wanted)
        )

    async def holds(self, application_id: str) -> Sequence[Hold]:
        """See BillingBook."""
        return await self._database.read(lambda connection: billing_notes.holds(connection, application_id))

    async def move_parts(
        self, application_id: str, wanted: PartFilter, move: Move, *, cause: Cause, now_us: int
    ) -> int:
        """See BillingBook."""
        return await self._database.write(
            lambda connection: billing_book.move_parts(
                connection, application_id, wanted, move, cause, now_us
            )
        )

    async def stop(self, stop: Stop, *, held: bool, cause: Cause, now_us: int) -> bool:
        """See BillingBook."""
        return await self._database.write(
            lambda connection: billing_notes.stop(connection, stop, cause, now_us, held=held)
        )

    async def sent_sums(self, application_id: str, window: Window) -> Sequence[SentSum]:
        """See BillingBook."""
        return await self._database.read(
            lambda connection: billing_book.sent_sums(connection, application_id, window)
        )

    async def correct(self, correction: Correction, *, cause: Cause, now_us: int) -> Part:
        """See BillingBook."""
        return await self._database.write(
            lambda connection: billing_freezing.correct(connection, correction, cause, now_us)
        )

    async def cancelled(self, part_id: int, *, note: str, cause: Cause, now_us: int) -> bool:
        """See BillingBook."""
        return await self._database.write(
            lambda connection: billing_book.cancelled(connection, part_id, note, cause, now_us)
        )
