"""Reported usage after it was checked: what the store keeps. What people ask of it: usageflow.domain.analytics."""

from __future__ import annotations

from dataclasses import dataclass
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


class MeteringFailure(NamedTuple):
    """A metering expression that came to nothing for a record: it bills nothing for this policy. ``time_us`` is Unix time."""

    policy: str
    price: str
    revision: int
    message: str
    time_us: int


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
    failures: tuple[MeteringFailure, ...] = ()


class Outcome(StrEnum):
    """What became of a record."""

    ACCEPTED = "ACCEPTED"
    DUPLICATE = "DUPLICATE"
    CONFLICT = "CONFLICT"


@dataclass(frozen=True, slots=True)
class PendingRow:
    """Metered units that nothing has claimed yet; ``oldest`` is Unix time in seconds."""

    endpoint: EndpointName
    policy: str
    price: str
    requests: int
    units: Decimal
    oldest: int


class ListedFailure(NamedTuple):
    """A metering failure as it is stored; ``record_id`` is the id of the event, or of the count batch."""

    row_id: int
    record_id: str
    failure: MeteringFailure
