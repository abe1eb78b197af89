"""Billing at Stripe, by its own library."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from meter.stripe.api import StripeApi
from meter.stripe.catalog import Catalog
from meter.stripe.rates import Rates
from meter.stripe.sink import StripeSink
from usageflow.domain.clock import Clock

__all__ = ["StripeSink", "build_stripe_sink"]


def build_stripe_sink(
    key: str,
    clock: Clock,
    installation_id: Callable[[], Awaitable[str]],
    *,
    base: str = "",
    rate: float | None = None,
    webhook_secret: str = "",
) -> StripeSink:
    """Wires the sink. ``base`` is another address of the API, ``rate`` another number of calls a second."""
    live = key.startswith(("sk_live_", "rk_live_"))
    api = StripeApi(key, Rates(clock, live=live, rate=rate), base=base)
    return StripeSink(api, Catalog(api, clock, live=live), clock, installation_id, webhook_secret)
