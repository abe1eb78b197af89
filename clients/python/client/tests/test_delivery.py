"""Delivery of events to a real gRPC server."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import grpc.aio
import pytest

from clients.python.client.tests.exchanges import Make, ready, run, view
from clients.python.client.tests.fake_service import (
    KEY,
    FakeService,
    abort,
    allow,
    endpoint_plan,
    full_plan,
    until,
)
from usageflow.client import ClientConfig, UsageFlowClient
from usageflow.v1 import plan_pb2

REPORT = plan_pb2.PLAN_ACTION_REPORT


async def test_a_report_whose_numbers_are_unknown_goes_without_them(service: FakeService, make: Make) -> None:
    service.answer = lambda _: allow(policy_number=9)

    async def unknown(request: Any, context: Any) -> None:
        if request.plan_version:
            await abort(context, grpc.StatusCode.FAILED_PRECONDITION, reason="PLAN_UNKNOWN")

    service.on_report = unknown
    client = make()
    await ready(client)
    await run(client)
    events = await service.wait_for_events(1)
    assert events[0].policy_number == 0
    assert [report.plan_version for report in service.reports] == [1, 0]


async def test_a_lost_answer_resends_the_same_ids(service: FakeService, make: Make) -> None:
    failures = iter([True, True])

    async def store_then_fail(request: Any, context: Any) -> None:
        service.events.update({event.event_id: event for event in request.events})
        if next(failures, False):
            await abort(context, grpc.StatusCode.UNAVAILABLE)

    service.on_report = store_then_fail
    client = make()
    await ready(client)
    await run(client)
    await until(lambda: client.status().reported == 1, 15)
    assert len(service.reports) == 3
    assert len({report.events[0].SerializeToString() for report in service.reports}) == 1


async def test_a_poisoned_event_is_dropped_alone(
    service: FakeService, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    async def refuse(request: Any, context: Any) -> None:
        if any(event.status == 418 for event in request.events):
            await abort(context, grpc.StatusCode.INVALID_ARGUMENT)

    service.on_report = refuse
    client = make()
    await ready(client)
    for status in (200, 418, 201, 202):
        exchange = client.begin(view())
        assert exchange is not None
        client.finish(exchange, status)
    events = await service.wait_for_events(3)
    assert {event.status for event in events} == {200, 201, 202}
    await until(lambda: client.status().refused == 1)


async def test_a_full_queue_counts_what_it_drops(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    client = make(address="127.0.0.1:1", max_events=3)
    for _ in range(5):
        await run(client)
    assert (client.status().queued, client.status().dropped) == (3, 2)
    await until(lambda: "lost 2 events" in caplog.text)


async def test_closing_delivers_what_waits(service: FakeService, make: Make) -> None:
    client = make(flush_interval_s=60.0)
    await ready(client)
    for _ in range(3):
        await run(client)
    await client.aclose()
    assert len(service.events) == 3
    await run(client)
    await client.aclose()
    assert len(service.events) == 4, "it may be used again"


async def test_an_event_loop_that_is_wound_up_without_a_word_delivers_too(service: FakeService) -> None:
    config = ClientConfig(api_key=KEY, address=service.address, flush_interval_s=60.0)
    client = UsageFlowClient(config)

    async def life() -> None:
        await ready(client)
        await run(client)

    await asyncio.to_thread(asyncio.run, life())
    assert len(service.events) == 1
    assert not client._sessions


async def test_a_full_batch_does_not_wait_for_the_interval(service: FakeService, make: Make) -> None:
    service.push(full_plan(endpoint_plan(1, "GET", "/x", REPORT)))
    client = make(flush_interval_s=60.0)
    await ready(client)
    for _ in range(500):
        await run(client)
    await service.wait_for_events(500)
