"""Reported usage after it was checked: what the store keeps, and what people ask of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple


class EndpointName(NamedTuple):
    """A route of an application: method in upper case and canonical template."""

    method: str
    template: str


class Series(NamedTuple):
    """What requests share that are summed together, whoever sent them.

    ``reason`` and ``degraded`` are bare names, empty for none. ``policy`` decided; ``shadow`` names the policies in SHADOW that would
    have denied, in order, joined by line feeds.
    """

    endpoint: EndpointName
    status: int
    denied: bool
    reason: str
    degraded: str
    policy: str
    shadow: str = ""


class UsageDelta(NamedTuple):
    """What one event, or one count of a batch, adds. ``identity`` is an identity's key (usageflow.domain.identity); empty for
    nobody. ``units`` counts only where it was not denied. ``latency`` maps bucket to requests.
    """

    series: Series
    identity: str
    second: int
    requests: int
    units: Decimal
    request_bytes: int = 0
    response_bytes: int = 0
    latency: tuple[tuple[int, int], ...] = ()


class MeteringDelta(NamedTuple):
    """Units on their way to an invoice: never those of our own denials."""

    endpoint: EndpointName
    identity: str
    policy: str
    price: str
    revision: int
    second: int
    requests: int
    units: Decimal


class StoredEvent(NamedTuple):
    """One request in detail. ``time_us`` is Unix time; ``detail_json`` holds what the capture level allowed."""

    event_id: str
    time_us: int
    series: Series
    path: str
    identity: str
    latency_us: int
    quantity: float
    request_bytes: int
    response_bytes: int
    detail_json: str


class UsageRecord(NamedTuple):
    """One event or one count batch: what is stored whole or not at all, once per id.

    ``day`` is the UTC day number of a UUIDv7 id and 0 for any other id; (application, id, day) is unique.
    ``payload_hash`` is 16 bytes over the canonical payload: the same id with another one is a conflict.
    """

    record_id: str
    day: int
    payload_hash: bytes
    usage: tuple[UsageDelta, ...]
    metering: tuple[MeteringDelta, ...] = ()
    event: StoredEvent | None = None


class Outcome(StrEnum):
    """What became of a record."""

    ACCEPTED = "ACCEPTED"
    DUPLICATE = "DUPLICATE"
    CONFLICT = "CONFLICT"


class UsageGroup(StrEnum):
    """By what usage is grouped."""

    ENDPOINT = "endpoint"
    STATUS = "status"
    MINUTE = "minute"


@dataclass(frozen=True, slots=True)
class UsageRow:
    """A row of sums; exactly one of ``endpoint``, ``status`` and ``minute`` (Unix time of its start) is set.

    ``errors`` are responses with status 500 to 599, ``denied`` those that we refused, ``units`` of the others.
    """

    requests: int
    errors: int
    denied: int
    units: Decimal
    endpoint: EndpointName | None = None
    status: int | None = None
    minute: int | None = None


@dataclass(frozen=True, slots=True)
class PendingRow:
    """Metered units that nothing has claimed yet; ``oldest`` is Unix time in seconds."""

    endpoint: EndpointName
    policy: str
    price: str
    requests: int
    units: Decimal
    oldest: int


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """From ``since`` (included) to ``until`` (excluded), Unix time in seconds; ``until`` None means no end."""

    since: int
    until: int | None = None
    group: UsageGroup = UsageGroup.ENDPOINT
    application: str = field(kw_only=True)
