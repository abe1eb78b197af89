"""Reported items for tests, and the desk that reads them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from decision.plan import build_plan
from decision.records import Desk, record_of_batch, record_of_event
from decision.reported import ReportedBatch, ReportedCount, ReportedEvent, Verdict
from tests.unit.fakes import limit, metering, policy, snapshot
from usageflow.domain.ids import uuid7
from usageflow.domain.policies import Mode
from usageflow.domain.snapshot import Snapshot
from usageflow.domain.usage import EndpointName, UsageRecord

Report = Callable[[], UsageRecord]

NOW = 1_700_000_000_123_456
NOW_S = NOW // 1_000_000
DAY_S = 86_400
BOUNDARIES = tuple(range(1112))

STATE = snapshot(
    policy("wide", "*", metering=metering("price_wide")),
    policy("things", "/things/:id", metering=metering("price_things"), limits=[limit(1)]),
    policy("special", "/things/special", metering=metering("price_things")),
    policy("trial", "/things/:id", metering=metering("price_trial"), mode=Mode.SHADOW),
    endpoints=[("GET", "/things/{id}"), ("GET", "/plain")],
)
THING = STATE.endpoint_numbers[EndpointName("GET", "/things/{id}")]
EVENT = ReportedEvent(
    event_id=uuid7(NOW, bytes(10)),
    time_us=NOW,
    endpoint=("GET", "/things/{id}"),
    path="/things/1",
    identity="v:u",
    status=200,
    latency_us=250,
    request_bytes=10,
    response_bytes=20,
    quantity=None,
    verdict=Verdict(),
    detail_json="",
    counted=False,
    payload_hash=bytes(16),
)
COUNT = ReportedCount(
    endpoint=THING,
    identity="v:u",
    status=200,
    verdict=Verdict(),
    second=NOW_S,
    requests=5,
    units="",
    request_bytes=10,
    response_bytes=20,
    latency=((3, 2), (9, 3)),
)


def desk(state: Snapshot = STATE, offset_us: int = 0, **revisions: Snapshot) -> Desk:
    older = {int(name.removeprefix("r")): item for name, item in revisions.items()}
    return Desk(build_plan(state), NOW, offset_us, older, BOUNDARIES)


def event(at: Desk | None = None, **fields: Any) -> UsageRecord:
    return record_of_event(EVENT._replace(**fields), at or desk())


def batch(*counts: ReportedCount, at: Desk | None = None, batch_id: str = "b1") -> UsageRecord:
    return record_of_batch(ReportedBatch(batch_id, counts, bytes(16)), at or desk())


def billed(record: UsageRecord) -> list[tuple[str, str]]:
    return [(item.policy, item.price) for item in record.metering]
