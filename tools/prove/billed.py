"""What is reported in the proofs of billing, and what every customer owes for it: made from a seed, so that every run is the same."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from usageflow.domain.ids import uuid7
from usageflow.v1 import common_pb2, usage_pb2

HOUR_S = 3_600
CALLS, JOBS, EXPORTS = "price_calls", "price_jobs", "price_exports"
"""Prices of the three triggers: stripe_usage, stripe_subscription, stripe_invoice."""

ROUTES = {("POST", "/calls"): CALLS, ("POST", "/jobs"): JOBS, ("GET", "/exports"): EXPORTS}
FREE = ("GET", "/health")
POLICIES = """version: 1
application: demo
policies:
  - name: calls
    match: {methods: [POST], path: /calls}
    metering: {expression: usage_record.quantity, trigger: stripe_usage, price: price_calls, event_name: calls}
  - name: everything-posted
    match: {methods: [POST], path: "/calls*"}
    metering: {expression: usage_record.quantity, trigger: stripe_usage, price: price_calls, event_name: calls}
  - name: jobs
    match: {methods: [POST], path: /jobs}
    metering: {expression: usage_record.quantity, trigger: stripe_subscription, price: price_jobs, event_name: jobs}
  - name: exports
    match: {methods: [GET], path: /exports}
    metering: {expression: usage_record.quantity, trigger: stripe_invoice, price: price_exports}
"""

_QUANTITIES = [1.0, 1.0, 2.5, 0.1, 7.25, 0.000001]
_STATUSES = [200, 200, 200, 201, 404, 500, 429]
_ITEMS = 100
"""Items of a call, more or less."""


class Owner(NamedTuple):
    """A customer, `cus_...`, and whose requests are theirs."""

    name: str
    stripe: str
    identities: tuple[str, ...]


def owners(number: int) -> list[Owner]:
    """Returns customers with two identities each."""
    return [Owner(f"acme-{n}", f"cus_acme{n}", (f"user-{n}-a", f"user-{n}-b")) for n in range(number)]


Owed = dict[tuple[str, str], Decimal]
"""Units by (`cus_...`, price)."""


@dataclass
class Wave:
    """Calls of Report, per client and in their order, and what they add to what is owed."""

    calls: list[list[bytes]]
    owed: Owed = field(default_factory=dict)
    events: int = 0
    requests: int = 0

    def owe(self, owner: Owner, price: str, units: Decimal) -> None:
        """Adds units."""
        key = (owner.stripe, price)
        self.owed[key] = self.owed.get(key, Decimal(0)) + units


@dataclass(frozen=True, slots=True)
class Shape:
    """How much is reported: events and count batches of some clients, about seconds of ``hours`` hours before ``until_s``. One item in ten
    comes twice. ``skew_s`` is how far the clocks of half of the clients are ahead.
    """

    events: int
    batches: int
    clients: int
    until_s: int
    hours: int = 4
    skew_s: int = 0


def wave(draw: random.Random, payers: list[Owner], shape: Shape, now_us: int) -> Wave:
    """Returns reports in a random order."""
    made = Wave([[] for _ in range(shape.clients)])
    items = [_event(draw, payers, shape, now_us, made) for _ in range(shape.events)]
    items += [_batch(draw, payers, shape, now_us, made) for _ in range(shape.batches)]
    for client in range(shape.clients):
        # What comes twice comes from the same client, whose clock is the same.
        own = items[client :: shape.clients]
        own += draw.sample(own, len(own) // 10)
        draw.shuffle(own)
        skew_s = shape.skew_s if client % 2 else 0
        starts = range(0, len(own), _ITEMS)
        made.calls[client] = [_call(own[start : start + _ITEMS], now_us, skew_s) for start in starts]
    return made


_Item = usage_pb2.UsageEvent | usage_pb2.CountBatch


def _event(draw: random.Random, payers: list[Owner], shape: Shape, now_us: int, made: Wave) -> _Item:
    owner, (method, template) = draw.choice(payers), draw.choice([*ROUTES, FREE])
    status, quantity = draw.choice(_STATUSES), draw.choice(_QUANTITIES)
    event = usage_pb2.UsageEvent(
        event_id=uuid7(now_us, draw.randbytes(10)),
        endpoint=common_pb2.Endpoint(method=method, template=template),
        identity=common_pb2.Identity(value=draw.choice(owner.identities)),
        status=status,
        quantity=quantity,
    )
    event.time.seconds = _second(draw, shape)
    made.events += 1
    made.requests += 1
    if status != 429 and (method, template) in ROUTES:
        made.owe(owner, ROUTES[method, template], Decimal(repr(quantity)).quantize(Decimal("1e-12")))
    return event


def _batch(draw: random.Random, payers: list[Owner], shape: Shape, now_us: int, made: Wave) -> _Item:
    batch = usage_pb2.CountBatch(batch_id=uuid7(now_us, draw.randbytes(10)))
    for _ in range(draw.randrange(5, 30)):
        owner, (method, template) = draw.choice(payers), draw.choice([*ROUTES, FREE])
        status, requests = draw.choice(_STATUSES), draw.randrange(1, 500)
        units = Decimal(draw.randrange(10**7)).scaleb(-3)
        batch.counts.add(
            endpoint=common_pb2.Endpoint(method=method, template=template),
            identity=common_pb2.Identity(value=draw.choice(owner.identities)),
            status=status,
            second=_second(draw, shape),
            requests=requests,
            units=f"{units:f}",
        )
        made.requests += requests
        if status != 429 and (method, template) in ROUTES:
            made.owe(owner, ROUTES[method, template], units)
    return batch


def _second(draw: random.Random, shape: Shape) -> int:
    return shape.until_s - 1 - draw.randrange(shape.hours * HOUR_S)


def _call(items: list[_Item], now_us: int, skew_s: int) -> bytes:
    """Returns a call whose client's clock is ``skew_s`` ahead."""
    message = usage_pb2.ReportRequest()
    message.sent_at.FromMicroseconds(now_us + skew_s * 1_000_000)
    for item in items:
        if isinstance(item, usage_pb2.UsageEvent):
            message.events.append(item)
            message.events[-1].time.seconds += skew_s
            continue
        message.batches.append(item)
        for count in message.batches[-1].counts:
            count.second += skew_s
    return message.SerializeToString()


def customers_text(payers: list[Owner], *, mapped: bool = True) -> str:
    """Returns the customers as a policy file declares them; not ``mapped``: without their `cus_...`."""
    lines = ["customers:"]
    for owner in payers:
        stripe = f", stripe_customer: {owner.stripe}" if mapped else ""
        lines.append(f"  - {{name: {owner.name}, identities: [{', '.join(owner.identities)}]{stripe}}}")
    return "\n".join(lines) + "\n"
