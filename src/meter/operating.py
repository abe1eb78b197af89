"""What people look at and do about units on their way: the use-cases behind most methods of billing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from meter.customers import BilledCustomers
from meter.freezing import Frozen
from meter.sinks.port import Finding
from meter.works import Billed, Works, needed
from usageflow.domain.billing import Part
from usageflow.domain.changes import Action, Cause, Change
from usageflow.domain.clock import Clock
from usageflow.domain.errors import InvalidArgument
from usageflow.storage.billing import Hold, Move, PartFilter, PartSum, Pause, Stop

MOST_PARTS, USUAL_PARTS = 1_000, 100


@dataclass(frozen=True, slots=True)
class Status:
    """How billing goes. ``account`` names account and environment as the newest part has them."""

    sink: str
    account: str
    sums: Sequence[PartSum]
    holds: Sequence[Hold]
    pauses: Sequence[Pause]
    findings: Sequence[Finding]


class Operating:
    """Looks and acts for people; what is sent nowhere can be looked at all the same."""

    def __init__(self, billed: Billed, customers: BilledCustomers, clock: Clock, works: Works | None) -> None:
        self._billed = billed
        self._customers = customers
        self._clock = clock
        self._works = works

    async def status(self, application: str) -> Status:
        """Returns how billing goes. Raises NotFound."""
        application_id = await self._customers.application_id(application)
        newest = await self._billed.parts(application_id, PartFilter(), after=0, limit=1)
        return Status(
            self._works.sink.name if self._works is not None else "",
            _account_of(newest),
            await self._billed.part_sums(application_id, PartFilter()),
            await self._billed.holds(application_id),
            await self._billed.pauses(),
            self._works.checking.findings if self._works is not None else (),
        )

    async def parts(
        self, application: str, wanted: PartFilter, *, page_size: int, page_token: str
    ) -> tuple[Sequence[Part], str]:
        """Returns a page of parts, newest first, and the token of the next one, "" at the end. Raises NotFound and InvalidArgument."""
        size = min(page_size or USUAL_PARTS, MOST_PARTS)
        after = read_token(page_token)
        application_id = await self._customers.application_id(application)
        found = await self._billed.parts(application_id, wanted, after=after, limit=size + 1)
        return found[:size], str(found[size - 1].part_id) if len(found) > size else ""

    async def move(self, application: str, wanted: PartFilter, move: Move, cause: Cause) -> int:
        """Does it to parts; returns how many changed. Raises NotFound, and InvalidArgument where the filter names nothing: all parts of an
        application are moved by naming their states.
        """
        if wanted == PartFilter():
            fix = "name parts, states, a customer, a price or a time"
            raise InvalidArgument.of("filter", "names nothing", fix)
        application_id = await self._customers.application_id(application)
        cause = replace(cause, changes=(Change(Action.UPDATED, "billing_parts", move.value),))
        now_us = self._clock.now_us()
        return await self._billed.move_parts(application_id, wanted, move, cause=cause, now_us=now_us)

    async def hold(self, application: str, customer: str, price: str, *, held: bool, cause: Cause) -> bool:
        """Keeps units from being frozen, or ends that; returns whether that changed anything. Raises NotFound."""
        application_id = await self._customers.application_id(application)
        if customer and held:
            await self._customers.payer(application_id, customer)
        action = Action.CREATED if held else Action.DELETED
        change = Change(action, "billing_hold", f"{customer or '*'}/{price or '*'}")
        stop = Stop(application_id, customer, price)
        cause = replace(cause, changes=(change,))
        return await self._billed.stop(stop, held=held, cause=cause, now_us=self._clock.now_us())

    async def flush(self, application: str, customer: str, price: str) -> tuple[Frozen, Sequence[Hold]]:
        """Freezes what would wait for its hour to end; returns that, and what could not be frozen. Raises NotFound and FailedPrecondition."""
        application_id = await self._customers.application_id(application)
        if customer:
            await self._customers.payer(application_id, customer)
        frozen = await needed(self._works).freezer.flush(application_id, customer, price)
        return frozen, frozen.holds.get(application_id, [])

    async def resume(self, destination: str, cause: Cause) -> bool:
        """Ends a pause; returns whether there was one."""
        change = Change(Action.UPDATED, "billing_destination", destination)
        return await self._billed.resume(destination, cause=replace(cause, changes=(change,)))


def _account_of(newest: Sequence[Part]) -> str:
    if not newest:
        return ""
    terms = newest[0].terms
    return f"{terms.account} ({terms.environment})" if terms.account else terms.environment


def read_token(token: str) -> int:
    """Returns the row id behind which a page begins, 0 for the first page. Raises InvalidArgument."""
    if not token:
        return 0
    if not (token.isascii() and token.isdigit() and len(token) <= 18):
        fix = "send next_page_token of the page before, or leave it empty"
        raise InvalidArgument.of("page_token", "is no page token", fix, "PAGE_TOKEN")
    return int(token)
