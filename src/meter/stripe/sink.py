"""Stripe as a destination."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

import stripe

from meter.sinks.port import Finding, Level, Notice, Payer, Reckoned, TermsOf, UnitPrice
from meter.stripe import items, sending
from meter.stripe.answers import outcome_of
from meter.stripe.api import Denied, NotTold, Refused, StripeApi
from meter.stripe.catalog import Billable, Catalog
from meter.stripe.items import InvoiceItems
from meter.stripe.notices import read_notice
from meter.stripe.reckoning import Reckoning
from meter.stripe.subscriptions import Subscriptions
from meter.stripe.terms import Subscribed, by_item, by_meter
from usageflow.domain.billing import Held, HoldReason, Method, Outcome, Part, Result, Target, Window, month_of
from usageflow.domain.clock import Clock
from usageflow.domain.errors import Unavailable
from usageflow.domain.policies import LateUsage, Trigger

_CANCEL_WITHIN_US = 24 * 3_600_000_000


class StripeSink:
    """The Sink that is Stripe, with Quotes and Notices."""

    name = "stripe"
    needs_mapping = True

    def __init__(
        self,
        api: StripeApi,
        catalog: Catalog,
        clock: Clock,
        installation_id: Callable[[], Awaitable[str]],
        webhook_secret: str = "",
    ) -> None:
        self._api = api
        self._catalog = catalog
        self._subscriptions = Subscriptions(api, clock)
        self._items = InvoiceItems(api)
        self._reckoning = Reckoning(api, catalog, self._items)
        self._installation_id = installation_id
        self._installation = ""
        self._webhook_secret = webhook_secret

    async def check(self, targets: Collection[Target]) -> Sequence[Finding]:
        """See Sink."""
        found: list[Finding] = []
        meters: dict[str, list[Target]] = defaultdict(list)
        try:
            account = await self._catalog.account()
            found.append(Finding(Level.OK, f"{account.account_id} ({account.environment})"))
            for target in sorted(targets):
                billable = await self._billable(target)
                found.append(_finding(target, billable))
                if not isinstance(billable, str):
                    meters[_place(target, billable)].append(target)
        except NotTold as error:
            found.append(Finding(Level.DENIED, str(error)))
        return [*found, *_conflicts(meters)]

    async def _billable(self, target: Target) -> Billable | str:
        try:
            return await self._catalog.billable(target)
        except Refused as error:
            return str(error)

    async def terms(
        self, payer: Payer, target: Target, window: Window, late: LateUsage, *, now_us: int
    ) -> Sequence[TermsOf] | Held:
        """See Sink."""
        try:
            return await self._terms(payer.stripe_customer, target, window, late, now_us // 1_000_000)
        except Denied as error:
            return Held(HoldReason.DESTINATION_PAUSED, str(error))
        except Refused as error:
            return Held(HoldReason.TARGET_REFUSED, str(error))

    async def _terms(
        self, payee: str, target: Target, window: Window, late: LateUsage, now_s: int
    ) -> Sequence[TermsOf] | Held:
        account, billable = await self._catalog.account(), await self._catalog.billable(target)
        if isinstance(billable, str):
            return Held(HoldReason.TARGET_REFUSED, billable)
        if target.trigger is Trigger.STRIPE_USAGE and billable.meter is not None:
            return [TermsOf(window, by_meter(account, payee, billable.meter, window, now_s))]
        installation = self._installation = self._installation or await self._installation_id()
        if target.trigger is Trigger.STRIPE_INVOICE:
            return [TermsOf(window, by_item(account, payee, window, installation))]
        item = await self._subscriptions.item(payee, target.price)
        if isinstance(item, Held):
            return item
        return Subscribed(account, payee, billable, item, late, installation).pieces(window, now_s)

    async def send(self, part: Part, *, now_us: int) -> Outcome:
        """See Sink."""
        del now_us
        match part.terms.method:
            case Method.METER_EVENT:
                event = self._api.call(lambda client: sending.meter_event(client, part), event=True)
                return await _attempted(event, sending.EVENTS)
            case Method.USAGE_RECORD:
                record = self._api.call(lambda client: sending.usage_record(client, part))
                return await _attempted(record, sending.RECORDS)
            case Method.INVOICE_ITEM:
                return await _attempted(self._items.send(part), items.NEEDS)
        told = f"this part is a {part.terms.method}, which goes elsewhere: set USAGEFLOW_BILLING as it was when it was frozen"
        return Outcome(Result.AGAIN, told, wait_s=300)

    async def cancel(self, part: Part, *, now_us: int) -> Outcome:
        """See Sink."""
        if part.terms.method is not Method.METER_EVENT or now_us - part.updated_us > _CANCEL_WITHIN_US:
            return Outcome(Result.REFUSED, "only a meter event can be cancelled, within 24 hours")
        work = self._api.call(lambda client: sending.cancel_event(client, part))
        return await _attempted(work, sending.ADJUSTMENTS)

    async def reckoned(self, wanted: Collection[tuple[str, Target]], window: Window) -> Sequence[Reckoned]:
        """See Sink."""
        found: list[Reckoned] = []
        for payee, target in sorted(wanted):
            try:
                found += await self._reckoning.of(payee, target, window)
            except Denied as error:
                raise Unavailable(str(error)) from error
            except Refused:
                continue
        return found

    async def prices(self, targets: Collection[Target]) -> Mapping[Target, UnitPrice]:
        """See Quotes."""
        found: dict[Target, UnitPrice] = {}
        for target in targets:
            try:
                price = await self._catalog.price(target.price)
            except NotTold:
                continue
            if price is not None and price.unit_amount is not None:
                found[target] = UnitPrice(price.unit_amount, price.currency)
        return found

    async def period(self, payer: Payer, target: Target, *, now_us: int) -> Window | None:
        """See Quotes."""
        if target.trigger is Trigger.STRIPE_INVOICE or not payer.stripe_customer:
            return month_of(now_us // 1_000_000)
        try:
            item = await self._subscriptions.item(payer.stripe_customer, target.price)
        except NotTold:
            return None
        return None if isinstance(item, Held) else item.period

    async def read_notice(self, body: bytes, signature: str) -> Notice:
        """See Notices."""
        return await read_notice(self._api, body, signature, self._webhook_secret)

    async def close(self) -> None:
        """See Sink."""
        await self._api.close()


async def _attempted(work: Awaitable[Outcome], needs: str) -> Outcome:
    """Returns what became of an attempt; ``needs`` is the permission that it takes."""
    try:
        return await work
    except stripe.StripeError as error:
        return outcome_of(error, needs)


def _finding(target: Target, billable: Billable | str) -> Finding:
    if isinstance(billable, str):
        return Finding(Level.REFUSED, billable, target)
    if target.trigger is not Trigger.STRIPE_INVOICE and billable.meter is None:
        told = f"{target.price} has no meter: usage records are a path that Stripe keeps for the time being only; move it to a meter"
        return Finding(Level.WARNING, told, target)
    return Finding(Level.OK, "can be billed", target)


def _place(target: Target, billable: Billable) -> str:
    """Returns what makes two targets the same place: a meter, else the price."""
    return billable.meter.meter_id if billable.meter is not None else target.price


def _conflicts(places: Mapping[str, Sequence[Target]]) -> list[Finding]:
    """Returns a refusal for each target of a place that several triggers reach: it would be billed more than once."""
    found = []
    for place, targets in sorted(places.items()):
        triggers = sorted({target.trigger for target in targets})
        told = f"{place} is reached by {' and '.join(triggers)}: let its policies use one trigger"
        found += [Finding(Level.REFUSED, told, target) for target in targets if len(triggers) > 1]
    return found
