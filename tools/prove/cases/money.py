"""What is billed, what is not, and what people are told where it cannot be billed yet."""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

from tools.prove.billed import (
    CALLS,
    POLICIES,
    Owed,
    Owner,
    Shape,
    customers_text,
    owners,
    stand_in_objects,
    wave,
)
from tools.prove.billing_places import EmbeddedPlace
from tools.prove.report_clients import ReportClient
from tools.prove.showing import ensure
from tools.standin import KEY, StandIn
from usageflow.domain.ids import uuid7
from usageflow.v1 import common_pb2, usage_pb2

_HOUR_S = 3_600
_NEXT = "price_next"
_PATIENCE_S = 300.0
_PARTS_WITHIN_S = 300


def once(folder: Path) -> str:
    """A request that two policies with one billing target match is billed once, by each of the three triggers; denied requests bill nothing; after a
    change of price each event is billed at the revision that decided it, also from a spool a day later.
    """
    with StandIn() as stripe:
        stripe.wait_ready()
        objects = stand_in_objects(2, int(time.time()))
        objects["prices"].append({"id": _NEXT, "recurring": {"usage_type": "metered", "meter": "mtr_next"}})
        objects["meters"].append({"id": "mtr_next", "event_name": "next"})
        stripe.seed(objects)
        with EmbeddedPlace(folder, stripe) as place:
            return _once(place, stripe)


def _once(place: EmbeddedPlace, stripe: StandIn) -> str:
    payers, now_us = owners(2), time.time_ns() // 1000
    until_s = now_us // 1_000_000 // _HOUR_S * _HOUR_S
    twice = _doubled(POLICIES)
    place.apply(twice + customers_text(payers))
    first = _revision(place)
    made = wave(random.Random(7), payers, Shape(3_000, 10, 2, until_s), now_us)  # noqa: S311 - no secret
    denied = _send(place, [call for calls in made.calls for call in calls])
    place.apply(
        twice.replace(CALLS, _NEXT).replace("event_name: calls", "event_name: next") + customers_text(payers)
    )
    second = _revision(place)
    ensure(second > first, "the change of price made no revision")
    owed = dict(made.owed)
    spooled = _decided(payers[0], first, until_s - 24 * _HOUR_S, 40)
    fresh = _decided(payers[0], second, until_s - 60, 60)
    _send(place, [spooled, fresh])
    owed[payers[0].stripe, CALLS] += 40
    owed[payers[0].stripe, _NEXT] = Decimal(60)
    settle(place)
    found = stripe.units()
    ensure(found == owed, f"billed {found}, owed {owed}")
    return (
        f"{made.requests} requests, of which two policies match each of three triggers, and 40 of a day ago under the old price: "
        f"{len(owed)} ledgers equal to the unit; {denied} calls answered"
    )


def _doubled(policies: str) -> str:
    """Returns the policies with a second, less specific one for every billing target."""
    more = []
    for name, path in (("jobs", "/jobs"), ("exports", "/exports")):
        block = policies.partition(f"  - name: {name}\n")[2].partition("  - name:")[0]
        metering = block[block.index("    metering:") :]
        more.append(f'  - name: {name}-too\n    match: {{methods: ["*"], path: {path}}}\n{metering}')
    return policies + "".join(more)


def _revision(place: EmbeddedPlace) -> int:
    return int(place.read("SELECT MAX(revision) FROM applications")[0][0])


def _decided(owner: Owner, revision: int, second: int, number: int) -> bytes:
    """Returns a report of requests that a revision decided."""
    message = usage_pb2.ReportRequest()
    for index in range(number):
        event = message.events.add(
            event_id=uuid7(time.time_ns() // 1000, (revision << 16 | index).to_bytes(10, "big")),
            endpoint=common_pb2.Endpoint(method="POST", template="/calls"),
            identity=common_pb2.Identity(value=owner.identities[0]),
            status=200,
            quantity=1.0,
            revision=revision,
        )
        event.time.seconds = second
    return message.SerializeToString()


def _send(place: EmbeddedPlace, calls: list[bytes]) -> int:
    async def send() -> int:
        async with ReportClient(place.address, place.api_key) as client:
            for call in calls:
                answer = await client.report(call)
                ensure(not answer.errors, f"refused: {answer.errors[:1]}")
        return len(calls)

    return asyncio.run(send())


def settle(place: EmbeddedPlace) -> None:
    """Returns once nothing is open and nothing goes on by itself. Raises NotShown."""
    deadline = time.monotonic() + _PATIENCE_S
    while left := place.unsettled():
        ensure(time.monotonic() < deadline, f"not settled after {_PATIENCE_S:.0f} s: {left}")
        place.flush()
        time.sleep(0.5)


def million(folder: Path) -> str:
    """1,000,000 events of 1,000 customers over 4 hours become 4,000 parts and are sent to the stand-in in under 5 minutes, 800 a second at most, while
    memory stays flat.
    """
    return show_million(folder, customers=1_000, events=1_000_000)


def show_million(folder: Path, *, customers: int, events: int) -> str:
    """Shows it at a size; returns the figure. Raises NotShown."""
    payers = [Owner(f"acme-{n}", f"cus_acme{n}", (f"user-{n}",)) for n in range(customers)]
    with StandIn() as stripe:
        stripe.wait_ready()
        stripe.seed(stand_in_objects(customers, int(time.time())))
        # Nothing is frozen before all is reported: hours count as ended a day late, and a flush does not wait for that.
        with EmbeddedPlace(folder, stripe, USAGEFLOW_METER_SETTLE_S="86400") as place:
            place.apply(POLICIES + customers_text(payers))
            owed = _report_many(place, payers, events)
            before_mib = place.memory_mib()
            began = time.monotonic()
            ensure(place.command("meter", "flush", "--timeout", "280").returncode == 0, "flushing failed")
            settle(place)
            seconds = time.monotonic() - began
            grown_mib = place.memory_mib() - before_mib
            found, states = stripe.units(), place.states()
    ensure(found == owed, "what the stand-in counts is not what was reported")
    figure = (
        f"{events} events became {states['SENT']} parts, all taken in {seconds:.0f} s (of {_PARTS_WITHIN_S}); "
        f"memory {before_mib:.0f} MiB, {grown_mib:+.0f} MiB"
    )
    ensure(states == {"SENT": customers * 4}, f"{figure}; states {states}")
    ensure(seconds < _PARTS_WITHIN_S and grown_mib < 100, figure)
    return figure


def _report_many(place: EmbeddedPlace, payers: list[Owner], events: int) -> Owed:
    """Reports events of all customers in every one of four hours, in calls of a thousand; returns what is owed."""
    until_s = int(time.time()) // _HOUR_S * _HOUR_S
    owed: Owed = {}
    draw = random.Random(11)  # noqa: S311 - no secret

    async def report(start: int, client: ReportClient) -> None:
        message = usage_pb2.ReportRequest()
        for number in range(start, min(start + 1_000, events)):
            owner, hour = payers[number % len(payers)], number // len(payers) % 4
            event = message.events.add(
                event_id=uuid7(time.time_ns() // 1000, draw.randbytes(10)),
                endpoint=common_pb2.Endpoint(method="POST", template="/calls"),
                identity=common_pb2.Identity(value=owner.identities[0]),
                status=200,
                quantity=0.5,
            )
            event.time.seconds = until_s - (hour + 1) * _HOUR_S + draw.randrange(_HOUR_S)
            owed[owner.stripe, CALLS] = owed.get((owner.stripe, CALLS), Decimal(0)) + Decimal("0.5")
        answer = await client.report(message.SerializeToString())
        ensure(not answer.errors, f"refused: {answer.errors[:1]}")

    async def report_all() -> None:
        async with ReportClient(place.address, place.api_key) as client:
            for start in range(0, events, 4_000):
                starts = range(start, min(start + 4_000, events), 1_000)
                await asyncio.gather(*(report(each, client) for each in starts))

    asyncio.run(report_all())
    return owed


_FAULTY = """version: 1
application: demo
policies:
  - name: no-price
    match: {methods: [POST], path: /a}
    metering: {trigger: stripe_usage, price: price_missing, event_name: calls}
  - name: recurring
    match: {methods: [POST], path: /b}
    metering: {trigger: stripe_invoice, price: price_jobs}
  - name: counting
    match: {methods: [POST], path: /c}
    metering: {trigger: stripe_usage, price: price_counting, event_name: counting}
  - name: fine
    match: {methods: [POST], path: /calls}
    metering: {trigger: stripe_usage, price: price_calls, event_name: calls}
"""
_TOLD = {
    "price_missing": "there is no Stripe price price_missing in test mode",
    "price_jobs": "is a recurring price, and invoice items take one-time prices",
    "price_counting": "aggregates by count",
}


def unbillable(folder: Path) -> str:
    """A price that there is not, a recurring price on an invoice item, a meter that counts, a caller without a customer, a customer whom Stripe does
    not know and a revoked key: each is held, refused or paused with the sentence that tells what to do, and once that is done everything is billed.
    """
    with StandIn() as stripe:
        stripe.wait_ready()
        objects = stand_in_objects(1, int(time.time()))
        objects["meters"].append(
            {"id": "mtr_counting", "event_name": "counting", "default_aggregation": {"formula": "count"}}
        )
        objects["prices"].append(
            {"id": "price_counting", "recurring": {"usage_type": "metered", "meter": "mtr_counting"}}
        )
        stripe.seed(objects)
        with EmbeddedPlace(folder, stripe) as place:
            return _unbillable(place, stripe)


def _unbillable(place: EmbeddedPlace, stripe: StandIn) -> str:
    payers = owners(1)
    owner = payers[0]
    place.apply(_FAULTY + customers_text(payers))
    until_s = int(time.time()) // _HOUR_S * _HOUR_S
    for path in ("/a", "/b", "/c", "/calls"):
        _send(place, [_units(owner.identities[0], path, until_s - 60)])
    _send(place, [_units("stranger", "/calls", until_s - 60)])
    place.flush()
    told = {(each["price"], each["reason"]): each["message"] for each in _holds(place)}
    for price, sentence in _TOLD.items():
        ensure(sentence in told.get((price, "TARGET_REFUSED"), ""), f"{price}: {told}")
    ensure("belong to no customer" in told.get((CALLS, "UNMAPPED"), ""), f"nobody's usage: {told}")
    _until(lambda: stripe.units() == {(owner.stripe, CALLS): Decimal(10)}, place)
    _revoke(place, stripe, owner, until_s)
    place.apply(_FAULTY + customers_text([_with_stranger(owner)]))
    settled_but = {("price_missing", 10), ("price_jobs", 10), ("price_counting", 10)}
    _until(lambda: stripe.units() == {(owner.stripe, CALLS): Decimal(30)}, place)
    left = {
        (row["price"], int(row["units"]))
        for row in json.loads(place.command("meter", "status", "--output", "json").stdout)["waiting"]
    }
    ensure(left == settled_but, f"left {left}")
    return f"{len(_TOLD) + 3} faults told with what to do; all that could be mended was billed, {sum(n for _, n in left)} units wait in sight"


def _with_stranger(owner: Owner) -> Owner:
    """Returns the customer with the stranger's identity too."""
    return owner._replace(identities=(*owner.identities, "stranger"))


def _revoke(place: EmbeddedPlace, stripe: StandIn, owner: Owner, until_s: int) -> None:
    """Revokes the key while units are on their way; they wait, and go on when a person resumes the destination."""
    stripe.asked("keys", {"denied": [KEY[-6:]]})
    _send(place, [_units(owner.identities[0], "/calls", until_s - 30)])
    place.flush()
    _until(lambda: bool(_status(place)["paused"]), place)
    pause = _status(place)["paused"][0]
    ensure("set STRIPE_API_KEY" in pause["message"], f"told {pause}")
    stripe.asked("keys", {})
    ensure(place.command("meter", "resume", pause["destination"]).returncode == 0, "resume failed")


def _units(identity: str, path: str, second: int) -> bytes:
    message = usage_pb2.ReportRequest()
    for _ in range(10):
        event = message.events.add(
            event_id=uuid7(time.time_ns() // 1000, os.urandom(10)),
            endpoint=common_pb2.Endpoint(method="POST", template=path),
            identity=common_pb2.Identity(value=identity),
            status=200,
            quantity=1.0,
        )
        event.time.seconds = second
    return message.SerializeToString()


def _status(place: EmbeddedPlace) -> Any:
    return json.loads(place.command("meter", "status", "--output", "json").stdout)


def _holds(place: EmbeddedPlace) -> Any:
    """Returns the holds, once the loop that notes them has been round."""
    deadline = time.monotonic() + 40
    while not (found := _status(place)["holds"]) and time.monotonic() < deadline:
        time.sleep(0.5)
    return found


def _until(holds: Any, place: EmbeddedPlace) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        ensure(time.monotonic() < deadline, f"it did not come to that: {place.unsettled()}, {_status(place)}")
        place.flush()
        time.sleep(0.5)
