"""Compares what was sent with what the destination counts: when somebody asks, and each night. It corrects nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from meter.customers import BilledCustomers
from meter.works import Billed, Works, needed
from usageflow.domain.billing import Window
from usageflow.domain.clock import Clock
from usageflow.domain.errors import InvalidArgument, UsageFlowError
from usageflow.domain.reconciling import LAG_S, Compared, Place, Sent, compare, drifted, span_of
from usageflow.storage.ports import ControlStore

MOST_S = 35 * 86_400
NIGHT_S = 2 * 3_600
"""The second of the UTC day from which on a night's comparison is due."""

_NIGHTLY_S = 2 * 86_400
"""How far back a night looks: twice at each hour, so that a missed night is made good."""

_DAY_S = 86_400
_TICK_S = 30.0

log = structlog.get_logger()


class Reconciling:
    """Compares. ``drifted`` is how many hours the last night found to differ."""

    def __init__(
        self,
        billed: Billed,
        control: ControlStore,
        customers: BilledCustomers,
        clock: Clock,
        works: Works | None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.drifted = 0
        self._billed = billed
        self._control = control
        self._customers = customers
        self._clock = clock
        self._works = works
        self._pause = pause

    async def compare(
        self, application: str, since_s: int, until_s: int | None, customer: str = ""
    ) -> Sequence[Compared]:
        """Returns both sides of each hour that ended more than ten minutes ago. Raises NotFound, FailedPrecondition, and InvalidArgument for what
        is no span.
        """
        now_s = self._clock.now_us() // 1_000_000
        if since_s < now_s - MOST_S:
            raise InvalidArgument.of("since", "is more than 35 days ago", "ask for less, such as 7d")
        window = span_of(since_s, until_s, now_s=now_s)
        if window.start_s >= window.end_s:
            fix = f"begin at an hour that ended more than {LAG_S // 60} minutes ago"
            raise InvalidArgument.of("since", "leaves no whole hour to compare", fix)
        application_id = await self._customers.application_id(application)
        found = await self._of(application_id, window)
        if not customer:
            return found
        payer = await self._customers.payer(application_id, customer)
        mine = {payer.customer, payer.stripe_customer} - {""}
        return [each for each in found if each.customer in mine or each.place.payee in mine]

    async def _of(self, application_id: str, window: Window) -> list[Compared]:
        works = needed(self._works)
        ours = {
            Place(each.payee, each.target, each.hour_s): Sent(each.customer, each.value, each.unsettled)
            for each in await self._billed.sent_sums(application_id, window)
        }
        asked = {(place.payee, place.target) for place in ours}
        rows = await works.sink.reckoned(sorted(asked), window)
        theirs = {Place(each.payee, each.target, each.hour_s): each.value for each in rows}
        # A destination may tell of every hour; those with nothing on either side are no news.
        told = {place: value for place, value in theirs.items() if value or place in ours}
        return compare(ours, told)

    async def run_for_ever(self) -> None:
        """Compares each night; whatever a night meets, the next one comes."""
        done = self._night()
        while True:
            await self._pause(_TICK_S)
            if self._night() != done:
                done = self._night()
                await self._look_safely()

    def _night(self) -> int:
        return (self._clock.now_us() // 1_000_000 - NIGHT_S) // _DAY_S

    async def _look_safely(self) -> None:
        try:
            await self.look()
        except UsageFlowError as error:
            log.warning("what was billed is not compared", error=str(error))

    async def look(self, window: Window | None = None) -> int:
        """Compares the last two days, or a window, of every application; logs what differs and returns how many hours that are."""
        now_s = self._clock.now_us() // 1_000_000
        within = window or span_of(now_s - _NIGHTLY_S, None, now_s=now_s)
        found = [
            each
            for application_id in await self._control.plan_versions()
            for each in drifted(await self._of(application_id, within))
        ]
        for each in found:
            told = {"customer": each.customer, "target": str(each.place.target), "hour_s": each.place.hour_s}
            log.warning("a destination counts differently", **told, drift=str(each.drift))
        self.drifted = len(found)
        return self.drifted
