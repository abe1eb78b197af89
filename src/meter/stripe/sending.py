"""What is said to Stripe for a part; each function is one attempt. They raise stripe.StripeError."""

from __future__ import annotations

from decimal import Decimal
from hashlib import sha256
from typing import Any

import stripe

from meter.stripe.answers import replayed
from usageflow.domain.billing import Outcome, Part, Result

_ACACIA = "2025-02-24.acacia"
"""The last version of the API with usage records
(https://docs.stripe.com/billing/subscriptions/usage-based-legacy/sdk-upgrade)."""

_KEY = "usageflow_key"


def meter_event(client: stripe.StripeClient, part: Part) -> Outcome:
    """Sends a meter event. The identifier makes it count once; a fresh idempotency key per attempt keeps an error of the server from being
    answered for a day.
    """
    details = part.terms.details
    client.v1.billing.meter_events.create(
        {
            "event_name": details["event_name"],
            "identifier": part.identifier,
            "timestamp": part.terms.timestamp_s,
            "payload": {
                details["customer_key"]: part.terms.payee,
                details["value_key"]: format(part.value, "f"),
            },
        },
        {"idempotency_key": f"{part.identifier}:{part.attempts}"},
    )
    return Outcome(Result.TAKEN, stripe_id=part.identifier)


def usage_record(client: stripe.StripeClient, part: Part) -> Outcome:
    """Sets the usage record of a period to the total: setting it again changes nothing."""
    answer: Any = client.raw_request(
        "post",
        f"/v1/subscription_items/{part.terms.details['item']}/usage_records",
        quantity=int(part.value),
        timestamp=part.terms.timestamp_s,
        action="set",
        stripe_version=_ACACIA,
        idempotency_key=f"{part.identifier}:{part.attempts}",
    )
    made = client.deserialize(answer, api_mode="V1")
    return Outcome(Result.TAKEN, stripe_id=str(getattr(made, "id", "")))


def invoice_item(client: stripe.StripeClient, part: Part) -> Outcome:
    """Sets the item of a period to the total, less what is on final invoices. What an attempt without an answer made is found by its key."""
    key = key_of(part)
    items = _items(client, part, key)
    billed = sum((_quantity(item) for item in items if not _is_open(client, item)), Decimal(0))
    quantity = plain(part.value - billed)
    still_open = next((item for item in items if _is_open(client, item)), None)
    if still_open is not None:
        options = {"idempotency_key": f"{part.identifier}:{part.attempts}"}
        client.v1.invoice_items.update(still_open.id, {"quantity_decimal": quantity}, options)  # type: ignore[arg-type]
        return Outcome(Result.TAKEN, stripe_id=still_open.id)
    if not quantity:
        return Outcome(Result.TAKEN, "all of it is on final invoices")
    return Outcome(Result.TAKEN, stripe_id=_create(client, part, key, quantity, len(items)))


def _create(client: stripe.StripeClient, part: Part, key: str, quantity: Decimal, revision: int) -> str:
    """Makes an item. Its idempotency key is the same at every attempt, for Stripe may still be at the one before; only where the
    key answers with an error for ever, and nothing was made, another one is used.
    """
    span = part.terms.span
    params: Any = {
        "customer": part.terms.payee,
        "pricing": {"price": part.target.price},
        "quantity_decimal": quantity,
        "metadata": {_KEY: key, "usageflow_customer": part.customer},
        "description": _described(part, revision),
    }
    if span is not None:
        params["period"] = {"start": span.start_s, "end": span.end_s - 1}
    own = f"{key}:{revision}"
    try:
        return client.v1.invoice_items.create(params, {"idempotency_key": own}).id
    except stripe.StripeError as error:
        changed = error.http_status == 400 and "idempotent" in str(error.user_message)
        if not (replayed(error) or changed) or len(_items(client, part, key)) > revision:
            raise
    return client.v1.invoice_items.create(
        params, {"idempotency_key": f"{own}:{part.identifier}:{part.attempts}"}
    ).id


def _described(part: Part, revision: int) -> str:
    more = f", usage reported later ({revision})" if revision else ""
    return f"Usage {part.target.price}{more}"


def key_of(part: Part) -> str:
    """Returns what the items of a part's span carry in their metadata."""
    span = part.terms.span or part.window
    fields = (
        part.terms.details.get("installation", ""),
        part.application_id,
        part.customer,
        part.terms.payee,
        str(part.target),
        str(span.start_s),
    )
    return f"uf1_{sha256(repr(fields).encode('utf-8', 'surrogatepass')).hexdigest()}"


def _items(client: stripe.StripeClient, part: Part, key: str) -> list[Any]:
    """Returns the items of a span, whatever became of their invoices."""
    page = client.v1.invoice_items.list({"customer": part.terms.payee, "limit": 100})
    return [item for item in page.auto_paging_iter() if _metadata(item).get(_KEY) == key]


def _metadata(item: Any) -> dict[str, str]:
    return item.to_dict().get("metadata") or {}


def _is_open(client: stripe.StripeClient, item: Any) -> bool:
    """Tells whether an item may still be changed."""
    if item.invoice is None:
        return True
    return bool(client.v1.invoices.retrieve(str(item.invoice)).status == "draft")


def _quantity(item: Any) -> Decimal:
    return Decimal(str(item.quantity_decimal))


def plain(value: Decimal) -> Decimal:
    """Returns a decimal without an exponent: the library writes 1E+3 as it stands."""
    return Decimal(format(value, "f"))


def cancel_event(client: stripe.StripeClient, part: Part) -> Outcome:
    """Takes a meter event back, within 24 hours."""
    client.v1.billing.meter_event_adjustments.create(
        {
            "event_name": part.terms.details["event_name"],
            "type": "cancel",
            "cancel": {"identifier": part.identifier},
        }
    )
    return Outcome(Result.TAKEN)
