"""What is said to Stripe for a part; each function is one attempt. They raise stripe.StripeError."""

from __future__ import annotations

from typing import Any

import stripe

from usageflow.domain.billing import Outcome, Part, Result

EVENTS = "Billing meter events: write"
RECORDS = "Usage records: write"
ADJUSTMENTS = "Billing meter event adjustments: write"
"""Permissions."""

_ACACIA = "2025-02-24.acacia"
"""The last version of the API with usage records
(https://docs.stripe.com/billing/subscriptions/usage-based-legacy/sdk-upgrade)."""


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
