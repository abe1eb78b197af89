"""From reported usage to records of the store: clocks, endpoints, money. Pure.

Every refusal is an InvalidArgument whose faults name the field of the item.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from decision.bounds import (
    check_count,
    check_event,
    check_identity,
    check_status,
    check_verdict,
    day,
    histogram_of,
    quantity_of,
    second_in_range,
    units_of,
)
from decision.metering import Filed, Metered, metered_count, metered_event
from decision.plan import Plan
from decision.reported import ReportedBatch, ReportedCount, ReportedEvent
from usageflow.domain.capture import CaptureRules, kept_detail, kept_path
from usageflow.domain.errors import InvalidArgument
from usageflow.domain.latency import bucket_of
from usageflow.domain.snapshot import Snapshot
from usageflow.domain.units import units_of_quantity
from usageflow.domain.usage import MeteringDelta, MeteringFailure, StoredEvent, UsageDelta, UsageRecord

CLOCK_TOLERANCE_US = 30_000_000
_NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True)
class Desk:
    """What reports of one call are read with. ``offset_us`` is added to the reporter's clock; ``revisions`` holds the
    snapshot of each older revision that the call names, ``boundaries`` the latency buckets (spec/vectors/latency).
    """

    plan: Plan
    now_us: int
    offset_us: int
    revisions: Mapping[int, Snapshot]
    boundaries: Sequence[int]


def clock_offset(now_us: int, sent_at_us: int | None) -> int:
    """Returns what to add to a reporter's times: offsets of 30 s and less are left alone."""
    if sent_at_us is None or abs(now_us - sent_at_us) <= CLOCK_TOLERANCE_US:
        return 0
    return now_us - sent_at_us


def record_of_event(event: ReportedEvent, desk: Desk) -> UsageRecord:
    """Returns the record of an event. Raises InvalidArgument."""
    id_day = day("event_id", event.event_id, desk.now_us)
    time_us = desk.now_us if event.time_us is None else event.time_us + desk.offset_us
    second = second_in_range("time", time_us // 1_000_000, desk.now_us)
    check_event(event)
    quantity = quantity_of(event.quantity)
    filed = _filed(event, event.path, desk)
    _, series, identity = filed
    rules = desk.plan.snapshot.capture_rules
    stored = StoredEvent(
        event.event_id,
        time_us,
        series,
        kept_path(event.path, rules),
        identity,
        event.latency_us,
        quantity,
        event.request_bytes,
        event.response_bytes,
        _detail(event, desk, rules),
    )
    units = units_of_quantity(quantity)
    deltas, failures = metered_event(event, filed, second, time_us, units)
    if event.counted:  # a count batch holds this request already
        return UsageRecord(event.event_id, id_day, event.payload_hash, (), deltas, stored, failures)
    usage = UsageDelta(
        series,
        identity,
        second,
        1,
        _NOTHING if series.denied else units,
        event.request_bytes,
        event.response_bytes,
        ((bucket_of(event.latency_us, desk.boundaries), 1),),
    )
    return UsageRecord(event.event_id, id_day, event.payload_hash, (usage,), deltas, stored, failures)


def _detail(event: ReportedEvent, desk: Desk, rules: CaptureRules) -> str:
    """Returns what is kept of an event beside its columns; where its time was corrected, what the reporter said too."""
    kept = kept_detail(event.detail_json, event.captured_json, rules)
    if not desk.offset_us or event.time_us is None:
        return kept
    detail = json.loads(kept or "{}") | {"reported_time": event.time_us}
    return json.dumps(detail, ensure_ascii=False, separators=(",", ":"))


def record_of_batch(batch: ReportedBatch, desk: Desk) -> UsageRecord:
    """Returns the record of a count batch. Raises InvalidArgument with the count's index in the field."""
    id_day = day("batch_id", batch.batch_id, desk.now_us)
    usage: list[UsageDelta] = []
    metering: list[MeteringDelta] = []
    failures: list[MeteringFailure] = []
    for index, count in enumerate(batch.counts):
        try:
            delta, metered = _delta_of_count(count, desk)
        except InvalidArgument as error:
            raise InvalidArgument([fault.under(f"counts[{index}]") for fault in error.faults]) from None
        usage.append(delta)
        metering += metered.deltas
        failures += metered.failures
    return UsageRecord(
        batch.batch_id, id_day, batch.payload_hash, tuple(usage), tuple(metering), None, tuple(failures)
    )


def _delta_of_count(count: ReportedCount, desk: Desk) -> tuple[UsageDelta, Metered]:
    second = second_in_range("second", count.second + desk.offset_us // 1_000_000, desk.now_us)
    check_count(count)
    units, latency = units_of(count), histogram_of(count)
    filed = _filed(count, "", desk)
    _, series, identity = filed
    usage = UsageDelta(
        series,
        identity,
        second,
        count.requests,
        _NOTHING if series.denied else units,
        count.request_bytes,
        count.response_bytes,
        latency,
    )
    return usage, metered_count(count, filed, second, units)


def _filed(item: ReportedEvent | ReportedCount, path: str, desk: Desk) -> Filed:
    """Returns under what an event or a count is filed: its account, its series and the identity's key as it is stored."""
    verdict = item.verdict
    check_status(item.status)
    check_verdict(verdict)
    check_identity(item.identity)
    account = desk.plan.accounts.find(item.endpoint, path, verdict, desk.revisions)
    identity = account.identity(item.identity, desk.plan.snapshot.hash_key)
    return Filed(account, account.series(item.status, verdict), identity)
