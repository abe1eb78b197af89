"""Customers, prices and meters."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

from usageflow.standin.book import Book, Object, required, table
from usageflow.standin.errors import invalid

_FORMULAS = ("sum", "count", "last")
_WINDOWS = ("day", "hour")


def account(book: Book, _: Object) -> Object:
    """GET /v1/account."""
    return {"id": book.account, "object": "account", "country": "US", "default_currency": "usd"}


def create_customer(book: Book, params: Object) -> Object:
    """POST /v1/customers."""
    fields = {name: params.get(name) for name in ("name", "email")}
    return book.put("customer", "cus", {**_named(params), **fields, "metadata": params.get("metadata", {})})


def create_product(book: Book, params: Object) -> Object:
    """POST /v1/products."""
    return book.put("product", "prod", {**_named(params), "name": required(params, "name"), "active": True})


def create_price(book: Book, params: Object) -> Object:
    """POST /v1/prices."""
    recurring = table(params, "recurring")
    if recurring.get("meter"):
        book.get("billing.meter", recurring["meter"])
    amount = decimal_of(params, "unit_amount_decimal", params.get("unit_amount", "0"))
    fields: Object = {
        "active": True,
        "billing_scheme": "per_unit",
        "currency": params.get("currency", "usd"),
        "product": params.get("product", ""),
        "unit_amount_decimal": format(amount, "f"),
        "unit_amount": int(amount) if amount == int(amount) else None,
        "type": "recurring" if recurring else "one_time",
        "recurring": None,
    }
    if recurring:
        fields["recurring"] = {
            "interval": recurring.get("interval", "month"),
            "interval_count": 1,
            "usage_type": recurring.get("usage_type", "metered"),
            "meter": recurring.get("meter"),
        }
    return book.put("price", "price", {**_named(params), **fields})


def update_price(book: Book, params: Object) -> Object:
    """POST /v1/prices/{id}: only whether it is in use."""
    price = book.get("price", params["id"])
    price["active"] = params.get("active", "true") in ("true", True)
    return price


def delete_customer(book: Book, params: Object) -> Object:
    """DELETE /v1/customers/{id}: its subscriptions end with it."""
    name = book.get("customer", params["id"])["id"]
    for each in book.all("subscription").values():
        if each["customer"] == name:
            each |= {"status": "canceled", "ended_at": book.clock.now_s()}
    del book.all("customer")[name]
    return {"id": name, "object": "customer", "deleted": True}


def create_meter(book: Book, params: Object) -> Object:
    """POST /v1/billing/meters."""
    name = required(params, "event_name")
    formula = table(params, "default_aggregation").get("formula", "sum")
    window = params.get("event_time_window") or None
    if formula not in _FORMULAS:
        raise invalid(f"Invalid default_aggregation[formula]: must be one of {', '.join(_FORMULAS)}")
    if window is not None and window not in _WINDOWS:
        raise invalid("Invalid event_time_window: must be one of day, hour", "event_time_window")
    if any(
        each["event_name"] == name and each["status"] == "active"
        for each in book.all("billing.meter").values()
    ):
        raise invalid(f"An active meter already exists with event name {name}.", "event_name")
    return book.put(
        "billing.meter",
        "mtr",
        {
            **_named(params),
            "display_name": params.get("display_name", name),
            "event_name": name,
            "event_time_window": window,
            "status": "active",
            "default_aggregation": {"formula": formula},
            "customer_mapping": {
                "type": "by_id",
                "event_payload_key": _key(params, "customer_mapping", "stripe_customer_id"),
            },
            "value_settings": {"event_payload_key": _key(params, "value_settings", "value")},
        },
    )


def deactivate_meter(book: Book, params: Object) -> Object:
    """POST /v1/billing/meters/{id}/deactivate."""
    return _switch(book, params, "inactive")


def reactivate_meter(book: Book, params: Object) -> Object:
    """POST /v1/billing/meters/{id}/reactivate."""
    return _switch(book, params, "active")


def _switch(book: Book, params: Object, status: str) -> Object:
    meter = book.get("billing.meter", params["id"])
    meter["status"] = status
    return meter


def list_meters(book: Book, params: Object) -> Object:
    """GET /v1/billing/meters."""
    wanted = params.get("status")
    fits = (each for each in book.all("billing.meter").values() if wanted in (None, each["status"]))
    return book.page("billing.meter", params, "/v1/billing/meters", fits)


def decimal_of(params: Object, name: str, default: Any = None) -> Decimal:
    """Returns a parameter that is a decimal of at most 12 places. Raises StripeError."""
    text = params.get(name, default)
    try:
        found = Decimal(str(text))
    except InvalidOperation:
        raise invalid(f"Invalid decimal: {str(text)[:40]}", name) from None
    if not found.is_finite() or "e" in str(text).lower() or -int(found.as_tuple().exponent) > 12:
        raise invalid(f"Invalid decimal: {str(text)[:40]}", name)
    return found


def _named(params: Object) -> Object:
    """Returns the id that a seed gives; callers of the API get one."""
    return {"id": params["_id"]} if "_id" in params else {}


def _key(params: Object, name: str, default: str) -> str:
    return str(table(params, name).get("event_payload_key") or default)
