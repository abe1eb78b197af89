"""What the stand-in is trusted with, at Stripe itself; and what Stripe's documentation leaves open, asked and printed (`make sandbox`)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
import stripe

from meter.sinks import Level, Payer
from meter.stripe import StripeSink
from tests.sandbox.places import Sandbox, build
from usageflow.domain.billing import (
    Held,
    HoldReason,
    Part,
    PartKind,
    PartState,
    Result,
    Target,
    Window,
    hour_of,
)
from usageflow.domain.policies import LateUsage, Trigger

pytestmark = pytest.mark.timeout(900)
PATIENCE_S = 300
"""How long summaries may take: Stripe adds up later."""


class Places(NamedTuple):
    """What is billed at: a customer with a subscription, prices, and the meters of the first and the second."""

    sandbox: Sandbox
    customer: str
    meter: str
    used: Target
    hourly_meter: str
    hourly: Target
    invoiced: Target


@pytest.fixture(scope="module")
def places() -> Iterator[Places]:
    sandbox = Sandbox.open()
    try:
        meter, name = sandbox.meter("sum")
        hourly_meter, hourly_name = sandbox.meter("hourly", "hour")
        price, hourly, once = sandbox.price(meter), sandbox.price(hourly_meter), sandbox.price()
        customer = sandbox.customer()
        sandbox.subscribe(customer, price)
        yield Places(
            sandbox,
            customer,
            meter,
            Target(Trigger.STRIPE_USAGE, price, name),
            hourly_meter,
            Target(Trigger.STRIPE_USAGE, hourly, hourly_name),
            Target(Trigger.STRIPE_INVOICE, once),
        )
    finally:
        sandbox.tidy()


@pytest.fixture
async def sink() -> AsyncIterator[StripeSink]:
    made = build()
    yield made
    await made.close()


def now_us() -> int:
    return time.time_ns() // 1_000


def last_hour() -> Window:
    return hour_of(int(time.time()) - 3_600)


async def part(sink: StripeSink, places: Places, target: Target, units: str) -> Part:
    payer = Payer("acme", places.customer)
    found = await sink.terms(payer, target, last_hour(), LateUsage.HOLD, now_us=now_us())
    assert not isinstance(found, Held), found
    terms, value, at_us = found[-1].terms, Decimal(units), now_us()
    assert not isinstance(terms, Held), terms
    return Part(
        1, "app", "acme", target, found[-1].window, 1, PartKind.USAGE, 1, value, value,
        f"uf1_{places.sandbox.run}_{at_us}", terms, PartState.SENDING, attempts=1, first_attempt_us=at_us,
        updated_us=at_us,
    )  # fmt: skip


async def result(sink: StripeSink, wanted: Part) -> Result:
    outcome = await sink.send(wanted, now_us=now_us())
    print(f"{wanted.terms.method} attempt {wanted.attempts}: {outcome.result} {outcome.told}")
    return outcome.result


async def counted(sink: StripeSink, places: Places, target: Target, wanted: Decimal) -> Decimal:
    """Returns what Stripe counts, when it is what is wanted or patience ends."""
    until, found = time.monotonic() + PATIENCE_S, Decimal(0)
    while time.monotonic() < until:
        rows = await sink.reckoned([(places.customer, target)], last_hour())
        found = sum((row.value for row in rows), Decimal(0))
        if found == wanted:
            break
        await asyncio.sleep(5)
    return found


def answered(question: str, answer: object) -> None:
    """Shows what Stripe's documentation leaves open."""
    print(f"ASKED {question}: {answer}")


async def test_targets_are_checked(sink: StripeSink, places: Places) -> None:
    wrong = Target(Trigger.STRIPE_INVOICE, places.used.price)
    gone = Target(Trigger.STRIPE_USAGE, "price_usageflow_gone")
    findings = await sink.check([places.used, places.hourly, places.invoiced, wrong, gone])
    levels = {each.target: each.level for each in findings}
    print(findings)
    assert {levels[each] for each in (places.used, places.hourly, places.invoiced)} == {Level.OK}
    assert {levels[wrong], levels[gone]} == {Level.REFUSED}


async def test_a_recurring_price_is_refused_on_items(places: Places) -> None:
    params: Any = {"customer": places.customer, "pricing": {"price": places.used.price}}
    with pytest.raises(stripe.InvalidRequestError, match="recurring"):
        places.sandbox.client.v1.invoice_items.create(params)


async def test_an_event_counts_once_and_is_taken_back(sink: StripeSink, places: Places) -> None:
    sent = await part(sink, places, places.used, "1.25")
    assert await result(sink, sent) is Result.TAKEN
    assert await result(sink, replace(sent, attempts=2)) is Result.UNEXPECTED
    assert await counted(sink, places, places.used, Decimal("1.25")) == Decimal("1.25")
    assert (await sink.cancel(sent, now_us=now_us())).result is Result.TAKEN
    assert await counted(sink, places, places.used, Decimal(0)) == 0
    answered(
        "may an identifier be used again after an adjustment", await result(sink, replace(sent, attempts=3))
    )


async def test_totals_of_an_hour_overwrite(sink: StripeSink, places: Places) -> None:
    first = await part(sink, places, places.hourly, "5")
    assert await result(sink, first) is Result.TAKEN
    second = replace(first, identifier=f"{first.identifier}_b", value=Decimal(8))
    assert await result(sink, second) is Result.TAKEN
    assert await counted(sink, places, places.hourly, Decimal(8)) == 8, "of one second the later one counts"
    less = replace(first, identifier=f"{first.identifier}_c", value=Decimal(-2))
    answered("does a meter with a window take less than nothing", await result(sink, less))


async def test_one_item_is_set_until_its_invoice_is_final(sink: StripeSink, places: Places) -> None:
    client, sent = places.sandbox.client, await part(sink, places, places.invoiced, "3")
    assert await result(sink, sent) is Result.TAKEN
    assert await result(sink, replace(sent, value=Decimal("4.5"), attempts=2)) is Result.TAKEN
    params: Any = {
        "customer": places.customer,
        "pending_invoice_items_behavior": "include",
        "collection_method": "send_invoice",
        "days_until_due": 30,
        "auto_advance": False,
    }
    draft = client.v1.invoices.create(params)
    later = replace(sent, value=Decimal(6), identifier=f"{sent.identifier}_b")
    assert await result(sink, later) is Result.TAKEN
    client.v1.invoices.finalize_invoice(str(draft.id))
    more = replace(sent, value=Decimal(9), identifier=f"{sent.identifier}_c")
    assert await result(sink, more) is Result.TAKEN
    listed = client.v1.invoice_items.list({"customer": places.customer, "limit": 100})
    assert sorted(Decimal(str(item.quantity_decimal)) for item in listed.data) == [3, 6]


async def test_subscriptions_are_resolved(sink: StripeSink, places: Places) -> None:
    target = places.used._replace(trigger=Trigger.STRIPE_SUBSCRIPTION)
    period = await sink.period(Payer("acme", places.customer), target, now_us=now_us())
    assert period is not None
    assert period.start_s <= time.time() < period.end_s
    nobody = Payer("acme", "cus_usageflow_gone")
    held = await sink.terms(nobody, target, last_hour(), LateUsage.HOLD, now_us=now_us())
    assert isinstance(held, Held)
    assert held.reason is HoldReason.NO_SUBSCRIPTION, held


async def test_two_subscriptions_of_one_meter(sink: StripeSink, places: Places) -> None:
    client, sandbox = places.sandbox.client, places.sandbox
    customer = sandbox.customer()
    names = [sandbox.subscribe(customer, sandbox.price(places.meter)) for _ in range(2)]
    both = places._replace(customer=customer)
    sent = await part(sink, both, places.used, "7")
    # Within the period, which began a moment ago.
    now = replace(sent, terms=replace(sent.terms, timestamp_s=int(time.time())))
    assert await result(sink, now) is Result.TAKEN
    await asyncio.sleep(PATIENCE_S / 10)
    for name in names:
        params: Any = {"subscription": name, "customer": customer}
        lines = client.v1.invoices.create_preview(params).lines.data
        answered(
            f"what does {name}, one of two on a meter that got 7 at 2 cents, bill",
            [line.amount for line in lines],
        )
