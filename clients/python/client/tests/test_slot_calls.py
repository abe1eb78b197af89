"""Slots against a real gRPC server: given back, renewed, and kept in mind while nobody answers."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Any

import grpc
import pytest

from clients.python.client.tests.exchanges import Make, ready, run, script, view
from clients.python.client.tests.fake_service import FakeService, allow, hang, slot_plan, until
from usageflow.client import UsageFlowClient
from usageflow.client.adapters import Exchange
from usageflow.v1 import common_pb2 as common
from usageflow.v1 import decision_pb2 as wire
from usageflow.v1 import usage_pb2


def grants(service: FakeService, *, life_ms: int = 60_000) -> None:
    """Every check is admitted with a slot: s1, s2 and so on."""
    numbers = count(1)
    service.push(slot_plan(life_ms=life_ms))
    state = wire.LimitState(policy_number=9, remaining=1)
    service.answer = lambda _: allow(policy_number=9, limits=[state], slot_id=b"s%d" % next(numbers))


async def begun(client: UsageFlowClient) -> Exchange:
    exchange = client.begin(view())
    assert exchange is not None
    assert (await client.decide(exchange)).allowed
    return exchange


async def test_a_slot_is_held_while_the_request_runs_and_given_back_at_once(
    service: FakeService, make: Make
) -> None:
    grants(service)
    client = make(flush_interval_s=60.0)
    await ready(client)
    exchange = await begun(client)
    assert client.status().slots == 1
    assert not service.released()
    client.release(exchange)
    client.release(exchange)
    assert client.status().slots == 0
    await until(service.released)
    assert service.released() == [b"s1"]
    assert not service.checks[-1].items, "no check came by within 5 ms"
    assert not service.reports


async def test_the_next_check_takes_releases_along(service: FakeService, make: Make) -> None:
    grants(service)
    client = make()
    await ready(client)
    first, second = await begun(client), await begun(client)
    client.release(first)
    client.release(second)
    await begun(client)
    assert [item.slot_id for item in service.checks[2].releases] == [b"s1", b"s2"]
    assert len(service.checks[2].items) == 1


async def test_a_request_without_a_slot_releases_nothing(service: FakeService, make: Make) -> None:
    client = make()
    await ready(client)
    exchange = await begun(client)
    client.release(exchange)
    await asyncio.sleep(0.02)
    assert len(service.checks) == 1


async def test_a_long_request_renews_its_slot_until_it_ends(service: FakeService, make: Make) -> None:
    grants(service, life_ms=100)
    client = make()
    await ready(client)
    exchange = await begun(client)
    await until(lambda: len(service.renewed()) >= 3)
    client.release(exchange)
    await until(service.released)
    renewed = len(service.renewed())
    await asyncio.sleep(0.15)
    assert len(service.renewed()) == renewed, "what has ended is not renewed"
    assert set(service.renewed()) == {b"s1"}


async def test_a_renewal_that_nobody_answers_is_tried_again(service: FakeService, make: Make) -> None:
    grants(service, life_ms=200)
    client = make()
    await ready(client)
    await begun(client)
    service.on_check = script(grpc.StatusCode.UNAVAILABLE)
    await until(lambda: len(service.renewed()) >= 2)
    service.on_check = None
    failed = len(service.renewed())
    await until(lambda: len(service.renewed()) >= failed + 2)


@pytest.mark.parametrize(
    ("code", "again"), [(common.ITEM_CODE_UNAVAILABLE, True), (common.ITEM_CODE_NOT_FOUND, False)]
)
async def test_a_slot_that_the_service_does_not_know_is_forgotten(
    service: FakeService, make: Make, code: common.ItemCode.ValueType, again: bool
) -> None:
    def refuse(request: wire.BatchCheckRequest) -> list[usage_pb2.ItemError]:
        status = common.ItemStatus(code=code)
        kinds = [usage_pb2.REPORT_ITEM_KIND_RENEWAL] * len(request.renewals)
        return [usage_pb2.ItemError(kind=kind, index=at, status=status) for at, kind in enumerate(kinds)]

    grants(service, life_ms=100)
    service.amend = refuse
    client = make()
    await ready(client)
    await begun(client)
    await until(lambda: len(service.renewed()) >= (3 if again else 1))
    if not again:
        await until(lambda: client.status().slots == 0)


async def test_a_release_that_cannot_be_carried_out_goes_with_the_next_report(
    service: FakeService, make: Make
) -> None:
    grants(service)
    client = make()
    await ready(client)
    exchange = await begun(client)
    service.on_check = script(grpc.StatusCode.UNAVAILABLE)
    client.release(exchange)
    await until(lambda: service.reports and service.reports[-1].releases)
    assert [item.slot_id for item in service.reports[-1].releases] == [b"s1"]
    assert not service.reports[-1].events
    calls = len(service.reports)
    await asyncio.sleep(0.1)
    assert len(service.reports) == calls, "once it is told, it is told"


async def test_silent_counters_are_told_again_by_a_report(service: FakeService, make: Make) -> None:
    status = common.ItemStatus(code=common.ITEM_CODE_UNAVAILABLE)
    error = usage_pb2.ItemError(kind=usage_pb2.REPORT_ITEM_KIND_RELEASE, index=0, status=status)
    service.amend = lambda request: [error] if request.releases else []
    grants(service)
    client = make()
    await ready(client)
    client.release(await begun(client))
    await until(lambda: service.reports and service.reports[-1].releases)


async def test_a_report_that_fails_keeps_the_releases(service: FakeService, make: Make) -> None:
    grants(service)
    client = make(flush_interval_s=0.01)
    await ready(client)
    exchange = await begun(client)
    service.on_check = service.on_report = script(grpc.StatusCode.UNAVAILABLE)
    client.release(exchange)
    await until(lambda: service.reports and service.reports[-1].releases)
    service.on_report = None
    client.release(exchange)
    await run(client)
    await client.aclose()
    assert service.reports[-1].releases[0].slot_id == b"s1"


async def test_a_caller_that_left_before_the_answer_holds_no_slot(service: FakeService, make: Make) -> None:
    gate = asyncio.Event()

    async def slow(request: wire.BatchCheckRequest, _: Any) -> None:
        if request.items:
            await gate.wait()

    grants(service)
    service.on_check = slow
    client = make()
    await ready(client)
    waiting = asyncio.create_task(begun(client))
    await until(lambda: service.checks)
    waiting.cancel()
    gate.set()
    await until(service.released)
    assert service.released() == [b"s1"]
    assert client.status().slots == 0


async def test_closing_gives_every_slot_back(service: FakeService, make: Make) -> None:
    grants(service)
    client = make()
    await ready(client)
    exchanges = [await begun(client) for _ in range(3)]
    await client.aclose()
    assert sorted(service.released()) == [b"s1", b"s2", b"s3"]
    client.release(exchanges[0])  # a request that outlives the client


async def test_closing_falls_back_to_a_report(service: FakeService, make: Make) -> None:
    grants(service)
    client = make(shutdown_s=0.4)
    await ready(client)
    await begun(client)
    service.on_check = hang
    await client.aclose()
    assert [item.slot_id for item in service.reports[-1].releases] == [b"s1"]


async def test_what_has_no_plan_and_no_service_still_closes(service: FakeService, make: Make) -> None:
    grants(service)
    client = make(shutdown_s=0.2)
    await ready(client)
    exchange = await begun(client)
    await service.stop()
    client.release(exchange)
    await client.aclose()
