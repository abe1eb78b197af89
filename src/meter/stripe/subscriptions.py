"""Which subscription item bills a customer's units of a price, and its period."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import stripe

from meter.stripe.api import StripeApi
from usageflow.domain.billing import Held, HoldReason, Window
from usageflow.domain.clock import Clock

_BILLING = frozenset({"active", "trialing", "past_due"})
_KEPT_US = 300_000_000
_NEAR_END_S = 600


@dataclass(frozen=True, slots=True)
class Item:
    """A subscription item with its present period. ``last_final``: the invoice of the period before is not a draft any more."""

    item_id: str
    subscription_id: str
    period: Window
    last_final: bool


class Subscriptions:
    """Resolves items; what it finds it remembers for five minutes, less near the end of a period."""

    def __init__(self, api: StripeApi, clock: Clock) -> None:
        self._api = api
        self._clock = clock
        self._known: dict[tuple[str, str], tuple[int, Item]] = {}

    async def item(self, customer: str, price: str) -> Item | Held:
        """Returns the one item of an active subscription, or why there is none. Raises Denied, Unavailable."""
        now_us = self._clock.now_us()
        at_us, known = self._known.get((customer, price), (0, None))
        if known is not None and now_us - at_us < _KEPT_US and not _near_end(known, now_us):
            return known
        found = await self._api.look(lambda client: _find(client, customer, price))
        if not found:
            message = f"{customer} has no active subscription with {price}: subscribe them in Stripe, then it is billed"
            return Held(HoldReason.NO_SUBSCRIPTION, message)
        if len(found) > 1:
            names = ", ".join(each.subscription_id for each in found)
            message = f"{customer} has several active subscriptions with {price} ({names}): end all but one"
            return Held(HoldReason.SEVERAL_SUBSCRIPTIONS, message)
        self._known[customer, price] = (now_us, found[0])
        return found[0]


def _near_end(item: Item, now_us: int) -> bool:
    return item.period.end_s - now_us // 1_000_000 < _NEAR_END_S


def _find(client: stripe.StripeClient, customer: str, price: str) -> list[Item]:
    page = client.v1.subscriptions.list(
        {
            "customer": customer,
            "price": price,
            "status": "all",
            "limit": 100,
            "expand": ["data.latest_invoice"],
        }
    )
    return [
        _item(subscription, item)
        for subscription in page.auto_paging_iter()
        if subscription.status in _BILLING
        # `items` is a method of dictionaries, so the field goes by its key.
        for item in subscription["items"].data
        if item.price.id == price
    ]


def _item(subscription: Any, item: Any) -> Item:
    invoice = getattr(subscription, "latest_invoice", None)
    status = getattr(invoice, "status", None)
    period = Window(item.current_period_start, item.current_period_end)
    return Item(item.id, subscription.id, period, status not in (None, "draft"))
