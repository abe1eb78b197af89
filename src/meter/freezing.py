"""Makes parts of what was metered, once its hour is over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import groupby

import structlog

from meter.gathering import Gathered, Heap, Units, in_order
from meter.payers import Payers
from meter.sinks.port import Payer, Sink
from meter.targets import Targets, target_of
from usageflow.domain.billing import HOUR_S, Held, HoldReason, Part, Target, Terms
from usageflow.domain.clock import Clock
from usageflow.domain.errors import UsageFlowError
from usageflow.domain.policies import Trigger
from usageflow.storage.billing import BacklogRow, BillingStore, Claim, Hold, Stop

EVERY_S = 15.0
_PAGE = 50_000
"""Rows of the backlog that are looked at together."""

_AT_ONCE = 50
"""Claims of one transaction: some hundred milliseconds, for which reports wait on SQLite."""

_AHEAD_S = 600
"""How far ahead of our clock requests may be accounted for."""

log = structlog.get_logger()

PayersOf = Callable[[str, str], Payers]
"""Returns the payers of an application, by its id and name."""

Refusals = Callable[[], Mapping[Target, str]]
"""Returns the targets that the last check refused, and what to do about each."""


@dataclass
class Frozen:
    """What a round made."""

    parts: int = 0
    units: Decimal = Decimal(0)
    holds: dict[str, list[Hold]] = field(default_factory=dict)

    def add(self, parts: Sequence[Part]) -> None:
        """Adds parts."""
        self.parts += len(parts)
        self.units += sum((part.units for part in parts), Decimal(0))


class Freezer:
    """Makes parts. Several processes may do so at once: what one has claimed, the others do not find."""

    def __init__(
        self,
        store: BillingStore,
        targets: Targets,
        payers_of: PayersOf,
        sink: Sink,
        clock: Clock,
        *,
        settle_s: int,
        refusals: Refusals = dict,
    ) -> None:
        self._store = store
        self._targets = targets
        self._payers_of = payers_of
        self._sink = sink
        self._clock = clock
        self._settle_s = settle_s
        self._refusals = refusals

    async def run_for_ever(self) -> None:
        """Freezes every 15 s what is over; whatever a round meets, the next one comes."""
        while True:
            try:
                await self.round()
            except UsageFlowError as error:
                log.warning("usage waits to be billed", error=str(error))
            await asyncio.sleep(EVERY_S)

    async def round(self) -> Frozen:
        """Freezes what belongs to hours that ended a while ago, and notes what has to wait."""
        now_us = self._clock.now_us()
        ended_s = (now_us // 1_000_000 - self._settle_s) // HOUR_S * HOUR_S
        frozen = await self._freeze(ended_s, lambda _: True)
        await self._store.replace_holds(frozen.holds, now_us=now_us)
        return frozen

    async def flush(self, application_id: str, customer: str = "", price: str = "") -> Frozen:
        """Freezes what an application has, of a customer ("": of all) and a price ("": all), the present hour too."""

        def wanted(heap: Heap) -> bool:
            named = not customer or heap.payer.customer == customer
            return heap.application_id == application_id and named and price in ("", heap.target.price)

        frozen = await self._freeze(self._clock.now_us() // 1_000_000 + _AHEAD_S, wanted)
        frozen.holds = {application_id: frozen.holds.get(application_id, [])}
        return frozen

    async def _freeze(self, before_s: int, wanted: Callable[[Heap], bool]) -> Frozen:
        frozen, gathered = Frozen(), Gathered()
        stops = set(await self._store.stops())
        after: BacklogRow | None = None
        while rows := await self._store.backlog(before_s=before_s, limit=_PAGE, after=after):
            await self._gather(rows, gathered, stops)
            for heap in [each for each in gathered.heaps if not wanted(each)]:
                del gathered.heaps[heap]
            frozen_here = await self._claim(gathered)
            frozen.parts += frozen_here.parts
            frozen.units += frozen_here.units
            after = rows[-1]
            if len(rows) < _PAGE:
                break
        frozen.holds = dict(gathered.holds())
        return frozen

    async def _gather(self, rows: Sequence[BacklogRow], gathered: Gathered, stops: set[Stop]) -> None:
        """Sorts rows into heaps that may be claimed and what has to wait."""
        refused = self._refusals()
        ordered = sorted(rows, key=lambda row: row.application_id)
        for application_id, group in groupby(ordered, key=lambda row: row.application_id):
            some = list(group)
            payers = self._payers_of(application_id, some[0].application)
            await payers.learn(some)
            for row in some:
                await self._sort(row, payers.of(row), gathered, stops, refused)

    async def _sort(
        self,
        row: BacklogRow,
        payer: Payer | None,
        gathered: Gathered,
        stops: set[Stop],
        refused: Mapping[Target, str],
    ) -> None:
        metering = await self._targets.of(row.application_id, row.revision, row.policy)
        target = Target(Trigger.STRIPE_USAGE, row.price) if metering is None else target_of(metering)
        held = self._held(row, payer, target, stops, refused, known=metering is not None)
        if held is not None or payer is None or metering is None:
            customer = payer.customer if payer is not None else ""
            gathered.wait(row, customer, target, held or _UNMAPPED)
        else:
            gathered.take(row, payer, target, metering.late_usage)

    def _held(
        self,
        row: BacklogRow,
        payer: Payer | None,
        target: Target,
        stops: set[Stop],
        refused: Mapping[Target, str],
        *,
        known: bool,
    ) -> Held | None:
        """Returns why a row has to wait, None where it need not."""
        if not known:
            return _revision_gone(row)
        if payer is None:
            return _UNMAPPED
        if self._sink.needs_mapping and not payer.stripe_customer:
            return _no_account(payer.customer)
        if target in refused:
            return Held(HoldReason.TARGET_REFUSED, refused[target])
        names = (
            Stop(row.application_id, who, what) for who in (payer.customer, "") for what in (target.price, "")
        )
        return _ON_HOLD if any(each in stops for each in names) else None

    async def _claim(self, gathered: Gathered) -> Frozen:
        """Claims every heap for which there are terms."""
        frozen, claims = Frozen(), list[Claim]()
        now_us = self._clock.now_us()
        for heap in in_order(gathered.heaps):
            terms = await self._sink.terms(heap.payer, heap.target, heap.window, heap.late, now_us=now_us)
            if isinstance(terms, Held):
                gathered.keep(heap, terms)
                continue
            units = gathered.heaps[heap]
            waiting = [each.terms for each in terms if isinstance(each.terms, Held)]
            for each in terms:
                if not isinstance(each.terms, Held):
                    claims.append(_claim_of(heap._replace(window=each.window), units, each.terms))
            if waiting:
                gathered.keep(heap, waiting[0])
            if len(claims) >= _AT_ONCE:
                frozen.add(await self._store.freeze(claims, now_us=now_us))
                claims.clear()
        if claims:
            frozen.add(await self._store.freeze(claims, now_us=now_us))
        gathered.heaps.clear()
        return frozen


_UNMAPPED = Held(
    HoldReason.UNMAPPED,
    "these callers belong to no customer: enter their identities with one (`usageflow customers`), then it is billed",
)
_ON_HOLD = Held(HoldReason.ON_HOLD, "a person holds it: `usageflow meter release` lets it go on")


def _no_account(customer: str) -> Held:
    message = f"{customer} has no Stripe customer: `usageflow customers update {customer} --stripe-customer cus_...`"
    return Held(HoldReason.NO_STRIPE_CUSTOMER, message)


def _revision_gone(row: BacklogRow) -> Held:
    message = f"revision {row.revision}, which decided, or its policy {row.policy} is not kept any more: correct the invoice by hand"
    return Held(HoldReason.REVISION_GONE, message)


def _claim_of(heap: Heap, units: Units, terms: Terms) -> Claim:
    return Claim(
        heap.application_id,
        heap.payer.customer,
        heap.target,
        heap.window,
        tuple(sorted(units.pseudonyms)),
        tuple(sorted(units.bound)),
        tuple(sorted(units.policies)),
        terms,
    )
