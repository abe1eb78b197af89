"""Subscriptions, their periods, and the usage records of prices without a meter."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Any

from usageflow.standin.book import Book, Object, required, whole
from usageflow.standin.errors import StripeError, invalid

ACTIVE = ("active", "trialing", "past_due")
_BASIL = "2025-03-31"
"""The first version of the API without usage records."""


def create(book: Book, params: Object) -> Object:
    """POST /v1/subscriptions. A seed may give the period."""
    customer = book.get("customer", required(params, "customer"))["id"]
    wanted = params.get("items") or []
    if not wanted:
        raise invalid("Missing required param: items.", "items", "parameter_missing")
    now_s = book.clock.now_s()
    start = int(params.get("_current_period_start", now_s))
    end = int(params.get("_current_period_end", next_month(start)))
    items = []
    for each in wanted:
        price = book.get("price", required(each, "price"))
        if price["type"] != "recurring":
            raise invalid(
                "The price specified is set to `type=one_time` but this field only accepts prices with `type=recurring`."
            )
        fields = {
            "price": price,
            "current_period_start": start,
            "current_period_end": end,
            "metadata": {},
            **({"id": each["_id"]} if "_id" in each else {}),
        }
        items.append(book.put("subscription_item", "si", fields))
    named = {"id": params["_id"]} if "_id" in params else {}
    made = book.put(
        "subscription",
        "sub",
        {
            **named,
            "customer": customer,
            "status": params.get("status", "active"),
            "cancel_at_period_end": params.get("cancel_at_period_end") in ("true", True),
            "items": {"object": "list", "has_more": False, "data": items, "url": "/v1/subscription_items"},
            "ended_at": None,
            "latest_invoice": None,
            "metadata": params.get("metadata", {}),
        },
    )
    for item in items:
        item["subscription"] = made["id"]
    book.due_s = 0
    return made


def next_month(second: int) -> int:
    """Returns the same instant a month later, on the 28th at the latest."""
    at = datetime.fromtimestamp(second, UTC)
    year, month = (at.year + 1, 1) if at.month == 12 else (at.year, at.month + 1)
    return int(at.replace(year=year, month=month, day=min(at.day, 28)).timestamp())


def listed(book: Book, params: Object) -> Object:
    """GET /v1/subscriptions: without ``status`` all but the canceled ones."""
    status, price = params.get("status"), params.get("price")
    customer = params.get("customer")
    if customer is not None and customer not in book.all("customer"):
        # A path would have been answered with 404.
        raise invalid(f"No such customer: '{customer}'", "customer", "resource_missing")

    def fits(each: Object) -> bool:
        prices = {item["price"]["id"] for item in each["items"]["data"]}
        return (
            customer in (None, each["customer"])
            and (price is None or price in prices)
            and (status in ("all", each["status"]) or (status is None and each["status"] != "canceled"))
        )

    found: Iterable[Object] = filter(fits, book.all("subscription").values())
    if "data.latest_invoice" in params.get("expand", []):
        found = map(partial(_with_invoice, book), found)
    return book.page("subscription", params, "/v1/subscriptions", found)


def _with_invoice(book: Book, subscription: Object) -> Object:
    name = subscription["latest_invoice"]
    return {**subscription, "latest_invoice": book.all("invoice").get(name) if name else None}


def cancel(book: Book, params: Object) -> Object:
    """DELETE /v1/subscriptions/{id}."""
    found = book.get("subscription", params["id"])
    found |= {"status": "canceled", "ended_at": book.clock.now_s()}
    return found


def active_of(book: Book, customer: str) -> list[Object]:
    """Returns a customer's subscriptions that bill."""
    return [
        each
        for each in book.all("subscription").values()
        if each["customer"] == customer and each["status"] in ACTIVE
    ]


def create_usage_record(book: Book, params: Object) -> Object:
    """POST /v1/subscription_items/{id}/usage_records, under a version that still has it."""
    if params.get("_version", "9999") >= _BASIL:
        raise StripeError(404, "Unrecognized request URL (POST: /v1/subscription_items/:id/usage_records).")
    item = book.get("subscription_item", params["id"])
    recurring = item["price"]["recurring"]
    if recurring["usage_type"] != "metered" or recurring["meter"]:
        raise invalid("Usage records can only be created for metered prices without a meter.", "id")
    quantity, at_s = whole(params, "quantity"), whole(params, "timestamp", book.clock.now_s())
    if not item["current_period_start"] <= at_s < item["current_period_end"]:
        message = "Cannot create the usage record with this timestamp because timestamps must be after the subscription's last invoice period (or current account time)."
        raise invalid(message, "timestamp")
    if at_s > book.clock.now_s():
        raise invalid("Cannot create the usage record: the timestamp is in the future.", "timestamp")
    records: dict[int, Any] = item.setdefault("_records", {})
    action = params.get("action", "increment")
    if action not in ("set", "increment"):
        raise invalid("Invalid action: must be one of increment, set", "action")
    records[at_s] = quantity if action == "set" else records.get(at_s, 0) + quantity
    return {
        "id": book.new_id("mbur"),
        "object": "usage_record",
        "livemode": False,
        "quantity": records[at_s],
        "subscription_item": item["id"],
        "timestamp": at_s,
    }


def usage_summaries(book: Book, params: Object) -> Object:
    """GET /v1/subscription_items/{id}/usage_record_summaries."""
    item = book.get("subscription_item", params["id"])
    row = {
        "id": f"sis_{item['id']}",
        "object": "usage_record_summary",
        "subscription_item": item["id"],
        "total_usage": sum(item.get("_records", {}).values()),
        "period": {"start": item["current_period_start"], "end": item["current_period_end"]},
    }
    return {"object": "list", "url": "", "has_more": False, "data": [row]}
