"""Reported usage as it came in, unchecked: what the handler unpacks and records.py reads."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from usageflow.storage.counters import Amendment

EndpointRef = int | tuple[str, str]
"""A number of the plan, or (method, template); an empty template leaves it to the path."""


class Verdict(NamedTuple):
    """What was decided for reported requests, as the reporter says. ``denied`` None: not said; not ``understood``: a value
    that this version does not know. ``shadow`` are numbers of policies that would have denied.
    """

    denied: bool | None = None
    understood: bool = True
    reason: str = ""
    degraded: str = ""
    policy_number: int = 0
    revision: int = 0
    shadow: tuple[int, ...] = ()


class ReportedEvent(NamedTuple):
    """One event, unchecked. ``payload`` is its canonical form, ``identity`` an identity's key or ""."""

    event_id: str
    time_us: int | None
    endpoint: EndpointRef
    path: str
    identity: str
    status: int
    latency_us: int
    request_bytes: int
    response_bytes: int
    quantity: float | None
    verdict: Verdict
    detail_json: str
    counted: bool
    payload_hash: bytes
    captured_json: str = ""


class ReportedCount(NamedTuple):
    """Requests that share everything but their number, unchecked.

    ``latency`` holds (bucket, requests), None where the two lists did not go together.
    """

    endpoint: EndpointRef
    identity: str
    status: int
    verdict: Verdict
    second: int
    requests: int
    units: str
    request_bytes: int
    response_bytes: int
    latency: tuple[tuple[int, int], ...] | None


class ReportedBatch(NamedTuple):
    """A count batch, unchecked."""

    batch_id: str
    counts: Sequence[ReportedCount]
    payload_hash: bytes


@dataclass(frozen=True, slots=True)
class Report:
    """What one call reports. ``sent_at_us`` is the reporter's clock, None where it was not said.

    ``revisions`` are those that events and counts name. Events may be made while they are read, once.
    """

    sent_at_us: int | None = None
    revisions: frozenset[int] = frozenset()
    events: Collection[ReportedEvent] = ()
    batches: Sequence[ReportedBatch] = ()
    amendments: Sequence[Amendment] = ()
