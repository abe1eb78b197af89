"""Which request is carried out by what."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from usageflow.standin import catalog, invoices, metering, notices, streams, subscriptions
from usageflow.standin.book import Book, Object

Method = Callable[[Book, Object], Object]


def _get(kind: str) -> Method:
    return partial(_found, kind)


def _found(kind: str, book: Book, params: Object) -> Object:
    return book.get(kind, params["id"])


def _all(kind: str, url: str) -> Method:
    return partial(_page, kind, url)


def _page(kind: str, url: str, book: Book, params: Object) -> Object:
    return book.page(kind, params, url, book.all(kind).values())


_TABLE: dict[str, Method] = {
    "GET /v1/account": catalog.account,
    "POST /v1/customers": catalog.create_customer,
    "GET /v1/customers": _all("customer", "/v1/customers"),
    "GET /v1/customers/{id}": _get("customer"),
    "DELETE /v1/customers/{id}": catalog.delete_customer,
    "POST /v1/products": catalog.create_product,
    "GET /v1/products/{id}": _get("product"),
    "POST /v1/prices": catalog.create_price,
    "GET /v1/prices": _all("price", "/v1/prices"),
    "GET /v1/prices/{id}": _get("price"),
    "POST /v1/prices/{id}": catalog.update_price,
    "POST /v1/billing/meters": catalog.create_meter,
    "GET /v1/billing/meters": catalog.list_meters,
    "GET /v1/billing/meters/{id}": _get("billing.meter"),
    "POST /v1/billing/meters/{id}/deactivate": catalog.deactivate_meter,
    "POST /v1/billing/meters/{id}/reactivate": catalog.reactivate_meter,
    "GET /v1/billing/meters/{id}/event_summaries": metering.summaries,
    "POST /v1/billing/meter_events": metering.create_event,
    "POST /v1/billing/meter_event_adjustments": metering.cancel_event,
    "POST /v2/billing/meter_events": metering.create_event_v2,
    "POST /v2/billing/meter_event_adjustments": metering.cancel_event,
    "POST /v2/billing/meter_event_session": streams.create_session,
    "POST /v2/billing/meter_event_stream": streams.create_events,
    "GET /v2/core/events/{id}": notices.get,
    "POST /v1/subscriptions": subscriptions.create,
    "GET /v1/subscriptions": subscriptions.listed,
    "GET /v1/subscriptions/{id}": _get("subscription"),
    "DELETE /v1/subscriptions/{id}": subscriptions.cancel,
    "GET /v1/subscription_items/{id}": _get("subscription_item"),
    "POST /v1/subscription_items/{id}/usage_records": subscriptions.create_usage_record,
    "GET /v1/subscription_items/{id}/usage_record_summaries": subscriptions.usage_summaries,
    "POST /v1/invoiceitems": invoices.create_item,
    "GET /v1/invoiceitems": invoices.list_items,
    "GET /v1/invoiceitems/{id}": _get("invoiceitem"),
    "POST /v1/invoiceitems/{id}": invoices.update_item,
    "DELETE /v1/invoiceitems/{id}": invoices.delete_item,
    "POST /v1/invoices": invoices.create_invoice,
    "GET /v1/invoices": invoices.list_invoices,
    "POST /v1/invoices/create_preview": invoices.preview,
    "GET /v1/invoices/{id}": invoices.get_invoice,
    "POST /v1/invoices/{id}/finalize": invoices.finalize,
}
_PLAIN = {name: method for name, method in _TABLE.items() if "{" not in name}
_NAMED = [
    (re.compile(re.escape(name).replace(r"\{id\}", "([^/]+)")), method)
    for name, method in _TABLE.items()
    if "{" in name
]


def route(method: str, path: str) -> tuple[Method, Object] | None:
    """Returns what carries a request out, and what its path names; None where there is nothing."""
    name = f"{method} {path}"
    plain = _PLAIN.get(name)
    if plain is not None:
        return plain, {}
    for pattern, found in _NAMED:
        if match := pattern.fullmatch(name):
            return found, {"id": match[1]}
    return None
