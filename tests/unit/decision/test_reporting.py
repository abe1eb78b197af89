from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from decision.amending import ItemKind
from decision.engine import Engine
from decision.handler.pack import item_status
from decision.ingest import MAX_WAITING, Ingest
from decision.plan import Plan
from decision.questions import Terms, question_by_name
from decision.reported import Report, ReportedBatch, ReportedEvent, Verdict
from decision.reporting import Reporting, ReportResult
from decision.snapshots import SnapshotRegistry
from tests.unit.decision.reported_items import BOUNDARIES, COUNT, EVENT, NOW
from tests.unit.fakes import (
    KEY_OF,
    FakeControl,
    FakeUsage,
    SilentStore,
    limit,
    metering,
    policy,
    request,
    resilient,
)
from usageflow.domain.clock import ManualClock
from usageflow.domain.errors import FailedPrecondition, InvalidArgument, Overloaded, Unavailable
from usageflow.domain.policies import PolicySet
from usageflow.domain.usage import EndpointName, Outcome, UsageRecord
from usageflow.storage.counters import Settlement
from usageflow.storage.memory import MemoryCounterStore
from usageflow.storage.notices import LocalNotices
from usageflow.v1 import common_pb2

POLICIES = PolicySet(policies=(policy(limits=[limit(10)], metering=metering("price_1")),))


class Desk:
    def __init__(self) -> None:
        self.clock = ManualClock(NOW)
        self.control, self.usage = FakeControl(), FakeUsage()
        self.control.add(POLICIES)
        self.snapshots = SnapshotRegistry(self.control, LocalNotices(), KEY_OF)
        self.store = SilentStore(self.clock)
        self.engine = Engine(
            resilient(self.store), MemoryCounterStore(self.clock), self.clock, lambda: "hold-1"
        )
        self.ingest = Ingest(self.usage, self.clock)
        self.reporting = Reporting(self.snapshots, self.engine, self.ingest, self.clock, BOUNDARIES)

    @property
    def plan(self) -> Plan:
        plan = self.snapshots.plan("app-1")
        assert plan is not None
        return plan

    async def hold(self, cost: int) -> None:
        question = question_by_name(self.plan.snapshot, request(), Terms(cost, 60_000_000))
        (answer,) = await self.engine.decide(self.plan.snapshot, [question])
        assert answer.reservation is not None

    async def remaining(self) -> int:
        question = question_by_name(self.plan.snapshot, request(), Terms(1))
        return (await self.engine.explain(self.plan.snapshot, question)).before[0]

    async def report(self, *events: ReportedEvent, **fields: object) -> ReportResult:
        revisions = frozenset(item.verdict.revision for item in events)
        report = Report(events=events, revisions=revisions, **fields)  # type: ignore[arg-type]
        return await self.reporting.report(self.plan, report)


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    made = Desk()
    await made.snapshots.refresh()
    worker = asyncio.ensure_future(made.ingest.run())
    yield made
    assert not worker.done()
    worker.cancel()


def event(name: str, **fields: object) -> ReportedEvent:
    return EVENT._replace(event_id=name, endpoint=("GET", "/a"), **fields)  # type: ignore[arg-type]


def batch(name: str, *fields: dict[str, object]) -> ReportedBatch:
    counts = [COUNT._replace(endpoint=("GET", "/a"), **item) for item in fields or ({},)]  # type: ignore[arg-type]
    return ReportedBatch(name, counts, bytes(16))


def record(name: str, payload: bytes = bytes(16)) -> UsageRecord:
    return UsageRecord(name, 0, payload, ())


async def turns(number: int = 5) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


# reporting


async def test_every_item_is_counted_in_exactly_one_of_three(desk: Desk) -> None:
    await desk.report(event("old"), event("reused"))
    result = await desk.report(
        event("new"),
        event("old"),
        event("reused", payload_hash=b"x" * 16),
        event("bad", status=0),
        event("twice"),
        event("twice"),
        batches=[batch("b1"), batch("b2", {}, {"requests": 0}), batch("b1")],
        amendments=[Settlement("none", 1)],
    )
    assert (result.accepted, result.duplicates) == (3, 3)
    assert [
        (item.kind, item.index, item.item_id, item.fault.field, item.fault.reason) for item in result.faults
    ] == [
        (ItemKind.BATCH, 1, "b2", "counts[1].requests", "INVALID_FIELD"),
        (ItemKind.EVENT, 2, "reused", "event_id", "ID_REUSED"),
        (ItemKind.EVENT, 3, "bad", "status", "INVALID_FIELD"),
        (ItemKind.SETTLEMENT, 0, "none", "reservation_id", "NOT_FOUND"),
    ]
    assert ("app-1", "b2") not in desk.usage.stored


async def test_an_empty_report_needs_no_database(desk: Desk) -> None:
    desk.usage.errors = [Unavailable("down")]
    result = await desk.report()
    assert (result.accepted, result.duplicates, result.faults) == (0, 0, [])


async def test_settlements_run_even_where_the_commit_fails(desk: Desk) -> None:
    await desk.hold(6)
    desk.usage.errors = [Unavailable("down")]
    with pytest.raises(Unavailable):
        await desk.report(event("e"), amendments=[Settlement("hold-1", 1)])
    assert await desk.remaining() == 9
    result = await desk.report(event("e"), amendments=[Settlement("hold-1", 1)])
    assert (result.accepted, result.faults) == (1, [])
    assert await desk.remaining() == 9


async def test_a_settlement_of_duplicates_runs_too(desk: Desk) -> None:
    await desk.hold(6)
    await desk.report(event("e"))
    result = await desk.report(event("e"), amendments=[Settlement("hold-1", 0)])
    assert result.duplicates == 1
    assert await desk.remaining() == 10


@pytest.mark.parametrize("silent", [False, True])
async def test_a_settlement_that_the_store_does_not_answer_may_be_sent_again(
    desk: Desk, silent: bool
) -> None:
    await desk.hold(6)
    desk.store.silent, desk.store.error = silent, Unavailable("gone")
    result = await desk.report(event("e"), amendments=[Settlement("hold-1", 1)])
    assert (result.accepted, [item.fault.reason for item in result.faults]) == (1, ["UNAVAILABLE"])
    assert item_status(result.faults[0].fault).code == common_pb2.ITEM_CODE_UNAVAILABLE
    desk.store.silent, desk.store.error = False, None
    assert (await desk.report(amendments=[Settlement("hold-1", 1)])).faults == []
    assert await desk.remaining() == 9


async def test_a_negative_settlement_is_refused(desk: Desk) -> None:
    await desk.hold(6)
    result = await desk.report(amendments=[Settlement("hold-1", -1)])
    assert [(item.kind, item.fault.field) for item in result.faults] == [(ItemKind.SETTLEMENT, "actual")]
    assert await desk.remaining() == 4


async def test_the_revision_that_decided_prices(desk: Desk) -> None:
    cheaper = PolicySet(policies=(policy(metering=metering("price_2")),))
    desk.control.set("app-1", cheaper)
    await desk.snapshots.refresh()
    await desk.report(
        event("old", verdict=Verdict(revision=1)),
        event("new"),
        event("far", verdict=Verdict(revision=2**64 - 1)),
    )
    prices = {name: [item.price for item in kept.metering] for (_, name), kept in desk.usage.stored.items()}
    assert prices == {"old": ["price_1"], "new": ["price_2"]}


async def test_a_reporters_wrong_clock_is_corrected(desk: Desk) -> None:
    hour_us = 3_600_000_000
    await desk.report(event("e", time_us=NOW + hour_us), sent_at_us=NOW + hour_us)
    stored = desk.usage.stored["app-1", "e"].event
    assert stored is not None
    assert stored.time_us == NOW


@pytest.mark.parametrize(
    ("report", "field"),
    [
        (Report(events=[EVENT] * 10_001), "events"),
        (Report(batches=[ReportedBatch("b", [], b"")] * 101), "batches"),
        (Report(batches=[ReportedBatch("b", [COUNT] * 10_001, b"")]), "batches.counts"),
        (Report(amendments=[Settlement("r", 1)] * 10_001), "settlements"),
    ],
)
async def test_lists_that_are_too_long_are_refused_whole(desk: Desk, report: Report, field: str) -> None:
    with pytest.raises(InvalidArgument) as error:
        await desk.reporting.report(desk.plan, report)
    assert error.value.faults[0].field == field
    assert desk.usage.calls == []


async def test_a_long_report_lets_others_run(desk: Desk) -> None:
    reporting = asyncio.ensure_future(desk.report(*(event(f"e{n}") for n in range(500))))
    seen = 0
    while not reporting.done():
        seen += 1
        await asyncio.sleep(0)
    assert seen >= 10
    assert (await reporting).accepted == 500


async def test_a_report_of_an_endpoint_that_is_not_registered_is_stored(desk: Desk) -> None:
    await desk.report(event("e"))
    assert desk.usage.stored["app-1", "e"].usage[0].series.endpoint == EndpointName("GET", "/a")


# ingest


async def test_calls_that_come_while_a_transaction_runs_share_the_next_one(desk: Desk) -> None:
    desk.usage.gate = asyncio.Event()
    first = asyncio.ensure_future(desk.ingest.submit("app-1", [record("a")]))
    await turns()
    others = [asyncio.ensure_future(desk.ingest.submit("app-1", [record(name)])) for name in "bcd"]
    await turns()
    desk.usage.gate.set()
    assert await asyncio.gather(first, *others) == [[Outcome.ACCEPTED]] * 4
    assert desk.usage.calls == [["a"], ["b", "c", "d"]]


async def test_what_waits_and_what_commits_took_is_told(desk: Desk) -> None:
    desk.usage.gate = asyncio.Event()
    first = asyncio.ensure_future(desk.ingest.submit("app-1", [record("a")]))
    await turns()
    second = asyncio.ensure_future(desk.ingest.submit("app-1", [record("b"), record("c")]))
    await turns()
    assert desk.ingest.waiting == 2
    desk.clock.advance(seconds=0.25)
    desk.usage.gate.set()
    await asyncio.gather(first, second)
    await turns()
    assert (desk.ingest.waiting, desk.ingest.commits, desk.ingest.commit_s) == (0, 2, 0.25)


async def test_each_caller_gets_its_own_outcomes_in_order(desk: Desk) -> None:
    await desk.ingest.submit("app-1", [record("a"), record("b")])
    desk.usage.gate = asyncio.Event()
    calls = [
        asyncio.ensure_future(desk.ingest.submit("app-1", [record("a"), record("c")])),
        asyncio.ensure_future(desk.ingest.submit("app-2", [record("a")])),
        asyncio.ensure_future(desk.ingest.submit("app-1", [record("c"), record("b", b"x" * 16)])),
    ]
    await turns()
    desk.usage.gate.set()
    assert await asyncio.gather(*calls) == [
        [Outcome.DUPLICATE, Outcome.ACCEPTED],
        [Outcome.ACCEPTED],
        [Outcome.DUPLICATE, Outcome.CONFLICT],
    ]


async def test_more_than_the_cap_is_refused_and_what_waits_is_not(desk: Desk) -> None:
    desk.usage.gate = asyncio.Event()
    running = asyncio.ensure_future(desk.ingest.submit("app-1", [record("a")]))
    await turns()
    waiting = asyncio.ensure_future(
        desk.ingest.submit("app-1", [record(f"w{n}") for n in range(MAX_WAITING)])
    )
    await turns()
    with pytest.raises(Overloaded):
        await desk.ingest.submit("app-1", [record("b")])
    desk.usage.gate.set()
    assert await running == [Outcome.ACCEPTED]
    assert len(await waiting) == MAX_WAITING
    assert await desk.ingest.submit("app-1", [record("b")]) == [Outcome.ACCEPTED]


async def test_an_unavailable_database_fails_the_callers_and_the_worker_lives_on(desk: Desk) -> None:
    desk.usage.errors = [Unavailable("down")]
    calls = [desk.ingest.submit("app-1", [record("a")]), desk.ingest.submit("app-1", [record("b")])]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(item) for item in results] == [Unavailable, Unavailable]
    assert desk.usage.stored == {}
    assert await desk.ingest.submit("app-1", [record("a")]) == [Outcome.ACCEPTED]


async def test_what_the_database_refuses_does_not_sink_what_came_beside_it(desk: Desk) -> None:
    desk.usage.poison = "bad"
    names = ["a", "b", "bad", "c", "d"]
    results = await asyncio.gather(
        *(desk.ingest.submit("app-1", [record(name)]) for name in names), return_exceptions=True
    )
    assert [isinstance(item, ValueError) for item in results] == [name == "bad" for name in names]
    assert {name for _, name in desk.usage.stored} == {"a", "b", "c", "d"}
    assert await desk.ingest.submit("app-1", [record("e")]) == [Outcome.ACCEPTED]


async def test_of_a_call_only_the_record_that_the_database_refuses_is_not_stored(desk: Desk) -> None:
    desk.usage.refused = {"e3", "e6"}
    result = await desk.report(*(event(f"e{number}") for number in range(8)))
    assert result.accepted == 6
    assert [(item.kind, item.index, item.item_id, item.fault.reason) for item in result.faults] == [
        (ItemKind.EVENT, 3, "e3", "DATA_REFUSED"),
        (ItemKind.EVENT, 6, "e6", "DATA_REFUSED"),
    ]
    assert item_status(result.faults[0].fault).code == common_pb2.ITEM_CODE_INVALID_ARGUMENT


async def test_a_database_that_goes_away_in_between_stores_nothing_twice(desk: Desk) -> None:
    desk.usage.refused = {"e3"}
    report = [event(f"e{number}") for number in range(4)]
    refusal = InvalidArgument.of("data", "is out of bounds", "correct it", "DATA_REFUSED")
    desk.usage.errors = [refusal, Unavailable("down")]
    with pytest.raises(Unavailable):
        await desk.report(*report)
    result = await desk.report(*report)
    assert (result.accepted, [item.item_id for item in result.faults]) == (3, ["e3"])


async def test_a_caller_that_went_away_stops_nobody(desk: Desk) -> None:
    desk.usage.gate = asyncio.Event()
    calls = [asyncio.ensure_future(desk.ingest.submit("app-1", [record(name)])) for name in "abc"]
    await turns()
    calls[0].cancel()
    calls[2].cancel()
    await turns()
    desk.usage.gate.set()
    assert await calls[1] == [Outcome.ACCEPTED]
    desk.usage.gate.clear()
    failing = asyncio.ensure_future(desk.ingest.submit("app-1", [record("x")]))
    await turns()
    failing.cancel()
    desk.usage.errors = [Unavailable("down")]
    desk.usage.gate.set()
    await turns()
    assert await desk.ingest.submit("app-1", [record("y")]) == [Outcome.ACCEPTED]


@pytest.mark.parametrize("fields", [{"events": [event("e")]}, {"batches": [batch("b")]}])
async def test_without_a_usage_store_usage_is_refused_and_settlements_are_carried_out(
    desk: Desk, fields: dict[str, Any]
) -> None:
    edge = Reporting(desk.snapshots, desk.engine, None, desk.clock, BOUNDARIES)
    await desk.hold(6)
    before = await desk.remaining()
    with pytest.raises(FailedPrecondition, match="a service with a database") as error:
        await edge.report(desk.plan, Report(amendments=[Settlement("hold-1", 1)], **fields))
    assert error.value.reason == "NO_USAGE_STORE"
    assert await desk.remaining() == before + 5
    result = await edge.report(desk.plan, Report(amendments=[Settlement("none", 1)]))
    assert [item.fault.reason for item in result.faults] == ["NOT_FOUND"]
