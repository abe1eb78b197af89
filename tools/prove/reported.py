"""What clients report in the proof of ingest, and what it has to add up to: made from a seed, so that every run is the same."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal

from usageflow.domain.ids import uuid7
from usageflow.v1 import common_pb2, usage_pb2

ENDPOINTS = [("POST", "/orders"), ("GET", "/orders/{id}"), ("GET", "/reports"), ("POST", "/search")]
METERED = ENDPOINTS[:2]
POLICIES = """version: 1
application: demo
policies:
  - name: orders
    match: {methods: [POST], path: /orders}
    metering: {expression: usage_record.quantity, trigger: stripe_usage, price: price_orders, event_name: orders}
  - name: order
    match: {methods: [GET], path: "/orders/:id"}
    metering: {expression: usage_record.quantity, trigger: stripe_usage, price: price_order, event_name: order}
"""

_STATUSES = [200, 200, 200, 201, 404, 429, 500]
_QUANTITIES = [1.0, 1.0, 2.5, 0.1, 7.25]
_SIZE = 200
"""Items of a call, more or less."""


@dataclass
class Totals:
    """Sums of good reports. ``metered`` counts requests and units per price."""

    events: int = 0
    requests: int = 0
    denied: int = 0
    errors: int = 0
    units: Decimal = Decimal(0)
    response_bytes: int = 0
    metered: Counter[str] = field(default_factory=Counter)
    metered_units: dict[str, Decimal] = field(default_factory=dict)

    def add(
        self,
        endpoint: tuple[str, str],
        status: int,
        requests: int,
        units: Decimal,
        *,
        response_bytes: int,
    ) -> None:
        """Adds requests that count."""
        denied = status == 429
        self.requests += requests
        self.denied += requests if denied else 0
        self.errors += requests if status >= 500 else 0
        self.units += 0 if denied else units
        self.response_bytes += response_bytes
        if endpoint in METERED and not denied:
            price = "price_orders" if endpoint == METERED[0] else "price_order"
            self.metered[price] += requests
            self.metered_units[price] = self.metered_units.get(price, Decimal(0)) + units


@dataclass(frozen=True, slots=True)
class Item:
    """An event or a count batch; ``fault`` is the (field, reason) that it must be refused for, None for a good one."""

    message: usage_pb2.UsageEvent | usage_pb2.CountBatch
    fault: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a client, and the faults that its answer must tell, by kind and index."""

    message: bytes
    faults: dict[tuple[int, int], tuple[str, str]]


@dataclass
class Reports:
    """All calls of all clients, and what they add up to."""

    calls: list[list[Call]]
    totals: Totals
    bad: int


def reports(events: int, batches: int, clients: int, *, now_us: int, seed: int) -> Reports:
    """Returns reports with one bad item in a hundred, one in ten sent twice, all in a random order, events beside batches."""
    draw = random.Random(seed)  # noqa: S311 - no secret
    totals = Totals()
    items = [_event(draw, now_us, totals) for _ in range(events)]
    items += [_batch(draw, now_us, totals) for _ in range(batches)]
    good = [item for item in items if item.fault is None]
    items += draw.sample(good, len(items) // 10)
    draw.shuffle(items)
    calls: list[list[Call]] = [[] for _ in range(clients)]
    for number, start in enumerate(range(0, len(items), _SIZE)):
        calls[number % clients].append(_call(items[start : start + _SIZE]))
    return Reports(calls, totals, sum(item.fault is not None for item in items))


def _event(draw: random.Random, now_us: int, totals: Totals) -> Item:
    endpoint, status = draw.choice(ENDPOINTS), draw.choice(_STATUSES)
    quantity, second = draw.choice(_QUANTITIES), now_us // 1_000_000 - draw.randrange(7_200)
    event = usage_pb2.UsageEvent(
        event_id=uuid7(now_us, draw.randbytes(10)),
        endpoint=common_pb2.Endpoint(method=endpoint[0], template=endpoint[1]),
        identity=common_pb2.Identity(value=f"user-{draw.randrange(500)}"),
        status=status,
        quantity=quantity,
        request_bytes=100,
        response_bytes=draw.randrange(5_000),
    )
    event.time.seconds = second
    event.latency.FromMicroseconds(int(draw.lognormvariate(9, 1)))
    if draw.random() < 0.01:
        return Item(event, _spoil_event(draw, event, now_us))
    totals.events += 1
    units = Decimal(repr(quantity))
    totals.add(endpoint, status, 1, units, response_bytes=event.response_bytes)
    return Item(event)


def _spoil_event(draw: random.Random, event: usage_pb2.UsageEvent, now_us: int) -> tuple[str, str]:
    """Makes an event one that nobody can accept; returns the field and the reason that must be told."""
    match draw.randrange(4):
        case 0:
            event.status = 42
            return "status", "INVALID_FIELD"
        case 1:
            event.time.seconds = now_us // 1_000_000 + 3_600
            return "time", "TIME_IN_FUTURE"
        case 2:
            event.endpoint_number = 4_000_000
            return "endpoint_number", "ENDPOINT_UNKNOWN"
        case _:
            event.metadata["note"] = "x" * 20_000
            return "metadata", "METADATA_TOO_LARGE"


def _batch(draw: random.Random, now_us: int, totals: Totals) -> Item:
    batch = usage_pb2.CountBatch(batch_id=uuid7(now_us, draw.randbytes(10)))
    bad = draw.random() < 0.01
    size = draw.randrange(20, 100)
    for index in range(size):
        endpoint, status = draw.choice(ENDPOINTS), draw.choice(_STATUSES)
        requests, sent = draw.randrange(1, 5_000), draw.randrange(100_000)
        units = Decimal(draw.randrange(10**7)).scaleb(-3)
        batch.counts.add(
            endpoint=common_pb2.Endpoint(method=endpoint[0], template=endpoint[1]),
            identity=common_pb2.Identity(value=f"user-{draw.randrange(500)}"),
            status=status,
            second=now_us // 1_000_000 - draw.randrange(7_200),
            requests=requests,
            units=f"{units:f}",
            response_bytes=sent,
            latency_buckets=[300, 400],
            latency_counts=[requests - requests // 3, requests // 3],
        )
        if not bad:
            totals.add(endpoint, status, requests, units, response_bytes=sent)
        elif index == size - 1:
            batch.counts[-1].requests = 0
            return Item(batch, (f"counts[{index}].requests", "INVALID_FIELD"))
    return Item(batch)


def _call(items: list[Item]) -> Call:
    message = usage_pb2.ReportRequest()
    faults: dict[tuple[int, int], tuple[str, str]] = {}
    for item in items:
        if isinstance(item.message, usage_pb2.UsageEvent):
            place = (usage_pb2.REPORT_ITEM_KIND_EVENT, len(message.events))
            message.events.append(item.message)
        else:
            place = (usage_pb2.REPORT_ITEM_KIND_BATCH, len(message.batches))
            message.batches.append(item.message)
        if item.fault is not None:
            faults[place] = item.fault
    return Call(message.SerializeToString(), faults)
