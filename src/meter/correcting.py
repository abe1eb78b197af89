"""Takes back or adds units of a part: the use-case behind CorrectUsage."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

from meter.customers import BilledCustomers
from meter.works import Billed, Works, needed
from usageflow.domain.billing import Part, PartState, Result
from usageflow.domain.changes import Action, Cause, Change
from usageflow.domain.clock import Clock
from usageflow.domain.correcting import can_cancel, ensure_reason, ensure_sent, ensure_within, read_units
from usageflow.domain.errors import FailedPrecondition, InvalidArgument, NotFound, Unavailable
from usageflow.storage.billing import Correction, PartFilter


@dataclass(frozen=True, slots=True)
class Corrected:
    """What was done: a correction was made, or the part itself was cancelled."""

    correction: Part | None = None
    cancelled: bool = False


class Correcting:
    """Corrects what was sent. Every correction is a part of its own, so the book shows both."""

    def __init__(self, billed: Billed, customers: BilledCustomers, clock: Clock, works: Works | None) -> None:
        self._billed = billed
        self._customers = customers
        self._clock = clock
        self._works = works

    async def correct(
        self, application: str, part_id: int, units: str | None, *, reason: str, cause: Cause
    ) -> Corrected:
        """Adds units, negative ones take back; None takes the whole part back: at the destination itself within 24 h, else by a negative
        correction. Raises NotFound, InvalidArgument, FailedPrecondition, and Unavailable where the destination does not answer.
        """
        ensure_reason(reason)
        if units is None:
            return await self._cancel(application, part_id, reason, cause)
        added = read_units(units)
        part = await self._part(application, part_id)
        ensure_sent(part)
        return Corrected(await self._add(part, added, reason, cause))

    async def _cancel(self, application: str, part_id: int, reason: str, cause: Cause) -> Corrected:
        """Takes a whole part back; again, it changes nothing."""
        part = await self._part(application, part_id)
        if part.state is PartState.CANCELLED:
            return Corrected(cancelled=True)
        ensure_sent(part)
        if part.units <= 0:
            fix = "correct it with units of the opposite sign"
            raise InvalidArgument.of("part_id", f"names part {part_id}, which adds nothing", fix)
        if not can_cancel(part, self._clock.now_us()):
            return Corrected(await self._add(part, -part.units, reason, cause))
        await self._take_back(part)
        change = Change(Action.DELETED, "billing_part", str(part_id))
        await self._billed.cancelled(
            part_id,
            note=f"taken back: {reason}",
            cause=replace(cause, changes=(change,)),
            now_us=self._clock.now_us(),
        )
        return Corrected(cancelled=True)

    async def _part(self, application: str, part_id: int) -> Part:
        application_id = await self._customers.application_id(application)
        wanted = PartFilter(part_ids=(part_id,))
        found = await self._billed.parts(application_id, wanted, after=0, limit=1) if part_id else ()
        if not found:
            message = f"there is no part {part_id}: `usageflow meter windows` lists them"
            raise NotFound(message, reason="PART_NOT_FOUND")
        return found[0]

    async def _add(self, part: Part, units: Decimal, reason: str, cause: Cause) -> Part:
        now_us = self._clock.now_us()
        ensure_within(part, units, now_us)
        change = Change(Action.CREATED, "billing_correction", str(part.part_id))
        correction = Correction(
            part.application_id,
            part.customer,
            part.target,
            part.window,
            units,
            part.terms,
            f"corrects part {part.part_id}: {reason}",
        )
        return await self._billed.correct(correction, cause=replace(cause, changes=(change,)), now_us=now_us)

    async def _take_back(self, part: Part) -> None:
        """Asks the destination. A part that is refused is not corrected by itself: it may have been taken back by an attempt whose end we never saw."""
        outcome = await needed(self._works).sink.cancel(part, now_us=self._clock.now_us())
        if outcome.result is Result.TAKEN:
            return
        if outcome.result in {Result.AGAIN, Result.UNKNOWN}:
            message = f"the destination did not say whether part {part.part_id} is taken back: ask again"
            raise Unavailable(message, retry_after_s=outcome.wait_s or 1.0)
        message = (
            f"the destination does not take part {part.part_id} back ({outcome.told}): compare with "
            "`usageflow meter reconcile`; where it still counts, correct it by its units"
        )
        raise FailedPrecondition(message, reason="NOT_CANCELLED")
