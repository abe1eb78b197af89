"""Invoice items, drafts, final invoices, and what the next invoice would say."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal

from usageflow.standin import metering, subscriptions
from usageflow.standin.book import Book, Object, required, table, whole
from usageflow.standin.catalog import decimal_of
from usageflow.standin.errors import StripeError, invalid

GRACE_S = 3_600
"""How long an invoice stays a draft."""

NEVER_S = 2**62
_MOST_ITEMS = 250
_ONE_TIME = (
    "The price specified is set to `type=recurring` but this field only accepts prices with `type=one_time`"
)


def create_item(book: Book, params: Object) -> Object:
    """POST /v1/invoiceitems."""
    customer = book.get("customer", required(params, "customer"))["id"]
    fields = _amounts(book, params)
    invoice = params.get("invoice") or None
    if invoice is not None:
        _ensure_draft(book, invoice)
        if sum(each["invoice"] == invoice for each in book.all("invoiceitem").values()) >= _MOST_ITEMS:
            raise invalid(f"Invoices have at most {_MOST_ITEMS} items.", "invoice")
    if params.get("subscription"):
        book.get("subscription", params["subscription"])
    fields |= {
        "customer": customer,
        "subscription": params.get("subscription") or None,
        "invoice": invoice,
        "description": params.get("description"),
        "metadata": dict(table(params, "metadata")),
        "period": _period(book, params),
    }
    return book.put("invoiceitem", "ii", fields)


def update_item(book: Book, params: Object) -> Object:
    """POST /v1/invoiceitems/{id}."""
    item = book.get("invoiceitem", params["id"])
    if item["invoice"] is not None:
        _ensure_draft(book, item["invoice"])
    if "quantity_decimal" in params or "quantity" in params or "pricing" in params:
        item |= _amounts(book, {**_priced(item), **params})
    for name in ("description", "metadata"):
        if name in params:
            item[name] = params[name]
    if "period" in params:
        item["period"] = _period(book, params)
    return item


def delete_item(book: Book, params: Object) -> Object:
    """DELETE /v1/invoiceitems/{id}."""
    item = book.get("invoiceitem", params["id"])
    if item["invoice"] is not None:
        _ensure_draft(book, item["invoice"])
    del book.all("invoiceitem")[item["id"]]
    return {"id": item["id"], "object": "invoiceitem", "deleted": True}


def list_items(book: Book, params: Object) -> Object:
    """GET /v1/invoiceitems."""
    created = table(params, "created")
    since = whole(created, "gte", 0)
    fits = (
        each
        for each in book.all("invoiceitem").values()
        if params.get("customer") in (None, each["customer"])
        and params.get("invoice") in (None, each["invoice"])
        and (params.get("pending") != "true" or each["invoice"] is None)
        and each["created"] >= since
    )
    return book.page("invoiceitem", params, "/v1/invoiceitems", fits)


def _amounts(book: Book, params: Object) -> Object:
    """Returns price, quantity and amount of an item. Raises StripeError."""
    name, unit, currency = _price(book, params)
    quantity = decimal_of(params, "quantity_decimal", params.get("quantity", "1"))
    if quantity < 0:
        raise invalid("Invalid non-negative decimal.", "quantity_decimal")
    details = {"price": name} if name else None
    pricing = {"type": "price_details", "price_details": details, "unit_amount_decimal": format(unit, "f")}
    return {
        "pricing": pricing,
        "quantity_decimal": format(quantity, "f"),
        "quantity": int(quantity),
        "currency": currency,
        "amount": cents(quantity * unit),
    }


def _price(book: Book, params: Object) -> tuple[str, Decimal, str]:
    """Returns the price ("" where only an amount is given), amount and currency of an item. Raises StripeError."""
    name = table(params, "pricing").get("price")
    if name:
        price = book.get("price", str(name))
        if price["type"] != "one_time":
            raise invalid(_ONE_TIME, "pricing[price]")
        return str(name), Decimal(price["unit_amount_decimal"]), price["currency"]
    if "unit_amount_decimal" not in params:
        raise invalid("Missing required param: pricing[price].", "pricing[price]", "parameter_missing")
    return "", decimal_of(params, "unit_amount_decimal"), required(params, "currency")


def price_of(item: Object) -> str:
    """Returns the price of an item, "" where it has an amount of its own."""
    details = item["pricing"]["price_details"]
    return str(details["price"]) if details else ""


def _priced(item: Object) -> Object:
    if name := price_of(item):
        return {"pricing": {"price": name}}
    return {
        "unit_amount_decimal": item["pricing"]["unit_amount_decimal"],
        "currency": item["currency"],
    }


def cents(amount: Decimal) -> int:
    """Returns an amount in the currency's smallest unit."""
    return int(amount.quantize(Decimal(1), rounding=ROUND_HALF_UP))


def _period(book: Book, params: Object) -> Object:
    period, now_s = table(params, "period"), book.clock.now_s()
    return {"start": whole(period, "start", now_s), "end": whole(period, "end", now_s)}


def _ensure_draft(book: Book, name: str) -> None:
    roll(book)
    if book.get("invoice", name)["status"] != "draft":
        raise StripeError(400, "This invoice is no longer editable.", code="invoice_not_editable")


def create_invoice(book: Book, params: Object) -> Object:
    """POST /v1/invoices; takes pending items in where that is asked for."""
    customer = book.get("customer", required(params, "customer"))["id"]
    made = _new_invoice(book, customer, params.get("subscription") or None)
    if params.get("pending_invoice_items_behavior") == "include":
        _take_pending(book, made)
    return with_lines(book, made)


def get_invoice(book: Book, params: Object) -> Object:
    """GET /v1/invoices/{id}."""
    roll(book)
    return with_lines(book, book.get("invoice", params["id"]))


def finalize(book: Book, params: Object) -> Object:
    """POST /v1/invoices/{id}/finalize."""
    _ensure_draft(book, params["id"])
    invoice = book.get("invoice", params["id"])
    _finish(book, invoice)
    return with_lines(book, invoice)


def list_invoices(book: Book, params: Object) -> Object:
    """GET /v1/invoices."""
    roll(book)
    fits = (
        with_lines(book, each)
        for each in book.all("invoice").values()
        if params.get("customer") in (None, each["customer"])
        and params.get("subscription") in (None, each["subscription"])
        and params.get("status") in (None, each["status"])
    )
    return book.page("invoice", params, "/v1/invoices", fits)


def preview(book: Book, params: Object) -> Object:
    """POST /v1/invoices/create_preview: what a customer's open periods and pending items come to."""
    roll(book)
    customer = book.get("customer", required(params, "customer"))["id"]
    pending = (
        each
        for each in book.all("invoiceitem").values()
        if each["customer"] == customer and not each["invoice"]
    )
    lines = [_item_line(each) for each in pending]
    for subscription in subscriptions.active_of(book, customer):
        lines += list(_usage_lines(book, subscription))
    total = sum(each["amount"] for each in lines)
    return {
        "object": "invoice",
        "id": "upcoming_in_preview",
        "customer": customer,
        "status": "draft",
        "currency": lines[0]["currency"] if lines else "usd",
        "lines": {"object": "list", "has_more": False, "data": lines, "url": ""},
        "subtotal": total,
        "total": total,
    }


def roll(book: Book) -> None:
    """Brings periods and drafts up to the clock: a period that ended makes a draft, a draft whose grace is over is final. Called before each
    request, so it looks only when something is due.
    """
    now_s = book.clock.now_s()
    if now_s < book.due_s:
        return
    for subscription in book.all("subscription").values():
        while (
            subscription["status"] in subscriptions.ACTIVE
            and subscription["items"]["data"][0]["current_period_end"] <= now_s
        ):
            _end_period(book, subscription)
    for invoice in list(book.all("invoice").values()):
        if invoice["status"] == "draft" and invoice["_final_at"] and invoice["_final_at"] <= now_s:
            _finish(book, invoice)
    book.due_s = min(_due(book), default=NEVER_S)


def _due(book: Book) -> Iterable[int]:
    """Yields when periods end and drafts become final."""
    for subscription in book.all("subscription").values():
        if subscription["status"] in subscriptions.ACTIVE:
            yield subscription["items"]["data"][0]["current_period_end"]
    for invoice in book.all("invoice").values():
        if invoice["status"] == "draft" and invoice["_final_at"]:
            yield invoice["_final_at"]


def _end_period(book: Book, subscription: Object) -> None:
    """Ends the present period: its usage goes on a draft, which takes late usage of the period until it is final. Another period begins, unless the
    subscription was to end with this one.
    """
    items = subscription["items"]["data"]
    start, end = items[0]["current_period_start"], items[0]["current_period_end"]
    made = _new_invoice(book, subscription["customer"], subscription["id"])
    made |= {"_final_at": end + GRACE_S, "period_start": start, "period_end": end, "created": end}
    _take_pending(book, made)
    subscription["latest_invoice"] = made["id"]
    if subscription["cancel_at_period_end"]:
        subscription |= {"status": "canceled", "ended_at": end}
        return
    for item in items:
        item |= {"current_period_start": end, "current_period_end": subscriptions.next_month(end)}


def _new_invoice(book: Book, customer: str, subscription: str | None) -> Object:
    now_s = book.clock.now_s()
    fields = {
        "customer": customer,
        "subscription": subscription,
        "status": "draft",
        "period_start": now_s,
        "period_end": now_s,
        "currency": "usd",
        "_final_at": 0,
        "_usage": None,
    }
    return book.put("invoice", "in", fields)


def _take_pending(book: Book, invoice: Object) -> None:
    for item in book.all("invoiceitem").values():
        if item["customer"] == invoice["customer"] and item["invoice"] is None:
            item["invoice"] = invoice["id"]


def _finish(book: Book, invoice: Object) -> None:
    invoice["_usage"] = _usage_of(book, invoice)
    invoice["status"] = "open"


def _usage_of(book: Book, invoice: Object) -> list[Object]:
    """Returns the lines of metered usage: as they are now for a draft, as they were for a final invoice."""
    if invoice["_usage"] is not None:
        found: list[Object] = invoice["_usage"]
        return found
    if not invoice["subscription"]:
        return []
    subscription = book.get("subscription", invoice["subscription"])
    span = (invoice["period_start"], invoice["period_end"])
    return list(_usage_lines(book, subscription, span))


def _usage_lines(book: Book, subscription: Object, span: tuple[int, int] | None = None) -> Iterable[Object]:
    for item in subscription["items"]["data"]:
        price, recurring = item["price"], item["price"]["recurring"]
        start, end = span or (item["current_period_start"], item["current_period_end"])
        if recurring["usage_type"] != "metered":
            continue
        if recurring["meter"]:
            meter = book.get("billing.meter", recurring["meter"])
            quantity = metering.total(book, meter, subscription["customer"], start, end)
        else:
            records = item.get("_records", {})
            quantity = Decimal(sum(each for at_s, each in records.items() if start <= at_s < end))
        # A period that adds up to less than nothing is billed as nothing.
        quantity = max(quantity, Decimal(0))
        yield {
            "object": "line_item",
            "pricing": {"type": "price_details", "price_details": {"price": price["id"]}},
            "quantity_decimal": format(quantity, "f"),
            "amount": cents(quantity * Decimal(price["unit_amount_decimal"])),
            "currency": price["currency"],
            "period": {"start": start, "end": end},
        }


def _item_line(item: Object) -> Object:
    kept = ("pricing", "quantity_decimal", "amount", "currency", "period", "description", "metadata")
    return {"object": "line_item", "invoice_item": item["id"], **{name: item[name] for name in kept}}


def with_lines(book: Book, invoice: Object) -> Object:
    """Returns an invoice with its lines and total."""
    items = [each for each in book.all("invoiceitem").values() if each["invoice"] == invoice["id"]]
    lines = [*map(_item_line, items), *_usage_of(book, invoice)]
    total = sum(each["amount"] for each in lines)
    listed = {"object": "list", "has_more": False, "data": lines, "url": ""}
    return {**invoice, "lines": listed, "subtotal": total, "total": total}
