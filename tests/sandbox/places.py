"""Objects of our own in a Stripe sandbox, and what they are tidied up by."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import stripe

from meter.stripe import StripeSink, build_stripe_sink
from usageflow.runtime.clock import SystemClock

NAME = "usageflow sandbox"
BASE = os.environ.get("STRIPE_TEST_API", "")
"""Another address: the stand-in's, to try the tests themselves."""


def key() -> str:
    """Returns the key. Raises ValueError for one that is not for tests."""
    found = os.environ["STRIPE_TEST_KEY"]
    if not found.startswith(("sk_test_", "rk_test_")):
        raise ValueError("STRIPE_TEST_KEY is no test key: it begins with sk_test_ or rk_test_")
    return found


def build() -> StripeSink:
    """Returns the sink that is tested, as an installation of its own."""
    installation = secrets.token_hex(8)

    async def installation_id() -> str:
        return installation

    return build_stripe_sink(key(), SystemClock(), installation_id, base=BASE, rate=5)


@dataclass
class Sandbox:
    """Makes objects under names that nothing has, and tidies them up."""

    client: stripe.StripeClient
    run: str = field(default_factory=lambda: secrets.token_hex(4))
    _undo: list[Callable[[], Any]] = field(default_factory=list)

    @classmethod
    def open(cls) -> Sandbox:
        """Returns a sandbox with the key of the environment."""
        places: Any = dict.fromkeys(("api", "connect", "files", "meter_events"), BASE) if BASE else None
        options = {"base_addresses": places} if places else {}
        return cls(stripe.StripeClient(key(), max_network_retries=3, **options))

    def customer(self) -> str:
        """Returns a new customer."""
        made = self.client.v1.customers.create({"name": f"{NAME} {self.run}"})
        self._undo.append(lambda: self.client.v1.customers.delete(made.id))
        return made.id

    def meter(self, name: str, window: str = "") -> tuple[str, str]:
        """Returns a new meter that sums, and its event name."""
        event_name = f"usageflow_{name}_{self.run}"
        params: Any = {
            "display_name": f"{NAME} {name}",
            "event_name": event_name,
            "default_aggregation": {"formula": "sum"},
            "customer_mapping": {"type": "by_id", "event_payload_key": "stripe_customer_id"},
            "value_settings": {"event_payload_key": "value"},
        }
        if window:
            params["event_time_window"] = window
        made = self.client.v1.billing.meters.create(params)
        self._undo.append(lambda: self.client.v1.billing.meters.deactivate(made.id))
        return made.id, event_name

    def price(self, meter: str = "") -> str:
        """Returns a new price: metered where it has a meter, else one-time."""
        product = self.client.v1.products.create({"name": NAME})
        params: Any = {"product": product.id, "currency": "usd", "unit_amount": 2}
        if meter:
            params["recurring"] = {"interval": "month", "usage_type": "metered", "meter": meter}
        made = self.client.v1.prices.create(params)
        self._undo.append(lambda: self.client.v1.prices.update(made.id, {"active": False}))
        return made.id

    def subscribe(self, customer: str, price: str) -> str:
        """Returns a new subscription, paid by invoice, so that it takes no payment method."""
        params: Any = {
            "customer": customer,
            "items": [{"price": price}],
            "collection_method": "send_invoice",
            "days_until_due": 30,
        }
        return self.client.v1.subscriptions.create(params).id

    def tidy(self) -> None:
        """Deletes customers (their subscriptions end with them), deactivates prices and meters."""
        for undo in reversed(self._undo):
            undo()
