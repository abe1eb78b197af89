"""What Stripe knows of prices and meters, remembered for some minutes; and whether units can be billed there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar

import stripe

from meter.stripe.api import Denied, StripeApi
from usageflow.domain.billing import Target
from usageflow.domain.clock import Clock
from usageflow.domain.policies import Trigger

T = TypeVar("T")
_KEPT_US = 600_000_000


@dataclass(frozen=True, slots=True)
class Account:
    """Whose key it is."""

    account_id: str
    environment: str


@dataclass(frozen=True, slots=True)
class PriceFacts:
    """What matters of a price. ``unit_amount`` is None where it is no single amount."""

    price_id: str
    recurring: bool
    licensed: bool
    meter_id: str
    currency: str
    unit_amount: Decimal | None


@dataclass(frozen=True, slots=True)
class MeterFacts:
    """What matters of a meter. ``window`` is `hour` or `day` where only the newest event of each counts."""

    meter_id: str
    event_name: str
    formula: str
    window: str
    active: bool
    customer_key: str
    value_key: str


@dataclass(frozen=True, slots=True)
class Billable:
    """How a target is reached: by a meter, else (None) by usage records or invoice items."""

    price: PriceFacts
    meter: MeterFacts | None


class Catalog:
    """Looks things up once in ten minutes."""

    def __init__(self, api: StripeApi, clock: Clock, *, live: bool) -> None:
        self._api = api
        self._clock = clock
        self._environment = "live" if live else "test"
        self._account: Account | None = None
        self._known: dict[tuple[str, str], tuple[int, Any]] = {}

    async def account(self) -> Account:
        """Returns whose key it is. Restricted keys may not ask for it, but the refusal names the account
        (https://github.com/dj-stripe/dj-stripe/pull/1131). Raises NotTold, Unavailable.
        """
        if self._account is None:
            try:
                found = await self._api.look(
                    lambda client: client.v1.accounts.retrieve_current(), "Accounts: read"
                )
                name = str(found.id) if found is not None else ""
            except Denied as error:
                if not error.account:
                    raise
                name = error.account
            self._account = Account(name, self._environment)
        return self._account

    async def price(self, name: str) -> PriceFacts | None:
        """Returns a price. Raises NotTold, Unavailable."""
        found = await self._look(
            "price", name, lambda client: client.v1.prices.retrieve(name), "Prices: read"
        )
        return None if found is None else _price(found)

    async def meter(self, name: str) -> MeterFacts | None:
        """Returns a meter. Raises NotTold, Unavailable."""
        found = await self._look(
            "meter", name, lambda client: client.v1.billing.meters.retrieve(name), "Billing meters: read"
        )
        return None if found is None else _meter(found)

    async def billable(self, target: Target) -> Billable | str:
        """Returns how a target is reached, or why it is not, with the fix. Raises NotTold, Unavailable."""
        price = await self.price(target.price)
        if price is None:
            return f"there is no Stripe price {target.price} in {self._environment} mode: correct the policy, or use the key of the other mode"
        meter = await self.meter(price.meter_id) if price.meter_id else None
        fault = refusal(target, price, meter)
        return fault or Billable(price, meter)

    async def _look(
        self, kind: str, name: str, work: Callable[[stripe.StripeClient], T], needs: str
    ) -> T | None:
        now_us = self._clock.now_us()
        known: tuple[int, T | None] = self._known.get((kind, name), (-_KEPT_US, None))
        if known[1] is None or now_us - known[0] >= _KEPT_US:
            known = self._known[kind, name] = (now_us, await self._api.look(work, needs))
        return known[1]


def refusal(target: Target, price: PriceFacts, meter: MeterFacts | None) -> str:
    """Returns why units cannot be billed at a target, and what to do; "" where they can."""
    name = target.price
    if target.trigger is Trigger.STRIPE_INVOICE:
        if price.recurring:
            return f"{name} is a recurring price, and invoice items take one-time prices: make a one-time price, or use stripe_usage"
        return ""
    if not price.recurring:
        return f"{name} is a one-time price: use stripe_invoice, or a recurring price with a meter"
    if price.licensed:
        return f"{name} is licensed, its quantity counts seats: make a metered price with a meter"
    if meter is None:
        wrong = bool(target.event_name or price.meter_id)
        return (
            f"{name} has no meter that listens to {target.event_name!r}: make one, or drop event_name"
            if wrong
            else ""
        )
    return _meter_fault(target, meter)


def _meter_fault(target: Target, meter: MeterFacts) -> str:
    if target.event_name not in ("", meter.event_name):
        return f"the meter of {target.price} listens to {meter.event_name!r}, not {target.event_name!r}: correct event_name"
    if not meter.active:
        return f"the meter {meter.event_name!r} of {target.price} is inactive: reactivate it in Stripe"
    if meter.formula != "sum":
        return (
            f"the meter {meter.event_name!r} aggregates by {meter.formula}, so units of many requests cannot be sent together: "
            "make a meter that sums"
        )
    return ""


def _price(found: Any) -> PriceFacts:
    recurring = getattr(found, "recurring", None)
    amount = getattr(found, "unit_amount_decimal", None)
    return PriceFacts(
        price_id=found.id,
        recurring=found.type == "recurring",
        licensed=getattr(recurring, "usage_type", "") == "licensed",
        meter_id=getattr(recurring, "meter", None) or "",
        currency=found.currency,
        unit_amount=None if amount is None else Decimal(str(amount)),
    )


def _meter(found: Any) -> MeterFacts:
    return MeterFacts(
        meter_id=found.id,
        event_name=found.event_name,
        formula=found.default_aggregation.formula,
        window=getattr(found, "event_time_window", None) or "",
        active=found.status == "active",
        customer_key=found.customer_mapping.event_payload_key,
        value_key=found.value_settings.event_payload_key,
    )
