"""Invoice items: one per span that is set to the total. They have no identifier at Stripe, so a key in their metadata stands for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from hashlib import sha256
from typing import Any

import stripe

from meter.stripe.answers import replayed, spends_key, unknown
from meter.stripe.api import StripeApi
from usageflow.domain.billing import HOUR_S, Outcome, Part, Result, Target, Window

KEY, TARGET, FROM = "usageflow_key", "usageflow_target", "usageflow_from"
"""What is in the metadata of our items: what makes them ours, what they bill, and the second that their span begins at."""

_KEYS = 10
"""Spent keys that an attempt passes by."""

NEEDS = "Invoices: write"
_READ = "Invoices: read"


@dataclass(frozen=True, slots=True)
class Item:
    """An invoice item; ``is_open`` tells whether it may still be changed."""

    item_id: str
    quantity: Decimal
    is_open: bool


class InvoiceItems:
    """Sets items. Each request keeps to the rate by itself, for an attempt takes several."""

    def __init__(self, api: StripeApi) -> None:
        self._api = api
        self._turns: dict[str, int] = {}

    async def send(self, part: Part) -> Outcome:
        """Sets the item of a span to the total, less what is on final invoices. What an attempt without an answer made is found by its key.
        Raises stripe.StripeError.
        """
        items = await self._of(part)
        still_open = next((item for item in items if item.is_open), None)
        others = (item.quantity for item in items if item is not still_open)
        rest = plain(part.value - sum(others, Decimal(0)))
        if still_open is not None:
            return await self._update(part, still_open, rest)
        if rest < 0:
            return _too_many(rest)
        if not rest:
            return Outcome(Result.TAKEN, "all of it is on final invoices")
        return await self._create(part, rest, len(items))

    async def quantities(self, payee: str, target: Target, window: Window) -> Sequence[tuple[int, Decimal]]:
        """Returns what items of a payee bill for a target, by the seconds within the window that their spans begin at. Raises NotTold, Unavailable."""
        found = await self._api.look(lambda client: _listed(client, payee, window.start_s), _READ)
        ours = [item for item in found or [] if _metadata(item).get(TARGET) == str(target)]
        starts = [(int(_metadata(item).get(FROM, "0")), _quantity(item)) for item in ours]
        return [each for each in starts if window.start_s <= each[0] < window.end_s]

    async def _of(self, part: Part) -> list[Item]:
        """Returns the items of a part's span, whatever became of their invoices."""
        key, since_s = key_of(part), (part.terms.span or part.window).start_s
        found = await self._api.call(lambda client: _listed(client, part.terms.payee, since_s))
        ours = [item for item in found if _metadata(item).get(KEY) == key]
        return [Item(item.id, _quantity(item), await self._is_open(item)) for item in ours]

    async def _is_open(self, item: Any) -> bool:
        if item.invoice is None:
            return True
        invoice = await self._api.call(lambda client: client.v1.invoices.retrieve(str(item.invoice)))
        return bool(invoice.status == "draft")

    async def _update(self, part: Part, item: Item, rest: Decimal) -> Outcome:
        params: Any = {"quantity_decimal": max(rest, Decimal(0))}
        options: Any = {"idempotency_key": f"{part.identifier}:{part.attempts}"}
        try:
            await self._api.call(lambda client: client.v1.invoice_items.update(item.item_id, params, options))
        except stripe.InvalidRequestError:
            now = {each.item_id: each.is_open for each in await self._of(part)}
            if now.get(item.item_id):
                raise
            return Outcome(Result.AGAIN, "its invoice became final meanwhile: the rest goes on another item")
        return Outcome(Result.TAKEN, stripe_id=item.item_id) if rest >= 0 else _too_many(rest)

    async def _create(self, part: Part, rest: Decimal, revision: int) -> Outcome:
        """Makes an item. Its idempotency key is the same at every attempt, for Stripe may still be at the one before. A key that keeps an error, or the
        answer to another quantity, is spent: it never makes anything any more, so the next one is taken if nothing was made.
        """
        own = f"{key_of(part)}:{revision}"
        for _ in range(_KEYS):
            turn = self._turns.get(own, 0)
            try:
                made = await self._made(part, rest, revision, f"{own}:{turn}")
            except stripe.StripeError as error:
                if not spends_key(error):
                    raise
                self._turns[own] = turn + 1
                if (not replayed(error) and unknown(error)) or len(await self._of(part)) > revision:
                    raise
            else:
                self._turns.pop(own, None)
                return made
        return Outcome(Result.AGAIN, "Stripe keeps errors of many attempts at this item")

    async def _made(self, part: Part, rest: Decimal, revision: int, key: str) -> Outcome:
        params, options = _params(part, rest, revision), {"idempotency_key": key}
        made: Any = await self._api.call(
            lambda client: client.v1.invoice_items.create(params, options)  # type: ignore[arg-type]
        )
        return Outcome(Result.TAKEN, stripe_id=made.id)


def _too_many(rest: Decimal) -> Outcome:
    told = f"final invoices bill {format(-rest, 'f')} units more than are left: give the customer a credit note in Stripe"
    return Outcome(Result.REFUSED, told)


def _params(part: Part, rest: Decimal, revision: int) -> Any:
    span, details = part.terms.span or part.window, part.terms.details
    more = f", usage reported later ({revision})" if revision else ""
    params: Any = {
        "customer": part.terms.payee,
        "quantity_decimal": rest,
        "period": {"start": span.start_s, "end": span.end_s - 1},
        "description": f"Usage {part.target.price}{more}",
        "metadata": {
            KEY: key_of(part),
            TARGET: str(part.target),
            FROM: str(span.start_s),
            "usageflow_customer": part.customer,
        },
    }
    if "unit_amount" in details:
        # Items take no recurring price, but they take what it costs.
        params |= {"unit_amount_decimal": Decimal(details["unit_amount"]), "currency": details["currency"]}
    else:
        params["pricing"] = {"price": part.target.price}
    return params


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


def plain(value: Decimal) -> Decimal:
    """Returns a decimal without an exponent: the library writes 1E+3 as it stands."""
    return Decimal(format(value, "f"))


def _listed(client: stripe.StripeClient, payee: str, since_s: int) -> list[Any]:
    """Returns a customer's items; none is older than the usage that it bills, whatever clocks say."""
    params: Any = {"customer": payee, "created": {"gte": since_s - HOUR_S}, "limit": 100}
    return list(client.v1.invoice_items.list(params).auto_paging_iter())


def _metadata(item: Any) -> dict[str, str]:
    return item.to_dict().get("metadata") or {}


def _quantity(item: Any) -> Decimal:
    return Decimal(str(item.quantity_decimal))
