"""What people do with the stand-in itself: its clock, faults, objects and ledger."""

from __future__ import annotations

import html
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from usageflow.standin import invoices, metering
from usageflow.standin.book import Book, Object
from usageflow.standin.catalog import create_customer, create_meter, create_price, create_product
from usageflow.standin.errors import StripeError, invalid
from usageflow.standin.faults import Faults
from usageflow.standin.forms import parse_json
from usageflow.standin.notices import collect
from usageflow.standin.subscriptions import create as create_subscription

_MAKERS: dict[str, Callable[[Book, Object], Object]] = {
    "customers": create_customer,
    "products": create_product,
    "meters": create_meter,
    "prices": create_price,
    "subscriptions": create_subscription,
}
"""In the order that a seed is made in: prices name meters, subscriptions name prices."""


class Control:
    """The paths below /_standin, and the page."""

    def __init__(self, book: Book, faults: Faults) -> None:
        self._book = book
        self._faults = faults
        self._actions: dict[str, Callable[[Object], Object]] = {
            "GET clock": self._show_clock,
            "POST clock": self._move_clock,
            "GET faults": self._show_faults,
            "POST faults": self._set_faults,
            "POST seed": self.seed,
            "POST keys": self._set_keys,
            "GET ledger": self.ledger,
            "POST notices": self._collect,
        }

    async def answer(self, request: Request) -> Response:
        """Carries out what the path names; answers with JSON."""
        try:
            fields = parse_json(await request.body()) if request.method == "POST" else {}
            return JSONResponse(self._do(request.method, request.path_params["what"], fields))
        except StripeError as error:
            return JSONResponse(error.body, error.status)

    def _do(self, method: str, what: str, fields: Object) -> Object:
        found = self._actions.get(f"{method} {what}")
        if found is None:
            raise StripeError(404, f"There is no {method} /_standin/{what[:40]}.")
        return found(fields)

    def _set_faults(self, fields: Object) -> Object:
        self._faults.replace(fields.get("rules", []))
        return self._show_faults(fields)

    def _show_faults(self, _: Object) -> Object:
        shown = [{"do": each.do, "path": each.path, "hits": each.hits} for each in self._faults.rules]
        return {"rules": shown}

    def _collect(self, _: Object) -> Object:
        return {"notices": collect(self._book)}

    def _show_clock(self, _: Object) -> Object:
        return {"now": self._book.clock.now_s()}

    def _move_clock(self, fields: Object) -> Object:
        clock = self._book.clock
        try:
            if "set" in fields:
                clock.set(float(fields["set"]))
            clock.advance(float(fields.get("advance", 0)))
        except (TypeError, ValueError):
            raise invalid("set and advance are seconds", "advance") from None
        invoices.roll(self._book)
        return {"now": clock.now_s()}

    def _set_keys(self, fields: Object) -> Object:
        """``denied``: keys that are revoked, by their ends. ``forbidden``: paths by key. ``lag_s``: how late summaries are.
        ``rate``: requests per second and key, 0 for any number.
        """
        self._book.denied = set(map(str, fields.get("denied", [])))
        self._book.forbidden = {
            str(key): tuple(map(str, paths)) for key, paths in fields.get("forbidden", {}).items()
        }
        self._book.lag_s = float(fields.get("lag_s", 0))
        self._book.rate = int(fields.get("rate", 0))
        return {}

    def seed(self, fields: Object) -> Object:
        """Makes objects; each may name its ``id``. Raises StripeError for a field that there is not."""
        for kind in fields:
            if kind not in _MAKERS:
                raise invalid(f"{kind} is no kind of object: write {', '.join(_MAKERS)}", kind)
        made: dict[str, int] = {}
        for kind, make in _MAKERS.items():
            for each in fields.get(kind, []):
                make(self._book, _seeded(each))
                made[kind] = made.get(kind, 0) + 1
        return made

    def ledger(self, _: Object | None = None) -> Object:
        """Returns all that was billed, exact."""
        invoices.roll(self._book)
        items = self._book.all("invoiceitem").values()
        return {
            "meters": metering.by_hour(self._book),
            "invoice_items": [
                {
                    "id": each["id"],
                    "customer": each["customer"],
                    "price": invoices.price_of(each),
                    "quantity": each["quantity_decimal"],
                    "period": each["period"],
                    "invoice": each["invoice"],
                    "metadata": each["metadata"],
                }
                for each in items
            ],
            "usage_records": self._usage_records(),
            "units": [
                {"customer": customer, "price": price, "units": format(units, "f")}
                for (customer, price), units in sorted(self.units().items())
            ],
        }

    def _usage_records(self) -> list[Object]:
        return [
            {
                "customer": subscription["customer"],
                "price": item["price"]["id"],
                "timestamp": at_s,
                "quantity": str(quantity),
            }
            for subscription in self._book.all("subscription").values()
            for item in subscription["items"]["data"]
            for at_s, quantity in sorted(item.get("_records", {}).items())
        ]

    def units(self) -> dict[tuple[str, str], Decimal]:
        """Returns units by customer and price: a meter's are those of the first price that names it."""
        priced: dict[str, str] = {}
        for price in self._book.all("price").values():
            if price["recurring"] and price["recurring"]["meter"]:
                priced.setdefault(price["recurring"]["meter"], price["id"])
        found: dict[tuple[str, str], Decimal] = {}

        def add(customer: str, price: Any, units: Any) -> None:
            found[customer, price] = found.get((customer, price), Decimal(0)) + _decimal(units)

        for row in metering.by_hour(self._book):
            add(row["customer"], priced.get(row["meter"], row["event_name"]), row["units"])
        for item in self._book.all("invoiceitem").values():
            add(item["customer"], invoices.price_of(item), item["quantity_decimal"])
        for record in self._usage_records():
            add(record["customer"], record["price"], record["quantity"])
        return found

    async def page(self, _: Request) -> Response:
        """Shows the ledger to people."""
        rows = "".join(
            f"<tr><td>{html.escape(row['customer'])}<td>{html.escape(row['price'])}<td align=right>{row['units']}</tr>"
            for row in self.ledger()["units"]
        )
        head = "<tr><th>customer<th>price<th>units</tr>"
        text = "<!doctype html><meta charset=utf-8><title>usageflow dev stripe</title><h1>Billed so far</h1>"
        return HTMLResponse(f"{text}<table cellpadding=4>{head}{rows}</table>")


def _seeded(fields: Any) -> Object:
    """Returns the fields of a seed as makers take them: what only a seed may say has an underscore."""
    if not isinstance(fields, dict):
        raise invalid("an object of a seed is no object", "seed")
    own = {"id", "current_period_start", "current_period_end"}
    made = {f"_{name}" if name in own else name: value for name, value in fields.items()}
    return {**made, "items": [_seeded(each) for each in made["items"]]} if "items" in made else made


def _decimal(value: Any) -> Decimal:
    try:
        return Decimal(str(value))
    except InvalidOperation:
        return Decimal(0)
