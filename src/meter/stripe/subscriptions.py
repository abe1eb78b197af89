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
    """A subscription item with its present period. ``last_final``: the invoice of the period before is not a draft any more. ``ended``: there is no
    period after it, but its invoice is still a draft.
    """

    item_id: str
    subscription_id: str
    period: Window
    last_final: bool
    ended: bool = False


class Subscriptions:
    """Resolves items; what it finds it remembers for five minutes, less near the end of a period."""

    def __init__(self, api: StripeApi, clock: Clock) -> None:
        self._api = api
        self._clock = clock
        self._known: dict[tuple[str, str], tuple[int, Item]] = {}

    async def item(self, customer: str, price: str) -> Item | Held:
        """Returns the one item of an active subscription, or why there is none. Raises NotTold, Unavailable."""
        now_us = self._clock.now_us()
        at_us, known = self._known.get((customer, price), (0, None))
        if known is not None and now_us - at_us < _KEPT_US and not _near_end(known, now_us):
            return known
        listed = await self._api.look(lambda client: _find(client, customer, price), "Subscriptions: read")
        found = _billing(listed or [])
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
        if subscription.status in _BILLING or _has_draft(subscription)
        # `items` is a method of dictionaries, so the field goes by its key.
        for item in subscription["items"].data
        if item.price.id == price
    ]


def _billing(found: list[Item]) -> list[Item]:
    """Returns the items of active subscriptions; where there are none, the one that ended last, for its last hours are reported after its end."""
    active = [item for item in found if not item.ended]
    return active or sorted(found, key=lambda item: item.period.end_s)[-1:]


def _has_draft(subscription: Any) -> bool:
    """Tells whether a subscription has ended, and usage still gets on its last invoice."""
    invoice = getattr(subscription, "latest_invoice", None)
    return bool(subscription.status == "canceled" and getattr(invoice, "status", None) == "draft")


def _item(subscription: Any, item: Any) -> Item:
    invoice = getattr(subscription, "latest_invoice", None)
    ended = subscription.status == "canceled"
    ended_s = getattr(subscription, "ended_at", None) if ended else None
    end_s = min(item.current_period_end, ended_s or item.current_period_end)
    # The draft of an ended one is of this period, so the one before is final.
    final = ended or getattr(invoice, "status", None) not in (None, "draft")
    return Item(item.id, subscription.id, Window(item.current_period_start, end_s), final, ended)
