"""Stripe as a destination, by its own library, against the stand-in."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
import stripe as library

from meter.sinks import Level, Payer
from meter.stripe import StripeSink, build_stripe_sink
from tools.prove.billed import CALLS, EXPORTS, JOBS, stand_in_objects
from tools.standin import KEY, WEBHOOK_SECRET, StandIn
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
from usageflow.domain.errors import InvalidArgument
from usageflow.domain.policies import LateUsage, Trigger
from usageflow.runtime.clock import SystemClock
from usageflow.standin.notices import encoded, signed

PAYER = Payer("acme-0", "cus_acme0")
USED = Target(Trigger.STRIPE_USAGE, CALLS, "calls")
SUBSCRIBED = Target(Trigger.STRIPE_SUBSCRIPTION, JOBS, "jobs")
INVOICED = Target(Trigger.STRIPE_INVOICE, EXPORTS)
OLD = Target(Trigger.STRIPE_USAGE, "price_old")


@pytest.fixture(scope="module")
def running() -> Iterator[StandIn]:
    with StandIn() as stand_in:
        stand_in.wait_ready()
        now_s = int(time.time())
        objects = stand_in_objects(2, now_s)
        objects["prices"].append({"id": "price_old", "recurring": {"usage_type": "metered"}})
        period = {"current_period_start": now_s - 86_400, "current_period_end": now_s + 86_400}
        objects["subscriptions"].append(
            {"customer": "cus_acme0", "items": [{"price": "price_old"}], **period}
        )
        objects["subscriptions"].append({"customer": "cus_acme1", "items": [{"price": JOBS}], **period})
        stand_in.seed(objects)
        yield stand_in


@pytest.fixture
def stripe(running: StandIn) -> Iterator[StandIn]:
    yield running
    running.faults([])
    running.asked("keys", {})


@pytest.fixture
async def sink(stripe: StandIn) -> AsyncIterator[StripeSink]:
    made = build(stripe)
    yield made
    await made.close()


def build(stripe: StandIn, key: str = KEY, installation: str = "one") -> StripeSink:
    async def installation_id() -> str:
        return installation

    return build_stripe_sink(
        key, SystemClock(), installation_id, base=stripe.url, rate=1_000, webhook_secret=WEBHOOK_SECRET
    )


def last_hour() -> Window:
    return hour_of(int(time.time()) - 3_600)


def now_us() -> int:
    return time.time_ns() // 1_000


async def part(sink: StripeSink, target: Target, units: str, name: str, payer: Payer = PAYER) -> Part:
    found = await sink.terms(payer, target, last_hour(), LateUsage.NEXT_PERIOD, now_us=now_us())
    assert not isinstance(found, Held)
    terms = found[-1].terms
    assert not isinstance(terms, Held)
    value, at_us = Decimal(units), now_us()
    return Part(
        1, "app", payer.customer, target, found[-1].window, 1, PartKind.USAGE, 1, value, value,
        f"uf1_{name}", terms, PartState.SENDING, attempts=1, first_attempt_us=at_us, updated_us=at_us,
    )  # fmt: skip


def units(stripe: StandIn, price: str, customer: str = "cus_acme0") -> Decimal:
    return stripe.units().get((customer, price), Decimal(0))


async def test_targets_are_checked_before_anything_is_frozen(sink: StripeSink) -> None:
    gone, wrong = Target(Trigger.STRIPE_USAGE, "price_gone"), Target(Trigger.STRIPE_INVOICE, JOBS)
    findings = await sink.check([USED, SUBSCRIBED, INVOICED, OLD, gone, wrong])
    levels = {each.target: each.level for each in findings}
    assert levels == {
        None: Level.OK,
        USED: Level.OK,
        SUBSCRIBED: Level.OK,
        INVOICED: Level.OK,
        OLD: Level.WARNING,
        gone: Level.REFUSED,
        wrong: Level.REFUSED,
    }
    for target in (gone, wrong):
        held = await sink.terms(PAYER, target, last_hour(), LateUsage.HOLD, now_us=now_us())
        assert isinstance(held, Held)
        assert held.reason is HoldReason.TARGET_REFUSED


async def test_two_triggers_at_one_meter_are_refused(sink: StripeSink) -> None:
    both = [USED, USED._replace(trigger=Trigger.STRIPE_SUBSCRIPTION)]
    findings = await sink.check(both)
    assert {each.target for each in findings if each.level is Level.REFUSED} == set(both)


@pytest.mark.parametrize("target", [USED, SUBSCRIBED, INVOICED, OLD])
@pytest.mark.parametrize(
    "fault",
    [
        {"do": "drop_before"},
        {"do": "drop_after"},
        {"do": "error", "when": "before"},
        {"do": "error", "when": "after"},
        {"do": "rate_limit"},
        {"do": "lock_timeout", "should_retry": True},
    ],
    ids=lambda fault: " ".join(map(str, fault.values())),
)
async def test_whatever_fails_a_part_counts_once(
    stripe: StandIn, sink: StripeSink, target: Target, fault: dict[str, Any]
) -> None:
    before = units(stripe, target.price)
    sent = await part(sink, target, "3", f"{target.trigger}{target.price}{json.dumps(fault)}")
    total = before + 3 if sent.terms.span else Decimal(3)
    sent = replace(sent, value=total)
    stripe.faults([{**fault, "method": "POST", "count": 1}])
    results = []
    for attempt in range(1, 4):
        outcome = await sink.send(replace(sent, attempts=attempt), now_us=now_us())
        results.append(outcome.result)
        if outcome.result in {Result.TAKEN, Result.UNEXPECTED}:
            break
    assert results[0] in {Result.UNKNOWN, Result.AGAIN}
    assert results[-1] in {Result.TAKEN, Result.UNEXPECTED}
    assert units(stripe, target.price) == before + 3


async def test_an_error_that_a_key_keeps_for_ever_does_not_stop_an_item(
    stripe: StandIn, sink: StripeSink
) -> None:
    payer = Payer("acme-1", "cus_acme1")
    sent = await part(sink, INVOICED, "4", "kept", payer)
    stripe.faults([{"do": "error", "when": "before", "method": "POST", "count": 1}])
    first = await sink.send(sent, now_us=now_us())
    second = await sink.send(replace(sent, attempts=2), now_us=now_us())
    assert [first.result, second.result] == [Result.UNKNOWN, Result.TAKEN]
    assert units(stripe, EXPORTS, "cus_acme1") == 4


async def test_keys_that_keep_errors_are_passed_by(stripe: StandIn, sink: StripeSink) -> None:
    payer = Payer("acme-1", "cus_acme1")
    before, other = units(stripe, EXPORTS, "cus_acme1"), build(stripe, installation="three")
    sent = await part(other, INVOICED, "4", "many", payer)
    stripe.faults([{"do": "error", "when": "before", "method": "POST", "count": 3}])
    for attempt in range(1, 4):
        assert (await other.send(replace(sent, attempts=attempt), now_us=now_us())).result is Result.UNKNOWN
    await other.close()
    anew = build(stripe, installation="three")
    taken = await anew.send(replace(sent, attempts=4), now_us=now_us())
    await anew.close()
    assert taken.result is Result.TAKEN, "another process finds all three keys spent"
    assert units(stripe, EXPORTS, "cus_acme1") == before + 4


async def test_another_installation_adds_and_never_overwrites(stripe: StandIn, sink: StripeSink) -> None:
    payer = Payer("acme-1", "cus_acme1")
    before = units(stripe, EXPORTS, "cus_acme1")
    other = build(stripe, installation="two")
    sent = await part(other, INVOICED, "2", "other", payer)
    assert (await other.send(sent, now_us=now_us())).result is Result.TAKEN
    await other.close()
    assert units(stripe, EXPORTS, "cus_acme1") == before + 2


async def test_subscriptions_must_be_one(sink: StripeSink) -> None:
    async def reason(customer: str, target: Target) -> HoldReason | None:
        found = await sink.terms(Payer("x", customer), target, last_hour(), LateUsage.HOLD, now_us=now_us())
        return found.reason if isinstance(found, Held) else None

    assert await reason("cus_acme0", SUBSCRIBED) is None
    assert await reason("cus_acme1", SUBSCRIBED) is HoldReason.SEVERAL_SUBSCRIPTIONS
    assert await reason("cus_none", SUBSCRIBED) is HoldReason.NO_SUBSCRIPTION
    assert await reason("cus_acme1", OLD) is HoldReason.NO_SUBSCRIPTION


async def test_a_revoked_key_and_one_without_permission_say_so(stripe: StandIn) -> None:
    stripe.asked("keys", {"denied": ["revoked"], "forbidden": {"rk_test_narrow": ["/v1/prices"]}})
    for key in ("sk_test_revoked", "rk_test_narrow"):
        sink = build(stripe, key)
        found = await sink.check([USED])
        assert found[-1].level is Level.DENIED
        assert key not in found[-1].message
        held = await sink.terms(PAYER, USED, last_hour(), LateUsage.HOLD, now_us=now_us())
        assert isinstance(held, Held)
        assert held.reason is HoldReason.DESTINATION_PAUSED
        await sink.close()


async def test_what_counts_is_read_back_and_taken_back(stripe: StandIn, sink: StripeSink) -> None:
    sent = await part(sink, USED, "1.25", "back")

    async def counted() -> Decimal:
        rows = await sink.reckoned([("cus_acme0", USED)], last_hour())
        return sum((row.value for row in rows), Decimal(0))

    before = await counted()
    await sink.send(sent, now_us=now_us())
    assert await counted() == before + Decimal("1.25")
    assert (await sink.cancel(sent, now_us=now_us())).result is Result.TAKEN
    assert await counted() == before
    assert (await sink.cancel(sent, now_us=now_us())).result is Result.REFUSED


async def test_prices_and_periods_are_told(sink: StripeSink) -> None:
    prices = await sink.prices([USED, INVOICED, Target(Trigger.STRIPE_USAGE, "price_gone")])
    assert {target.price: price.unit_amount for target, price in prices.items()} == {
        CALLS: Decimal(2),
        EXPORTS: Decimal("1.25"),
    }
    period = await sink.period(PAYER, SUBSCRIBED, now_us=now_us())
    assert period is not None
    assert period.end_s - period.start_s == 30 * 86_400


async def test_what_is_refused_afterwards_is_read_from_a_signed_notice(
    stripe: StandIn, sink: StripeSink
) -> None:
    nobody = Payer("ghost", "cus_ghost")
    sent = await part(sink, USED, "1", "ghost", nobody)
    assert (await sink.send(sent, now_us=now_us())).result is Result.TAKEN, "the customer is looked at later"
    (thin,) = stripe.asked("notices", {})["notices"]
    body = encoded(thin)
    notice = await sink.read_notice(body, signed(body, WEBHOOK_SECRET, int(time.time())))
    assert list(notice.refusals) == ["uf1_ghost"]
    assert notice.refusals["uf1_ghost"].startswith("meter_event_customer_not_found")
    for forged in (signed(body, "whsec_other", int(time.time())), "", "t=1,v1=0"):
        with pytest.raises(InvalidArgument):
            await sink.read_notice(body, forged)


async def test_many_are_sent_side_by_side(stripe: StandIn, sink: StripeSink) -> None:
    before = units(stripe, CALLS)
    one = await part(sink, USED, "1", "many")
    sent = [replace(one, identifier=f"uf1_many{number}") for number in range(50)]
    outcomes = await asyncio.gather(*(sink.send(each, now_us=now_us()) for each in sent))
    assert {each.result for each in outcomes} == {Result.TAKEN}
    assert units(stripe, CALLS) == before + 50


@pytest.mark.filterwarnings("ignore:Use 'content=<")  # the library's way of sending JSON
async def test_the_stand_in_takes_streams_of_events(stripe: StandIn) -> None:
    before = units(stripe, CALLS, "cus_acme0")
    http, places = (
        library.HTTPXClient(timeout=10),
        dict.fromkeys(("api", "meter_events", "connect", "files"), stripe.url),
    )
    client = library.StripeClient(KEY, base_addresses=places, http_client=http)  # type: ignore[arg-type]
    session = await client.v2.billing.meter_event_session.create_async()
    streaming = library.StripeClient(session.authentication_token, base_addresses=places, http_client=http)  # type: ignore[arg-type]
    payload = {"stripe_customer_id": "cus_acme0", "value": "2"}
    events: Any = [{"event_name": "calls", "identifier": f"s{n % 3}", "payload": payload} for n in range(4)]
    await streaming.v2.billing.meter_event_stream.create_async({"events": events})
    assert units(stripe, CALLS, "cus_acme0") == before + 6, "one of four is there already"
    with pytest.raises(library.InvalidRequestError, match="1 to 100"):
        await streaming.v2.billing.meter_event_stream.create_async({"events": events * 26})
    stripe.advance(901)
    with pytest.raises(library.error.TemporarySessionExpiredError):
        await streaming.v2.billing.meter_event_stream.create_async({"events": events})
    stripe.advance(-901)
    await http.close_async()  # type: ignore[no-untyped-call]


async def test_the_stand_in_refuses_more_than_its_rate(stripe: StandIn) -> None:
    http, places = (
        library.HTTPXClient(timeout=10),
        dict.fromkeys(("api", "meter_events", "connect", "files"), stripe.url),
    )
    client = library.StripeClient(KEY, base_addresses=places, http_client=http)  # type: ignore[arg-type]
    stripe.asked("keys", {"rate": 3})
    asked = await asyncio.gather(*(client.v1.prices.list_async() for _ in range(20)), return_exceptions=True)
    stripe.asked("keys", {})
    await http.close_async()  # type: ignore[no-untyped-call]
    assert any(isinstance(each, library.RateLimitError) for each in asked)
