"""What Stripe says that it counts: meters' summaries, and the quantities of our invoice items."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import stripe

from meter.sinks.port import Reckoned
from meter.stripe.api import StripeApi
from meter.stripe.catalog import Catalog, MeterFacts
from meter.stripe.items import InvoiceItems
from usageflow.domain.billing import HOUR_S, Target, Window
from usageflow.domain.ids import DAY_S
from usageflow.domain.policies import Trigger


class Reckoning:
    """Reads back. Usage records cannot be read by hours, so nothing is told of them."""

    def __init__(self, api: StripeApi, catalog: Catalog, items: InvoiceItems) -> None:
        self._api = api
        self._catalog = catalog
        self._items = items

    async def of(self, payee: str, target: Target, window: Window) -> list[Reckoned]:
        """Returns what counts for a payee and target within a window. Raises NotTold, Unavailable."""
        billable = await self._catalog.billable(target)
        if isinstance(billable, str):
            return []
        rows: dict[int, Decimal] = {}
        if billable.meter is not None:
            rows = await self._of_meter(payee, billable.meter, window)
        if target.trigger is not Trigger.STRIPE_USAGE:
            for start_s, quantity in await self._items.quantities(payee, target, window):
                hour_s = start_s // HOUR_S * HOUR_S
                rows[hour_s] = rows.get(hour_s, Decimal(0)) + quantity
        return [Reckoned(payee, target, hour_s, value) for hour_s, value in rows.items()]

    async def _of_meter(self, payee: str, meter: MeterFacts, window: Window) -> dict[int, Decimal]:
        """Returns what a meter counts by hours, or by days where it counts days: the whole ones of the window, 0 where Stripe lists nothing."""
        step = DAY_S if meter.window == "day" else HOUR_S
        starts = range(-(-window.start_s // step) * step, window.end_s // step * step, step)
        if not starts:
            return {}
        whole = Window(starts.start, starts.stop)
        rows = await self._api.look(
            lambda client: _summaries(client, meter, payee, whole), "Billing meters: read"
        )
        return dict.fromkeys(starts, Decimal(0)) | dict(rows or [])


def _summaries(
    client: stripe.StripeClient, meter: MeterFacts, payee: str, window: Window
) -> list[tuple[int, Decimal]]:
    params: Any = {
        "customer": payee,
        "start_time": window.start_s,
        "end_time": window.end_s,
        "value_grouping_window": "day" if meter.window == "day" else "hour",
        "limit": 100,
    }
    page = client.v1.billing.meters.event_summaries.list(meter.meter_id, params)
    # Stripe answers with a double; its shortest spelling is what was added up, to 15 digits.
    return [(each.start_time, Decimal(repr(each.aggregated_value))) for each in page.auto_paging_iter()]
