"""What ends while usage is still on its way to Stripe: periods, subscriptions, drafts; against the stand-in."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from meter.sinks import Level, Payer, TermsOf
from meter.stripe import StripeSink, build_stripe_sink
from meter.stripe.items import InvoiceItems
from tools.prove.billed import EXPORTS, JOBS, stand_in_objects
from tools.standin import KEY, StandIn
from usageflow.domain.billing import (
    Held,
    HoldReason,
    Method,
    Outcome,
    Part,
    PartKind,
    PartState,
    Result,
    Target,
    Terms,
    Window,
    hour_of,
)
from usageflow.domain.policies import LateUsage, Trigger
from usageflow.runtime.clock import SystemClock

MONTH_S = 30 * 86_400
SUBSCRIBED = Target(Trigger.STRIPE_SUBSCRIPTION, JOBS, "jobs")
INVOICED = Target(Trigger.STRIPE_INVOICE, EXPORTS)
RENEWED, LEAVING, LEFT = "cus_renewed", "cus_leaving", "cus_left"
FINAL_S, DRAFT_S = 7_200, 1_800
"""How long ago periods ended: drafts are final after an hour."""


def subscription(customer: str, ended_s: int, *, leaving: bool) -> dict[str, Any]:
    end = int(time.time()) - ended_s
    period = {"current_period_start": end - MONTH_S, "current_period_end": end}
    return {"customer": customer, "items": [{"price": JOBS}], "cancel_at_period_end": leaving, **period}


@pytest.fixture(scope="module")
def stripe() -> Iterator[StandIn]:
    with StandIn() as stand_in:
        stand_in.wait_ready()
        objects = stand_in_objects(1, int(time.time()))
        objects["customers"] += [{"id": each} for each in (RENEWED, LEAVING, LEFT)]
        objects["subscriptions"] += [
            subscription(RENEWED, FINAL_S, leaving=False),
            subscription(LEAVING, DRAFT_S, leaving=True),
            subscription(LEFT, FINAL_S, leaving=True),
        ]
        stand_in.seed(objects)
        yield stand_in


@pytest.fixture
async def sink(stripe: StandIn) -> AsyncIterator[StripeSink]:
    made = build(stripe, KEY)
    yield made
    await made.close()


def build(stripe: StandIn, key: str) -> StripeSink:
    async def installation_id() -> str:
        return "one"

    return build_stripe_sink(key, SystemClock(), installation_id, base=stripe.url, rate=1_000)


async def pieces(
    sink: StripeSink, customer: str, target: Target, window: Window, late: LateUsage
) -> Sequence[TermsOf] | Held:
    return await sink.terms(Payer("x", customer), target, window, late, now_us=time.time_ns() // 1_000)


def part(found: TermsOf, target: Target, total: int, name: str) -> Part:
    assert isinstance(found.terms, Terms)
    value, at_us = Decimal(total), time.time_ns() // 1_000
    return Part(
        1, "app", "x", target, found.window, 1, PartKind.USAGE, 1, value, value,
        f"uf1_{name}", found.terms, PartState.SENDING, attempts=1, first_attempt_us=at_us, updated_us=at_us,
    )  # fmt: skip


async def send(sink: StripeSink, wanted: Part) -> Outcome:
    return await sink.send(wanted, now_us=time.time_ns() // 1_000)


def items(stripe: StandIn, customer: str) -> list[dict[str, Any]]:
    return [each for each in stripe.ledger()["invoice_items"] if each["customer"] == customer]


def invoice(stripe: StandIn, sink: StripeSink, customer: str) -> Any:
    """Returns a draft with all that is pending."""

    def made(client: Any) -> Any:
        params = {"customer": customer, "pending_invoice_items_behavior": "include"}
        return client.v1.invoices.create(params)

    return sink._api.call(made)


def finalized(sink: StripeSink, name: str) -> Any:
    return sink._api.call(lambda client: client.v1.invoices.finalize_invoice(name))


async def test_a_restricted_key_does_all_though_it_may_not_ask_whose_it_is(
    stripe: StandIn, sink: StripeSink
) -> None:
    restricted = build(stripe, "rk_test_enough")
    levels = [each.level for each in await restricted.check([SUBSCRIBED, INVOICED])]
    assert set(levels) == {Level.OK}
    window = hour_of(int(time.time()) - 3_600)
    theirs, ours = [
        await pieces(each, "cus_acme0", SUBSCRIBED, window, LateUsage.HOLD) for each in (restricted, sink)
    ]
    assert theirs == ours, "the account is part of what makes a part itself"
    await restricted.close()


async def test_a_customer_that_there_is_not_stops_nobody_else(sink: StripeSink) -> None:
    window = hour_of(int(time.time()) - 3_600)
    held = await pieces(sink, "cus_mistyped", SUBSCRIBED, window, LateUsage.HOLD)
    assert isinstance(held, Held)
    assert held.reason is HoldReason.NO_SUBSCRIPTION


async def test_late_usage_becomes_an_item_of_its_own(stripe: StandIn, sink: StripeSink) -> None:
    late_s = int(time.time()) - FINAL_S - 7_200
    found = await pieces(sink, RENEWED, SUBSCRIBED, hour_of(late_s), LateUsage.INVOICE_ITEM)
    assert not isinstance(found, Held)
    wanted = part(found[0], SUBSCRIBED, 5, "late")
    assert wanted.terms.method is Method.INVOICE_ITEM
    assert (await send(sink, wanted)).result is Result.TAKEN
    assert (await send(sink, replace(wanted, value=Decimal(8), attempts=2))).result is Result.TAKEN
    (item,) = items(stripe, RENEWED)
    assert (item["quantity"], item["price"]) == ("8", "")


async def test_the_last_hour_of_a_subscription_gets_on_its_draft(sink: StripeSink) -> None:
    end_s = int(time.time()) - DRAFT_S
    found = await pieces(sink, LEAVING, SUBSCRIBED, Window(end_s - 600, end_s + 600), LateUsage.HOLD)
    assert not isinstance(found, Held)
    before, after = found
    assert isinstance(before.terms, Terms)
    assert before.terms.timestamp_s == before.window.end_s - 1
    assert isinstance(after.terms, Held)
    gone = await pieces(sink, LEFT, SUBSCRIBED, Window(end_s - 600, end_s), LateUsage.HOLD)
    assert isinstance(gone, Held), "its invoice is final"


async def test_what_is_reported_after_an_invoice_goes_on_another_item(
    stripe: StandIn, sink: StripeSink
) -> None:
    window = hour_of(int(time.time()) - 3_600)
    found = await pieces(sink, LEFT, INVOICED, window, LateUsage.HOLD)
    assert not isinstance(found, Held)
    first = part(found[0], INVOICED, 5, "first")
    await send(sink, first)
    draft = await invoice(stripe, sink, LEFT)
    assert (await send(sink, replace(first, value=Decimal(6), identifier="uf1_b"))).result is Result.TAKEN
    assert [each["quantity"] for each in items(stripe, LEFT)] == ["6"], "a draft's item may change"
    await finalized(sink, draft.id)
    assert (await send(sink, replace(first, value=Decimal(9), identifier="uf1_c"))).result is Result.TAKEN
    assert sorted(each["quantity"] for each in items(stripe, LEFT)) == ["3", "6"]
    counted = await sink.reckoned([(LEFT, INVOICED)], found[0].terms.span)  # type: ignore[union-attr, arg-type]
    assert [row.value for row in counted] == [9]
    less = await send(sink, replace(first, value=Decimal(2), identifier="uf1_d"))
    assert less.result is Result.REFUSED
    assert "4 units" in less.told
    assert sorted(each["quantity"] for each in items(stripe, LEFT)) == ["0", "6"]


async def test_a_draft_that_becomes_final_between_two_requests_is_met_again(
    stripe: StandIn, sink: StripeSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = hour_of(int(time.time()) - 3_600)
    found = await pieces(sink, LEAVING, INVOICED, window, LateUsage.HOLD)
    assert not isinstance(found, Held)
    wanted = part(found[0], INVOICED, 5, "race")
    await send(sink, wanted)
    draft = await invoice(stripe, sink, LEAVING)
    look = InvoiceItems._of

    async def looked(self: InvoiceItems, wanted: Part) -> Any:
        seen = await look(self, wanted)
        monkeypatch.undo()
        await finalized(sink, draft.id)
        return seen

    monkeypatch.setattr(InvoiceItems, "_of", looked)
    more = replace(wanted, value=Decimal(7), identifier="uf1_race2")
    assert (await send(sink, more)).result is Result.AGAIN
    assert (await send(sink, more)).result is Result.TAKEN
    assert sorted(each["quantity"] for each in items(stripe, LEAVING)) == ["2", "5"]


async def test_hours_that_stripe_does_not_list_count_nothing(sink: StripeSink) -> None:
    hour = hour_of(int(time.time()) - 7_200)
    rows = await sink.reckoned([("cus_acme0", Target(Trigger.STRIPE_USAGE, JOBS, "jobs"))], hour)
    assert [(row.hour_s, row.value) for row in rows] == [(hour.start_s, Decimal(0))]
