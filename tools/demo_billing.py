"""The end of the demo: what its traffic comes to on an invoice, by the stand-in for Stripe."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from tools.processes import ProcessFailed, Service
from tools.standin import KEY, StandIn

PRICE, EVENT, CENTS = "price_123", "api_calls", 2
"""What examples/usageflow.yaml meters transactions by, and what the stand-in charges for one."""


def objects(users: Mapping[str, int]) -> dict[str, list[dict[str, Any]]]:
    """Returns what the stand-in has to know: a customer and a subscription for each user."""
    price = {"id": PRICE, "unit_amount_decimal": str(CENTS), "recurring": {"meter": "mtr_demo"}}
    return {
        "customers": [{"id": f"cus_{user}", "name": user} for user in users],
        "meters": [{"id": "mtr_demo", "event_name": EVENT}],
        "prices": [price],
        "subscriptions": [{"customer": f"cus_{user}", "items": [{"price": PRICE}]} for user in users],
    }


def enter_customers(service: Service, users: Mapping[str, int]) -> None:
    """Says whose requests are whose. Raises ProcessFailed."""
    for user in users:
        made = service.command(
            "customers", "create", user, "--identity", user, "--stripe-customer", f"cus_{user}"
        )
        if made.returncode:
            raise ProcessFailed(made.stderr)


def bill(service: Service, stripe: StandIn, users: Mapping[str, int]) -> str:
    """Sends what was metered, shows both sides' previews and returns a line about them. ``users`` maps to the transactions that were
    allowed. Raises ProcessFailed where they are not what is billed.
    """
    flushed = service.command("meter", "flush", "--wait")
    if flushed.returncode:
        raise ProcessFailed(flushed.stderr)
    print(f"{'customer':<10} {'allowed':>8} {'billed':>7} {'at Stripe':>10}")
    total = 0
    for user, allowed in users.items():
        ours, theirs = _sent(service, user), _invoiced(stripe, f"cus_{user}")
        print(f"{user:<10} {allowed:>8} {ours:>7} {theirs:>10}")
        if not ours == theirs == allowed:
            raise ProcessFailed(
                f"{user} was allowed {allowed} transactions; we billed {ours}, Stripe counts {theirs}"
            )
        total += allowed
    return f"{total} transactions on the invoices of {len(users)} customers, {total * CENTS / 100:.2f} USD"


def _sent(service: Service, customer: str) -> Decimal:
    """Returns the units that our preview says were sent."""
    answer = service.command("meter", "preview", "--customer", customer, "--output", "json")
    if answer.returncode:
        raise ProcessFailed(answer.stderr)
    lines = json.loads(answer.stdout, parse_float=Decimal)["lines"]
    return sum((Decimal(line["sent"]) for line in lines if line["price"] == PRICE), Decimal(0))


def _invoiced(stripe: StandIn, customer: str) -> Decimal:
    """Returns the units on the invoice that is to come."""
    body = urllib.parse.urlencode({"customer": customer}).encode()
    headers = {"Authorization": f"Bearer {KEY}"}
    request = urllib.request.Request(f"{stripe.url}/v1/invoices/create_preview", body, headers)  # noqa: S310 - loopback
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        lines = json.loads(answer.read(), parse_float=Decimal)["lines"]["data"]
    return sum((Decimal(line["quantity_decimal"]) for line in lines), Decimal(0))
