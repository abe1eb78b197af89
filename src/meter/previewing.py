"""What a customer's open period would bill: the use-case behind GetBillPreview."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from meter.customers import BilledCustomer, BilledCustomers
from meter.sinks.port import Payer, Quotes, UnitPrice
from meter.targets import target_of
from meter.works import Billed, Works
from usageflow.domain.billing import Target, Window, month_of
from usageflow.domain.clock import Clock
from usageflow.domain.policies import Trigger
from usageflow.domain.previewing import Line
from usageflow.storage.billing import Hold, PartFilter
from usageflow.storage.ports import ControlStore, UsageStore


@dataclass(frozen=True, slots=True)
class Preview:
    """What would be billed, and what cannot be sent yet."""

    payer: Payer
    lines: Sequence[Line]
    holds: Sequence[Hold]


class Previewing:
    """Adds up what the present period has; prices come from the destination, where it tells."""

    def __init__(
        self,
        billed: Billed,
        control: ControlStore,
        usage: UsageStore,
        customers: BilledCustomers,
        clock: Clock,
        works: Works | None,
    ) -> None:
        self._billed = billed
        self._control = control
        self._usage = usage
        self._customers = customers
        self._clock = clock
        self._quotes = works.sink if works is not None and isinstance(works.sink, Quotes) else None

    async def preview(self, application: str, customer: str) -> Preview:
        """Returns a customer's bill so far. Raises NotFound."""
        found = await self._customers.find(application, customer)
        opened = await self._open(found)
        totals = await self._billed.part_sums(found.application_id, PartFilter(customer=customer))
        targets = sorted(opened.keys() | {each.target for each in totals})
        prices = await self._prices(targets)
        lines = [await self._line(found, target, opened.get(target, Decimal(0))) for target in targets]
        priced = [_priced(line, prices) for line in lines]
        holds = await self._billed.holds(found.application_id)
        return Preview(
            found.payer,
            [line for line in priced if line.sent or line.sending or line.open or line.stuck],
            [each for each in holds if each.customer == customer],
        )

    async def _line(self, found: BilledCustomer, target: Target, opened: Decimal) -> Line:
        period = await self._period(found.payer, target)
        # By what counts there: the window of a part may have begun before the period.
        wanted = PartFilter(customer=found.payer.customer, price=target.price, within=period)
        sums = await self._billed.part_sums(found.application_id, wanted)
        line = Line(target, period, open=opened)
        return line.with_parts((each.state, each.units) for each in sums if each.target == target)

    async def _period(self, payer: Payer, target: Target) -> Window:
        now_us = self._clock.now_us()
        told = await self._quotes.period(payer, target, now_us=now_us) if self._quotes is not None else None
        return told or month_of(now_us // 1_000_000)

    async def _prices(self, targets: Collection[Target]) -> Mapping[Target, UnitPrice]:
        return await self._quotes.prices(targets) if self._quotes is not None and targets else {}

    async def _open(self, found: BilledCustomer) -> Mapping[Target, Decimal]:
        """Returns the open units of a customer's identities, by where the policies in force bill them."""
        rows = await self._usage.pending(found.application_id, found.pseudonyms)
        state = await self._control.load(found.application_id)
        targets = {
            (policy.name, policy.metering.price): target_of(policy.metering)
            for policy in state.policies.policies
            if policy.metering is not None
        }
        units: dict[Target, Decimal] = {}
        for row in rows:
            usual = Target(Trigger.STRIPE_USAGE, row.price)
            target = targets.get((row.policy, row.price), usual)
            units[target] = units.get(target, Decimal(0)) + row.units
        return units


def _priced(line: Line, prices: Mapping[Target, UnitPrice]) -> Line:
    price = prices.get(line.target)
    return line if price is None else replace(line, unit_amount=price.unit_amount, currency=price.currency)
